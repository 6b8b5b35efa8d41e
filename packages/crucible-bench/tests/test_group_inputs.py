"""Several groups come as arrays, with ids, clusters and missing scores, or as mappings."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from crucible_bench import ab_test, ablation, compare, compare_multiple, compare_paired, sweep
from crucible_bench.effects import kendalls_w, rank_epsilon_squared
from crucible_bench.errors import PseudoReplicationError, UnmatchedPairsError
from crucible_bench.post_hoc import dunnett, games_howell, tukey_hsd
from crucible_bench.ranks import dunn, friedman, kruskal_wallis
from crucible_bench.tables import cochran_q

RNG = np.random.default_rng(0)
BASE = RNG.normal(size=24)
ARRAYS = {name: BASE + gain + RNG.normal(scale=0.5, size=24) for name, gain in (("a", 0.0), ("b", 0.4), ("c", 0.1))}  # fmt: skip
IDS = [f"q{i:02}" for i in range(24)]
MAPPINGS = {name: dict(zip(IDS, scores.tolist(), strict=True)) for name, scores in ARRAYS.items()}


def text(result):
    return json.dumps(result.to_dict(), allow_nan=False)


def shuffled(mapping, seed):
    keys = np.random.default_rng(seed).permutation(list(mapping))
    return {str(key): mapping[str(key)] for key in keys}


def test_mappings_in_any_order_give_the_bytes_of_arrays():
    mixed = {name: shuffled(group, i) for i, (name, group) in enumerate(MAPPINGS.items())}
    assert text(compare_multiple(mixed, paired=True)) == text(compare_multiple(ARRAYS, paired=True))
    assert text(sweep(mixed, n_resamples=50, rng=1)) == text(sweep(ARRAYS, n_resamples=50, rng=1))
    parts = {"b": mixed["b"], "c": mixed["c"]}
    plain = ablation(ARRAYS["a"], {"b": ARRAYS["b"], "c": ARRAYS["c"]})
    assert text(ablation(mixed["a"], parts)) == text(plain)


def test_two_mappings_of_different_items_are_independent_groups():
    other = {f"r{i:02}": value for i, value in enumerate(ARRAYS["b"].tolist())}
    found = compare(shuffled(MAPPINGS["a"], 1), shuffled(other, 2))
    assert text(found) == text(compare(ARRAYS["a"], ARRAYS["b"]))
    with pytest.raises(PseudoReplicationError, match="compare_paired"):
        compare(MAPPINGS["a"], MAPPINGS["b"])
    with pytest.raises(ValueError, match="both be mappings"):
        compare(MAPPINGS["a"], ARRAYS["b"])
    groups = {key: int(key[1:]) // 3 for key in MAPPINGS["a"]}, {k: k[:2] for k in other}
    labels = np.arange(24) // 3, np.array([f"r{i // 10}" for i in range(24)])
    assert text(compare(MAPPINGS["a"], other, cluster=groups)) == text(
        compare(ARRAYS["a"], ARRAYS["b"], cluster=labels)
    )


def test_items_that_a_group_lacks_are_listed_or_counted():
    less = {**MAPPINGS, "b": {k: v for k, v in MAPPINGS["b"].items() if k != "q03"}}
    with pytest.raises(UnmatchedPairsError, match="q03"):
        compare_multiple(less, paired=True)
    found = compare_multiple(less, paired=True, missing="drop")
    assert (found.n_dropped, found.comparisons[0].n_pairs) == (1, 23)
    assert ab_test(
        less["b"], less["a"], name="x", paired=True, sesoi=0.1, missing="drop"
    ).comparison.n_dropped == 1  # fmt: skip


def test_an_item_with_a_nan_is_left_out_of_every_pair_or_refused():
    holed = {**ARRAYS, "c": np.r_[math.nan, ARRAYS["c"][1:]]}
    with pytest.raises(ValueError, match="must not hold NaN, got 1"):
        compare_multiple(holed, paired=True)
    found = compare_multiple(holed, paired=True, nan="omit", cluster=np.arange(24) // 4)
    assert found.n_dropped == 1
    assert {c.n_pairs for c in found.comparisons} == {23}
    apart = compare_multiple(holed, paired=False, nan="omit")
    assert apart.comparisons[0].treatment.n == 24
    assert apart.comparisons[1].treatment.n == 23


def test_an_id_twice_is_refused_in_one_group_and_in_two():
    with pytest.raises(PseudoReplicationError, match="q00"):
        compare_multiple(ARRAYS, paired=True, ids=["q00", "q00", *IDS[2:]])
    ids = {"a": IDS, "b": [f"r{i}" for i in range(24)], "c": IDS}
    with pytest.raises(PseudoReplicationError, match="in two groups"):
        compare_multiple(ARRAYS, paired=False, ids=ids)
    ids["c"] = [f"s{i}" for i in range(24)]
    assert compare_multiple(ARRAYS, paired=False, ids=ids).omnibus is not None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"paired": True, "cluster": {"a": [1]}}, "one sequence of labels when paired"),
        ({"paired": False, "cluster": [1] * 24}, "else a mapping of name to labels"),
        ({"paired": False, "cluster": {"a": [1] * 24}}, "lacks 'b'"),
        ({"paired": True, "cluster": [1] * 23}, "one label per item, got 23 for 24"),
        ({"paired": True, "ids": {"a": IDS}}, "`ids` must be one sequence when paired"),
        ({"paired": False, "ids": {"a": IDS}}, "`ids` must be given for every group"),
        ({"paired": True, "ids": IDS[:3]}, "one id per score"),
        ({"paired": True, "nan": "drop"}, "`nan` must be"),
        ({"paired": True, "missing": "omit"}, "`missing` must be"),
    ],
)
def test_what_does_not_fit_together_is_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        compare_multiple(ARRAYS, **arguments)


def test_repeats_of_several_systems_keep_their_icc():
    repeated = {n: a[:, None] + RNG.normal(scale=0.1, size=(24, 3)) for n, a in ARRAYS.items()}
    found = compare_multiple(repeated, paired=True)
    assert found.comparisons[0].icc > 0.9
    # BASE has variance near 1, repeats .01; both are reported
    spread = found.comparisons[0].metadata
    assert spread["variance_within"] == pytest.approx(0.01, rel=0.5)
    assert spread["variance_between"] > 0.5


@pytest.mark.parametrize("constant", [(2.0, 2.0, 2.0), (1.0, 2.0, 2.0)])
def test_groups_without_variation_are_explained(constant):
    groups = {name: [value] * 4 for name, value in zip("abc", constant, strict=True)}
    for post_hoc in ("default", "tukey_hsd", "dunn", "pairwise"):
        found = compare_multiple(groups, paired=False, post_hoc=post_hoc, sesoi=0.1)
        text(found)
        if post_hoc != "dunn" or constant[0] == 2.0:
            assert all(c.p_value is None for c in found.comparisons)
            assert all(c.warnings for c in found.comparisons)
    for tests in (tukey_hsd(groups), games_howell(groups), dunnett(groups, control="a")):
        assert {t.p_value for t in tests.values()} == {None}
    assert compare_multiple(groups, paired=True).comparisons[0].p_value is None
    if constant[0] == 2.0:
        assert all(p is None for _, p in dunn(groups).values())


def test_kendalls_w_has_the_interval_of_resampled_items():
    found = kendalls_w(ARRAYS, rng=1)
    columns = np.stack(list(ARRAYS.values()), axis=1)
    # W of each resample by scipy's Friedman statistic over n (k - 1)
    rng = np.random.default_rng(2)
    drawn = []
    for _ in range(1_000):
        rows = columns[rng.integers(24, size=24)]
        drawn.append(stats.friedmanchisquare(*rows.T).statistic / 48)
    expected = np.quantile(drawn, [0.025, 0.975])
    assert found.value == pytest.approx(stats.friedmanchisquare(*columns.T).statistic / 48)
    assert (found.interval.low, found.interval.high) == pytest.approx(expected, abs=0.03)
    assert friedman(ARRAYS, rng=1).effects[0] == found
    assert "needs rng" in friedman(ARRAYS).effects[0].reason


def test_epsilon_squared_of_ranks_has_the_interval_of_resampled_items():
    found = rank_epsilon_squared(ARRAYS, rng=1)
    assert found.value == pytest.approx(stats.kruskal(*ARRAYS.values()).statistic / 71)
    rng = np.random.default_rng(2)
    drawn = [
        stats.kruskal(*(a[rng.integers(24, size=24)] for a in ARRAYS.values())).statistic / 71
        for _ in range(1_000)
    ]
    assert (found.interval.low, found.interval.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.03)  # fmt: skip
    assert kruskal_wallis(ARRAYS, rng=1).effects[0] == found
    beside = compare_multiple(ARRAYS, paired=False, rng=1).robustness[0]
    assert beside.effects[0].interval == found.interval


def test_cochrans_w_is_kendalls_of_zeros_and_ones():
    table = (RNG.random((30, 3)) < [0.4, 0.6, 0.7]).astype(float)
    q = cochran_q(list(table.T), rng=3)
    assert q.effects[0].value == pytest.approx(q.statistic / 60)  # Q / (n (k - 1))
    assert q.effects[0].interval.low < q.effects[0].value < q.effects[0].interval.high


def test_a_sweep_resamples_whole_clusters():
    # every item ten times over is no more than one item once clusters are named
    tiled = {name: np.tile(a, 10) for name, a in ARRAYS.items()}
    labels = np.tile(np.arange(24), 10)
    once = sweep(ARRAYS, n_resamples=1_000, rng=1)
    many = sweep(tiled, cluster=labels, n_resamples=1_000, rng=1)
    pretended = sweep(tiled, n_resamples=1_000, rng=1)
    assert many.optimism == pytest.approx(once.optimism, abs=1e-9)
    assert many.rank_probabilities == once.rank_probabilities
    assert pretended.optimism < many.optimism


def test_out_of_bag_scores_are_those_of_the_items_left_out():
    # Two items, one configuration right on each. A resample holds (0, 0), (1, 1) or (0, 1): in the
    # first two the winner is right in the bag and wrong out of it, the third leaves nothing out.
    found = sweep({"x": [1.0, 0.0], "y": [0.0, 1.0]}, n_resamples=200, rng=0)
    assert found.optimism == 1.0


def test_a_paired_study_takes_ids_and_counts_missing_scores():
    scores = np.r_[math.nan, ARRAYS["a"][1:]]
    found = ab_test(scores, ARRAYS["b"], name="x", paired=True, sesoi=0.1, nan="omit", ids=IDS)
    assert found.comparison.n_dropped == 1
    assert found.comparison == compare_paired(scores, ARRAYS["b"], sesoi=0.1, nan="omit")
    with pytest.raises(ValueError, match='`missing` must be "raise" for independent arms'):
        ab_test(scores, scores, name="x", paired=False, sesoi=0.1, missing="drop")
    with pytest.raises(ValueError, match="`ids` must be a pair"):
        ab_test(scores, scores, name="x", paired=False, sesoi=0.1, ids=IDS)
