"""Logs of lm-evaluation-harness: sample files (`--log_samples`) beside `results_*.json`."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from crucible_harness.errors import ForeignLogError
from crucible_harness.importers.samples import ForeignLog, ForeignSample, digest_of, hash_of

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
    answers: dict[tuple[str, int], ForeignSample] = {}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                sample = _sample(json.loads(line), task)
            except (ValueError, KeyError, TypeError) as error:
                raise ForeignLogError(
                    str(path), f"is truncated or foreign at line {number} ({type(error).__name__})"
                ) from error
            key = sample.item, sample.repeat
            answers[key] = sample if key not in answers else _joined(answers[key], sample)
    if not answers:
        raise ForeignLogError(str(path), "holds no samples")
    model = str(results.get("model_name") or results["config"].get("model"))
    better = (results.get("higher_is_better") or {}).get(task) or {}
    names = sorted({name for sample in answers.values() for name in sample.scores})
    metrics = [name.partition(",")[0] for name in names]
    return ForeignLog(
        tool="lm-evaluation-harness",
        version=str(results.get("lm_eval_version", "unknown")),
        file=path.name,
        sha256=digest_of(path),
        names=(model, f"{model} {path.parent.name}", f"{path.parent.name} {path.stem}"),
        metrics={name: better.get(name.partition(",")[0]) for name in names},
        samples=tuple(answers.values()),
        aliases={m: n for m, n in zip(metrics, names, strict=True) if metrics.count(m) == 1},
        facts={
            "model": model,
            "task": task,
            "created": named["when"],
            "config": results["config"].get("gen_kwargs") or {},
            "system_instruction": results.get("system_instruction"),
        },
    )


def _results(path: Path, when: str) -> dict[str, Any]:
    file = path.with_name(f"results_{when}.json")
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ForeignLogError(str(path), f"needs {file.name} beside it") from None
    except (OSError, ValueError) as error:
        raise ForeignLogError(str(file), f"cannot be read: {error}") from error
    if not {"configs", "config", "results"} <= set(found):
        raise ForeignLogError(str(file), "is no results file of lm-evaluation-harness")
    return found


def _sample(data: Mapping[str, Any], task: str) -> ForeignSample:
    filtered = str(data.get("filter") or "none")
    responses = data["resps"]
    first = responses[0][0] if isinstance(responses[0], list) else responses[0]
    return ForeignSample(
        item=f"{task}/{data['doc_id']}",
        content=str(data.get("doc_hash") or hash_of(json.dumps(data["doc"], sort_keys=True))),
        input=_asked(data),
        expected=data.get("target"),
        metadata={
            name: value
            for name, value in data["doc"].items()
            if isinstance(value, str | int | float | bool) and len(str(value)) <= 60
        },
        output=str(first),
        scores={f"{name},{filtered}": _number(data[name]) for name in data["metrics"]},
    )


def _joined(one: ForeignSample, other: ForeignSample) -> ForeignSample:
    """Join the rows of one answer under several filters."""
    from dataclasses import replace

    twice = set(one.scores) & set(other.scores)
    if twice:
        raise ForeignLogError(
            one.item, f"stands twice in the file, with {', '.join(sorted(twice))}"
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
