"""From what users have to two checked independent arms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrays import Array, by_id, duplicates, item_means, scores
from crucible_bench.errors import PseudoReplicationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Arms:
    """Two independent arms: item means `x` and `y`, their cluster labels, and scores as given."""

    x: Array
    y: Array
    groups: tuple[Array, Array] | None
    raw: tuple[Array, Array]
    n_missing: tuple[int, int]


def two_arms(
    control: ArrayLike | Mapping[str, float],
    treatment: ArrayLike | Mapping[str, float],
    *,
    cluster: tuple[ArrayLike, ArrayLike] | None,
    ids: tuple[Sequence[str], Sequence[str]] | None,
    nan: Literal["raise", "omit"],
) -> Arms:
    """Return two independent arms, checked; the errors are those of `compare`."""
    if isinstance(control, Mapping) or isinstance(treatment, Mapping):
        control, treatment, cluster, ids = _listed(control, treatment, cluster, ids)
    raw = scores("control", control, nan=nan), scores("treatment", treatment, nan=nan)
    _check_ids(ids, (len(raw[0]), len(raw[1])), clustered=cluster is not None)
    x, y = (item_means(arm) for arm in raw)
    keep = ~np.isnan(x), ~np.isnan(y)
    return Arms(
        x=scores("control", x[keep[0]]),
        y=scores("treatment", y[keep[1]]),
        groups=None if cluster is None else _labels(cluster, keep),
        raw=(raw[0][keep[0]], raw[1][keep[1]]),
        n_missing=(int((~keep[0]).sum()), int((~keep[1]).sum())),
    )


def _listed(
    control: ArrayLike | Mapping[str, float],
    treatment: ArrayLike | Mapping[str, float],
    cluster: tuple[ArrayLike, ArrayLike] | None,
    ids: object,
) -> tuple[
    list[float], list[float], tuple[ArrayLike, ArrayLike] | None, tuple[list[str], list[str]]
]:
    """Return mappings as sequences in order of their ids, with labels in the same order."""
    if not (isinstance(control, Mapping) and isinstance(treatment, Mapping)):
        raise ValueError("`control` and `treatment` must both be mappings, or neither")
    if ids is not None:
        raise ValueError("`ids` must be None where the scores are mappings: their keys are ids")
    first, second = (None, None) if cluster is None else cluster
    a, x, g = by_id("control", control, first)
    b, y, h = by_id("treatment", treatment, second)
    return x, y, None if g is None or h is None else (g, h), (a, b)


def _labels(cluster: tuple[ArrayLike, ArrayLike], keep: tuple[Array, Array]) -> tuple[Array, Array]:
    if len(cluster) != 2:
        raise ValueError("`cluster` must be a pair of label sequences, one for each arm")
    found = []
    for name, labels, kept in zip(("control", "treatment"), cluster, keep, strict=True):
        array = np.asarray(labels)
        if array.shape != kept.shape:
            raise ValueError(
                f"`cluster` must have one label per {name} score, got {array.size} for {kept.size}"
            )
        found.append(array[kept])
    return found[0], found[1]


def _check_ids(
    ids: tuple[Sequence[str], Sequence[str]] | None, sizes: tuple[int, int], *, clustered: bool
) -> None:
    if ids is None:
        return
    for arm, size in zip(ids, sizes, strict=True):
        if len(arm) != size:
            raise ValueError(f"`ids` must have one id per score, got {len(arm)} for {size}")
        repeated = duplicates(arm)
        if repeated and not clustered:
            raise PseudoReplicationError(
                repeated,
                "put repeats into one row (items x repeats), or name them with cluster=",
            )
    shared = tuple(sorted(set(ids[0]) & set(ids[1])))
    if shared:
        raise PseudoReplicationError(shared, "they are in both arms: use compare_paired")
