"""Real benchmark files, formatted and read back."""

import gzip
import json
import re

import pytest

from crucible_lora.corpus import read_entries
from crucible_lora.formats import FeverFormat, Gsm8kFormat, SciFactFormat, format_from_dict
from crucible_lora.items import read_items
from crucible_lora.masking import lay_out_all
from crucible_lora.schemas import CLAIM_LINES, JsonSchema
from crucible_lora.scoring import Scoring, closed_labels
from crucible_lora.tokenizers import RoleTokenizer

SCHEMA = {
    "type": "object",
    "properties": {
        "verdict": {"enum": ["SUPPORTS", "REFUTES", "NOT ENOUGH INFO"]},
        "citations": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["verdict", "citations"],
    "additionalProperties": False,
}
LABELS = {"SUPPORT": "SUPPORTS", "REFUTE": "REFUTES", "CONTRADICT": "REFUTES"}


def rows(path):
    reader = gzip.open if path.suffix == ".gz" else open
    with reader(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def scifact(folder):
    corpus = {str(r["doc_id"]): r["abstract"] for r in rows(folder / "scifact/corpus.jsonl.gz")}
    items = []
    for row in rows(folder / "scifact/claims_train.jsonl"):
        evidence = row["evidence"]
        labels = {LABELS[e["label"]] for sets in evidence.values() for e in sets}
        texts = [corpus[d][n] for d, sets in evidence.items() for e in sets for n in e["sentences"]]
        items.append(
            {
                "id": f"scifact/{row['id']}",
                "input": row["claim"],
                "expected": labels.pop() if labels else "NOT ENOUGH INFO",
                "context": " ".join(texts) or None,
                "metadata": {"evidence": evidence},
            }
        )
    return items


def test_gsm8k_is_learned_step_by_step_to_its_number(benchmark_data):
    files = sorted((benchmark_data / "gsm8k").glob("*train*"))
    problems = [row for file in files for row in rows(file)]
    items = [
        {
            "id": str(i),
            "input": row["question"],
            "expected": row["answer"].rpartition("####")[2].strip(),
            "metadata": {"rationale": row["answer"].rpartition("####")[0].strip()},
        }
        for i, row in enumerate(problems)
    ]
    assert len(items) == 7473
    talks = {item.id: Gsm8kFormat()(item) for item in read_items(items)}
    examples, mask = lay_out_all(talks, RoleTokenizer(), max_length=4096, truncation="error")
    assert (len(examples), mask.n_dropped, mask.n_truncated) == (7473, 0, 0)
    assert all(re.search(r"\n#### -?[\d,.]+$", talk.completion) for talk in talks.values())
    assert next(iter(talks.values())).messages[0]["content"].endswith("\n\nSolution:")


def test_scifact_answers_parse_back_under_their_schema(benchmark_data):
    schema = JsonSchema(SCHEMA, citations="citations")
    cited = 0
    for item in read_items(scifact(benchmark_data)):
        talk = SciFactFormat()(item)
        parsed = schema.parse(talk.completion)
        assert parsed.ok, parsed.errors
        assert parsed.value["verdict"] == item.expected
        assert parsed.value["citations"] == sorted(map(int, item.metadata["evidence"]))
        marked = [talk.completion[a:b] for a, b in talk.spans]
        assert marked == [str(d) for d in parsed.value["citations"]]
        cited += len(marked)
    assert cited > 300


def test_scifact_claim_lines_parse_back_too(benchmark_data):
    with_evidence = [i for i in scifact(benchmark_data) if i["metadata"]["evidence"]]
    for item in read_items(with_evidence):
        talk = SciFactFormat(style="claim_lines")(item)
        found = CLAIM_LINES.parse(talk.completion).claims
        documents = sorted(map(int, item.metadata["evidence"]))
        assert [c.citations for c in found] == [(str(d),) for d in documents]
        assert [talk.completion[a:b] for a, b in talk.spans] == [str(d) for d in documents]


def test_the_prompts_are_as_documented():
    (item,) = read_items(
        [{"id": "x", "input": "Zinc helps.", "expected": "SUPPORTS", "context": "It does.",
          "metadata": {"evidence": {"4983": [], "12": []}}}]
    )  # fmt: skip
    talk = SciFactFormat()(item)
    assert talk.messages[0]["content"] == "Claim: Zinc helps.\nEvidence: It does.\n\nVerdict:"
    assert talk.completion == '{"verdict": "SUPPORTS", "citations": [12, 4983]}'
    lines = SciFactFormat(style="claim_lines")(item)
    assert lines.completion == (
        "CLAIM[c1]: Zinc helps. (citing 12)\nCLAIM[c2]: Zinc helps. (citing 4983)"
    )
    fever = FeverFormat()(item)
    assert fever.messages[0]["content"] == "Claim: Zinc helps.\n\nVerify:"
    assert fever.completion == "SUPPORTS"
    for format in (SciFactFormat(style="claim_lines"), FeverFormat()):
        assert format_from_dict(format.to_dict()) == format


def test_what_cannot_be_cited_is_refused():
    (bare, odd) = read_items(
        [
            {"id": "bare", "input": "x", "expected": "SUPPORTS"},
            {"id": "odd", "input": "y", "expected": "SUPPORTS", "metadata": {"evidence": {"a": 1}}},
        ]
    )
    assert SciFactFormat()(bare).completion == '{"verdict": "SUPPORTS", "citations": []}'
    with pytest.raises(ValueError, match="must have evidence to cite, item 'bare' has none"):
        SciFactFormat(style="claim_lines")(bare)
    with pytest.raises(ValueError, match="by number of document, item 'odd'"):
        SciFactFormat()(odd)
    with pytest.raises(ValueError, match="`style` must be json or claim_lines, got 'xml'"):
        SciFactFormat(style="xml")


@pytest.mark.parametrize("style", ["json", "claim_lines"])
def test_the_answers_of_scifact_pass_by_every_measure_of_citations(benchmark_data, style):
    items = scifact(benchmark_data)
    if style == "claim_lines":
        items = [i for i in items if i["metadata"]["evidence"]]
    schema = JsonSchema(SCHEMA, citations="citations") if style == "json" else CLAIM_LINES
    entries = read_entries(items, format=SciFactFormat(style=style))
    labels = closed_labels(entries)
    assert len(labels) == (3 if style == "json" else 0)  # lines of claims are no labels
    for entry in entries:
        scores = Scoring(schema=schema).score(entry.conversation.completion, entry, labels).scores
        assert scores.pop("citation_invalid_rate") == 0.0
        assert scores.pop("label_accuracy") == (1.0 if labels else None)
        assert set(scores.values()) == {1.0}, (entry.item.id, scores)
