"""Exit codes, and errors as messages: what is wrong and where, without a traceback."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from crucible_harness.errors import (
    BudgetExceededError,
    ConfigError,
    DesignMismatchError,
    ForeignLogError,
    HarnessError,
    NotARunError,
    NotComparableError,
    NotConfirmedError,
    PreregistrationError,
    ProviderRefusedError,
)

OK, FAILURE, USAGE, BUDGET, FAILURE_RATE, VERIFICATION, REFUSED, INTERRUPTED = (
    0, 1, 2, 3, 4, 5, 6, 130,
)  # fmt: skip
BY_STATUS = {
    "complete": OK,
    "stopped_early": OK,
    "budget": BUDGET,
    "failure_rate": FAILURE_RATE,
    "deadline": INTERRUPTED,
    "interrupted": INTERRUPTED,
}


@contextmanager
def messages() -> Iterator[None]:
    """Turn an error into one message on standard error and an exit code."""
    try:
        yield
    except SystemExit:
        raise
    except KeyboardInterrupt:
        _end("interrupted", INTERRUPTED)
    except Exception as error:
        if os.environ.get("CRUCIBLE_DEBUG"):
            raise
        code = _code(error)
        said = str(error) or type(error).__name__
        if code is None:
            _end(
                f"unexpected {type(error).__name__}: {said}\nThis is a mistake in Crucible; "
                "CRUCIBLE_DEBUG=1 shows where. What was answered is kept: `crucible resume`.",
                FAILURE,
            )
        _end(said, code or FAILURE)


def _code(error: Exception) -> int | None:
    from crucible_datasets.errors import DatasetsError
    from crucible_ensemble.errors import EnsembleError, ModelNotAvailableError, ModelNotFoundError

    match error:
        case (
            ConfigError() | NotARunError() | DesignMismatchError() | DatasetsError() | ValueError()
        ):
            return USAGE
        case (
            PreregistrationError() | NotComparableError() | NotConfirmedError() | ForeignLogError()
        ):
            return USAGE
        case ModelNotFoundError() | ModelNotAvailableError():
            return USAGE
        case ProviderRefusedError():
            return REFUSED
        case BudgetExceededError():
            return BUDGET
        case HarnessError() | EnsembleError() | OSError():
            return FAILURE
    return None


def _end(message: str, code: int) -> None:
    print(f"crucible: {message}", file=sys.stderr, flush=True)  # noqa: T201
    raise SystemExit(code)
