"""One event as read back from a store."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from crucible_telemetry.outcome import Outcome
from crucible_telemetry.schema import NAMES, Json, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A span or a recorded event; None stands for everything unknown.

    `seq` counts 1, 2, 3, ... per writer without gaps, so loss is visible in the data. Times are
    Unix nanoseconds (`start_ns`) and the monotonic clock (`start_mono_ns`). `altered` names the
    attributes whose value no store can hold and that were changed; "*" stands for those that
    OpenTelemetry dropped.
    """

    experiment_id: str
    writer_id: str
    seq: int
    name: str
    kind: Literal["span", "event"]
    start_ns: int
    start_mono_ns: int | None
    duration_s: float | None
    outcome: Outcome
    error_type: str | None
    model: str | None
    provider: str | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    cost_source: Literal["reported", "priced"] | None
    item_id: str | None
    repeat: int | None
    trace_id: str | None
    span_id: str | None
    parent_span_id: str | None
    pid: int
    thread_id: int
    task: str | None
    sample_rate: float
    altered: tuple[str, ...] | None
    attributes: Mapping[str, Json]

    @classmethod
    def from_row(cls, row: Row) -> "Event":
        """Read a row in schema order."""
        fields: dict[str, Any] = dict(zip(NAMES, row, strict=True))
        fields["altered"] = None if row[-2] is None else tuple(json.loads(row[-2]))
        fields["attributes"] = json.loads(row[-1])
        return cls(**fields)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping in schema order."""
        data = {name: getattr(self, name) for name in NAMES}
        data["altered"] = None if self.altered is None else list(self.altered)
        data["attributes"] = dict(self.attributes)
        return data
