"""How a run is carried out. None of it is part of the design, so all of it may change on resume."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from crucible_harness.clock import Clock, SystemClock
from crucible_harness.errors_policy import ErrorPolicy, Retries
from crucible_harness.hooks import Hooks
from crucible_harness.ledger import Budget
from crucible_harness.limits import Limits

if TYPE_CHECKING:
    from crucible_harness.desk import Executor
    from crucible_harness.estimate import Estimate
    from crucible_harness.slo import LatencySLO

__all__ = ["Budget", "ErrorPolicy", "Hooks", "Limits", "Retries", "RunOptions"]

Progress = Literal["auto", "bar", "lines", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Where and how to run.

    Attributes
    ----------
    directory : path
        Run folders are made in it.
    journal : str, optional
        URL of a PostgreSQL database (`postgresql://...`) that holds the journal, in place of a file
        in the run folder. Its password is not written down: resume with the same option, or let the
        database's own means (PGPASSWORD, .pgpass) know it.
    durability : {"process", "power"}
        What a written row of a file survives: the death of the process, or of the machine too, at
        about a third of the rate.
    concurrency : int, >= 1
        Cells in work at a time; results do not depend on it. Also the calls in flight to a provider
        that `per_provider` does not name.
    per_provider : mapping of provider ("openai", "local", ...) to Limits
    timeout_s : float, > 0, or None
        Of each call to a model or function, from when it is sent.
    deadline_s : float, > 0, optional
        After that time no new call is sent; the run ends with status "deadline".
    retries : Retries
        Of functions; models retry themselves.
    errors : ErrorPolicy
    budget : Budget, optional
    slo : sequence of LatencySLO
        Latency objectives, judged in the analysis. A resumed run keeps those it was given before.
    hooks : Hooks
    executor : Executor, optional
        Where calls are made; in this process by default.
    retry_failed : bool
        On resume, try cells again that had failed.
    telemetry : bool
        Record every span of the run in `telemetry.sqlite`.
    trace : bool
        Draw the run's decisions in `trace.html`; needs telemetry.
    prereg : path, optional
        A file of `preregister`: an experiment that asks something else is refused.
    progress : {"auto", "bar", "lines", "none"}
        "auto" is a bar on a terminal, else a line now and then.
    confirm : function of an Estimate, optional
        Asked before the first call, with the bounds of the price book; False ends the run.
    clock : Clock
        Tells the times that are written down; the machine's by default.
    allow_dirty : bool
        False refuses to begin where the working tree has uncommitted changes, or is none.
    """

    directory: Path | str = "runs"
    journal: str | None = None
    durability: Literal["process", "power"] = "process"
    concurrency: int = 10
    per_provider: Mapping[str, Limits] = field(default_factory=dict)
    timeout_s: float | None = 30.0
    deadline_s: float | None = None
    retries: Retries = field(default_factory=Retries)
    errors: ErrorPolicy = field(default_factory=ErrorPolicy)
    budget: Budget | None = None
    slo: "Sequence[LatencySLO]" = ()
    hooks: Hooks = field(default_factory=Hooks)
    executor: "Executor | None" = None
    retry_failed: bool = True
    telemetry: bool = True
    trace: bool = False
    prereg: Path | str | None = None
    progress: Progress = "auto"
    confirm: "Callable[[Estimate], bool] | None" = None
    clock: Clock = field(default_factory=SystemClock)
    allow_dirty: bool = True

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ValueError(f"`concurrency` must be >= 1, got {self.concurrency}")
        for name in ("timeout_s", "deadline_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"`{name}` must be > 0, got {value}")
        if self.durability not in ("process", "power"):
            raise ValueError(f'`durability` must be "process" or "power", got {self.durability!r}')
        if self.journal is not None and not self.journal.startswith(
            ("postgresql://", "postgres://")
        ):
            scheme = self.journal.partition("://")[0]
            raise ValueError(f"`journal` must be a postgresql:// URL, got {scheme}://...")
        if self.progress not in ("auto", "bar", "lines", "none"):
            raise ValueError(
                f'`progress` must be "auto", "bar", "lines" or "none", got {self.progress!r}'
            )
        if self.trace and not self.telemetry:
            raise ValueError("`trace` must be False where `telemetry` is: a trace is made of spans")
