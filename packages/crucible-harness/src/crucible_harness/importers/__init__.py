"""Runs that others made: logs of Inspect AI and lm-evaluation-harness, and plain tables."""

from crucible_harness.importers.importing import import_logs, read_logs

__all__ = ["import_logs", "read_logs"]
