"""Normalisers: from a text to the key that a vote counts, or None where there is no answer."""

from collections.abc import Mapping

from crucible_ensemble.model import Normaliser
from crucible_ensemble.normalise.numeric import numeric
from crucible_ensemble.normalise.text import exact, text

NORMALISERS: Mapping[str, Normaliser] = {"exact": exact, "numeric": numeric, "text": text}

__all__ = ["NORMALISERS", "exact", "numeric", "text"]
