import doctest
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from crucible_lora import Gate, judging, power
from crucible_lora.gates import GateResult
from crucible_lora.judging import clopper_pearson, judge, judge_all
from crucible_lora.power import gate_sample_size, pass_probability


def ones(k, n):
    return [1] * k + [0] * (n - k)


# One-sided 95 % Clopper-Pearson bounds: R 4.3, binom.test(k, n, alternative=)$conf.int
@pytest.mark.parametrize(
    ("k", "n", "target", "low", "high", "verdict"),
    [
        (50, 50, 0.95, 0.941845, 1.0, "inconclusive"),
        (48, 50, 0.95, 0.879386, 0.992846, "inconclusive"),
        (64, 64, 0.95, 0.954270, 1.0, "pass"),
        (62, 64, 0.90, 0.904878, None, "pass"),
        (60, 64, 0.90, 0.862660, None, "inconclusive"),
        (40, 64, 0.90, None, 0.726221, "fail"),
        (24, 50, 0.45, 0.357259, None, "inconclusive"),
        (302, 311, 0.95, 0.950045, None, "pass"),
        (97, 100, 0.95, 0.924289, None, "inconclusive"),
    ],
)
def test_a_rate_is_judged_by_its_exact_bounds(k, n, target, low, high, verdict):
    result = judge(Gate("schema_compliance", target), ones(k, n))
    assert result.verdict == verdict
    assert result.method == "clopper-pearson"
    if low is not None:
        assert result.bound_low == pytest.approx(low, abs=1e-6)
    if high is not None:
        assert result.bound_high == pytest.approx(high, abs=1e-6)


@pytest.mark.parametrize(("k", "high"), [(1, 0.046560), (0, 0.029513)])  # scipy.stats.beta.ppf
def test_a_gate_on_the_most_is_judged_by_the_upper_bound(k, high):
    result = judge(Gate("refusals", 0.05, direction="max"), ones(k, 100))
    assert result.bound_high == pytest.approx(high, abs=1e-6)
    assert result.verdict == "pass"


def test_a_gate_on_the_most_mirrors_one_on_the_least():
    for k in (0, 3, 10, 40, 50):
        least = judge(Gate("right", 0.9), ones(50 - k, 50))
        most = judge(Gate("wrong", 0.1, direction="max"), ones(k, 50))
        assert least.verdict == most.verdict
        assert least.bound_low == pytest.approx(1 - most.bound_high, abs=1e-12)


@pytest.mark.parametrize(("target", "n"), [(0.90, 29), (0.95, 59), (0.99, 299)])
def test_all_right_passes_from_the_textbook_number_of_items(target, n):
    # ln(.05) / ln(target), rounded up
    assert judge(Gate("x", target), ones(n, n)).verdict == "pass"
    assert judge(Gate("x", target), ones(n - 1, n - 1)).verdict == "inconclusive"


def test_scores_between_zero_and_one_get_the_t_bound_from_thirty_items():
    result = judge(Gate("score", 0.8), [1, 0.8, 0.6, 1, 0.9] * 8)
    assert result.method == "t"
    assert result.observed == pytest.approx(0.86)
    # .86 - t(.95, 39) * sd / sqrt(40), scipy.stats.t
    assert result.bound_low == pytest.approx(0.819621, abs=1e-6)


def test_few_scores_get_hoeffdings_bound():
    result = judge(Gate("score", 0.5), [0.9] * 20)
    assert result.method == "hoeffding"
    assert result.bound_low == pytest.approx(0.626334, abs=1e-6)  # .9 - sqrt(ln 20 / 40)
    assert result.verdict == "pass"


def test_samples_of_one_item_are_averaged_first():
    scores = np.array([[1.0, 0.0], [1.0, 1.0]] * 20)
    result = judge(Gate("score", 0.5), scores)
    assert result.n == 40
    assert result.method == "t"
    expected = stats.t.ppf(0.05, 39, 0.75, scores.mean(axis=1).std(ddof=1) / np.sqrt(40))
    assert result.bound_low == pytest.approx(expected, abs=1e-12)


def test_an_item_without_a_score_leaves_the_gate_open():
    result = judge(Gate("score", 0.5), [1.0, np.nan, 1.0])
    assert result.verdict == "not_computed"
    assert result.observed is None
    assert result.bound_low is None
    assert "1 of 3" in result.reason


def test_scores_of_unknown_range_need_thirty_items():
    result = judge(Gate("length", 50.0), [60.0, 80.0])
    assert result.verdict == "not_computed"
    assert judge(Gate("length", 50.0), [60.0, 80.0] * 15).verdict == "pass"


def test_a_target_that_no_sample_can_show_is_refused():
    with pytest.raises(ValueError, match="must not be exactly 1"):
        Gate("schema_compliance", 1.0)
    with pytest.raises(ValueError, match="must not be exactly 0"):
        Gate("refusals", 0.0, direction="max")
    assert Gate("x", 0.0).target == 0.0


@pytest.mark.parametrize(
    ("target", "rate", "n"),
    [
        (0.95, 0.97, 694),
        (0.95, 0.96, 2869),
        (0.95, 0.98, 286),
        (0.95, 0.99, 124),
        (0.95, 1.0, 59),
        (0.45, 0.55, 168),
        (0.90, 0.96, 142),
    ],
)
def test_the_sample_size_is_that_of_the_exact_binomial(target, rate, n):
    assert gate_sample_size(target, rate) == n
    # The definition itself, with scipy.stats.binom: enough at n and beyond, short just before.
    for size, enough in ((n, True), (n + 1, True), (n + 60, True), (n - 1, False)):
        passing = [k for k in range(size + 1) if clopper_pearson(k, size, alpha=0.05)[0] >= target]
        power = stats.binom.pmf(passing, size, rate).sum()
        assert bool(power >= 0.8) is enough, size


def test_a_gate_on_the_most_needs_as_many_as_its_mirror():
    assert gate_sample_size(0.05, 0.02, direction="max") == 286
    with pytest.raises(ValueError, match="`expected_rate` must be above the target"):
        gate_sample_size(0.95, 0.95)
    with pytest.raises(ValueError, match="`expected_rate` must be below the target"):
        gate_sample_size(0.05, 0.06, direction="max")


@pytest.mark.parametrize("target", [0.5, 0.9, 0.95])
def test_a_model_at_the_target_passes_in_one_of_twenty_studies_at_most(target):
    sizes = np.arange(1, 501)
    chance = pass_probability(sizes, target=target, rate=target, alpha=0.05)
    assert chance.max() <= 0.05
    for n in (1, 29, 58, 59, 200, 500):  # the same, by enumerating what passes
        passing = [k for k in range(n + 1) if clopper_pearson(k, n, alpha=0.05)[0] >= target]
        assert stats.binom.pmf(passing, n, target).sum() == pytest.approx(chance[n - 1], abs=1e-12)


@settings(deadline=None, max_examples=25)
@given(n=st.integers(1, 40), target=st.sampled_from([0.2, 0.5, 0.9, 0.99]))
def test_more_successes_never_make_a_verdict_worse(n, target):
    rank = {"fail": 0, "inconclusive": 1, "pass": 2}
    verdicts = [rank[judge(Gate("x", target), ones(k, n)).verdict] for k in range(n + 1)]
    assert verdicts == sorted(verdicts)


def report(gates, scores, reasons=None):
    return judge_all(
        gates,
        {name: np.array(values, dtype=float)[:, None] for name, values in scores.items()},
        reasons=reasons or {},
        n_expected=64,
        n_produced=64,
        n_failed=0,
        checkpoint="step-000001",
    )


def test_a_report_passes_only_if_every_primary_gate_does():
    gates = (Gate("a", 0.9), Gate("b", 0.9, primary=False))
    assert report(gates, {"a": ones(64, 64), "b": ones(10, 64)}).passed
    both = (Gate("a", 0.9), Gate("b", 0.9))
    failed = report(both, {"a": ones(64, 64), "b": ones(10, 64)})
    assert (failed.verdict, failed.passed) == ("fail", False)
    assert report(both, {"a": ones(64, 64), "b": ones(60, 64)}).verdict == "inconclusive"


def test_what_was_not_computed_never_passes():
    result = report(
        (Gate("a", 0.9), Gate("b", 0.9)), {"a": ones(64, 64)}, {"b": "needs a `schema`"}
    )
    assert (result.verdict, result.passed) == ("not_computed", False)
    assert result.gates[1].observed is None
    assert "not computed: needs a" in result.markdown()
    assert result.joint_pass_rate is None


def test_the_joint_rate_counts_outputs_right_by_every_gate():
    gates = (Gate("a", 0.5), Gate("b", 0.5))
    result = report(gates, {"a": ones(40, 64), "b": ones(40, 64)[::-1]})
    assert result.joint_pass_rate == 16 / 64  # 40 + 40 - 64 overlap
    assert result.joint_bound_low == pytest.approx(stats.beta.ppf(0.05, 16, 49), abs=1e-12)


def test_a_result_survives_storage():
    result = judge(Gate("x", 0.9), ones(60, 64))
    assert GateResult.from_dict(result.to_dict()) == result
    assert pickle.loads(pickle.dumps(result)) == result
    assert result.to_dict()["schema"] == "crucible-lora/gate-result/1"
    with pytest.raises(ValueError, match="must hold fields of GateResult"):
        GateResult.from_dict({**result.to_dict(), "extra": 1})


def test_the_examples_are_true():
    for module, examples in ((judging, 3), (power, 1)):
        result = doctest.testmod(module)
        assert (result.attempted, result.failed) == (examples, 0)
