"""What is needed beyond the base install, asked for by name and in time."""

from importlib.util import find_spec
from typing import Literal

from crucible_telemetry.errors import MissingExtraError

Extra = Literal["postgres", "parquet", "arrays", "otlp", "live"]

_MODULES: dict[Extra, tuple[str, ...]] = {
    "postgres": ("sqlalchemy", "psycopg"),
    "parquet": ("pyarrow",),
    "arrays": ("numpy",),
    "otlp": ("opentelemetry.exporter.otlp.proto.http",),
    "live": ("rich",),
}


def require(extra: Extra) -> None:
    """Raise `MissingExtraError` unless everything that the extra brings is installed."""
    for module in _MODULES[extra]:
        try:
            found = find_spec(module) is not None
        except ImportError:  # a parent package is missing
            found = False
        if not found:
            raise MissingExtraError(extra)
