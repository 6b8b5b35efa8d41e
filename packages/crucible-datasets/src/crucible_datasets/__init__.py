"""Real benchmarks, exactly scored: official files, answer extraction, seeded samples."""

from crucible_datasets.errors import (
    DatasetError,
    DatasetFormatError,
    DatasetUnavailableError,
    IntegrityError,
)
from crucible_datasets.evaluation import EvaluationResult, evaluate
from crucible_datasets.extraction import Extraction, extract, is_right
from crucible_datasets.items import Dataset, Item, Provenance
from crucible_datasets.loading import FieldMap, load
from crucible_datasets.sampling import sample

__all__ = [
    "Dataset",
    "DatasetError",
    "DatasetFormatError",
    "DatasetUnavailableError",
    "EvaluationResult",
    "Extraction",
    "FieldMap",
    "IntegrityError",
    "Item",
    "Provenance",
    "evaluate",
    "extract",
    "is_right",
    "load",
    "sample",
]
