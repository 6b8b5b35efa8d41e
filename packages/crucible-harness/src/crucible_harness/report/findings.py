"""The verdicts, and the differences that they rest on."""

from collections.abc import Iterator, Sequence

from crucible_harness import wording
from crucible_harness.analysis import Analysis
from crucible_harness.hypotheses import HypothesisResult
from crucible_harness.recorded import RecordedRun
from crucible_harness.report import charts
from crucible_harness.report.checks import groups
from crucible_harness.report.discordance import discordance
from crucible_harness.report.model import (
    Block,
    Chart,
    Column,
    Finding,
    Interval,
    Paragraph,
    Section,
    Table,
    Text,
)
from crucible_harness.report.values import Value, count, fixed, measured, p_value


def question(run: RecordedRun, analysis: Analysis) -> Section:
    """State each hypothesis with its verdict."""
    blocks: list[Block] = [
        Finding(
            id=result.hypothesis.id,
            claim=wording.claim(result),
            outcome=result.outcome,
            sentence=wording.verdict(result),
            drawn=_drawn(result),
        )
        for result in analysis.hypotheses
    ]
    if not blocks:
        blocks.append(
            Paragraph(
                text=(
                    "No hypothesis was declared. The differences below are exploratory: they "
                    "suggest what to ask next and confirm nothing.",
                )
            )
        )
    if len(analysis.hypotheses) > 1:
        blocks.append(
            Paragraph(
                kind="note",
                text=(
                    "p-values are corrected by Holm's method within the family; verdicts use "
                    "intervals that hold for the whole family together (Bonferroni).",
                ),
            )
        )
    return Section(id="verdict", title="Question and verdict", blocks=tuple(blocks))


def differences(run: RecordedRun, analysis: Analysis) -> Section | None:
    """Show the planned differences, also without failures where there were any."""
    if not analysis.hypotheses:
        return None
    blocks: list[Block] = [
        _contrast_table(
            "differences",
            "Planned differences, treatment minus control",
            analysis.hypotheses,
            within=run.layout.within,
        )
    ]
    blocks += _estimation_chart("estimation", analysis.hypotheses)
    blocks += discordance(run, analysis)
    complete = [r for r in analysis.hypotheses if r.complete_case is not None]
    if complete:
        blocks.append(
            Table(
                id="complete-case",
                caption="The same without failed answers (complete cases)",
                columns=(
                    Column(title="hypothesis", numeric=False),
                    Column(title="difference"),
                    Column(title="95 % CI"),
                    Column(title="items"),
                ),
                rows=tuple(_complete_row(result) for result in complete),
                note=(
                    "For comparison only. Leaving failures out asks a different question: how good "
                    "the answers are, given that there is one.",
                ),
            )
        )
    for result in analysis.hypotheses:
        blocks += [
            Paragraph(kind="warning", text=(f"{result.hypothesis.id}: {w}",))
            for w in result.warnings
        ]
    return Section(id="differences", title="Differences", blocks=tuple(blocks))


def exploratory(run: RecordedRun, analysis: Analysis) -> Section | None:
    """Show the differences and groups that nobody planned, as suggestions."""
    tables = groups(run, analysis)
    if not analysis.exploratory:
        return (
            Section(id="exploratory", title="Exploratory", blocks=tuple(tables)) if tables else None
        )
    blocks: list[Block] = [
        Paragraph(
            text=(
                "Not planned, so nothing here is confirmed. p-values are corrected by Benjamini "
                "and Hochberg's method among these lines alone.",
            )
        ),
        _contrast_table(
            "exploratory", "Other differences", analysis.exploratory, within=run.layout.within
        ),
    ]
    if not analysis.hypotheses:
        blocks += _estimation_chart("estimation", analysis.exploratory)
    blocks += tables
    return Section(id="exploratory", title="Exploratory", blocks=tuple(blocks))


def _drawn(result: HypothesisResult) -> Interval | None:
    """Return the interval that decided, to be drawn against the smallest effect of interest."""
    h, c = result.hypothesis, result.contrast
    if h.contrast == "ratio" or c.estimate is None or c.simultaneous_interval is None:
        return None
    ends = c.simultaneous_interval
    low, high = (measured("", end, unit=result.unit, signed=True) for end in ends)
    return Interval(
        low=low,
        estimate=wording.difference(result),
        high=high,
        sesoi=h.sesoi,
        direction="both" if h.contrast == "equivalence" else h.direction,
    )


def _complete_row(result: HypothesisResult) -> tuple[Text, ...]:
    id, contrast = f"{result.hypothesis.id}.complete", result.complete_case
    assert contrast is not None  # the caller keeps only results that have one
    return (
        (result.hypothesis.id,),
        (measured(f"{id}.difference", contrast.estimate, unit=result.unit, signed=True),),
        wording.interval(f"{id}.ci", contrast.interval, unit=result.unit),
        (count(f"{id}.n", contrast.n),),
    )


def _contrast_table(
    id: str, caption: str, results: Sequence[HypothesisResult], *, within: bool
) -> Table:
    return Table(
        id=id,
        caption=caption,
        columns=(
            Column(title="", numeric=False),
            Column(title="treatment − control", numeric=False),
            Column(title="metric", numeric=False),
            Column(title="difference"),
            Column(title="CI"),
            Column(title="p"),
            Column(title="p corrected"),
            Column(title="effect size"),
            Column(title="discordant"),
            Column(title="items"),
            Column(title="verdict", numeric=False),
        ),
        rows=tuple(_contrast_row(result) for result in results),
        note=tuple(_contrast_note(results, within=within)),
    )


def _contrast_row(result: HypothesisResult) -> tuple[Text, ...]:
    h, c = result.hypothesis, result.contrast
    effect: Text = ("none",)
    discordant: Text = ("",)
    if c.comparison is not None:
        size = wording.effect_size(c.comparison)
        name = size.name.replace("_", " ")
        if size.value is not None:
            signed = name != "odds ratio"
            effect = (fixed(f"{h.id}.effect", size.value, digits=2, signed=signed), f" ({name})")
        elif size.reason:
            effect = (size.reason,)
        counts = c.comparison.metadata
        if "control_only" in counts and "treatment_only" in counts:
            discordant = (
                count(f"{h.id}.control_only", round(counts["control_only"])),
                " / ",
                count(f"{h.id}.treatment_only", round(counts["treatment_only"])),
            )
    return (
        (h.id,),
        (h.label,),
        (result.metric,),
        (wording.difference(result),),
        wording.interval(f"{h.id}.ci", c.interval, unit=result.unit, signed=h.contrast != "ratio"),
        (p_value(f"{h.id}.p_raw", c.p_value),),
        (p_value(f"{h.id}.p", result.p_adjusted),),
        effect,
        discordant,
        (count(f"{h.id}.n", c.n),),
        (result.outcome if h.kind == "confirmatory" else "exploratory",),
    )


def _contrast_note(results: Sequence[HypothesisResult], *, within: bool) -> Iterator[str | Value]:
    methods = sorted({wording.test_name(r.contrast.method) for r in results})
    level = f"{100 * results[0].contrast.confidence:g} %"
    yield f"{level} intervals. Test: {', '.join(methods)}. "
    where = "within items" if within else "across items, each under one condition"
    yield f"The item is the unit of analysis: every difference is taken {where}. "
    if within:
        yield "Discordant: items that only the control, and only the treatment, got right."


def _estimation_chart(id: str, results: Sequence[HypothesisResult]) -> list[Block]:
    same = [
        r for r in results if r.unit == results[0].unit and r.hypothesis.contrast == "difference"
    ]
    rows = [
        {
            "label": r.hypothesis.label,
            "value": r.contrast.estimate,
            "low": r.contrast.interval[0],
            "high": r.contrast.interval[1],
        }
        for r in same
        if r.contrast.interval is not None
    ]
    if not rows:
        return []
    crossing = sum(1 for r in rows if float(str(r["low"])) <= 0 <= float(str(r["high"])))
    sesoi = {r.hypothesis.sesoi for r in same}
    return [
        Chart(
            id=id,
            title=f"{len(rows) - crossing} of {len(rows)} intervals exclude zero "
            f"(n = {same[0].contrast.n:,} items"
            + (f"; shaded: differences below {min(sesoi):g})" if len(sesoi) == 1 else ")"),
            alt="Differences with 95 % intervals: "
            + "; ".join(
                f"{row['label']}: {row['value']:.3f}, from {row['low']:.3f} to {row['high']:.3f}"
                for row in rows
            )
            + ".",
            spec=charts.estimation(
                rows,
                unit=f"{same[0].metric}, {same[0].unit}".rstrip(", "),
                sesoi=sesoi.pop() if len(sesoi) == 1 else None,
            ),
        )
    ]
