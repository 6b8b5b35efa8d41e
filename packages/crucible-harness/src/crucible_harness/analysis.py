"""The analysis that was planned, computed from a run folder and from nothing else."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from opentelemetry import trace

from crucible_harness import prereg
from crucible_harness.diagnostics import FrontPoint, by_field, changes_of_model, cost_front, drift
from crucible_harness.estimates import Estimate1
from crucible_harness.exploratory import unplanned
from crucible_harness.hedging import HedgingSummary, hedging, not_raced
from crucible_harness.hypotheses import HypothesisResult, resolve
from crucible_harness.imported import deviations_of_import, keep_shared_items
from crucible_harness.jsonable import jsonable
from crucible_harness.metrics import Metric
from crucible_harness.missing import MissingTable, missing_table
from crucible_harness.observations import observe
from crucible_harness.panel import Panel, panel
from crucible_harness.recorded import RecordedRun, load_run
from crucible_harness.sequential import SequentialResult, confirmatory_part
from crucible_harness.slo import SLOResult, objectives, stated_late
from crucible_harness.summaries import ConditionSummary, summarise

# 2: `ensembles` was `panel`; a hypothesis has its interval and p beside the contrast.
SCHEMA = "crucible-harness/analysis/2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """Everything that a report of the run says; a pure function of design and journal.

    Attributes
    ----------
    design_digest : str
    items_planned, items_analysed : int
        A run that was stopped is analysed on the items that every condition finished.
    conditions : mapping of condition to ConditionSummary
    hypotheses, exploratory : tuple of HypothesisResult
        Those that were declared to be confirmatory, and all others.
    missing : MissingTable
    slo : tuple of SLOResult
        Latency objectives.
    sequential : SequentialResult or None
        Where a run stopped that looked at its data.
    ensembles : Panel or None
        The models that answered, taken together: correlation of errors, what the best is worth.
    hedging : mapping of condition to HedgingSummary
    front : tuple of FrontPoint
        Conditions that no other beats in cost and in quality.
    by_field : mapping of metadata field to value to condition to Estimate1
    deviations, warnings : tuple of str
    """

    design_digest: str
    items_planned: int
    items_analysed: int
    conditions: Mapping[str, ConditionSummary]
    hypotheses: tuple[HypothesisResult, ...]
    exploratory: tuple[HypothesisResult, ...]
    missing: MissingTable
    slo: tuple[SLOResult, ...]
    sequential: SequentialResult | None
    ensembles: Panel | None
    hedging: Mapping[str, HedgingSummary]
    front: tuple[FrontPoint, ...]
    by_field: Mapping[str, Mapping[str, Mapping[str, Estimate1]]]
    deviations: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-safe mapping; infinities and unknowns are None."""
        parts = {f.name: jsonable(getattr(self, f.name)) for f in fields(self)}
        return {"schema": SCHEMA, **parts}


def analyse(path: Path | str) -> Analysis:
    """Analyse a run as its design planned it.

    Raises
    ------
    HarnessError
        If the folder is not a run, or its journal is damaged or of another design.
    """
    return analyse_run(load_run(path))


def analyse_run(run: RecordedRun) -> Analysis:
    """Analyse a run that has been read already."""
    with trace.get_tracer("crucible_harness").start_as_current_span("crucible.harness.analyse"):
        return _analyse(run)


def _analyse(whole: RecordedRun) -> Analysis:
    run = _complete_blocks(confirmatory_part(whole))
    observed = {metric.name: observe(run, metric) for metric in _by_name(run.metrics)}
    planned = resolve(run.hypotheses, run, observed, correction="holm")
    confirmatory = tuple(r for r in planned if r.hypothesis.kind == "confirmatory")
    declared = tuple(r for r in planned if r.hypothesis.kind == "exploratory")
    others = resolve(unplanned(run), run, observed, correction="benjamini_hochberg")
    missing = missing_table(run)
    raced = hedging(whole)
    return Analysis(
        design_digest=run.digest,
        items_planned=len(whole.items),
        items_analysed=len(run.items),
        conditions={name: summarise(run, name, observed) for name in run.conditions},
        hypotheses=confirmatory,
        exploratory=declared + others,
        missing=missing,
        front=cost_front(run, observed),
        by_field=by_field(run, observed),
        ensembles=panel(run),
        slo=objectives(run),
        hedging=raced,
        sequential=run.sequential,
        deviations=(*_deviations(run), *prereg.deviations(run, confirmatory)),
        warnings=(
            *missing.warnings,
            *drift(run),
            *changes_of_model(run),
            *not_raced(raced),
            *stated_late(run),
        ),
    )


def _complete_blocks(run: RecordedRun) -> RecordedRun:
    """Keep the items that every condition finished, when a run was stopped before its end.

    Otherwise the conditions that came later in the schedule would be compared on fewer items.
    """
    if not run.not_run:
        return run
    if run.imported is not None:
        return keep_shared_items(run)
    expected = int(run.design["repeats"]) * (len(run.conditions) if run.layout.within else 1)
    per_item = Counter(cell.item for cell in run.cells)
    whole = {item for item, cells in per_item.items() if cells == expected}
    return replace(
        run,
        items=tuple(item for item in run.items if item.id in whole),
        cells=tuple(cell for cell in run.cells if cell.item in whole),
    )


def _deviations(run: RecordedRun) -> tuple[str, ...]:
    if run.imported is not None:
        return tuple(deviations_of_import(run))
    if run.not_run:
        return (
            f"The run ended with status '{run.status}': {run.not_run:,} of {run.planned:,} planned "
            f"cells were not run. Only the {len(run.items):,} items that every condition finished "
            "are analysed.",
        )
    return ()


def _by_name(metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
    return tuple({metric.name: metric for metric in metrics}.values())
