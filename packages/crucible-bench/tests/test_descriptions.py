"""Descriptions, diagnostics and correlations."""

import json

import numpy as np
import pytest
from scipy import stats

from crucible_bench import describe
from crucible_bench.correlation import correlation
from crucible_bench.description import Description
from crucible_bench.diagnostics import check_assumptions, ks_two_sample, outliers, shapiro_wilk

X = np.random.default_rng(0).exponential(size=25)
Y = X + np.random.default_rng(1).normal(size=25)


def test_a_description_has_the_numbers_of_scipy():
    found = describe(X)
    assert (found.mean, found.sd) == pytest.approx((X.mean(), X.std(ddof=1)))
    assert found.skewness == pytest.approx(stats.skew(X, bias=False), rel=1e-12)
    assert found.excess_kurtosis == pytest.approx(stats.kurtosis(X, bias=False), rel=1e-12)
    assert found.quartiles == pytest.approx(tuple(np.percentile(X, [25, 75])))
    assert Description.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found


def test_missing_scores_and_clusters_are_counted():
    x = np.array([1.0, 2.0, np.nan, 4.0, 5.0, 3.0])
    found = describe(x, cluster=["a", "a", "b", "b", "c", "c"])
    assert (found.n, found.n_missing, found.n_clusters) == (5, 1, 3)


def test_constant_scores_have_no_shape_and_say_why():
    found = describe([2.0, 2.0, 2.0, 2.0, 2.0])
    assert (found.mean_interval, found.skewness, found.excess_kurtosis) == (None, None, None)
    assert found.reasons == ("no variation",)


@pytest.mark.parametrize(
    ("method", "oracle"),
    [("pearson", stats.pearsonr), ("spearman", stats.spearmanr), ("kendall", stats.kendalltau)],
)
def test_correlations_agree_with_scipy(method, oracle):
    ours, theirs = correlation(X, Y, method=method), oracle(X, Y)
    assert (ours.estimate, ours.p_value) == pytest.approx(
        (float(theirs.statistic), float(theirs.pvalue))
    )
    assert ours.interval.low < ours.estimate < ours.interval.high
    if method == "pearson":
        low, high = theirs.confidence_interval()
        assert (ours.interval.low, ours.interval.high) == pytest.approx((low, high), rel=1e-10)


def test_correlations_that_cannot_be_known_are_explained():
    assert correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]).notes == ("no variation",)
    assert correlation([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]).interval is None
    with pytest.raises(ValueError, match="got 3 and 4"):
        correlation([1, 2, 3], [1, 2, 3, 4])


def test_distribution_tests_are_scipys():
    assert shapiro_wilk(X).p_value == pytest.approx(float(stats.shapiro(X).pvalue))
    assert ks_two_sample(X, Y).p_value == pytest.approx(float(stats.ks_2samp(Y, X).pvalue))
    assert shapiro_wilk(np.arange(6_000.0)).p_value is None
    assert shapiro_wilk([1.0, 1.0, 1.0]).notes == ("no variation",)


@pytest.mark.parametrize("method", ["iqr", "mad", "z"])
def test_outliers_are_pointed_at_and_never_removed(method):
    x = np.r_[np.linspace(-1, 1, 30), 50.0]
    assert outliers(x, method=method).tolist() == [30]
    with pytest.raises(ValueError, match="`threshold` must be > 0"):
        outliers(x, threshold=0)


def test_assumptions_are_checked_beside_the_result():
    found = {d.name: d for d in check_assumptions(X, np.r_[Y, 99.0], paired=False)}
    assert found["outliers of treatment"].finding == "doubtful"
    assert found["variance ratio"].finding == "doubtful"
    assert found["normality of control"].p_value == pytest.approx(float(stats.shapiro(X).pvalue))
    paired = [d.name for d in check_assumptions(X, Y, paired=True)]
    assert "normality of differences" in paired
