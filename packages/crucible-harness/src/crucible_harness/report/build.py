"""From a run and its analysis to the report: what is said, in which order."""

import math
from collections.abc import Iterator, Mapping, Sequence

from crucible_harness import wording
from crucible_harness.analysis import Analysis, ConditionSummary, Estimate1, HypothesisResult
from crucible_harness.observations import observe, value_of
from crucible_harness.recorded import RecordedCell, RecordedRun
from crucible_harness.report import charts
from crucible_harness.report.model import (
    Banner,
    Block,
    Bullets,
    Chart,
    Code,
    Column,
    Explorer,
    Finding,
    Paragraph,
    Report,
    Section,
    Table,
    Text,
)
from crucible_harness.report.values import Value, count, dollars, fixed, measured, p_value, seconds

EXPLORER_BYTES = 20_000_000
# Metrics of effort; they have a table of their own, latency a whole section.
_USED = ("latency_s", "cost_usd", "input_tokens", "output_tokens", "calls")


def build(run: RecordedRun, analysis: Analysis) -> Report:
    """Write the report of a run; the same run gives the same report."""
    sections = [
        _question(run, analysis),
        _conditions(run, analysis),
        _differences(analysis),
        _latency(run, analysis),
        _missing(analysis),
        _exploratory(analysis),
        _planning(analysis),
        _deviations(analysis),
        _method(run, analysis),
        _limits(run, analysis),
        _reproduction(run),
        _references(analysis),
    ]
    return Report(
        title=str(run.design["name"]),
        subtitle=_subtitle(run, analysis),
        banners=tuple(_banners(run)),
        sections=tuple(section for section in sections if section is not None),
        explorer=_explorer(run),
    )


def _subtitle(run: RecordedRun, analysis: Analysis) -> str:
    description = str(run.design.get("description") or "")
    facts = (
        f"{len(run.conditions)} conditions on {analysis.items_analysed:,} items of "
        f"{_dataset(run)}, {run.leaf_calls:,} model calls, seed {run.design['seed']}"
    )
    if description and description[-1] not in ".?!":
        description += "."
    return f"{description} {facts}".strip()


def _dataset(run: RecordedRun) -> str:
    dataset = run.design.get("dataset")
    if isinstance(dataset, Mapping):
        name, split = dataset.get("name", "?"), dataset.get("split")
        return f"{name} ({split})" if split else str(name)
    return str(dataset)


def _banners(run: RecordedRun) -> Iterator[Banner]:
    if run.simulated:
        yield Banner(
            level="warning",
            text=(
                "Simulated: some or all answers come from simulated models. The numbers show how "
                "the method behaves, not how any real model does.",
            ),
        )
    if run.status != "complete":
        yield Banner(
            level="warning",
            text=(
                f"Unfinished: the run ended with status '{run.status}', ",
                count("run.not_run", run.not_run),
                " of ",
                count("run.planned", run.planned),
                " cells were not run.",
            ),
        )
    if run.preregistered:
        yield Banner(level="info", text=("Preregistered: the design was fixed before the run.",))
    else:
        yield Banner(
            level="info",
            text=(
                "Not preregistered: the hypotheses were frozen and hashed before the first call, "
                "but not published.",
            ),
        )


def _question(run: RecordedRun, analysis: Analysis) -> Section:
    blocks: list[Block] = [
        Finding(
            id=result.hypothesis.id,
            claim=wording.claim(result),
            outcome=result.outcome,
            sentence=wording.verdict(result),
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


def _conditions(run: RecordedRun, analysis: Analysis) -> Section:
    metrics = list(next(iter(analysis.conditions.values())).metrics)
    shown = [m for m in metrics if m.partition(":")[0] not in _USED]
    used = [m for m in metrics if m not in shown and not m.startswith("latency_s")]
    columns = [Column(title="condition", numeric=False)]
    for metric in shown:
        columns += [Column(title=metric), Column(title="95 % CI")]
    columns += [
        Column(title="items"),
        Column(title="calls"),
        Column(title="cost"),
        Column(title="tokens in / out"),
        Column(title="failed"),
        Column(title="not read"),
    ]
    rows = tuple(
        (
            (name,),
            *_metric_cells(run, name, summary, shown),
            (count(f"{name}.items", _items(summary, shown)),),
            (count(f"{name}.calls", summary.calls),),
            (dollars(f"{name}.cost_usd", summary.cost_usd),),
            (
                count(f"{name}.input_tokens", summary.input_tokens),
                " / ",
                count(f"{name}.output_tokens", summary.output_tokens),
            ),
            (count(f"{name}.failed", sum(summary.failed_by_class.values())),),
            (count(f"{name}.unextracted", summary.unextracted),),
        )
        for name, summary in analysis.conditions.items()
    )
    blocks: list[Block] = [
        Table(
            id="conditions",
            caption="What each condition did",
            columns=tuple(columns),
            rows=rows,
            note=(
                "Failed answers, and answers in which nothing could be read, count as wrong. "
                "Calls answered from another condition's responses are counted in both.",
            ),
        )
    ]
    if shown:
        blocks += _metric_charts(run, analysis, shown[0])
    if used:
        blocks.append(_usage(run, analysis, used))
    return Section(id="conditions", title="Conditions", blocks=tuple(blocks))


def _usage(run: RecordedRun, analysis: Analysis, metrics: Sequence[str]) -> Table:
    columns = [Column(title="condition", numeric=False)]
    for metric in metrics:
        columns += [Column(title=metric), Column(title="95 % CI")]
    return Table(
        id="usage",
        caption="What an item used, on average where nothing else is said",
        columns=tuple(columns),
        rows=tuple(
            ((name,), *_metric_cells(run, name, summary, metrics))
            for name, summary in analysis.conditions.items()
        ),
    )


def _metric_cells(
    run: RecordedRun, name: str, summary: ConditionSummary, metrics: Sequence[str]
) -> Iterator[Text]:
    for metric in metrics:
        estimate = summary.metrics[metric]
        unit = _unit(run, metric)
        yield (measured(f"{name}.{metric}", estimate.value, unit=unit),)
        yield _interval(f"{name}.{metric}", estimate, unit=unit)


def _interval(id: str, estimate: Estimate1, *, unit: str) -> Text:
    if estimate.low is None and estimate.high is None:
        return ("none",)
    return wording.interval(id, (estimate.low, estimate.high), unit=unit, signed=False)


def _items(summary: ConditionSummary, metrics: Sequence[str]) -> int:
    return max((summary.metrics[metric].n for metric in metrics), default=summary.finished)


def _metric_charts(run: RecordedRun, analysis: Analysis, metric: str) -> list[Block]:
    known = [
        (name, s, s.metrics[metric])
        for name, s in analysis.conditions.items()
        if s.metrics[metric].value is not None
    ]
    if not known:
        return []
    best = max(known, key=lambda entry: (entry[2].value or 0) * (1 if _up(run, metric) else -1))
    names = " and ".join(name for name, _, e in known if e.value == best[2].value)
    rows = [{"label": name, "value": e.value, "low": e.low, "high": e.high} for name, _, e in known]
    spoken = "; ".join(f"{name} {e.value:.3f}" for name, _, e in known)
    unit = _unit(run, metric)
    blocks: list[Block] = [
        Chart(
            id="estimates",
            title=f"Best {metric} in this run: {names} "
            f"({best[2].value:.3f}, n = {best[2].n:,} items)",
            alt=f"{metric} with 95 % intervals by condition: {spoken}.",
            spec=charts.estimates(
                rows, title=f"{metric} ({unit}), 95 % interval", domain=_domain(run, metric)
            ),
        )
    ]
    costs = [s.cost_usd for _, s, _ in known]
    paid = all(c is not None for c in costs) and any(c for c in costs)
    prices = [
        (s.cost_usd or 0.0) / max(1, s.finished) if paid else s.calls / max(1, s.finished)
        for _, s, _ in known
    ]
    if len({round(price, 12) for price in prices}) > 1:
        axis = "cost per item (US dollars)" if paid else "model calls per item"
        blocks.append(
            Chart(
                id="tradeoff",
                title=f"What {metric} costs: {axis}, n = {best[2].n:,} items",
                alt=f"{metric} against {axis} by condition: "
                + "; ".join(
                    f"{name} {e.value:.3f} at {price:.3g}"
                    for (name, _, e), price in zip(known, prices, strict=True)
                )
                + ".",
                spec=charts.trade_off(
                    [dict(row, price=price) for row, price in zip(rows, prices, strict=True)],
                    x=axis,
                    y=metric,
                ),
            )
        )
    return blocks


def _differences(analysis: Analysis) -> Section | None:
    if not analysis.hypotheses:
        return None
    blocks: list[Block] = [
        _contrast_table(
            "differences", "Planned differences, treatment minus control", analysis.hypotheses
        )
    ]
    blocks += _estimation_chart("estimation", analysis.hypotheses)
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


def _complete_row(result: HypothesisResult) -> tuple[Text, ...]:
    id, contrast = f"{result.hypothesis.id}.complete", result.complete_case
    assert contrast is not None  # the caller keeps only results that have one
    return (
        (result.hypothesis.id,),
        (measured(f"{id}.difference", contrast.estimate, unit=result.unit, signed=True),),
        wording.interval(f"{id}.ci", contrast.interval, unit=result.unit),
        (count(f"{id}.n", contrast.n),),
    )


def _contrast_table(id: str, caption: str, results: Sequence[HypothesisResult]) -> Table:
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
        note=tuple(_contrast_note(results)),
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
        (f"{h.treatment} − {h.control}",),
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


def _contrast_note(results: Sequence[HypothesisResult]) -> Iterator[str | Value]:
    methods = sorted({wording.test_name(r.contrast.method) for r in results})
    level = f"{100 * results[0].contrast.confidence:g} %"
    yield f"{level} intervals. Test: {', '.join(methods)}. "
    yield "The item is the unit of analysis: every difference is taken within items. "
    yield "Discordant: items that only the control, and only the treatment, got right."


def _estimation_chart(id: str, results: Sequence[HypothesisResult]) -> list[Block]:
    same = [
        r for r in results if r.unit == results[0].unit and r.hypothesis.contrast == "difference"
    ]
    rows = [
        {
            "label": f"{r.hypothesis.treatment} − {r.hypothesis.control}",
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


def _latency(run: RecordedRun, analysis: Analysis) -> Section | None:
    from crucible_harness.analysis import LATENCY

    observed = observe(run, LATENCY).complete
    samples = {
        name: values[values > 0].tolist() for name, values in observed.items() if (values > 0).any()
    }
    if not samples:
        return None
    columns = [Column(title="condition", numeric=False)]
    for percentile in ("p50", "p95", "p99"):
        columns += [Column(title=percentile.upper()), Column(title="95 % CI")]
    rows = []
    for name, summary in analysis.conditions.items():
        row: list[Text] = [(name,)]
        for percentile, estimate in summary.latency.items():
            id = f"{name}.latency.{percentile}"
            row.append((seconds(id, math.inf if _beyond(estimate) else estimate.value),))
            row.append(_interval(id, estimate, unit="s"))
        rows.append(tuple(row))
    medians = {name: s.latency["p50"].value for name, s in analysis.conditions.items()}
    known = {name: value for name, value in medians.items() if value is not None}
    fastest = min(known, key=lambda name: known[name], default=None)
    blocks: list[Block] = [
        Table(
            id="latency",
            caption="Latency of an item, from first call to answer",
            columns=tuple(columns),
            rows=tuple(rows),
            note=(
                "Distribution-free intervals from order statistics; a limit that these few items "
                "cannot give is printed as none. P99 needs at least 563 items for both limits. "
                "Latency was measured on one machine at one time.",
            ),
        )
    ]
    if fastest is not None:
        blocks.append(
            Chart(
                id="latency-ecdf",
                title=f"Fastest by median: {fastest} "
                f"(n = {len(samples.get(fastest, ())):,} answers)",
                alt="Share of items answered within a time, by condition. Medians: "
                + "; ".join(f"{name} {value:.3g} s" for name, value in known.items())
                + ".",
                spec=charts.latency(samples),
            )
        )
    return Section(id="latency", title="Latency", blocks=tuple(blocks))


def _beyond(estimate: Estimate1) -> bool:
    return estimate.value is None and estimate.censored > 0


def _missing(analysis: Analysis) -> Section:
    rows = tuple(
        (
            (row.condition,),
            (count(f"{row.condition}.planned", row.planned),),
            (count(f"{row.condition}.finished", row.finished),),
            (", ".join(f"{name} {n}" for name, n in row.failed.items()) or "none",),
            (count(f"{row.condition}.not_read", row.unextracted),),
            (count(f"{row.condition}.not_run", row.not_run),),
        )
        for row in analysis.missing.rows
    )
    blocks: list[Block] = [
        Table(
            id="missing",
            caption="Missing outcomes",
            columns=(
                Column(title="condition", numeric=False),
                Column(title="planned"),
                Column(title="finished"),
                Column(title="failed, by class", numeric=False),
                Column(title="answer not read"),
                Column(title="not run"),
            ),
            rows=rows,
        )
    ]
    blocks += [Paragraph(kind="warning", text=(text,)) for text in analysis.missing.warnings]
    return Section(id="missing", title="Missing data", blocks=tuple(blocks))


def _exploratory(analysis: Analysis) -> Section | None:
    if not analysis.exploratory:
        return None
    blocks: list[Block] = [
        Paragraph(
            text=(
                "Not planned, so nothing here is confirmed. p-values are corrected by Benjamini "
                "and Hochberg's method among these lines alone.",
            )
        ),
        _contrast_table("exploratory", "Other differences", analysis.exploratory),
    ]
    if not analysis.hypotheses:
        blocks += _estimation_chart("estimation", analysis.exploratory)
    return Section(id="exploratory", title="Exploratory", blocks=tuple(blocks))


def _planning(analysis: Analysis) -> Section | None:
    results = [
        r
        for r in (*analysis.hypotheses, *analysis.exploratory)
        if r.detectable is not None or r.n_needed is not None
    ]
    if not results:
        return None
    table = Table(
        id="planning",
        caption="What this many items can show, and how many the question needs",
        columns=(
            Column(title="", numeric=False),
            Column(title="items now"),
            Column(title="detectable difference"),
            Column(title="smallest effect of interest"),
            Column(title="items for that"),
        ),
        rows=tuple(
            (
                (r.hypothesis.id,),
                (count(f"{r.hypothesis.id}.n", r.contrast.n),),
                (fixed(f"{r.hypothesis.id}.detectable", r.detectable, unit=r.unit),),
                (fixed(f"{r.hypothesis.id}.sesoi", r.hypothesis.sesoi, digits=2, unit=r.unit),),
                (count(f"{r.hypothesis.id}.n_needed", r.n_needed),),
            )
            for r in results
        ),
        note=(
            "Two-sided, 80 % power, at the disagreement between conditions seen in this run. A "
            "pilot's disagreement is itself uncertain: plan with some reserve.",
        ),
    )
    return Section(id="planning", title="Planning the next run", blocks=(table,))


def _deviations(analysis: Analysis) -> Section:
    if not analysis.deviations:
        block: Block = Paragraph(text=("None found by comparing the run with its design.",))
    else:
        block = Bullets(items=tuple((text,) for text in analysis.deviations))
    return Section(id="deviations", title="Deviations from the design", blocks=(block,))


def _method(run: RecordedRun, analysis: Analysis) -> Section:
    return Section(id="method", title="Method", blocks=(Paragraph(text=(methods(run, analysis),)),))


def methods(run: RecordedRun, analysis: Analysis) -> str:
    """Write the methods paragraph of a paper, from what was done."""
    names = ", ".join(run.conditions)
    tests = sorted(
        {
            wording.test_name(r.contrast.method)
            for r in (*analysis.hypotheses, *analysis.exploratory)
        }
    )
    repeats = int(str(run.design.get("repeats", 1)))
    text = (
        f"Each of {analysis.items_analysed:,} items of {_dataset(run)} was answered under "
        f"{len(run.conditions)} conditions ({names}), {repeats} time{'s' if repeats > 1 else ''} "
        "each, in an interleaved order drawn from the seed. Conditions were compared within items"
    )
    if tests:
        text += f" ({'; '.join(tests)})"
    text += ". Failed and unreadable answers counted as wrong (intention to treat)."
    if len(analysis.hypotheses) > 1:
        text += (
            f" The {len(analysis.hypotheses)} planned p-values were corrected by Holm's method; "
            "verdicts rest on Bonferroni-simultaneous intervals."
        )
    if analysis.hypotheses:
        text += (
            " A hypothesis was called supported only if its whole interval lay beyond the "
            "smallest effect of interest declared before the first call."
        )
    return text


def _limits(run: RecordedRun, analysis: Analysis) -> Section:
    n = analysis.items_analysed
    limits: list[Text] = [
        (
            f"One data set ({_dataset(run)}), one set of prompts, one time window: the intervals "
            "cover the sampling of items and not these choices.",
        )
    ]
    if n < 100:
        limits.append(
            (
                "Only ",
                count("limits.items", n),
                " items: intervals are wide, and a missing difference is not shown to be absent.",
            )
        )
    if n < 563:
        limits.append(("P99 latency cannot be bounded on both sides below 563 items.",))
    served = sorted({name for cell in run.cells for name in cell.served_by})
    if len(served) == 1:
        limits.append((f"One model answered everything: {served[0]}.",))
    return Section(
        id="limits", title="Limits of this study", blocks=(Bullets(items=tuple(limits)),)
    )


def _reproduction(run: RecordedRun) -> Section:
    manifest = run.manifest
    versions = manifest.get("versions")
    packages = (
        ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
        if isinstance(versions, Mapping)
        else "not recorded"
    )
    facts: list[Text] = [
        (f"Design digest: {run.digest}",),
        (f"Versions: {packages}",),
        (f"Python {manifest.get('python', 'not recorded')}, {manifest.get('platform', '')}",),
    ]
    folder = run.path.name
    commands = f"crucible report {folder}\ncrucible resume {folder}"
    return Section(
        id="reproduction",
        title="Reproduction",
        blocks=(
            Bullets(items=tuple(facts)),
            Paragraph(text=("Every number here is computed again from the journal by:",)),
            Code(text=commands),
        ),
    )


_SOURCES = {
    "mcnemar": "M. W. Fagerland, S. Lydersen, P. Laake, BMC Med Res Methodol 13:91, 2013.",
    "tango": "T. Tango, Statistics in Medicine 17, 891-908, 1998 (paired difference).",
    "wilson": "E. B. Wilson, JASA 22(158), 209-212, 1927 (interval of a proportion).",
    "holm": "S. Holm, Scand J Statist 6(2), 65-70, 1979 (correction).",
    "miller": "E. Miller, Adding Error Bars to Evals, arXiv:2411.00640, 2024 (items as clusters).",
}


def _references(analysis: Analysis) -> Section:
    used = ["wilson", "miller"]
    if any("mcnemar" in r.contrast.method for r in (*analysis.hypotheses, *analysis.exploratory)):
        used += ["mcnemar", "tango"]
    if len(analysis.hypotheses) > 1:
        used.append("holm")
    return Section(
        id="references",
        title="References",
        blocks=(Bullets(items=tuple((_SOURCES[key],) for key in sorted(used))),),
    )


def _explorer(run: RecordedRun) -> Explorer:
    cells: dict[str, list[RecordedCell]] = {}
    for cell in run.cells:
        cells.setdefault(cell.item, []).append(cell)
    metric = run.metrics[0].name
    entries: list[dict[str, object]] = []
    for item in run.items:
        rows = [_explorer_cell(cell, metric) for cell in cells.get(item.id, ())]
        outcomes = [str(row["outcome"]) for row in rows]
        right = outcomes.count("right")
        entries.append(
            {
                "id": item.id,
                "input": item.input,
                "expected": None if item.expected is None else str(item.expected),
                "metadata": {
                    k: v
                    for k, v in item.metadata.items()
                    if isinstance(v, str | int | float | bool)
                },
                "prompt": _prompt(cells.get(item.id, ())),
                "cells": rows,
                "right": right,
                "discordance": min(right, len(rows) - right),
            }
        )
    kept, left_out = _within(entries, EXPLORER_BYTES)
    fields = sorted({key for entry in kept for key in entry["metadata"]})  # type: ignore[attr-defined]
    return Explorer(
        conditions=run.conditions,
        fields=tuple(fields),
        items=tuple(kept),
        total=len(entries),
        left_out=left_out,
    )


def _explorer_cell(cell: RecordedCell, metric: str) -> dict[str, object]:
    score = value_of(cell, metric)
    outcome = "failed" if cell.status != "ok" else "unscored" if score is None else None
    votes = cell.votes
    return {
        "condition": cell.condition,
        "repeat": cell.repeat,
        "outcome": outcome or ("right" if score and score >= 0.5 else "wrong"),
        "output": cell.output,
        "answer": cell.answer,
        "votes": None if not votes else ", ".join(f"{a}: {n}" for a, n in sorted(votes.items())),
        "calls": cell.calls,
        "latency": None if cell.latency_s is None else seconds("", cell.latency_s).text,
        "cost": None if cell.cost_usd is None else dollars("", cell.cost_usd).text,
        "error": cell.error_message and f"{cell.error_class}: {cell.error_message}",
        "trace": cell.trace,
    }


def _prompt(cells: Sequence[RecordedCell]) -> str | None:
    for cell in cells:
        if isinstance(cell.messages, str):
            return cell.messages
        if cell.messages:
            return "\n\n".join(f"{m['role']}: {m['content']}" for m in cell.messages)
    return None


def _within(entries: list[dict[str, object]], limit: int) -> tuple[list[dict[str, object]], int]:
    """Keep what fits: items on which conditions disagree or fail come before the others."""
    import json

    sizes = [len(json.dumps(entry)) for entry in entries]
    if sum(sizes) <= limit:
        return entries, 0
    telling = [bool(e["discordance"]) or '"failed"' in json.dumps(e["cells"]) for e in entries]
    kept: set[int] = set()
    room = limit
    for n in sorted(range(len(entries)), key=lambda n: (not telling[n], n)):
        if sizes[n] <= room:
            room -= sizes[n]
            kept.add(n)
    return [entry for n, entry in enumerate(entries) if n in kept], len(entries) - len(kept)


def _unit(run: RecordedRun, label: str) -> str:
    return next(m.unit for m in run.metrics if m.name == label.split(":")[0])


def _up(run: RecordedRun, label: str) -> bool:
    return next(m.higher_is_better for m in run.metrics if m.name == label.split(":")[0])


def _domain(run: RecordedRun, label: str) -> tuple[float, float] | None:
    return next(m.bounds for m in run.metrics if m.name == label.split(":")[0])
