"""Votes: from ballots to a winner, a tie or an abstention.

`unanimous`, `majority` and `weighted_majority` can also say when the ballots still open no longer
matter. `dawid_skene` looks at all items together and is for `predict_many` and the matrix.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from crucible_ensemble.model import Vote
from crucible_ensemble.votes.fallback import Fallback, fallback
from crucible_ensemble.votes.majority import Majority, WeightedMajority
from crucible_ensemble.votes.unanimous import Unanimous
from crucible_ensemble.votes.weighted import (
    BestConfidence,
    ConfidenceSum,
    Stacked,
    Weighted,
    classes_from,
)

VoteName = Literal[
    "best_confidence", "confidence_sum", "dawid_skene", "majority", "unanimous", "weighted",
    "weighted_majority",
]  # fmt: skip
VOTES: Mapping[str, Vote] = MappingProxyType(
    {
        "best_confidence": BestConfidence(),
        "confidence_sum": ConfidenceSum(),
        "majority": Majority(),
        "unanimous": Unanimous(),
        "weighted": Weighted(),
        "weighted_majority": WeightedMajority(),
    }
)

__all__ = [
    "VOTES",
    "BestConfidence",
    "ConfidenceSum",
    "Fallback",
    "Majority",
    "Stacked",
    "Unanimous",
    "VoteName",
    "Weighted",
    "WeightedMajority",
    "classes_from",
    "fallback",
]
