"""The response matrix; the numbers are those of real, graded solutions of GSM8K."""

import json
import math
import random

import anyio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible_ensemble import Completion, FunctionModel, PriceBook, SimulatedModel
from crucible_ensemble.ablation import ablation, best_single, shapley
from crucible_ensemble.collect import collect
from crucible_ensemble.correlation import error_correlation
from crucible_ensemble.errors import MatrixFormatError, ModelError, UnsupportedOptionError
from crucible_ensemble.evaluate import Strategy, evaluate, pareto, predictions_of, wilson
from crucible_ensemble.executions import Sequential
from crucible_ensemble.matrix import Cell, ResponseMatrix
from crucible_ensemble.member import Member
from crucible_ensemble.normalise import numeric
from crucible_ensemble.votes import Majority, Weighted
from crucible_ensemble.votes.weighted import log_odds_weight

MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")


@pytest.fixture(scope="session")
def solutions(benchmark_data):
    path = benchmark_data / "gsm8k" / "example_model_solutions.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="session")
def gsm8k(solutions):
    cells, labels = [], {}
    for i, row in enumerate(solutions):
        item = f"gsm8k/test/{i}"
        labels[item] = row["ground_truth"]
        for model in MODELS:
            said = Completion(text=row[model]["solution"], model=model)
            cells.append(Cell(item=item, model=model, completion=said))
    return ResponseMatrix(cells, labels=labels)


def test_the_numbers_read_agree_with_the_published_grades(solutions):
    agree = first = 0
    for row in solutions:
        truth = numeric(row["ground_truth"])
        for model in MODELS:
            grade = row[model]["is_correct"]
            agree += (numeric(row[model]["solution"]) == truth) == grade
            first += (first_number(row[model]["solution"]) == truth) == grade
    assert agree == 5276
    assert first / 5276 == pytest.approx(0.61, abs=0.02)  # what naive reading would give


def first_number(text):
    import re

    found = re.search(r"-?[\d,]*\.?\d+", text)
    return None if found is None else numeric(found[0])


def test_voting_lost_to_the_best_single_model(gsm8k):
    best_first = MODELS[::-1]
    strategies = [
        *(Strategy(name=m, models=[m], normalise="numeric") for m in MODELS),
        Strategy(name="seeded", normalise="numeric"),
        Strategy(name="untied", normalise="numeric", tie="abstain"),
        Strategy(name="priority", models=best_first, normalise="numeric", tie="priority"),
        Strategy(name="three", normalise="numeric", vote=Majority("absolute")),
        Strategy(name="unanimous", normalise="numeric", vote="unanimous"),
        Strategy(name="curtailed", models=best_first, normalise="numeric", execution="sequential"),
    ]
    found = {e.strategy: e for e in gsm8k.evaluate(strategies)}
    accuracies = [found[m].accuracy for m in MODELS]
    assert accuracies == pytest.approx([0.2168, 0.3904, 0.3472, 0.5625], abs=5e-5)
    untied = found["untied"]
    assert (int((~untied.abstained).sum()), int(untied.correct.sum())) == (792, 565)
    assert found["seeded"].accuracy == pytest.approx(0.48161, abs=0.02)
    assert found["priority"].accuracy == pytest.approx(0.56331, abs=5e-6)
    three, all_four = found["three"], found["unanimous"]
    assert (int((~three.abstained).sum()), int(three.correct.sum())) == (408, 361)
    assert (int((~all_four.abstained).sum()), int(all_four.correct.sum())) == (163, 156)
    assert all_four.selective_accuracy == pytest.approx(156 / 163)
    assert found["curtailed"].calls.mean() == pytest.approx(3.766, abs=5e-4)
    assert (found["curtailed"].correct == found["seeded"].correct).all()  # lossless


def test_only_a_good_weighting_gets_the_loss_back(gsm8k):
    members = [Member(m, accuracy=p) for m, p in zip(MODELS, (0.2168, 0.3904, 0.3472, 0.5625), strict=True)]  # fmt: skip
    weighted, plain = gsm8k.evaluate(
        [
            Strategy(name="w", models=members, vote=Weighted(by="accuracy", classes=10.48), normalise="numeric"),
            Strategy(name="m", normalise="numeric"),
        ]
    )  # fmt: skip
    assert weighted.accuracy > plain.accuracy + 0.06


def test_how_much_the_four_models_err_together(gsm8k):
    found = error_correlation(gsm8k, normalise="numeric")
    assert found.mean_phi == pytest.approx(0.3958, abs=5e-5)
    assert (found.low, found.high) == pytest.approx((0.365, 0.427), abs=0.004)
    assert found.n_eff == pytest.approx(1.829, abs=5e-4)
    assert found.icc == pytest.approx(0.3484, abs=5e-5)
    assert found.all_wrong == 432
    assert found.all_wrong_rate == pytest.approx(0.3275, abs=5e-5)
    assert found.independent_all_wrong == pytest.approx(0.1363, abs=5e-5)
    assert found.ceiling == pytest.approx(0.6725, abs=5e-5)
    assert (found.ceiling_low, found.ceiling_high) == pytest.approx((0.6467, 0.6973), abs=5e-5)
    assert (found.same_wrong, found.pairs_wrong) == (390, 3698)
    assert found.same_wrong_rate == pytest.approx(0.1055, abs=5e-5)
    assert found.classes == pytest.approx(10.48, abs=0.005)
    assert found.fit.mu == pytest.approx(0.37887, abs=5e-5)
    assert found.fit.rho == pytest.approx(0.34823, abs=5e-5)
    assert "worth 1.83" in found.warning


def test_what_each_of_the_four_models_adds(gsm8k):
    found = shapley(gsm8k, normalise="numeric")
    assert list(found.values.values()) == pytest.approx([0.0220, 0.1263, 0.0974, 0.2359], abs=5e-5)
    assert sum(found.values.values()) == pytest.approx(found.total)
    assert found.total == pytest.approx(0.48161, abs=5e-6)


def test_every_subset_of_the_four_models(gsm8k):
    found = ablation(gsm8k, normalise="numeric")
    assert len(found.subsets) == 15
    assert found.of(*MODELS).expected_accuracy == pytest.approx(0.48161, abs=5e-6)
    assert found.of("175b_verification").accuracy == pytest.approx(0.5625, abs=5e-5)
    # Two voters are worth one, on the mean: every tie counts one half.
    assert found.sizes[1].accuracy == pytest.approx(found.sizes[0].accuracy)
    assert found.sizes[3].low < 0.48161 < found.sizes[3].high


def test_the_ablation_is_the_scalar_vote(gsm8k):
    subset = gsm8k.subset(items=gsm8k.items[:200])
    found = ablation(subset, normalise="numeric", seed=3)
    rng = random.Random(1)
    for result in rng.sample(list(found.subsets), 5):
        strategy = Strategy(name="s", models=result.models, normalise="numeric", seed=3)
        (scalar,) = subset.evaluate([strategy])  # 5 x 200 cells
        assert result.accuracy == pytest.approx(scalar.accuracy)


def test_shapley_of_the_worked_example():
    # Specification, section 7, number 9: correctness rows 110 101 011 100.
    matrix = ResponseMatrix.from_correctness([[1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 0, 0]])
    found = shapley(matrix)
    assert list(found.values.values()) == pytest.approx([0.375, 0.1875, 0.1875])
    assert found.total == pytest.approx(0.75)
    sampled = shapley(matrix, exact_up_to=2, permutations=4000)
    for model, value in found.values.items():
        assert sampled.values[model] == pytest.approx(value, abs=4 * sampled.standard_errors[model])


def test_the_best_of_equal_models_is_lucky_and_cross_fitting_takes_the_luck_away():
    # Specification: 5 models, p = .8, n = 200: naive mean .8325, cross-fitted .800 +- .002.
    naive, fitted = [], []
    for run in range(300):
        right = (np.random.default_rng(run).random((200, 5)) < 0.8).astype(float)
        found = best_single(ResponseMatrix.from_correctness(right), folds=5, seed=run)
        naive.append(found.naive)
        fitted.append(found.accuracy)
    assert np.mean(naive) == pytest.approx(0.8325, abs=0.004)
    assert np.mean(fitted) == pytest.approx(0.800, abs=0.005)  # three standard errors of 300 runs


def small():
    rows = [
        Cell(item="q1", model="a", completion=Completion(text="1", model="a", cost_usd=0.1, latency_s=1.0, input_tokens=10, output_tokens=2), cost_usd=0.1, latency_s=1.0),
        Cell(item="q1", model="b", completion=Completion(text="The answer is 2", model="b", logprobs=[-0.5], extra={"x": [1]})),
        Cell(item="q2", model="a", status="error", error="ServerError: no", latency_s=0.5),
        Cell(item="q2", model="b", completion=Completion(text="umm \u2028 \n,\"", model="b")),
    ]  # fmt: skip
    return ResponseMatrix(rows, labels={"q1": "1", "q2": "5"}, header={"seed": 3})


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_matrix_is_saved_and_read_back_to_the_byte(tmp_path, suffix):
    first, second = tmp_path / f"one.{suffix}", tmp_path / f"two.{suffix}"
    matrix = small()
    matrix.save(first)
    again = ResponseMatrix.load(first)
    assert list(again) == list(matrix)
    assert (again.items, again.models, again.labels, again.header) == (matrix.items, matrix.models, matrix.labels, matrix.header)  # fmt: skip
    again.save(second)
    assert first.read_bytes() == second.read_bytes()
    shuffled = ResponseMatrix(reversed(list(matrix)), items=matrix.items, models=matrix.models, labels=matrix.labels, header=matrix.header)  # fmt: skip
    shuffled.save(second)
    assert first.read_bytes() == second.read_bytes()


def test_a_torn_last_line_is_left_out_and_said(tmp_path):
    path = tmp_path / "m.jsonl"
    small().save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.warns(UserWarning, match="last line is torn"):
        assert len(ResponseMatrix.load(path)) == 3
    path.write_bytes(whole.replace(b'"item": "q1"', b'"item" "q1"', 1))
    with pytest.raises(MatrixFormatError, match="line 2"):
        ResponseMatrix.load(path)
    for other in (b"", b"{}\n", b"[1]\n", b"\xff\xfe", b'{"schema": "other"}\n'):
        path.write_bytes(other)
        with pytest.raises(MatrixFormatError):
            ResponseMatrix.load(path)
    (tmp_path / "m.parquet").write_bytes(b"PAR1")
    with pytest.raises(MatrixFormatError):
        ResponseMatrix.load(tmp_path / "m.parquet")


def test_failures_and_unreadable_answers_are_wrong_and_what_was_not_asked_is_unknown():
    matrix = small()
    assert matrix.correct(normalise="numeric")[:, :, 0].tolist() == [[1, 0], [0, 0]]
    whole = matrix.correct(normalise="numeric", complete_case=True)[:, :, 0]
    assert math.isnan(whole[1, 0])
    partial = ResponseMatrix(list(matrix)[:3], labels=matrix.labels)
    assert math.isnan(partial.correct(normalise="numeric")[1, 1, 0])
    scored = matrix.correct(scorer=lambda item, text: len(text) / 100)
    assert scored[0, 1, 0] == 0.15
    assert matrix.keys("numeric")[1, 0, 0] is None


def test_labels_that_are_missing_or_unreadable_are_named():
    matrix = small()
    with pytest.raises(ValueError, match="none for 'q2'"):
        matrix.correct({"q1": "1"}, normalise="numeric")
    with pytest.raises(ValueError, match="got 'x' for 'q1'"):
        matrix.correct({"q1": "x", "q2": "1"}, normalise="numeric")
    with pytest.raises(ValueError, match="one per item"):
        matrix.correct(["1"], normalise="numeric")
    with pytest.raises(ValueError, match="each cell once"):
        ResponseMatrix([*matrix, next(iter(matrix))])
    with pytest.raises(ValueError, match="`models` must be in the matrix"):
        matrix.subset(models=["z"])


def test_an_error_of_a_scorer_normaliser_or_vote_says_what_it_was_about():
    matrix = ResponseMatrix.from_correctness([[1, 0], [0, 1]])

    def broken(*_):
        raise ZeroDivisionError

    for work, about in (
        (lambda: matrix.correct(scorer=broken), "answer of model-1 to item item-1"),
        (lambda: matrix.keys(broken), "answer of model-1 to item item-1"),
        (lambda: matrix.evaluate([Strategy(name="s", vote=broken)]), "'s' for item item-1"),
        (lambda: matrix.evaluate([Strategy(name="s")], scorer=broken), "item item-1"),
    ):
        with pytest.raises(ZeroDivisionError) as caught:
            work()
        assert about in caught.value.__notes__[0]


def test_prices_can_be_changed_afterwards():
    book = PriceBook({"a": (100.0, 1000.0), "b": (0.0, 0.0)})
    plain, dear = (evaluate(small(), [Strategy(name="a", models=["a"], normalise="numeric", quorum=1)], prices=p)[0] for p in (None, book))  # fmt: skip
    assert plain.cost_usd[0] == 0.1
    assert dear.cost_usd[0] == pytest.approx((100 * 10 + 1000 * 2) / 1e6)
    assert math.isnan(dear.cost_usd[1])  # what a failure cost nobody knows
    assert plain.mean_cost_usd() is None


def test_evaluations_say_how_often_and_how_well_they_answer():
    right = [[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]]
    matrix = ResponseMatrix.from_correctness(right)
    (found,) = matrix.evaluate([Strategy(name="u", vote="unanimous")])
    # Two items are unanimous, one of them in error.
    assert (found.accuracy, found.coverage, found.selective_accuracy) == (0.25, 0.5, 0.5)
    assert found.abstained.tolist() == [True, True, False, False]
    assert (found.low, found.high) == wilson(1, 4)
    assert json.loads(json.dumps(found.to_dict()))["accuracy"] == 0.25


def test_wilson_intervals_of_a_table():
    # Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 3.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(29, 29) == pytest.approx((0.8830, 1.0), abs=5e-5)


def test_the_front_holds_what_nothing_beats(gsm8k):
    def priced(name, right, cost):
        rows = [
            Cell(item=f"i{i}", model=name, cost_usd=cost,
                 completion=Completion(text="right" if i < right else "wrong", model=name, cost_usd=cost))
            for i in range(10)
        ]  # fmt: skip
        return rows

    cells = [*priced("a", 5, 1.0), *priced("b", 7, 2.0), *priced("c", 6, 3.0), *priced("d", 9, 4.0)]
    matrix = ResponseMatrix(cells, labels={f"i{i}": "right" for i in range(10)})
    found = matrix.evaluate([Strategy(name=m, models=[m]) for m in "dcba"])
    assert [e.strategy for e in pareto(found)] == ["a", "b", "d"]
    with pytest.raises(ValueError, match="known costs"):
        pareto(gsm8k.evaluate([Strategy(name="m", normalise="numeric")]))


def test_a_column_of_a_matrix_is_a_model_again():
    matrix = small()
    model = matrix.replay("a")
    answer = anyio.run(model.generate, "q1")
    assert (answer.text, answer.billed_usd, answer.cost_usd) == ("1", 0.0, 0.1)
    with pytest.raises(ModelError, match="ServerError"):
        anyio.run(model.generate, "q2")
    with pytest.raises(ModelError, match="holds no answer"):
        anyio.run(model.generate, "q3")
    with pytest.raises(ValueError, match="`model` must be one of"):
        matrix.replay("z")


def arithmetic(n, accuracy, **options):
    return SimulatedModel(
        f"m{n}", accuracy=accuracy, answer_of=lambda q: q.split()[-1],
        wrong_of=lambda q: ["-1", "-2", "-3"], price=(1.0, 1.0), **options,
    )  # fmt: skip


@pytest.mark.parametrize("correlation", [0.3])
def test_simulated_models_err_together_as_much_as_they_were_told(correlation):
    models = [arithmetic(n, 0.7, correlation=correlation) for n in range(3)]
    prompts = {f"i{i}": f"q {i}" for i in range(5000)}
    matrix = anyio.run(collect, models, prompts)
    labels = {f"i{i}": str(i) for i in range(5000)}
    found = error_correlation(matrix, labels=labels, normalise="numeric")
    assert found.mean_phi == pytest.approx(correlation, abs=0.03)


def test_a_collection_that_was_broken_off_is_continued_and_pays_for_nothing_twice(tmp_path):
    prompts = {f"i{i}": f"q {i}" for i in range(40)}
    models = [arithmetic(n, 0.6) for n in range(3)]
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"

    async def run(path, models):
        return await collect(models, prompts, samples=2, temperature=0.7, seed=5, path=path)

    reference = anyio.run(run, whole, models)
    asked = []

    class Killed(BaseException):
        """What nobody catches."""

    def dying(model):
        class Dies:
            name, supports = model.name, model.supports

            async def generate(self, prompt, /, **options):
                asked.append((model.name, options["seed"]))
                if len(asked) == 100:
                    raise Killed
                return await model.generate(prompt, **options)

        return Dies()

    with pytest.raises(BaseExceptionGroup):
        anyio.run(run, broken, [dying(m) for m in models])
    text = broken.read_bytes()
    broken.write_bytes(text[:-7])  # and the last line is torn
    before = len(text.splitlines()) - 2
    sent = []

    def counting(model):
        class Counts:
            name, supports = model.name, model.supports

            async def generate(self, prompt, /, **options):
                sent.append(1)
                return await model.generate(prompt, **options)

        return Counts()

    with pytest.warns(UserWarning, match="torn"):
        resumed = anyio.run(run, broken, [counting(m) for m in models])
    assert len(sent) == 240 - before
    assert broken.read_bytes() == whole.read_bytes()
    assert list(resumed) == list(reference)
    with pytest.raises(MatrixFormatError, match="collected with seed 5, not 6"):
        anyio.run(lambda: collect(models, prompts, samples=2, temperature=0.7, seed=6, path=broken))


def test_an_option_that_a_model_does_not_take_is_refused_before_anything_is_asked():
    class NoStop:
        name, supports = "nostop", frozenset({"temperature"})

        async def generate(self, prompt, /, **options):
            raise AssertionError("asked")

    with pytest.raises(UnsupportedOptionError, match="nostop takes no `stop`"):
        anyio.run(lambda: collect([NoStop()], {"i": "q"}, stop=["x"]))


def test_failures_are_kept_and_asked_again(tmp_path):
    path, fail = tmp_path / "m.jsonl", [True]

    async def answer(prompt):
        if fail[0]:
            raise RuntimeError("no")
        return "1"

    model = FunctionModel(answer, name="f")
    first = anyio.run(lambda: collect([model], {"q": "?"}, path=path))
    assert first.cell("q", "f").error == "RuntimeError: no"
    fail[0] = False
    again = anyio.run(lambda: collect([model], {"q": "?"}, path=path))
    assert again.cell("q", "f").completion.text == "1"


@given(
    st.lists(st.lists(st.sampled_from([None, "1", "2", "3"]), min_size=3, max_size=3), min_size=2, max_size=8),
    st.sampled_from(["seeded", "priority", "abstain"]),
)  # fmt: skip
@settings(max_examples=60)
def test_curtailment_on_record_gives_the_answers_of_the_full_vote(rows, tie):
    cells = [
        Cell(item=f"i{i}", model=f"m{m}", completion=Completion(text=key or "none", model=f"m{m}"))
        for i, row in enumerate(rows)
        for m, key in enumerate(row)
    ]
    matrix = ResponseMatrix(cells)
    full, early = (
        predictions_of(matrix, Strategy(name="s", execution=e, normalise="numeric", tie=tie, quorum=1))
        for e in ("parallel", Sequential())
    )  # fmt: skip
    for one, other in zip(full, early, strict=True):
        if tie == "seeded":
            assert one.answer == other.answer
        assert other.metadata.called <= one.metadata.called


def test_dawid_skene_as_a_strategy_uses_all_items_together():
    rng = np.random.default_rng(1)
    cells, labels = [], {}
    for i in range(300):
        labels[f"i{i}"] = str(i % 4)
        for m, p in enumerate((0.9, 0.55, 0.5)):
            right = rng.random() < p
            key = i % 4 if right else (i + rng.integers(1, 4)) % 4
            cells.append(
                Cell(
                    item=f"i{i}", model=f"m{m}", completion=Completion(text=str(key), model=f"m{m}")
                )
            )
    matrix = ResponseMatrix(cells, labels=labels)
    em, plain = matrix.evaluate([Strategy(name="ds", vote="dawid_skene"), Strategy(name="m")])
    assert em.accuracy > plain.accuracy + 0.05
    assert log_odds_weight(0.9, 4) > log_odds_weight(0.55, 4)


def test_an_unasked_cell_and_a_hedger_cannot_be_evaluated():
    matrix = ResponseMatrix(list(small())[:3], labels=small().labels)
    with pytest.raises(ValueError, match="'b', sample 0, was not asked about 'q2'"):
        matrix.evaluate([Strategy(name="s", normalise="numeric")])
    with pytest.raises(ValueError, match="different names"):
        matrix.evaluate([Strategy(name="s"), Strategy(name="s")])
