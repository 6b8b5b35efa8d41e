"""Meta-analysis against metafor's published BCG results and statsmodels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.meta_analysis import combine_effects

from crucible_bench.meta import meta_analysis

# Colditz et al. 1994, the BCG vaccine trials (metafor's dat.bcg): cases and non-cases, vaccinated, control
BCG = "4 119 11 128|6 300 29 274|3 228 11 209|62 13536 248 12619|33 5036 47 5761|180 1361 372 1079|8 2537 10 619|505 87886 499 87892|29 7470 45 7232|17 1699 65 1600|186 50448 141 27197|5 2493 3 2338|27 16886 29 17825"  # fmt: skip


def _bcg():
    table = np.array([[float(x) for x in row.split()] for row in BCG.split("|")])
    a, b, c, d = table.T
    return np.log(a / (a + b) / (c / (c + d))), 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)


def test_bcg_by_restricted_maximum_likelihood():
    # metafor: rma(yi, vi, test = "knha"); predict with t on k - 2 df
    result = meta_analysis(*_bcg())
    assert result.tau2 == pytest.approx(0.313243, abs=1e-6)
    assert result.estimate == pytest.approx(-0.714532, abs=1e-6)
    assert result.standard_error == pytest.approx(0.180792, abs=1e-6)
    assert (result.interval.low, result.interval.high) == pytest.approx((-1.108444, -0.320621), abs=1e-6)  # fmt: skip
    assert result.i2 == pytest.approx(92.2214, abs=1e-4)
    assert result.q == pytest.approx(152.2330, abs=1e-4)
    assert (result.prediction.low, result.prediction.high) == pytest.approx((-2.008376, 0.579311), abs=2e-6)  # fmt: skip
    assert sum(result.weights) == pytest.approx(1)
    assert result.reasons == ()


def test_bcg_by_moments_agrees_with_metafor_and_statsmodels():
    y, v = _bcg()
    result = meta_analysis(y, v, method="dl", hksj=False)
    assert (result.tau2, result.estimate) == pytest.approx((0.308760, -0.714117), abs=1e-6)
    theirs = combine_effects(y, v, method_re="dl")
    assert result.tau2 == pytest.approx(theirs.tau2, rel=1e-10)
    assert result.estimate == pytest.approx(theirs.mean_effect_re, rel=1e-10)
    assert result.standard_error == pytest.approx(theirs.sd_eff_w_re, rel=1e-10)
    fixed = meta_analysis(y, v, method="fixed")
    assert fixed.estimate == pytest.approx(theirs.mean_effect_fe, rel=1e-10)
    assert (fixed.tau2, fixed.i2, fixed.prediction) == (None, None, None)
    adjusted = meta_analysis(y, v, method="dl")
    assert adjusted.standard_error == pytest.approx(theirs.sd_eff_w_re_hksj, rel=1e-10)


def test_few_studies_say_what_they_cannot_give():
    one = meta_analysis([0.3], [0.04])
    assert (one.estimate, one.tau2, one.i2, one.q, one.interval, one.prediction) == (0.3, None, None, None, None, None)  # fmt: skip
    assert len(one.reasons) == 3
    assert meta_analysis([0.3], [0.04], hksj=False).interval.high == pytest.approx(0.3 + 1.959964 * 0.2)  # fmt: skip
    two = meta_analysis([0.3, 0.5], [0.04, 0.05])
    assert two.interval is not None
    assert two.prediction is None
    assert two.reasons == ("a prediction interval needs at least 3 studies, got 2",)


def test_equal_effects_have_no_variance_between_studies():
    result = meta_analysis([0.25, 0.25, 0.25], [0.1, 0.2, 0.3])
    assert (result.tau2, result.i2, result.interval, result.p_value) == (0, 0, None, None)
    assert result.reasons == ("the effects do not vary, so HKSJ has no standard error",)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(-3, 3), st.floats(0.01, 2)), min_size=2, max_size=12),
    st.sampled_from(["reml", "dl"]),
    st.floats(0.5, 20),
)
def test_the_unit_of_the_effects_does_not_matter(studies, method, unit):
    y, v = (np.array(x) for x in zip(*studies, strict=True))
    plain = meta_analysis(y, v, method=method)
    scaled = meta_analysis(unit * y, unit**2 * v, method=method)
    assert scaled.estimate == pytest.approx(unit * plain.estimate, rel=1e-6, abs=1e-7)
    assert scaled.tau2 == pytest.approx(unit**2 * plain.tau2, rel=1e-5, abs=1e-7)
    assert y.min() - 1e-9 <= plain.estimate <= y.max() + 1e-9
    assert 0 <= plain.i2 < 100


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: meta_analysis([0.1, 0.2], [0.1]), "one value per effect, got 1 for 2"),
        (lambda: meta_analysis([0.1, 0.2], [0.1, 0.0]), "`variances` must be > 0, got 0"),
        (lambda: meta_analysis([0.1, math.nan], [0.1, 0.1]), "must not hold NaN"),
        (lambda: meta_analysis([], []), "at least 1 score"),
        (lambda: meta_analysis([0.1], [0.1], method="ml"), "`method` must be"),
        (lambda: meta_analysis([0.1, 0.2], [0.1, 0.1], method="fixed", hksj=True), "`hksj` must be False"),
        (lambda: meta_analysis([0.1], [0.1], confidence=95), "`confidence` must be"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
