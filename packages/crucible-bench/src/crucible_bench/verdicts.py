"""What an interval allows to say, against the smallest effect size of interest."""

import numpy as np

from crucible_bench.arrays import Array
from crucible_bench.results import Interval, Sample, Verdict


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
        sentence=f"Treatment is {outcome}: {sentence}.",
    )


def describe_arm(label: str, items: Array, *, n_missing: int = 0) -> Sample:
    """Describe one arm of a comparison."""
    return Sample(
        label=label,
        n=items.size,
        mean=float(items.mean()),
        sd=float(items.std(ddof=1)) if items.size > 1 else None,
        median=float(np.median(items)),
        n_missing=n_missing,
    )


def paired_icc(control: Array, treatment: Array) -> float | None:
    """Return ICC(1) of repeats within items and arms; None without repeats or without variation.

    Notes
    -----
    One-way ANOVA estimator over the item x arm cells with all repeats present.
    """
    if control.ndim == 1 or control.shape[1] < 2:
        return None
    cells = np.concatenate([control, treatment])
    cells = cells[~np.isnan(cells).any(axis=1)]
    if len(cells) < 2:
        return None
    k = cells.shape[1]
    between = k * float(cells.mean(axis=1).var(ddof=1))
    within = float(cells.var(axis=1, ddof=1).mean())
    total = between + (k - 1) * within
    return None if total == 0 else (between - within) / total


def _oriented(interval: Interval, higher_is_better: bool) -> tuple[float, float]:
    low = -np.inf if interval.low is None else interval.low
    high = np.inf if interval.high is None else interval.high
    return (low, high) if higher_is_better else (-high, -low)
