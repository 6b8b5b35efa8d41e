"""What can go wrong, readable at the top.

TelemetryError
    ExperimentStateError      the experiment is not in a state that allows this
    UnknownExperimentError    no experiment of that id
    StoreUnavailableError     the store cannot be opened, reached or used
    StoreStalledError         the store has not taken events for too long
    StoreVersionError         written by a newer version of this package
    RowRejectedError          a store can never hold this row; all others can be retried
    CarrierError              a carrier names no experiment
    UnsupportedProviderError  spans of this tracer provider cannot be captured
    MissingExtraError         an extra of this package is not installed
    ExportError               a file does not hold what its manifest says

Warnings: SampledProviderWarning, OpenSpansWarning, SpillWarning, RedactionWarning.
"""


class TelemetryError(Exception):
    """Root of this package's errors. Bad arguments raise `ValueError` instead."""


class ExperimentStateError(TelemetryError):
    """The experiment is in a state that does not allow the operation."""

    def __init__(self, operation: str, state: str) -> None:
        super().__init__(operation, state)
        self.operation = operation
        self.state = state

    def __str__(self) -> str:
        return f"cannot {self.operation}: the experiment is {self.state}"


class UnknownExperimentError(TelemetryError):
    """There is no experiment of that id, here or in the store."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.id = id

    def __str__(self) -> str:
        return f"no experiment with id {self.id!r}"


class StoreUnavailableError(TelemetryError):
    """The store cannot be opened, reached or used. `target` never holds a password."""

    def __init__(self, target: str, reason: str) -> None:
        super().__init__(target, reason)
        self.target = target
        self.reason = reason

    def __str__(self) -> str:
        return f"the store {self.target} is not available: {self.reason}"


class StoreStalledError(TelemetryError):
    """The store took nothing for `waited_s` seconds while `queued` events waited."""

    def __init__(self, waited_s: float, queued: int) -> None:
        super().__init__(waited_s, queued)
        self.waited_s = waited_s
        self.queued = queued

    def __str__(self) -> str:
        return f"the store took nothing for {self.waited_s:.1f} s; {self.queued} events wait"


class StoreVersionError(TelemetryError):
    """The store was written by a version that this one does not know."""

    def __init__(self, found: int, supported: int) -> None:
        super().__init__(found, supported)
        self.found = found
        self.supported = supported

    def __str__(self) -> str:
        return (
            f"the store has schema version {self.found}, this package reads up to "
            f"{self.supported}; install a newer crucible-telemetry"
        )


class RowRejectedError(TelemetryError):
    """A row of this batch can never be stored. A store raises it instead of being retried."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UnsupportedProviderError(TelemetryError):
    """Spans of this tracer provider cannot be captured; `capture_spans=False` still records."""

    def __init__(self, provider: str) -> None:
        super().__init__(provider)
        self.provider = provider

    def __str__(self) -> str:
        return (
            f"cannot capture the spans of {self.provider}; start the experiment with "
            "capture_spans=False to keep only what `record` is told"
        )


class CarrierError(TelemetryError):
    """A carrier has no entry `missing`, so it names no experiment to join."""

    def __init__(self, missing: str) -> None:
        super().__init__(missing)
        self.missing = missing

    def __str__(self) -> str:
        return f"the carrier names no experiment: {self.missing!r} is not in its baggage"


class MissingExtraError(TelemetryError):
    """An extra of this package is not installed."""

    def __init__(self, extra: str) -> None:
        super().__init__(extra)
        self.extra = extra

    def __str__(self) -> str:
        return f'this needs an extra: pip install "crucible-telemetry[{self.extra}]"'


class ExportError(TelemetryError):
    """A file does not hold what its manifest or its format says."""


class SampledProviderWarning(UserWarning):
    """The tracer provider samples: spans it leaves out never reach the experiment."""


class OpenSpansWarning(UserWarning):
    """Spans were still open when their experiment stopped; they are counted, not stored."""


class SpillWarning(UserWarning):
    """The store could not keep up or refused rows, which now lie in a file beside it."""


class RedactionWarning(UserWarning):
    """A redactor failed; the attributes of that event were dropped."""
