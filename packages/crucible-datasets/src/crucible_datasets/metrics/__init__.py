"""Scores as the authors of the benchmarks compute them, one family per file."""
