import csv
import io
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_datasets import Dataset, Item, Prediction, evaluate, evaluate_batch, load
from crucible_datasets import errors as all_errors
from crucible_datasets.errors import ExecutionRequiredError, PredictionError
from crucible_datasets.extraction import Extraction
from crucible_datasets.results import Execution

DEMO = load("demo-arithmetic")[:10]


def test_missing_unreadable_and_failed_answers_count_as_wrong():
    right = [Prediction(item_id=i.id, output=i.expected) for i in DEMO[:6]]
    right.append(Prediction(item_id=DEMO[6].id, output="no idea"))
    right.append(Prediction(item_id=DEMO[7].id, output=None, error="time-out"))
    result = evaluate(right, DEMO)
    assert result.accuracy == 0.6
    assert (result.n_missing, result.n_unextracted, result.n_failed) == (2, 1, 1)
    assert result.n_predictions == 8
    assert result.coverage == 0.7
    # Wilson 6/10: closed form, agrees with statsmodels proportion_confint
    assert result.accuracy_interval == pytest.approx((0.312674, 0.831820), abs=1e-6)
    assert result.metrics["exact_match"].interval_method == "wilson"


def test_half_of_the_predictions_missing_is_wrong_or_skipped_or_an_error():
    half = {i.id: i.expected for i in DEMO[:5]}
    counted = evaluate(half, DEMO, metrics=["exact_match", "f1"])
    assert (counted.accuracy, counted.metrics["f1"].value) == (0.5, 0.5)
    assert counted.metrics["exact_match"].n == 10
    skipped = evaluate(half, DEMO, missing="skip")
    assert (skipped.accuracy, skipped.coverage, skipped.n_missing) == (1.0, 0.5, 5)
    with pytest.raises(PredictionError, match="5 items without a prediction") as caught:
        evaluate(half, DEMO, missing="error")
    assert caught.value.ids == DEMO[5:].ids


def test_unknown_ids_and_repeated_samples_are_refused():
    with pytest.raises(PredictionError, match="6 predictions for unknown items: x/0") as caught:
        evaluate({f"x/{n}": "1" for n in range(6)}, DEMO)
    assert len(caught.value.ids) == 5
    twice = [Prediction(item_id=DEMO[0].id, output="1")] * 2
    with pytest.raises(PredictionError, match="1 samples predicted twice"):
        evaluate(twice, DEMO)


def test_samples_are_averaged_within_their_item_first():
    said = [
        {"item_id": DEMO[0].id, "output": DEMO[0].expected, "sample": 0},
        {"item_id": DEMO[0].id, "output": "999", "sample": 1},
        {"item_id": DEMO[0].id, "output": "999", "sample": 2},
        {"item_id": DEMO[1].id, "output": DEMO[1].expected},
    ]
    result = evaluate(said, DEMO[:2])
    assert result.scores() == {DEMO[0].id: pytest.approx(1 / 3), DEMO[1].id: 1.0}
    assert result.accuracy == pytest.approx(2 / 3)
    assert result.accuracy_interval is None
    assert "several answers per item" in result.accuracy_reason
    exact = result.metrics["exact_match"]
    assert exact.interval_method == "clustered"
    # closed form: mean +- 1.959964 * sd / sqrt(2) of (1/3, 1); sd = sqrt(2)/3
    assert exact.interval == pytest.approx((2 / 3 - 1.959964 / 3, 2 / 3 + 1.959964 / 3), abs=1e-6)


def test_scores_keep_the_order_of_the_data_set():
    backwards = {i.id: i.expected for i in reversed(list(DEMO))}
    assert tuple(evaluate(backwards, DEMO).scores()) == DEMO.ids


def test_a_batch_gives_the_numbers_of_single_evaluations():
    models = {name: {i.id: str(int(i.expected) + n * (k % 2)) for k, i in enumerate(DEMO)}
              for n, name in enumerate(("a", "b", "c"))}  # fmt: skip
    batch = evaluate_batch(models, DEMO)
    for result, (name, said) in zip(batch.results, models.items(), strict=True):
        alone = evaluate(said, DEMO, model=name)
        assert result.items == alone.items
        assert result.metrics == alone.metrics
    names, ids, rows = batch.matrix()
    assert (names, tuple(ids)) == (["a", "b", "c"], DEMO.ids)
    assert [sum(row) for row in rows] == [10, 5, 5]
    assert "| a | 10 | 0 | 0 | 1.0000 |" in batch.table()


def test_metrics_are_checked_before_anything_is_scored():
    def never(prediction, item):
        raise AssertionError("scored")

    with pytest.raises(ValueError, match=r"`metrics` must be among .*pass@k, got 'exact'"):
        evaluate({}, DEMO, metrics=[never, "exact"])
    with pytest.raises(ValueError, match="got the text 'f1'"):
        evaluate({}, DEMO, metrics="f1")
    with pytest.raises(ValueError, match="different names"):
        evaluate({}, DEMO, metrics=["f1", "f1"])


def test_a_metric_of_ones_own_may_leave_items_out():
    def short(prediction, item):
        return None if item is DEMO[0] else float(len(prediction.output) < 3)

    result = evaluate({i.id: i.expected for i in DEMO}, DEMO, metrics=[short])
    value = result.metrics["short"]
    assert (value.value, value.n) == (1.0, 9)
    assert value.reason == "undefined for 1 items, which are left out"


def test_answers_may_be_given_or_read_in_ones_own_way():
    said = {DEMO[0].id: f"<{DEMO[0].expected}>"}
    assert evaluate(said, DEMO[:1], extraction="none").accuracy == 1.0  # the only number in it
    assert evaluate(said, DEMO[:1], extraction=lambda text: text.strip("<>")).accuracy == 1.0
    assert evaluate(said, DEMO[:1], extraction=lambda text: None).n_unextracted == 1
    own = evaluate(
        said, DEMO[:1], extraction=lambda t: Extraction(value=None, method="m", ambiguous=True)
    )
    assert (own.n_ambiguous, own.items[0].method) == (1, "m")
    labelled = [Prediction(item_id=DEMO[0].id, output=None, label=DEMO[0].expected)]
    assert evaluate(labelled, DEMO[:1]).accuracy == 1.0


def test_scores_are_broken_down_by_a_field():
    mixed = load("demo-arithmetic")
    sums = {i.id: i.expected for i in mixed if i.metadata["operation"] == "sum"}
    assert evaluate(sums, mixed).by("operation") == {"difference": (0.0, 81), "sum": (1.0, 81)}
    with pytest.raises(ValueError, match="162 of 162 items lack"):
        evaluate(sums, mixed).by("colour")


CODE = load("demo-code")


def ran(outcomes):
    return [Execution(item_id=i.id, sample=n, outcome=o, duration_s=0.1)
            for i in CODE for n, o in enumerate(outcomes)]  # fmt: skip


def test_pass_at_k_counts_programs_that_were_run():
    said = [Prediction(item_id=i.id, output="x", sample=n) for i in CODE for n in range(3)]
    executions = ran(("passed", "failed", "timeout"))
    result = evaluate(said, CODE, metrics=["pass@1", "pass@2"], executions=executions)
    assert result.metrics["pass@1"].value == pytest.approx(1 / 3)
    assert result.metrics["pass@2"].value == pytest.approx(2 / 3)  # 1 - C(2,2)/C(3,2)
    assert result.accuracy == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match=r"`k` must be in \[1, 3\] for demo-code/double, got 4"):
        evaluate(said, CODE, metrics=["pass@4"], executions=executions)


def test_pass_at_k_says_what_has_to_be_run():
    with pytest.raises(ExecutionRequiredError, match=r"executions = run_code_sync\(dataset"):
        evaluate({i.id: "x" for i in CODE}, CODE)
    silent = evaluate({i.id: "x" for i in CODE}, CODE, metrics=["exact_match"])
    assert (silent.accuracy, silent.accuracy_reason) == (None, "the programs were not run")
    stranger = [Execution(item_id="x", sample=0, outcome="passed", duration_s=0)]
    with pytest.raises(PredictionError, match="executions for unknown items"):
        evaluate({}, CODE, executions=stranger)


def test_model_output_is_inert_wherever_it_is_shown():
    evil = "<script>alert(1)</script>|=cmd()"
    said = {DEMO[0].id: evil, DEMO[1].id: "=cmd()", DEMO[2].id: " @x", DEMO[3].id: "-1+2"}
    result = evaluate(said, DEMO[:4], model="<b>|m`")
    page = result.html()
    assert "<script" not in page
    assert "<b>" not in page
    assert "src=" not in page
    assert "&lt;script&gt;" in page
    table = result.markdown()
    assert "<b>" not in table
    rows = list(csv.DictReader(io.StringIO(result.csv())))
    assert [row["output"][0] for row in rows] == ["<", "'", "'", "'"]
    raw = list(csv.DictReader(io.StringIO(result.csv(raw=True))))
    assert [row["output"] for row in raw] == list(said.values())
    lines = [json.loads(line) for line in result.jsonl().splitlines()]
    assert [line["output"] for line in lines] == list(said.values())
    names = evaluate_batch({"<i>|x": said}, DEMO[:4]).table()
    assert "<i>" not in names
    assert names.splitlines()[2].count("|") - names.splitlines()[2].count("\\|") == 6


def test_results_are_json_and_items_without_a_reference_are_counted():
    items = [Item(id="u", input="?", expected=None), Item(id="k", input="?", expected="1")]
    result = evaluate({"u": "1", "k": "1"}, Dataset.from_items("x", items, task="math"))
    assert json.loads(json.dumps(result.to_dict()))["accuracy"] == 1.0
    assert result.metrics["exact_match"].n == 1
    empty = evaluate({"u": "1"}, Dataset.from_items("x", items[:1], task="math"))
    assert (empty.accuracy, empty.accuracy_reason) == (None, "no item has a reference")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"confidence": 1}, "`confidence` must be in"), ({"missing": "drop"}, "`missing` must be one of"),
     ({"extraction": "magic"}, "`extraction` must be")],
)  # fmt: skip
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        evaluate({}, DEMO, **options)
    with pytest.raises(ValueError, match="`dataset` must not be empty"):
        evaluate({}, DEMO[:0])
    with pytest.raises(ValueError, match="fields of Prediction"):
        evaluate([{"id": "x"}], DEMO)
    with pytest.raises(ValueError, match="`output` must be a text"):
        evaluate({DEMO[0].id: 5}, DEMO)


@given(st.lists(st.sampled_from(["right", "wrong", None]), min_size=10, max_size=10))
def test_accuracy_lies_in_its_interval_and_ignores_the_order_of_predictions(kinds):
    said = {
        item.id: item.expected if kind == "right" else "no"
        for item, kind in zip(DEMO, kinds, strict=True)
        if kind is not None
    }
    result = evaluate(said, DEMO)
    low, high = result.accuracy_interval
    assert 0 <= low <= result.accuracy <= high <= 1
    assert evaluate(dict(reversed(said.items())), DEMO).items == result.items


ERRORS = [
    all_errors.UnknownDatasetError("x", ["y"]),
    all_errors.DatasetUnavailableError("x", "test", [("url", "404")], "do that"),
    all_errors.ReservedNameError("x", "fields"),
    all_errors.ParseError("f", 3, "bad"),
    all_errors.IntegrityError("f", 1, 2),
    all_errors.CacheError("p", "full"),
    all_errors.LockMismatchError("x", "files", 1, 2),
    all_errors.LockFrozenError("p", "x"),
    all_errors.PredictionError("r", ["a"]),
    all_errors.ExecutionRequiredError("pass@1"),
    all_errors.ExecutionNotAllowedError(),
    all_errors.SandboxUnavailableError(["pid"], "no"),
    all_errors.MissingExtraError("BLEU", "text"),
]


def test_every_error_survives_pickling():
    errors = (c for c in vars(all_errors).values() if isinstance(c, type))
    tree = {c for c in errors if issubclass(c, Exception)} - {all_errors.DatasetsError}
    assert {type(e) for e in ERRORS} == tree
    for error in ERRORS:
        back = pickle.loads(pickle.dumps(error))
        assert (type(back), str(back), back.__dict__) == (type(error), str(error), error.__dict__)
        assert isinstance(error, all_errors.DatasetsError)
