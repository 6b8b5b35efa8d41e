"""Regression-adjusted differences against closed forms of the balanced case, and statsmodels itself."""

import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
import statsmodels.api as sm

from crucible_bench.errors import DegenerateDataError, MissingExtraError
from crucible_bench.means import paired_t
from crucible_bench.models import adjusted_difference, mixed_difference
from crucible_bench.simulation import item_scores


def _pairs(n, seed, effect=0.5):
    rng = np.random.default_rng(seed)
    items = rng.normal(size=n)
    control, treatment = items + rng.normal(size=n), items + effect + rng.normal(size=n)
    scores = np.column_stack([control, treatment]).ravel()
    return control, treatment, {
        "scores": scores, "condition": np.tile([0, 1], n), "cluster": np.repeat(np.arange(n), 2)
    }  # fmt: skip


def test_on_balanced_pairs_the_mixed_model_is_the_paired_t_test():
    control, treatment, data = _pairs(40, 0)
    result = mixed_difference(data.pop("scores"), **data)
    t = paired_t(control, treatment)
    assert result.difference == pytest.approx(t.estimate, rel=1e-8)
    assert result.difference / result.standard_error == pytest.approx(t.statistic, rel=1e-4)
    assert 0.2 < result.icc < 0.8
    assert (result.n, result.n_clusters, result.warnings) == (80, 40, ())


def test_on_balanced_pairs_gee_has_the_robust_standard_error_of_the_differences():
    control, treatment, data = _pairs(60, 1)
    result = adjusted_difference(data.pop("scores"), family="gaussian", **data)
    d = treatment - control
    # the sandwich: sum (d - mean)^2 / n^2, without a degree of freedom
    assert result.difference == pytest.approx(d.mean(), rel=1e-9)
    assert result.standard_error == pytest.approx(d.std() / math.sqrt(60), rel=1e-6)
    assert (result.covariance, result.odds_ratio) == ("robust", None)


def test_without_covariates_the_standardised_difference_is_the_plain_one():
    a, b = item_scores(80, [0.0, 0.8], item_sd=1.5, rng=3)[:, :, 0]
    data = {"condition": np.repeat([0, 1], 80), "cluster": np.tile(np.arange(80), 2)}
    result = adjusted_difference(np.concatenate([a, b]), **data)
    assert result.difference == pytest.approx(b.mean() - a.mean(), abs=1e-9)
    p0, p1 = a.mean(), b.mean()
    assert result.odds_ratio == pytest.approx(p1 / (1 - p1) / (p0 / (1 - p0)), rel=1e-6)
    d = b - a
    assert result.standard_error == pytest.approx(d.std() / math.sqrt(80), rel=1e-4)
    assert result.odds_ratio_interval.low < result.odds_ratio < result.odds_ratio_interval.high


def test_covariates_change_the_answer_as_statsmodels_says():
    rng = np.random.default_rng(4)
    n = 120
    length = rng.normal(size=n)
    condition = (rng.random(n) < 0.5 + 0.3 * (length > 0)).astype(int)  # confounded
    right = (rng.random(n) < 1 / (1 + np.exp(-(0.2 * condition + 1.5 * length)))).astype(float)
    cluster = np.arange(n) // 3
    result = adjusted_difference(
        right, condition=condition, cluster=cluster, covariates={"length": length}
    )
    design = np.column_stack([np.ones(n), condition, length])
    peer = sm.GEE(right, design, groups=cluster, family=sm.families.Binomial(), cov_struct=sm.cov_struct.Exchangeable()).fit(cov_type="bias_reduced")  # fmt: skip
    assert math.log(result.odds_ratio) == pytest.approx(peer.params[1], rel=1e-9)
    assert result.p_value == pytest.approx(peer.pvalues[1], rel=1e-9)
    assert (result.covariance, result.covariates) == ("bias_reduced", ("length",))

    # the delta method, by numerical differentiation
    def standardised(beta):
        chance = lambda arm: 1 / (1 + np.exp(-(design * [1, 0, 1] @ beta + arm * beta[1])))  # noqa: E731
        return (chance(1) - chance(0)).mean()

    step = 1e-6 * np.eye(3)
    gradient = [
        (standardised(peer.params + s) - standardised(peer.params - s)) / 2e-6 for s in step
    ]
    assert result.difference == pytest.approx(standardised(peer.params), rel=1e-9)
    assert result.standard_error == pytest.approx(math.sqrt(gradient @ peer.cov_params() @ gradient), rel=1e-5)  # fmt: skip
    unadjusted = adjusted_difference(right, condition=condition, cluster=cluster)
    assert unadjusted.difference > result.difference + 0.05


def test_few_clusters_are_warned_of():
    _, _, data = _pairs(6, 5)
    result = adjusted_difference(data.pop("scores"), family="gaussian", **data)
    assert any("only 6 clusters" in w for w in result.warnings)


def test_the_extra_is_named_when_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsmodels.api", None)
    _, _, data = _pairs(6, 5)
    with pytest.raises(MissingExtraError, match=r"crucible-bench\[models\]"):
        mixed_difference(data.pop("scores"), **data)


def test_importing_the_module_loads_no_statsmodels():
    code = "import sys, crucible_bench.models; print(any(m.split('.')[0] in {'statsmodels', 'pandas', 'scipy'} for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"condition": [0, 0, 0, 0]}, "`condition` must hold 0"),
        ({"condition": [0, 1, 2, 1]}, "`condition` must hold 0"),
        ({"condition": [0, 1, 0]}, "`condition` must have one value per score"),
        ({"cluster": [1, 1, 1, 1]}, "`cluster` must hold at least 2"),
        ({"cluster": [1, 2]}, "`cluster` must have one label per score"),
        ({"covariates": {"x": [1, 1, 1, 1]}}, "`covariates` must not be constant"),
        ({"covariates": {"x": [1, math.nan, 1, 1]}}, "must not hold NaN"),
        ({"scores": [1, 2, 1, 3]}, "`scores` must hold only 0 and 1"),
        ({"family": "poisson"}, "`family` must be"),
    ],
)
def test_bad_input_is_named(changes, words):
    arguments = {"scores": [0, 1, 1, 0], "condition": [0, 1, 0, 1], "cluster": [1, 1, 2, 2]}
    arguments |= changes
    with pytest.raises(ValueError, match=words):
        adjusted_difference(arguments.pop("scores"), **arguments)


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ([1] * 60, "all scores are equal"),
        ([0, 1] * 30, "no finite odds ratio"),  # control never right, treatment always
        ([0, 1] * 15 + [0, 0] * 15, "no finite odds ratio"),  # control never right
    ],
)
def test_scores_without_an_answer_are_degenerate(scores, words):
    data = {"condition": [0, 1] * 30, "cluster": [i // 2 for i in range(60)]}
    with pytest.raises(DegenerateDataError, match=words) as caught:
        adjusted_difference(scores, **data)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_covariate_that_tells_right_from_wrong_is_degenerate():
    x = np.arange(40.0)
    right = (x >= 20).astype(float)
    data = {"condition": np.tile([0, 1], 20), "cluster": np.arange(40)}
    with pytest.raises(DegenerateDataError, match="tell right from wrong"):
        adjusted_difference(right, covariates={"x": x}, **data)
    right[[3, 31]] = 1 - right[[3, 31]]
    assert adjusted_difference(right, covariates={"x": x}, **data).interval.low < 1
