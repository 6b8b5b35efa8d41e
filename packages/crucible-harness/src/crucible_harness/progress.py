"""How far a run is: a bar on a terminal, else a line now and then."""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from crucible_harness.ledger import Ledger
from crucible_harness.options import Progress


class Tally:
    """Counts finished cells and tells when the rest will be done.

    Parameters
    ----------
    conditions : names
    planned : int
    finished : int
        Cells that were finished before.
    ledger : Ledger, optional
        Says what was spent.
    """

    def __init__(
        self,
        conditions: Sequence[str],
        *,
        planned: int,
        finished: int,
        ledger: Ledger | None = None,
    ) -> None:
        self._ledger = ledger
        self.planned, self.finished, self.failed = planned, finished, 0
        self.per_condition = dict.fromkeys(conditions, 0)
        self.changed: Callable[[], None] = lambda: None
        self._times: deque[float] = deque([time.monotonic()], maxlen=101)

    def add(self, condition: str, *, failed: bool) -> None:
        """Count one more finished cell."""
        self.finished += 1
        self.failed += failed
        self.per_condition[condition] += 1
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

    def line(self) -> str:
        """Return the state as one line."""
        share = self.finished / self.planned if self.planned else 1.0
        eta = self.eta_s()
        parts = [f"{self.finished:,} of {self.planned:,} cells ({share:.0%})"]
        if eta is not None and self.finished < self.planned:
            parts.append(f"{_clock(eta)} left")
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        spent = self.spent()
        if spent:
            parts.append(spent)
        return ", ".join(parts)


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
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bars

    bars = Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}"),
        console=Console(stderr=True),
        transient=True,
    )
    with bars:
        task = bars.add_task("cells", total=tally.planned, completed=tally.finished, facts="")

        def changed() -> None:
            rate, eta = tally.rate(), tally.eta_s()
            facts = [f"{rate:.1f}/s" if rate else "", f"{_clock(eta)} left" if eta else ""]
            facts += [f"{name} {n}" for name, n in tally.per_condition.items()]
            facts += [f"{tally.failed} failed"] if tally.failed else []
            facts += [tally.spent()]
            bars.update(
                task, completed=tally.finished, facts="  ".join(fact for fact in facts if fact)
            )

        tally.changed = changed
        try:
            yield
        finally:
            tally.changed = lambda: None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
