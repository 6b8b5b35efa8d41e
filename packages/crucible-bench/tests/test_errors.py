"""Each kind of bad input, and the error or the explained result that it gets."""

import math
import pickle
import subprocess
import sys

import numpy as np
import pytest

from crucible_bench import compare, compare_multiple, compare_paired, correct
from crucible_bench.errors import (
    BenchError,
    DegenerateDataError,
    MissingExtraError,
    PseudoReplicationError,
    UnmatchedPairsError,
)
from crucible_bench.intervals import proportion_interval
from crucible_bench.permutations import permutation_test

GOOD = [1.0, 2.0, 4.0]


@pytest.mark.parametrize("call", [compare, compare_paired])
@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ([1.0], "`control` must have at least 2 scores, got 1"),
        ([], "`control` must have at least 2 scores, got 0"),
        (3.0, "`control` must have one dimension"),
        (["a", "b", "c"], "`control` must be numbers, got list"),
        ("abc", "`control` must be numbers, got str"),
        (None, "`control` must"),
        (np.zeros((3, 2, 2)), "got 3"),
        ([1.0, math.nan, 2.0], "`control` must not hold NaN, got 1, the first at index 1"),
        ([1.0, 2.0, math.inf], "`control` must be finite, got an infinity at index 2"),
        ([1.0, 2.0, -math.inf], "index 2"),
        ([1 + 2j, 3.0, 4.0], "`control` must be numbers"),
    ],
)
def test_scores_that_are_none(call, scores, words):
    with pytest.raises(ValueError, match=words):
        call(scores, GOOD)


def test_an_infinity_is_refused_even_where_nan_is_left_out():
    for call in (compare, compare_paired):
        with pytest.raises(ValueError, match="infinity"):
            call([1.0, math.nan, math.inf], GOOD, nan="omit")


def test_pairs_of_unequal_length_are_named_with_both_lengths():
    with pytest.raises(ValueError, match="must be paired, got 3 and 4 scores"):
        compare_paired(GOOD, [1.0, 2.0, 3.0, 4.0])
    with pytest.raises(ValueError, match=r"must have the same items, got \[3, 2\] scores"):
        compare_multiple({"a": GOOD, "b": [1.0, 2.0]}, paired=True)


def test_different_items_list_up_to_five_of_each_or_are_counted():
    a = {f"a{i}": float(i) for i in range(7)} | {"x": 1.0, "y": 3.0}
    b = {"x": 2.0, "y": 2.5, "z": 0.0}
    with pytest.raises(UnmatchedPairsError) as caught:
        compare_paired(a, b)
    assert caught.value.only_control == tuple(f"a{i}" for i in range(7))
    assert caught.value.only_treatment == ("z",)
    assert "7 items only in control (a0, a1, a2, a3, a4), 1 only in treatment (z)" in str(caught.value)  # fmt: skip
    assert compare_paired(a, b, missing="drop").n_dropped == 8


def test_an_item_or_a_cluster_that_counts_twice_is_refused():
    with pytest.raises(PseudoReplicationError, match="name them with cluster=") as caught:
        compare_paired(GOOD, GOOD, ids=["a", "b", "a"])
    assert caught.value.duplicates == ("a",)
    for arguments in ({"ids": (["a", "b", "c"], ["c", "d", "e"])}, {"cluster": ([1, 1, 2], [2, 3, 3])}):  # fmt: skip
        with pytest.raises(PseudoReplicationError, match="compare_paired"):
            compare(GOOD, GOOD, **arguments)


def test_no_variation_has_no_p_and_no_interval_and_says_so():
    for call in (compare, compare_paired):
        equal, apart = call([2.0] * 4, [2.0] * 4), call([2.0] * 4, [3.0] * 4)
        assert (equal.p_value, equal.difference, equal.confidence_interval) == (None, 0.0, None)
        assert equal.warnings == ("no variation",)
        assert (apart.p_value, apart.difference) == (None, 1.0)
        assert apart.warnings == ("differences without variation",)
        assert apart.effect_size.reason == "infinite"
        assert (equal.significant, apart.significant) == (False, False)
        # the permutation test still answers: 2 of C(8, 4) splits, 2 of 2^4 signs
        exact = call([2.0] * 4, [3.0] * 4, test="permutation").p_value
        assert exact == pytest.approx(2 / 70 if call is compare else 2 / 16)


def test_no_discordant_pair_has_p_one_and_an_interval_and_no_odds_ratio():
    found = compare_paired([1, 1, 0, 0, 1], [1, 1, 0, 0, 1])
    assert found.p_value == 1.0
    assert found.confidence_interval.low < 0 < found.confidence_interval.high
    assert found.effect_sizes["odds_ratio"].value is None
    assert found.effect_sizes["odds_ratio"].reason == "no discordant pairs"


@pytest.mark.parametrize("call", [compare, compare_paired])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sesoi": 0.0}, "`sesoi` must be > 0, got 0.0"),
        ({"sesoi": -1.0}, "`sesoi` must be > 0, got -1.0"),
        ({"sesoi": math.nan}, "`sesoi` must be > 0, got nan"),
        ({"confidence": 0.0}, r"`confidence` must be in \(0, 1\), got 0.0"),
        ({"confidence": 95}, r"`confidence` must be in \(0, 1\), got 95"),
        ({"test": "chi"}, "`test` must be one of default, auto, .*, got 'chi'"),
        ({"test": "mcnemar"}, "`test` must be one of"),
        ({"alternative": "larger"}, "`alternative` must be .*, got 'larger'"),
        ({"estimand": "mode"}, "`estimand` must be"),
        ({"estimand": "dominance", "test": "permutation"}, "is about means"),
    ],
)
def test_arguments_that_do_not_fit(call, arguments, words):
    with pytest.raises(ValueError, match=words):
        call(GOOD, [2.0, 2.5, 5.0], **arguments)


def test_a_test_for_zeros_and_ones_needs_them():
    for test in ("mcnemar_midp", "mcnemar_exact", "mcnemar_asymptotic"):
        with pytest.raises(ValueError, match="needs scores of 0 and 1"):
            compare_paired(GOOD, [2.0, 2.5, 5.0], test=test)
    for test in ("two_proportions", "fisher_exact"):
        with pytest.raises(ValueError, match="needs scores of 0 and 1"):
            compare(GOOD, [2.0, 2.5, 5.0], test=test)


def test_permutations_beyond_enumeration_need_a_generator():
    x, y = np.arange(30.0), np.arange(30.0) ** 1.1
    for call in (
        lambda: compare(x, y, test="permutation"),
        lambda: compare_paired(x, y, test="permutation"),
        lambda: permutation_test(x, y),
    ):
        with pytest.raises(ValueError, match="`rng` is required"):
            call()


def test_regression_without_statsmodels_names_the_extra():
    code = (
        "import sys; sys.modules['statsmodels'] = sys.modules['statsmodels.api'] = None\n"
        "from crucible_bench.models import adjusted_difference\n"
        "from crucible_bench.errors import MissingExtraError\n"
        "try:\n    adjusted_difference([0, 1, 1, 0, 0, 0], condition=[0, 1, 0, 1, 0, 1], cluster=[1, 1, 2, 2, 3, 3])\n"
        "except MissingExtraError as error:\n    print(error, '|', error.extra)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'install "crucible-bench[models]" to use this function | crucible-bench[models]'  # fmt: skip


def test_an_empty_or_impossible_p_value_is_refused():
    for p in ([], [0.5, None], [math.nan], [1.5], [-0.1]):
        with pytest.raises(ValueError, match="`p_values` must"):
            correct(p, family="f")
    with pytest.raises(ValueError, match="`trials` must be >= 1, got 0"):
        proportion_interval(0, 0)


@pytest.mark.parametrize(
    "error",
    [
        PseudoReplicationError(("a", "b"), "advice"),
        UnmatchedPairsError(("a",), ("b", "c")),
        DegenerateDataError("why"),
        MissingExtraError("crucible-bench[plots]"),
    ],
)
def test_errors_are_one_tree_and_travel_between_processes(error):
    assert isinstance(error, BenchError)
    assert not isinstance(error, ValueError)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
