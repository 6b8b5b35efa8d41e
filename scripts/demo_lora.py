"""SmolLM2-135M learns two tasks on this machine: what docs/lora.md shows under "On SmolLM2".

    uv run --group test python scripts/demo_lora.py [--only orders|scifact|vote|resume]

`scifact` needs the benchmark's files: --data, or CRUCIBLE_TEST_DATA. One core needs some minutes
for each part.
"""

import argparse
import gzip
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio

from crucible_lora import (
    AdapterPool,
    Gate,
    LoraConfig,
    LoraExperiment,
    PeftBackend,
    create_experiment,
    evaluate_sync,
    resume_sync,
    train_sync,
)
from crucible_lora.demo import ORDERS_SYSTEM, demo_orders, orders_schema
from crucible_lora.formats import ChatFormat, SciFactFormat
from crucible_lora.schemas import JsonSchema

ORDERS = ChatFormat(system=ORDERS_SYSTEM)
VERDICTS = ["SUPPORTS", "REFUTES", "NOT ENOUGH INFO"]
SCIFACT = {
    "type": "object",
    "properties": {
        "verdict": {"enum": VERDICTS},
        "citations": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["verdict", "citations"],
    "additionalProperties": False,
}
LABELS = {"SUPPORT": "SUPPORTS", "REFUTE": "REFUTES", "CONTRADICT": "REFUTES"}


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=["orders", "scifact", "vote", "resume"])
    parser.add_argument("--directory", type=Path, default=Path(".crucible/demo-lora"))
    parser.add_argument("--data", type=Path, default=os.environ.get("CRUCIBLE_TEST_DATA"))
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--train-only", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    backend = PeftBackend(device="cpu", threads=arguments.threads)
    if arguments.train_only:
        _train_orders(_experiment("cut-off", backend, arguments.directory), updates=6, every=2)
        return
    parts = {
        "orders": lambda: orders(backend, arguments.directory),
        "scifact": lambda: scifact(backend, arguments.directory, arguments.data),
        "vote": lambda: vote(backend, arguments.directory),
        "resume": lambda: killed_and_resumed(backend, arguments.threads),
    }
    for name, part in parts.items():
        if arguments.only in (None, name):
            print(f"\n## {name}\n")
            part()


def orders(backend: PeftBackend, directory: Path) -> None:
    """Orders as JSON: 160 items, 64 held out, with pairs and a form that were never learned."""
    experiment = _experiment("orders", backend, directory)
    report = _train_orders(experiment)
    print(report.markdown(), end="\n\n")
    evaluation = evaluate_sync(
        experiment,
        demo_orders(64, held_out=True),
        schema=JsonSchema(orders_schema()),
        gates=[Gate("schema_compliance", 0.90)],
        format=ORDERS,
        max_tokens=48,
        batch_size=32,
        progress=False,
    )
    _show(evaluation, "schema_compliance", "exact_match", "nll")


def scifact(backend: PeftBackend, directory: Path, data: Path | None) -> None:
    """SciFact claims: verdict and cited documents, from claim and evidence."""
    if data is None:
        raise SystemExit("scifact: give --data, the folder with scifact/claims_train.jsonl")
    items = list(_claims(data / "scifact", "claims_train.jsonl"))
    held_out = list(_claims(data / "scifact", "claims_dev.jsonl"))[:48]
    config = LoraConfig(base_model="smollm2-135m", learning_rate=1e-3, warmup_steps=2)
    experiment = create_experiment("scifact", config, backend=backend, directory=directory)
    train_sync(experiment, items, epochs=1, max_steps=12, format=SciFactFormat(), progress=False)
    evaluation = evaluate_sync(
        experiment,
        held_out,
        schema=JsonSchema(SCIFACT, citations="citations"),
        gates=[Gate("schema_compliance", 0.90)],
        format=SciFactFormat(),
        max_tokens=48,
        progress=False,
    )
    _show(evaluation, "schema_compliance", "label_accuracy", "nll")


def vote(backend: PeftBackend, directory: Path) -> None:
    """Three adapters of other seeds, on one base in memory, vote with the weights of a pool."""
    from crucible_ensemble import Ensemble

    pool = AdapterPool()
    for seed in (0, 1, 2):
        experiment = _experiment("weak-orders", backend, directory, seed=seed)
        report = _train_orders(experiment, updates=4)
        pool.add(f"seed-{seed}", experiment.sampler(), weight=1 / report.loss_final)
    models, weights = zip(*pool, strict=True)
    ensemble = Ensemble(models, weights=weights, vote="weighted_majority")
    items = demo_orders(16, held_out=True)
    right = dict.fromkeys((*pool.weights(), "the three together"), 0)

    async def ask() -> None:
        for item in items:
            for member in pool.members():
                answer = await member.sampler.generate(item["input"], max_tokens=48)
                right[member.name] += answer.text.strip() == item["expected"]
            answer = await ensemble.generate(item["input"], max_tokens=48)
            right["the three together"] += answer.text.strip() == item["expected"]

    anyio.run(ask)
    for name, count in right.items():
        print(f"{name}: {count} of {len(items)} orders right")


def killed_and_resumed(backend: PeftBackend, threads: int | None) -> None:
    """A process that is killed between checkpoints, and a run that was not."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        whole = _train_orders(_experiment("cut-off", backend, Path(one)), updates=6, every=2)
        command = [sys.executable, __file__, "--train-only", "--directory", other]
        command += [] if threads is None else ["--threads", str(threads)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("update 5"):  # its last checkpoint is that of update 4
                child.send_signal(signal.SIGKILL)
        print(f"the process ended with {child.wait()} behind update 5")
        (folder,) = Path(other).iterdir()
        experiment = LoraExperiment.open(folder, backend=backend)
        print(f"there is {experiment.checkpoints().get('latest').name}")
        again = resume_sync(experiment, progress=False)
        equal = again.checkpoints[-1].sha256 == whole.checkpoints[-1].sha256
        print(f"resumed to update {again.steps}; the same adapter, bit for bit: {equal}")
        same = [row.loss for row in again.history] == [row.loss for row in whole.history]
        print(f"and the same history: {same}")


def _experiment(
    name: str, backend: PeftBackend, directory: Path, *, seed: int = 0
) -> LoraExperiment:
    config = LoraConfig(base_model="smollm2-135m", learning_rate=1e-3, warmup_steps=2)
    return create_experiment(name, config, backend=backend, directory=directory, seed=seed)


def _train_orders(experiment: LoraExperiment, *, updates: int = 20, every: int = 100):
    def on_step(row) -> None:
        print(f"update {row.step}: loss {row.loss:.4f}", flush=True)

    return train_sync(
        experiment,
        demo_orders(320),
        epochs=1,
        batch_size=8,
        max_steps=updates,
        checkpoint_every=every,
        format=ORDERS,
        on_step=on_step,
        progress=False,
    )


def _claims(folder: Path, name: str) -> Iterator[dict]:
    with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        corpus = {str(row["doc_id"]): row["abstract"] for row in map(json.loads, lines)}
    for line in (folder / name).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        evidence = row["evidence"]
        labels = {LABELS[e["label"]] for found in evidence.values() for e in found}
        texts = [
            corpus[document][number].strip()
            for document, found in evidence.items()
            for number in sorted({n for e in found for n in e["sentences"]})
        ]
        yield {
            "id": f"scifact/{name}/{row['id']}",
            "input": row["claim"],
            "expected": labels.pop() if labels else "NOT ENOUGH INFO",
            "context": " ".join(f"[{d}]" for d in evidence) + " " + " ".join(texts)
            if texts
            else None,
            "metadata": {"evidence": evidence},
        }


def _show(evaluation, *metrics: str) -> None:
    print("| metric | base | tuned | difference | 95 % interval | n |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in metrics:
        d = evaluation.delta[name]
        print(
            f"| {name} | {d.base:.3f} | {d.tuned:.3f} | {d.difference:+.3f} | {d.low:+.3f} to "
            f"{d.high:+.3f} | {d.n} |"
        )
    print()
    print(evaluation.quality.markdown())


if __name__ == "__main__":
    main()
