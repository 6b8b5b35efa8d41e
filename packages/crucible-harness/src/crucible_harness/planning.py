"""What a run of this size could find, and how many items its question needs."""

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from crucible_harness.claims import Hypothesis
from crucible_harness.contrasts import Contrast

if TYPE_CHECKING:
    from crucible_bench import Comparison


def planning(main: Contrast, hypothesis: Hypothesis) -> tuple[int | None, float | None]:
    """Return the items that a difference of the SESOI needs, and what this many can detect.

    Two-sided, 80 % power, at the variation seen in the run; None where it cannot be said.
    """
    from crucible_bench import detectable_effect, sample_size
    from crucible_bench.power import McNemar, PairedT

    comparison = main.comparison
    if comparison is None or main.n < 2:
        return None, None
    if comparison.design == "independent":
        return _across_items(comparison, hypothesis)
    if comparison.outcome == "binary":
        discordance = float(comparison.metadata["discordant"]) / main.n
        if discordance <= hypothesis.sesoi:
            return None, None
        needed = _pairs(discordance, hypothesis.sesoi, hypothesis.alpha)
        try:
            design = McNemar(discordance)
            return needed, detectable_effect(design, n=main.n, alpha=hypothesis.alpha).effect
        except ValueError:  # with so few items no difference, however large, could be found
            return needed, None
    d_z = comparison.effect_size.value
    if not d_z or main.estimate is None:
        return None, None
    sd = abs(main.estimate / d_z)
    needed = sample_size(PairedT(), effect=hypothesis.sesoi / sd, alpha=hypothesis.alpha).n
    detectable = detectable_effect(PairedT(), n=main.n, alpha=hypothesis.alpha).effect
    return needed, detectable * sd


@lru_cache(maxsize=256)
def _pairs(discordance: float, effect: float, alpha: float) -> int:
    """Return the number of pairs, by exact enumeration: a second, and a run asks it repeatedly."""
    from crucible_bench import sample_size
    from crucible_bench.power import McNemar

    return int(sample_size(McNemar(discordance), effect=effect, alpha=alpha).n)


def _across_items(
    comparison: "Comparison", hypothesis: Hypothesis
) -> tuple[int | None, float | None]:
    from crucible_bench import detectable_effect, sample_size
    from crucible_bench.power import TwoProportions, TwoSampleT

    control, treatment, alpha = comparison.control, comparison.treatment, hypothesis.alpha
    smaller = min(control.n, treatment.n)
    if comparison.outcome == "binary":
        design = TwoProportions(control.mean)
        sign = 1 if control.mean + hypothesis.sesoi <= 1 else -1
        try:
            needed = sample_size(design, effect=sign * hypothesis.sesoi, alpha=alpha).total_n
            return needed, detectable_effect(design, n=smaller, alpha=alpha).effect
        except ValueError:  # a share at its end, or too few items for any difference
            return None, None
    if not control.sd or not treatment.sd:
        return None, None
    sd = math.sqrt((control.sd**2 + treatment.sd**2) / 2)
    needed = sample_size(TwoSampleT(), effect=hypothesis.sesoi / sd, alpha=alpha).total_n
    return needed, detectable_effect(TwoSampleT(), n=smaller, alpha=alpha).effect * sd
