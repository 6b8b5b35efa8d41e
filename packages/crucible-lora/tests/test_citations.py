import json

import numpy as np
import pytest

from crucible_lora import Gate, create_experiment, evaluate, train
from crucible_lora.citations import citation_scores, evidence_of
from crucible_lora.corpus import Entry
from crucible_lora.formats import Conversation
from crucible_lora.items import read_items
from crucible_lora.judging import judge_all
from crucible_lora.schemas import (
    CLAIM_LINES,
    Claim,
    JsonSchema,
    LinePattern,
    schema_from_dict,
    schema_to_dict,
)
from crucible_lora.scorers import LexicalEntailment, LexicalSimilarity
from crucible_lora.scoring import Scoring, closed_labels, label_of
from crucible_lora.testing import check_schema

VERDICT = JsonSchema(
    {
        "type": "object",
        "properties": {
            "verdict": {"type": "string"},
            "citations": {"type": "array", "items": {"type": "integer"}},
        },
        "required": ["verdict", "citations"],
    },
    citations="citations",
)
DOCUMENTS = {"4983": "Zinc does reduce fever in adults.", "77": "Sleep is long."}


def item(expected, **options):
    raw = {"id": "x", "input": "Zinc reduces fever", "expected": expected, **options}
    return read_items([raw])[0]


def entry(expected, **options):
    one = item(expected, **options)
    text = expected if isinstance(expected, str) else json.dumps(expected)
    message = {"role": "user", "content": one.input}
    return Entry(item=one, conversation=Conversation(messages=(message,), completion=text))


def answer(*citations, verdict="SUPPORTS"):
    return json.dumps({"verdict": verdict, "citations": list(citations)})


def scores(text, expected, *, schema=VERDICT, documents=DOCUMENTS, **tools):
    one = entry(expected, metadata={} if documents is None else {"documents": documents})
    return Scoring(schema=schema, **tools).score(text, one, frozenset()).scores


def test_claims_are_read_from_lines_and_from_json():
    text = "CLAIM[c1]: Zinc helps. (citing 4983)\n\n CLAIM[c2]: Sleep  (citing 77) "
    parsed = CLAIM_LINES.parse(text)
    assert parsed.ok
    assert parsed.claims == (
        Claim(id="1", text="Zinc helps.", citations=("4983",)),
        Claim(id="2", text="Sleep", citations=("77",)),
    )
    assert VERDICT.parse(answer(4983, 77, 77)).claims == (
        Claim(id="1", text=None, citations=("4983", "77")),
    )
    assert VERDICT.parse("{}").claims == ()
    check_schema(CLAIM_LINES, good=text, bad=f"Sure! {text}")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "there is no claim"),
        ("CLAIM[c1]: a (citing 1)\nand so on", "no claim: 'and so on'"),
        ("CLAIM[c1]: a (citing 1)\nCLAIM[c1]: b (citing 2)", "claim '1' comes twice"),
        ("CLAIM[x]: a (citing 1)", "no claim: 'CLAIM"),
        ("CLAIM[c1]: a", "no claim: 'CLAIM"),
    ],
)
def test_compliance_is_of_the_whole_text_and_not_of_the_lines_that_match(text, error):
    parsed = CLAIM_LINES.parse(text)
    assert not parsed.ok
    assert any(error in e for e in parsed.errors)


def test_a_pattern_names_all_of_its_groups():
    one = LinePattern(r"(\d+)\. (.*)", ("id", "text"))
    assert one.parse("1. a\n2. b").ok
    assert not one.cites
    for regex, groups, message in (
        ("(", ("id", "text"), "`regex` must be a regular expression"),
        ("(a)", ("id", "text"), "must name the 1 groups"),
        ("(a)(b)", ("id", "cite"), "must be id, text and perhaps citation"),
        ("(a)", ("id",), "must be id, text and perhaps citation"),
    ):
        with pytest.raises(ValueError, match=message):
            LinePattern(regex, groups)
    with pytest.raises(ValueError, match="`citations` must be a key"):
        JsonSchema({}, citations="")


@pytest.mark.parametrize("schema", [CLAIM_LINES, VERDICT], ids=["lines", "json"])
def test_schemas_survive_storage(schema):
    stored = json.loads(json.dumps(schema_to_dict(schema)))
    assert schema_from_dict(stored).to_dict() == schema.to_dict()


# valid / max(expected, produced), valid / produced, valid / expected, 1 - precision: by hand
@pytest.mark.parametrize(
    ("cited", "gold", "accuracy", "precision", "recall", "invalid"),
    [
        ((4983,), (4983,), 1.0, 1.0, 1.0, 0.0),
        ((4983, 77), (4983,), 0.5, 0.5, 1.0, 0.5),
        ((4983,), (4983, 77), 0.5, 1.0, 0.5, 0.0),
        ((77,), (4983,), 0.0, 0.0, 0.0, 1.0),
        ((), (4983,), 0.0, 0.0, 0.0, 1.0),
        ((), (), 1.0, 1.0, 1.0, 0.0),
        ((77,), (), 0.0, 0.0, 1.0, 1.0),
        ((4983, 4983), (4983,), 1.0, 1.0, 1.0, 0.0),  # said twice is said once
        ((999,), (999,), 0.0, 0.0, 0.0, 1.0),  # in the gold, but not in the corpus
    ],
)
def test_citations_are_held_against_the_gold_evidence(
    cited, gold, accuracy, precision, recall, invalid
):
    one = item(answer(), metadata={"documents": DOCUMENTS, "evidence": list(gold)})
    evidence = evidence_of(one, VERDICT.parse(answer()))
    found = citation_scores(VERDICT.parse(answer(*cited)).claims, evidence, question="?")
    assert found == {
        "citation_accuracy": accuracy,
        "citation_precision": precision,
        "citation_recall": recall,
        "citation_invalid_rate": invalid,
    }


def test_what_cannot_be_read_cites_nothing_rightly():
    found = scores("The claim is supported by 4983.", answer(4983))
    assert found["citation_accuracy"] == 0.0
    assert found["citation_invalid_rate"] == 1.0
    assert found["overall_pass_rate"] == 0.0
    nothing = entry(answer(), metadata={"documents": DOCUMENTS, "evidence": {}})
    failed = Scoring(schema=VERDICT).score(None, nothing, frozenset()).scores
    assert failed["citation_accuracy"] == 0.0  # it failed, though nothing was expected of it
    assert failed["citation_invalid_rate"] == 0.0


def test_the_expected_answer_is_the_gold_where_none_is_given():
    assert scores(answer(4983), answer(4983))["citation_accuracy"] == 1.0
    assert scores(answer(77), answer(4983))["citation_accuracy"] == 0.0
    assert scores(answer(4983), answer(4983), documents=None)["citation_accuracy"] == 1.0


def test_each_claim_has_citations_of_its_own():
    expected = "CLAIM[c1]: a (citing 4983)\nCLAIM[c2]: b (citing 77)"
    swapped = "CLAIM[c1]: a (citing 77)\nCLAIM[c2]: b (citing 4983)"
    assert scores(expected, expected, schema=CLAIM_LINES)["citation_accuracy"] == 1.0
    assert scores(swapped, expected, schema=CLAIM_LINES)["citation_accuracy"] == 0.0


def test_the_evidence_of_an_item_is_that_of_each_of_its_claims():
    expected = "CLAIM[c1]: a (citing 4983)\nCLAIM[c2]: a (citing 77)"
    one = entry(expected, metadata={"documents": DOCUMENTS, "evidence": {"4983": [], "77": []}})
    scoring = Scoring(schema=CLAIM_LINES)
    assert scoring.score(expected, one, frozenset()).scores["citation_accuracy"] == 1.0
    alone = scoring.score("CLAIM[c1]: a (citing 77)", one, frozenset()).scores
    assert (alone["citation_accuracy"], alone["citation_precision"]) == (0.5, 1.0)


def test_a_claim_that_is_left_out_is_no_compliance():
    expected = "CLAIM[c1]: a (citing 4983)\nCLAIM[c2]: b (citing 77)"
    found = scores("CLAIM[c1]: a (citing 4983)", expected, schema=CLAIM_LINES)
    assert found["schema_compliance"] == 0.0
    assert found["citation_accuracy"] == 0.5
    assert scores("", expected, schema=CLAIM_LINES)["schema_compliance"] == 0.0


def test_without_gold_the_words_of_the_document_decide_and_that_is_told():
    one = entry(answer(), metadata={"documents": DOCUMENTS})
    scoring = Scoring(schema=VERDICT)
    # "Zinc reduces fever": zinc and fever of three content words are in 4983, none is in 77.
    for cited, accuracy in (((4983,), 1.0), ((77,), 0.0), ((), 0.0)):
        found = scoring.score(answer(*cited), one, frozenset())
        assert found.scores["citation_accuracy"] == accuracy
        assert "citation_accuracy" in found.proxies
    with_gold = entry(answer(4983), metadata={"documents": DOCUMENTS})
    assert not scoring.score(answer(4983), with_gold, frozenset()).proxies


def test_nothing_known_is_nothing_judged():
    found = scores(answer(4983), answer(), documents=None)
    assert found["citation_accuracy"] is None
    assert found["overall_pass_rate"] is None
    assert found["schema_compliance"] == 1.0


def test_word_overlap_counts_content_words_and_minds_negation():
    said = LexicalEntailment().entailment(
        [
            ("Zinc does reduce fever in adults.", "Zinc reduces fever"),
            ("Zinc does not reduce fever.", "Zinc does reduce fever"),
            ("Zinc does not reduce fever.", "Zinc doesn't reduce fever"),
            ("", "Zinc"),
            ("Zinc", "the of and"),
        ]
    )
    assert said == pytest.approx([2 / 3, 0.0, 1.0, 0.0, 0.0])


def test_similarity_is_the_cosine_of_counts():
    found = LexicalSimilarity().similarity(
        [("a b", "b a"), ("a a b", "a b b"), ("a", "b"), ("", "a")]
    )
    # (1, 1)(1, 1); (2, 1)(1, 2) / 5; disjoint; no word
    assert found == pytest.approx([1.0, 4 / 5, 0.0, 0.0])


class Judge:
    """Says what it was told to, and notes what it was asked."""

    name, proxy = "judge", False

    def __init__(self, *answers):
        self.answers, self.asked = answers, []

    def entailment(self, pairs):
        self.asked += pairs
        return self.answers

    similarity = entailment


def test_a_claim_is_entailed_by_the_text_that_it_cites():
    judge = Judge(0.9, 0.5)
    expected = "CLAIM[c1]: a (citing 4983)\nCLAIM[c2]: b (citing 77)"
    found = scores(
        "CLAIM[c1]: x (citing 4983)\nCLAIM[c2]: y (citing 77)", expected,
        schema=CLAIM_LINES, entailment=judge,
    )  # fmt: skip
    assert judge.asked == [(DOCUMENTS["4983"], "x"), (DOCUMENTS["77"], "y")]
    assert found["mean_entailment"] == pytest.approx(0.7)
    assert found["entailment_pass_rate"] == 0.5  # from .75
    assert found["overall_pass_rate"] == 0.0


def test_a_missing_claim_and_an_unknown_document_entail_nothing():
    expected = "CLAIM[c1]: a (citing 4983)\nCLAIM[c2]: b (citing 77)"
    found = scores(
        "CLAIM[c1]: x (citing 5)", expected, schema=CLAIM_LINES, entailment=Judge(1.0, 1.0)
    )
    assert found["mean_entailment"] == 0.0


def test_a_verdict_is_about_the_items_input():
    judge = Judge(1.0)
    found = scores(answer(4983), answer(4983), entailment=judge)
    assert judge.asked == [(DOCUMENTS["4983"], "Zinc reduces fever")]
    assert found["overall_pass_rate"] == 1.0
    assert scores(answer(4983), answer(4983), similarity=Judge(0.69))["similarity_pass_rate"] == 0.0
    assert scores(answer(4983), answer(4983), similarity=Judge(0.70))["similarity_pass_rate"] == 1.0


def test_a_judge_that_does_not_answer_everything_is_refused():
    with pytest.raises(ValueError, match="a number per pair, got 2 of 1"):
        scores(answer(4983), answer(4983), entailment=Judge(1.0, 1.0))


def test_a_label_is_the_verdict_of_the_json_or_the_text_itself():
    assert label_of(' {"verdict": "SUPPORTS", "citations": []}') == "SUPPORTS"
    assert label_of('{"label": "x"}') == "x"
    assert label_of(" NOT ENOUGH INFO\n") == "NOT ENOUGH INFO"
    assert label_of("[1]") == "[1]"
    few = [entry(text) for text in ("SUPPORTS", "REFUTES") * 3]
    assert closed_labels(few) == {"SUPPORTS", "REFUTES"}
    assert closed_labels([entry(f"answer {i}") for i in range(6)]) == frozenset()
    found = Scoring().score("SUPPORTS.", few[0], closed_labels(few)).scores
    assert found == {"exact_match": 0.0, "label_accuracy": 0.0}


def test_a_gate_that_words_passed_says_so():
    table = np.ones((60, 1))
    report = judge_all(
        [Gate("mean_entailment", 0.5)], {"mean_entailment": table}, reasons={},
        proxies={"mean_entailment"}, n_expected=60, n_produced=60, n_failed=0, checkpoint="s",
    )  # fmt: skip
    assert report.gates[0].proxy
    assert "| pass (by word overlap) |" in report.markdown()


SENTENCES = ("zinc reduces fever", "sleep reduces stress", "garlic reduces pain")


def cited_items(n):
    found = []
    for i in range(n):
        claim, document = f"{SENTENCES[i % 3]} {i}", str(100 + i % 3)
        found.append(
            {
                "id": f"i{i}",
                "input": claim,
                "expected": json.dumps({"verdict": "SUPPORTS", "citations": [int(document)]}),
                "metadata": {"documents": {str(100 + k): s for k, s in enumerate(SENTENCES)}},
            }
        )
    return found


@pytest.mark.anyio
async def test_every_metric_of_citations_is_computed_from_real_outputs(tmp_path):
    experiment = create_experiment("c", {"base_model": "reference", "lr": 1e-2}, directory=tmp_path)
    items = cited_items(90)
    report = await train(
        experiment, items, epochs=12, batch_size=16, schema=VERDICT, holdout=0.4,
        quality_targets={"citation_accuracy": 0.8, "citation_invalid_rate": 0.2},
    )  # fmt: skip
    assert [g.direction for g in report.quality.gates] == ["min", "max"]
    assert report.quality.verdict == "pass"
    from crucible_lora.runs import Run

    held = {e.item.id for e in Run.latest(experiment.directory).corpus().held_out}
    evaluated = await evaluate(
        experiment, [i for i in items if i["id"] in held], schema=VERDICT, checkpoint="latest",
        entailment=LexicalEntailment(), similarity=LexicalSimilarity(),
        gates=[Gate("mean_entailment", 0.5), Gate("overall_pass_rate", 0.45)], max_tokens=60,
    )  # fmt: skip
    metrics = evaluated.metrics
    assert metrics["citation_accuracy"].value == report.quality.gates[0].observed
    assert metrics["citation_accuracy"].source == "generated"
    assert metrics["mean_entailment"].source == "lexical"
    assert metrics["citation_invalid_rate"].direction == "min"
    # Three of four content words are in the document, the number is not; .75 passes.
    assert metrics["entailment_pass_rate"].value == metrics["citation_accuracy"].value
    assert metrics["similarity_pass_rate"].value == metrics["schema_compliance"].value
    assert metrics["label_accuracy"].value == metrics["schema_compliance"].value
    assert [g.proxy for g in evaluated.quality.gates] == [True, True]
    assert "by word overlap" in evaluated.markdown()
    assert 0.9 < metrics["token_accuracy"].value <= 1.0
    assert evaluated.delta["citation_accuracy"].base == 0.0
