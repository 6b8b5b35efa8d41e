"""Expectations about tables, profiles of them, and drift between them.

A table is a mapping of column name to values, a `Dataset`, or an Arrow table.
"""

from crucible_datasets.quality import expectations
from crucible_datasets.quality.drift import Baseline, ColumnDrift, DriftReport, detect_drift
from crucible_datasets.quality.profile import ColumnProfile, Profile, profile
from crucible_datasets.quality.suite import Expectation, ExpectationResult, QualityReport, Suite

__all__ = [
    "Baseline",
    "ColumnDrift",
    "ColumnProfile",
    "DriftReport",
    "Expectation",
    "ExpectationResult",
    "Profile",
    "QualityReport",
    "Suite",
    "detect_drift",
    "expectations",
    "profile",
]
