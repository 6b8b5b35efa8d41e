"""What a person reads at the end of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crucible_harness.report import Format

if TYPE_CHECKING:
    from rich.console import Console

    from crucible_harness.compare import MetaReport
    from crucible_harness.estimate import Estimate
    from crucible_harness.outcome import RunResult
    from crucible_harness.status import RunStatus
    from crucible_harness.verify import Verification


def show(result: "RunResult", files: Mapping[Format, Path]) -> None:
    """Print verdicts, calls, cost and where everything is."""
    console = _console()
    out = console.print
    if result.analysis is not None:
        from crucible_harness.recorded import load_run
        from crucible_harness.report.terminal import screen

        console.soft_wrap = False
        out(screen(load_run(result.path), result.analysis))
        out()
        console.soft_wrap = True  # a path in two lines could not be copied
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


def show_status(now: "RunStatus") -> None:
    """Print counts, pace and cost of a run."""
    from crucible_harness.report.values import dollars

    share = now.finished / now.planned if now.planned else 1.0
    parts = [f"{now.status}: {now.finished:,} of {now.planned:,} cells ({share:.0%})"]
    if now.failed:
        parts.append(f"{now.failed:,} failed")
    if now.rate_per_s is not None and now.eta_s is not None:
        parts.append(f"{now.rate_per_s:.1f}/s, {now.eta_s:.0f} s left")
    if now.in_flight:
        parts.append(f"{now.in_flight:,} calls in flight")
    if now.possibly_billed:
        parts.append(f"{now.possibly_billed:,} calls possibly billed")
    parts.append(dollars("", now.known_cost_usd).text + " spent")
    if now.unknown_calls:
        parts.append(f"{now.unknown_calls:,} calls of unknown price")
    _console().print(", ".join(parts), markup=False)
    show_table(
        ("condition", "finished", "planned", "failed"),
        [
            (name, f"{c.finished:,}", f"{c.planned:,}", f"{c.failed:,}")
            for name, c in now.per_condition.items()
        ],
    )
    if now.last_error is not None:
        _console().print(f"Last error: {now.last_error}", markup=False)


def show_estimate(found: "Estimate", items: int) -> None:
    """Print what a run will take."""
    from crucible_harness.report.values import dollars, seconds

    def money(number: float | None) -> str:
        return dollars("", number).text

    out = _console().print
    if found.basis == "pilot":
        out(f"From a pilot of {found.pilot_items:,} of {items:,} items:", markup=False)
        out(f"cost   {money(found.cost_usd)}, 95 % prediction interval "
            f"{money(found.cost_low)} to {money(found.cost_high)}", markup=False)  # fmt: skip
        out(f"time   {seconds('', found.wall_s).text} for the rest, "
            f"{seconds('', found.wall_low).text} to {seconds('', found.wall_high).text}",
            markup=False)  # fmt: skip
    else:
        out(f"From the price book, for {items:,} items; nobody was asked:", markup=False)
        out(f"cost   {money(found.cost_low)} for the shortest answers, "
            f"{money(found.cost_high)} for the longest", markup=False)  # fmt: skip
    out(f"calls  {found.calls:,}, equal ones once", markup=False)
    show_table(
        ("condition", "calls alone", "cost alone"),
        [
            (name, f"{row['calls']:,.0f}", money(row["cost_usd"]))
            for name, row in found.per_condition.items()
        ],
    )
    if found.unpriced:
        out(f"No price is known of {', '.join(found.unpriced)}.", markup=False)


def show_verification(found: "Verification") -> None:
    """Print each check, and what follows."""
    from rich.text import Text

    words = {True: ("ok", "green"), False: ("WRONG", "bold red"), None: ("unknown", "yellow")}
    out = _console().print
    for check in found.checks:
        word, style = words[check.ok]
        out(Text.assemble((f"{word:<8}", style), f"{check.name}: {check.detail}"))
    if found.ok:
        unknown = sum(check.ok is None for check in found.checks)
        out(f"Nothing is wrong{f'; {unknown} could not be checked' if unknown else ''}.")
    else:
        out(Text(f"Not what was run: {', '.join(found.failed)}.", "bold red"))


def show_pooled(found: "MetaReport") -> None:
    """Print each run and what they come to together."""
    out = _console().print
    out(found.sentence, markup=False)
    show_table(
        ("run", "items", "difference", "weight", "verdict"),
        [
            (s.run, f"{s.n:,}", f"{s.effect:+.4f}", f"{weight:.0%}", s.outcome)
            for s, weight in zip(found.studies, found.pooled.weights, strict=True)
        ],
    )
    for name, values in found.differences.items():
        out(f"{name}: {' | '.join(values)}", markup=False)
    for warning in found.warnings:
        out(f"Warning: {warning}", markup=False)


def show_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under a head; what is too wide is cut at the terminal's edge."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, title in enumerate(head):
        table.add_column(title, justify="left" if number == 0 else "right", no_wrap=True,
                         overflow="ellipsis")  # fmt: skip
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    console = _console()
    console.soft_wrap = False
    console.print(table)


def _console() -> "Console":
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)
