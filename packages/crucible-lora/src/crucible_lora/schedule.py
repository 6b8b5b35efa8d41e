"""The learning rate of each update."""

import math

from crucible_lora.config import LoraConfig, Schedule


def warmup_updates(config: LoraConfig, *, total: int) -> int:
    """Return the number of updates that warm up.

    Raises
    ------
    ValueError
        If nothing is left after them.
    """
    warmup = config.warmup_steps
    if warmup is None:
        # A hair above, so that .29 of 100 is 29 in spite of its binary fraction.
        return math.floor(config.warmup_ratio * total + 1e-9)
    if warmup >= total:
        raise ValueError(f"`warmup_steps` must be < the {total} updates of this run, got {warmup}")
    return warmup


def learning_rate(
    update: int,
    *,
    total: int,
    warmup: int,
    peak: float,
    schedule: Schedule = "linear",
    min_ratio: float = 0.0,
) -> float:
    """Return the learning rate of an update.

    Parameters
    ----------
    update : int, in [0, total)
    total : int
    warmup : int, in [0, total)
        The rate rises through these from peak / warmup: no update is wasted on a rate of 0.
    peak : float
    schedule : {"linear", "cosine", "constant"}
    min_ratio : float
        The share of the peak that the fall ends at.
    """
    if update < warmup:
        return peak * (update + 1) / warmup
    part = (update - warmup) / (total - warmup)
    if schedule == "constant":
        return peak
    fall = 1 - part if schedule == "linear" else (1 + math.cos(math.pi * part)) / 2
    return peak * (min_ratio + (1 - min_ratio) * fall)
