"""What can go wrong, readable at the top.

LoraError
    MissingExtraError         an extra of this package is not installed
    UnsupportedOptionError    the backend cannot honour an option; nothing was spent
    MaskError                 no border between prompt and completion in an item's tokens
    NoTargetTokensError       items that would teach nothing
    TruncationError           items longer than `max_length`
    DivergedError             three updates in a row had no finite loss or gradient
    CheckpointNotFoundError
    CheckpointCorruptError    a file is not what was written
    CheckpointWriteError      the disk refused; earlier checkpoints are intact
    AdapterExistsError        a registry or pool has that name already
    AdapterNotFoundError
    ExportMismatchError       what was exported does not compute the same
    ResumeMismatchError       the run was started with other data, options or backend
    ContextLengthError        a prompt longer than the model's context
    BaseModelNotFoundError
    SessionClosedError
    BackendError              a backend that calls a service failed
        BackendAuthError
        BackendBillingError
        BackendRequestError
        BackendUnavailableError
        BackendTimeoutError
"""

from collections.abc import Mapping, Sequence


class LoraError(Exception):
    """Root of this package's errors. Bad arguments raise `ValueError` instead."""

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, dict(self.__dict__))


def _rebuild(cls: type[LoraError], args: tuple[object, ...], state: dict[str, object]) -> LoraError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class MissingExtraError(LoraError):
    """An extra of this package is not installed."""

    def __init__(self, extra: str, missing: str) -> None:
        self.extra = extra
        self.missing = missing
        super().__init__(f'{missing} is not installed: pip install "crucible-lora[{extra}]"')


class UnsupportedOptionError(LoraError):
    """The backend cannot honour an option."""

    def __init__(self, option: str, value: object, backend: str, reason: str | None = None) -> None:
        self.option = option
        self.value = value
        self.backend = backend
        self.reason = reason
        why = "" if reason is None else f": {reason}"
        super().__init__(f"backend {backend!r} cannot honour {option}={value!r}{why}")


class MaskError(LoraError):
    """The tokens of an item have no border between prompt and completion."""

    def __init__(self, item_id: str, reason: str) -> None:
        self.item_id = item_id
        self.reason = reason
        super().__init__(f"item {item_id!r}: {reason}")


class NoTargetTokensError(LoraError):
    """Items without a token to learn from."""

    def __init__(self, item_ids: Sequence[str]) -> None:
        self.item_ids = tuple(item_ids)
        super().__init__(
            f"{len(self.item_ids)} items have no target token: {_first(self.item_ids)}"
        )


class TruncationError(LoraError):
    """Items longer than allowed."""

    def __init__(self, limit: int, lengths: Mapping[str, int], remedy: str) -> None:
        self.limit = limit
        self.lengths = dict(lengths)
        self.remedy = remedy
        shown = ", ".join(f"{name} ({n})" for name, n in list(self.lengths.items())[:5])
        super().__init__(
            f"{len(self.lengths)} items are longer than {limit} tokens: {shown}; {remedy}"
        )


class DivergedError(LoraError):
    """Three updates in a row had no finite loss or gradient."""

    def __init__(self, step: int, checkpoint: str | None) -> None:
        self.step = step
        self.checkpoint = checkpoint
        last = "no checkpoint was written" if checkpoint is None else f"the last is {checkpoint}"
        super().__init__(f"loss or gradient was not finite three times up to step {step}; {last}")


class CheckpointNotFoundError(LoraError):
    """No such checkpoint."""

    def __init__(self, name: str, available: Sequence[str], reason: str | None = None) -> None:
        self.name = name
        self.available = tuple(available)
        self.reason = reason
        why = "" if reason is None else f" ({reason})"
        listed = ", ".join(self.available) or "none"
        super().__init__(f"no checkpoint {name!r}{why}; there are: {listed}")


class CheckpointCorruptError(LoraError):
    """A file of a checkpoint is not what was written."""

    def __init__(self, file: str, expected: str | None, found: str | None) -> None:
        self.file = file
        self.expected = expected
        self.found = found
        super().__init__(f"{file}: SHA-256 {found or 'missing'}, expected {expected or 'unknown'}")


class CheckpointWriteError(LoraError):
    """A checkpoint could not be written; earlier ones are intact."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(f"checkpoint {name!r} was not written ({reason}); earlier ones are intact")


class AdapterExistsError(LoraError):
    """The name of an adapter is taken."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"there is an adapter {name!r} already: choose another name or delete it")


class AdapterNotFoundError(LoraError):
    """No such adapter."""

    def __init__(self, name: str, available: Sequence[str]) -> None:
        self.name = name
        self.available = tuple(available)
        super().__init__(f"no adapter {name!r}; there are: {', '.join(self.available) or 'none'}")


class ExportMismatchError(LoraError):
    """What was exported does not compute the same; nothing of it is left."""

    def __init__(self, difference: float, largest_logit: float, limit: float) -> None:
        self.difference = difference
        self.largest_logit = largest_logit
        self.limit = limit
        super().__init__(
            f"logits of the export differ by {difference:g} from the adapter's, which is more than "
            f"{limit:g} of the largest, {largest_logit:g}"
        )


class ResumeMismatchError(LoraError):
    """The run to resume was started differently."""

    def __init__(self, fields: Sequence[str]) -> None:
        self.fields = tuple(fields)
        super().__init__(f"the run was started with another {', '.join(self.fields)}")


class ContextLengthError(LoraError):
    """A sequence longer than the model's context."""

    def __init__(self, limit: int, tokens: int) -> None:
        self.limit = limit
        self.tokens = tokens
        super().__init__(f"{tokens} tokens do not fit the model's context of {limit}")


class BaseModelNotFoundError(LoraError):
    """No base model of that name."""

    def __init__(self, name: str, tried: Sequence[str]) -> None:
        self.name = name
        self.tried = tuple(tried)
        super().__init__(f"no base model {name!r}; tried: {'; '.join(self.tried)}")


class SessionClosedError(LoraError):
    """The session was closed."""

    def __init__(self) -> None:
        super().__init__("the session is closed")


class BackendError(LoraError):
    """A backend that calls a service failed."""

    def __init__(
        self, message: str, *, backend: str, retryable: bool, request_id: str | None = None
    ) -> None:
        self.backend = backend
        self.retryable = retryable
        self.request_id = request_id
        super().__init__(message)


class BackendAuthError(BackendError):
    """There is no key, or the service refused it."""


class BackendBillingError(BackendError):
    """The service wants to be paid first."""


class BackendRequestError(BackendError):
    """The service refuses the request as it is."""


class BackendUnavailableError(BackendError):
    """The service failed or cannot be reached."""


class BackendTimeoutError(BackendError):
    """No answer within the deadline."""


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
