"""One decision: who says it was taken, what it was, and what it rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias

from crucible_causaltrace.vocabulary import Disposition

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
Source = Literal["self_report", "system_observed", "intervention"]
SOURCES: tuple[Source, ...] = ("self_report", "system_observed", "intervention")

SCHEMA = "crucible-causaltrace/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of a chain. Everything that is not known is None.

    `source` keeps testimony and measurement apart: "self_report" was said by a model,
    "system_observed" was measured by code, "intervention" is the result of an experiment on the
    model.

    Parameters
    ----------
    id : str, not empty
    type : str, not empty
        One of the canonical types or `namespace:name`.
    source : {"self_report", "system_observed", "intervention"}
    decision, reasoning : str or None
    alternatives : sequence of str
    disposition : {"chosen", "rejected"} or None
    confidence : float in [0, 1] or None
        As stated. Agreement between models is not a confidence.
    code, code_language, spec_reference : str or None
    parent : str or None
        Id of the event under which this one happened.
    depends_on, contradicts : sequence of str
        Ids of events.
    order : int, >= 0
        Position in the chain, the only time that parsed events have. `Chain.add` gives it.
    time_s : float or None
        Unix time of the start.
    duration_s : float, >= 0, or None
    outcome, stage, experiment_id : str or None
    span : (int, int) or None
        Character offsets in the source text.
    truncated : bool
        The text ended inside this event.
    metadata : mapping of str to JSON

    Raises
    ------
    ValueError
        If a value is out of its range, or the event rests on itself.
    """

    id: str
    type: str
    source: Source
    decision: str | None = None
    reasoning: str | None = None
    alternatives: tuple[str, ...] = ()
    disposition: Disposition | None = None
    confidence: float | None = None
    code: str | None = None
    code_language: str | None = None
    spec_reference: str | None = None
    parent: str | None = None
    depends_on: tuple[str, ...] = ()
    contradicts: tuple[str, ...] = ()
    order: int = 0
    time_s: float | None = None
    duration_s: float | None = None
    outcome: str | None = None
    stage: str | None = None
    experiment_id: str | None = None
    span: tuple[int, int] | None = None
    truncated: bool = False
    metadata: Mapping[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("alternatives", "depends_on", "contradicts"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise ValueError(f"`{name}` must be a sequence of strings, got {value!r}")
            if name != "alternatives":
                value = dict.fromkeys(value)  # a link is there once
            object.__setattr__(self, name, tuple(value))
        object.__setattr__(self, "metadata", dict(self.metadata))
        for name in ("id", "type"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise ValueError(f"`{name}` must be a string with a character, got {self.id!r}")
        if self.source not in SOURCES:
            raise ValueError(f"`source` must be one of {SOURCES}, got {self.source!r}")
        if self.disposition not in (None, "chosen", "rejected"):
            raise ValueError(
                f'`disposition` must be "chosen", "rejected" or None, got {self.disposition!r}'
            )
        if self.confidence is not None and not 0.0 <= self.confidence <= 1.0:
            raise ValueError(f"`confidence` must be in [0, 1] or None, got {self.confidence}")
        if self.id in (self.parent, *self.depends_on, *self.contradicts):
            raise ValueError(f"an event must be linked to others only, got {self.id!r} itself")
        if self.time_s is not None and not math.isfinite(self.time_s):
            raise ValueError(f"`time_s` must be finite or None, got {self.time_s}")
        if self.duration_s is not None and not 0.0 <= self.duration_s < math.inf:
            raise ValueError(f"`duration_s` must be finite and >= 0, got {self.duration_s}")
        if self.order < 0:
            raise ValueError(f"`order` must be >= 0, got {self.order}")
        if self.span is not None:
            start, end = self.span
            if not 0 <= start <= end:
                raise ValueError(f"`span` must be (start, end), 0 <= start <= end, got {self.span}")
            object.__setattr__(self, "span", (start, end))

    def __hash__(self) -> int:
        return hash((self.id, self.type, self.order))

    def supports(self) -> tuple[str, ...]:
        """List the ids on which the event rests: its parent and dependencies, each once."""
        if self.parent is None:
            return self.depends_on
        return tuple(dict.fromkeys((self.parent, *self.depends_on)))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping that `from_dict` reads; unknown values stay, as None."""
        data = {name: getattr(self, name) for name in _NAMES}
        for name in _LISTS:
            if data[name] is not None:
                data[name] = list(data[name])
        data["metadata"] = dict(self.metadata)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Event:
        """Read what `to_dict` wrote.

        Raises
        ------
        ValueError
            If a field is unknown, missing or out of its range.
        """
        unknown = [name for name in data if name not in _NAMES]
        if unknown:
            raise ValueError(f"`data` must hold fields of an event only, got {unknown}")
        missing = [name for name in ("id", "type", "source") if name not in data]
        if missing:
            raise ValueError(f"`data` must hold id, type and source, got none of {missing}")
        return cls(**data)


_NAMES = tuple(f.name for f in fields(Event))
_LISTS = ("alternatives", "depends_on", "contradicts", "span")
