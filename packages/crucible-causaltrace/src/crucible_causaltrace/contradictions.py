"""Where a chain speaks against itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from crucible_causaltrace.folding import fold

if TYPE_CHECKING:
    from crucible_causaltrace.chain import Chain

Rule = Literal["stated", "rejected_then_chosen", "chosen_and_rejected"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """Two events that cannot both stand.

    `rule` is "stated" (one names the other in `contradicts`), "rejected_then_chosen" (the second
    chooses what the first had turned down) or "chosen_and_rejected" (the same decision, once chosen
    and once rejected). `first` and `second` are ids in the chain's order, except that for "stated"
    `second` is the one that is contradicted. `option` is what both speak of, as `first` says it.
    """

    rule: Rule
    first: str
    second: str
    option: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return asdict(self)


def find_contradictions(chain: Chain) -> list[Contradiction]:
    """List the contradictions of a chain, by rule and then in its order.

    An event chooses its decision if its disposition is "chosen", or if it is a `decision_made` that
    was not rejected. It turns down its decision if its disposition is "rejected", and, if it is a
    choice, every alternative that it names.
    """
    found = [
        Contradiction(rule="stated", first=event.id, second=id, option=event.decision)
        for event in chain
        for id in event.contradicts
    ]
    turned_down: dict[str, tuple[str, str]] = {}  # folded option -> (event, option as said)
    explicit: dict[str, dict[str, tuple[str, str]]] = {}  # folded decision -> disposition -> ditto
    later: list[Contradiction] = []
    both: list[Contradiction] = []
    for event in chain:
        folded = None if event.decision is None else fold(event.decision)
        chooses = event.disposition == "chosen" or (
            event.disposition is None and event.type == "decision_made"
        )
        if folded and chooses and folded in turned_down:
            first, option = turned_down[folded]
            later.append(
                Contradiction(
                    rule="rejected_then_chosen", first=first, second=event.id, option=option
                )
            )
        if folded and event.disposition is not None and event.decision is not None:
            sides = explicit.setdefault(folded, {})
            other = sides.get("rejected" if event.disposition == "chosen" else "chosen")
            already = bool(later) and later[-1].second == event.id
            if other is not None and not already:
                both.append(
                    Contradiction(
                        rule="chosen_and_rejected",
                        first=other[0],
                        second=event.id,
                        option=other[1],
                    )
                )
            sides.setdefault(event.disposition, (event.id, event.decision))
        if folded and event.decision is not None and event.disposition == "rejected":
            turned_down.setdefault(folded, (event.id, event.decision))
        if chooses:
            for option in event.alternatives:
                if fold(option) and fold(option) != folded:
                    turned_down.setdefault(fold(option), (event.id, option))
    return found + later + both
