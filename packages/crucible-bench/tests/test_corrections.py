"""Corrected p-values against R's `p.adjust`, scipy and their order."""

import numpy as np
import pytest
from scipy import stats

from crucible_bench import correct


def test_holm_and_benjamini_hochberg():
    # closed forms; scipy.stats.false_discovery_control for the second
    p = [0.01, 0.04, 0.03, 0.2]
    assert correct(p, method="holm", family="f").adjusted == pytest.approx((0.04, 0.09, 0.09, 0.2))
    expected = stats.false_discovery_control(p)
    assert correct(p, method="benjamini_hochberg", family="f").adjusted == pytest.approx(expected)
    by = stats.false_discovery_control(p, method="by")
    assert correct(p, method="benjamini_yekutieli", family="f").adjusted == pytest.approx(by)


def test_a_missing_p_value_is_refused():
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        correct([0.1, float("nan")], family="f")


def test_a_great_many_p_values_are_corrected_like_scipy_ties_and_neighbours_included():
    rng = np.random.default_rng(0)
    p = rng.random(30_000)
    p[:5_000] = np.round(p[:5_000], 2)
    p[5_000:6_000] = 0.3 + np.arange(1_000)[::-1] * 2.0**-53  # nearer than the packed bits can tell
    p[6_000] = -0.0
    ours = correct(p, method="benjamini_hochberg", family="f").adjusted
    assert ours == pytest.approx(stats.false_discovery_control(np.abs(p)), rel=1e-12)
    holm = np.array(correct(p, method="holm", family="f").adjusted)
    assert (np.diff(holm[np.argsort(p, kind="stable")]) >= 0).all()
