"""Samples that depend on the seed and the items alone."""

import hashlib

from crucible_datasets.items import Dataset


def sample(dataset: Dataset, size: int, *, seed: int = 0) -> Dataset:
    """Draw items without replacement.

    Parameters
    ----------
    size : int, in [1, len(dataset)]

    Notes
    -----
    The items with the smallest hash of (seed, id), in their original order: a sample of 50 holds
    the sample of 20, and other items in the file do not change which are drawn first.
    """
    if not 1 <= size <= len(dataset):
        raise ValueError(f"`size` must be in [1, {len(dataset)}], got {size}")

    def rank(id: str) -> bytes:
        return hashlib.blake2b(f"{seed}\x1f{id}".encode(), digest_size=16).digest()

    drawn = set(sorted(dataset.ids, key=rank)[:size])
    return dataset.derive(
        [item for item in dataset if item.id in drawn], f"sample of {size}, seed {seed}"
    )
