"""Logs of Inspect AI (0.3.x, log version 2), `.eval` and `.json`, read without Inspect."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from crucible_harness.errors import ForeignLogError
from crucible_harness.importers.samples import ForeignLog, ForeignSample, digest_of, hash_of

_VERSION = 2
# How Inspect's own `accuracy` reads the letters of its scorers.
_LETTERS = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
_WORDS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}


def read_inspect(path: Path) -> ForeignLog:
    """Read one log.

    Raises
    ------
    ForeignLogError
        If it is truncated, not a log, unfinished, or of another log version.
    """
    if path.suffix == ".eval":
        header, samples = _read_archive(path)
    else:
        header, samples = _read_json(path)
    version = header.get("version")
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
    about = header["eval"]
    return ForeignLog(
        tool="Inspect AI",
        version=str((about.get("packages") or {}).get("inspect_ai", "unknown")),
        file=path.name,
        sha256=digest_of(path),
        names=(about["model"], about["task"], f"{about['model']} {about['task']}", path.stem,
               f"{path.parent.name}/{path.stem}"),
        metrics=dict.fromkeys(sorted({name for s in samples for name in s.scores})),
        samples=tuple(samples),
        aliases=_aliases(header),
        facts={
            "model": about["model"],
            "task": about["task"],
            "created": about.get("created"),
            "status": header.get("status"),
            "config": (header.get("plan") or {}).get("config") or {},
        },
    )  # fmt: skip


def _read_archive(path: Path) -> tuple[dict[str, Any], list[ForeignSample]]:
    zipfile = _zipfile()
    try:
        with zipfile.ZipFile(path) as archive:
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
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error
    return header, samples


def _read_json(path: Path) -> tuple[dict[str, Any], list[ForeignSample]]:
    header: dict[str, Any] = {}
    samples: list[ForeignSample] = []
    try:
        for key, value in _members(path.read_text(encoding="utf-8")):
            if key == "samples":
                samples.append(_sample(value))
            else:
                header[key] = value
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise _damaged(path, error) from error
    return header, samples


def _members(text: str) -> Iterator[tuple[str, Any]]:
    """Yield the members of an object, those of "samples" one by one, to hold one at a time."""
    decode = json.JSONDecoder().raw_decode

    def skip(at: int, wanted: str) -> int:
        while text[at] in " \t\r\n":
            at += 1
        if text[at] not in wanted:
            raise ValueError(f"expected one of {wanted!r} at character {at}")
        return at

    def value(at: int) -> tuple[Any, int]:
        while text[at] in " \t\r\n":
            at += 1
        return decode(text, at)

    at = skip(0, "{") + 1
    while True:
        key, at = value(at)
        at = skip(at, ":") + 1
        if key == "samples" and text[at:].lstrip()[:1] == "[":
            at = skip(at, "[") + 1
            while text[skip_blank(text, at)] != "]":
                one, at = value(at)
                yield key, one
                at = skip(at, ",]")
                if text[at] == ",":
                    at += 1
            at = skip(at, "]") + 1
        else:
            found, at = value(at)
            yield key, found
        at = skip(at, ",}")
        if text[at] == "}":
            return
        at += 1


def skip_blank(text: str, at: int) -> int:
    """Return the place of the next character that is not blank."""
    while text[at] in " \t\r\n":
        at += 1
    return at


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
        latency_s=data.get("working_time", data.get("total_time")),
        input_tokens=_total(usage, "input_tokens"),
        output_tokens=_total(usage, "output_tokens"),
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


def _total(usage: list[Mapping[str, Any]], name: str) -> int | None:
    numbers = [one.get(name) for one in usage]
    known = [number for number in numbers if number is not None]
    return sum(known) if known and len(known) == len(numbers) else None


def _one_line(error: Any) -> str:
    message = error.get("message") if isinstance(error, Mapping) else error
    return " ".join(str(message).split())[:500]


def _damaged(path: Path, error: Exception) -> ForeignLogError:
    if isinstance(error, ForeignLogError):
        return error
    return ForeignLogError(
        str(path), f"is truncated or no Inspect log ({type(error).__name__}: {error})"
    )


def _zipfile() -> Any:
    """Return a zipfile module that reads Zstandard, which Inspect writes."""
    import sys

    if sys.version_info >= (3, 14):
        import zipfile

        return zipfile
    from backports.zstd import zipfile as zstd_zipfile

    return zstd_zipfile
