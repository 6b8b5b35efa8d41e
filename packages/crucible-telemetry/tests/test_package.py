import doctest
import pickle
import re
from pathlib import Path

import pytest

import crucible_telemetry
from crucible_telemetry import errors
from crucible_telemetry.metrics import intervals

SOURCES = sorted(Path(crucible_telemetry.__file__).parent.rglob("*.py"))


def test_the_root_names_are_sorted_and_few():
    names = crucible_telemetry.__all__
    assert names == sorted(names)
    assert len(names) <= 20
    assert all(hasattr(crucible_telemetry, name) for name in names)


@pytest.mark.parametrize(
    "error",
    [
        errors.ExperimentStateError("record", "stopped"),
        errors.UnknownExperimentError("exp_x"),
        errors.StoreUnavailableError("file", "no"),
        errors.StoreStalledError(1.5, 3),
        errors.StoreVersionError(2, 1),
        errors.RowRejectedError("no"),
        errors.UnsupportedProviderError("p"),
        errors.MissingExtraError("parquet"),
        errors.ExportError("no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_have_one_root_and_survive_pickling(error):
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, errors.TelemetryError)
    assert (str(again), again.__dict__) == (str(error), error.__dict__)
    assert str(error)


def test_no_source_imports_asyncio_or_a_deprecated_constant_or_a_sibling():
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"^\s*(import|from) asyncio", text, re.M), path
        assert "opentelemetry.semconv" not in text, path
        for module in re.findall(r"^\s*(?:import|from) (crucible_\w+)", text, re.M):
            assert module == "crucible_telemetry", path


def test_the_examples_in_docstrings_run():
    result = doctest.testmod(intervals)
    assert result.attempted > 0
    assert result.failed == 0
