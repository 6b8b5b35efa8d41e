"""What was measured under each condition: metrics, effort, latency, what is missing."""

import math
from collections.abc import Iterator, Sequence

from crucible_harness import wording
from crucible_harness.analysis import Analysis
from crucible_harness.estimates import LATENCY, Estimate1
from crucible_harness.observations import observe
from crucible_harness.recorded import RecordedRun
from crucible_harness.report import charts, tail
from crucible_harness.report.model import (
    Block,
    Chart,
    Column,
    Paragraph,
    Section,
    Table,
    Text,
)
from crucible_harness.report.tradeoff import levels, trade_off
from crucible_harness.report.values import count, dollars, measured, seconds
from crucible_harness.summaries import ConditionSummary

# Metrics of effort; they have a table of their own, latency a whole section.
_USED = ("latency_s", "cost_usd", "input_tokens", "output_tokens", "calls")


def conditions(run: RecordedRun, analysis: Analysis) -> Section:
    """Show metrics and effort of each condition."""
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
        blocks += [*levels(run, analysis, shown[0]), *trade_off(run, analysis, shown[0])]
    if used:
        blocks.append(_usage(run, analysis, used))
    return Section(id="conditions", title="Conditions", blocks=tuple(blocks))


def latency(run: RecordedRun, analysis: Analysis) -> Section | None:
    """Show latency percentiles and their distribution."""
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
    blocks += [*tail.objectives(analysis), *tail.hedging(analysis)]
    return Section(id="latency", title="Latency", blocks=tuple(blocks))


def missing(analysis: Analysis) -> Section:
    """Count what is missing, by condition and cause."""
    unscored = any(row.scorer_errors for row in analysis.missing.rows)
    rows = tuple(
        (
            (row.condition,),
            (count(f"{row.condition}.planned", row.planned),),
            (count(f"{row.condition}.finished", row.finished),),
            (", ".join(f"{name} {n}" for name, n in row.failed.items()) or "none",),
            (count(f"{row.condition}.not_read", row.unextracted),),
            (count(f"{row.condition}.not_run", row.not_run),),
            *(((count(f"{row.condition}.scorer_errors", row.scorer_errors),),) if unscored else ()),
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
                *((Column(title="scorer error"),) if unscored else ()),
            ),
            rows=rows,
        )
    ]
    blocks += [Paragraph(kind="warning", text=(text,)) for text in analysis.missing.warnings]
    return Section(id="missing", title="Missing data", blocks=tuple(blocks))


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


def _beyond(estimate: Estimate1) -> bool:
    return estimate.value is None and estimate.censored > 0


def _unit(run: RecordedRun, label: str) -> str:
    return next(m.unit for m in run.metrics if m.name == label.split(":")[0])
