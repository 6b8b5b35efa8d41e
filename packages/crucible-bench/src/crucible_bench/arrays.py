"""From what users have to checked float arrays."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crucible_bench.errors import PseudoReplicationError, UnmatchedPairsError

Array = NDArray[np.float64]


def scores(
    name: str, data: ArrayLike, *, nan: Literal["raise", "omit"] = "raise", minimum: int = 2
) -> Array:
    """Return a checked 1-D (items) or 2-D (items x repeats) float array.

    Raises
    ------
    ValueError
        For strings, 0-d or 3-d data, too few scores, infinities, and NaN unless `nan="omit"`; in
        2-D data NaN means a missing repeat and an item must have at least one.
    """
    try:
        array = np.asarray(data, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` must be numbers, got {type(data).__name__}") from error
    if array.ndim not in (1, 2):
        raise ValueError(
            f"`{name}` must have one dimension (items) or two (items x repeats), got {array.ndim}"
        )
    if np.isinf(array).any():
        where = int(np.flatnonzero(np.isinf(array))[0])
        raise ValueError(f"`{name}` must be finite, got an infinity at index {where}")
    missing = np.isnan(array)
    if array.ndim == 1 and missing.any() and nan == "raise":
        raise ValueError(
            f"`{name}` must not hold NaN, got {int(missing.sum())}, the first at index "
            f'{int(np.flatnonzero(missing)[0])}; pass nan="omit" to leave them out'
        )
    if array.ndim == 2 and missing.all(axis=1).any():
        raise ValueError(f"`{name}` must have at least one repeat for every item")
    if len(array) < minimum:
        raise ValueError(f"`{name}` must have at least {minimum} scores, got {len(array)}")
    return array


def pair(
    control: ArrayLike | Mapping[str, float],
    treatment: ArrayLike | Mapping[str, float],
    *,
    ids: Sequence[str] | None,
    missing: Literal["raise", "drop"],
    nan: Literal["raise", "omit"],
) -> tuple[Array, Array, int]:
    """Return both arms item by item, and the number of items left out.

    Raises
    ------
    UnmatchedPairsError
        If mappings have different keys and `missing` is "raise".
    PseudoReplicationError
        If `ids` repeat.
    ValueError
        If lengths differ, or the data are not scores.
    """
    dropped = 0
    if isinstance(control, Mapping) and isinstance(treatment, Mapping):
        only = (tuple(k for k in control if k not in treatment),
                tuple(k for k in treatment if k not in control))  # fmt: skip
        if any(only) and missing == "raise":
            raise UnmatchedPairsError(*only)
        dropped = len(only[0]) + len(only[1])
        common = [key for key in control if key in treatment]
        control, treatment = [control[k] for k in common], [treatment[k] for k in common]
    elif isinstance(control, Mapping) or isinstance(treatment, Mapping):
        raise ValueError("`control` and `treatment` must both be mappings, or neither")
    a = scores("control", control, nan=nan)
    b = scores("treatment", treatment, nan=nan)
    if len(a) != len(b):
        raise ValueError(
            f"`control` and `treatment` must be paired, got {len(a)} and {len(b)} scores"
        )
    if a.ndim != b.ndim:
        raise ValueError("`control` and `treatment` must have the same number of dimensions")
    if ids is not None:
        if len(ids) != len(a):
            raise ValueError(f"`ids` must have one id per item, got {len(ids)} for {len(a)}")
        seen: set[str] = set()
        repeated = tuple(i for i in ids if i in seen or seen.add(i))  # type: ignore[func-returns-value]
        if repeated:
            raise PseudoReplicationError(
                repeated, "put the repeats of an item into one row (items x repeats)"
            )
    if a.ndim == 1 and nan == "omit":
        keep = ~(np.isnan(a) | np.isnan(b))
        dropped += int((~keep).sum())
        a, b = scores("control", a[keep]), scores("treatment", b[keep])
    return a, b, dropped


def is_binary(*arrays: Array) -> bool:
    """Say whether every score is 0 or 1."""
    return all(np.isin(array[~np.isnan(array)], (0.0, 1.0)).all() for array in arrays)


def item_means(array: Array) -> Array:
    """Return the mean of each item's repeats; 1-D data are returned as they are."""
    if array.ndim == 1:
        return array
    means: Array = np.nanmean(array, axis=1)
    return means


def check_confidence(confidence: float) -> None:
    """Raise `ValueError` unless 0 < confidence < 1."""
    if not 0 < confidence < 1:
        raise ValueError(f"`confidence` must be in (0, 1), got {confidence}")
