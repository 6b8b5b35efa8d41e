import ctypes
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def one_thread_for_matrices():
    """Keep OpenBLAS from spinning against other processes: small products get ten times slower."""
    for path in (Path(np.__file__).parent.parent / "numpy.libs").glob("libscipy_openblas64_*"):
        library = ctypes.CDLL(str(path))
        before = library.scipy_openblas_get_num_threads64_()
        library.scipy_openblas_set_num_threads64_(1)
        yield
        library.scipy_openblas_set_num_threads64_(before)
        return
    yield
