"""Normalisers: from a text to the key that a vote counts, or None where there is no answer.

None of them raises on any text, and each takes time in proportion to its length.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from crucible_ensemble.model import Normaliser
from crucible_ensemble.normalise.boolean import boolean
from crucible_ensemble.normalise.code import code
from crucible_ensemble.normalise.equivalence import CosineClusters, NumericTolerance
from crucible_ensemble.normalise.json_value import json_value
from crucible_ensemble.normalise.mcq import Mcq, mcq
from crucible_ensemble.normalise.numeric import numeric
from crucible_ensemble.normalise.text import exact, text

NormaliserName = Literal[
    "boolean", "code", "exact", "json", "lowercase_trim", "mcq", "none", "numeric", "text"
]
NORMALISERS: Mapping[str, Normaliser] = MappingProxyType(
    {
        "boolean": boolean,
        "code": code,
        "exact": exact,
        "json": json_value,
        "lowercase_trim": text,
        "mcq": Mcq(),
        "none": exact,
        "numeric": numeric,
        "text": text,
    }
)

__all__ = [
    "NORMALISERS",
    "CosineClusters",
    "Mcq",
    "NormaliserName",
    "NumericTolerance",
    "boolean",
    "code",
    "exact",
    "json_value",
    "mcq",
    "numeric",
    "text",
]
