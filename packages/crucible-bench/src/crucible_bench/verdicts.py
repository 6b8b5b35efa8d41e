"""What an interval allows to say, against the smallest effect size of interest."""

import math
from collections.abc import Callable

import numpy as np

from crucible_bench.arrays import check_confidence
from crucible_bench.results import Alternative, Interval, TestResult, Verdict

_OPENINGS = {
    "superior": "Treatment is superior",
    "inferior": "Treatment is inferior",
    "equivalent": "Treatment is equivalent",
    "inconclusive": "The result is inconclusive",
}


def decide(
    interval: Interval, equivalence: Interval, *, sesoi: float, higher_is_better: bool = True
) -> Verdict:
    """Judge a difference (treatment - control) by its intervals; p-values play no part.

    Parameters
    ----------
    interval : Interval at 1 - alpha
    equivalence : Interval at 1 - 2 alpha
        Of the two one-sided tests (TOST).
    sesoi : float, > 0

    References
    ----------
    .. [1] D. Lakens, Social Psychological and Personality Science 8(4), 355-362, 2017.
    """
    low, high = _oriented(interval, higher_is_better)
    inner_low, inner_high = _oriented(equivalence, higher_is_better)
    excludes_zero = low > 0 or high < 0
    non_inferior = low > -sesoi
    if low > sesoi:
        outcome, sentence = "superior", f"better by more than {sesoi:g}"
    elif high < -sesoi:
        outcome, sentence = "inferior", f"worse by more than {sesoi:g}"
    elif inner_low > -sesoi and inner_high < sesoi:
        outcome = "equivalent"
        sentence = (
            f"real but too small to matter (less than {sesoi:g})"
            if excludes_zero
            else f"no difference as large as {sesoi:g}"
        )
    else:
        outcome = "inconclusive"
        sentence = "the interval reaches across the smallest effect of interest"
        if excludes_zero:
            sentence += "; zero is excluded"
        if non_inferior:
            sentence += f"; worse by {sesoi:g} or more is excluded"
    return Verdict(
        outcome=outcome,  # type: ignore[arg-type]
        sesoi=sesoi,
        difference_interval=interval,
        equivalence_interval=equivalence,
        excludes_zero=excludes_zero,
        non_inferior=non_inferior,
        sentence=f"{_OPENINGS[outcome]}: {sentence}.",
    )


def verdict_of(
    run: Callable[[float], TestResult],
    main: TestResult,
    sesoi: float | None,
    higher_is_better: bool,
    confidence: float,
) -> Verdict | None:
    """Judge a test by its interval at 1 - alpha and that of the same test at 1 - 2 alpha."""
    if sesoi is None or main.interval is None:
        return None
    wide = run(round(1 - 2 * (1 - confidence), 12)).interval
    if wide is None:
        return None
    return decide(main.interval, wide, sesoi=sesoi, higher_is_better=higher_is_better)


def check_question(confidence: float, sesoi: float | None, alternative: Alternative) -> None:
    """Raise `ValueError` unless confidence, SESOI and alternative can be used together."""
    check_confidence(confidence)
    if alternative not in ("two-sided", "greater", "less"):
        raise ValueError(
            f'`alternative` must be "two-sided", "greater" or "less", got {alternative!r}'
        )
    if sesoi is None:
        return
    if not (sesoi > 0 and math.isfinite(sesoi)):
        raise ValueError(f"`sesoi` must be > 0, got {sesoi}")
    if confidence <= 0.5:
        raise ValueError(f"`confidence` must be > 0.5 for a verdict, got {confidence}")


def as_seed(rng: int | np.random.Generator | None) -> int | None:
    """Return one seed, so that intervals at two levels come from the same permutations."""
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(2**62))
    return rng


def _oriented(interval: Interval, higher_is_better: bool) -> tuple[float, float]:
    low = -np.inf if interval.low is None else interval.low
    high = np.inf if interval.high is None else interval.high
    return (low, high) if higher_is_better else (-high, -low)
