"""What can go wrong, readable at the top.

EnsembleError
    ModelError                    a call to a model failed
        AuthenticationError       401: no key, or a refused one
        PermissionDeniedError     403
        ModelNotFoundError        404, or a name that is unknown here
        InvalidRequestError       400, 413, 422: refused as it is
            ContextLengthError    longer than the model's context
        UnsupportedOptionError    the model has no such option; nothing was sent
        RateLimitError            429; retryable unless the quota is spent
        ServerError               5xx, 408, 409
            OverloadedError       503, 529
        ConnectionFailedError     unreachable, or the connection broke
        ModelTimeoutError         no answer within `timeout_s`; also a TimeoutError
        ResponseFormatError       status 200 with a body that cannot be used
        ContentFilteredError      filtered or refused, only where `raise_filtered=True`
        CircuitOpenError          too many failures in a row; nothing was sent
        CassetteMissError         a replayed request that was never recorded
    AllModelsFailedError          no member of an ensemble answered; also an ExceptionGroup
    QuorumNotReachedError         fewer valid answers than `quorum`
    UncalibratedError             a vote needs probabilities and has raw confidences
    MatrixFormatError             a file that is not a response matrix
    ModelNotAvailableError        the weights or the extra are not installed

Bad arguments raise `ValueError`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from crucible_ensemble.prediction import Response


class EnsembleError(Exception):
    """Root of this package's errors. Bad arguments raise `ValueError` instead.

    `responses` holds what was paid for before the error, where an ensemble raised it.
    """

    responses: "tuple[Response, ...]" = ()


class ModelError(EnsembleError):
    """A call to a model failed.

    Attributes
    ----------
    model : str or None
    status : int or None
        Of HTTP.
    retryable : bool
        Whether the same call may succeed later.
    retry_after_s : float or None
        What the provider asked to wait.
    request_id : str or None
    cost_usd : float or None
        Of all attempts; None where nobody knows (a broken connection may have been billed).
    attempts : int
    """

    retryable = False

    def __init__(
        self,
        message: str,
        *,
        model: str | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
        request_id: str | None = None,
        cost_usd: float | None = None,
        retryable: bool | None = None,
        attempts: int = 1,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.model = model
        self.status = status
        self.retry_after_s = retry_after_s
        self.request_id = request_id
        self.cost_usd = cost_usd
        self.attempts = attempts
        if retryable is not None:
            self.retryable = retryable

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


class InvalidRequestError(ModelError):
    """The provider refuses the request as it is."""


class ContextLengthError(InvalidRequestError):
    """The prompt does not fit; `limit` and `tokens` where the provider names them."""

    def __init__(
        self, message: str, *, limit: int | None = None, tokens: int | None = None, **facts: Any
    ) -> None:
        super().__init__(message, **facts)
        self.limit, self.tokens = limit, tokens


class UnsupportedOptionError(ModelError):
    """The model has no such option; `option` names it. Nothing was sent."""

    def __init__(self, message: str, *, option: str | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.option = option


class RateLimitError(ModelError):
    """Too many requests or tokens; `retry_after_s` if the provider said when."""

    retryable = True


class ServerError(ModelError):
    """The provider failed."""

    retryable = True


class OverloadedError(ServerError):
    """The provider has no capacity at the moment."""


class ConnectionFailedError(ModelError):
    """The server cannot be reached, or the connection broke."""

    retryable = True


class ModelTimeoutError(ModelError, TimeoutError):
    """No answer within `timeout_s`."""

    retryable = True


class ResponseFormatError(ModelError):
    """The answer is not what the protocol promises; tried once more, not more often."""

    retryable = True


class ContentFilteredError(ModelError):
    """The provider filtered the answer, or the model refused."""


class CircuitOpenError(ModelError):
    """The model failed too often in a row; a probe is let through after `retry_in_s`."""

    def __init__(self, message: str, *, retry_in_s: float = 0.0, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.retry_in_s = retry_in_s


class CassetteMissError(ModelError):
    """A replayed request that was never recorded."""


class AllModelsFailedError(EnsembleError, ExceptionGroup[Exception]):
    """No member of an ensemble answered.

    An `ExceptionGroup` of every cause; `failures` says for each member what happened. `retryable`
    is True if any cause is.
    """

    failures: Mapping[str, str]
    retryable: bool

    def __new__(
        cls, failures: Mapping[str, str], causes: Sequence[Exception], responses: Any = ()
    ) -> Self:
        """Build the group; the message lists the failures."""
        listed = "; ".join(f"{name}: {why}" for name, why in failures.items())
        self = super().__new__(cls, f"all members failed: {listed}", list(causes))
        self.failures = dict(failures)
        self.responses = tuple(responses)
        self.retryable = any(getattr(cause, "retryable", False) for cause in causes)
        return self

    def __init__(self, *_: Any) -> None:
        super().__init__(self.args[0], self.args[1])

    def derive(self, excs: Sequence[Exception], /) -> "AllModelsFailedError":  # type: ignore[override]
        """Return the group of some of the causes."""
        return AllModelsFailedError(self.failures, excs, self.responses)

    def __reduce__(self) -> tuple[object, ...]:
        return AllModelsFailedError, (self.failures, list(self.exceptions), self.responses)


class QuorumNotReachedError(EnsembleError):
    """Only `valid` readable answers where `needed` were asked for; `failures` by member."""

    def __init__(
        self, valid: int, needed: int, failures: Mapping[str, str], responses: Any = ()
    ) -> None:
        listed = "; ".join(f"{name}: {why}" for name, why in failures.items())
        said = f" ({listed})" if listed else ""
        super().__init__(f"{valid} valid answers, `quorum` is {needed}{said}")
        self.valid, self.needed, self.failures = valid, needed, dict(failures)
        self.responses = tuple(responses)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.valid, self.needed, self.failures, self.responses)


class UncalibratedError(EnsembleError):
    """A vote needs probabilities of being right and has none that were calibrated."""


class MatrixFormatError(EnsembleError):
    """A file that is not a response matrix."""


class ModelNotAvailableError(EnsembleError):
    """The weights or the extra that a local model needs are not installed."""
