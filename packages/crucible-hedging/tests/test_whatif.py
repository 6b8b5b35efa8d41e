"""Acceptance 6, 12 and 13: paired logs, what-if curves, calibration, audits."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from crucible_hedging.audit import quantile_precision, selection_bias
from crucible_hedging.calibrate import calibrate
from crucible_hedging.errors import InsufficientDataError
from crucible_hedging.shadow import ShadowLog, ShadowRecord
from crucible_hedging.whatif import what_if

# Specification, section 7.12.
PRIMARIES = [1.0, 1.2, 0.8, 9.0, 1.1, 6.0, 0.9, 1.3, 1.0, 20.0]
BACKUPS = [1.1, 0.7, 1.0, 1.0, 5.0, 8.0, 1.2, 0.9, 1.0, 2.0]


def pairs(primaries=PRIMARIES, backups=BACKUPS, **more):
    return [
        ShadowRecord(primary_s=p, backup_s=b, **more)
        for p, b in zip(primaries, backups, strict=True)
    ]


def lognormal_pairs(n, seed, s=1.0):
    rng = np.random.default_rng(seed)
    return pairs(*rng.lognormal(0, s, (2, n)).tolist())


def test_the_curve_of_ten_pairs():
    curve = what_if(pairs(), [2.0, 1.05, 10.0, 30.0], bootstrap=50)
    two, early, ten, thirty = curve.rows
    assert (two.extra_ratio.value, two.win_ratio.value) == pytest.approx((0.3, 0.2))
    found = [two.p50_s.value, two.p90_s.value, two.p99_s.value, two.mean_s, two.wasted_s]
    assert found == pytest.approx([1.15, 4.2, 5.82, 2.03, 11.0])
    assert early.extra_ratio.value == pytest.approx(0.6)
    assert (early.p90_s.value, early.mean_s) == pytest.approx((3.345, 1.84))
    assert ten.p99_s.value == pytest.approx(11.73)
    assert thirty.extra_ratio.value == 0
    for row in (thirty, curve.baseline):
        quantiles = [row.p50_s.value, row.p90_s.value, row.p95_s.value, row.p99_s.value]
        assert quantiles == pytest.approx([1.15, 10.1, 15.05, 19.01])
        assert row.ratio_p99.value == 1
    assert two.ratio_p99.value == pytest.approx(5.82 / 19.01)
    assert not two.reliable  # ten requests say nothing about P99
    assert two.cost_usd is None
    assert (curve.n, curve.excluded, curve.block_length) == (10, 0, 3)  # ceil(10^(1/3))


def test_the_best_row_is_within_the_budget():
    curve = what_if(pairs(), [30.0, 2.0, 1.05, 10.0], bootstrap=20)
    assert [row.delay_s for row in curve.rows] == [30.0, 2.0, 1.05, 10.0]
    assert curve.best(0.3).delay_s == 2.0
    assert curve.best(0.1).delay_s == 10.0
    assert curve.best(0.05) is curve.baseline
    loads = [row.extra_ratio.value for row in curve.pareto()]
    assert loads == sorted(loads)
    assert json.loads(json.dumps(curve.to_records()))[1]["p99_s_low"] is not None
    with pytest.raises(ValueError, match="`percentile` must be one of 50, 95, 99, 99.9, got 98"):
        curve.best(0.1, percentile=98)


def test_a_probability_weighs_both_outcomes():
    curve = what_if(pairs(), [2.0], probabilities=[0.0, 0.5, 1.0], bootstrap=20)
    never, half, always = curve.rows
    assert never.p99_s.value == curve.baseline.p99_s.value
    assert half.extra_ratio.value == pytest.approx(0.15)
    assert half.mean_s == pytest.approx((curve.baseline.mean_s + always.mean_s) / 2)
    # Weights of a tenth, and of a twentieth for 3, 4, 6, 6, 9 and 20: P95 is reached at 9, and
    # P99 at 20.
    assert (half.p95_s.value, half.p99_s.value) == (9.0, 20.0)


def test_prices_count_where_all_are_known():
    priced = pairs(primary_cost_usd=0.01, backup_cost_usd=0.02)
    assert what_if(priced, [2.0], bootstrap=5).rows[0].cost_usd == pytest.approx(0.1 + 3 * 0.02)


def test_pairs_with_a_failure_are_left_out_and_counted():
    log = [*pairs(), ShadowRecord(primary_s=0.001, backup_s=1.0, primary_ok=False)]
    curve = what_if(log, [2.0], bootstrap=5)
    assert (curve.n, curve.excluded) == (10, 1)


def test_a_quantile_that_a_cut_attempt_decides_is_unknown():
    log = [*pairs(), ShadowRecord(primary_s=5.0, backup_s=50.0, primary_censored=True)]
    row = what_if(log, [2.0], bootstrap=20).rows[0]
    assert row.p99_s.value is None
    assert row.p50_s.value == pytest.approx(1.2)  # 11 values, the sixth; 5+ is above it in any case
    cured = [*pairs(), ShadowRecord(primary_s=5.0, backup_s=1.0, primary_censored=True)]
    assert what_if(cured, [2.0], bootstrap=20).rows[0].p99_s.value is not None  # 3.0 is certain


def test_simultaneous_bands_hold_for_all_rows_and_are_wider():
    log, delays = lognormal_pairs(1_000, 3), [1.0, 2.0, 4.0, 6.0]
    point = what_if(log, delays, bootstrap=400)
    every = what_if(log, delays, bootstrap=400, bands="simultaneous")
    for one, other in zip(point.rows, every.rows, strict=True):
        assert one.p99_s.value == other.p99_s.value
        width = one.p95_s.high - one.p95_s.low
        assert other.p95_s.high - other.p95_s.low > width
    assert point.rows[0].reliable


def test_the_interval_covers_the_closed_form():
    # lognormal(1), d = P95: P99 6.67, ratio 0.651 (section 7.11).
    delay = float(stats.lognorm(1).ppf(0.95))
    hits = [
        row.ratio_p99.low <= 0.651 <= row.ratio_p99.high
        for seed in range(40)
        for row in what_if(lognormal_pairs(2_000, seed), [delay], bootstrap=200, seed=seed).rows
    ]
    assert 0.85 <= np.mean(hits) <= 1.0  # 0.95 +- 3 standard errors of 40


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=40),
    st.floats(0, 100),
    st.floats(0.5, 0.999),
)
def test_no_delay_pushes_an_order_statistic_below_itself(both, delay, p):
    # Acceptance 6, for order statistics (type 1).
    primary, backup = np.array(both).T
    hedged = np.where(primary > delay, np.minimum(primary, delay + backup), primary)

    def type_1(x):
        return np.quantile(x, p, method="inverted_cdf")

    assert type_1(hedged) >= min(type_1(primary), delay)
    assert (hedged <= primary).all()


def test_with_interpolation_that_bound_is_false():
    # The counterexample of the specification: 1.55 < 2.
    row = what_if(pairs([1.0, 10.0], [9.0, 0.1]), [2.0], bootstrap=5).rows[0]
    assert row.p50_s.value == pytest.approx(1.55)


def test_calibration_reports_on_what_it_did_not_choose_from():
    found = calibrate(lognormal_pairs(4_000, 11), budget=0.05)
    assert found.low <= 0.349 <= found.high  # section 6: the optimum
    assert found.extra_ratio == pytest.approx(0.05, abs=0.015)
    assert (found.n_fit, found.n_test) == (2_000, 2_000)
    assert found.delay_s * found.probability > 0


def test_calibration_sees_that_equal_copies_are_useless():
    x = np.random.default_rng(5).lognormal(size=400).tolist()
    found = calibrate(pairs(x, x), budget=0.1)
    assert found.reduction == 0


def test_the_precision_of_a_percentile():
    # Acceptance 13: s sqrt(p (1 - p)) / (phi(z_p) sqrt(n)) for a lognormal with s = 0.8.
    grid = stats.lognorm(0.8).ppf((np.arange(50_000) + 0.5) / 50_000)
    assert 100 * quantile_precision(grid, n=1_000) == pytest.approx(9.4, abs=0.3)
    assert 100 * quantile_precision(grid, n=5_000) == pytest.approx(4.2, abs=0.15)
    with pytest.raises(InsufficientDataError, match="1000 needed"):
        quantile_precision(grid[:500])


def test_the_race_prefers_short_answers_and_the_audit_says_so():
    rng = np.random.default_rng(2)
    log = []
    for _ in range(500):
        a, b = rng.lognormal(3, 1, 2).tolist()  # tokens; latency is proportional
        log.append(
            ShadowRecord(
                primary_s=a / 50, backup_s=b / 50,
                primary_measures={"tokens": a}, backup_measures={"tokens": b},
            )
        )  # fmt: skip
    bias = selection_bias(log, delay_s=0.5, measure="tokens")
    assert bias.high < 0
    assert bias.difference == pytest.approx(bias.hedged_mean - bias.unhedged_mean)
    never = selection_bias(log, delay_s=math.inf, measure="tokens")
    assert (never.difference, never.low, never.high) == (0, 0, 0)
    with pytest.raises(InsufficientDataError):
        selection_bias(log, delay_s=0.5, measure="words")


def test_a_log_survives_a_crash_in_the_middle_of_a_line(tmp_path):
    path = tmp_path / "shadow.jsonl"
    record = ShadowRecord(
        primary_s=9.0, backup_s=1.0, key="a", primary_measures={"tokens": 3.0}, backup_ok=False
    )
    with ShadowLog(path) as log:
        log.append(record)
        log.append(record)
    assert list(ShadowLog.load(path)) == [record, record]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.warns(UserWarning, match="torn last line"):
        assert list(ShadowLog.load(path)) == [record]
    with pytest.warns(UserWarning, match="torn last line"), ShadowLog(path) as log:
        log.append(record)
    assert len(ShadowLog.load(path)) == 2
    path.write_text("nonsense\n")
    with pytest.raises(ValueError, match="line 1, is no record"):
        ShadowLog.load(path)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: what_if([], [1.0]), InsufficientDataError, "0 pairs"),
        (lambda: what_if(pairs(), [-1.0]), ValueError, "`delays` must be >= 0 seconds, got -1"),
        (lambda: what_if(pairs(), []), ValueError, "`delays` must not be empty"),
        (
            lambda: what_if(pairs(), [1.0], probabilities=[2]),
            ValueError,
            r"`probabilities` must be in \[0, 1\], got 2",
        ),
        (lambda: what_if(pairs(), [1.0], bootstrap=0), ValueError, "`bootstrap` must be >= 1"),
        (lambda: what_if(pairs(), [1.0], bands="all"), ValueError, '`bands` must be "pointwise"'),
        (lambda: calibrate(pairs()), InsufficientDataError, "10 pairs .* 20 needed"),
        (
            lambda: calibrate(pairs(), percentile=40),
            ValueError,
            r"`percentile` must be in \[50, 100\), got 40",
        ),
        (
            lambda: ShadowRecord(primary_s=-1, backup_s=1),
            ValueError,
            "`primary_s` must be a finite number >= 0, got -1",
        ),
    ],
)
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
