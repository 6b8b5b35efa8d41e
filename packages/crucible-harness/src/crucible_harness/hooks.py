"""Your own code, called at the joints of a run."""

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from opentelemetry import trace

from crucible_harness.errors import HookError
from crucible_harness.schedule import Cell

if TYPE_CHECKING:
    from crucible_harness.experiment import Experiment
    from crucible_harness.outcome import RunResult
    from crucible_harness.tables import Outcome

Answer = Literal["retry", "record", "abort"] | None
_log = logging.getLogger("crucible_harness")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Functions, plain or async, that a run calls.

    Attributes
    ----------
    before_run : function of the experiment
    before_cell : function of a cell
    after_cell : function of a cell and its outcome
    on_error : function of a cell and its failed outcome
        Returns "retry" (once for a cell), "record" (as None does) or "abort", which ends the run
        with `RunAbortedError` after calls in flight are written down.
    on_event : function of a kind and a mapping of details
        "budget_warning", "budget_stop", "failure_rate_stop", "deadline_stop", "stopped_early",
        "retry_after", "resume".
    after_run : function of the result
    strict : bool
        A hook that raises is logged and listed in the manifest. With True it ends the run with
        `HookError`, after calls in flight are written down.
    """

    before_run: "Callable[[Experiment], Awaitable[None] | None] | None" = None
    before_cell: Callable[[Cell], Awaitable[None] | None] | None = None
    after_cell: "Callable[[Cell, Outcome], Awaitable[None] | None] | None" = None
    on_error: "Callable[[Cell, Outcome], Awaitable[Answer] | Answer] | None" = None
    on_event: Callable[[str, dict[str, Any]], Awaitable[None] | None] | None = None
    after_run: "Callable[[RunResult], Awaitable[None] | None] | None" = None
    strict: bool = False


class Note(Protocol):
    """Writes an event of the run down."""

    async def __call__(self, kind: str, **detail: Any) -> None:
        """Write it."""
        ...


class HookCaller:
    """Calls hooks, and keeps what they raise.

    Attributes
    ----------
    errors : list of str
        What hooks raised, for the manifest.
    note : async function of a kind and details, or None
        Writes an event down, such as "hook_error"; there is none before the journal is open.
    """

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self.errors: list[str] = []
        self.note: Note | None = None

    async def __call__(self, name: str, *arguments: Any) -> Any:
        """Call a hook if there is one; return what it returned, None if it raised.

        Raises
        ------
        HookError
            If it raised, or `on_error` returned something else than it may, and hooks are strict.
        """
        if name == "on_event":
            _trace(*arguments)
        hook = getattr(self._hooks, name)
        if hook is None:
            return None
        try:
            answer = hook(*arguments)
            if inspect.isawaitable(answer):
                answer = await answer
            if name == "on_error" and answer not in (None, "retry", "record", "abort"):
                raise ValueError(
                    f'`on_error` must return "retry", "record", "abort" or None, got {answer!r}'
                )
        except Exception as error:
            said = f"{name}: {type(error).__name__}: {error}"
            self.errors.append(said)
            _log.exception("hook %s raised", name)
            _trace("hook_error", {"hook": name, "error": said})
            if self.note is not None:
                await self.note("hook_error", hook=name, error=said)
            if self._hooks.strict:
                raise HookError(f"hook {said}") from error
            return None
        return answer


def _trace(kind: str, detail: Mapping[str, Any]) -> None:
    """Add an event to the span that is open: the run's, or the cell's that it happened in."""
    said = {
        f"crucible.harness.{name}": value
        for name, value in detail.items()
        if isinstance(value, str | bool | int | float)
    }
    trace.get_current_span().add_event(kind, said)
