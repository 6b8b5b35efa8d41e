"""What may be said about a hypothesis, given its interval and what was declared beforehand."""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["supported", "not supported", "inconclusive", "not computed"]
Finding = Literal["superior", "inferior", "equivalent", "different", "non_inferior", "undecided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HypothesisVerdict:
    """The answer to one declared question.

    `finding` says what the interval shows, in the direction of the claim; `excludes_zero` whether
    zero lies outside it (None where there is no interval).
    """

    outcome: Outcome
    finding: Finding
    excludes_zero: bool | None


def judge(
    interval: tuple[float, float] | None,
    *,
    equivalence: tuple[float, float] | None,
    sesoi: float,
    direction: Literal["greater", "less", "two-sided"],
    contrast: str = "difference",
) -> HypothesisVerdict:
    """Judge a difference by its intervals against the smallest effect of interest.

    Parameters
    ----------
    interval : (low, high) or None
        Interval of treatment - control at the level of the verdict; None if it cannot be computed.
    equivalence : (low, high) or None
        Interval at 1 - 2 alpha, for the two one-sided tests; None leaves equivalence undecided.
    sesoi : float, > 0
    direction : {"greater", "less", "two-sided"}
        The claim about treatment - control. p-values play no part.
    contrast : str
        "equivalence" and "non_inferiority" turn the question round: the effect of interest is the
        margin, and a difference inside it is what was claimed.

    Notes
    -----
    Entirely beyond +sesoi in the direction of the claim: superior, supported. Entirely beyond
    -sesoi: inferior; or inside (-sesoi, sesoi): equivalent; both not supported. Else inconclusive.
    A claim of equivalence is supported by an interval at 1 - 2 alpha inside (-sesoi, sesoi), one of
    non-inferiority by one that does not reach -sesoi.
    """
    if interval is None:
        return HypothesisVerdict(outcome="not computed", finding="undecided", excludes_zero=None)
    low, high = interval
    if direction == "less":
        low, high = -high, -low
        equivalence = equivalence and (-equivalence[1], -equivalence[0])
    excludes_zero = low > 0 or high < 0
    if contrast in ("equivalence", "non_inferiority"):
        inner = equivalence or (low, high)
        if contrast == "equivalence":
            holds, fails = -sesoi < inner[0] and inner[1] < sesoi, low > sesoi or high < -sesoi
        else:
            holds, fails = inner[0] > -sesoi, high < -sesoi
        return _within_margin(holds, fails, contrast, excludes_zero)
    if low > sesoi or (direction == "two-sided" and high < -sesoi):
        finding: Finding = "different" if direction == "two-sided" else "superior"
        return HypothesisVerdict(outcome="supported", finding=finding, excludes_zero=excludes_zero)
    if high < -sesoi:
        return HypothesisVerdict(
            outcome="not supported", finding="inferior", excludes_zero=excludes_zero
        )
    if equivalence and equivalence[0] > -sesoi and equivalence[1] < sesoi:
        return HypothesisVerdict(
            outcome="not supported", finding="equivalent", excludes_zero=excludes_zero
        )
    return HypothesisVerdict(
        outcome="inconclusive", finding="undecided", excludes_zero=excludes_zero
    )


def _within_margin(
    holds: bool, fails: bool, contrast: str, excludes_zero: bool
) -> HypothesisVerdict:
    found: Finding = "equivalent" if contrast == "equivalence" else "non_inferior"
    lost: Finding = "different" if contrast == "equivalence" else "inferior"
    outcome: Outcome = "supported" if holds else "not supported" if fails else "inconclusive"
    finding: Finding = found if holds else lost if fails else "undecided"
    return HypothesisVerdict(outcome=outcome, finding=finding, excludes_zero=excludes_zero)


def combine(outcomes: tuple[Outcome, ...]) -> Outcome:
    """Return the verdict of a hypothesis whose parts must all hold.

    One failed part makes it not supported; else one undecided part makes it inconclusive.
    """
    if "not supported" in outcomes:
        return "not supported"
    if "not computed" in outcomes:
        return "not computed"
    if "inconclusive" in outcomes:
        return "inconclusive"
    return "supported"
