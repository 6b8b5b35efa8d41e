import numpy as np
import pytest
from scipy import stats

from crucible_bench import means


def test_a_linear_contrast_of_two_groups_is_welch_and_of_more_adds_their_variances():
    rng = np.random.default_rng(5)
    groups = [rng.normal(m, s, n) for m, s, n in ((0, 1, 9), (1, 3, 14), (0.5, 2, 30))]
    two = means.linear_contrast(groups[:2], (-1, 1), confidence=0.9)
    welch = stats.ttest_ind(groups[1], groups[0], equal_var=False)
    assert two.p_value == pytest.approx(welch.pvalue, rel=1e-10)
    interval = welch.confidence_interval(0.9)
    assert (two.interval.low, two.interval.high) == pytest.approx(tuple(interval), rel=1e-10)
    # Welch 1947: variances of the weighted means add, Satterthwaite's degrees of freedom
    weights = (0.5, 0.5, -1)
    parts = [w * w * g.var(ddof=1) / g.size for w, g in zip(weights, groups, strict=True)]
    df = sum(parts) ** 2 / sum(v * v / (g.size - 1) for v, g in zip(parts, groups, strict=True))
    t = sum(w * g.mean() for w, g in zip(weights, groups, strict=True)) / sum(parts) ** 0.5
    three = means.linear_contrast(groups, weights)
    assert (three.statistic, three.df[0]) == pytest.approx((t, df))
    assert three.p_value == pytest.approx(2 * stats.t.sf(abs(t), df))
    assert means.linear_contrast([[1, 1], [1, 1]], (-1, 1)).p_value is None
    with pytest.raises(ValueError, match="one per group"):
        means.linear_contrast(groups, (1, -1))
    with pytest.raises(ValueError, match="not all be zero"):
        means.linear_contrast(groups, (0, 0, 0))
