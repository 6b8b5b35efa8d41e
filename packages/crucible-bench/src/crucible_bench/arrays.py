"""From what users have to checked float arrays."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

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
    if array.size and float(np.abs(array[~missing]).max(initial=0.0)) > 1e150:
        raise ValueError(f"`{name}` must be within +-1e150, whose squares can still be summed")
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
    cluster: ArrayLike | Mapping[str, object] | None,
    missing: Literal["raise", "drop"],
    nan: Literal["raise", "omit"],
) -> tuple[Array, Array, NDArray[Any] | None, int]:
    """Return both arms item by item, their cluster labels, and the number of items left out.

    Raises
    ------
    UnmatchedPairsError
        If mappings have different keys and `missing` is "raise".
    PseudoReplicationError
        If `ids` repeat and no cluster is named.
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
        # In order of the ids: the order of a mapping changes nothing.
        common = sorted((key for key in control if key in treatment), key=str)
        if cluster is not None and not isinstance(cluster, Mapping):
            raise ValueError("`cluster` must be a mapping of item id to label, as the scores are")
        if isinstance(cluster, Mapping):
            unknown = [key for key in common if key not in cluster]
            if unknown:
                raise ValueError(f"`cluster` must have a label for every item, lacks {unknown[:5]}")
            cluster = [str(cluster[key]) for key in common]
        control, treatment = [control[k] for k in common], [treatment[k] for k in common]
    elif isinstance(control, Mapping) or isinstance(treatment, Mapping):
        raise ValueError("`control` and `treatment` must both be mappings, or neither")
    elif isinstance(cluster, Mapping):
        raise ValueError("`cluster` must be one label per item unless scores are mappings")
    a = scores("control", control, nan=nan)
    b = scores("treatment", treatment, nan=nan)
    if len(a) != len(b):
        raise ValueError(
            f"`control` and `treatment` must be paired, got {len(a)} and {len(b)} scores"
        )
    if a.ndim != b.ndim:
        raise ValueError("`control` and `treatment` must have the same number of dimensions")
    labels = None if cluster is None else np.asarray(cluster)
    if labels is not None and labels.shape != (len(a),):
        raise ValueError(f"`cluster` must have one label per item, got {labels.size} for {len(a)}")
    if ids is not None:
        if len(ids) != len(a):
            raise ValueError(f"`ids` must have one id per item, got {len(ids)} for {len(a)}")
        repeated = duplicates(ids)
        if repeated and cluster is None:
            raise PseudoReplicationError(
                repeated,
                "put the repeats of an item into one row (items x repeats), or name them with "
                "cluster=",
            )
    if a.ndim == 1 and nan == "omit":
        keep = ~(np.isnan(a) | np.isnan(b))
        dropped += int((~keep).sum())
        a, b = scores("control", a[keep]), scores("treatment", b[keep])
        labels = None if labels is None else labels[keep]
    return a, b, labels, dropped


def by_id(
    name: str, data: Mapping[str, float], cluster: "ArrayLike | Mapping[str, object] | None"
) -> tuple[list[str], list[float], "ArrayLike | None"]:
    """Return the ids of a mapping of scores, their scores and labels, in order of the ids.

    Labels in a sequence are in the mapping's order; those in a mapping are matched by id. The order
    of a mapping changes nothing.
    """
    order = sorted(range(len(data)), key=lambda i: str(keys[i])) if (keys := list(data)) else []
    ids = [keys[i] for i in order]
    if isinstance(cluster, Mapping):
        unknown = [key for key in ids if key not in cluster]
        if unknown:
            raise ValueError(
                f"`cluster` must have a label for every item of {name}, lacks {unknown[:5]}"
            )
        cluster = [str(cluster[key]) for key in ids]
    elif cluster is not None:
        labels = np.asarray(cluster)
        if labels.shape != (len(ids),):
            raise ValueError(
                f"`cluster` must have one label per {name} score, got {labels.size} for {len(ids)}"
            )
        cluster = labels[order]
    return [str(key) for key in ids], [data[key] for key in ids], cluster


def duplicates(ids: Sequence[str]) -> tuple[str, ...]:
    """Return the ids that occur again, each once."""
    counts = Counter(ids)
    return tuple(str(i) for i, count in counts.items() if count > 1)


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
