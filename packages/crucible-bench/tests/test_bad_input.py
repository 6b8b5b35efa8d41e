"""What cannot be answered is said, never crashed over and never a silent 0 or NaN."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import crucible_bench
from crucible_bench import bootstrap, compare, compare_multiple, compare_paired, describe
from crucible_bench.results import Comparison

SEP = (np.arange(20.0), np.arange(20.0) + 100)


def through_json(result):
    text = json.dumps(result.to_dict(), allow_nan=False)
    assert type(result).from_dict(json.loads(text)) == result
    for shown in (
        result.apa(),
        result.interpretation,
        result.markdown(),
        result.latex(),
        result._repr_html_(),
    ):
        assert "nan" not in shown
    return result


@pytest.mark.parametrize(
    ("make", "p", "said"),
    [
        (lambda: compare([2.0] * 3, [2.0] * 3, sesoi=0.1), None, "no variation"),
        (lambda: compare([2.0] * 3, [3.0] * 3), None, "differences without variation"),
        (lambda: compare_paired([2.0] * 3, [2.0] * 3), None, "no variation"),
        # 2 of C(8, 4) arrangements; 2 of 2^3 signs
        (lambda: compare([2.0] * 4, [3.0] * 4, test="permutation"), 2 / 70, "infinite"),
        (lambda: compare_paired([2.0] * 3, [3.0] * 3, test="permutation"), 0.25, "cannot reach"),
        # Wilcoxon n = 5, all positive: 2 / 2^5
        (
            lambda: compare_paired(np.zeros(5), np.arange(1.0, 6), test="wilcoxon"),
            0.0625,
            "cannot reach alpha",
        ),
        (lambda: compare_paired([0, 1, 1], [0, 1, 1]), 1.0, ""),
        (lambda: compare(*SEP, estimand="dominance"), None, "do not overlap"),
        (lambda: compare([0, 1, 2, 2], [0, 1, 2, 2], test="mann_whitney"), 1.0, ""),
    ],
)
def test_degenerate_scores_are_explained(make, p, said):
    result = through_json(make())
    assert result.p_value == (p if p is None else pytest.approx(p))
    assert said in " ".join(result.warnings)
    assert not (p is None and result.significant)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: compare([1, math.nan], [1, 2]), "got 1, the first at index 1"),
        (lambda: compare([math.nan] * 3, [1, 2, 4], nan="omit"), "at least 2 scores, got 0"),
        (lambda: compare([1e200, 2e200], [1, 2]), "within"),
        (
            lambda: compare([1, 2], [1, 2], confidence=1.5),
            r"`confidence` must be in \(0, 1\), got 1.5",
        ),
        (lambda: compare([1, 2], [1, 2], sesoi=0), "`sesoi` must be > 0, got 0"),
        (lambda: compare([1, 2], [1, 2], confidence=0.4, sesoi=1), "must be > 0.5 for a verdict"),
        (lambda: compare([1, 2], [1, 2], alternative="both"), "`alternative` must be"),
        (lambda: compare([1, 2], [1, 3], test="mcnemar"), "`test` must be one of default"),
        (
            lambda: compare_paired([1, 2, 3], [1, 3, 2], test="mcnemar_midp"),
            "needs scores of 0 and 1",
        ),
        (lambda: compare([1, 2], [1, 3], estimand="median"), "`estimand` must be"),
        (lambda: compare([1, 2], [1, 3], ids=(["a"], ["b", "c"])), "one id per score, got 1 for 2"),
        (lambda: compare_paired([1, 2], [1, 3], cluster=[1]), "one label per item, got 1 for 2"),
        (lambda: bootstrap("mean", [1.0], rng=0), "at least 2 scores, got 1"),
        (lambda: describe([math.inf, 1.0]), "infinity at index 0"),
    ],
)
def test_bad_arguments_are_named_with_rule_and_value(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_omitted_scores_are_counted():
    result = compare([1, math.nan, 3, 4], [1, 2, 4], nan="omit")
    assert (result.control.n, result.control.n_missing) == (3, 1)
    paired = compare_paired([1, math.nan, 3, 4], [1, 2, 4, 6], nan="omit")
    assert (paired.n_pairs, paired.n_dropped) == (3, 1)


def test_equal_systems_make_a_family_without_p():
    result = compare_multiple({"a": [1.0, 2, 3], "b": [1.0, 2, 3]}, paired=True)
    assert result.correction is None
    assert result.comparisons[0].p_value is None


SCORES = st.lists(st.integers(0, 40), min_size=4, max_size=15)


@given(SCORES, st.floats(0.1, 50), st.floats(-100, 100), st.integers(0, 99))
def test_affine_maps_leave_p_and_d(x, scale, shift, seed):
    x = np.array(x, dtype=float)
    y = x + np.random.default_rng(seed).normal(size=x.size)
    for call in (compare, compare_paired):
        a, b = call(x, y), call(scale * x + shift, scale * y + shift)
        assert b.p_value == pytest.approx(a.p_value, rel=1e-6, abs=1e-12)
        assert b.effect_size.value == pytest.approx(a.effect_size.value, rel=1e-6, abs=1e-9)


def test_a_posterior_and_a_detectable_effect_come_from_the_counts():
    # spec of the package: graded GSM8K solutions (306, 209, 152, 652)
    result = crucible_bench.compare_paired(
        [1] * 515 + [0] * 804, [1] * 306 + [0] * 209 + [1] * 152 + [0] * 652
    )
    assert result.bayes(rope=0.02).probability_in_rope == pytest.approx(0.053218, abs=1e-6)
    assert 0.03 < result.detectable_effect() < 0.05
    with pytest.raises(ValueError, match="0/1 scores"):
        compare([1.0, 2.0, 3.0], [2.0, 3.0, 5.0]).bayes()


def test_the_worked_example_is_told_in_words():
    result = compare([0.89, 0.87, 0.90, 0.88, 0.91], [0.96, 0.97, 0.94, 0.95, 0.98])
    assert result.apa() == "t(8) = 7.00, p < .001, d = 4.43, 95% CI [1.93, 6.86]"
    for words in (
        "0.890",
        "0.960",
        "SD 0.016",
        "n = 5",
        "[0.047, 0.093]",
        '"very large"',
        "hardly known",
    ):
        assert words in result.interpretation
    names = [test.name for test in result.robustness]
    assert names == ["mann_whitney", "yuen_t"]
    assert result.agreement is True


def test_a_stored_comparison_of_another_schema_is_refused():
    data = compare([1.0, 2.0], [2.0, 4.0]).to_dict()
    with pytest.raises(ValueError, match=r"crucible.bench.comparison/1"):
        Comparison.from_dict({**data, "schema": "crucible.bench.interval/1"})
    with pytest.raises(ValueError, match="missing or unknown"):
        Comparison.from_dict({**data, "extra": 1})


def test_every_name_at_the_root_is_there_and_sorted():
    assert list(crucible_bench.__all__) == sorted(crucible_bench.__all__)
    assert len(crucible_bench.__all__) == 20
    for name in crucible_bench.__all__:
        assert getattr(crucible_bench, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        crucible_bench.nothing  # noqa: B018
    assert set(crucible_bench.__all__) <= set(dir(crucible_bench))
