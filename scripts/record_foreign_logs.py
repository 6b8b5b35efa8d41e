"""Record the logs that the importer's tests read: Inspect AI and lm-evaluation-harness themselves.

Both run in environments of their own (`uv run --isolated`), against SmolLM2-135M served by
llama.cpp on the loopback interface, on items of `demo-arithmetic`. Two conditions each: with and
without a hint. Run it once, when the versions below change:

    uv run scripts/record_foreign_logs.py packages/crucible-harness/tests/logs
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from crucible_datasets import load
from crucible_ensemble import LlamaCppModel

INSPECT, LM_EVAL = "inspect-ai==0.3.285", "lm-eval[api]==0.4.13"
ITEMS = 16

INSPECT_TASK = """
import json
import os
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import accuracy, match, stderr
from inspect_ai.solver import generate, system_message

ROWS = [json.loads(line) for line in open("items.jsonl")]


def made(hint):
    samples = [
        Sample(id=r["id"], input=r["input"], target=r["expected"], metadata={"group": r["group"]})
        for r in ROWS
    ]
    solver = [system_message("Answer with the number only."), generate()] if hint else [generate()]
    return Task(
        dataset=samples,
        solver=solver,
        scorer=match(numeric=True),
        metrics=[accuracy(), stderr(cluster="group") if os.environ.get("CLUSTERED") else stderr()],
        epochs=2,
        config=GenerateConfig(temperature=0.7, seed=5, max_tokens=24),
    )


@task
def plain():
    return made(False)


@task
def hinted():
    return made(True)
"""

LM_EVAL_TASK = """
task: sums
dataset_path: json
dataset_kwargs:
  data_files: {items}
test_split: train
output_type: generate_until
doc_to_text: "{{{{input}}}}"
doc_to_target: "{{{{expected}}}}"
generation_kwargs:
  until: ["\\n\\n"]
  do_sample: false
  max_gen_toks: 24
filter_list:
  - name: number
    filter:
      - function: regex
        regex_pattern: "(-?[0-9]+)"
        group_select: -1
      - function: take_first
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("target", type=Path)
    target = options.parse_args().target
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    model = LlamaCppModel(parallel=2)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        rows = [
            {
                "id": item.id,
                "input": item.input,
                "expected": str(item.expected),
                "group": re.findall(r"\d+", item.input)[0],
            }
            for item in load("demo-arithmetic", sample_size=ITEMS, seed=2)
        ]
        (work / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        record_inspect(work, target / "inspect", model.base_url)
        record_lm_eval(work, target / "lm_eval", model.base_url)


def record_inspect(work: Path, target: Path, base_url: str) -> None:
    (work / "tasks.py").write_text(INSPECT_TASK)
    for kind in ("eval", "json"):  # the second with clustered standard errors
        logs = work / f"inspect-{kind}"
        _run(
            ["uv", "run", "--isolated", "--no-project", "--with", INSPECT, "--with", "openai",
             "inspect", "eval", "tasks.py", "--model", "openai-api/local/smollm2-135m", "--log-dir",
             str(logs), "--log-format", kind, "--display", "none", "--max-connections", "2"],
            work,
            LOCAL_BASE_URL=base_url,
            LOCAL_API_KEY="none",
            CLUSTERED="1" if kind == "json" else "",
        )  # fmt: skip
        target.mkdir(exist_ok=True)
        for log in sorted(logs.glob(f"*.{kind}")):
            name = "hinted" if "hinted" in log.name else "plain"
            if kind == "eval" or name == "plain":
                shutil.copy(log, target / f"{name}.{kind}")


def record_lm_eval(work: Path, target: Path, base_url: str) -> None:
    tasks = work / "tasks"
    tasks.mkdir()
    (tasks / "sums.yaml").write_text(LM_EVAL_TASK.format(items=work / "items.jsonl"))
    for name, more in (
        ("plain", []),
        ("hinted", ["--system_instruction", "Answer with the number only."]),
    ):
        out = work / f"lm-{name}"
        _run(
            ["uv", "run", "--isolated", "--no-project", "--with", LM_EVAL, "lm_eval", "--model",
             "local-chat-completions", "--model_args",
             f"model=smollm2-135m,base_url={base_url}/chat/completions,num_concurrent=2,"
             "tokenized_requests=False",
             "--tasks", "sums", "--include_path", str(tasks), "--apply_chat_template",
             "--log_samples", "--output_path", str(out), *more],
            work,
            OPENAI_API_KEY="none",
        )  # fmt: skip
        kept = target / name
        kept.mkdir(parents=True)
        for file in out.rglob("*.json*"):
            # The path of the machine that recorded them is the one thing taken out.
            text = file.read_text().replace(str(work), "/recorded")
            (kept / file.name).write_text(text)


def _run(command: list[str], folder: Path, **variables: str) -> None:
    subprocess.run(command, cwd=folder, check=True, env={**os.environ, **variables})


if __name__ == "__main__":
    main()
