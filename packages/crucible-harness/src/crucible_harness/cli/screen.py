"""What a person reads at the end of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from crucible_harness.report import Format

if TYPE_CHECKING:
    from crucible_harness.outcome import RunResult


def show(result: "RunResult", files: Mapping[Format, Path]) -> None:
    """Print verdicts, calls, cost and where everything is."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    out = console.print
    if result.analysis is not None:
        from crucible_harness.recorded import load_run
        from crucible_harness.report.terminal import screen

        console.soft_wrap = False
        out(screen(load_run(result.path), result.analysis))
        out()
    cells = f"{result.finished:,} of {result.planned:,} cells finished"
    if result.failed:
        cells += f", {result.failed:,} of them failed"
    out(f"{cells}; {result.calls_sent:,} calls sent now, in {result.wall_s:.0f} s.", markup=False)
    if result.possibly_billed:
        out(
            f"{len(result.possibly_billed):,} calls were cut off by a crash and sent again; a "
            "provider may bill them twice.",
            markup=False,
        )
    if result.status == "failure_rate":
        out("Stopped: too many calls failed (dead_letters.jsonl names them).", markup=False)
    if result.status != "complete":
        out(f"Take it up again with: crucible resume {result.path}", markup=False)
    for name, path in files.items():
        out(f"{name:>9}  {path}", markup=False)
    trace = result.path / "trace.html"
    if trace.is_file():
        out(f"{'trace':>9}  {trace}", markup=False)
