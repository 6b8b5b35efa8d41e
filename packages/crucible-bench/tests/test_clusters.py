"""Clusters, repeats and the default path that respects them."""

import json

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st

from crucible_bench import compare, compare_paired
from crucible_bench.clusters import cluster_mean, cluster_t, cluster_welch, variance_components
from crucible_bench.errors import PseudoReplicationError
from crucible_bench.intervals import mean_interval
from crucible_bench.results import Comparison

SCORES = [1, 1, 0, 1, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0]
GROUPS = [1] * 4 + [2] * 3 + [3] * 5 + [4] * 2


def test_cr1_is_statsmodels_cluster_robust_error_of_a_constant():
    ours = cluster_mean(SCORES, GROUPS, variance="CR1")
    theirs = sm.OLS(SCORES, np.ones(14)).fit(
        cov_type="cluster", cov_kwds={"groups": np.array(GROUPS)}
    )
    # statsmodels multiplies by (N - 1) / (N - 1) = 1 for a constant, and C / (C - 1)
    assert ours.se == pytest.approx(float(theirs.bse[0]), rel=1e-10)
    assert ours.se == pytest.approx(0.200131846, abs=1e-9)


def test_cr2_has_bell_and_mccaffreys_degrees_of_freedom():
    # The traces of G, written out as a matrix (Bell & McCaffrey 2002).
    sizes, total = np.array([4.0, 3.0, 5.0, 2.0]), 14.0
    a = (1 - sizes / total) ** -0.5
    g = np.outer(a, a) * (np.diag(sizes) - np.outer(sizes, sizes) / total)
    found = cluster_mean(SCORES, GROUPS)
    assert found.se == pytest.approx(0.205081297, abs=1e-9)
    assert found.df == pytest.approx(np.trace(g) ** 2 / np.trace(g @ g), rel=1e-12)
    assert found.df == pytest.approx(2.666068, abs=1e-6)


@given(st.integers(2, 12), st.integers(2, 5), st.integers(0, 10_000))
def test_balanced_repeats_are_the_same_as_long_data_with_clusters(items, repeats, seed):
    x, y = np.random.default_rng(seed).normal(size=(2, items, repeats))
    wide = compare_paired(x, y, robustness=False)
    long = compare_paired(
        x.ravel(), y.ravel(), cluster=np.repeat(np.arange(items), repeats), robustness=False
    )
    assert long.p_value == pytest.approx(wide.p_value, rel=1e-8, abs=1e-14)
    assert long.confidence_interval.low == pytest.approx(wide.confidence_interval.low, rel=1e-8)


def test_copies_of_items_shrink_no_interval_once_the_cluster_is_named():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(2, 12))
    once = compare_paired(x, y)
    many = compare_paired(np.tile(x, 20), np.tile(y, 20), cluster=np.tile(np.arange(12), 20))
    assert many.confidence_interval.low == pytest.approx(once.confidence_interval.low)
    assert many.control.n_clusters == 12
    assert many.effect_size.interval is None
    assert "clusters" in many.effect_size.reason


def test_independent_arms_add_their_cluster_variances():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 30))
    g, h = np.repeat(np.arange(10), 3), np.repeat(np.arange(10, 20), 3)
    test = cluster_welch(x, y, cluster=(g, h))
    a, b = cluster_mean(x, g), cluster_mean(y, h)
    assert test.statistic == pytest.approx((b.estimate - a.estimate) / np.hypot(a.se, b.se))
    assert compare(x, y, cluster=(g, h)).statistic == pytest.approx(test.statistic)


def test_a_cluster_in_both_arms_is_refused_and_the_remedy_named():
    with pytest.raises(PseudoReplicationError, match="compare_paired"):
        compare([1.0, 2.0, 3.0], [2.0, 1.0, 4.0], cluster=(["a", "a", "b"], ["b", "c", "c"]))


def test_few_clusters_are_said_and_one_is_refused():
    result = compare_paired([1.0, 2.0, 4.0, 3.0], [2.0, 4.0, 3.0, 6.0], cluster=[1, 1, 2, 2])
    assert any("only 2 clusters" in warning for warning in result.warnings)
    with pytest.raises(ValueError, match="at least 2 clusters, got 1"):
        cluster_t([1.0, 2.0, 3.0], [1, 1, 1])


def test_whole_clusters_are_flipped_beside_the_cluster_t_test():
    # 2^6 sign patterns, all enumerated; every cluster's sum is positive: p = 2 / 64
    d = np.repeat([1.0, 2.0, 1.5, 3.0, 0.5, 2.5], 4) + np.tile([0.1, -0.1, 0.2, -0.2], 6)
    result = compare_paired(np.zeros(24), d, cluster=np.repeat(np.arange(6), 4))
    (flips,) = result.robustness
    assert (flips.name, flips.method) == ("cluster_sign_flips", "exact")
    assert flips.p_value == pytest.approx(2 / 64)


def test_tests_that_know_no_clusters_are_refused():
    with pytest.raises(ValueError, match="default, auto or permutation with clusters"):
        compare_paired([1, 0, 1, 1], [0, 0, 1, 0], cluster=[1, 1, 2, 2], test="mcnemar_exact")


def test_variance_components_are_the_anova_estimators():
    # closed form: item means 1, 3, 5 (variance 4), each with repeats +-1 (within variance 2)
    found = variance_components([[0.0, 2.0], [2.0, 4.0], [4.0, 6.0]])
    assert (found.within, found.between) == pytest.approx((2.0, 3.0))
    assert found.icc == pytest.approx(0.6)


def test_a_clustered_mean_has_the_wider_interval():
    wide, narrow = mean_interval(SCORES, cluster=GROUPS), mean_interval(SCORES)
    assert wide.low < narrow.low
    assert wide.high > narrow.high


def test_clusters_follow_items_that_mappings_match():
    rng = np.random.default_rng(2)
    a = {f"q{i}": float(v) for i, v in enumerate(rng.normal(size=20))}
    b = {key: value + rng.normal() for key, value in reversed(a.items())}
    groups = {key: int(key[1:]) // 4 for key in a}
    first = compare_paired(a, b, cluster=groups)
    shuffled = dict(sorted(a.items(), key=lambda pair: pair[1]))
    assert json.dumps(first.to_dict()) == json.dumps(
        compare_paired(shuffled, b, cluster=groups).to_dict()
    )
    assert first.control.n_clusters == 5
    assert Comparison.from_dict(json.loads(json.dumps(first.to_dict()))) == first
    with pytest.raises(ValueError, match="a label for every item"):
        compare_paired(a, b, cluster={"q0": 1})


def test_repeated_ids_are_allowed_once_clusters_are_named():
    ids = ["a", "a", "b", "b", "c", "c"]
    with pytest.raises(PseudoReplicationError):
        compare_paired([1, 2, 3, 4, 5, 6], [2, 1, 4, 6, 5, 9], ids=ids)
    assert (
        compare_paired([1, 2, 3, 4, 5, 6], [2, 1, 4, 6, 5, 9], ids=ids, cluster=ids).icc is not None
    )
