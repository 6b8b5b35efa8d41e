"""The ready-made studies: their designs, and what they find where the truth is published."""

import json
import math
from dataclasses import replace
from pathlib import Path

import anyio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import right, simulated, sums, wrong

from crucible_datasets import load, sample
from crucible_ensemble import Completion, Ensemble, LlamaCppModel, SimulatedModel
from crucible_ensemble.ablation import ablation, shapley
from crucible_ensemble.errors import ServerError
from crucible_ensemble.matrix import Cell, ResponseMatrix
from crucible_ensemble.member import Member
from crucible_ensemble.models.simulated import Lognormal, Stragglers
from crucible_ensemble.votes import Weighted
from crucible_harness import HarnessError, load_experiment, run_sync
from crucible_harness.errors import ConfigError
from crucible_harness.report import report
from crucible_harness.studies import (
    STUDIES,
    AdaptiveHedging,
    Methods,
    ReliabilityPlan,
    Responses,
    SizePlan,
    TailLatency,
    Trust,
    WeightsPlan,
    World,
    analyse,
    confidence_weights,
    ensemble_size,
    reliability,
)
from crucible_harness.studies.ballots import Ballots, chance_right
from crucible_harness.studies.h3_ensemble_size import every_subset, shapley_of
from crucible_harness.studies.h6_trust import sensitivity
from crucible_harness.studies.loading import load_study
from crucible_harness.studies.shadowing import spent_usd
from crucible_harness.studies.traces import KINDS, Trace, scales
from crucible_harness.studies.ways import WAYS
from crucible_hedging.shadow import ShadowLog, ShadowRecord

EXAMPLES = Path(__file__).parents[3] / "examples" / "studies"
SOLVERS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")


@pytest.fixture(scope="session")
def solutions(benchmark_data):
    """Return OpenAI's graded solutions of GSM8K: 1,319 items x 4 models."""
    path = benchmark_data / "gsm8k" / "example_model_solutions.jsonl"
    cells, labels = [], {}
    for i, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        row, item = json.loads(line), f"gsm8k/test/{i}"
        labels[item] = row["ground_truth"]
        for model in SOLVERS:
            said = Completion(text=row[model]["solution"], model=model)
            cells.append(Cell(item=item, model=model, completion=said))
    return Responses(matrix=ResponseMatrix(cells, labels=labels), normalise="numeric")


def three(**options):
    """Return three simulated voters of accuracies .8, .7, .6."""
    return {
        name: simulated(name, accuracy=p, seed=n, **options)
        for n, (name, p) in enumerate((("a", 0.8), ("b", 0.7), ("c", 0.6)))
    }


# ------------------------------------------------------------- published counts
# Expected numbers: the ensemble package's specification, section 7, number 10.


def test_h1_finds_the_published_figures_and_that_the_vote_loses(solutions):
    found = ReliabilityPlan().analyse(solutions)
    voters = {row[0]: row[1] for row in found.table("Voters").rows}
    assert list(voters.values()) == pytest.approx([0.2168, 0.3904, 0.3472, 0.5625], abs=5e-5)
    assert found.figure("vote, all items").value == pytest.approx(0.48161, abs=5e-6)
    assert found.figure("vote, ties to the best").value == pytest.approx(0.56331, abs=5e-6)
    assert found.figure("calls, best first").value == pytest.approx(3.766, abs=5e-3)
    agreement = {row[0]: row[1:3] for row in found.table("Agreement").rows}
    assert agreement[1] == (792, 565)
    assert agreement[3] == (408, 361)
    assert agreement[4] == (163, 156)
    phi = found.figure("phi")
    assert phi.value == pytest.approx(0.3958, abs=5e-5)
    assert (phi.low, phi.high) == pytest.approx((0.365, 0.427), abs=0.004)
    assert found.figure("N_eff").value == pytest.approx(1.829, abs=5e-4)
    assert found.figure("ICC").value == pytest.approx(0.3484, abs=5e-5)
    ceiling = found.figure("ceiling")
    assert (ceiling.value, ceiling.low, ceiling.high) == pytest.approx(
        (0.6725, 0.6467, 0.6973), abs=5e-5
    )
    assert found.figure("all wrong, if independent").value == pytest.approx(0.1363, abs=5e-5)
    assert found.figure("same wrong answer").value == pytest.approx(0.1055, abs=5e-5)
    assert found.figure("K").value == pytest.approx(10.48, abs=0.005)
    assert found.outcome == "not supported"
    assert "175b_verification, the best on 440 other items" in found.sentence
    gain = found.figure("gain")
    assert gain.high < -0.05
    assert found.n == 879


def test_h3_finds_the_published_figures(solutions):
    found = SizePlan().analyse(solutions)
    assert found.figure("mu").value == pytest.approx(0.37887, abs=5e-5)
    assert found.figure("rho").value == pytest.approx(0.34823, abs=5e-5)
    values = [row[1] for row in found.table("Shapley values").rows]
    assert values == pytest.approx([0.0220, 0.1263, 0.0974, 0.2359], abs=5e-5)
    sizes = found.table("Sizes").rows
    assert sizes[3][2] == pytest.approx(0.48161, abs=5e-6)
    assert sizes[0][2] == pytest.approx(np.mean([0.2168, 0.3904, 0.3472, 0.5625]), abs=5e-5)
    assert found.table("Best on these items").rows[0][1:] == (
        "175b_verification", pytest.approx(0.5625, abs=5e-5),
    )  # fmt: skip
    assert found.table("Right voters per item").rows[0][1] == 432  # nobody is right


def test_h3_counts_every_subset_as_the_ensemble_package_does(solutions):
    from crucible_harness.studies.ballots import ballots_of

    matrix = solutions.matrix
    ballots = ballots_of(solutions)
    mine = every_subset(ballots)
    theirs = ablation(matrix, normalise="numeric")
    for subset in theirs.subsets:
        members = frozenset(SOLVERS.index(name) for name in subset.models)
        assert mine[members].mean() == pytest.approx(subset.expected_accuracy, abs=1e-12)
    values = shapley(matrix, normalise="numeric").values
    assert [float(v.mean()) for v in shapley_of(mine, 4)] == pytest.approx(list(values.values()))


def test_h5_gets_the_loss_back_by_weighing_accuracy(solutions):
    found = WeightsPlan(source="accuracy").analyse(solutions)
    assert found.figure("counting").value == pytest.approx(0.48161, abs=5e-6)
    assert found.outcome == "supported"
    assert found.figure("gain").value > 0.06  # "only a good weighting gets it back"
    # A voter that boasts takes over, and the vote is worse than counting.
    assert found.figure("interaction").low > 0.05


def test_h5_weighs_as_the_ensemble_package_does(solutions):
    """The same answers and accuracies through the vote that runs live, ties abstaining."""
    from crucible_harness.studies.ballots import ballots_of

    matrix = solutions.matrix.subset(items=solutions.matrix.items[:300])
    ballots = ballots_of(replace(solutions, matrix=matrix))
    p = (0.3, 0.4, 0.5, 0.6)
    (live,) = matrix.evaluate(
        [_strategy([Member(m, accuracy=a) for m, a in zip(SOLVERS, p, strict=True)], classes=6.0)]
    )
    weights = np.log(5.0 * np.array(p) / (1 - np.array(p)))
    mine = chance_right(ballots.answers, support=np.broadcast_to(weights, (300, 4)))
    assert (mine == live.correct).all()


def _strategy(members, *, classes):
    from crucible_ensemble.evaluate import Strategy

    vote = Weighted(by="accuracy", classes=classes)
    return Strategy(name="w", models=members, vote=vote, normalise="numeric", tie="abstain")


# ------------------------------------------------------------- votes as numbers


@given(
    st.lists(st.lists(st.integers(-1, 3), min_size=3, max_size=3), min_size=2, max_size=8),
)
@settings(max_examples=60, deadline=None)
def test_a_count_is_that_of_the_ensemble_package_for_any_answers(rows):
    names = ("a", "b", "c")
    texts = {0: "right", 1: "x", 2: "y", 3: "z"}
    cells = [
        Cell(item=str(i), model=m, completion=Completion(text=texts[v], model=m))
        if v >= 0
        else Cell(item=str(i), model=m, status="error", error="no")
        for i, row in enumerate(rows)
        for m, v in zip(names, row, strict=True)
    ]
    matrix = ResponseMatrix(cells, labels={str(i): "right" for i in range(len(rows))})
    mine = every_subset(_ballots(np.array(rows)))
    for subset in ablation(matrix).subsets:
        members = frozenset(names.index(name) for name in subset.models)
        assert mine[members].mean() == pytest.approx(subset.expected_accuracy, abs=1e-12)


def _ballots(answers, confidence=None):
    answers = np.asarray(answers, dtype=np.int64)
    return Ballots(
        voters=tuple("abcdefghijklmnop"[: answers.shape[1]]),
        answers=answers,
        confidence=np.full(answers.shape, np.nan) if confidence is None else confidence,
        cost_usd=np.full(answers.shape, 0.01),
    )


def test_shapley_values_of_the_worked_example():
    # The ensemble package's specification, section 7, number 9: rows 110 101 011 100.
    answers = 1 - np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 0, 0]])
    found = [float(v.mean()) for v in shapley_of(every_subset(_ballots(answers)), 3)]
    assert found == pytest.approx([0.375, 0.1875, 0.1875])


def test_299_of_299_prove_a_reliability_of_99_percent_and_298_do_not():
    # .05 ** (1 / 299) = .990031: the one-sided 95 % bound of 299 of 299.
    choosing = np.zeros(309, dtype=bool)
    choosing[:10] = True
    answers = np.zeros((309, 3))
    answers[10:110, 0] = 1  # the best voter errs; the other two outvote it
    answers[:10, 1:] = 1
    plan = ReliabilityPlan(at_least=0.99)
    vote = np.ones(309)
    found = plan.judge(_ballots(answers), vote, choosing, simulated=True)
    assert found.figure("vote").low == pytest.approx(0.05 ** (1 / 299), abs=1e-9)
    assert found.outcome == "supported"
    vote[200] = 0.0
    assert plan.judge(_ballots(answers), vote, choosing, simulated=True).outcome == "inconclusive"


def test_a_better_vote_is_not_supported_where_the_reliability_claim_fails():
    choosing = np.zeros(310, dtype=bool)
    choosing[:10] = True
    answers = np.zeros((310, 3))
    answers[10:210, 0] = 1
    answers[:10, 1:] = 1
    vote = np.ones(310)
    vote[250:] = 0.0  # 80 % right, a hundred items more than the best voter
    found = ReliabilityPlan(at_least=0.99).judge(_ballots(answers), vote, choosing, simulated=True)
    assert found.figure("gain").low > 0.05
    assert found.outcome == "not supported"


def test_sizes_cost_what_their_voters_cost_and_gain_is_per_dollar():
    answers = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 0, 0]] * 10)
    rows = SizePlan().judge(_ballots(answers), simulated=True).table("Sizes").rows
    # Three of .75 vote right on every item; at a cent each, two more voters gain .25 for $.02.
    assert [row[5] for row in rows] == pytest.approx([0.01, 0.02, 0.03])
    assert rows[2][2] == 1.0
    assert rows[1][2] == pytest.approx(0.75)
    assert rows[2][9] == pytest.approx(0.25 / 0.01)


def test_unknown_prices_and_free_answers_have_no_gain_per_dollar():
    answers = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 1], [0, 0, 0]] * 5)
    for cost, said in ((np.nan, "not known"), (0.0, "cost nothing")):
        ballots = replace(_ballots(answers), cost_usd=np.full(answers.shape, cost))
        found = SizePlan().judge(ballots, simulated=True)
        assert all(row[9] is None for row in found.table("Sizes").rows)
        assert any(said in warning for warning in found.warnings)


def test_more_than_twelve_voters_are_refused():
    with pytest.raises(ValueError, match="at most 12 voters, got 13"):
        SizePlan().judge(_ballots(np.zeros((4, 13))), simulated=True)


def test_more_voters_than_can_be_counted_are_refused_before_they_are_asked():
    models = {f"m{k}": simulated(f"m{k}") for k in range(13)}
    with pytest.raises(ValueError, match="at most 12 voters, got 13"):
        ensemble_size(models, dataset=sums(20))
    with pytest.raises(ValueError, match="`items` must be >= 5 .* 'accuracy', got 4"):
        confidence_weights(three(), dataset=sums(4), source="accuracy")


def test_voters_that_are_always_right_have_no_model_and_it_says_so():
    found = SizePlan().judge(_ballots(np.zeros((20, 3))), simulated=True)
    assert found.figure("rho").value is None
    assert "right" in found.figure("rho").reason
    assert found.outcome == "not computed"


# ------------------------------------------------------------- experiments


@pytest.mark.parametrize(
    ("study", "make", "logprobs"),
    [("h1", reliability, False), ("h3", ensemble_size, False), ("h5", confidence_weights, True)],
)
def test_a_study_of_voters_is_the_experiment_in_its_toml_file(study, make, logprobs):
    model = LlamaCppModel(parallel=2, logprobs=logprobs)
    data = sample(load("demo-arithmetic"), 40, seed=0)
    made = make({"local/smollm2": model}, dataset=data, prompts=WAYS)
    read, _ = load_experiment(EXAMPLES / f"{study}.toml")
    assert made.frozen == read.frozen
    assert made.digest == read.digest


@pytest.mark.parametrize(
    ("study", "record"),
    [("h2", TailLatency()), ("h4", AdaptiveHedging()), ("h6", Trust()), ("rq6", Methods())],
)
def test_a_study_that_is_no_experiment_is_the_record_in_its_toml_file(study, record):
    assert load_study(EXAMPLES / f"{study}.toml") == record


def test_each_file_of_the_examples_is_of_a_study_and_the_other_way_round():
    assert {path.stem for path in EXAMPLES.glob("*.toml")} == set(STUDIES)


def test_a_run_is_analysed_by_the_plan_in_its_tags(options):
    experiment = ensemble_size(three(), dataset=sums(60), sesoi=0.02)
    result = run_sync(experiment, options=options)
    found = analyse(result.path)
    assert found.study == "h3"
    assert found.plan["sesoi"] == 0.02
    assert found.n == 60
    assert found.simulated
    assert result.calls_sent == 180  # each voter once: votes and subsets cost nothing
    rows = found.table("Sizes").rows
    accuracy = result.analysis.conditions
    assert rows[0][2] == pytest.approx(
        np.mean([accuracy[name].metrics["accuracy"].value for name in "abc"])
    )
    assert "SIMULATED" in found.to_report()["subtitle"]
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_vote_that_is_judged_is_the_one_that_runs_live(options):
    """The offline vote of h1 against an Ensemble over the same members and items."""
    from crucible_ensemble import Ensemble
    from crucible_harness import Condition, Experiment

    data = sums(60)
    found = analyse(run_sync(reliability(three(), dataset=data), options=options).path)
    live = Experiment(
        "live",
        dataset=data,
        conditions=[
            Condition("vote", Ensemble(list(three().values()), normalise="numeric", tie="abstain"))
        ],
        seed=1,
    )
    accuracy = run_sync(live, options=options).analysis.conditions["vote"].metrics["accuracy"]
    ties = found.figure("vote, all items").value - accuracy.value
    unanimous = found.table("Agreement").rows[0]
    assert accuracy.value == pytest.approx(unanimous[2] / 60)
    assert 0 <= ties <= (60 - unanimous[1]) / 60 / 2


def test_failed_answers_count_as_wrong_and_no_answer(options):
    models = {**three(), "a": simulated("a", accuracy=1.0, failure_rate=0.4)}
    result = run_sync(ensemble_size(models, dataset=sums(40)), options=replace_errors(options))
    found = analyse(result.path)
    assert result.failed > 5
    others = [result.analysis.conditions[name].metrics["accuracy"].value for name in "bc"]
    alone = found.table("Sizes").rows[0][2]
    assert alone == pytest.approx(np.mean([(40 - result.failed) / 40, *others]))


def replace_errors(options):
    from crucible_harness.options import ErrorPolicy

    return replace(options, errors=ErrorPolicy(max_failure_rate=1.0))


def test_confidences_of_a_run_reach_h5(options):
    models = {
        name: SimulatedModel(
            name, accuracy=_easy_or_hard, answer_of=right, wrong_of=wrong, seed=n,
            confidence="calibrated",
        )
        for n, name in enumerate("abc")
    }  # fmt: skip
    experiment = confidence_weights(models, dataset=sums(120), source="reported")
    found = analyse(run_sync(experiment, options=options).path)
    assert {row[1] for row in found.table("Brier scores").rows} == {"stated", "calibrated"}
    assert found.figure("log-odds").value >= found.figure("counting").value - 0.02


def _easy_or_hard(text):
    return 0.9 if int(text.split()[2]) % 2 else 0.4


def test_voters_without_confidences_are_refused_by_name(options):
    experiment = confidence_weights(three(), dataset=sums(40))
    result = run_sync(experiment, options=options)
    with pytest.raises(ValueError, match="`source` 'logprobs' does not do for 'a'"):
        analyse(result.path)


def test_one_model_is_several_voters_by_ways_of_asking():
    made = ensemble_size([simulated()], dataset=sums(10), prompts=WAYS)
    assert [c.name for c in made.conditions] == [
        "simulated/m / plain", "simulated/m / brief", "simulated/m / form",
    ]  # fmt: skip


@pytest.mark.parametrize("make", [reliability, ensemble_size, confidence_weights])
def test_a_single_voter_and_equal_names_are_refused(make):
    with pytest.raises(ValueError, match="at least 2 voters"):
        make([simulated()], dataset=sums(10))
    with pytest.raises(ValueError, match="different names"):
        make([simulated(), simulated()], dataset=sums(10))


def test_a_run_of_no_study_is_refused(vote, options):
    result = run_sync(vote(n=4), options=options)
    with pytest.raises(ValueError, match="must be a run of the study h1, h3 or h5"):
        analyse(result.path)
    with pytest.raises(HarnessError):
        analyse(options.directory / "nothing")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ReliabilityPlan(sesoi=0), "`sesoi` must be in"),
        (lambda: ReliabilityPlan(at_least=1.0), "`at_least` must be in"),
        (lambda: SizePlan(sesoi=1.5), "`sesoi` must be in"),
        (lambda: SizePlan(resamples=5), "`resamples` must be >= 100"),
        (lambda: WeightsPlan(source="luck"), "`source` must be one of"),
        (lambda: WeightsPlan(classes=1.0), "`classes` must be > 1"),
        (lambda: TailLatency(pairs=10), "`pairs` must be >= 40"),
        (lambda: TailLatency(percentile=100), "`percentile` must be in"),
        (lambda: TailLatency(reduction=0.0), "`reduction` must be in"),
        (lambda: TailLatency(max_extra=2.0), "`max_extra` must be in"),
        (lambda: AdaptiveHedging(seeds=29), "`seeds` must be >= 30, got 29"),
        (lambda: AdaptiveHedging(traces=("storm",)), "`traces` must be among"),
        (lambda: AdaptiveHedging(tail="gauss"), "`tail` must be"),
        (lambda: AdaptiveHedging(policy="oracle"), "`policy` must be"),
        (lambda: AdaptiveHedging(warm_up=6_000), "`warm_up` must be < `requests`"),
        (lambda: Trust(participants=10), "`participants` must be a multiple of 4"),
        (lambda: Trust(items=6), "`items` must be a multiple of 4"),
        (lambda: Methods(worlds=()), "`worlds` must not be empty"),
        (lambda: Methods(effect=0), "`effect` must be > 0"),
        (lambda: World(items=1), "`items` must be >= 2"),
        (lambda: World(sampling="hot"), "`sampling` must be"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_a_file_with_an_unknown_key_names_the_nearest(tmp_path):
    file = tmp_path / "h2.toml"
    file.write_text('study = "h2"\npair = 400\n')
    with pytest.raises(ConfigError, match="unknown key `pair`; did you mean `pairs`"):
        load_study(file)
    file.write_text('study = "h2"\npairs = 4\n')
    with pytest.raises(ConfigError, match="`pairs` must be >= 40, got 4"):
        load_study(file)
    file.write_text('study = "h3"\n')
    with pytest.raises(ConfigError, match="`study` must be one of h2, h4, h6, rq6"):
        load_study(file)
    with pytest.raises(ConfigError, match="No such file"):
        load_study(tmp_path / "none.toml")
    file.write_text("study = ")
    with pytest.raises(ConfigError, match="not TOML"):
        load_study(file)


# ------------------------------------------------------------- h2


def paired(n, *, backup=1.0, slow=10):
    """Return a log in which every `slow`-th primary takes 10 s and copies take `backup`."""
    return [
        ShadowRecord(
            primary_s=10.0 if i % slow == 0 else 1.0 + i * 7919 % 1000 * 1e-6, backup_s=backup
        )
        for i in range(n)
    ]


def test_h2_supports_hedging_only_within_the_extra_load():
    from crucible_hedging.simulate import Lognormal as Tail
    from crucible_hedging.simulate import oracle

    x = np.exp(np.random.default_rng(4).standard_normal((2, 8_000)))
    log = [ShadowRecord(primary_s=p, backup_s=b) for p, b in x.T.tolist()]
    found = TailLatency(reduction=0.1).analyse(log, simulated=True)
    assert found.outcome == "supported"
    best = oracle(Tail(1), budget=0.05 * 0.75).reductions["single_r"]
    reduction, extra = found.figure("reduction"), found.figure("extra load")
    assert reduction.low < best < reduction.high
    assert extra.value == pytest.approx(0.05 * 0.75, abs=0.006)
    assert found.n == 4_000
    assert [row[1] for row in found.table("Windows of time").rows] == [1_000] * 4
    # What cuts P99 and sends too many backups is not what was claimed.
    loose = TailLatency(reduction=0.1, max_extra=0.05, aim=1.0).analyse(log, simulated=True)
    assert loose.figure("reduction").low > 0.1
    assert loose.figure("extra load").high > 0.05
    assert loose.outcome == "inconclusive"


def test_h2_decides_nothing_on_a_few_hundred_pairs():
    found = TailLatency(pairs=400).analyse(paired(400, slow=20), simulated=True)
    assert found.outcome == "inconclusive"
    assert "Only 2.0 of 200 calls are expected beyond P99" in found.warnings[0]


def test_h2_leaves_pairs_out_of_which_a_copy_failed_and_says_so():
    log = [*paired(4_000, slow=40), ShadowRecord(primary_s=1.0, backup_s=1.0, backup_ok=False)]
    found = TailLatency().analyse(log, simulated=True)
    assert "1 of 4,001 pairs are left out: a copy failed." in found.warnings


def test_h2_copies_as_slow_as_the_call_buy_nothing():
    rng = np.random.default_rng(1)
    log = [ShadowRecord(primary_s=x, backup_s=x) for x in np.exp(rng.standard_normal(4_000))]
    found = TailLatency().analyse(log, simulated=True)
    assert found.figure("reduction").value == pytest.approx(0.0, abs=1e-12)
    assert found.outcome == "not supported"


def test_h2_needs_thousands_of_pairs_for_a_fifth_of_p99():
    pilot = np.exp(np.random.default_rng(1).standard_normal(2_000))
    assert TailLatency(reduction=0.2).pairs_needed(pilot) > 2_000
    assert TailLatency(reduction=0.5).pairs_needed(pilot) < TailLatency().pairs_needed(pilot)


def test_h2_makes_both_copies_of_every_call_in_virtual_time(virtual_clock):
    model = SimulatedModel(
        "slow", accuracy=1.0, answer_of=right, wrong_of=wrong,
        latency=Stragglers(usual=1.0, late=9.0, share=0.3),
    )  # fmt: skip
    study = TailLatency(pairs=60)
    log = virtual_clock(lambda: study.collect(model, ["What is 1 + 1?", "What is 2 + 3?"]))
    records = list(log)
    assert len(records) == 60
    seconds = {round(s, 6) for r in records for s in (r.primary_s, r.backup_s)}
    assert seconds == {1.0, 9.0}
    assert any(r.primary_s != r.backup_s for r in records)  # another seed, another latency


def test_h2_goes_on_with_the_pairs_of_a_file(tmp_path, virtual_clock):
    path = tmp_path / "pairs.jsonl"
    model = simulated(latency=Lognormal(median=1.0, sigma=1.0))
    whole = virtual_clock(lambda: TailLatency(pairs=50).collect(model, ["What is 1 + 1?"]))
    first = virtual_clock(
        lambda: TailLatency(pairs=40).collect(model, ["What is 1 + 1?"], path=path)
    )
    first.close()
    rest = virtual_clock(
        lambda: TailLatency(pairs=50).collect(model, ["What is 1 + 1?"], path=path)
    )
    rest.close()

    def latencies(log):
        return [(round(r.primary_s, 9), round(r.backup_s, 9)) for r in log]

    assert latencies(ShadowLog.load(path)) == latencies(whole)


def test_h2_sends_no_seed_to_a_model_that_takes_none(virtual_clock):
    seeds: list[object] = []

    class Seedless:
        name = "own/seedless"
        supports = frozenset({"temperature"})

        async def generate(
            self, prompt, /, *, temperature=0.0, max_tokens=1000, seed=None, stop=()
        ):
            seeds.append(seed)
            await anyio.sleep(1.0)
            return Completion(text="1", model=self.name)

    model = Seedless()
    virtual_clock(lambda: TailLatency(pairs=40).collect(model, ["?"]))
    assert seeds == [None] * 80


class Priced:
    """Answers after a second, for a cent a call; every `bad`-th call fails for nothing."""

    name = "own/priced"

    def __init__(self, bad=10**9):
        self.sent, self._bad = 0, bad

    async def generate(self, prompt, /, *, temperature=0.0, max_tokens=1000, seed=None, stop=()):
        self.sent += 1
        bad = self.sent % self._bad == 0
        await anyio.sleep(1.0)
        if bad:
            raise ServerError("no", model=self.name)
        return Completion(text="1", model=self.name, cost_usd=0.01)


@pytest.mark.parametrize("concurrency", [1, 7])
def test_h2_stops_before_the_pair_that_would_exceed_its_budget(
    concurrency, tmp_path, virtual_clock
):
    model, path = Priced(), tmp_path / "pairs.jsonl"

    def collect(usd):
        log = virtual_clock(
            lambda: TailLatency(pairs=40).collect(
                model, ["?"], path=path, concurrency=concurrency, max_cost_usd=usd,
                assume_price={"own": 0.01},
            )
        )  # fmt: skip
        log.close()
        return log

    assert len(collect(0.25)) == 12  # two cents a pair
    assert model.sent == 24
    assert spent_usd(ShadowLog.load(path)) == pytest.approx(0.24)
    assert len(collect(0.25)) == 12  # what the file holds has been paid
    assert model.sent == 24
    assert len(collect(0.30)) == 15
    assert len(collect(5.0)) == 40
    assert model.sent == 80


def test_h2_bills_no_failure_and_reserves_for_it_all_the_same(virtual_clock):
    model = Priced(bad=2)  # the copy of every call
    log = virtual_clock(
        lambda: TailLatency(pairs=60).collect(
            model, ["?"], max_cost_usd=0.30, assume_price={"own": 0.01}
        )
    )
    assert spent_usd(log) == pytest.approx(0.29)
    assert len(log) == 29  # a cent each, and the next might cost two
    assert model.sent == 58


def test_h2_says_what_it_may_cost_before_it_is_sent():
    study, prompts = TailLatency(pairs=100), ["x" * 30, [{"role": "user", "content": "y" * 60}]]
    # Dollars per million tokens: 10 and 20 tokens in, 8 out, two copies, 50 pairs of each.
    cost = study.cost_at_most(
        Priced(), prompts, max_tokens=8, assume_price={"own/priced": (1.0, 2.0)}
    )
    assert cost == pytest.approx(2 * 50 * (10 + 20 + 2 * 8 * 2) / 1e6)
    part = study.cost_at_most(
        Priced(), prompts, made=50, max_tokens=8, assume_price={"own/priced": (1.0, 2.0)}
    )
    assert part == pytest.approx(cost / 2)
    assert study.cost_at_most(Priced(), prompts) is None
    assert study.cost_at_most(LlamaCppModel(), prompts) == 0.0


@pytest.mark.parametrize(
    ("make", "usd", "said"),
    [
        (Priced, 1.0, "needs a price in `assume_price`"),
        (Priced, 0.0, "`max_cost_usd` must be > 0"),
        (lambda: Ensemble(list(three().values())), 1.0, "made of models"),
    ],
)
def test_h2_refuses_a_budget_that_it_cannot_keep_before_the_first_call(
    make, usd, said, virtual_clock
):
    model = make()
    with pytest.raises(ValueError, match=said):
        virtual_clock(lambda: TailLatency(pairs=40).collect(model, ["?"], max_cost_usd=usd))
    assert getattr(model, "sent", 0) == 0


def test_h2_counts_pairs_of_which_both_copies_fail_and_goes_on(virtual_clock):
    model = simulated(failure_rate=0.3, latency=Lognormal(median=1.0, sigma=0.5))
    log = virtual_clock(lambda: TailLatency(pairs=60).collect(model, ["What is 1 + 1?"]))
    failed = [r for r in log if not (r.primary_ok and r.backup_ok)]
    assert failed
    found = TailLatency(pairs=60).analyse(log, simulated=True)
    assert any("a copy failed" in warning for warning in found.warnings)


@pytest.fixture
def virtual_clock():
    """Return a runner on trio whose clock jumps over every sleep."""
    from trio.testing import MockClock

    def run(make):
        return anyio.run(
            make, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)}
        )

    return run


# ------------------------------------------------------------- h4


def test_traces_change_as_they_say():
    rng = np.random.default_rng(1)
    for kind in KINDS:
        scale = scales(kind, 8_000, factor=3.0, sojourn=1_000, rng=rng)
        assert scale.shape == (8_000,)
        assert scale[0] == 1.0
        assert scale.max() == pytest.approx(1.0 if kind == "steady" else 3.0)
    incident = scales("incident", 8_000, factor=3.0, sojourn=1_000, rng=rng)
    assert (incident == 3.0).sum() == 1_000
    days = scales("days", 8_000, factor=3.0, sojourn=1_000, rng=rng)
    assert days[:4_000] == pytest.approx(days[4_000:])  # one day is four sojourns
    with pytest.raises(ValueError, match="`kind` must be one of"):
        scales("storm", 10, factor=3.0, sojourn=5, rng=rng)


def test_a_trace_is_its_base_at_each_moment():
    from crucible_hedging.simulate import Lognormal as Base

    trace = Trace(Base(1), np.array([1.0, 3.0]))
    assert trace.ppf(np.array([0.5, 0.5])) == pytest.approx([1.0, 3.0])
    assert trace.sf(np.array([1.0, 3.0])) == pytest.approx([0.5, 0.5])


def test_every_policy_keeps_the_budget_and_regret_is_never_negative_for_a_plan():
    study = AdaptiveHedging(requests=2_000, warm_up=300, window=300, sojourn=400)
    for kind in ("regimes", "incident"):
        ran = study.one(kind, 0)
        assert all(run.extra <= study.budget for run in ran.values())
        assert ran["oracle"].regret == 0.0
        assert ran["fixed"].regret >= 0.0
        assert study.one(kind, 0) == ran  # the same seed, the same draws


def test_no_plan_of_a_steady_trace_is_better_than_the_one_made_for_it():
    study = AdaptiveHedging(traces=("steady",), requests=1_500, warm_up=300, window=300)
    found = study.simulate()
    assert found.outcome != "supported"
    regrets = {row[1]: row[3] for row in found.table("Policies").rows}
    assert 0 <= regrets["fixed"] < regrets["adaptive"] + 0.02


def test_adapting_pays_where_regimes_switch():
    study = AdaptiveHedging(
        traces=("regimes",), policy="percentile", requests=3_000, window=300, warm_up=300,
        factor=5.0,
    )  # fmt: skip
    found = study.simulate()
    assert found.outcome == "supported"
    assert found.figure("regret saved: regimes").low > 0.05
    assert found.n == 30


# ------------------------------------------------------------- h6


def test_the_randomisation_list_is_balanced():
    protocol = Trust(participants=8, items=16)
    rows = list(protocol.randomisation())
    assert len(rows) == 8 * 16
    for person in range(8):
        mine = [r for r in rows if r.participant == person]
        assert sorted(r.item for r in mine) == list(range(16))
        assert [r.position for r in mine] == list(range(16))
        for trace in (True, False):
            part = [r for r in mine if r.trace is trace]
            assert len(part) == 8
            assert sum(r.model_right for r in part) == 4
            assert len({r.half for r in part}) == 1
    for item in range(16):
        assert sum(r.trace for r in rows if r.item == item) == 4
    assert sum(r.trace for r in rows if r.position == 0) == 4
    assert rows == list(protocol.randomisation())
    assert rows != list(replace(protocol, seed=2).randomisation())
    lines = protocol.randomisation_csv().splitlines()
    assert lines[0] == "participant,position,half,item,trace,model_right"
    assert len(lines) == 129


def test_d_prime_of_published_counts():
    # z(.9) - z(.2) = 1.281552 + .841621; (k + .5)/(n + 1) is .9 and .2 for 98.5 and 19.6 of 99.
    assert float(sensitivity(np.array(89.5), np.array(19.5), 99)) == pytest.approx(
        2.123173, abs=1e-6
    )
    assert math.isfinite(float(sensitivity(np.array(12), np.array(0), 12)))
    assert float(sensitivity(np.array(7), np.array(7), 12)) == 0.0


def test_the_power_of_the_protocol_is_that_of_a_paired_t_test():
    from crucible_bench import achieved_power
    from crucible_bench.power import PairedT

    # Many answers each: what is left is the spread of the effect over people.
    protocol = Trust(participants=24, items=4_000)
    found = protocol.power(effect=0.3, effect_sd=0.5, bias_sd=0.0, person_sd=0.0, simulations=600)
    expected = achieved_power(PairedT(), planned_effect=0.3 / 0.5, n=24).power
    assert found.power == pytest.approx(expected, abs=0.05)  # 600 studies: standard error .019
    none = protocol.power(effect=0.0, simulations=600)
    assert none.interval.low <= 0.05 <= none.interval.high or none.power < 0.05


def test_the_protocol_says_what_it_is_wherever_it_is_shown(tmp_path):
    files = report(Trust(), formats=("markdown", "json"), path=tmp_path)
    for file in files.values():
        assert "needs people and an ethics board" in file.read_text("utf-8")
    assert "outcome" not in Trust().to_dict()  # no verdict before people took part


# ------------------------------------------------------------- cards and results


def test_every_study_says_what_it_cannot_show():
    for card in STUDIES.values():
        assert card.limits
        assert card.question.endswith("?")
        assert card.to_dict()["id"] == card.id


def test_a_result_is_rendered_in_every_format(tmp_path):
    answers = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 1], [0, 0, 0]] * 10)
    found = SizePlan().judge(_ballots(answers), simulated=True)
    files = report(found, formats=("markdown", "latex", "html", "json"), path=tmp_path)
    for file in files.values():
        text = file.read_text("utf-8")
        assert "SIMULATED" in text
        assert "Shapley values" in text
    with pytest.raises(KeyError, match="known: gain, mu, rho"):
        found.figure("loss")
    with pytest.raises(KeyError, match="known: Sizes"):
        found.table("loss")


def test_importing_the_studies_loads_nothing_heavy():
    import subprocess
    import sys

    code = (
        "import sys, crucible_harness.studies; heavy = {'torch', 'transformers', 'pandas', "
        "'pyarrow', 'ray', 'scipy', 'altair', 'typer'}; print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
