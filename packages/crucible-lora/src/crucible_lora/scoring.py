"""What one output is worth, by every metric that was asked for."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crucible_lora.citations import Evidence, citation_scores, evidence_of
from crucible_lora.corpus import Entry
from crucible_lora.items import TrainingItem
from crucible_lora.metrics import METRICS
from crucible_lora.options import lacking
from crucible_lora.schemas import Claim, OutputSchema, Parsed
from crucible_lora.scorers import Entailment, Similarity

Scorer = Callable[[str, TrainingItem], float | None]
Scores = dict[str, float | None]
ENTAILED, SIMILAR = 0.75, 0.70  # from which a claim passes
_LABEL_KEYS = ("verdict", "label")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The scores of one output by metric, None where unknown; `proxies` rest on word overlap."""

    scores: Scores
    parsed: Parsed | None
    proxies: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """The means by which outputs are scored.

    Parameters
    ----------
    schema : OutputSchema, optional
    scorers : mapping of name to callable
    entailment : Entailment, optional
    similarity : Similarity, optional
    """

    schema: OutputSchema | None = None
    scorers: Mapping[str, Scorer] = field(default_factory=dict)
    entailment: Entailment | None = None
    similarity: Similarity | None = None

    @property
    def slow(self) -> bool:
        """Whether a model may be asked, so that it is done beside the event loop."""
        return self.entailment is not None or self.similarity is not None

    def reason(self, name: str) -> str | None:
        """Return what a metric needs that is not there, if anything."""
        missing = lacking(
            name,
            schema=self.schema,
            entailment=self.entailment is not None,
            similarity=self.similarity is not None,
        )
        return None if missing is None else f"needs {missing}"

    def names(self) -> tuple[str, ...]:
        """Return the metrics of outputs that can be computed."""
        ours = [m.name for m in METRICS if m.rate and self.reason(m.name) is None]
        return (*ours, *self.scorers)

    def source(self, name: str) -> str:
        """Return where a metric comes from: the generated text, or whoever judged it."""
        judge = self._judge(name)
        return "generated" if judge is None else judge.name

    def is_proxy(self, name: str) -> bool:
        """Return whether a stand-in computed a metric."""
        judges: list[Entailment | Similarity | None] = [self._judge(name)]
        if name == "overall_pass_rate":
            judges = [self.entailment, self.similarity]
        return any(judge is not None and judge.proxy for judge in judges)

    def score(self, text: str | None, entry: Entry, labels: frozenset[str]) -> Scored:
        """Return the scores of an output; None is one that failed, which is wrong everywhere.

        Parameters
        ----------
        labels : set of str
            Those that the items' answers have; empty if they are no labels.
        """
        completion = entry.conversation.completion
        scores: Scores = dict.fromkeys((*self.names(),), 0.0)
        if not labels:
            scores["label_accuracy"] = None
        parsed = None
        if text is not None:
            scores["exact_match"] = float(text.strip() == completion.strip())
            if labels:
                scores["label_accuracy"] = float(label_of(text) == label_of(completion))
            for name, scorer in self.scorers.items():
                found = scorer(text, entry.item)
                scores[name] = None if found is None else float(found)
        proxies: frozenset[str] = frozenset()
        if self.schema is not None:
            parsed = None if text is None else self.schema.parse(text)
            proxies = self._score_claims(scores, parsed, entry, self.schema.parse(completion))
        return Scored(scores=scores, parsed=parsed, proxies=proxies)

    def _judge(self, name: str) -> Entailment | Similarity | None:
        if name in ("mean_entailment", "entailment_pass_rate"):
            return self.entailment
        return self.similarity if name == "similarity_pass_rate" else None

    def _score_claims(
        self, scores: Scores, parsed: Parsed | None, entry: Entry, expected: Parsed
    ) -> frozenset[str]:
        """Set the scores that need a schema, and return which of them rest on word overlap."""
        made = parsed.claims if parsed is not None else ()
        ids = {claim.id for claim in made}
        whole = all(claim.id in ids for claim in expected.claims)
        scores["schema_compliance"] = float(parsed is not None and parsed.ok and whole)
        if "citation_accuracy" not in scores:
            return frozenset()
        question = entry.item.input or _last_user(entry)
        evidence = evidence_of(entry.item, expected)
        readable = made if made or (parsed is not None and parsed.ok) else None
        scores.update(citation_scores(readable, evidence, question=question))
        if not expected.claims:
            unknown = [n for n in scores if _is_about_claims(n)]
            scores.update(dict.fromkeys(unknown))
        else:
            scores.update(self._claims_by_meaning(made, evidence, question))
        scores["overall_pass_rate"] = _overall(scores)
        by_overlap = evidence.judged and evidence.gold is None
        return frozenset(n for n in scores if by_overlap and n.startswith("citation_"))

    def _claims_by_meaning(
        self, made: Sequence[Claim], evidence: Evidence, question: str
    ) -> Scores:
        found: Scores = {}
        by_id = {claim.id: claim for claim in made}
        pairs = [(claim, by_id.get(claim.id)) for claim in evidence.claims]
        if self.entailment is not None:
            if evidence.documents is None:
                found |= dict.fromkeys(("mean_entailment", "entailment_pass_rate"))
            else:
                asked = [
                    (evidence.text_of(m), question if m is None else _said(m, question))
                    for _, m in pairs
                ]
                chances = _ask(self.entailment.entailment, asked)
                chances = [c if asked[i][0] else 0.0 for i, c in enumerate(chances)]
                for i, (claim, mine) in enumerate(pairs):
                    if _cites_nothing_rightly(claim, mine, evidence):
                        chances[i] = 1.0
                found["mean_entailment"] = sum(chances) / len(chances)
                found["entailment_pass_rate"] = sum(c >= ENTAILED for c in chances) / len(chances)
        if self.similarity is not None:
            same = [("" if m is None else _said(m, question), _said(c, question)) for c, m in pairs]
            close = _ask(self.similarity.similarity, same)
            close = [c if pairs[i][1] is not None else 0.0 for i, c in enumerate(close)]
            found["similarity_pass_rate"] = sum(c >= SIMILAR for c in close) / len(close)
        return found


def closed_labels(entries: Sequence[Entry]) -> frozenset[str]:
    """Return the labels of a data set's answers; empty if they are no labels.

    They are, if there are at most 20 and half as many as items.
    """
    labels = frozenset(label_of(e.conversation.completion) for e in entries)
    return labels if len(labels) <= min(20, len(entries) / 2) else frozenset()


def label_of(text: str) -> str:
    """Return the `verdict` or `label` of a JSON object, or else the text itself, stripped."""
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        for key in _LABEL_KEYS:
            if isinstance(value.get(key), str):
                return str(value[key])
    return text.strip()


def _ask(
    judge: Callable[[Sequence[tuple[str, str]]], Sequence[float]], pairs: list[tuple[str, str]]
) -> list[float]:
    found = [float(x) for x in judge(pairs)]
    if len(found) != len(pairs):
        raise ValueError(
            f"a scorer must return a number per pair, got {len(found)} of {len(pairs)}"
        )
    return found


def _said(claim: Claim, question: str) -> str:
    return question if claim.text is None else claim.text


def _cites_nothing_rightly(claim: Claim, mine: Claim | None, evidence: Evidence) -> bool:
    """Return whether a claim needs no evidence and names none."""
    wanted = () if evidence.gold is None else evidence.gold.get(claim.id, ())
    return evidence.gold is not None and not wanted and mine is not None and not mine.citations


def _is_about_claims(name: str) -> bool:
    return name.startswith("citation_") or name in (
        "mean_entailment",
        "entailment_pass_rate",
        "similarity_pass_rate",
    )


def _overall(scores: Scores) -> float | None:
    """Return 1 if the form and every citation are right and each computed pass is whole."""
    parts = [scores["schema_compliance"], scores["citation_accuracy"]]
    parts += [scores[n] for n in ("entailment_pass_rate", "similarity_pass_rate") if n in scores]
    if any(part is None for part in parts):
        return None
    return float(all(part == 1.0 for part in parts))


def _last_user(entry: Entry) -> str:
    return next(
        (m["content"] for m in reversed(entry.conversation.messages) if m["role"] == "user"), ""
    )
