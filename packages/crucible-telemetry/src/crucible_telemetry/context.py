"""Which experiment is current here: it follows tasks, copied contexts and explicit ones."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import cache
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

    from crucible_telemetry.experiment import Experiment

P = ParamSpec("P")
R = TypeVar("R")

_CURRENT: ContextVar["Experiment | None"] = ContextVar("crucible_telemetry", default=None)
# The same beside the current span, for libraries that hand an OpenTelemetry context on by hand.
_KEY = "crucible-telemetry-experiment"


def current_experiment() -> "Experiment | None":
    """Return the innermost experiment that runs in this context; None without any.

    A context is what Python copies for each task: an experiment started before a task is current
    in it, one started inside a task is not current in its siblings. `experiment.active()` makes it
    so.
    """
    theirs: Experiment | None = _get_current()().get(_KEY)
    ours = _CURRENT.get()
    if ours is theirs and (ours is None or not ours.capture.is_over):
        return ours  # nearly always
    ours, theirs = _live(ours), _live(theirs)
    if ours is None or theirs is None or ours is theirs:
        return ours or theirs
    # Both are set and differ. Leaving a span brings back the OpenTelemetry context from before
    # an inner experiment started; then ours is right. Otherwise somebody attached a context.
    return ours if _is_inside(ours, theirs) else theirs


def experiment_for_span(parent_context: "Context | None") -> "Experiment | None":
    """Return the experiment of a span that starts: its parent context's, else the current one."""
    if parent_context is not None:
        found = _live(_key_of(parent_context))
        if found is not None:
            return found
        return _live(_CURRENT.get())
    return current_experiment()


def enter(experiment: "Experiment", *, parent: "Context | None" = None) -> None:
    """Make an experiment current in this context; `parent` has the remote span to continue."""
    from opentelemetry import trace

    if parent is not None:
        remote = trace.get_current_span(parent)
        if remote.get_span_context().is_valid:
            experiment.came_from = trace.get_current_span(), remote
            _set(experiment, span=remote)
            return
    _set(experiment)


def leave(experiment: "Experiment", outer: "Experiment | None") -> None:
    """Make `outer` current if `experiment` was.

    By value: leaving may happen in another context than entering, where a token is worthless.
    """
    if _CURRENT.get() is experiment or _key_of(None) is experiment:
        before, remote = experiment.came_from
        is_remote = remote is not None and _span() is remote
        _set(_live(outer), span=before if is_remote else None)


@contextmanager
def activated(experiment: "Experiment") -> Iterator[None]:
    """Make an experiment current for a while."""
    before = _CURRENT.get()
    enter(experiment)
    try:
        yield
    finally:
        # Stopping it meanwhile has made the experiment around it current, which is undone, too.
        if _CURRENT.get() in (experiment, _live(experiment)):
            _set(_live(before))


def bind(fn: Callable[P, R], /) -> Callable[P, R]:
    """Return `fn` bound to today's context: it runs as if called here, wherever it is called.

    Bare threads do not copy their creator's context. Each call gets its own copy.

    Raises
    ------
    ValueError
        If `fn` is a coroutine or generator function: its body would run in the awaiter's context.
    """
    if iscoroutinefunction(fn) or isasyncgenfunction(fn) or isgeneratorfunction(fn):
        raise ValueError(f"`fn` must be a plain function, got {fn!r}, whose body runs later")
    context = copy_context()

    def bound(*args: P.args, **kwargs: P.kwargs) -> R:
        return context.copy().run(fn, *args, **kwargs)

    bound.__wrapped__ = fn  # type: ignore[attr-defined]  # as functools.wraps does
    bound.__name__ = getattr(fn, "__name__", "bound")
    return bound


def _set(experiment: "Experiment | None", *, span: "Span | None" = None) -> None:
    from opentelemetry import context, trace

    _CURRENT.set(experiment)
    changed = context.set_value(_KEY, experiment)
    if span is not None:
        changed = trace.set_span_in_context(span, changed)
    # The token is dropped on purpose: see `leave`.
    context.attach(changed)


def _span() -> "Span":
    from opentelemetry import trace

    return trace.get_current_span()


def _key_of(context: "Context | None") -> Any:
    return (_get_current()() if context is None else context).get(_KEY)


@cache
def _get_current() -> Callable[[], Mapping[str, Any]]:
    """Return OpenTelemetry's function; importing it anew costs every span a microsecond."""
    from opentelemetry.context import get_current

    return get_current


def _live(experiment: "Experiment | None") -> "Experiment | None":
    while experiment is not None and experiment.is_stopped:
        experiment = experiment.outer
    return experiment


def _is_inside(inner: "Experiment", outer: "Experiment") -> bool:
    at: Experiment | None = inner
    while at is not None:
        if at is outer:
            return True
        at = at.outer
    return False
