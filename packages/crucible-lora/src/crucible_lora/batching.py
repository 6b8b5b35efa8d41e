"""Which items each update sees: an order by hash, the same everywhere."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass


def epoch_order(ids: Sequence[str], *, seed: int, epoch: int) -> list[str]:
    """Return the item ids in the order of an epoch, whatever order they come in."""

    def key(item_id: str) -> str:
        return hashlib.sha256(f"{seed}\x1f{epoch}\x1f{item_id}".encode()).hexdigest()

    return sorted(ids, key=key)


def hold_out(ids: Sequence[str], *, share: float) -> set[str]:
    """Return the ids held out, by their hash alone: runs with other seeds hold out the same."""
    count = round(share * len(ids))
    by_hash = sorted(ids, key=lambda i: hashlib.sha256(f"holdout\x1f{i}".encode()).hexdigest())
    return set(by_hash[:count])


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """The batches of a run. `batch` counts the items of one update; an epoch's last is short."""

    ids: tuple[str, ...]
    batch: int
    epochs: int
    seed: int
    max_steps: int | None = None

    @property
    def per_epoch(self) -> int:
        """Updates per epoch."""
        return math.ceil(len(self.ids) / self.batch)

    @property
    def total(self) -> int:
        """Updates in all."""
        whole = self.per_epoch * self.epochs
        return whole if self.max_steps is None else min(whole, self.max_steps)

    def place(self, update: int) -> tuple[int, int]:
        """Return the epoch of an update and its position in it, both from 0."""
        return divmod(update, self.per_epoch)

    def at(self, update: int) -> list[str]:
        """Return the ids of an update, counted from 0."""
        epoch, position = self.place(update)
        order = epoch_order(self.ids, seed=self.seed, epoch=epoch)
        return order[position * self.batch : (position + 1) * self.batch]


def pack(lengths: Sequence[int], *, size: int) -> list[list[int]]:
    """Return the indices of lengths in bins that hold at most `size`, by first-fit decreasing.

    Raises
    ------
    ValueError
        If one length alone is more than `size`.
    """
    if lengths and max(lengths) > size:
        raise ValueError(f"`size` must be >= the longest, {max(lengths)}, got {size}")
    bins: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        fits = next((b for b, left in enumerate(room) if left >= lengths[index]), None)
        if fits is None:
            bins.append([])
            room.append(size)
            fits = len(bins) - 1
        bins[fits].append(index)
        room[fits] -= lengths[index]
    return bins
