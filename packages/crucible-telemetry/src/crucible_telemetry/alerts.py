"""Rules that speak up while an experiment runs, from what has been stored."""

import logging
import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any, Protocol

from crucible_telemetry.event import Event
from crucible_telemetry.inclusion import Inclusion
from crucible_telemetry.metrics.intervals import quantile, wilson
from crucible_telemetry.schema import INDEX, Row

ALERT = "crucible.telemetry.alert"
"""Name of the event that an alert is stored as, once when it fires and once when it clears."""

_NAME = INDEX["name"]
_JUDGED = ("ok", "error", "timeout")
_LEAST_FAILURES = 2
_MAD_OF_NORMAL = 0.6745

_log = logging.getLogger("crucible_telemetry")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A rule's condition became true at `fired_ns`; `cleared_ns` is None as long as it holds."""

    rule: str
    message: str
    value: float | None
    threshold: float | None
    window_s: float | None
    fired_ns: int
    cleared_ns: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a rule sees after an event: whether its condition holds, and the numbers."""

    holds: bool
    message: str = ""
    value: float | None = None
    threshold: float | None = None
    window_s: float | None = None


Watch = Callable[[Event, Row], Reading | None]
"""Takes each event in turn; None says that nothing can be told yet, and changes nothing."""


class AlertRule(Protocol):
    """A condition. One rule may serve many experiments: `watch` starts anew for each."""

    def watch(self) -> Watch:
        """Return a function that is given each stored event, on the writer's thread."""
        ...


@dataclass(frozen=True, slots=True)
class LatencyAbove:
    """A percentile of the latencies in the latest `window_s` seconds is above a threshold.

    Parameters
    ----------
    percentile : float, in (0, 100)
    threshold_s, window_s : float, > 0
    min_requests : int, >= 1
        Below that many nothing is said.
    names : collection of str, optional
        Names of the events to watch; all that have a duration by default.
    """

    percentile: float
    threshold_s: float
    window_s: float
    min_requests: int = 20
    names: Collection[str] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.percentile < 100:
            raise ValueError(f"`percentile` must be in (0, 100), got {self.percentile}")
        _check_positive(threshold_s=self.threshold_s, window_s=self.window_s)
        if self.min_requests < 1:
            raise ValueError(f"`min_requests` must be >= 1, got {self.min_requests}")

    def watch(self) -> Watch:
        """Return a function that is given each stored event."""
        latest: deque[tuple[int, float]] = deque()
        ordered: list[float] = []
        now = 0

        def read(event: Event, row: Row) -> Reading | None:
            nonlocal now
            if event.duration_s is None or not _is_watched(self.names, event):
                return None
            now = max(now, _end_ns(event))
            latest.append((_end_ns(event), event.duration_s))
            insort(ordered, event.duration_s)
            while latest and latest[0][0] <= now - self.window_s * 1e9:
                del ordered[bisect_left(ordered, latest.popleft()[1])]
            if len(ordered) < self.min_requests:
                return None
            value = quantile(ordered, self.percentile / 100)
            return Reading(
                holds=value > self.threshold_s,
                message=f"P{self.percentile:g} of {len(ordered)} requests is {value:.4g} s",
                value=value,
                threshold=self.threshold_s,
                window_s=self.window_s,
            )

        return read


@dataclass(frozen=True, slots=True)
class ErrorRateAbove:
    """The share of failures in the latest `window_s` seconds is surely above a rate.

    It fires when the lower end of Wilson's 95 % interval is above `max_rate`, and never at a
    single failure. Cancelled and unknown outcomes are not judged.

    Parameters
    ----------
    max_rate : float, in [0, 1)
    window_s : float, > 0
    names : collection of str, optional
        Names of the events to watch; all by default.
    """

    max_rate: float
    window_s: float
    names: Collection[str] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.max_rate < 1:
            raise ValueError(f"`max_rate` must be in [0, 1), got {self.max_rate}")
        _check_positive(window_s=self.window_s)

    def watch(self) -> Watch:
        """Return a function that is given each stored event."""
        latest: deque[tuple[int, bool]] = deque()
        failures = now = 0

        def read(event: Event, row: Row) -> Reading | None:
            nonlocal failures, now
            if event.outcome not in _JUDGED or not _is_watched(self.names, event):
                return None
            now = max(now, _end_ns(event))
            latest.append((_end_ns(event), event.outcome != "ok"))
            failures += latest[-1][1]
            while latest[0][0] <= now - self.window_s * 1e9:
                failures -= latest.popleft()[1]
            lower = wilson(failures, len(latest)).low
            return Reading(
                holds=failures >= _LEAST_FAILURES and lower is not None and lower > self.max_rate,
                message=f"{failures} of {len(latest)} requests failed",
                value=failures / len(latest),
                threshold=self.max_rate,
                window_s=self.window_s,
            )

        return read


@dataclass(frozen=True, slots=True)
class CostAbove:
    """The known cost, in all or in the latest `window_s` seconds, is above an amount.

    An amount that an event inside carries is not added again by the one around it.

    Parameters
    ----------
    usd : float, >= 0
    window_s : float, > 0, optional
    """

    usd: float
    window_s: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.usd < math.inf:
            raise ValueError(f"`usd` must be finite and >= 0, got {self.usd}")
        if self.window_s is not None:
            _check_positive(window_s=self.window_s)

    def watch(self) -> Watch:
        """Return a function that is given each stored event."""
        inclusion = Inclusion(("cost_usd",))
        latest: deque[tuple[int, float]] = deque()
        total = 0.0
        now = 0

        def read(event: Event, row: Row) -> Reading | None:
            nonlocal total, now
            (cost,) = inclusion.own(row)
            now = max(now, _end_ns(event))
            if cost is not None:
                total += cost
                if self.window_s is not None:
                    latest.append((_end_ns(event), cost))
            if self.window_s is not None:
                while latest and latest[0][0] <= now - self.window_s * 1e9:
                    latest.popleft()
                total = math.fsum(cost for _, cost in latest)
            return Reading(
                holds=total > self.usd,
                message=f"{total:.6g} USD spent",
                value=total,
                threshold=self.usd,
                window_s=self.window_s,
            )

        return read


@dataclass(frozen=True, slots=True)
class LatencyOutlier:
    """A latency is far above the median of the latest `window_n`, itself among them.

    Parameters
    ----------
    threshold : float, > 0
        Of the modified z, 0.6745 (x - median) / MAD [1]_. Where MAD is 0 nothing is said.
    window_n : int, >= 3
    names : collection of str, optional
        Names of the events to watch; all that have a duration by default.

    References
    ----------
    .. [1] B. Iglewicz, D. C. Hoaglin, How to Detect and Handle Outliers, ASQC, 1993.
    """

    threshold: float = 3.5
    window_n: int = 200
    names: Collection[str] | None = None

    def __post_init__(self) -> None:
        _check_positive(threshold=self.threshold)
        if self.window_n < 3:
            raise ValueError(f"`window_n` must be >= 3, got {self.window_n}")

    def watch(self) -> Watch:
        """Return a function that is given each stored event."""
        latest: deque[float] = deque(maxlen=self.window_n)

        def read(event: Event, row: Row) -> Reading | None:
            if event.duration_s is None or not _is_watched(self.names, event):
                return None
            latest.append(event.duration_s)
            middle = median(latest)
            spread = median(abs(value - middle) for value in latest)
            if spread == 0:
                return None
            z = _MAD_OF_NORMAL * (event.duration_s - middle) / spread
            return Reading(
                holds=z > self.threshold,
                message=f"{event.name} took {event.duration_s:.4g} s, modified z {z:.2f}",
                value=z,
                threshold=self.threshold,
            )

        return read


@dataclass(frozen=True, slots=True)
class NonFiniteLoss:
    """A training step reported a loss that is not a finite number."""

    def watch(self) -> Watch:
        """Return a function that is given each stored event."""

        def read(event: Event, row: Row) -> Reading | None:
            step = event.attributes.get("crucible.training.step")
            if step is None:
                return None
            lost = bool(event.attributes.get("crucible.training.loss_nonfinite"))
            return Reading(holds=lost, message=f"the loss of step {step} is not finite")

        return read


@dataclass(frozen=True, slots=True)
class Custom:
    """A condition of your own.

    Parameters
    ----------
    fn : callable
        Takes each `Event`, returns a message if the condition holds, else None. If it raises, the
        error is logged and that event says nothing.
    """

    fn: Callable[[Event], str | None]

    def watch(self) -> Watch:
        """Return a function that is given each stored event."""

        def read(event: Event, row: Row) -> Reading | None:
            message = self.fn(event)
            return Reading(holds=message is not None, message=message or "")

        return read


class AlertBoard:
    """The rules of one experiment at work; it lives on the writer's thread."""

    def __init__(
        self,
        rules: Sequence[AlertRule],
        *,
        emit: Callable[[Alert], None],
        on_alert: Callable[[Alert], None] | None,
        now_ns: Callable[[], int],
    ) -> None:
        self._watches = [(type(rule).__name__, rule.watch()) for rule in rules]
        self._firing: dict[int, Alert] = {}
        self._emit = emit
        self._on_alert = on_alert
        self._now_ns = now_ns

    def observe(self, rows: Sequence[Row]) -> None:
        """Give stored rows to every rule."""
        for row in rows:
            if row[_NAME] == ALERT:
                continue
            event = Event.from_row(row)
            for number, (rule, watch) in enumerate(self._watches):
                try:
                    reading = watch(event, row)
                except Exception:  # noqa: BLE001  # a hook of the user's
                    _log.exception("the alert rule %s failed", rule)
                    continue
                if reading is not None:
                    self._note(number, rule, reading)

    def _note(self, number: int, rule: str, reading: Reading) -> None:
        firing = self._firing.get(number)
        if not reading.holds:
            if firing is not None:
                del self._firing[number]
                self._emit(replace(firing, cleared_ns=self._now_ns()))
            return
        if firing is not None:
            return
        alert = Alert(
            rule=rule,
            message=reading.message,
            value=reading.value,
            threshold=reading.threshold,
            window_s=reading.window_s,
            fired_ns=self._now_ns(),
        )
        self._firing[number] = alert
        self._emit(alert)
        if self._on_alert is not None:
            try:
                self._on_alert(alert)
            except Exception:  # noqa: BLE001  # a hook of the user's
                _log.exception("on_alert failed for %s", rule)


def check_rules(alerts: Sequence[AlertRule]) -> tuple[AlertRule, ...]:
    """Return the rules.

    Raises
    ------
    ValueError
        If one of them is no rule.
    """
    for rule in alerts:
        if not callable(getattr(rule, "watch", None)) or isinstance(rule, type):
            raise ValueError(
                f"`alerts` must be rules as in crucible_telemetry.alerts, got {rule!r}"
            )
    return tuple(alerts)


def _is_watched(names: Collection[str] | None, event: Event) -> bool:
    return names is None or event.name in names


def _end_ns(event: Event) -> int:
    return event.start_ns + int((event.duration_s or 0) * 1e9)


def _check_positive(**numbers: float) -> None:
    for name, value in numbers.items():
        if not 0 < value < math.inf:
            raise ValueError(f"`{name}` must be finite and > 0, got {value}")
