"""Designs over factors, between items, and what they are compared by."""

import json

import pytest
from worlds import Replay, simulated, sums

from crucible_harness import Condition, Experiment, Hypothesis, analyse, run_sync
from crucible_harness.designs import Between, DoseResponse, Factorial


def on_factors(outcomes, factors, design, **more):
    """Return an experiment whose conditions answer as given: 1 right, 0 wrong, by item."""
    n = len(next(iter(outcomes.values())))
    data = sums(n)
    return Experiment(
        "factors",
        dataset=data,
        conditions=[
            Condition(
                name,
                Replay(name, {i.input: o for i, o in zip(data, row, strict=True)}),
                factors=factors[name],
            )
            for name, row in outcomes.items()
        ],
        seed=1,
        design=design,
        **more,
    )


def columns(rows):
    """Turn one string an item into one string a condition."""
    return ["".join(column) for column in zip(*rows.split(), strict=True)]


def test_the_slope_over_doses(options):
    # the harness specification, acceptance 4: one-sample t over items of the per-item slopes
    outcomes = dict(
        zip(("n1", "n3", "n5"), columns("011 001 111 010 000 111 011 001"), strict=True)
    )
    factors = {"n1": {"n": 1}, "n3": {"n": 3}, "n5": {"n": 5}}
    claim = Hypothesis(
        id="h1",
        metric="accuracy",
        contrast="trend",
        factors=("n",),
        sesoi=0.01,
        direction="greater",
    )
    experiment = on_factors(outcomes, factors, DoseResponse("n", (1, 3, 5)), hypotheses=[claim])
    (found,) = run_sync(experiment, options=options).analysis.hypotheses
    c = found.contrast
    assert c.estimate == pytest.approx(0.125)
    assert c.p_value == pytest.approx(0.033145500, abs=5e-10)
    assert c.interval == pytest.approx((0.013282005, 0.236717995), abs=5e-10)
    assert found.outcome == "supported"  # by more than .01 per sample
    assert "slope of accuracy over n" in found.sentence


FACTORIAL = "0101 0111 0001 1111 0100 0101 1101 0001"  # columns A0B0 A1B0 A0B1 A1B1


def test_main_effects_and_interactions_of_a_factorial_design(options):
    # the harness specification, acceptance 4
    names = ("A0B0", "A1B0", "A0B1", "A1B1")
    outcomes = dict(zip(names, columns(FACTORIAL), strict=True))
    factors = {name: {"A": name[:2], "B": name[2:]} for name in names}
    design = Factorial({"A": ("A0", "A1"), "B": ("B0", "B1")})
    experiment = on_factors(
        outcomes,
        factors,
        design,
        hypotheses=[
            Hypothesis(id="h1", metric="accuracy", contrast="main_effect", factors=("A",),
                       treatment="A1", control="A0", sesoi=0.05),
            Hypothesis(id="h2", metric="accuracy", contrast="interaction", factors=("A", "B"),
                       sesoi=0.05, direction="two-sided", family="second"),
        ],
    )  # fmt: skip
    result = run_sync(experiment, options=options)
    a, ab = result.analysis.hypotheses
    assert a.contrast.estimate == pytest.approx(0.5625)
    assert a.contrast.p_value == pytest.approx(0.001628182, abs=5e-10)
    assert a.contrast.interval == pytest.approx((0.294610, 0.830390), abs=5e-7)
    assert ab.contrast.estimate == pytest.approx(0.125)
    assert ab.contrast.p_value == pytest.approx(0.684528336, abs=5e-10)
    assert ab.contrast.interval == pytest.approx((-0.572679, 0.822679), abs=5e-7)
    assert a.outcome == "supported"
    # what was not asked is shown as exploratory: the other main effect, and no pairs
    assert [r.hypothesis.id for r in result.analysis.exploratory] == ["B: B1 vs B0"]
    assert json.loads((result.path / "analysis.json").read_text())  # every contrast is JSON-safe


def test_interactions_of_more_levels_are_set_against_the_reference(options):
    import numpy as np
    from scipy import stats

    names = [f"A{a}B{b}" for b in range(2) for a in range(3)]
    rows = np.random.default_rng(3).integers(0, 2, size=(20, 6))
    outcomes = {name: "".join(map(str, rows[:, n])) for n, name in enumerate(names)}
    factors = {name: {"A": name[:2], "B": name[2:]} for name in names}
    design = Factorial({"A": ("A0", "A1", "A2"), "B": ("B0", "B1")})
    h1 = Hypothesis(id="h1", metric="accuracy", contrast="interaction", factors=("A", "B"),
                    levels=("A2", "B1"), sesoi=0.05, direction="two-sided")  # fmt: skip
    assert h1.label == "A (A2) x B (B1)"
    result = run_sync(on_factors(outcomes, factors, design, hypotheses=[h1]), options=options)
    (found,) = result.analysis.hypotheses
    at = dict(zip(names, rows.T, strict=True))
    scores = (at["A2B1"] - at["A0B1"]) - (at["A2B0"] - at["A0B0"])  # item by item
    test = stats.ttest_1samp(scores, 0)
    assert found.contrast.estimate == pytest.approx(scores.mean())
    assert found.contrast.p_value == pytest.approx(test.pvalue)
    # The other pair is exploratory, and so are the three main effects.
    assert [r.hypothesis.id for r in result.analysis.exploratory] == [
        "A: A1 vs A0", "A: A2 vs A0", "B: B1 vs B0", "A x B: A1, B1",
    ]  # fmt: skip
    other = result.analysis.exploratory[-1]
    scores = (at["A1B1"] - at["A0B1"]) - (at["A1B0"] - at["A0B0"])
    assert other.contrast.estimate == pytest.approx(scores.mean())
    assert analyse(result.path).hypotheses[0].hypothesis == h1  # read back from the design

    def ask(**claim):
        return Hypothesis(id="h", metric="accuracy", contrast="interaction", sesoi=0.1,
                          factors=("A", "B"), **claim)  # fmt: skip

    with pytest.raises(ValueError, match=r"`levels` must name one of 'A' .*\(A1, A2\), got none"):
        on_factors(outcomes, factors, design, hypotheses=[ask()])
    with pytest.raises(ValueError, match="beside the first .* got 'A0'"):
        on_factors(outcomes, factors, design, hypotheses=[ask(levels=("A0", "B1"))])
    with pytest.raises(ValueError, match="`levels` must be two"):
        ask(levels=("A1",))


def test_a_factorial_design_across_items_is_a_welch_contrast(options):
    import numpy as np
    from scipy import stats

    names = ("A0B0", "A1B0", "A0B1", "A1B1")
    outcomes = {name: ("0111011101" * 4)[n:] + ("0111011101" * 4)[:n]
                for n, name in enumerate(names)}  # fmt: skip
    factors = {name: {"A": name[:2], "B": name[2:]} for name in names}
    design = Factorial({"A": ("A0", "A1"), "B": ("B0", "B1")}, within=False)
    claim = Hypothesis(id="h1", metric="accuracy", contrast="interaction", factors=("A", "B"),
                       sesoi=0.05, direction="two-sided")  # fmt: skip
    experiment = on_factors(outcomes, factors, design, hypotheses=[claim])
    result = run_sync(experiment, options=options)
    assert result.planned == 40  # each item once
    groups = {name: [] for name in names}
    for row in (result.path / "results.csv").read_text().splitlines()[1:]:
        groups[row.split(",")[0]].append(float(row.split(",")[6]))
    weights = {"A0B0": 1, "A1B0": -1, "A0B1": -1, "A1B1": 1}
    parts = {n: np.var(g, ddof=1) / len(g) for n, g in groups.items()}
    estimate = sum(w * np.mean(groups[n]) for n, w in weights.items())
    # Welch 1947: variances add, and the degrees of freedom are Satterthwaite's
    variance = sum(parts.values())
    df = variance**2 / sum(v * v / (len(groups[n]) - 1) for n, v in parts.items())
    p = 2 * stats.t.sf(abs(estimate) / variance**0.5, df)
    (found,) = result.analysis.hypotheses
    assert found.contrast.estimate == pytest.approx(estimate)
    assert found.contrast.p_value == pytest.approx(p)


def test_between_conditions_are_compared_as_independent_groups(options):
    from crucible_bench import compare

    answers = {"a": "0111011101" * 6, "b": "0101010001" * 6}
    claim = Hypothesis(id="h1", metric="accuracy", treatment="b", control="a", sesoi=0.1)
    data = sums(60)
    experiment = Experiment(
        "between",
        dataset=data,
        conditions=[
            Condition(name, Replay(name, dict(zip((i.input for i in data), row, strict=True))))
            for name, row in answers.items()
        ],
        seed=1,
        design=Between(block_by="kind"),
        hypotheses=[claim],
    )
    result = run_sync(experiment, options=options)
    assert (result.planned, result.not_run) == (60, 0)
    arms = {"a": [], "b": []}
    for cell in experiment.schedule():
        arms[cell.condition].append(float(answers[cell.condition][data.ids.index(cell.item)]))
    expected = compare(arms["a"], arms["b"])
    (found,) = result.analysis.hypotheses
    assert found.contrast.p_value == pytest.approx(expected.p_value)
    assert found.contrast.estimate == pytest.approx(expected.difference)
    assert len(result.analysis.missing.rows) == 2
    assert all(row.planned == 30 and row.not_run == 0 for row in result.analysis.missing.rows)
    assert analyse(result.path) == result.analysis


def test_conditions_must_be_the_combinations_of_the_design():
    design = Factorial({"A": ("A0", "A1")})
    with pytest.raises(ValueError, match="missing"):
        on_factors({"x": "01"}, {"x": {"A": "A0"}}, design)
    with pytest.raises(ValueError, match="combination"):
        on_factors({"x": "01"}, {"x": {"A": "A7"}}, design)
    with pytest.raises(ValueError, match="used twice"):
        on_factors({"x": "01", "y": "01"}, {"x": {"A": "A0"}, "y": {"A": "A0"}}, design)
    with pytest.raises(ValueError, match="ascending"):
        DoseResponse("n", (3, 1))
    with pytest.raises(ValueError, match="two or more"):
        Factorial({"A": ("A0",)})


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ({"contrast": "trend"}, "must name 1"),
        ({"contrast": "trend", "factors": ("n",), "treatment": "a"}, "must not be given"),
        ({"contrast": "difference", "treatment": "a"}, "must be given"),
        ({"contrast": "sideways"}, "must be one of"),
        ({"contrast": "non_inferiority", "treatment": "a", "control": "b",
          "direction": "two-sided"}, "direction"),
    ],
)  # fmt: skip
def test_a_claim_that_does_not_fit_its_contrast_is_refused(claim, said):
    with pytest.raises(ValueError, match=said):
        Hypothesis(id="h1", metric="accuracy", sesoi=0.1, **claim)


def test_claims_over_factors_need_levels_that_exist(options):
    factors = {"a": {"A": "A0"}, "b": {"A": "A1"}}
    design = Factorial({"A": ("A0", "A1")})

    def ask(**claim):
        return on_factors({"a": "01", "b": "01"}, factors, design,
                          hypotheses=[Hypothesis(id="h", metric="accuracy", sesoi=0.1, **claim)])  # fmt: skip

    with pytest.raises(ValueError, match="levels of 'A'"):
        ask(contrast="main_effect", factors=("A",), treatment="A1", control="zero")
    with pytest.raises(ValueError, match="must be one of A"):
        ask(contrast="main_effect", factors=("B",), treatment="A1", control="A0")
    with pytest.raises(ValueError, match="must be of numbers"):
        ask(contrast="trend", factors=("A",))


@pytest.mark.parametrize(
    ("claim", "outcome", "finding"),
    [
        ("equivalence", "supported", "equivalent"),
        ("non_inferiority", "supported", "non_inferior"),
    ],
)
def test_margins_turn_the_question_round(replayed, options, claim, outcome, finding):
    from crucible_bench.tost import equivalence, non_inferiority

    control = "1101110111" * 40
    treatment = control[:390] + "0111111111"
    ask = Hypothesis(id="h1", metric="accuracy", treatment="b", control="a", sesoi=0.05,
                     contrast=claim)  # fmt: skip
    result = run_sync(replayed({"a": control, "b": treatment}, hypotheses=[ask]), options=options)
    (found,) = result.analysis.hypotheses
    assert (found.outcome, found.verdict.finding) == (outcome, finding)
    a, b = ([float(x) for x in row] for row in (control, treatment))
    test = equivalence if claim == "equivalence" else non_inferiority
    assert found.contrast.p_value == pytest.approx(test(a, b, margin=0.05, paired=True).p_value)


def test_a_small_sample_decides_no_margin(replayed, options):
    for claim in ("equivalence", "non_inferiority"):
        ask = Hypothesis(id="h1", metric="accuracy", treatment="b", control="a", sesoi=0.05,
                         contrast=claim)  # fmt: skip
        experiment = replayed({"a": "1101010111", "b": "1011011101"}, hypotheses=[ask])
        (found,) = run_sync(experiment, options=options).analysis.hypotheses
        assert found.outcome == "inconclusive"
        assert "reaches across the margin" in found.sentence


def test_repeats_at_temperature_0_are_said_to_be_redundant():
    from crucible_harness.errors import RedundantRepeatsWarning

    with pytest.warns(RedundantRepeatsWarning, match="cost without information"):
        Experiment("r", dataset=sums(3), conditions=[Condition("a", simulated())], seed=1,
                   repeats=3)  # fmt: skip
    Experiment(
        "r", dataset=sums(3), conditions=[Condition("a", simulated(), temperature=0.7)], seed=1,
        repeats=3,
    )  # fmt: skip
