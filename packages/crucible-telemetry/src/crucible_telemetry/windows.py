"""How an experiment went over time: the same numbers, window by window."""

import math
from bisect import bisect_left
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from crucible_telemetry.experiment import Experiment
from crucible_telemetry.metrics.events import Loaded, load, of
from crucible_telemetry.metrics.report import Latency, Reliability
from crucible_telemetry.metrics.summaries import latency_of, reliability_of, total_of
from crucible_telemetry.stores.port import Store

Align = Literal["start", "epoch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The events that start in [start_ns, end_ns). An empty one has count 0 and no statistics."""

    start_ns: int
    end_ns: int
    count: int
    latency: Latency | None
    reliability: Reliability | None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return asdict(self)


def windows(
    experiment: Experiment | str,
    width_s: float,
    *,
    step_s: float | None = None,
    align: Align = "start",
    names: Collection[str] | None = None,
    store: Store | str | Path | None = None,
) -> Iterator[Window]:
    """Yield windows of equal width, the last one starting at or before the last event.

    Parameters
    ----------
    width_s : float, finite, > 0
    step_s : float, in (0, width_s], optional
        From one window's start to the next; None is `width_s` (tumbling), less is sliding.
    align : {"start", "epoch"}
        Whether the first window begins with the first event, or at a whole multiple of the step
        since 1970.
    names : collection of str, optional
        Names of the events to take; by default the outermost ones.
    store : Store, str or path, optional
        As for `calculate_metrics`.

    Raises
    ------
    ValueError
        If an argument is out of range.
    UnknownExperimentError
        If the store has no experiment of that id.
    """
    step_s = width_s if step_s is None else step_s
    if not 0 < width_s < math.inf:
        raise ValueError(f"`width_s` must be finite and > 0, got {width_s}")
    if not 0 < step_s <= width_s:
        raise ValueError(f"`step_s` must be in (0, {width_s}], got {step_s}")
    if align not in get_args(Align):
        raise ValueError(f'`align` must be "start" or "epoch", got {align!r}')
    width, step = round(width_s * 1e9), round(step_s * 1e9)
    if step < 1:
        raise ValueError(f"`step_s` must be at least a nanosecond, got {step_s}")
    loaded = load(experiment, store=store, names=names, timed_only=False)
    return _windows(loaded, width, step, align)


def _windows(loaded: Loaded, width: int, step: int, align: Align) -> Iterator[Window]:
    events, requests = loaded.events, loaded.requests
    if not requests:
        return
    starts = of(events.start_ns, requests)  # ordered, as they were read
    durations, outcomes = of(events.duration_s, requests), of(events.outcome, requests)
    weights = of(events.weight, requests)
    start = starts[0] if align == "start" else starts[0] // step * step
    while start <= starts[-1]:
        end = start + width
        inside = slice(bisect_left(starts, start), bisect_left(starts, end))
        stood_for = weights[inside]
        weighted = stood_for if loaded.weighted else None
        yield Window(
            start_ns=start,
            end_ns=end,
            count=total_of(stood_for),
            latency=latency_of(durations[inside], weighted, 0.95) if stood_for else None,
            reliability=reliability_of(outcomes[inside], weighted, 0.95) if stood_for else None,
        )
        start += step
