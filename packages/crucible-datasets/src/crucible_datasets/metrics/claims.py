"""FEVER and SciFact scores, as the scorers of their authors compute them."""

from collections.abc import Mapping, Sequence
from typing import Any

from crucible_datasets.metrics.exact import claim_label, predicted
from crucible_datasets.metrics.metric import Answer, Corpus

MAX_LINES = 5  # FEVER: predicted evidence beyond it does not count
MAX_SENTENCES = 3  # SciFact: for the rationalised abstract score
NEI = "NOT ENOUGH INFO"
_NO_GOLD = "gold evidence or labels are missing"


def fever(answers: Sequence[Answer]) -> Mapping[str, Corpus]:
    """Compute FEVER's five numbers.

    Notes
    -----
    Strict score: the right label and, unless it is NOT ENOUGH INFO, one complete gold set among the
    first five predicted lines. Precision and recall are macro averages over the other claims; a
    claim without predicted lines has precision 1.

    References
    ----------
    .. [1] J. Thorne et al., The FEVER Shared Task, 2018; the organisers' `fever-scorer`.
    """
    names = (
        "label_accuracy",
        "evidence_precision",
        "evidence_recall",
        "evidence_f1",
        "fever_score",
    )
    labels = [claim_label(a.item.expected) for a in answers]
    if not answers or None in labels:
        return {name: Corpus(value=None, reason=_NO_GOLD) for name in names}
    right = [claim_label(predicted(a)) == gold for a, gold in zip(answers, labels, strict=True)]
    found = {"label_accuracy": Corpus(value=sum(right) / len(answers))}
    if any("evidence" not in a.item.metadata for a in answers):
        return {**{n: Corpus(value=None, reason=_NO_GOLD) for n in names[1:]}, **found}
    strict, precision, recall, verifiable = 0, 0.0, 0.0, 0
    for answer, label, correct in zip(answers, labels, right, strict=True):
        if label == NEI:
            strict += correct
            continue
        verifiable += 1
        gold = [{(str(p), int(n)) for p, n in lines} for lines in answer.item.metadata["evidence"]]
        said = _lines(answer.prediction.evidence)[:MAX_LINES]
        complete = any(lines <= set(said) for lines in gold)
        strict += correct and complete
        every = set().union(*gold)
        precision += sum(line in every for line in said) / len(said) if said else 1.0
        recall += complete or not gold
    p = precision / verifiable if verifiable else 1.0
    r = recall / verifiable if verifiable else 0.0
    return found | {
        "evidence_precision": Corpus(value=p),
        "evidence_recall": Corpus(value=r),
        "evidence_f1": Corpus(value=2 * p * r / (p + r) if p + r else 0.0),
        "fever_score": Corpus(value=strict / len(answers)),
    }


def _lines(evidence: Any) -> list[tuple[str, int]]:
    try:
        return [(str(page), int(line)) for page, line in evidence or ()]
    except (TypeError, ValueError):
        raise ValueError(
            f"`evidence` must be a list of [page, line] for FEVER, got {evidence!r}"
        ) from None


def scifact(answers: Sequence[Answer]) -> Mapping[str, Corpus]:
    """Compute SciFact's twelve numbers: four tasks, each with micro precision, recall and F1.

    Notes
    -----
    An abstract counts if its label is right; rationalised also if its first sentences, three or as
    many as the shortest gold rationale has, contain a whole gold rationale. A sentence counts only
    if the whole gold rationale it belongs to was predicted.

    References
    ----------
    .. [1] D. Wadden et al., Fact or Fiction, EMNLP 2020, section 5; the authors' `evaluate`.
    """
    tasks = ("abstract_label_only", "abstract_rationalized", "sentence_selection", "sentence_label")
    if not answers or any("evidence" not in a.item.metadata for a in answers):
        names = [f"{t}_{part}" for t in tasks for part in ("precision", "recall", "f1")]
        return {name: Corpus(value=None, reason=_NO_GOLD) for name in names}
    correct = dict.fromkeys(tasks, 0)
    abstracts = sentences = relevant_abstracts = relevant_sentences = 0
    for answer in answers:
        gold = answer.item.metadata["evidence"]
        relevant_abstracts += len(gold)
        relevant_sentences += sum(
            len({n for e in g for n in e["sentences"]}) for g in gold.values()
        )
        for doc, (label, said) in _abstracts(answer.prediction.evidence).items():
            abstracts += 1
            sentences += len(said)
            if doc not in gold:
                continue
            same = claim_label(gold[doc][0]["label"]) == label
            rationales = [set(e["sentences"]) for e in gold[doc]]
            first = set(said[: max(MAX_SENTENCES, min(map(len, rationales)))])
            hit = set().union(*(r for r in rationales if r <= set(said)))
            correct["abstract_label_only"] += same
            correct["abstract_rationalized"] += same and any(r <= first for r in rationales)
            correct["sentence_selection"] += len(hit & set(said))
            correct["sentence_label"] += len(hit & set(said)) if same else 0
    found: dict[str, Corpus] = {}
    for task in tasks:
        retrieved = abstracts if task.startswith("abstract") else sentences
        relevant = relevant_abstracts if task.startswith("abstract") else relevant_sentences
        p = correct[task] / retrieved if retrieved else 0.0
        r = correct[task] / relevant if relevant else 0.0
        found[f"{task}_precision"] = Corpus(value=p)
        found[f"{task}_recall"] = Corpus(value=r)
        found[f"{task}_f1"] = Corpus(value=2 * p * r / (p + r) if p + r else 0.0)
    return found


def _abstracts(evidence: Any) -> dict[str, tuple[str, list[int]]]:
    """Return label and sentences by document; documents said to hold nothing are left out."""
    found = {}
    try:
        for doc, said in (evidence or {}).items():
            label = claim_label(said["label"])
            if label is None:
                raise ValueError(said["label"])
            if label != NEI:
                found[str(doc)] = label, list(dict.fromkeys(int(n) for n in said["sentences"]))
    except (AttributeError, TypeError, KeyError, ValueError):
        raise ValueError(
            "`evidence` must map documents to {'label', 'sentences'} for SciFact, "
            f"got {evidence!r}"
        ) from None
    return found
