"""Simulated scores of models on items of unequal difficulty; label them as simulated."""

import math

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench.arrays import Array, scores


def item_scores(
    n_items: int,
    abilities: ArrayLike,
    *,
    item_sd: float,
    interaction_sd: float = 0.0,
    repeats: int = 1,
    base: float = 0.0,
    rng: int | np.random.Generator,
) -> Array:
    """Draw right and wrong answers of several models to the same items.

    Parameters
    ----------
    n_items : int, >= 1
    abilities : (M,) array
        Of each model, in logits; equal abilities make an A/A experiment.
    item_sd : float, >= 0
        SD over items of their easiness, which all models share. It is what pairing removes.
    interaction_sd : float, >= 0
        SD over items of what makes one item easier for one model alone.
    repeats : int, >= 1
        Answers of each model to each item, independent given the item.
    base : float
        Logit of an average model on an average item.
    rng : int or numpy.random.Generator

    Returns
    -------
    (M, n_items, repeats) array of 0 and 1
        Bernoulli(expit(base + ability_m + b_i + u_mi)).

    Examples
    --------
    >>> item_scores(200, [0.0, 0.5], item_sd=1.0, repeats=3, rng=1).shape
    (2, 200, 3)
    """
    from scipy import special

    if n_items < 1:
        raise ValueError(f"`n_items` must be >= 1, got {n_items}")
    if repeats < 1:
        raise ValueError(f"`repeats` must be >= 1, got {repeats}")
    for name, sd in (("item_sd", item_sd), ("interaction_sd", interaction_sd)):
        if not 0 <= sd < math.inf:
            raise ValueError(f"`{name}` must be >= 0, got {sd}")
    if not math.isfinite(base):
        raise ValueError(f"`base` must be finite, got {base}")
    ability = scores("abilities", abilities, minimum=1)
    if ability.ndim != 1:
        raise ValueError(f"`abilities` must have one dimension, got {ability.ndim}")
    generator = np.random.default_rng(rng)
    easiness = item_sd * generator.standard_normal(n_items)
    own = interaction_sd * generator.standard_normal((ability.size, n_items))
    chance = special.expit(base + ability[:, None] + easiness + own)
    answers: Array = (
        generator.random((ability.size, n_items, repeats)) < chance[:, :, None]
    ).astype(float)
    return answers
