"""What is odd about a chain whose links are sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from crucible_causaltrace.event import Event
from crucible_causaltrace.vocabulary import read_type

if TYPE_CHECKING:
    from crucible_causaltrace.chain import Chain

ProblemCode = Literal[
    "unknown_type", "reserved_type", "unresolved_reference", "truncated", "before_its_ground",
    "repeated_order",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something about one event that deserves a look.

    `unknown_type`: neither canonical nor `namespace:name`. `reserved_type`: a type that only code
    may give, in a self-report. `unresolved_reference`: it names an event that does not exist.
    `truncated`: the text ended inside it. `before_its_ground`: it began before an event on which
    it rests. `repeated_order`: it has the place of an earlier event.
    """

    code: ProblemCode
    event_id: str
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return asdict(self)


def find_problems(chain: Chain) -> list[Problem]:
    """List what is odd, event by event; cycles and missing events a chain does not let in."""
    taken: set[int] = set()
    found: list[Problem] = []
    for event in chain:
        found += [
            Problem(code=code, event_id=event.id, message=message)
            for code, message in _of(chain, event, taken)
        ]
        taken.add(event.order)
    return found


def _of(chain: Chain, event: Event, taken: set[int]) -> Iterator[tuple[ProblemCode, str]]:
    if event.type != "unspecified":
        standing = read_type(event.type)[2]
        if standing == "unknown":
            yield "unknown_type", f"{event.type!r} is no canonical type and has no namespace"
        elif standing == "reserved" and event.source == "self_report":
            yield "reserved_type", f"{event.type!r} is a type that only code may give"
    if "unresolved" in event.metadata:
        yield "unresolved_reference", f"no event is what it names: {event.metadata['unresolved']}"
    if event.truncated:
        yield "truncated", "the text ends inside this event"
    early = [
        id
        for id in event.supports()
        if event.time_s is not None
        and (ground := chain[id].time_s) is not None
        and event.time_s < ground
    ]
    if early:
        yield "before_its_ground", f"it began before {', '.join(map(repr, early))}"
    if event.order in taken:
        yield "repeated_order", f"an earlier event has the place {event.order}"
