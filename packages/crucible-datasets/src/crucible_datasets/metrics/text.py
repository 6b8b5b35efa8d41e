"""BLEU and chrF by sacrebleu, ROUGE by rouge-score, against one or several references."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crucible_datasets.extras import need
from crucible_datasets.metrics.metric import Answer, Corpus, Measure, references

ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")


def bleu() -> Measure:
    """Return BLEU: the corpus score, and per item with effective order.

    References
    ----------
    .. [1] M. Post, A Call for Clarity in Reporting BLEU Scores, WMT 2018.
    """
    metrics = need("sacrebleu.metrics", extra="text", feature="BLEU")
    return _sacre("bleu", metrics.BLEU(), metrics.BLEU(effective_order=True))


def chrf() -> Measure:
    """Return chrF2: the corpus score, and per item."""
    metrics = need("sacrebleu.metrics", extra="text", feature="chrF")
    return _sacre("chrf", metrics.CHRF(), metrics.CHRF())


def _sacre(name: str, corpus: Any, sentence: Any) -> Measure:
    def item(answer: Answer) -> float | None:
        against = references(answer.item.expected)
        return float(sentence.sentence_score(answer.text, against).score) if against else None

    def whole(answers: Sequence[Answer]) -> Mapping[str, Corpus]:
        known = [(a.text, refs) for a in answers if (refs := references(a.item.expected))]
        if not known:
            return {name: Corpus(value=None, reason="no item has a reference")}
        most = max(len(refs) for _, refs in known)
        streams = [[refs[n] if n < len(refs) else None for _, refs in known] for n in range(most)]
        score = corpus.corpus_score([said for said, _ in known], streams)
        signature = str(corpus.get_signature())
        return {name: Corpus(value=float(score.score), signature=signature)}

    return Measure(name=name, unit="0-100", item=item, corpus=whole)


@dataclass(frozen=True, slots=True)
class _Rouge:
    scorer: Any
    name: str

    def __call__(self, answer: Answer) -> float | None:
        against = references(answer.item.expected)
        if not against:
            return None
        return float(self.scorer.score_multi(against, answer.text)[self.name].fmeasure)


def rouge(name: str) -> Measure:
    """Return the F measure of ROUGE, without stemming; the best of several references.

    References
    ----------
    .. [1] C.-Y. Lin, ROUGE: A Package for Automatic Evaluation of Summaries, 2004.
    """
    scorer = need("rouge_score.rouge_scorer", extra="text", feature="ROUGE")
    return Measure(name=name, item=_Rouge(scorer.RougeScorer([name], use_stemmer=False), name))
