import itertools
import json
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_datasets import Dataset, Item, Prediction, evaluate
from crucible_datasets.metrics.claims import fever as fever_scores
from crucible_datasets.metrics.exact import ExactMatch
from crucible_datasets.metrics.execution import pass_at_k
from crucible_datasets.metrics.squad import overlap, tokens


def qa(pairs, task="qa"):
    items = [Item(id=f"q/{n}", input="?", expected=gold) for n, (_, gold) in enumerate(pairs)]
    said = {f"q/{n}": text for n, (text, _) in enumerate(pairs)}
    return said, Dataset.from_items("q", items, task=task)


@pytest.mark.parametrize(
    ("said", "gold", "f1"),
    [  # acceptance 6
        ("the cat sat on the mat", "a cat on a mat", 0.857143), ("Paris, France", "paris", 0.666667),
        ("the the the dog", "dog dog", 0.666667), ("the", "an", 1.0),
        ("New York New York", "New York", 0.666667),
    ],
)  # fmt: skip
def test_squad_f1_counts_shared_words(said, gold, f1):
    result = evaluate(*qa([(said, gold)]), metrics=["f1"])
    assert result.metrics["f1"].value == pytest.approx(f1, abs=5e-7)


@pytest.fixture(scope="module")
def official():
    import importlib.util
    from pathlib import Path

    spec = importlib.util.spec_from_file_location(
        "squad_official", Path(__file__).with_name("squad_official.py")
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_squad_scores_equal_the_official_functions_on_real_answers(benchmark_data, official):
    lines = (benchmark_data / "gsm8k" / "train.jsonl").read_text().splitlines()
    answers = [json.loads(line)["answer"] for line in lines]
    pairs = list(zip(answers, answers[1:] + answers[:1], strict=True))
    f1 = [overlap(tokens(a), tokens(b))[2] for a, b in pairs]
    assert f1 == [official.f1(a, b) for a, b in pairs]
    # acceptance 6: the sum over consecutive answers, the last one without a successor included or
    # not, as the official script gives it
    assert sum(f1) == pytest.approx(511.9990238, abs=1e-6)


@given(st.text(alphabet="aethn .,'-_\u00e9\u0301\u201c\t\x0b", max_size=30))
def test_squad_normalisation_equals_the_official_one(official, text):
    assert tokens(text) == official.normalize(text).split()


@given(st.lists(st.sampled_from("abc")), st.lists(st.sampled_from("abc")))
def test_f1_is_symmetric_and_swaps_precision_and_recall(a, b):
    forth, back = overlap(a, b), overlap(b, a)
    assert forth[2] == pytest.approx(back[2])
    assert forth[:2] == (back[1], back[0])
    assert all(0 <= x <= 1 for x in forth)


def test_the_best_of_several_references_counts():
    result = evaluate(
        *qa([("Paris", ["Lyon", "Paris"])]), metrics=["exact_match", "f1", "precision", "recall"]
    )
    assert {name: m.value for name, m in result.metrics.items()} == dict.fromkeys(
        result.metrics, 1.0
    )


def test_bleu_and_chrf_are_sacrebleus_with_its_signature():
    import sacrebleu

    pairs = [("The cat sat on the mat.", "The cat is on the mat."), ("Paris", "Paris")]
    result = evaluate(*qa(pairs, "text"), metrics=["bleu", "chrf"])
    bleu, chrf = result.metrics["bleu"], result.metrics["chrf"]
    assert bleu.value == pytest.approx(49.14, abs=0.005)  # acceptance 7
    assert chrf.value == pytest.approx(70.15, abs=0.005)
    assert (bleu.level, bleu.unit) == ("corpus", "0-100")
    said, gold = zip(*pairs, strict=True)
    assert bleu.value == sacrebleu.corpus_bleu(said, [gold]).score
    assert bleu.signature.startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert result.scores("bleu")["q/1"] == pytest.approx(100)  # effective order: equal is 100


def test_rouge_is_rouge_scores():
    result = evaluate(
        *qa([("The cat sat on the mat.", "The cat is on the mat.")], "text"),
        metrics=["rouge1", "rouge2", "rougeL", "rougeLsum"],
    )
    values = [result.metrics[name].value for name in ("rouge1", "rouge2", "rougeL")]
    assert values == pytest.approx([0.833333, 0.6, 0.833333], abs=5e-7)  # acceptance 7


def test_macro_scores_equal_scikit_learn():
    from sklearn.metrics import balanced_accuracy_score, f1_score

    gold = ["a", "a", "b", "b", "b", "c"]
    said = ["a", "b", "b", "b", "d", "a"]
    pairs = list(zip(said, gold, strict=True))
    result = evaluate(*qa(pairs, "classification"), metrics=["macro_f1", "balanced_accuracy"])
    macro = result.metrics["macro_f1"]
    assert macro.value == pytest.approx(
        f1_score(gold, said, labels=["a", "b", "c"], average="macro", zero_division=0)
    )
    assert macro.reason == "predicted but not in the gold labels: d"
    with pytest.warns(UserWarning, match="y_pred contains classes"):
        expected = balanced_accuracy_score(gold, said)
    assert result.metrics["balanced_accuracy"].value == pytest.approx(expected)


def test_lists_match_in_order_or_as_multisets():
    items = [Item(id="l", input="?", expected=["x", "y", "y"])]
    dataset = Dataset.from_items("l", items, task="text")
    for said, ordered, unordered in (
        ('["X", "y", "y"]', 1, 1), ("y, x, y", 0, 1), ("x\ny\n", 0, 0),
    ):  # fmt: skip
        result = evaluate({"l": said}, dataset, metrics=["exact_match", ExactMatch(unordered=True)])
        values = [m.value for m in result.metrics.values()]
        assert values == [ordered, unordered]


# FEVER and SciFact: the values that the organisers' own scorers print, acceptance 8 and 9.


def fever_of(fever, make):
    predictions = [make(item) for item in fever]
    names = [
        "fever_score",
        "label_accuracy",
        "evidence_precision",
        "evidence_recall",
        "evidence_f1",
    ]
    result = evaluate(predictions, fever, metrics=names)
    return [result.metrics[name].value for name in names]


def labelled(item, label, evidence):
    return Prediction(item_id=item.id, output=None, label=label, evidence=evidence)


def first_set(item):
    return item.metadata["evidence"][0] if item.metadata["evidence"] else []


def test_fever_gold_evidence_scores_what_the_official_scorer_says(fever):
    found = fever_of(fever, lambda i: labelled(i, i.expected, first_set(i)))
    assert found[:4] == pytest.approx([0.998899890, 1, 1, 0.998349835], abs=1e-9)


def test_fever_all_supports_scores_what_the_official_scorer_says(fever):
    def guess(item):
        page = first_set(item)[0][0] if first_set(item) else "Nowhere"
        return labelled(item, "SUPPORTS", [[page, 0]])

    expected = [0.141614161, 0.333333333, 0.525952595, 0.479597960, 0.501706832]
    assert fever_of(fever, guess) == pytest.approx(expected, abs=1e-9)


def test_fever_all_refutes_scores_what_the_official_scorer_says(fever):
    def guess(item):
        page = first_set(item)[0][0] if first_set(item) else "Nowhere"
        return labelled(item, "REFUTES", [[page, line] for line in range(6)])

    found = fever_of(fever, guess)
    assert [found[0], *found[2:4]] == pytest.approx(
        [0.253625363, 0.191929193, 0.718271827], abs=1e-9
    )


def test_fever_all_nei_scores_what_the_official_scorer_says(fever):
    found = fever_of(fever, lambda i: labelled(i, "NOT ENOUGH INFO", []))
    assert found == pytest.approx([1 / 3, 1 / 3, 1, 0, 0], abs=1e-9)


def test_fever_labels_are_also_read_from_text(fever):
    said = {item.id: f"Verdict: {item.expected}" for item in fever}
    assert evaluate(said, fever).metrics["label_accuracy"].value == 1.0


def test_a_score_without_gold_is_undefined_and_says_why():
    items = [Item(id="c", input="claim", expected="SUPPORTS")]
    found = evaluate({"c": "SUPPORTS"}, Dataset.from_items("c", items, task="claim"),
                     metrics=["fever_score", "scifact", "label_accuracy"])  # fmt: skip
    assert found.metrics["fever_score"].value is None
    assert found.metrics["fever_score"].reason == "gold evidence or labels are missing"
    assert found.metrics["sentence_label_f1"].value is None
    assert found.metrics["label_accuracy"].value == 1.0
    assert fever_scores([])["fever_score"].value is None


def scifact_of(scifact, make):
    predictions = [labelled(item, None, make(item)) for item in scifact]
    return {
        k: m.value for k, m in evaluate(predictions, scifact, metrics=["scifact"]).metrics.items()
    }


def test_scifact_gold_evidence_is_perfect(scifact):
    found = scifact_of(scifact, lambda item: {
        doc: {"label": sets[0]["label"], "sentences": sorted({n for e in sets for n in e["sentences"]})}
        for doc, sets in item.metadata["evidence"].items()
    })  # fmt: skip
    assert len(found) == 12
    assert set(found.values()) == {1.0}


def test_scifact_first_rationale_scores_what_the_official_scorer_says(scifact):
    found = scifact_of(scifact, lambda item: {
        doc: {"label": sets[0]["label"], "sentences": sets[0]["sentences"]}
        for doc, sets in item.metadata["evidence"].items()
    })  # fmt: skip
    assert found["sentence_selection_recall"] == pytest.approx(0.642076503, abs=1e-9)
    assert found["sentence_selection_f1"] == pytest.approx(0.782029950, abs=1e-9)


def test_scifact_constant_answers_score_what_the_official_scorer_says(scifact):
    found = scifact_of(scifact, lambda item: {
        doc: {"label": "SUPPORT", "sentences": [0, 1, 2]} for doc in item.metadata["cited_doc_ids"]
    })  # fmt: skip
    expected = {
        "abstract_label_only_precision": 0.407079646, "abstract_label_only_recall": 0.660287081,
        "abstract_label_only_f1": 0.503649635, "abstract_rationalized_f1": 0.109489051,
        "sentence_selection_f1": 0.073752711, "sentence_label_f1": 0.047722343,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)


def test_evidence_of_another_shape_is_refused(fever, scifact):
    for dataset in (fever, scifact):
        wrong = [Prediction(item_id=dataset[5].id, output=None, label="SUPPORTS", evidence=[1, 2])]
        name = "fever_score" if dataset is fever else "scifact"
        with pytest.raises(ValueError, match="`evidence` must"):
            evaluate(wrong, dataset[5:6], metrics=[name])


@pytest.mark.parametrize(
    ("n", "c", "k", "value"),
    [(10, 3, 1, 0.3), (10, 3, 5, 0.916666667), (200, 10, 10, 0.408547866),
     (200, 10, 100, 0.999228974), (5, 5, 3, 1.0), (5, 0, 3, 0.0)],
)  # fmt: skip
def test_pass_at_k_is_chens_estimator(n, c, k, value):
    assert pass_at_k(n, c, k) == pytest.approx(value, abs=5e-10)  # acceptance 10
    assert pass_at_k(n, c, k) == pytest.approx(1 - comb(n - c, k) / comb(n, k))


@pytest.mark.parametrize("k", range(1, 11))
def test_pass_at_k_is_the_mean_over_all_subsets(k):
    outcomes = [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    subsets = [any(s) for s in itertools.combinations(outcomes, k)]
    assert pass_at_k(10, 3, k) == pytest.approx(sum(subsets) / len(subsets), abs=1e-14)


def test_more_samples_than_there_are_cannot_be_drawn():
    with pytest.raises(ValueError, match=r"`k` must be in \[1, 5\], got 6"):
        pass_at_k(5, 2, 6)
