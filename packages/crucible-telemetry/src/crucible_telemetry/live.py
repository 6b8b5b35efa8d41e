"""A table in the terminal that follows a running experiment."""

import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from crucible_telemetry.experiment import Experiment
from crucible_telemetry.extras import require
from crucible_telemetry.metrics.intervals import quantile
from crucible_telemetry.outcome import OUTCOMES
from crucible_telemetry.schema import INDEX, Row

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_NAME, _DURATION, _OUTCOME = INDEX["name"], INDEX["duration_s"], INDEX["outcome"]


class LiveView:
    """What `watch` shows: totals, and per name the latest events that this process has stored."""

    def __init__(self, experiment: Experiment, *, last_n: int) -> None:
        self._experiment = experiment
        self._latest: deque[Row] = deque(maxlen=last_n)
        self._lock = threading.Lock()

    def observe(self, rows: Sequence[Row]) -> None:
        """Take stored rows; the writer's thread calls this."""
        with self._lock:
            self._latest.extend(rows)

    def table(self) -> "RenderableType":
        """Return the table as of now."""
        from rich.table import Table
        from rich.text import Text

        experiment = self._experiment
        total = experiment.live.snapshot()
        stats = experiment.stats()
        with self._lock:
            latest = list(self._latest)
        table = Table(
            title=Text(f"{experiment.name} · {experiment.condition} · {experiment.state}"),
            caption=Text(
                f"{stats.stored} stored, {stats.recorded - stats.stored} waiting, "
                f"cost {_shown(total.cost_usd, '.6g', ' USD')}, "
                f"P50 {_shown(total.percentiles_s[50.0], '.4g', ' s')}, "
                f"P95 {_shown(total.percentiles_s[95.0], '.4g', ' s')}"
            ),
        )
        for heading in (f"last {len(latest)}", "events", "P50", "max", *OUTCOMES):
            table.add_column(heading, justify="left" if heading.startswith("last") else "right")
        groups: dict[str, list[Row]] = {}
        for row in latest:
            groups.setdefault(row[_NAME], []).append(row)
        for name, rows in sorted(groups.items()):
            durations = sorted(row[_DURATION] for row in rows if row[_DURATION] is not None)
            outcomes = Counter(row[_OUTCOME] for row in rows)
            middle = quantile(durations, 0.5) if durations else None
            # Text, not markup: the name comes from whoever made the span.
            table.add_row(
                Text(name),
                str(len(rows)),
                _shown(middle, ".4g", " s"),
                _shown(durations[-1] if durations else None, ".4g", " s"),
                *(str(outcomes[outcome]) for outcome in OUTCOMES),
            )
        return table


@contextmanager
def watch(
    experiment: Experiment,
    *,
    last_n: int = 100,
    refresh_s: float = 0.5,
    console: "Console | None" = None,
) -> Iterator[LiveView]:
    """Show a rolling table while the block runs; where there is no terminal, once at its end.

    Parameters
    ----------
    last_n : int, >= 1
        How many of the latest events the rows of the table are about.
    refresh_s : float, finite, > 0
    console : rich.console.Console, optional
        Where to show it; standard output by default.

    Raises
    ------
    MissingExtraError
        If the extra "live" is not installed.
    """
    if last_n < 1:
        raise ValueError(f"`last_n` must be >= 1, got {last_n}")
    if not 0 < refresh_s < float("inf"):
        raise ValueError(f"`refresh_s` must be finite and > 0, got {refresh_s}")
    require("live")
    from rich.console import Console
    from rich.live import Live

    shown_on = Console() if console is None else console
    view = LiveView(experiment, last_n=last_n)
    observers = experiment.capture.channel.observers
    observers.append(view.observe)
    try:
        if not shown_on.is_terminal:
            yield view
            experiment.drain()
            shown_on.print(view.table())
            return
        with Live(get_renderable=view.table, console=shown_on, refresh_per_second=1 / refresh_s):
            yield view
            experiment.drain()
    finally:
        observers.remove(view.observe)


def _shown(value: float | None, form: str, unit: str) -> str:
    return "unknown" if value is None else f"{value:{form}}{unit}"
