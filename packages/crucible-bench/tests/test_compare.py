import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from crucible_bench import compare, compare_paired
from crucible_bench.errors import PseudoReplicationError, UnmatchedPairsError

CONTROL = [0.89, 0.87, 0.90, 0.88, 0.91]
TREATMENT = [0.96, 0.97, 0.94, 0.95, 0.98]


def counts(both, control_only, treatment_only, neither):
    control = [1] * both + [1] * control_only + [0] * treatment_only + [0] * neither
    treatment = [1] * both + [0] * control_only + [1] * treatment_only + [0] * neither
    return control, treatment


def test_welch_gives_the_numbers_of_the_project_example():
    # Closed form: means .89 and .96, both variances .00025, so t = .07 / sqrt(.0001) with 8 df.
    result = compare(CONTROL, TREATMENT)
    assert result.statistic == pytest.approx(7.0, abs=1e-9)
    assert result.df == pytest.approx((8.0,))
    assert result.p_value == pytest.approx(0.000113, abs=5e-7)
    assert result.effect_size.value == pytest.approx(4.427, abs=5e-4)
    interval = result.confidence_interval
    assert (interval.low, interval.high) == pytest.approx((0.0469, 0.0931), abs=5e-5)


@given(st.lists(st.floats(-100, 100), min_size=3, max_size=30), st.integers(0, 2**31))
def test_welch_agrees_with_scipy(x, seed):
    y = np.random.default_rng(seed).normal(size=len(x) + 3)
    if np.std(x) < 1e-6:
        return
    ours, theirs = compare(x, y), stats.ttest_ind(y, x, equal_var=False)
    assert ours.statistic == pytest.approx(float(theirs.statistic), rel=1e-10, abs=1e-10)
    assert ours.p_value == pytest.approx(float(theirs.pvalue), rel=1e-8, abs=1e-12)
    low, high = theirs.confidence_interval()
    assert ours.confidence_interval.low == pytest.approx(low, rel=1e-8, abs=1e-10)
    assert ours.confidence_interval.high == pytest.approx(high, rel=1e-8, abs=1e-10)


def test_paired_t_agrees_with_scipy():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 25))
    ours, theirs = compare_paired(x, y), stats.ttest_rel(y, x)
    assert ours.statistic == pytest.approx(float(theirs.statistic), rel=1e-12)
    assert ours.p_value == pytest.approx(float(theirs.pvalue), rel=1e-10)
    assert ours.difference == pytest.approx(np.mean(y) - np.mean(x))


def test_graded_gsm8k_solutions_give_the_published_mid_p_and_tango_interval():
    # OpenAI's graded GSM8K solutions, two of the four models: 306 / 209 / 152 / 652.
    # mid-p 2 * (P(X <= 152) - P(X = 152) / 2), X ~ Binomial(361, 1/2); Tango by its equation.
    result = compare_paired(*counts(306, 209, 152, 652))
    assert result.difference == pytest.approx(-0.043214556, abs=1e-9)
    assert result.p_value == pytest.approx(0.002687391, abs=1e-9)
    interval = result.confidence_interval
    assert (interval.low, interval.high) == pytest.approx((-0.071458, -0.015052), abs=1e-6)
    assert compare_paired(*counts(306, 209, 152, 652), sesoi=0.01).verdict.outcome == "inferior"
    verdict = compare_paired(*counts(306, 209, 152, 652), sesoi=0.02).verdict
    assert (verdict.outcome, verdict.excludes_zero) == ("inconclusive", True)


def test_the_exact_mcnemar_p_is_the_binomial_test():
    result = compare_paired(*counts(30, 6, 14, 10), test="mcnemar_exact")
    assert result.p_value == pytest.approx(float(stats.binomtest(14, 20).pvalue), rel=1e-12)


def test_equal_repeats_change_nothing():
    control, treatment = (np.array(arm, dtype=float) for arm in counts(20, 6, 14, 10))
    once = compare_paired(control, treatment)
    thrice = compare_paired(np.tile(control[:, None], 3), np.tile(treatment[:, None], 3))
    assert thrice.p_value == pytest.approx(once.p_value)
    assert thrice.confidence_interval == once.confidence_interval
    assert thrice.icc == pytest.approx(1.0)


def test_no_discordant_pair_is_no_evidence_and_still_an_interval():
    result = compare_paired(*counts(10, 0, 0, 10))
    assert result.p_value == 1.0
    assert result.confidence_interval.low < 0 < result.confidence_interval.high
    assert result.effect_sizes["odds_ratio"].value is None


def test_too_few_discordant_pairs_say_that_alpha_is_out_of_reach():
    # mid-p of 4 against 0: 2 * 0.5**4 / 2 = .0625
    result = compare_paired(*counts(10, 0, 4, 10))
    assert result.p_value == pytest.approx(0.0625)
    assert any("cannot reach alpha" in warning for warning in result.warnings)


def test_mcnemar_and_tango_keep_their_promise_in_simulation():
    # 2,000 A/A experiments of 60 items, discordance .3: type-I within 3 standard errors of .05
    # (mid-p may be slightly below), Tango's coverage within [.93, .97].
    rng = np.random.default_rng(7)
    rejected = covered = 0
    for _ in range(2_000):
        difficulty = rng.random(60)
        control, treatment = rng.random((2, 60)) < difficulty
        result = compare_paired(control, treatment)
        rejected += result.p_value <= 0.05
        covered += result.confidence_interval.low <= 0 <= result.confidence_interval.high
    assert 0.03 <= rejected / 2_000 <= 0.065
    assert 0.93 <= covered / 2_000 <= 0.975


def test_constant_differences_have_no_p_and_say_why():
    result = compare_paired([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
    assert result.p_value is None
    assert result.effect_size.reason == "infinite"
    assert result.warnings == ("differences without variation",)
    assert result.to_dict()["p_value"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([1.0], [2.0]), "at least 2 scores, got 1"),
        (([], []), "at least 2 scores, got 0"),
        (([1, 2, math.nan], [1, 2, 3]), "NaN"),
        (([1, 2, math.inf], [1, 2, 3]), "infinity at index 2"),
        (([1, 2, 3], [1, 2]), "got 3 and 2 scores"),
        ((["a", "b"], [1, 2]), "must be numbers"),
        ((5, 6), "one dimension"),
    ],
)
def test_scores_that_cannot_be_used_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        compare_paired(*arguments)


def test_the_same_item_twice_is_refused_and_the_remedy_named():
    with pytest.raises(PseudoReplicationError, match="one row"):
        compare_paired([1, 2, 3], [1, 2, 4], ids=["a", "b", "a"])
    with pytest.raises(PseudoReplicationError, match="compare_paired"):
        compare([1, 2, 3], [1, 2, 4], ids=(["a", "b", "c"], ["c", "d", "e"]))


def test_mappings_are_matched_by_item():
    a, b = {"x": 1.0, "y": 0.0, "z": 1.0}, {"z": 0.0, "x": 1.0, "w": 1.0}
    with pytest.raises(UnmatchedPairsError, match="1 items only in control"):
        compare_paired(a, b)
    result = compare_paired(a, b, missing="drop")
    assert (result.n_pairs, result.n_dropped) == (2, 2)


@pytest.mark.parametrize("statement", ["import crucible_bench", "from crucible_bench import *"])
def test_importing_the_package_and_every_name_loads_no_scipy(statement):
    heavy = {
        "scipy",
        "pandas",
        "statsmodels",
        "torch",
        "transformers",
        "pyarrow",
        "datasets",
        "ray",
        "altair",
    }
    code = f"{statement}; import sys; print(sorted({heavy!r} & {{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_its_extras_the_package_analyses_and_only_names_what_it_lacks():
    code = (
        "import sys\n"
        "for name in ('statsmodels', 'statsmodels.api', 'pandas', 'altair', 'pingouin'):\n"
        "    sys.modules[name] = None\n"
        "import csv, io\n"
        "from crucible_bench import bootstrap, compare, compare_multiple, compare_paired, describe, sample_size\n"
        "from crucible_bench.power import McNemar\n"
        "text = 'question,a,b\\n' + ''.join(f'q{i},{i % 3 > 0:d},{i % 4 > 0:d}\\n' for i in range(60))\n"
        "rows = list(csv.DictReader(io.StringIO(text)))\n"
        "a, b = ({r['question']: float(r[m]) for r in rows} for m in 'ab')\n"
        "found = compare_paired(a, b, sesoi=0.1)\n"
        "x, y = list(a.values()), list(b.values())\n"
        "compare(x, y); compare_multiple({'a': x, 'b': y, 'c': y[::-1]}, paired=True); describe(x)\n"
        "bootstrap('mean', x, rng=1); sample_size(McNemar(0.3), effect=0.1)\n"
        "print(found.n_pairs, len(found._repr_html_()) > 500)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "60 True"
