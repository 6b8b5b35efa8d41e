"""Items in batches."""

from collections.abc import Iterator

from crucible_datasets.items import Dataset, Item
from crucible_datasets.sampling import order


def batches(
    dataset: Dataset, size: int = 32, *, seed: int | None = None, drop_last: bool = False
) -> Iterator[tuple[Item, ...]]:
    """Yield the items in batches.

    Parameters
    ----------
    size : int, >= 1
    seed : int, optional
        Take the items in hash order of this seed; in their own order if None.
    drop_last : bool
        Leave out a last batch that is smaller.

    Examples
    --------
    >>> from crucible_datasets import load
    >>> [len(batch) for batch in batches(load("demo-choice"), 8)]
    [8, 8, 4]
    """
    if size < 1:
        raise ValueError(f"`size` must be >= 1, got {size}")
    places = range(len(dataset)) if seed is None else order(dataset.ids, seed=seed)

    def batched() -> Iterator[tuple[Item, ...]]:
        for start in range(0, len(places), size):
            batch = tuple(dataset[n] for n in places[start : start + size])
            if len(batch) == size or not drop_last:
                yield batch

    return batched()
