"""What else a reader should know before trusting the numbers: drift, changed models, groups."""

from crucible_harness import wording
from crucible_harness.analysis import Analysis
from crucible_harness.estimates import Estimate1
from crucible_harness.recorded import RecordedRun
from crucible_harness.report.model import Block, Column, Paragraph, Section, Table, Text
from crucible_harness.report.values import count, measured


def diagnostics(run: RecordedRun, analysis: Analysis) -> Section:
    """Print the warnings of the analysis that no other section prints."""
    elsewhere = set(analysis.missing.warnings)
    warnings = [text for text in analysis.warnings if text not in elsewhere]
    blocks: list[Block] = [Paragraph(kind="warning", text=(text,)) for text in warnings]
    if not blocks:
        blocks.append(
            Paragraph(
                text=(
                    "Looked for and not found: scores that drift along the schedule, models that "
                    "changed their version during the run.",
                )
            )
        )
    return Section(id="diagnostics", title="Diagnostics", blocks=tuple(blocks))


def groups(run: RecordedRun, analysis: Analysis) -> list[Table]:
    """Show the first metric for each group of items, one table for each metadata field."""
    metric = run.metrics[0]
    return [
        Table(
            id=f"by-{number}",
            caption=f"{metric.label} by {field}",
            columns=(
                Column(title=field, numeric=False),
                Column(title="items"),
                *(
                    column
                    for name in run.conditions
                    for column in (Column(title=name), Column(title="95 % CI"))
                ),
            ),
            rows=tuple(
                (
                    (value,),
                    (count(f"{field}.{value}.n", max(e.n for e in estimates.values())),),
                    *(
                        cell
                        for name, e in estimates.items()
                        for cell in _cells(f"{field}.{value}.{name}", e, metric.unit)
                    ),
                )
                for value, estimates in values.items()
            ),
            note=("Nobody planned to look at these groups: they suggest, and confirm nothing.",),
        )
        for number, (field, values) in enumerate(analysis.by_field.items())
    ]


def _cells(id: str, estimate: Estimate1, unit: str) -> tuple[Text, Text]:
    bounds = estimate.low, estimate.high
    interval: Text = ("none",)
    if bounds != (None, None):
        interval = wording.interval(id, bounds, unit=unit, signed=False)
    return (measured(id, estimate.value, unit=unit),), interval
