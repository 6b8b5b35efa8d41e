import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_hedging import (
    AdaptiveDelay,
    BackoffDelay,
    DelayPolicy,
    FixedDelay,
    NoHedge,
    PercentileDelay,
    Workload,
    WorkloadDelays,
)
from crucible_hedging.delays import Multipliers
from crucible_hedging.delays.parse import parse_delay


def fed(policy, latencies, **options):
    for latency in latencies:
        policy.observe(latency, censored=False, **options)
    return policy


def test_every_policy_fits_the_port():
    policies = [NoHedge(), FixedDelay(), PercentileDelay(), AdaptiveDelay(budget=0.1)]
    assert all(isinstance(p, DelayPolicy) for p in [*policies, BackoffDelay()])


def test_off_never_and_fixed_always_says_the_same():
    assert NoHedge().delay() == math.inf
    assert FixedDelay().delay() == 0.1
    assert FixedDelay(2).delay() == 2.0
    with pytest.raises(ValueError, match="`delay_s` must be >= 0 seconds, got -1"):
        FixedDelay(-1)
    with pytest.raises(TypeError, match="`delay_s` must be a number"):
        FixedDelay("1")


def test_the_delay_is_the_order_statistic_of_the_window():
    # k = ceil(0.95 * (99 + 1)) = 95 of the values 1..99.
    assert fed(PercentileDelay(95), random.Random(1).sample(range(1, 100), 99)).delay() == 95.0
    # k = ceil(0.75 * (200 + 1)) = 151 of the values 1..200.
    assert fed(PercentileDelay(75), random.Random(1).sample(range(1, 201), 200)).delay() == 151.0
    # 99.9 is 999/1000: with n = 999, k = 999 exactly, not 1,000 by rounding.
    assert fed(PercentileDelay(99.9, window=2_000), range(1, 1_000)).delay() == 999.0


def test_no_backup_before_there_are_enough_samples():
    policy = fed(PercentileDelay(75), range(1, 20))
    assert (policy.delay(), policy.why_not) == (math.inf, "warmup")
    policy.observe(20, censored=False)
    assert (policy.delay(), policy.why_not) == (16.0, None)  # ceil(0.75 * 21)
    late = fed(PercentileDelay(99), range(1, 99))  # ceil(0.99 * 99) = 99 > 98
    assert late.delay() == math.inf
    late.observe(99, censored=False)
    assert late.delay() == 99.0


@given(
    latencies=st.lists(st.floats(0.002, 100), min_size=1, max_size=120),
    window=st.integers(20, 60),
    percentile=st.sampled_from([50, 75, 90, 95]),
)
def test_the_ring_holds_the_last_of_them_exactly(latencies, window, percentile):
    policy = fed(PercentileDelay(percentile, window=window, min_samples=1), latencies)
    last = sorted(latencies[-window:])
    k = -(-percentile * (len(last) + 1) // 100)
    assert policy.delay() == (last[k - 1] if k <= len(last) else math.inf)


def test_a_share_of_one_minus_p_is_slower():
    # Of exchangeable latencies the next one is above x_(k) with probability 1 - k/(n+1) <= 1 - p;
    # here 1 - 96/101. Four standard errors of 20,000 draws: 0.006.
    rng, policy, slower = random.Random(5), PercentileDelay(95, window=100), 0
    fed(policy, (rng.lognormvariate(0, 1) for _ in range(100)))
    for _ in range(20_000):
        latency = rng.lognormvariate(0, 1)
        slower += latency > policy.delay()
        policy.observe(latency, censored=False)
    assert slower / 20_000 == pytest.approx(5 / 101, abs=0.006)


def test_backups_are_not_requests_and_beaten_primaries_are():
    policy = fed(PercentileDelay(50, min_samples=1), [1.0, 2.0, 3.0])
    fed(policy, [9.0] * 10, attempt=1)
    assert policy.delay() == 2.0
    policy.observe(4.0, censored=True)
    policy.observe(5.0, censored=True)
    assert policy.delay() == 3.0


def test_the_delay_is_bounded_and_forgets_on_request():
    policy = fed(PercentileDelay(min_delay_s=0.5, max_delay_s=2.0), [0.1] * 30)
    assert policy.delay() == 0.5
    assert fed(policy, [9.0] * 500).delay() == 2.0
    policy.reset()
    assert policy.delay() == math.inf


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"percentile": 49.9}, r"`percentile` must be in \[50, 100\), got 49.9"),
        ({"percentile": 100}, "`percentile`"),
        ({"percentile": math.nan}, "`percentile`"),
        ({"window": 10}, "`window` must be >= min_samples = 20, got 10"),
        ({"min_samples": 0}, "`min_samples` must be >= 1"),
        ({"percentile": 99.9}, "`window` must be >= 999 to hold percentile 99.9, got 500"),
        ({"min_delay_s": -1}, "`min_delay_s`"),
        ({"max_delay_s": 0}, "`max_delay_s` must be >= min_delay_s"),
    ],
)
def test_a_percentile_that_cannot_be_had_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PercentileDelay(**options)


def test_words_name_policies():
    # Acceptance 20.
    names = {parse_delay(word)(None).name for word in ("p95", "percentile_95", "Percentile-95")}
    assert names == {"percentile(95)"}
    assert parse_delay("percentile")(None).name == "percentile(95)"
    assert parse_delay("P99.9")(None).name == "percentile(99.9, window=999)"
    assert parse_delay("off")(None).name == "off"
    assert parse_delay("fixed")(None).name == "fixed(0.1 s)"
    assert parse_delay("adaptive", budget=0.05)(None).name == "adaptive(99, budget=0.05)"
    assert parse_delay("exponential_backoff")(None).name == "exponential_backoff"
    assert parse_delay("workload-aware").name == "workload_aware(percentile(95))"
    factory = parse_delay("p75")
    assert factory("a") is not factory("a")


def test_a_word_learns():
    latencies = [random.Random(2).lognormvariate(0, 1) for _ in range(200)]
    policy = fed(parse_delay("percentile_75")(None), latencies)
    assert policy.delay() == sorted(latencies)[151 - 1]  # ceil(0.75 * 201)


@pytest.mark.parametrize(
    "word", ["percentile_49", "p5", "fastest", "", "p100", "p95 ", "percentile_", "p95.", "p٩٥"]
)
def test_an_unknown_word_is_answered_with_the_list(word):
    with pytest.raises(ValueError, match='must be one of "off", "fixed", "percentile"'):
        parse_delay(word)


def test_adaptive_needs_a_budget_to_plan_for():
    with pytest.raises(ValueError, match="`budget` must be given"):
        parse_delay("adaptive")


def test_backoff_follows_how_requests_end():
    policy = BackoffDelay()
    assert policy.delay() == 0.1
    for result, expected in [
        ("won", 0.09),
        ("unhedged", 0.081),
        ("lost", 0.1215),
        ("failed", 0.243),
    ]:
        policy.settle(result)
        assert policy.delay() == pytest.approx(expected)
    for _ in range(50):
        policy.settle("failed")
    assert policy.delay() == 5.0
    for _ in range(100):
        policy.settle("won")
    assert policy.delay() == 0.01
    policy.reset()
    assert policy.delay() == 0.1
    with pytest.raises(ValueError, match="`base_s` must be in"):
        BackoffDelay(9)
    with pytest.raises(ValueError, match="`on_loss` must be"):
        BackoffDelay(on_loss=0.5)


def test_backoff_alone_settles_where_a_fifth_of_the_requests_lose_a_backup():
    # ln(1/0.9) / (ln 1.5 + ln(1/0.9)) = 0.2063, whatever the distribution. The multiplicative walk
    # is bounded and its mean log-step is 0: the share is that up to ln(max/min)/(n ln 1.5).
    rng, policy, lost, n = random.Random(3), BackoffDelay(1.0, min_s=1e-6, max_s=1e6), 0, 40_000
    for _ in range(n):
        primary, delay = rng.lognormvariate(0, 1), policy.delay()
        if primary <= delay:
            policy.settle("unhedged")
        elif delay + rng.lognormvariate(0, 1) < primary:
            policy.settle("won")
        else:
            policy.settle("lost")
            lost += 1
    assert lost / n == pytest.approx(0.2063, abs=0.002)


def test_a_workload_starts_from_its_multipliers():
    delays = WorkloadDelays()
    for workload, factor in [
        (Workload(), 1.0),
        (Workload(prompt_chars=1000), 1.0),
        (Workload(prompt_chars=1001), 1.5),
        (Workload(prompt_chars=2001), 2.0),
        (Workload(prompt_chars=4001), 2.5),
        (Workload(complexity="complex"), 2.0),
        (Workload(complexity="medium"), 1.0),
        (Workload(complexity="simple", priority="high"), 0.3),
        (Workload(time_of_day="peak"), 0.7),
        (Workload(time_of_day="off_peak", priority="low"), 1.95),
    ]:
        assert delays(workload).delay() == pytest.approx(0.1 * factor)
    # floor 0.010 s
    assert WorkloadDelays(fallback_s=0.01)(Workload(complexity="simple")).delay() == 0.01


def test_a_workload_learns_its_own_delay():
    policy = WorkloadDelays()(Workload(prompt_chars=5000))
    fed(policy, [3.0] * 19)
    assert policy.delay() == 0.25
    policy.observe(3.0, censored=False)
    assert policy.delay() == 3.0


def test_prompts_of_similar_length_are_one_kind_of_work():
    delays = WorkloadDelays()
    assert delays.bucket(Workload(prompt_chars=4001)) == delays.bucket(Workload(prompt_chars=9999))
    assert delays.bucket(Workload(prompt_chars=400)) == delays.bucket(Workload())
    assert delays.bucket(Workload(prompt_chars=1500)) != delays.bucket(Workload(prompt_chars=500))
    assert delays.bucket(Workload(bucket="a")) != delays.bucket(Workload(bucket="b"))
    kind = delays.bucket(Workload(prompt_chars=3000))
    assert delays.bucket(kind) == kind
    with pytest.raises(TypeError, match="`key` must be a Workload"):
        delays("eu-west")
    with pytest.raises(ValueError, match="`complexity` must be one of simple, medium, complex"):
        Workload(complexity="hard")


def test_own_multipliers_count():
    own = Multipliers(prompt_chars=((10, 4.0),), complexity={}, time_of_day={}, priority={})
    assert WorkloadDelays(multipliers=own)(Workload(prompt_chars=11)).delay() == 0.4
    assert WorkloadDelays(multipliers=own).name == "workload_aware(percentile(95), own multipliers)"
