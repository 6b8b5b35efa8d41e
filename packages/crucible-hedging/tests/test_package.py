import pickle
import subprocess
import sys

import pytest

import crucible_hedging
from crucible_hedging.errors import (
    AllAttemptsFailedError,
    CircuitOpenError,
    HedgerClosedError,
    HedgingError,
    InsufficientDataError,
    NotIdempotentError,
    PolicyError,
    RejectedError,
)
from crucible_hedging.failures import default_classify


def test_importing_the_package_loads_nothing_heavy():
    script = (
        "import crucible_hedging, sys; "
        "heavy = {'torch', 'transformers', 'pandas', 'pyarrow', 'datasets', 'ray', 'scipy', "
        "'numpy', 'trio', 'asyncio', 'opentelemetry.sdk', 'unittest'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_the_root_names_are_sorted_and_few():
    assert crucible_hedging.__all__ == sorted(crucible_hedging.__all__)
    assert len(crucible_hedging.__all__) <= 20
    for name in crucible_hedging.__all__:
        assert getattr(crucible_hedging, name).__doc__


@pytest.mark.parametrize(
    "error",
    [
        AllAttemptsFailedError([OSError("a"), RejectedError("backup 1", "text")]),
        RejectedError("primary", 3),
        NotIdempotentError("no"),
        PolicyError("mine", -1),
        CircuitOpenError("key", 2.5),
        HedgerClosedError("left"),
        InsufficientDataError(3, 20),
    ],
)
def test_errors_survive_pickling(error):
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, HedgingError)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert [repr(e) for e in getattr(again, "exceptions", ())] == [
        repr(e) for e in getattr(error, "exceptions", ())
    ]


def test_failures_say_what_they_were():
    error = AllAttemptsFailedError([OSError(), TimeoutError()])
    assert "OSError, TimeoutError" in str(error)


class Marked(Exception):
    def __init__(self, **marks):
        self.__dict__.update(marks)


@pytest.mark.parametrize(
    ("error", "kind", "retry_after_s"),
    [
        (Marked(retry_after_s=3), "pushback", 3.0),
        (Marked(retry_after_s=0.0, retryable=False), "pushback", 0.0),
        (Marked(retry_after_s=None, retryable=True), "retryable", None),
        (Marked(retryable=False), "fatal", None),
        (TypeError(), "fatal", None),
        (AttributeError(), "fatal", None),
        (NameError(), "fatal", None),
        (ImportError(), "fatal", None),
        (NotImplementedError(), "fatal", None),
        (AssertionError(), "fatal", None),
        (ValueError(), "retryable", None),
        (TimeoutError(), "retryable", None),
        (ConnectionError(), "retryable", None),
    ],
)
def test_errors_are_read_by_their_attributes(error, kind, retry_after_s):
    verdict = default_classify(error)
    assert (verdict.kind, verdict.retry_after_s) == (kind, retry_after_s)
