"""Several groups, equivalence, and studies made of them."""

import json

import numpy as np
import pytest
from scipy import stats

from crucible_bench import compare
from crucible_bench.errors import PseudoReplicationError
from crucible_bench.multiple import MultipleComparison, compare_multiple
from crucible_bench.post_hoc import dunnett, games_howell, tukey_hsd
from crucible_bench.studies import ab_test, ablation, pareto_front, sweep
from crucible_bench.tables import paired_table
from crucible_bench.tost import equivalence, non_inferiority

# R's `PlantGrowth` and `sleep`.
PLANTS = {
    "ctrl": [4.17, 5.58, 5.18, 6.11, 4.50, 4.61, 5.17, 4.53, 5.33, 5.14],
    "trt1": [4.81, 4.17, 4.41, 3.59, 5.87, 3.83, 6.03, 4.89, 4.32, 4.69],
    "trt2": [6.31, 5.12, 5.54, 5.50, 5.37, 5.29, 4.92, 6.15, 5.80, 5.26],
}
SLEEP = (
    [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0],
    [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4],
)


def test_tukey_games_howell_and_dunnett_give_rs_numbers():
    # R 4.3: TukeyHSD, rstatix::games_howell_test, multcomp (Dunnett, Monte Carlo, +- .001)
    tukey = [t.p_value for t in tukey_hsd(PLANTS).values()]
    assert tukey == pytest.approx([0.3908711, 0.1979960, 0.0120064], abs=1e-7)
    games = games_howell(PLANTS)["trt1", "trt2"]
    assert games.p_value == pytest.approx(0.0237035, abs=1e-7)
    assert (games.interval.low, games.interval.high) == pytest.approx(
        (0.113513, 1.616487), abs=1e-6
    )
    found = [t.p_value for t in dunnett(PLANTS, control="ctrl").values()]
    assert found == pytest.approx([0.3227, 0.1535], abs=1e-3)


def test_dunnett_with_one_treatment_is_students_t():
    two = {"a": PLANTS["ctrl"], "b": PLANTS["trt2"]}
    (test,) = dunnett(two, control="a").values()
    theirs = stats.ttest_ind(two["b"], two["a"])
    assert test.p_value == pytest.approx(float(theirs.pvalue), rel=1e-7)
    low, high = theirs.confidence_interval()
    assert (test.interval.low, test.interval.high) == pytest.approx((low, high), rel=1e-7)


def test_independent_groups_get_welch_and_games_howell():
    result = compare_multiple(PLANTS, paired=False, sesoi=0.1)
    assert result.omnibus.name == "welch_anova"
    assert result.post_hoc == "games_howell"
    assert [t.name for t in result.robustness] == ["kruskal_wallis"]
    assert [c.p_adjusted for c in result.comparisons][2] == pytest.approx(0.0237035, abs=1e-7)
    assert result.comparisons[2].verdict.outcome == "superior"
    assert [c.significant for c in result.comparisons] == [False, False, True]


def test_a_control_gets_dunnett():
    result = compare_multiple(PLANTS, paired=False, control="trt1")
    assert result.post_hoc == "dunnett"
    assert [(c.control.label, c.treatment.label) for c in result.comparisons] == [
        ("trt1", "ctrl"),
        ("trt1", "trt2"),
    ]


@pytest.mark.parametrize("post_hoc", ["tukey_hsd", "dunn", "pairwise"])
def test_other_pairwise_methods_keep_signs_and_never_lower_p(post_hoc):
    result = compare_multiple(PLANTS, paired=False, post_hoc=post_hoc)
    means = {name: np.mean(g) for name, g in PLANTS.items()}
    for c in result.comparisons:
        assert np.sign(c.difference) == np.sign(means[c.treatment.label] - means[c.control.label])
        assert c.p_adjusted >= c.p_value


def test_paired_binary_systems_get_cochran_and_mcnemar_with_holm():
    rng = np.random.default_rng(4)
    easy = rng.random(80)
    data = {
        name: (rng.random(80) < easy + shift).astype(float)
        for name, shift in (("a", 0), ("b", 0.05), ("c", 0.3))
    }
    result = compare_multiple(data, paired=True)
    assert (result.omnibus.name, result.post_hoc) == ("cochran_q", "pairwise")
    assert {c.test for c in result.comparisons} == {"mcnemar_midp"}
    assert result.correction.method == "holm"
    # Bonferroni-simultaneous: 1 - .05 / 3
    assert result.comparisons[0].confidence_interval.level == pytest.approx(1 - 0.05 / 3)
    text = json.dumps(result.to_dict(), allow_nan=False)
    assert MultipleComparison.from_dict(json.loads(text)) == result
    assert "<td>a</td>" in result._repr_html_()
    assert r"\midrule" in result.latex()
    assert result.markdown().count("\n") == 5


def test_paired_scores_in_clusters_skip_the_omnibus():
    data = {name: np.random.default_rng(i).normal(size=24) for i, name in enumerate("abc")}
    result = compare_multiple(data, paired=True, cluster=np.repeat(np.arange(6), 4))
    assert result.omnibus is None
    assert {c.test for c in result.comparisons} == {"cluster_t"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"control": "nobody"}, "`control` must be one of ctrl"),
        ({"test": "friedman"}, "`test` must be default or one of welch_anova"),
        ({"test": "chi_square"}, "needs scores of 0 and 1"),
        ({"post_hoc": "dunnett"}, "`control` must be named"),
        ({"post_hoc": "lsd"}, "`post_hoc` must be one of"),
        ({"sesoi": -1.0}, "`sesoi` must be > 0"),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        compare_multiple(PLANTS, paired=False, **arguments)


def test_equivalence_gives_published_numbers():
    # spec of the package; statsmodels ttost_ind(usevar="unequal") and ttost_paired agree
    assert equivalence(*SLEEP, margin=4, paired=False).p_value == pytest.approx(
        0.005361624, abs=1e-9
    )
    paired = equivalence(*SLEEP, margin=2.5, paired=True)
    assert paired.p_value == pytest.approx(0.021116860, abs=1e-9)
    assert (paired.interval.low, paired.interval.high) == pytest.approx(
        (0.866995, 2.293005), abs=1e-6
    )
    shares = equivalence([1] * 88 + [0] * 12, [1] * 90 + [0] * 10, margin=0.1, paired=False)
    assert (shares.statistic_lower, shares.statistic_upper) == pytest.approx(
        (2.544555, -1.731200), abs=1e-6
    )
    assert shares.p_value == pytest.approx(0.041708, abs=1e-6)


@pytest.mark.parametrize("margin", [0.5, 1.0, 2.0, 2.293, 2.2931, 4.0])
def test_equivalence_agrees_with_its_interval(margin):
    result = equivalence(*SLEEP, margin=margin, paired=True)
    assert result.equivalent == (-margin < result.interval.low and result.interval.high < margin)


def test_non_inferiority_is_one_side_of_equivalence_and_knows_the_direction():
    both = equivalence(*SLEEP, margin=4, paired=False)
    assert non_inferiority(*SLEEP, margin=4, paired=False).p_value == both.p_lower
    worse = non_inferiority(*SLEEP, margin=1, paired=True, higher_is_better=False)
    assert not worse.non_inferior  # latencies rose by 1.58


def test_a_margin_must_hold_zero():
    for margin in (0, -1, (0.1, 0.2), float("inf")):
        with pytest.raises(ValueError, match="`margin` must be > 0"):
            equivalence(*SLEEP, margin=margin, paired=True)


def test_graded_gsm8k_solutions_are_equivalent_within_eight_points():
    # OpenAI's graded GSM8K solutions: (306, 209, 152, 652) and (198, 88, 260, 773)
    assert paired_table(306, 209, 152, 652, sesoi=0.08).verdict.outcome == "equivalent"
    better = paired_table(198, 88, 260, 773, sesoi=0.05)
    assert better.verdict.outcome == "superior"
    assert better.confidence_interval.low == pytest.approx(0.103708, abs=1e-6)


def test_an_ab_test_recommends_what_its_verdict_allows():
    rng = np.random.default_rng(0)
    a = rng.normal(size=400)
    b = a + 0.5 + rng.normal(scale=0.1, size=400)
    assert ab_test(
        a, b, name="x", paired=True, sesoi=0.2, labels=("old", "new")
    ).recommendation.startswith("Use new")
    same = ab_test(a, b - 0.5, name="x", paired=True, sesoi=0.2, unit="points")
    assert "less than 0.2 points" in same.recommendation
    few = ab_test(a[:5], rng.normal(size=5), name="x", paired=False, sesoi=0.2)
    assert few.recommendation.startswith("Collect more data")


def test_an_ablation_ranks_components_by_what_is_lost():
    rng = np.random.default_rng(1)
    full = rng.normal(10, 1, size=60)
    noise = lambda: rng.normal(scale=0.2, size=60)  # noqa: E731
    result = ablation(
        full, {"tools": full - 2 + noise(), "memory": full + noise(), "plan": full - 1 + noise()}
    )
    assert [c.name for c in result.components] == ["tools", "plan", "memory"]
    top = result.components[0]
    assert top.importance == -top.comparison.difference == pytest.approx(2, abs=0.1)
    assert top.relative_change == pytest.approx(-0.2, abs=0.02)
    assert result.correction.family == "components"
    zero = ablation(np.tile([-1.0, 1.0], 5), {"x": np.arange(10.0)})
    assert zero.components[0].relative_change is None


def test_a_sweep_does_not_believe_in_its_best():
    # 8 equal configurations: the best mean is too good by chance, and nearly all stay in the race.
    rng = np.random.default_rng(2)
    data = {f"c{i}": rng.normal(size=50) for i in range(8)}
    result = sweep(data, n_resamples=400, rng=0)
    assert result.optimism > 0.1
    assert len(result.indistinguishable_from_best) == 7
    assert all(sum(p) == pytest.approx(1) for p in result.rank_probabilities.values())
    ranks = np.array(list(result.rank_probabilities.values()))
    assert ranks.sum(axis=0) == pytest.approx(np.ones(8))
    assert sweep(data, n_resamples=400, rng=0) == result


def test_equal_configurations_share_their_ranks():
    x = np.arange(20.0)
    result = sweep({"a": x, "b": x + 0.0, "c": x - np.linspace(1, 3, 20)}, n_resamples=50, rng=0)
    assert result.rank_probabilities["a"] == pytest.approx((0.5, 0.5, 0.0))
    assert result.rank_probabilities["c"] == pytest.approx((0.0, 0.0, 1.0))


def test_the_pareto_front_leaves_out_what_is_dominated():
    cost = np.array([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0], [3.0, 3.0, 3.0]])
    score = np.array([[0.0, 1.0, 0.0], [1.0, 1.0, 1.0], [1.0, 0.0, 1.0]])
    front = pareto_front(cost, score, names=["small", "medium", "large"], n_resamples=50, rng=1)
    assert [point.name for point in front] == ["small", "medium"]
    assert front[1].probability > 0.9  # it is as good as "small" where only item 1 is drawn


def test_equivalence_reads_the_input_that_comparisons_read():
    a, b = SLEEP
    plain = equivalence(a, b, margin=3, paired=True)
    keyed = (
        {f"q{i}": v for i, v in enumerate(a)},
        {f"q{i}": v for i, v in reversed(list(enumerate(b)))},
    )
    assert equivalence(*keyed, margin=3, paired=True) == plain
    holed = [float("nan"), *a[1:]]
    assert equivalence(holed, b, margin=3, paired=True, nan="omit") == equivalence(
        a[1:], b[1:], margin=3, paired=True
    )
    apart = equivalence(holed, b, margin=3, paired=False, nan="omit")
    assert apart == equivalence(a[1:], b, margin=3, paired=False)
    with pytest.raises(PseudoReplicationError, match="compare_paired"):
        non_inferiority(*keyed, margin=3, paired=False)
    with pytest.raises(PseudoReplicationError):
        equivalence(a, b, margin=3, paired=True, ids=["x"] * 10)
    with pytest.raises(ValueError, match='`missing` must be "raise" for independent arms'):
        equivalence(a, b, margin=3, paired=False, missing="drop")


def test_a_missing_score_leaves_its_cluster_label_out_too():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 12))
    x[4] = np.nan
    g, h = np.arange(12) // 2, 10 + np.arange(12) // 2
    found = compare(x, y, cluster=(g, h), nan="omit")
    kept = np.delete(np.arange(12), 4)
    assert found.p_value == compare(x[kept], y, cluster=(g[kept], h)).p_value
    assert (found.control.n, found.control.n_missing) == (11, 1)
    assert found.icc is not None
