from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_harness.schedule import schedule, williams


def test_the_williams_squares_of_order_four_and_three():
    # Williams 1949; the harness specification, acceptance 5
    assert ["".join(map(str, row)) for row in williams(4)] == ["0132", "1203", "2310", "3021"]
    assert ["".join(map(str, row)) for row in williams(3)] == [
        "012",
        "210",
        "120",
        "021",
        "201",
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


def test_the_schedule_depends_on_the_seed_and_on_nothing_else():
    items, names = [f"i{i}" for i in range(20)], ["a", "b", "c"]
    one = schedule(items, names, repeats=1, seed=1)
    assert one == schedule(list(reversed(items)), names, repeats=1, seed=1)
    assert one != schedule(items, names, repeats=1, seed=2)
