"""What can go wrong, readable at the top.

EnsembleError
    ModelError                 a call to a model failed
        AuthenticationError    no key, or a refused one
        PermissionDeniedError
        ModelNotFoundError     the name is unknown here or to the provider
        BadRequestError        the provider refuses the request as it is
        RateLimitError         try again later; `retry_after_s` if the provider said when
        ServerError            5xx
        ConnectionFailedError  unreachable, or the connection broke
        TimedOutError          no answer within `timeout_s`
        MalformedResponseError an answer that is not what the protocol promises
        CassetteMissError      a replayed request that was never recorded
    ModelNotAvailableError     the weights or the extra are not installed
    AllMembersFailedError      no member of an ensemble answered
"""


class EnsembleError(Exception):
    """Root of this package's errors. Bad arguments raise `ValueError` instead."""


class ModelError(EnsembleError):
    """A call to a model failed. `retryable` says whether the same call may succeed later."""

    retryable = False

    def __init__(
        self,
        message: str,
        *,
        model: str | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.model = model
        self.status = status
        self.retry_after_s = retry_after_s
        self.request_id = request_id

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.__dict__)


def _rebuild(cls: type[ModelError], message: str, state: dict[str, object]) -> ModelError:
    error = cls(message)
    error.__dict__.update(state)
    return error


class AuthenticationError(ModelError):
    """There is no key, or the provider refused it."""


class PermissionDeniedError(ModelError):
    """The key may not use this model."""


class ModelNotFoundError(ModelError):
    """No model of that name."""


class BadRequestError(ModelError):
    """The provider refuses the request as it is."""


class RateLimitError(ModelError):
    """Too many requests or tokens; `retry_after_s` if the provider said when."""

    retryable = True


class ServerError(ModelError):
    """The provider failed (5xx)."""

    retryable = True


class ConnectionFailedError(ModelError):
    """The server cannot be reached, or the connection broke."""

    retryable = True


class TimedOutError(ModelError):
    """No answer within `timeout_s`."""

    retryable = True


class MalformedResponseError(ModelError):
    """The answer is not what the protocol promises."""

    retryable = True


class CassetteMissError(ModelError):
    """A replayed request that was never recorded."""


class ModelNotAvailableError(EnsembleError):
    """The weights or the extra that a local model needs are not installed."""


class AllMembersFailedError(EnsembleError):
    """No member of an ensemble answered; `failures` names each reason."""

    def __init__(self, failures: dict[str, str]) -> None:
        self.failures = failures
        listed = "; ".join(f"{name}: {why}" for name, why in failures.items())
        super().__init__(f"all members failed: {listed}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.failures,)
