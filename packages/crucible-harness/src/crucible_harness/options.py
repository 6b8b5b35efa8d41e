"""How a run is carried out. None of it is part of the design, so all of it may change on resume."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Progress = Literal["auto", "bar", "lines", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """At most `concurrency` calls to a provider at a time."""

    concurrency: int = 10

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ValueError(f"`concurrency` must be >= 1, got {self.concurrency}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPolicy:
    """Stop when more than `max_failure_rate` of the last `window` cells failed.

    The first `minimum` cells are always let through.
    """

    max_failure_rate: float = 0.1
    window: int = 100
    minimum: int = 20

    def __post_init__(self) -> None:
        if not 0 <= self.max_failure_rate <= 1:
            raise ValueError(f"`max_failure_rate` must be in [0, 1], got {self.max_failure_rate}")
        if not 1 <= self.minimum <= self.window:
            raise ValueError(
                f"`minimum` must be in [1, window], got {self.minimum} of {self.window}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Where and how to run.

    Attributes
    ----------
    directory : path
        Run folders are made in it.
    concurrency : int, >= 1
        Cells in work at a time; results do not depend on it.
    per_provider : mapping of provider ("openai", "local", ...) to Limits
    errors : ErrorPolicy
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
    """

    directory: Path | str = "runs"
    concurrency: int = 10
    per_provider: Mapping[str, Limits] = field(default_factory=dict)
    errors: ErrorPolicy = field(default_factory=ErrorPolicy)
    retry_failed: bool = True
    telemetry: bool = True
    trace: bool = False
    prereg: Path | str | None = None
    progress: Progress = "auto"

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ValueError(f"`concurrency` must be >= 1, got {self.concurrency}")
        if self.progress not in ("auto", "bar", "lines", "none"):
            raise ValueError(
                f'`progress` must be "auto", "bar", "lines" or "none", got {self.progress!r}'
            )
        if self.trace and not self.telemetry:
            raise ValueError("`trace` must be False where `telemetry` is: a trace is made of spans")
