"""What is known about an experiment as a whole, and about each process that wrote to it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from crucible_telemetry.schema import Json

State = Literal["running", "paused", "stopped", "archived", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureStats:
    """Counts of one experiment in this process.

    Attributes
    ----------
    recorded : int
        Events taken into the queue, spans included.
    stored : int
        Of these, durable in the store.
    sampled_out : int
        Left out because their trace, or their sampling key, is not in the sample.
    filtered : int
        Left out because `event_filter` said so.
    paused : int
        Discarded because the experiment was paused.
    late : int
        Ended after the experiment had stopped; not stored.
    spilled : int
        Went through the spill file, refused ones included.
    refused : int
        Can never be stored and lie in the spill file with their reason.
    lost : int
        Spans that neither the queue nor the spill file could take. 0 unless the disk is full.
    open_spans : int
        Begun and not ended.
    altered : int
        Stored events of which some value had to be changed.
    redaction_failures : int
        Stored events that lost their attributes because the redactor failed on them.
    forward_failures : int
        Failed attempts to forward over OTLP; nothing is lost by them.
    blocked_s : float
        Time that callers waited for room in the queue.
    """

    recorded: int = 0
    stored: int = 0
    sampled_out: int = 0
    filtered: int = 0
    paused: int = 0
    late: int = 0
    spilled: int = 0
    refused: int = 0
    lost: int = 0
    open_spans: int = 0
    altered: int = 0
    redaction_failures: int = 0
    forward_failures: int = 0
    blocked_s: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterRecord:
    """A process that wrote events. `last_seq` is None as long as it has not stopped."""

    writer_id: str
    pid: int
    host: str
    os: str
    python: str
    argv0: str
    packages: Mapping[str, str]
    started_ns: int
    last_seq: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return {**asdict(self), "packages": dict(self.packages)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "WriterRecord":
        """Read what `to_dict` wrote."""
        return cls(**_known(cls, data))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentRecord:
    """An experiment as stored.

    `active_s` leaves pauses out and is measured by the monotonic clock; it is None until the
    experiment stops. `transitions` are (state, Unix nanoseconds). `git_commit` and `git_dirty` are
    None where git gave no answer. `sampler` is the tracer provider's own, None without spans.
    `redactor` describes what changed attributes before they were stored.
    `stats` is None until the experiment stops.
    """

    id: str
    name: str
    condition: str
    hypothesis: str | None
    tags: tuple[str, ...]
    metadata: Mapping[str, Json]
    parent_id: str | None
    state: State
    transitions: tuple[tuple[State, int], ...]
    started_ns: int
    stopped_ns: int | None
    active_s: float | None
    seed: int | None
    sample_rate: float
    sampler: str | None
    capture_content: bool
    git_commit: str | None
    git_dirty: bool | None
    stats: CaptureStats | None
    redactor: str | None = None
    writers: tuple[WriterRecord, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return {
            **{f.name: getattr(self, f.name) for f in fields(self)},
            "tags": list(self.tags),
            "metadata": dict(self.metadata),
            "transitions": [list(transition) for transition in self.transitions],
            "stats": None if self.stats is None else self.stats.to_dict(),
            "writers": [writer.to_dict() for writer in self.writers],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "ExperimentRecord":
        """Read what `to_dict` wrote; fields of later versions are left out."""
        known = _known(cls, data)
        known["tags"] = tuple(known["tags"])
        known["transitions"] = tuple((state, at) for state, at in known["transitions"])
        if known["stats"] is not None:
            known["stats"] = CaptureStats(**_known(CaptureStats, known["stats"]))
        known["writers"] = tuple(WriterRecord.from_dict(w) for w in known.get("writers", ()))
        return cls(**known)


def _known(cls: type, data: Mapping[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(cls)}
    return {name: value for name, value in data.items() if name in names}
