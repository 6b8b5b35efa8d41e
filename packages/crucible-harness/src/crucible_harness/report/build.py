"""From a run and its analysis to the report: what is said, in which order."""

from collections.abc import Iterator

from crucible_harness.analysis import Analysis
from crucible_harness.recorded import RecordedRun, dataset_name
from crucible_harness.report.checks import diagnostics
from crucible_harness.report.context import (
    deviations,
    limits,
    method,
    planning,
    references,
    reproduction,
)
from crucible_harness.report.explorer import explorer
from crucible_harness.report.findings import differences, exploratory, question
from crucible_harness.report.measurements import conditions, latency, missing
from crucible_harness.report.model import (
    Banner,
    Report,
)
from crucible_harness.report.stopping_path import stopping_path
from crucible_harness.report.values import count


def build(run: RecordedRun, analysis: Analysis, *, traced: bool = False) -> Report:
    """Write the report of a run; the same run gives the same report.

    `traced` says that `trace.html` lies beside it, so that items can link to their decisions.
    """
    sections = [
        question(run, analysis),
        conditions(run, analysis),
        differences(run, analysis),
        latency(run, analysis),
        missing(analysis),
        diagnostics(run, analysis),
        planning(analysis),
        stopping_path(analysis),
        deviations(analysis),
        exploratory(run, analysis),
        method(run, analysis),
        limits(run, analysis),
        reproduction(run),
        references(analysis),
    ]
    return Report(
        title=str(run.design["name"]),
        subtitle=_subtitle(run, analysis),
        banners=tuple(_banners(run)),
        sections=tuple(section for section in sections if section is not None),
        explorer=explorer(run, traced=traced),
    )


def _subtitle(run: RecordedRun, analysis: Analysis) -> str:
    description = str(run.design.get("description") or "")
    facts = f"{len(run.conditions)} conditions on {analysis.items_analysed:,} items"
    if run.imported is None:  # of other tools' runs neither calls nor seed are known
        facts += (
            f" of {dataset_name(run)}, {run.leaf_calls:,} model calls, seed {run.design['seed']}"
        )
    if description and description[-1] not in ".?!":
        description += "."
    return f"{description} {facts}".strip()


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
    if run.imported is not None:
        tools = sorted({str(log["tool"]) for log in run.imported["logs"]})
        yield Banner(
            level="warning",
            text=(
                f"Imported from {', '.join(tools)}: not designed here, not preregistered. Nothing "
                "was asked again; scores are those in the logs.",
            ),
        )
    elif run.preregistered:
        yield Banner(level="info", text=("Preregistered: the design was fixed before the run.",))
    else:
        yield Banner(
            level="info",
            text=(
                "Not preregistered: the hypotheses were frozen and hashed before the first call, "
                "but not published.",
            ),
        )
