"""Which test is used, and the sentences that say why."""

from typing import Literal

import numpy as np

from crucible_bench.arrays import Array
from crucible_bench.description import skewness
from crucible_bench.results import Selection

Estimand = Literal["mean", "dominance"]
IndependentTest = Literal[
    "default", "auto", "welch_t", "student_t", "yuen_t", "mann_whitney", "brunner_munzel",
    "permutation", "two_proportions", "fisher_exact",
]  # fmt: skip
PairedTest = Literal[
    "default", "auto", "paired_t", "wilcoxon", "permutation", "mcnemar_midp", "mcnemar_exact",
    "mcnemar_asymptotic",
]  # fmt: skip
INDEPENDENT = (
    "default", "auto", "welch_t", "student_t", "yuen_t", "mann_whitney", "brunner_munzel",
    "permutation", "two_proportions", "fisher_exact",
)  # fmt: skip
PAIRED = (
    "default", "auto", "paired_t", "wilcoxon", "permutation", "mcnemar_midp", "mcnemar_exact",
    "mcnemar_asymptotic",
)  # fmt: skip
_DOMINANCE = ("mann_whitney", "brunner_munzel", "wilcoxon")
_BINARY = ("two_proportions", "fisher_exact", "mcnemar_midp", "mcnemar_exact", "mcnemar_asymptotic")


def choose(
    test: str,
    estimand: Estimand,
    samples: tuple[Array, ...],
    *,
    paired: bool,
    binary: bool,
    clustered: bool,
) -> Selection:
    """Choose inside the named estimand, never across it.

    Parameters
    ----------
    samples : both groups, or the paired differences alone

    Raises
    ------
    ValueError
        If `test` is unknown, or does not fit scores, clusters or estimand.
    """
    known = PAIRED if paired else INDEPENDENT
    if test not in known:
        raise ValueError(f"`test` must be one of {', '.join(known)}, got {test!r}")
    if estimand not in ("mean", "dominance"):
        raise ValueError(f'`estimand` must be "mean" or "dominance", got {estimand!r}')
    if test in _BINARY and not binary:
        raise ValueError(f"`test` must fit the scores: {test!r} needs scores of 0 and 1")
    if clustered and test not in ("default", "auto", "permutation"):
        raise ValueError(f"`test` must be default, auto or permutation with clusters, got {test!r}")
    if clustered and estimand == "dominance":
        raise ValueError("`estimand` must be \"mean\" with clusters, got 'dominance'")
    if estimand == "dominance" and test not in ("default", "auto", *_DOMINANCE):
        raise ValueError(f'`test` {test!r} is about means; `estimand` must be "mean"')
    if test not in ("default", "auto"):
        return Selection(test=test, rule="requested", reasons=(f"{test} was asked for",))
    rule: Literal["default", "auto"] = "default" if test == "default" else "auto"
    chosen, reasons = _find(rule, estimand, samples, paired, binary, clustered)
    return Selection(test=chosen, rule=rule, reasons=reasons)


def _find(
    rule: str,
    estimand: Estimand,
    samples: tuple[Array, ...],
    paired: bool,
    binary: bool,
    clustered: bool,
) -> tuple[str, tuple[str, ...]]:
    design = "the same items" if paired else "independent groups"
    if clustered:
        return "cluster_t", (
            f"{design} in clusters: t test of the mean difference with the CR2 cluster-robust "
            "variance and Satterthwaite's degrees of freedom",
        )
    n = min(s.size for s in samples)
    if estimand == "dominance":
        if paired:
            return "wilcoxon", ("dominance of paired scores: Wilcoxon's signed-rank test",)
        if n >= 15:
            return "brunner_munzel", (
                f"n = {n} >= 15: Brunner-Munzel, which allows unequal variances",
            )
        return "mann_whitney", (
            f"n = {n} < 15, too few for Brunner-Munzel's approximation: exact Mann-Whitney",
        )
    if binary:
        why = f"{design} and scores are 0 or 1"
        if paired:
            return "mcnemar_midp", (f"{why}: McNemar's mid-p test with Tango's interval",)
        return "two_proportions", (f"{why}: score test with Miettinen and Nurminen's interval",)
    t = "paired_t" if paired else "welch_t"
    name = "the paired t test" if paired else "Welch's t test, whatever the variances"
    why = f"{design} and scores are not only 0 and 1"
    if rule == "default":
        return t, (f"{why}: {name}",)
    return _by_size(n, samples, t, why)


def _by_size(n: int, samples: tuple[Array, ...], t: str, why: str) -> tuple[str, tuple[str, ...]]:
    if n >= 40:
        return t, (why, f"n = {n} >= 40: the t distribution holds for means")
    if n < 15:
        return "permutation", (
            why,
            f"n = {n} < 15, so the permutation distribution of the studentised difference "
            "replaces t",
        )
    skews = [skewness(s) for s in samples]
    worst = float(np.max([abs(s) for s in skews if s is not None] or [0.0]))
    if worst < 1:
        return t, (why, f"n = {n} >= 15 and skewness {worst:.2f} < 1: the t distribution holds")
    return "permutation", (
        why,
        f"n = {n} < 40 and skewness {worst:.2f} >= 1, so the permutation distribution of the "
        "studentised difference replaces t",
    )
