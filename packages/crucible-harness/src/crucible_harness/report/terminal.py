"""The verdict on the screen, after a run."""

from typing import TYPE_CHECKING

from crucible_harness import wording
from crucible_harness.report.values import count, dollars, measured, seconds

if TYPE_CHECKING:
    from rich.console import RenderableType

    from crucible_harness.analysis import Analysis
    from crucible_harness.recorded import RecordedRun

_STYLES = {"supported": "bold green", "not supported": "bold red"}


def screen(run: "RecordedRun", analysis: "Analysis") -> "RenderableType":
    """Return accuracy and latency per condition, then each verdict, for a rich console."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    metric = run.metrics[0]
    label = next(iter(next(iter(analysis.conditions.values())).metrics))
    table = Table(box=None, pad_edge=False, header_style="bold")
    summaries = analysis.conditions
    failures = any(summary.failed_by_class for summary in summaries.values())
    # What nobody knows of any condition, as of an imported table, has no column.
    percentiles = [
        p
        for p in ("p50", "p95", "p99")
        if any(summary.latency[p].value is not None for summary in summaries.values())
    ]
    calls = any(summary.calls is not None for summary in summaries.values())
    cost = any(summary.cost_usd is not None for summary in summaries.values())
    headers = ["condition", label, "95 % CI", *percentiles]
    headers += [
        header
        for header, known in (("calls", calls), ("cost", cost), ("failed", failures))
        if known
    ]
    for number, header in enumerate(headers):
        table.add_column(header, justify="left" if number == 0 else "right", no_wrap=True)
    for name, summary in summaries.items():
        estimate = summary.metrics[label]
        table.add_row(
            Text(name),
            measured("", estimate.value, unit=metric.unit).text,
            wording.plain(
                wording.interval("", (estimate.low, estimate.high), unit=metric.unit, signed=False)
            ).replace("[", r"\["),
            *(seconds("", summary.latency[p].value).text for p in percentiles),
            *([count("", summary.calls).text] if calls else []),
            *([dollars("", summary.cost_usd).text] if cost else []),
            *([count("", sum(summary.failed_by_class.values())).text] if failures else []),
        )
    parts: list[RenderableType] = [table]
    for result in analysis.hypotheses:
        parts.append(Text())
        head = Text(
            f"{result.hypothesis.id}: {result.outcome}", _STYLES.get(result.outcome, "bold yellow")
        )
        parts += [head, Text(result.sentence)]
    if analysis.exploratory:
        parts.append(Text("\nExploratory, nothing confirmed:", "bold"))
        parts += [Text(_line(result)) for result in analysis.exploratory]
    parts += [
        Text(f"\nWarning: {text}", "yellow") for text in (*analysis.deviations, *analysis.warnings)
    ]
    return Group(*parts)


def _line(result: object) -> str:
    from crucible_harness.hypotheses import HypothesisResult

    assert isinstance(result, HypothesisResult)
    bounds = wording.plain(wording.interval("", result.contrast.interval, unit=result.unit))
    return f"  {result.hypothesis.id}: {wording.difference(result).text} {bounds}"
