"""Sentences about results, made of the same values that tables print."""

from typing import TYPE_CHECKING

from crucible_harness.report.model import Text
from crucible_harness.report.values import Value, count, fixed, measured, p_value, to_plain

if TYPE_CHECKING:
    from crucible_bench.results import Comparison, Effect
    from crucible_harness.hypotheses import HypothesisResult

plain = to_plain

_CLAIMS = {
    "greater": "higher",
    "less": "lower",
    "two-sided": "different",
}


_TESTS = {
    "mcnemar_midp": "McNemar mid-p",
    "mcnemar_exact": "McNemar exact",
    "paired_t": "paired t",
    "one_sample_t": "one-sample t",
    "linear_contrast": "Welch t of a linear contrast",
    "welch_t": "Welch t",
    "two_proportions": "score test of two proportions",
}


def test_name(method: str) -> str:
    """Return the name of a test as papers write it."""
    return _TESTS.get(method, method.replace("_", " "))


def effect_size(comparison: "Comparison") -> "Effect":
    """Return the effect size beside the difference: for 0/1 scores the odds ratio of the pairs."""
    main = comparison.effect_size
    return comparison.effect_sizes.get("odds_ratio", main)


def claim(result: "HypothesisResult") -> Text:
    """Say what was claimed before the run."""
    h = result.hypothesis
    if h.text:
        return (h.text,)
    sesoi = fixed(f"{h.id}.sesoi", h.sesoi, digits=_digits(h.sesoi), unit=result.unit)
    word = {"greater": "positive", "less": "negative", "two-sided": "not zero"}[h.direction]
    match h.contrast:
        case "equivalence":
            return (f"{result.metric} of {h.treatment} and {h.control} differ by less than ", sesoi,
                    ".")  # fmt: skip
        case "non_inferiority":
            worse = "lower" if h.direction == "greater" else "higher"
            return (f"{result.metric} of {h.treatment} is not {worse} than that of {h.control} by ",
                    sesoi, " or more.")  # fmt: skip
        case "trend" | "interaction":
            return (f"The {_estimate_name(result)} is {word}, by more than ", sesoi, ".")
    return (
        f"{result.metric} of {h.treatment} is {_CLAIMS[h.direction]} than that of {h.control}"
        if h.direction != "two-sided"
        else f"{result.metric} of {h.treatment} differs from that of {h.control}",
        " by more than ",
        fixed(f"{h.id}.sesoi", h.sesoi, digits=_digits(h.sesoi), unit=result.unit),
        ".",
    )


def interval(
    id: str,
    bounds: tuple[float | None, float | None] | None,
    *,
    unit: str = "",
    signed: bool = True,
) -> Text:
    """Write an interval as [low, high]."""
    if bounds is None:
        return ("not computed",)
    low, high = bounds
    return (
        "[",
        measured(f"{id}.low", low, unit=unit, signed=signed) if low is not None else "none",
        ", ",
        measured(f"{id}.high", high, unit=unit, signed=signed) if high is not None else "none",
        "]",
    )


def difference(result: "HypothesisResult") -> Value:
    """Write the estimate of a contrast with its sign; a ratio without."""
    is_ratio = result.hypothesis.contrast == "ratio"
    return measured(
        f"{result.hypothesis.id}.difference",
        result.contrast.estimate,
        unit="" if is_ratio else result.unit,
        signed=not is_ratio,
    )


def _estimate_name(result: "HypothesisResult") -> str:
    h = result.hypothesis
    match h.contrast:
        case "trend":
            return f"slope of {result.metric} over {h.factors[0]}"
        case "interaction":
            return f"interaction {h.label} in {result.metric}"
        case "main_effect":
            return f"main effect of {h.factors[0]} on {result.metric}"
        case "ratio":
            return f"ratio in {result.metric}"
    return f"difference in {result.metric}"


def verdict(result: "HypothesisResult") -> Text:
    """Say what the interval shows, what it does not, and how many items would settle it."""
    h, c = result.hypothesis, result.contrast
    if c.interval is None or c.simultaneous_interval is None:
        return (
            f"{h.label} could not be judged: ",
            c.reason or "there is no interval",
            ".",
        )
    level = 100 * (1 - h.alpha)
    who = "" if h.treatment is None else f"{h.treatment} against {h.control}: "
    name = _estimate_name(result)
    text: Text = (
        f"{who}the {name} is " if who else f"The {name} is ",
        difference(result),
        f", {level:g} % CI ",
        *interval(f"{h.id}.ci", c.interval, unit=result.unit, signed=h.contrast != "ratio"),
        ", ",
        *_p(result),
        *_effect(result),
        f"{c.n:,} items. ",
        *_finding(result),
    )
    return text + _criteria(result) + _needed(result)


def _p(result: "HypothesisResult") -> Text:
    shown = result.p_adjusted if result.p_adjusted is not None else result.contrast.p_value
    if shown is None:
        return ()
    value = p_value(f"{result.hypothesis.id}.p", shown)
    sign = "p " if value.text.startswith("<") else "p = "
    return (sign, value, " (corrected), " if result.p_adjusted is not None else ", ")


def _effect(result: "HypothesisResult") -> Text:
    comparison = result.contrast.comparison
    if comparison is None:
        return ()
    size = effect_size(comparison)
    name = {"odds_ratio": "odds ratio", "d_z": "d_z"}.get(size.name, size.name.replace("_", " "))
    if size.value is None:
        return (f"{name} {size.reason}, ",)
    value = fixed(
        f"{result.hypothesis.id}.effect", size.value, digits=2, signed=size.name != "odds_ratio"
    )
    return (f"{name} ", value, ", ")


def _finding(result: "HypothesisResult") -> Text:
    h = result.hypothesis
    sesoi = fixed(f"{h.id}.sesoi", h.sesoi, digits=_digits(h.sesoi), unit=result.unit)
    side = {"greater": "above", "less": "below", "two-sided": "away from"}[h.direction]
    zero = {
        True: "Zero is excluded. ",
        False: "Zero is not excluded. ",
        None: "",
    }[result.verdict.excludes_zero]
    margin = h.contrast in ("equivalence", "non_inferiority")
    match result.verdict.finding:
        case "non_inferior":
            return ("A loss of ", sesoi, " or more is excluded. ", zero)
        case "different" if margin:
            return ("The whole interval lies beyond ", sesoi, ": the claim is contradicted. ")
        case "undecided" if margin:
            return ("The interval reaches across the margin of ", sesoi,
                    ": the data decide neither way. ", zero)  # fmt: skip
        case "superior" | "different":
            return ("The whole interval lies more than ", sesoi, f" {side} zero. ")
        case "inferior":
            return (
                "The whole interval lies more than ", sesoi,
                " on the other side of zero: the claim is contradicted. ",
            )  # fmt: skip
        case "equivalent":
            return ("Whatever difference there is, is smaller than ", sesoi, ". ", zero)
        case _:
            return (
                "The interval reaches across the smallest effect of interest, ", sesoi,
                ": the data decide neither way. ", zero,
            )  # fmt: skip


def _criteria(result: "HypothesisResult") -> Text:
    text: Text = ()
    for n, criterion in enumerate(result.criteria):
        id = f"{result.hypothesis.id}.criterion{n}"
        bound = criterion.at_least if criterion.at_least is not None else criterion.at_most
        word = "at least" if criterion.at_least is not None else "at most"
        said = {"supported": "proved", "not supported": "refuted"}.get(criterion.outcome, "open")
        text += (
            f"Criterion {criterion.metric} of {criterion.condition} {word} ",
            fixed(f"{id}.bound", bound),
            f": {said} (one-sided 95 % limits ",
            *interval(id, (criterion.low, criterion.high), signed=False),
            "). ",
        )
    return text


def _needed(result: "HypothesisResult") -> Text:
    if result.outcome == "supported" or result.verdict.finding != "undecided":
        return ()
    h = result.hypothesis
    if result.n_needed is None:
        return ()
    text: Text = (f"With {result.contrast.n:,} items no difference had 80 % power to be found; ",)
    if result.detectable is not None:
        text = (
            f"With {result.contrast.n:,} items a true difference of ",
            fixed(f"{h.id}.detectable", result.detectable, unit=result.unit),
            " is found with 80 % power; ",
        )
    return (
        *text,
        "to find one of ",
        fixed(f"{h.id}.sesoi", h.sesoi, digits=_digits(h.sesoi), unit=result.unit),
        " takes about ",
        count(f"{h.id}.n_needed", result.n_needed),
        " items. ",
    )


def _digits(number: float) -> int:
    """Return the decimals that a declared number was written with, at least two."""
    return max(2, len(f"{number:.10g}".partition(".")[2]))
