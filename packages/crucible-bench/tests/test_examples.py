"""The examples in the docstrings print what they say."""

import doctest
import importlib
import pkgutil

import pytest

import crucible_bench

MODULES = [module.name for module in pkgutil.iter_modules(crucible_bench.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_the_module_run(name):
    found = doctest.testmod(importlib.import_module(f"crucible_bench.{name}"))
    assert found.failed == 0


def test_the_functions_at_the_root_have_an_example():
    bare = [
        name
        for name in crucible_bench.__all__
        if name[0].islower() and ">>>" not in getattr(crucible_bench, name).__doc__
    ]
    assert bare == []
