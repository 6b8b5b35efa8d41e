"""What must hold for all scores: symmetry, order, nesting, duality, and JSON without a NaN."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from crucible_bench import anova, compare, compare_multiple, compare_paired, correct, means, tables
from crucible_bench.intervals import tango
from crucible_bench.post_hoc import tukey_hsd
from crucible_bench.ranks import kruskal_wallis, mann_whitney
from crucible_bench.tables import cochran_q, mcnemar

SCORES = st.lists(st.integers(0, 40), min_size=3, max_size=14)
BITS = st.lists(st.integers(0, 1), min_size=2, max_size=30)
SEEDS = st.integers(0, 9_999)
COUNTS = st.integers(0, 25)
LEVELS = st.floats(0.6, 0.98)
INDEPENDENT = ["default", "welch_t", "student_t", "mann_whitney", "brunner_munzel", "permutation"]
PAIRED = ["default", "paired_t", "wilcoxon", "permutation"]


def ends(interval):
    low = -math.inf if interval.low is None else interval.low
    return low, math.inf if interval.high is None else interval.high


def partner(x, seed):
    return np.array(x, dtype=float) + np.random.default_rng(seed).integers(-5, 6, size=len(x))


def mirrored(forward, backward):
    assert backward.difference == pytest.approx(-forward.difference, abs=1e-12)
    assert (backward.p_value is None) == (forward.p_value is None)
    if forward.p_value is not None:
        assert backward.p_value == pytest.approx(forward.p_value, rel=1e-8, abs=1e-13)
    assert (backward.confidence_interval is None) == (forward.confidence_interval is None)
    if forward.confidence_interval is not None:
        low, high = ends(forward.confidence_interval)
        assert ends(backward.confidence_interval) == pytest.approx((-high, -low), abs=1e-8)


@given(SCORES, SCORES, st.sampled_from(INDEPENDENT))
def test_swapping_independent_arms_mirrors(x, y, test):
    mirrored(_compare(x, y, test), _compare(y, x, test))


def _compare(x, y, test):
    # few enough to be enumerated, so that both directions see the same arrangements
    if test == "permutation":
        x, y = x[:5], y[:5]
    return compare(x, y, test=test, robustness=False)


@given(BITS, BITS)
def test_swapping_independent_shares_mirrors(x, y):
    mirrored(compare(x, y, robustness=False), compare(y, x, robustness=False))


@given(SCORES, SEEDS, st.sampled_from(PAIRED))
def test_swapping_paired_arms_mirrors(x, seed, test):
    x, y = np.array(x, dtype=float)[:12], partner(x, seed)[:12]
    mirrored(
        compare_paired(x, y, test=test, robustness=False),
        compare_paired(y, x, test=test, robustness=False),
    )


@given(COUNTS, COUNTS, COUNTS, st.integers(1, 25), st.sampled_from(["mid-p", "exact", "asymptotic"]))  # fmt: skip
def test_swapping_paired_shares_mirrors(both, lost, won, neither, kind):
    name = {"mid-p": "mcnemar_midp", "exact": "mcnemar_exact"}.get(kind, "mcnemar_asymptotic")
    assume(both + lost + won + neither >= 2)
    mirrored(
        tables.paired_table(both, lost, won, neither, test=name),
        tables.paired_table(both, won, lost, neither, test=name),
    )


@given(SCORES, SCORES, SEEDS)
def test_the_order_of_items_is_nothing(x, y, seed):
    rng = np.random.default_rng(seed)
    first, second = _compare(x, y, "welch_t"), _compare(rng.permutation(x), rng.permutation(y), "welch_t")  # fmt: skip
    assert (first.p_value is None) == (second.p_value is None)
    if first.p_value is not None:
        assert second.p_value == pytest.approx(first.p_value, rel=1e-9)
    z, order = partner(x, seed), rng.permutation(len(x))
    a = compare_paired(x, z, robustness=False)
    b = compare_paired(np.array(x)[order], z[order], robustness=False)
    assert (a.p_value is None) == (b.p_value is None)
    if a.p_value is not None:
        assert b.p_value == pytest.approx(a.p_value, rel=1e-9)


@given(SCORES, SCORES, LEVELS, st.floats(0.001, 0.015))
def test_more_confidence_holds_less(x, y, level, more):
    for test in ("welch_t", "student_t", "mann_whitney", "brunner_munzel"):
        narrow = compare(x, y, test=test, confidence=level, robustness=False).confidence_interval
        wide = compare(x, y, test=test, confidence=level + more, robustness=False).confidence_interval  # fmt: skip
        if narrow is None:
            assert wide is None
            continue
        assert ends(wide)[0] <= ends(narrow)[0] + 1e-9
        assert ends(wide)[1] >= ends(narrow)[1] - 1e-9


@given(COUNTS, COUNTS, st.integers(0, 40), LEVELS, st.floats(0.001, 0.015))
def test_more_confidence_holds_less_of_shares(lost, won, rest, level, more):
    assume(lost + won + rest >= 1)
    narrow = tango(lost, won, lost + won + rest, confidence=level)
    wide = tango(lost, won, lost + won + rest, confidence=level + more)
    assert wide.low <= narrow.low + 1e-12 <= narrow.high <= wide.high + 1e-9
    one = tables.two_proportions((lost, 25), (won, 25), confidence=level).interval
    two = tables.two_proportions((lost, 25), (won, 25), confidence=level + more).interval
    assert two.low <= one.low + 1e-12
    assert one.high <= two.high + 1e-12


@settings(max_examples=30)
@given(SCORES, SCORES, SEEDS, LEVELS)
def test_p_and_interval_are_two_sides_of_one_thing(x, y, seed, level):
    alpha = 1 - level
    z = partner(x, seed)
    found = [means.welch_t(x, y, confidence=level), means.paired_t(x, z, confidence=level)]
    found += tukey_hsd({"a": x, "b": y, "c": z}, confidence=level).values()
    for test in found:
        if test.p_value is None or abs(test.p_value - alpha) < 1e-7:
            continue
        low, high = ends(test.interval)
        assert (test.p_value <= alpha) == (low > 0 or high < 0)


@given(COUNTS, COUNTS, st.integers(0, 60), LEVELS)
def test_asymptotic_mcnemar_is_the_dual_of_tango(lost, won, rest, level):
    assume(lost + won >= 1)
    test = mcnemar(lost, won, pairs=lost + won + rest, kind="asymptotic", confidence=level)
    assume(abs(test.p_value - (1 - level)) > 1e-9)
    assert (test.p_value <= 1 - level) == (test.interval.low > 0 or test.interval.high < 0)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(20, 30), st.integers(20, 30), LEVELS)
def test_the_score_test_is_the_dual_of_miettinen_nurminen(x, y, n0, n1, level):
    test = tables.two_proportions((x, n0), (y, n1), confidence=level)
    assume(abs(test.p_value - (1 - level)) > 1e-9)
    assert (test.p_value <= 1 - level) == (test.interval.low > 0 or test.interval.high < 0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_corrections_are_ordered(p):
    adjusted = [
        np.array(correct(p, method=method, family="f").adjusted)
        for method in ("none", "benjamini_hochberg", "hochberg", "holm", "bonferroni")
    ]
    for less, more in itertools.pairwise(adjusted):
        assert (less <= more + 1e-12).all()
    assert (adjusted[-1] <= 1).all()


@given(SCORES, SCORES, SEEDS)
def test_tests_of_two_groups_are_the_two_group_tests(x, y, seed):
    z = partner(x, seed)
    welch = means.welch_t(x, y)
    if welch.p_value is not None and np.ptp(x) > 0 and np.ptp(y) > 0:
        student = means.student_t(x, y)
        assert anova.one_way_anova([x, y]).statistic == pytest.approx(student.statistic**2, abs=1e-12)  # fmt: skip
        assert anova.welch_anova([x, y]).statistic == pytest.approx(welch.statistic**2, abs=1e-12)
        assert anova.welch_anova([x, y]).p_value == pytest.approx(welch.p_value, rel=1e-8)
        u = mann_whitney(x, y, method="asymptotic")
        # without continuity: z = (U - n0 n1 / 2) / sd, H = z^2
        ranks = stats.rankdata(np.r_[x, y])
        n0, n1, n = len(x), len(y), len(x) + len(y)
        sd = math.sqrt(n0 * n1 / (n * (n - 1)) * float(((ranks - (n + 1) / 2) ** 2).sum()))
        h = ((u.statistic - n0 * n1 / 2) / sd) ** 2
        assert kruskal_wallis([x, y]).statistic == pytest.approx(h, abs=1e-9)
    paired = means.paired_t(x, z)
    if paired.p_value is not None:
        assert anova.rm_anova([x, z]).statistic == pytest.approx(paired.statistic**2, abs=1e-12)
        clustered = compare_paired(x, z, cluster=np.arange(len(x)), robustness=False)
        assert clustered.p_value == pytest.approx(paired.p_value, rel=1e-8)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_cochran_of_two_is_asymptotic_mcnemar(both, lost, won, neither):
    sizes = (both, lost, won, neither)
    assume(lost + won >= 1 and sum(sizes) >= 2)
    columns = np.repeat([1, 1, 0, 0], sizes), np.repeat([1, 0, 1, 0], sizes)
    test = mcnemar(lost, won, pairs=sum(sizes), kind="asymptotic")
    q = cochran_q(columns)
    assert q.statistic == pytest.approx(test.statistic**2)
    assert q.p_value == pytest.approx(test.p_value, rel=1e-9)


@settings(max_examples=25)
@given(SCORES, SEEDS, st.sampled_from([None, 1.5]), st.booleans())
def test_every_comparison_goes_through_json_without_a_nan(x, seed, sesoi, binary):
    x = np.array(x) % 2 if binary else np.array(x)
    y = np.random.default_rng(seed).permutation(x)
    for found in (
        compare(x, y, sesoi=sesoi),
        compare_paired(x, y, sesoi=sesoi),
        compare_multiple({"a": x, "b": y, "c": x[::-1]}, paired=True, sesoi=sesoi),
        compare_multiple({"a": x, "b": y}, paired=False, sesoi=sesoi),
    ):
        text = json.dumps(found.to_dict(), allow_nan=False)
        assert type(found).from_dict(json.loads(text)) == found


@settings(max_examples=40)
@given(st.dictionaries(st.text(min_size=1, max_size=4), st.integers(0, 9), min_size=3, max_size=12), SEEDS)  # fmt: skip
def test_the_order_of_a_mapping_changes_no_byte(scores, seed):
    rng = np.random.default_rng(seed)
    other = {key: value + int(rng.integers(0, 4)) for key, value in scores.items()}
    keys = list(scores)
    mixed = [keys[i] for i in rng.permutation(len(keys))]
    first = compare_paired(scores, other)
    second = compare_paired({k: scores[k] for k in mixed}, {k: other[k] for k in reversed(mixed)})
    assert json.dumps(first.to_dict()) == json.dumps(second.to_dict())


@given(st.integers(1, 60), st.floats(-6, 6))
def test_t_p_values_are_scipys(df, t):
    from crucible_bench.p_values import t_p_value

    for side in ("two-sided", "greater", "less"):
        expected = {"greater": stats.t.sf(t, df), "less": stats.t.cdf(t, df)}
        two = 2 * stats.t.sf(abs(t), df)
        assert t_p_value(t, df, side) == pytest.approx(float(expected.get(side, two)), rel=1e-10)
