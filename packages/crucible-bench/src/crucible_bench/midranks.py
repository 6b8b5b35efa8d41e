"""Ranks with ties."""

import numpy as np

from crucible_bench.arrays import Array


def midranks(x: Array) -> Array:
    """Return ranks from 1, ties sharing their mean rank."""
    order = np.argsort(x, kind="stable")
    ordered = x[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    sizes = np.diff(np.r_[starts, x.size])
    ranks = np.empty(x.size)
    ranks[order] = np.repeat(starts + (sizes + 1) / 2, sizes)
    return ranks


def tie_sum(x: Array) -> float:
    """Return the sum of t^3 - t over groups of ties."""
    sizes = np.unique(x, return_counts=True)[1].astype(float)
    return float((sizes**3 - sizes).sum())
