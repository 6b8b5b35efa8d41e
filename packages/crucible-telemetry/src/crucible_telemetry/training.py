"""Training runs as events: steps, epochs, evaluations, checkpoints, and their curves."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from crucible_telemetry.event import Event
from crucible_telemetry.experiment import Experiment

_PREFIX = "crucible.training."
STEP, EPOCH = _PREFIX + "step", _PREFIX + "epoch"
EVALUATION, CHECKPOINT = _PREFIX + "evaluation", _PREFIX + "checkpoint"


class TrainingLog:
    """Record the progress of a training in an experiment.

    Parameters
    ----------
    experiment : Experiment
        Running. If it has steps already, the log goes on from them.

    Notes
    -----
    A step that does not come after the last one starts a new `segment`, as after resuming from a
    checkpoint. A loss that is not finite is stored as None with `loss_nonfinite`.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._segment, self._last = 0, -1
        for event in experiment.events(names=[STEP], last_n=1):
            self._segment = int(_value(event, "segment"))
            self._last = int(_value(event, "step"))

    def step(
        self,
        step: int,
        *,
        epoch: float | None = None,
        loss: float | None = None,
        learning_rate: float | None = None,
        grad_norm: float | None = None,
        tokens: int | None = None,
        duration_s: float | None = None,
        **metrics: float | None,
    ) -> None:
        """Record an optimiser step.

        Parameters
        ----------
        step : int, >= 0
        **metrics
            Numbers of your own, kept under `crucible.training.metric.<name>`.

        Raises
        ------
        ValueError
            If `step` is negative or a number is not one.
        ExperimentStateError
            If the experiment has stopped.
        """
        _check_step(step)
        if step <= self._last:
            self._segment += 1
        values = _numbers(
            metrics,
            epoch=epoch,
            loss=loss,
            learning_rate=learning_rate,
            grad_norm=grad_norm,
            tokens=tokens,
        )
        values |= {_PREFIX + "step": step, _PREFIX + "segment": self._segment}
        self._last = step
        self._experiment.record(STEP, outcome="ok", duration_s=duration_s, **values)

    def epoch(
        self,
        epoch: int,
        *,
        loss: float | None = None,
        duration_s: float | None = None,
        **metrics: float | None,
    ) -> None:
        """Record the end of an epoch (0, 1, 2, ...)."""
        _check_step(epoch, "epoch")
        values = _numbers(metrics, loss=loss)
        values |= {_PREFIX + "epoch": epoch, _PREFIX + "segment": self._segment}
        self._experiment.record(EPOCH, outcome="ok", duration_s=duration_s, **values)

    def evaluation(
        self,
        step: int | None = None,
        *,
        loss: float | None = None,
        duration_s: float | None = None,
        **metrics: float | None,
    ) -> None:
        """Record the metrics of an evaluation, after `step` if it was during a training."""
        values = _numbers(metrics, loss=loss)
        values[_PREFIX + "segment"] = self._segment
        if step is not None:
            _check_step(step)
            values[_PREFIX + "step"] = step
        self._experiment.record(EVALUATION, outcome="ok", duration_s=duration_s, **values)

    def checkpoint(self, step: int, path: str, sha256: str) -> None:
        """Record a saved checkpoint with its hash (64 hexadecimal digits)."""
        _check_step(step)
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise ValueError(f"`sha256` must be 64 lower-case hexadecimal digits, got {sha256!r}")
        values: dict[str, Any] = {"step": step, "path": str(path), "sha256": sha256}
        values["segment"] = self._segment
        named = {_PREFIX + name: value for name, value in values.items()}
        self._experiment.record(CHECKPOINT, outcome="ok", **named)

    def curve(
        self, name: str, *, smoothing: float = 0.0, max_points: int = 500
    ) -> list[tuple[int, float]]:
        """Return (step, value) pairs of a number given to `step`, in order.

        Parameters
        ----------
        name : str
            "loss", "learning_rate", "grad_norm", "tokens", "epoch" or a metric of your own.
        smoothing : float, in [0, 1)
            Weight of the past in an exponential mean, corrected for its start.
        max_points : int, >= 2
            More are thinned out evenly after smoothing; first and last stay.

        Notes
        -----
        From the first step of a segment on, earlier segments no longer count. Values that are
        unknown or not finite are left out.
        """
        events = self._experiment.events(names=[STEP])
        return curve(events, name, smoothing=smoothing, max_points=max_points)


def curve(
    events: Iterable[Event], name: str, *, smoothing: float = 0.0, max_points: int = 500
) -> list[tuple[int, float]]:
    """Do what `TrainingLog.curve` does, with events read from anywhere."""
    if not 0 <= smoothing < 1:
        raise ValueError(f"`smoothing` must be in [0, 1), got {smoothing}")
    if max_points < 2:
        raise ValueError(f"`max_points` must be >= 2, got {max_points}")
    segments: dict[int, list[tuple[int, float | None]]] = {}
    for event in events:
        if event.name != STEP:
            continue
        found = _value(event, name)
        if found is None:
            found = _value(event, f"metric.{name}")
        number = float(found) if isinstance(found, int | float) else None
        step, segment = int(_value(event, "step")), int(_value(event, "segment"))
        segments.setdefault(segment, []).append((step, number))
    points: list[tuple[int, float | None]] = []
    for _, steps in sorted(segments.items()):
        first = min(step for step, _ in steps)
        points = [point for point in points if point[0] < first] + sorted(
            steps, key=lambda point: point[0]
        )
    known = [(step, value) for step, value in points if value is not None]
    return _thinned(_smoothed(known, smoothing), max_points)


def _numbers(metrics: Mapping[str, float | None], **fixed: float | None) -> dict[str, Any]:
    """Return attributes of what is known; what is not finite becomes None, a loss with a flag."""
    values: dict[str, Any] = {}
    named = {**fixed, **{f"metric.{name}": value for name, value in metrics.items()}}
    for name, value in named.items():
        if value is None:
            continue
        if isinstance(value, bool) or not hasattr(value, "__float__"):
            shown = name.removeprefix("metric.")
            raise ValueError(f"`{shown}` must be a number, got {value!r}")
        finite = math.isfinite(value)
        values[_PREFIX + name] = _plain(value) if finite else None
        if name == "loss" and not finite:
            values[_PREFIX + "loss_nonfinite"] = True
    return values


def _plain(value: Any) -> int | float:
    return value if type(value) in (int, float) else float(value)


def _value(event: Event, name: str) -> Any:
    return event.attributes.get(_PREFIX + name)


def _check_step(step: object, parameter: str = "step") -> None:
    if isinstance(step, bool) or not isinstance(step, int) or step < 0:
        raise ValueError(f"`{parameter}` must be an integer >= 0, got {step!r}")


def _smoothed(points: list[tuple[int, float]], weight: float) -> list[tuple[int, float]]:
    if weight == 0:
        return points
    smoothed = []
    mean = 0.0
    for n, (step, value) in enumerate(points, 1):
        mean = weight * mean + (1 - weight) * value
        smoothed.append((step, mean / (1 - weight**n)))
    return smoothed


def _thinned(points: list[tuple[int, float]], most: int) -> list[tuple[int, float]]:
    if len(points) <= most:
        return points
    last = len(points) - 1
    return [points[round(n * last / (most - 1))] for n in range(most)]
