"""Time a block or a function and record how it ended; nothing is swallowed."""

from collections.abc import Callable
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from crucible_telemetry.outcome import raised_outcome, type_name
from crucible_telemetry.recording import check_name, recorded
from crucible_telemetry.tasks import task_name

if TYPE_CHECKING:
    from crucible_telemetry.experiment import Experiment

P = ParamSpec("P")
R = TypeVar("R")


class Timed:
    """A context manager, sync and async, and a decorator; see `Experiment.timed`."""

    def __init__(self, experiment: "Experiment", name: str, attributes: dict[str, Any]) -> None:
        check_name("name", name)
        self._experiment = experiment
        self._name = name
        self._attributes = attributes
        self._started: tuple[int, int] | None = None

    def __call__(self, fn: Callable[P, R], /) -> Callable[P, R]:
        """Time every call of a function."""
        if isgeneratorfunction(fn) or isasyncgenfunction(fn):
            raise ValueError(f"`fn` must be a function or coroutine function, got {fn!r}")
        if iscoroutinefunction(fn):

            @wraps(fn)
            async def timed_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self._again():
                    return await fn(*args, **kwargs)

            return timed_async  # type: ignore[return-value]  # R is the coroutine that it returns

        @wraps(fn)
        def timed(*args: P.args, **kwargs: P.kwargs) -> R:
            with self._again():
                return fn(*args, **kwargs)

        return timed

    def __enter__(self) -> None:
        if self._started is not None:
            raise RuntimeError("a timed block cannot be entered twice at once; call `timed` again")
        clock = self._experiment.clock
        self._started = clock.wall_ns(), clock.monotonic_ns()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._started is None:
            raise RuntimeError("a timed block was left without being entered")
        (start_ns, began_ns), self._started = self._started, None
        experiment = self._experiment
        item = recorded(
            self._name,
            experiment.clock,
            "ok" if kind is None else raised_outcome(kind),
            max(0, experiment.clock.monotonic_ns() - began_ns) / 1e9,
            start_ns,
            None if kind is None else type_name(kind),
            *(None,) * 7,
            experiment.span_context(),
            task_name() if experiment.names_span_tasks else None,
            None,
            dict(self._attributes),
        )
        experiment.capture.timed(item)

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

    def _again(self) -> "Timed":
        return Timed(self._experiment, self._name, self._attributes)
