"""The examples in the docstrings print what they say."""

import doctest
import importlib

import pytest

MODULES = (
    "bayes", "betting", "budget", "calibration", "discrimination", "fairness", "judges", "meta", "models", "power",
    "prediction_powered", "prereg", "quantile_contrasts", "quantiles", "reliability", "sequential", "simulated_power",
    "simulation",
)  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_the_module_run(name):
    found = doctest.testmod(importlib.import_module(f"crucible_bench.{name}"))
    assert found.attempted > 0
    assert found.failed == 0
