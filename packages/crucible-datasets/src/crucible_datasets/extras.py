"""Optional dependencies, asked for at the call that needs them."""

from importlib import import_module
from typing import Any

from crucible_datasets.errors import MissingExtraError


def need(module: str, *, extra: str, feature: str) -> Any:
    """Import an optional module.

    Raises
    ------
    MissingExtraError
        If it is not installed; the message has the install command.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(feature, extra) from error
