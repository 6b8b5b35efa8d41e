"""What a paper needs of a run: how to cite it, its methods, its checklist, its registration."""

from pathlib import Path
from typing import TYPE_CHECKING

from crucible_harness.checklist import ChecklistLine, artifact_checklist
from crucible_harness.citations import STYLES, Style, cite
from crucible_harness.osf import osf_template
from crucible_harness.recorded import load_run

if TYPE_CHECKING:
    from crucible_harness.outcome import RunResult

__all__ = [
    "STYLES",
    "ChecklistLine",
    "Style",
    "artifact_checklist",
    "cite",
    "methods_paragraph",
    "osf_template",
    "results_sentences",
]


def methods_paragraph(run: "Path | str | RunResult") -> str:
    """Return the methods paragraph of a paper, from what was done.

    Raises
    ------
    NotARunError
        If it is no run.
    """
    from crucible_harness.analysis import analyse_run
    from crucible_harness.report.context import methods

    recorded = load_run(run if isinstance(run, Path | str) else run.path)
    text = methods(recorded, analyse_run(recorded))
    version = (recorded.manifest.get("versions") or {}).get("crucible-harness", "unknown")
    registered = (
        "The hypotheses were preregistered."
        if recorded.preregistered
        else "The hypotheses were fixed and hashed before the first call, but not preregistered."
    )
    return (
        f"{text} {registered} The experiment was run with crucible-harness {version}; design "
        f"digest {recorded.digest[:16]}."
    )


def results_sentences(run: "Path | str | RunResult") -> tuple[str, ...]:
    """Return one sentence in APA style for each planned hypothesis that has a comparison.

    Raises
    ------
    NotARunError
        If it is no run.
    """
    from crucible_harness.analysis import analyse_run

    analysis = analyse_run(load_run(run if isinstance(run, Path | str) else run.path))
    return tuple(
        f"{r.hypothesis.id} ({r.outcome}): {r.contrast.comparison.apa()}."
        for r in analysis.hypotheses
        if r.contrast.comparison is not None
    )
