"""How far a run is: a bar on a terminal, else a line now and then."""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from crucible_harness.ledger import Ledger
from crucible_harness.limits import Providers
from crucible_harness.options import Progress

if TYPE_CHECKING:
    from rich.console import Group


class Tally:
    """Counts finished cells and tells when the rest will be done.

    Parameters
    ----------
    planned, finished : mapping of condition to cells
        `finished` are those that were finished before.
    ledger : Ledger, optional
        Says what was spent.
    providers : Providers, optional
        Say who makes calls wait.
    """

    def __init__(
        self,
        planned: Mapping[str, int],
        *,
        finished: Mapping[str, int],
        ledger: Ledger | None = None,
        providers: Providers | None = None,
    ) -> None:
        self._ledger, self._providers = ledger, providers
        self.planned_of = dict(planned)
        self.finished_of = {name: finished.get(name, 0) for name in planned}
        self.planned, self.failed = sum(planned.values()), 0
        self.finished = sum(self.finished_of.values())
        self.changed: Callable[[], None] = lambda: None
        self._times: deque[float] = deque([time.monotonic()], maxlen=101)

    def add(self, condition: str, *, failed: bool) -> None:
        """Count one more finished cell."""
        self.finished += 1
        self.failed += failed
        self.finished_of[condition] += 1
        self._times.append(time.monotonic())
        self.changed()

    def rate(self) -> float | None:
        """Return cells per second over the last 100; None before the first."""
        elapsed = self._times[-1] - self._times[0]
        return (len(self._times) - 1) / elapsed if elapsed > 0 else None

    def eta_s(self) -> float | None:
        """Return the seconds that the rest will take at that rate."""
        rate = self.rate()
        return None if rate is None else (self.planned - self.finished) / rate

    def spent(self) -> str:
        """Return what was spent, of which budget; empty while nothing was."""
        if self._ledger is None:
            return ""
        cost = self._ledger.summary()
        if cost.budget_usd is not None:
            return f"${cost.settled_usd:.2f} of ${cost.budget_usd:.2f}"
        return f"${cost.settled_usd:.4f}" if cost.settled_usd else ""

    def waiting(self) -> str:
        """Return which limits calls wait for; empty while none does."""
        if self._providers is None:
            return ""
        found = self._providers.waiting()
        return ", ".join(f"{n} waiting on limits of {name}" for name, n in found.items())

    def facts(self) -> list[str]:
        """Return what is worth saying beside the counts: time left, failures, money, limits."""
        eta = self.eta_s()
        left = eta is not None and self.finished < self.planned
        return [
            fact
            for fact in (
                f"{_clock(eta)} left" if left and eta is not None else "",
                f"{self.failed:,} failed" if self.failed else "",
                self.spent(),
                self.waiting(),
            )
            if fact
        ]

    def line(self) -> str:
        """Return the state as one line."""
        share = self.finished / self.planned if self.planned else 1.0
        return ", ".join(
            [f"{self.finished:,} of {self.planned:,} cells ({share:.0%})", *self.facts()]
        )


@contextmanager
def display(tally: Tally, kind: Progress) -> Iterator[None]:
    """Show the tally on standard error until the run ends."""
    if kind == "auto":
        kind = "bar" if sys.stderr.isatty() else "lines"
    if kind == "none" or tally.finished == tally.planned:
        yield
    elif kind == "bar":
        with _bar(tally):
            yield
    else:
        with _lines(tally):
            yield


@contextmanager
def _lines(tally: Tally, *, every_s: float = 30.0) -> Iterator[None]:
    """Print a line for each 5 % of the cells, or each 30 seconds."""
    step = max(1, tally.planned // 20)
    last_cells, last_time = tally.finished, time.monotonic()

    def changed() -> None:
        nonlocal last_cells, last_time
        now = time.monotonic()
        if tally.finished - last_cells >= step or now - last_time >= every_s:
            last_cells, last_time = tally.finished, now
            print(tally.line(), file=sys.stderr, flush=True)  # noqa: T201

    tally.changed = changed
    try:
        yield
    finally:
        tally.changed = lambda: None
        if tally.finished != last_cells:
            print(tally.line(), file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def _bar(tally: Tally) -> Iterator[None]:
    """Draw a bar for each condition, and one line for the run that is up to date at any time."""
    from rich.console import Console
    from rich.live import Live

    with Live(
        get_renderable=lambda: bars(tally), console=Console(stderr=True), transient=True,
        refresh_per_second=4,
    ):  # fmt: skip
        yield


def bars(tally: Tally) -> "Group":
    """Return the bars as they stand now."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    table.add_column(overflow="ellipsis", no_wrap=True, max_width=24)
    table.add_column()
    table.add_column(justify="right", no_wrap=True)
    for name, planned in tally.planned_of.items():
        finished = tally.finished_of[name]
        bar = ProgressBar(total=max(planned, 1), completed=finished if planned else 1, width=30)
        table.add_row(Text(name), bar, Text(f"{finished:,}/{planned:,}"))
    rate = tally.rate()
    facts = [f"{rate:.1f} cells/s" if rate else "", *tally.facts()]
    return Group(table, Text("  ".join(fact for fact in facts if fact), style="dim"))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
