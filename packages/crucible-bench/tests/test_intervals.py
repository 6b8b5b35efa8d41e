"""Intervals for shares and means against published and closed-form values."""

import numpy as np
import pytest
from scipy import stats

from crucible_bench.intervals import mean_interval, miettinen_nurminen, proportion_interval


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (81, 263, 0.255289, 0.366210),  # Newcombe 1998, Statistics in Medicine 17, table I
        (15, 148, 0.062386, 0.160487),  # the same
        (0, 10, 0.0, 0.277533),  # closed form: z^2 / (n + z^2)
        (10, 10, 0.722467, 1.0),
    ],
)
def test_wilson(successes, trials, low, high):
    interval = proportion_interval(successes, trials)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-6)


def test_clopper_pearson_without_a_failure_is_the_root_of_alpha():
    # closed form: .05 ** (1 / 299)
    interval = proportion_interval(299, 299, confidence=0.9, method="clopper_pearson")
    assert interval.low == pytest.approx(0.05 ** (1 / 299), rel=1e-9)


def test_miettinen_nurminen_gives_newcombes_published_interval():
    # Newcombe 1998 (II), example (a), 56/70 against 48/80: .0528, .3382
    interval = miettinen_nurminen((48, 80), (56, 70))
    assert (interval.low, interval.high) == pytest.approx((0.0528, 0.3382), abs=1e-4)


def test_there_is_no_interval_for_no_trials():
    with pytest.raises(ValueError, match="`trials` must be >= 1, got 0"):
        proportion_interval(0, 0)


def test_the_t_interval_of_a_mean_is_scipys():
    x = np.random.default_rng(0).normal(size=17)
    low, high = stats.ttest_1samp(x, 0).confidence_interval()
    interval = mean_interval(x)
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-12)
