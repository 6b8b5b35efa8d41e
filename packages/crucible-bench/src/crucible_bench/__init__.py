"""Paired, clustered and always-valid statistics for comparing systems: tests, intervals, power, verdicts."""
