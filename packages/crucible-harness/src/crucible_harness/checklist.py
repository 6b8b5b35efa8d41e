"""What artifact reviews ask of a run, looked up by code where code can tell."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from crucible_harness.recorded import RecordedRun, load_run

if TYPE_CHECKING:
    from crucible_harness.outcome import RunResult

# The checks of `verify` that derive something again.
_DERIVED = ("journal", "design", "items", "schedule", "scores", "results", "analysis")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecklistLine:
    """One demand of an artifact review.

    `state` is "yes" or "no" where code has looked, and "by hand" where only a person can tell.
    """

    demand: str
    state: Literal["yes", "no", "by hand"]
    detail: str


def artifact_checklist(run: "Path | str | RunResult") -> tuple[ChecklistLine, ...]:
    """Go through what artifact reviews ask; each line is checked by code or marked "by hand".

    Raises
    ------
    NotARunError
        If it is no run.
    """
    recorded = load_run(run if isinstance(run, Path | str) else run.path)
    return (*_about_the_data(recorded), *_about_the_record(recorded), *_BY_HAND)


_BY_HAND = tuple(
    ChecklistLine(demand=demand, state="by hand", detail=detail)
    for demand, detail in (
        ("The data may be shared", "read the data set's licence and the providers' terms"),
        ("Items were not in the models' training data", "no code can tell"),
        ("The artifact is archived with a DOI", "upload the run folder and add the DOI"),
    )
)


def _line(demand: str, holds: object, *, yes: str, no: str) -> ChecklistLine:
    return ChecklistLine(demand=demand, state="yes" if holds else "no", detail=yes if holds else no)


def _about_the_data(run: RecordedRun) -> Iterator[ChecklistLine]:
    provenance = run.design["dataset"].get("provenance") or {}
    yield _line(
        "The hypotheses were preregistered",
        run.preregistered,
        yes="preregistration.json matches the run",
        no="fixed and hashed before the first call, but not registered",
    )
    yield _line(
        "All planned data were collected",
        run.not_run == 0,
        yes=f"{run.finished:,} of {run.planned:,} cells, {run.failed:,} of them failed",
        no=f"{run.not_run:,} of {run.planned:,} cells were not run",
    )
    yield _line(
        "Nothing is simulated",
        not run.simulated,
        yes="every answer is a real model's",
        no="some or all answers come from simulated models",
    )
    yield _line(
        "The data set's licence is recorded",
        provenance.get("license"),
        yes=str(provenance.get("license")),
        no="the data set's card names none",
    )
    served = sorted({name for cell in run.cells for name in cell.served_by})
    yield _line(
        "The versions of the models that answered are recorded",
        served,
        yes=", ".join(served),
        no="no provider reported one",
    )


def _about_the_record(run: RecordedRun) -> Iterator[ChecklistLine]:
    from crucible_harness.verify import verify

    checks = {check.name: check for check in verify(run.path).checks}
    failed = [name for name, check in checks.items() if check.ok is False]
    yield _line(
        "Every number can be derived again",
        not failed and all(checks[name].ok for name in _DERIVED),
        yes="results, analysis and reports derived from the journal: equal",
        no=f"verification failed: {', '.join(failed)}",
    )
    replay = checks["replay"]
    yield _line(
        "The run can be replayed without a network", replay.ok, yes=replay.detail, no=replay.detail
    )
    manifest: Mapping[str, Any] = run.manifest
    versions = manifest.get("versions") or {}
    yield _line(
        "Seed and versions of software are recorded",
        versions and manifest.get("seed") is not None,
        yes=f"seed {manifest.get('seed')}, {len(versions)} packages, Python "
        f"{manifest.get('python')}",
        no="not recorded",
    )
    yield _line(
        "The code's commit is recorded, without local changes",
        manifest.get("git_commit") and manifest.get("git_dirty") is False,
        yes=f"commit {manifest.get('git_commit')}",
        no="not in a checkout, or with uncommitted changes",
    )
