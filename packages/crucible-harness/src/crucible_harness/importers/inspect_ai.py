"""Logs of Inspect AI (0.3.x, log version 2), `.eval` and `.json`, read without Inspect."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from crucible_harness.errors import ForeignLogError
from crucible_harness.importers.members import members
from crucible_harness.importers.samples import (
    ForeignLog,
    ForeignSample,
    amount,
    digest_of,
    hash_of,
    reading,
)

_VERSION = 2
# How Inspect's own `accuracy` reads the letters of its scorers.
_LETTERS = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
# Input that was written to or read from a cache is not in `input_tokens`.
_CACHED = ("input_tokens_cache_write", "input_tokens_cache_read")
_WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}


def read_inspect(path: Path) -> ForeignLog:
    """Read one log.

    Raises
    ------
    ForeignLogError
        If it is truncated, not a log, unfinished, or of another log version.
    """
    with reading(path, "Inspect log", *_damage()):
        header, samples = _read_archive(path) if path.suffix == ".eval" else _read_json(path)
        return _log(path, header, samples)


def _log(path: Path, header: Mapping[str, Any], samples: list[ForeignSample]) -> ForeignLog:
    version, about = header.get("version"), header.get("eval")
    if version is None or not isinstance(about, Mapping):
        hint = "; give the folder it is in" if path.name.startswith("results_") else ""
        raise ForeignLogError(str(path), f"is no Inspect log: it has no `version` and `eval`{hint}")
    if version != _VERSION:
        raise ForeignLogError(
            str(path), f"is an Inspect log of version {version!r}; version {_VERSION} can be read"
        )
    if header.get("status") == "started":
        raise ForeignLogError(str(path), "is the log of an evaluation that has not ended")
    if not samples:
        raise ForeignLogError(
            str(path), "holds no samples (written with --no-log-samples, or ended before the first)"
        )
    model, task = str(about["model"]), str(about["task"])
    return ForeignLog(
        tool="Inspect AI",
        version=str((about.get("packages") or {}).get("inspect_ai", "unknown")),
        file=path.name,
        sha256=digest_of(path),
        names=(model, task, f"{model} {task}", path.stem, f"{path.parent.name}/{path.stem}"),
        metrics=dict.fromkeys(sorted({name for s in samples for name in s.scores})),
        samples=tuple(samples),
        aliases=_aliases(header),
        facts={
            "model": model,
            "task": task,
            "created": about.get("created"),
            "status": header.get("status"),
            "config": (header.get("plan") or {}).get("config") or {},
        },
    )


def _read_archive(path: Path) -> tuple[dict[str, Any], list[ForeignSample]]:
    with _zipfile().ZipFile(path) as archive:
        names = archive.namelist()
        if "header.json" not in names:
            raise ForeignLogError(
                str(path), "has no header: the evaluation did not end, or the file is no log"
            )
        header = json.loads(archive.read("header.json"))
        samples = [
            _sample(json.loads(archive.read(name)))
            for name in names
            if name.startswith("samples/") and name.endswith(".json")
        ]
    return header, samples


def _read_json(path: Path) -> tuple[dict[str, Any], list[ForeignSample]]:
    header: dict[str, Any] = {}
    samples: list[ForeignSample] = []
    with path.open(encoding="utf-8") as file:
        for key, value in members(file, one_by_one="samples"):
            if key == "samples":
                samples.append(_sample(value))
            else:
                header[key] = value
    return header, samples


def _sample(data: Mapping[str, Any]) -> ForeignSample:
    asked, target = _text(data["input"]), data.get("target")
    output = data.get("output") or {}
    usage = list((data.get("model_usage") or {}).values())
    error = data.get("error")
    return ForeignSample(
        item=str(data["id"]),
        content=hash_of(asked, json.dumps(target, sort_keys=True)),
        input=asked,
        expected=target,
        metadata={
            name: value
            for name, value in (data.get("metadata") or {}).items()
            if isinstance(value, str | int | float | bool)
        },
        repeat=int(data["epoch"]) - 1,
        output=output.get("completion"),
        scores=dict(_scores(data.get("scores") or {})),
        error=None if not error else _one_line(error),
        latency_s=amount(data.get("working_time", data.get("total_time"))),
        cost_usd=_total(usage, "total_cost"),
        input_tokens=_tokens(usage, "input_tokens", *_CACHED),
        output_tokens=_tokens(usage, "output_tokens"),
        served_by=output.get("model"),
    )


def _scores(scores: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    for scorer, score in scores.items():
        value = score["value"]
        if isinstance(value, Mapping):
            for name, part in value.items():
                yield f"{scorer}/{name}", _number(part)
        elif not isinstance(value, list):
            yield scorer, _number(value)


def _number(value: Any) -> float | None:
    """Read a score as Inspect's `value_to_float` does; what it cannot read is no score."""
    if isinstance(value, bool | int | float):
        number = float(value)
        return number if math.isfinite(number) else None
    if not isinstance(value, str):
        return None
    if value in _LETTERS:
        return _LETTERS[value]
    if value.lower() in _WORDS:
        return _WORDS[value.lower()]
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _aliases(header: Mapping[str, Any]) -> dict[str, str]:
    """Return the scorer behind each metric that only one scorer has."""
    scorers: dict[str, set[str]] = {}
    for score in (header.get("results") or {}).get("scores") or ():
        for metric in score.get("metrics") or {}:
            scorers.setdefault(metric, set()).add(score["name"])
    return {metric: names.pop() for metric, names in scorers.items() if len(names) == 1}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    parts = []
    for message in value:
        content = message["content"]
        if not isinstance(content, str):
            content = " ".join(str(part.get("text", part.get("type"))) for part in content)
        parts.append(f"{message['role']}: {content}")
    return "\n".join(parts)


def _total(usage: list[Mapping[str, Any]], name: str) -> float | None:
    """Return the sum over models, None where one of them does not say."""
    known = [amount(one.get(name)) for one in usage]
    return sum(n for n in known if n is not None) if known and None not in known else None


def _tokens(usage: list[Mapping[str, Any]], name: str, *more: str) -> int | None:
    """Return a sum of tokens, with those that are counted apart where there are any."""
    found = _total(usage, name)
    if found is None:
        return None
    return int(found + sum(amount(one.get(part)) or 0 for one in usage for part in more))


def _one_line(error: Any) -> str:
    message = error.get("message") if isinstance(error, Mapping) else error
    return " ".join(str(message).split())[:500]


def _zipfile() -> Any:
    """Return a zipfile module that reads Zstandard, which Inspect writes."""
    import sys

    if sys.version_info >= (3, 14):
        import zipfile

        return zipfile
    from backports.zstd import zipfile as zstd_zipfile

    return zstd_zipfile


def _damage() -> tuple[type[Exception], ...]:
    """Return the classes of errors that damaged bytes in an archive raise."""
    import zlib

    zipfile = _zipfile()
    # NotImplementedError, RuntimeError: compressed or encrypted in a way that no log is.
    return (zipfile.BadZipFile, _zstd_error(), zlib.error, NotImplementedError, RuntimeError)


def _zstd_error() -> type[Exception]:
    import sys

    if sys.version_info >= (3, 14):
        from compression.zstd import ZstdError
    else:
        from backports.zstd import ZstdError
    return ZstdError
