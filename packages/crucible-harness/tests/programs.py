"""Programs that are no Python packages: where CI lacks one, that is a failure."""

import os
import shutil

import pytest


def require(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{program} is not installed")
        pytest.skip(f"{program} is not installed")
    return found
