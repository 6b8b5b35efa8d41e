"""From a run folder of a study to what the study found."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from crucible_harness.recorded import load_run
from crucible_harness.studies.asking import plan_of
from crucible_harness.studies.h1_reliability import ReliabilityPlan
from crucible_harness.studies.h3_ensemble_size import SizePlan
from crucible_harness.studies.h5_confidence_weights import WeightsPlan
from crucible_harness.studies.responses import responses_of
from crucible_harness.studies.result import StudyResult

VoterPlan = ReliabilityPlan | SizePlan | WeightsPlan
_PLANS: tuple[tuple[str, type[ReliabilityPlan] | type[SizePlan] | type[WeightsPlan]], ...] = (
    ("h1", ReliabilityPlan),
    ("h3", SizePlan),
    ("h5", WeightsPlan),
)


def analyse(path: Path | str) -> StudyResult:
    """Analyse a run whose experiment is that of a study, as its tags say.

    Parameters
    ----------
    path : path of a run folder
        Of an experiment of h1, h3 or h5; of a run that was stopped, the items that every voter
        answered.

    Raises
    ------
    NotARunError
        If the folder holds no run.
    ValueError
        If its experiment is of no study, or the answers cannot be analysed.
    """
    run = load_run(path)
    tags: Any = run.design["tags"]
    found = plan_of(tags)
    if found is None or found[0] not in dict(_PLANS):
        raise ValueError(
            f"`path` must be a run of the study h1, h3 or h5, and {str(path)!r} has the tags "
            f"{list(tags)}"
        )
    return read_plan(*found).analyse(responses_of(run))


def read_plan(study: str, plan: dict[str, str]) -> VoterPlan:
    """Read a plan back from the tags of its experiment.

    Raises
    ------
    ValueError
        If a tag is not of that plan.
    """
    kind = dict(_PLANS)[study]
    known = {field.name: field.type for field in fields(kind)}
    values: dict[str, Any] = {}
    for name, text in plan.items():
        if name not in known:
            raise ValueError(f"`tags` of {study} must be among {', '.join(known)}, got {name!r}")
        values[name] = _read(text)
    return kind(**values)


def _read(text: str) -> object:
    if text == "None":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
