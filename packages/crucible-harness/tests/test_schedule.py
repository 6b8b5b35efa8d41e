from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_harness.designs import Between, Within
from crucible_harness.schedule import schedule, williams


def test_the_williams_squares_of_order_four_and_three():
    # Williams 1949; the harness specification, acceptance 5
    assert ["".join(map(str, row)) for row in williams(4)] == ["0132", "1203", "2310", "3021"]
    assert ["".join(map(str, row)) for row in williams(3)] == [
        "012",
        "120",
        "201",
        "210",
        "021",
        "102",
    ]


@pytest.mark.parametrize("k", range(2, 9))
def test_every_ordered_pair_of_neighbours_is_equally_frequent(k):
    pairs = Counter(pair for row in williams(k) for pair in pairwise(row))
    assert len(pairs) == k * (k - 1)
    assert len(set(pairs.values())) == 1


@given(n=st.integers(1, 12), k=st.integers(1, 6), repeats=st.integers(1, 3), seed=st.integers())
def test_after_any_prefix_the_conditions_are_balanced(n, k, repeats, seed):
    items, names = [f"i{i}" for i in range(n)], [f"c{i}" for i in range(k)]
    cells = schedule(items, names, repeats=repeats, seed=seed)
    assert len({(c.condition, c.item, c.repeat) for c in cells}) == n * k * repeats == len(cells)
    started = Counter(dict.fromkeys(names, 0))
    for cell in cells:
        started[cell.condition] += 1
        assert max(started.values()) - min(started.values()) <= 1


@given(n=st.integers(1, 40), k=st.integers(1, 5), blocks=st.integers(1, 4), seed=st.integers(0, 99))
def test_between_conditions_share_each_block_and_the_whole_equally(n, k, blocks, seed):
    items, names = [f"i{i}" for i in range(n)], [f"c{i}" for i in range(k)]
    block = {item: f"b{i % blocks}" for i, item in enumerate(items)}
    cells = schedule(items, names, repeats=2, seed=seed, design=Between(), blocks=block)
    assert len(cells) == 2 * n
    given_to = {cell.item: cell.condition for cell in cells}
    assert all(given_to[cell.item] == cell.condition for cell in cells)
    for items_of in ([i for i in items if block[i] == b] for b in set(block.values())):
        sizes = Counter(dict.fromkeys(names, 0)) + Counter(given_to[i] for i in items_of)
        counts = [sizes.get(name, 0) for name in names]
        assert max(counts) - min(counts) <= 1
    whole = [Counter(given_to.values())[name] for name in names]
    assert max(whole) - min(whole) <= 1


def test_blocks_are_interleaved_in_proportion():
    items = [f"i{i}" for i in range(40)]
    block = {item: "rare" if i < 10 else "common" for i, item in enumerate(items)}
    cells = schedule(items, ["a"], repeats=1, seed=3, design=Within(block_by="x"), blocks=block)
    for start in range(0, 40, 4):  # one in four is rare
        window = [block[cell.item] for cell in cells[start : start + 4]]
        assert window.count("rare") == 1


def test_the_order_of_conditions_can_be_drawn_or_kept():
    items, names = [f"i{i}" for i in range(30)], ["a", "b", "c"]

    def orders(counterbalance):
        cells = schedule(
            items, names, repeats=1, seed=1, design=Within(counterbalance=counterbalance)
        )
        return {"".join(c.condition for c in cells[i : i + 3]) for i in range(0, 90, 3)}

    assert orders("none") == {"abc"}
    assert orders("williams") == orders("random") == {"abc", "acb", "bac", "bca", "cab", "cba"}


def test_the_schedule_depends_on_the_seed_and_on_nothing_else():
    items, names = [f"i{i}" for i in range(20)], ["a", "b", "c"]
    one = schedule(items, names, repeats=1, seed=1)
    assert one == schedule(list(reversed(items)), names, repeats=1, seed=1)
    assert one != schedule(items, names, repeats=1, seed=2)
