"""Events as files: JSON Lines without loss, CSV for spreadsheets, Parquet for analysis."""

from crucible_telemetry.exports.exporting import Format, export, export_async
from crucible_telemetry.exports.importing import import_events
from crucible_telemetry.exports.parquet import to_arrow

__all__ = ["Format", "export", "export_async", "import_events", "to_arrow"]
