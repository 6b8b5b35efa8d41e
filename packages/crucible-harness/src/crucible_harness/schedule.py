"""Who answers what, and when: a pure function of the design."""

import hashlib
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from crucible_harness.designs import Between, Design, Within


@dataclass(frozen=True, slots=True)
class Cell:
    """One condition on one item, once."""

    condition: str
    item: str
    repeat: int
    position: int


def schedule(
    items: Sequence[str],
    conditions: Sequence[str],
    *,
    repeats: int,
    seed: int,
    design: Design | None = None,
    blocks: Mapping[str, Hashable] | None = None,
) -> list[Cell]:
    """Order all cells.

    Parameters
    ----------
    items : ids
    conditions : names
    repeats : int, >= 1
    seed : int
    design : Design
        `Within()` by default.
    blocks : mapping of item to its block, optional
        Blocks are interleaved in proportion to their sizes.

    Notes
    -----
    Items come in an order drawn from the seed. Within items, conditions are adjacent in time, so
    that drift hits all alike, in the order of the next row of a Williams square: every condition
    then follows every other equally often. Between items, conditions take turns inside each block,
    so that their numbers differ by one at most.

    References
    ----------
    .. [1] E. J. Williams, Australian Journal of Scientific Research A 2, 149-168, 1949.
    """
    design = design or Within()
    order = _interleaved(items, seed, blocks or {})
    if not design.within:
        return _between(order, conditions, repeats=repeats, blocks=blocks or {})
    counterbalance = "none" if isinstance(design, Between) else design.counterbalance
    rows = williams(len(conditions)) if counterbalance == "williams" else []
    cells: list[Cell] = []
    for repeat in range(repeats):
        for n, item in enumerate(order):
            if counterbalance == "williams":
                places = rows[(repeat * len(items) + n) % len(rows)]
            elif counterbalance == "random":
                places = sorted(
                    range(len(conditions)),
                    key=lambda c: _rank(seed, f"{item}\x1f{repeat}\x1f{conditions[c]}"),
                )
            else:
                places = list(range(len(conditions)))
            for place in places:
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
    return rows if k % 2 == 0 else rows + [row[::-1] for row in rows]


def _between(
    order: Sequence[str],
    conditions: Sequence[str],
    *,
    repeats: int,
    blocks: Mapping[str, Hashable],
) -> list[Cell]:
    # Each block goes on where the one before it ended, so the whole is balanced as well.
    sizes = Counter(blocks.get(item) for item in order)
    start, offsets = 0, {}
    for block in sorted(sizes, key=str):
        offsets[block] = start
        start += sizes[block]
    given: dict[str, str] = {}
    for item in order:
        block = blocks.get(item)
        given[item] = conditions[offsets[block] % len(conditions)]
        offsets[block] += 1
    cells = [(given[item], item, repeat) for repeat in range(repeats) for item in order]
    return [Cell(*cell, position) for position, cell in enumerate(cells)]


def _interleaved(items: Sequence[str], seed: int, blocks: Mapping[str, Hashable]) -> list[str]:
    """Order items by hash, each block spread evenly over the whole."""
    shuffled = sorted(items, key=lambda item: _rank(seed, item))
    sizes = Counter(blocks.get(item) for item in shuffled)
    if len(sizes) < 2:
        return shuffled
    seen: Counter[Hashable] = Counter()
    places: dict[str, float] = {}
    for item in shuffled:
        block = blocks.get(item)
        places[item] = (seen[block] + 0.5) / sizes[block]
        seen[block] += 1
    return sorted(shuffled, key=places.__getitem__)


def _rank(seed: int, text: str) -> bytes:
    return hashlib.blake2b(f"{seed}\x1f{text}".encode(), digest_size=16).digest()
