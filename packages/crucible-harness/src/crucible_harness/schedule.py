"""Who answers what, and when: a pure function of the design."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cell:
    """One condition on one item, once."""

    condition: str
    item: str
    repeat: int
    position: int


def schedule(
    items: Sequence[str], conditions: Sequence[str], *, repeats: int, seed: int
) -> list[Cell]:
    """Order all cells.

    Notes
    -----
    Items come in an order drawn from the seed. The conditions of an item are adjacent in time, in
    the order of the next row of a Williams square, so that drift hits all alike and every condition
    follows every other equally often.

    References
    ----------
    .. [1] E. J. Williams, Australian Journal of Scientific Research A 2, 149-168, 1949.
    """

    def rank(item: str) -> bytes:
        return hashlib.blake2b(f"{seed}\x1f{item}".encode(), digest_size=16).digest()

    rows = williams(len(conditions))
    cells: list[Cell] = []
    for repeat in range(repeats):
        for n, item in enumerate(sorted(items, key=rank)):
            for place in rows[(repeat * len(items) + n) % len(rows)]:
                cells.append(Cell(conditions[place], item, repeat, len(cells)))
    return cells


def williams(k: int) -> list[list[int]]:
    """Return the rows of a Williams square of order k (and their mirror images if k is odd)."""
    first = [0]
    low, high = 1, k - 1
    while len(first) < k:
        first.append(low)
        low += 1
        if len(first) < k:
            first.append(high)
            high -= 1
    rows = [[(place + shift) % k for place in first] for shift in range(k)]
    return rows if k % 2 == 0 else [row for r in rows for row in (r, r[::-1])]
