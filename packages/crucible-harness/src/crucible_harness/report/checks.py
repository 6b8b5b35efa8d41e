"""What else a reader should know before trusting the numbers: drift, changed models, groups."""

from crucible_harness import wording
from crucible_harness.analysis import Analysis
from crucible_harness.estimates import Estimate1
from crucible_harness.panel import Panel
from crucible_harness.recorded import RecordedRun
from crucible_harness.report import charts
from crucible_harness.report.model import Block, Chart, Column, Paragraph, Section, Table, Text
from crucible_harness.report.values import count, fixed, measured


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
    if analysis.ensembles is not None:
        blocks += _together(analysis.ensembles)
    return Section(id="diagnostics", title="Diagnostics", blocks=tuple(blocks))


def _together(panel: Panel) -> list[Block]:
    """Say how much the models err together, and what choosing the best of them is worth."""
    rows: tuple[tuple[Text, ...], ...] = tuple(
        ((model,), (fixed(f"panel.{model}", accuracy),))
        for model, accuracy in zip(panel.models, panel.accuracies, strict=True)
    )
    table = Table(
        id="panel",
        caption="The models that answered, on the first answer of each",
        columns=(Column(title="model", numeric=False), Column(title="accuracy")),
        rows=rows,
        note=(count("panel.items", panel.items), " items that all of them answered."),
    )
    together: Text = ("Their errors do not vary enough to correlate. ",)
    if panel.phi is not None:
        together = (
            "Their errors correlate by ",
            fixed("panel.phi", panel.phi, digits=2, signed=True),
            " on average over pairs, 95 % CI ",
            *wording.interval("panel.phi_ci", (panel.phi_low, panel.phi_high)),
            ". ",
        )
    if panel.n_eff is not None:
        together += (
            f"{len(panel.models)} of them are worth ",
            fixed("panel.n_eff", panel.n_eff, digits=2),
            " independent ones. ",
        )
    together += (
        "No vote among them can be right on more than ",
        fixed("panel.ceiling", panel.ceiling),
        " of the items, 95 % CI ",
        *wording.interval(
            "panel.ceiling_ci", (panel.ceiling_low, panel.ceiling_high), signed=False
        ),
        f", since nobody is on the rest. {panel.best} looks best with ",
        fixed("panel.best_naive", panel.best_naive),
        "; chosen on some items and judged on others, the best has ",
        fixed("panel.best_accuracy", panel.best_accuracy),
        " ",
        *wording.interval("panel.best_ci", (panel.best_low, panel.best_high), signed=False),
        ".",
    )
    return [table, *_correlations(panel), Paragraph(text=together)]


def _correlations(panel: Panel) -> list[Block]:
    """Draw how the errors of each pair of models go together."""
    pairs = [
        (one, other, phi)
        for one, row in zip(panel.models, panel.correlations, strict=True)
        for other, phi in zip(panel.models, row, strict=True)
        if one != other
    ]
    known = [(one, other, phi) for one, other, phi in pairs if phi is not None]
    if not known:
        return []
    one, other, most = max(known, key=lambda pair: pair[2])
    return [
        Chart(
            id="member-correlation",
            title=f"Errors go together most between {one} and {other} "
            f"(phi {most:+.2f}, n = {panel.items:,} items)",
            alt="Correlation of errors of each pair of models: "
            + "; ".join(f"{a} and {b} {phi:+.2f}" for a, b, phi in known if a < b)
            + ".",
            spec=charts.correlations(pairs, models=panel.models),
        )
    ]


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
