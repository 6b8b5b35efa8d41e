"""One adapter as a registry keeps it: a record, and a row of its table."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crucible_lora.metrics import direction_of
from crucible_lora.records import Record
from crucible_lora.sealed import MetricValue


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredAdapter(Record):
    """One entry. `path` is the checkpoint's folder, `sha256` what it was when registered."""

    name: str
    path: Path
    sha256: str
    base_model: str
    dataset_fingerprint: str | None
    tags: tuple[str, ...] = ()
    metrics: Mapping[str, MetricValue] = field(default_factory=dict)


def read_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Return tags without repeats, in their order."""
    if isinstance(tags, str) or not all(tags):
        raise ValueError(f"`tags` must be a sequence of non-empty texts, got {tags!r}")
    return tuple(dict.fromkeys(tags))


def read_metrics(given: Mapping[str, float | MetricValue]) -> dict[str, MetricValue]:
    """Return metrics with their directions; one that is not finite raises `ValueError`."""
    found = {
        name: value
        if isinstance(value, MetricValue)
        else MetricValue(value=float(value), direction=direction_of(name))
        for name, value in given.items()
    }
    for name, metric in found.items():
        if not math.isfinite(metric.value):
            raise ValueError(f"`metrics` must be finite, got {metric.value} for {name!r}")
    return found


def metrics_text(metrics: Mapping[str, MetricValue]) -> str:
    """Return metrics as JSON; equal ones give equal text."""
    plain = {k: {"value": m.value, "direction": m.direction} for k, m in metrics.items()}
    return json.dumps(plain, sort_keys=True, ensure_ascii=True)


def adapter_of(row: Sequence[Any]) -> RegisteredAdapter:
    """Return the adapter of a row."""
    name, path, sha256, base_model, fingerprint, tags, metrics = row
    return RegisteredAdapter(
        name=name,
        path=Path(path),
        sha256=sha256,
        base_model=base_model,
        dataset_fingerprint=fingerprint,
        tags=tuple(json.loads(tags)),
        metrics={k: MetricValue.from_dict(v) for k, v in json.loads(metrics).items()},
    )
