"""A comparison in words, and what data like these could have shown."""

import math

from crucible_bench.bayes import Posterior
from crucible_bench.results import Comparison, Interval


def interpret(c: Comparison) -> str:
    """Say what was compared, found, and not asked, in one paragraph."""
    sentences = [_means(c), _difference(c), _test(c)]
    effect = c.effect_size
    if effect.value is not None and effect.name != "risk_difference":
        size = f"The effect size {effect.name} is {effect.value:.2f}"
        if effect.interval is not None:
            size += f" {_limits(effect.interval, 2)}"
        if effect.magnitude is not None:
            size += f', by convention "{effect.magnitude}"'
        sentences.append(size + ".")
    elif effect.value is None:
        sentences.append(f"The effect size {effect.name} is not defined: {effect.reason}.")
    n = c.n_pairs or min(c.control.n, c.treatment.n)
    if n < 20 and c.outcome == "continuous":
        sentences.append(
            f"With n = {n}{' pairs' if c.n_pairs else ' in an arm'} the size of the effect is "
            "hardly known, whatever the p-value."
        )
    sentences.append(
        c.verdict.sentence
        if c.verdict is not None
        else "Whether the difference matters was not asked: no smallest effect was named."
    )
    if c.agreement is False:
        sentences.append("Other tests of the same question come out on the other side of alpha.")
    sentences += [f"Note: {warning}." for warning in c.warnings]
    return " ".join(sentences)


def detectable(c: Comparison, *, power: float) -> float | None:
    """Return the smallest difference that a repetition would find with this power.

    Notes
    -----
    From the observed spread or discordance; with clusters, from the standard error that the
    interval implies, with its degrees of freedom.
    """
    from crucible_bench.binary_designs import McNemar, TwoProportions
    from crucible_bench.designs import PairedT, TwoSampleT
    from crucible_bench.sizing import detectable_effect

    if not 0 < power < 1:
        raise ValueError(f"`power` must be in (0, 1), got {power}")
    if c.control.n_clusters is not None:
        return _from_interval(c, power)
    try:
        if c.outcome == "binary" and c.n_pairs is not None:
            discordance = c.metadata["discordant"] / c.n_pairs
            if discordance == 0:
                return None
            return detectable_effect(
                McNemar(discordance), n=c.n_pairs, power=power, alpha=c.alpha
            ).effect
        if c.outcome == "binary":
            ratio = c.treatment.n / c.control.n
            design = TwoProportions(c.control.mean, ratio=ratio)
            return detectable_effect(design, n=c.control.n, power=power, alpha=c.alpha).effect
    except ValueError:  # with so few items no difference, however large, could be found
        return None
    if c.n_pairs is not None:
        d_z = c.effect_sizes["d_z"].value if "d_z" in c.effect_sizes else None
        if d_z is None or d_z == 0:
            return _from_interval(c, power)
        sd = abs((c.treatment.mean - c.control.mean) / d_z)
        return sd * detectable_effect(PairedT(), n=c.n_pairs, power=power, alpha=c.alpha).effect
    if c.control.sd is None or c.treatment.sd is None or c.estimand == "dominance":
        return None
    n0, n1 = c.control.n, c.treatment.n
    pooled = math.sqrt(((n0 - 1) * c.control.sd**2 + (n1 - 1) * c.treatment.sd**2) / (n0 + n1 - 2))
    if pooled == 0:
        return None
    design_t = TwoSampleT(ratio=n1 / n0)
    return pooled * detectable_effect(design_t, n=n0, power=power, alpha=c.alpha).effect


def posterior(c: Comparison, *, rope: float | None, prior: float) -> Posterior:
    """Return the posterior of a difference of shares from the counts of a comparison."""
    from crucible_bench.bayes import compare_paired_counts, compare_proportions

    if c.outcome != "binary" or c.control.n_clusters is not None:
        raise ValueError("the comparison must be of 0/1 scores without clusters for a posterior")
    level = 1 - c.alpha
    if c.n_pairs is not None:
        return compare_paired_counts(
            round(c.metadata["control_only"]), round(c.metadata["treatment_only"]),
            pairs=c.n_pairs, prior=prior, rope=rope, confidence=level,
        )  # fmt: skip
    return compare_proportions(
        (round(c.metadata["control_successes"]), c.control.n),
        (round(c.metadata["treatment_successes"]), c.treatment.n),
        prior=prior, rope=rope, confidence=level,
    )  # fmt: skip


def _from_interval(c: Comparison, power: float) -> float | None:
    from scipy import special

    interval = c.confidence_interval
    if interval is None or interval.low is None or interval.high is None or not c.df:
        return None
    df = c.df[0]
    critical = float(special.stdtrit(df, (1 + interval.level) / 2))
    se = (interval.high - interval.low) / (2 * critical)
    return (critical + float(special.stdtrit(df, power))) * se


def _means(c: Comparison) -> str:
    parts = []
    for arm in (c.control, c.treatment):
        sd = "" if arm.sd is None else f", SD {arm.sd:.3f}"
        where = "" if arm.n_clusters is None else f" in {arm.n_clusters} clusters"
        parts.append(f"{arm.label} scored {arm.mean:.3f} on average{sd} (n = {arm.n}{where})")
    return f"{parts[0]}, {parts[1]}."


def _difference(c: Comparison) -> str:
    names = {
        "yuen_t": "difference of trimmed means",
        "mann_whitney": "Hodges-Lehmann shift",
        "wilcoxon": "pseudo-median of the differences",
        "brunner_munzel": "probability of superiority beyond 1/2",
    }
    what = names.get(c.test, "difference")
    if c.estimand == "dominance" and c.design == "independent":
        what = names["brunner_munzel"]
    text = f"The {what} is {c.difference:.3f}"
    if c.confidence_interval is None:
        return f"{text}, without an interval."
    return f"{text}, {_limits(c.confidence_interval, 3)}."


def _test(c: Comparison) -> str:
    if c.p_value is None:
        return f"{c.test} has no p-value."
    from crucible_bench.report import p_text, statistic_text

    side = "" if c.alternative == "two-sided" else f" (one-sided, {c.alternative})"
    corrected = "" if c.p_adjusted is None else f", corrected {p_text(c.p_adjusted)}"
    return f"{c.test}: {statistic_text(c)}{p_text(c.p_value)}{corrected}{side}."


def _limits(interval: Interval, digits: int) -> str:
    low = "none" if interval.low is None else f"{interval.low:.{digits}f}"
    high = "none" if interval.high is None else f"{interval.high:.{digits}f}"
    return f"[{low}, {high}] at {100 * interval.level:g} %"
