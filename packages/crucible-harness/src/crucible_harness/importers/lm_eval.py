"""Logs of lm-evaluation-harness: sample files (`--log_samples`) beside `results_*.json`."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from crucible_harness.errors import ForeignLogError
from crucible_harness.importers.samples import (
    ForeignLog,
    ForeignSample,
    digest_of,
    hash_of,
    reading,
)

TOOL = "lm-evaluation-harness"
_SAMPLES = re.compile(r"samples_(?P<task>.+)_(?P<when>\d{4}-\d\d-\d\dT[\d.-]+)\.jsonl")


def read_lm_eval(path: Path) -> ForeignLog:
    """Read one task's sample file.

    Raises
    ------
    ForeignLogError
        If it is truncated, no sample file, or its results file is missing.
    """
    named = _SAMPLES.fullmatch(path.name)
    if named is None:
        raise ForeignLogError(
            str(path), "is no sample file of lm-evaluation-harness (samples_<task>_<time>.jsonl)"
        )
    task = named["task"]
    results = _results(path, named["when"])
    if task not in results["configs"]:
        raise ForeignLogError(str(path), f"has no task {task!r} in its results file")
    with reading(path, "sample file of lm-evaluation-harness"):
        samples = _samples(path, task)
        return _log(path, task, named["when"], results, samples)


def _samples(path: Path, task: str) -> tuple[ForeignSample, ...]:
    answers: dict[str, ForeignSample] = {}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            with reading(path, f"sample file at line {number}"):
                sample = _sample(json.loads(line), task)
            known = answers.get(sample.item)
            answers[sample.item] = sample if known is None else _joined(known, sample, path)
    if not answers:
        raise ForeignLogError(str(path), "holds no samples")
    return tuple(answers.values())


def _log(
    path: Path, task: str, when: str, results: Mapping[str, Any], samples: tuple[ForeignSample, ...]
) -> ForeignLog:
    model = str(results.get("model_name") or results["config"].get("model"))
    better = (results.get("higher_is_better") or {}).get(task) or {}
    names = sorted({name for sample in samples for name in sample.scores})
    metrics = [name.partition(",")[0] for name in names]
    return ForeignLog(
        tool=TOOL,
        version=str(results.get("lm_eval_version", "unknown")),
        file=path.name,
        sha256=digest_of(path),
        names=(model, f"{model} {path.parent.name}", f"{path.parent.name} {path.stem}"),
        metrics={name: better.get(name.partition(",")[0]) for name in names},
        samples=samples,
        aliases={m: n for m, n in zip(metrics, names, strict=True) if metrics.count(m) == 1},
        facts={
            "model": model,
            "task": task,
            "created": when,
            "config": results["config"].get("gen_kwargs") or {},
            "system_instruction": results.get("system_instruction"),
        },
    )


def tasks_together(logs: Sequence[tuple[Path, ForeignLog]]) -> list[ForeignLog]:
    """Join the tasks of each run of lm-evaluation-harness, where there are several runs.

    Files of one run share their folder and the time in their names. The tasks of a single run stay
    apart: they are all there is to compare. Other logs are left as they are.

    Raises
    ------
    ForeignLogError
        If a metric is better high in one task and low in another.
    """
    runs: dict[tuple[Path, str], list[ForeignLog]] = {}
    for n, (path, log) in enumerate(logs):
        key = (path.parent, log.facts["created"]) if log.tool == TOOL else (path, str(n))
        runs.setdefault(key, []).append(log)
    if sum(tasks[0].tool == TOOL for tasks in runs.values()) < 2:
        return [log for _, log in logs]
    return [_run(folder, when, tasks) for (folder, when), tasks in runs.items()]


def _run(folder: Path, when: str, tasks: list[ForeignLog]) -> ForeignLog:
    if len(tasks) == 1:
        return tasks[0]
    metrics: dict[str, bool | None] = {}
    for log in tasks:
        for name, better in log.metrics.items():
            if metrics.setdefault(name, better) != better:
                raise ForeignLogError(
                    str(folder), f"has tasks that disagree on whether a higher {name} is better"
                )
    bare = [name.partition(",")[0] for name in metrics]
    model = tasks[0].names[0]
    return replace(
        tasks[0],
        file=", ".join(log.file for log in tasks),
        sha256=hash_of(*(log.sha256 for log in tasks)),
        names=(model, f"{model} {folder.name}", f"{folder.name} {when}"),
        metrics=metrics,
        samples=tuple(sample for log in tasks for sample in log.samples),
        aliases={m: n for m, n in zip(bare, metrics, strict=True) if bare.count(m) == 1},
        facts={
            **tasks[0].facts,
            "task": ", ".join(log.facts["task"] for log in tasks),
            "sha256_of_files": {log.file: log.sha256 for log in tasks},
        },
    )


def _results(path: Path, when: str) -> dict[str, Any]:
    file = path.with_name(f"results_{when}.json")
    if not file.is_file():
        raise ForeignLogError(str(path), f"needs {file.name} beside it")
    kind = "results file of lm-evaluation-harness"
    with reading(file, kind):
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        parts = [found[name] for name in ("configs", "config", "results")]
        if not all(isinstance(part, Mapping) for part in parts):
            raise ForeignLogError(str(file), f"is no {kind}")
        return found


def _sample(data: Mapping[str, Any], task: str) -> ForeignSample:
    filtered = str(data.get("filter") or "none")
    return ForeignSample(
        item=f"{task}/{data['doc_id']}",
        content=str(data.get("doc_hash") or hash_of(json.dumps(data["doc"], sort_keys=True))),
        input=_asked(data),
        expected=data.get("target"),
        metadata={
            "task": task,
            **{
                name: value
                for name, value in data["doc"].items()
                if isinstance(value, str | int | float | bool) and len(str(value)) <= 60
            },
        },
        output=_answer(data),
        scores={f"{name},{filtered}": _number(data[name]) for name in data["metrics"]},
    )


def _answer(data: Mapping[str, Any]) -> str:
    """Return the text that was made, or the likelihood of each choice where none was."""
    first = data["resps"][0]
    made = first[0] if isinstance(first, list) else first
    return made if isinstance(made, str) else json.dumps(data["filtered_resps"])


def _joined(one: ForeignSample, other: ForeignSample, path: Path) -> ForeignSample:
    """Join the rows of one answer under several filters."""
    twice = set(one.scores) & set(other.scores)
    if twice:
        raise ForeignLogError(
            str(path), f"holds item {one.item!r} twice, with {', '.join(sorted(twice))}"
        )
    return replace(one, scores={**one.scores, **other.scores})


def _asked(data: Mapping[str, Any]) -> str:
    """Return the prompt as it was sent."""
    arguments = data.get("arguments")
    if isinstance(arguments, Mapping):
        arguments = next(iter(arguments.values()), {})
        asked = arguments.get("arg_0") if isinstance(arguments, Mapping) else None
    else:
        asked = arguments[0][0] if arguments else None
    texts = list(_texts(asked))
    return "\n".join(texts) if texts else json.dumps(data["doc"], sort_keys=True)


def _texts(asked: Any) -> Iterator[str]:
    if isinstance(asked, list):
        for part in asked:
            yield from _texts(part)
    elif isinstance(asked, str):
        yield asked


def _number(value: Any) -> float | None:
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return float(value)
    return None
