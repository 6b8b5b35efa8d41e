"""Always-valid inference against closed forms, its promise in simulation, and resuming."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible_bench.sequential import (
    SequentialComparison,
    SequentialState,
    confidence_sequence,
    mixture_interval,
)


def _watched(lost, won):
    watch = SequentialComparison(outcome="binary")
    for pair in [(1, 0), (0, 1)] * min(lost, won):
        watch.update(*pair)
    for _ in range(abs(won - lost)):
        watch.update(*((0, 1) if won > lost else (1, 0)))
    return watch.state


@pytest.mark.parametrize(
    ("lost", "won", "e_value"),
    # closed form: C(14, 7) / 2^14 * 2^7 = 26.8125; the others by lgamma
    [(0, 7, 26.8125), (10, 30, 23.443987), (20, 20, 0.125371), (30, 10, 23.443987), (0, 0, 1.0)],
)
def test_e_values_are_the_closed_form(lost, won, e_value):
    assert _watched(lost, won).e_value == pytest.approx(e_value, abs=6e-7)


def test_the_interval_is_dual_to_the_e_value():
    low, high = mixture_interval(30, 10, alpha=0.05)
    assert (low, high) == pytest.approx((0.504004, 0.917887), abs=1e-6)
    # by definition: B(c + .5, b + .5) / B(.5, .5) / (t^c (1 - t)^b) = 20 at both ends
    mixture = math.lgamma(30.5) + math.lgamma(10.5) - math.lgamma(41) - math.log(math.pi)
    for t in (low, high):
        assert math.exp(mixture - 30 * math.log(t) - 10 * math.log1p(-t)) == pytest.approx(20)
    assert mixture_interval(0, 5, alpha=0.05)[0] == 0.0
    assert mixture_interval(5, 0, alpha=0.05)[1] == 1.0


def test_concordant_pairs_change_nothing_but_n():
    watch = SequentialComparison(outcome="binary")
    watch.update(0, 1)
    before = watch.state
    after = watch.update(True, True)
    assert (after.n, after.e_value, after.interval) == (2, before.e_value, before.interval)


def test_a_decision_once_made_stays():
    watch = SequentialComparison(outcome="binary")
    for _ in range(7):
        watch.update(0, 1)
    for _ in range(7):
        state = watch.update(1, 0)
    assert (state.decision, state.decided_at) == ("superior", 7)
    assert state.e_value < 1
    for _ in range(60):
        state = watch.update(1, 0)
    assert state.e_value > 20  # now for the other side
    assert (state.decision, state.decided_at) == ("superior", 7)


@pytest.mark.parametrize(
    ("n", "low", "high"), [(10, 0.36, 1.0), (50, 0.611, 0.927), (200, 0.701, 0.878)]
)
def test_the_betting_sequence_of_a_known_series(n, low, high):
    # an independent implementation of Waudby-Smith and Ramdas's theorem 3, grid of .001
    series = [1, 0, 1, 1, 1, 0, 1, 1, 1, 1] * 20
    limits = confidence_sequence(series, bounds=(0, 1))
    assert limits[n - 1].tolist() == pytest.approx([low, high])


def test_limits_only_tighten_and_scale_with_the_bounds():
    x = np.random.default_rng(0).random(80)
    limits = confidence_sequence(x, bounds=(0, 1))
    assert (np.diff(limits[:, 0]) >= 0).all()
    assert (np.diff(limits[:, 1]) <= 0).all()
    stretched = confidence_sequence(10 * x - 5, bounds=(-5, 5))
    assert stretched == pytest.approx(10 * limits - 5, abs=1e-9)


def test_the_sequence_covers_at_every_n_at_once():
    # 300 series of 200 values, mean .3: ever missing at most .05, with 3 standard errors .088
    rng = np.random.default_rng(1)
    missed = 0
    for _ in range(300):
        limits = confidence_sequence(rng.beta(0.6, 1.4, size=200), bounds=(0, 1), grid=200)
        missed += ((limits[:, 0] > 0.3) | (limits[:, 1] < 0.3)).any()
    assert missed / 300 <= 0.088


def test_watching_after_every_pair_keeps_alpha_where_repeated_z_tests_do_not():
    # 400 discordant pairs, no effect, 2,000 runs: E-test .035; z tests from the 20th pair on 37 %
    rng = np.random.default_rng(2)
    steps = rng.integers(0, 2, size=(2_000, 400))
    won = steps.cumsum(axis=1)
    n = np.arange(1, 401)
    from scipy import special

    log_e = special.betaln(won + 0.5, n - won + 0.5) - math.log(math.pi) + n * math.log(2)
    ever = (log_e >= math.log(20)).any(axis=1).mean()
    assert ever <= 0.05
    assert ever == pytest.approx(0.035, abs=0.015)
    z = (2 * won - n) / np.sqrt(n)
    assert (np.abs(z) >= 1.959964)[:, 19:].any(axis=1).mean() == pytest.approx(0.37, abs=0.03)
    # and the class is that formula
    watch = SequentialComparison(outcome="binary")
    for step in steps[0].tolist():
        watch.update(1 - step, step)
    assert watch.state.log_e_value == pytest.approx(float(log_e[0, -1]), rel=1e-12)


def test_bounded_scores_decide_for_the_better_side():
    rng = np.random.default_rng(3)
    watch = SequentialComparison(outcome="bounded", bounds=(0, 10))
    mirror = SequentialComparison(outcome="bounded", bounds=(0, 10))
    for a, b in zip(rng.uniform(0, 8, 300), rng.uniform(2, 10, 300), strict=True):
        state, reverse = watch.update(a, b), mirror.update(b, a)
    assert (state.decision, reverse.decision) == ("superior", "inferior")
    assert 0 <= state.interval.low < 2 < state.interval.high <= 10
    assert reverse.interval.high == pytest.approx(-state.interval.low)
    assert reverse.log_e_value == pytest.approx(state.log_e_value)


def test_bounded_watching_keeps_alpha():
    # 200 runs of 150 pairs without a difference; .05 with 3 standard errors
    rng = np.random.default_rng(4)
    decided = 0
    for _ in range(200):
        watch = SequentialComparison(outcome="bounded")
        for a, b in rng.random((150, 2)).tolist():
            watch.update(a, b)
        decided += watch.state.decision != "continue"
    assert decided / 200 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)


@pytest.mark.parametrize("outcome", ["binary", "bounded"])
def test_resuming_from_json_gives_the_same_bytes(outcome):
    rng = np.random.default_rng(5)
    pairs = rng.random((60, 2))
    if outcome == "binary":
        pairs = np.round(pairs)
    through, resumed = (SequentialComparison(outcome=outcome) for _ in range(2))
    for a, b in pairs.tolist():
        through.update(a, b)
        resumed.update(a, b)
        resumed = SequentialComparison.from_dict(json.loads(json.dumps(resumed.to_dict())))
    assert json.dumps(resumed.to_dict()) == json.dumps(through.to_dict())
    assert resumed.state == through.state


@settings(max_examples=60)
@given(st.integers(0, 300), st.integers(0, 300))
def test_one_half_is_excluded_exactly_when_e_reaches_one_over_alpha(won, lost):
    low, high = mixture_interval(won, lost, alpha=0.05)
    from scipy import special

    log_e = special.betaln(won + 0.5, lost + 0.5) - math.log(math.pi) + (won + lost) * math.log(2)
    assert (low > 0.5 or high < 0.5) == (log_e > math.log(20))
    assert mixture_interval(lost, won, alpha=0.05) == pytest.approx((1 - high, 1 - low), abs=1e-9)


def test_an_e_value_beyond_a_float_is_none_and_its_logarithm_is_not():
    watch = SequentialComparison(outcome="binary")
    watch._won = 2_000  # as if 2,000 pairs had been seen
    assert watch.state.e_value is None
    assert watch.state.log_e_value > 1_000
    assert isinstance(watch.state, SequentialState)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: SequentialComparison(outcome="counts"), "`outcome` must be"),
        (lambda: SequentialComparison(outcome="binary", alpha=1), r"`alpha` must be in \(0, 1\)"),
        (lambda: SequentialComparison(outcome="binary", bounds=(0, 2)), r"must be \(0, 1\) for binary"),
        (lambda: SequentialComparison(outcome="bounded", bounds=(1, 0)), "`bounds` must be finite"),
        (lambda: SequentialComparison(outcome="binary").update(0.5, 1), "`control` must be 0 or 1"),
        (lambda: SequentialComparison(outcome="bounded").update(0, 1.5), "`treatment` must be within"),
        (lambda: SequentialComparison(outcome="bounded").update(0, math.nan), "`treatment` must be within"),
        (lambda: SequentialComparison.from_dict({"schema": "x"}), "`data` must be"),
        (lambda: confidence_sequence([], bounds=(0, 1)), "at least 1 score"),
        (lambda: confidence_sequence([0.2, 1.2], bounds=(0, 1)), "got 1.2 at index 1"),
        (lambda: confidence_sequence([0.2], bounds=(0, 1), grid=7), "`grid` must be even"),
        (lambda: confidence_sequence([0.2], bounds=(0, 1), method="hoeffding"), '`method` must be "betting"'),
        (lambda: confidence_sequence([0.2], bounds=(0, 1), confidence=1), "`confidence` must be"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_a_refused_pair_is_not_counted():
    watch = SequentialComparison(outcome="binary")
    with pytest.raises(ValueError, match="0 or 1"):
        watch.update(1, 2)
    assert watch.state.n == 0
