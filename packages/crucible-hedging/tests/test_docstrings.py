import doctest
import importlib
import pkgutil

import pytest

import crucible_hedging

MODULES = [m.name for m in pkgutil.walk_packages(crucible_hedging.__path__, "crucible_hedging.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_do_what_they_show(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0
