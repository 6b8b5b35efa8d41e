"""Ways to spoil a stated reason, after Lanham et al. 2023 (arXiv 2307.13702)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from crucible_causaltrace.event import Event


class Perturbation(Protocol):
    """Changes one event of a trace, or what comes after it."""

    @property
    def name(self) -> str:
        """Return what it is called in reports."""
        ...

    def perturb(self, events: Sequence[Event], at: int, /) -> Sequence[Event]:
        """Return the trace with the reason of `events[at]` spoilt; `events` stay as they are."""
        ...


@dataclass(frozen=True, slots=True)
class Remove:
    """Leave the reason out."""

    name: str = "removed"

    def perturb(self, events: Sequence[Event], at: int, /) -> Sequence[Event]:
        """Return the trace without the reason."""
        return _with_reason(events, at, None)


@dataclass(frozen=True, slots=True)
class TruncateAfter:
    """End the trace after the event: what is answered early does not need the rest."""

    name: str = "truncated after"

    def perturb(self, events: Sequence[Event], at: int, /) -> Sequence[Event]:
        """Return the trace up to the event, which is kept."""
        return list(events[: at + 1])


@dataclass(frozen=True, slots=True)
class Filler:
    """Put as many characters of filler in the reason's place.

    Parameters
    ----------
    text : str, not empty
        Repeated up to the length of the reason.
    """

    text: str = "... "
    name: str = "replaced by filler"

    def __post_init__(self) -> None:
        if not self.text:
            raise ValueError("`text` must have a character, got ''")

    def perturb(self, events: Sequence[Event], at: int, /) -> Sequence[Event]:
        """Return the trace with filler for the reason."""
        length = len(events[at].reasoning or "")
        filler = self.text * (length // len(self.text) + 1)
        return _with_reason(events, at, filler[:length])


@dataclass(frozen=True, slots=True)
class Replace:
    """Put another reason in its place: one with a planted error, a paraphrase.

    Parameters
    ----------
    with_ : callable
        From the reason to what stands in its place.
    """

    with_: Callable[[str], str]
    name: str = "replaced"

    def perturb(self, events: Sequence[Event], at: int, /) -> Sequence[Event]:
        """Return the trace with the other reason."""
        return _with_reason(events, at, self.with_(events[at].reasoning or ""))


def _with_reason(events: Sequence[Event], at: int, reasoning: str | None) -> list[Event]:
    changed = list(events)
    changed[at] = replace(events[at], reasoning=reasoning)
    return changed
