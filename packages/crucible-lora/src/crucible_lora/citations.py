"""What an output cites, held against what it should have cited."""

from collections.abc import Mapping
from dataclasses import dataclass

from crucible_lora.items import TrainingItem
from crucible_lora.schemas import Claim, Parsed
from crucible_lora.scorers import LexicalEntailment

_SUPPORT = 0.3  # word overlap from which a document counts as support where there is no gold


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known about an item's citations.

    Parameters
    ----------
    documents : mapping of id to text, optional
        The corpus; an id outside it is not valid. None where it is unknown.
    gold : mapping of claim's id to ids, optional
        The evidence of each claim. None where nobody said what it is.
    claims : tuple of Claim
        Those that the item's answer makes.
    """

    documents: Mapping[str, str] | None
    gold: Mapping[str, frozenset[str]] | None
    claims: tuple[Claim, ...]

    @property
    def judged(self) -> bool:
        """Whether citations can be told right from wrong."""
        return self.gold is not None or self.documents is not None

    @property
    def expected(self) -> int:
        """Number of citations that a right answer has.

        Those of the expected answer, or else one for each gold document; without gold, one for each
        claim.
        """
        cited = sum(len(claim.citations) for claim in self.claims)
        if cited or self.gold is None:
            return cited or len(self.claims)
        return len(frozenset().union(*self.gold.values()))

    def text_of(self, claim: Claim | None) -> str:
        """Return the texts that a claim cites, one after the other."""
        cited = () if claim is None else claim.citations
        return "\n".join(self.documents[c] for c in cited if self.documents and c in self.documents)


def evidence_of(item: TrainingItem, expected: Parsed) -> Evidence:
    """Return what an item says about its citations.

    Documents are `metadata["documents"]`, or a `context` that is a mapping of id to text. The gold
    evidence is that of `metadata["evidence"]`, a mapping by document id or a list of ids, for every
    claim; without it, what each claim of the expected answer cites.
    """
    documents = item.metadata.get("documents")
    if documents is None and isinstance(item.context, Mapping):
        documents = item.context
    texts = None if documents is None else {str(k): str(v) for k, v in documents.items()}
    given = item.metadata.get("evidence")
    gold: dict[str, frozenset[str]] | None = None
    if given is not None:
        gold = {claim.id: frozenset(map(str, given)) for claim in expected.claims}
    elif any(claim.citations for claim in expected.claims):
        gold = {claim.id: frozenset(claim.citations) for claim in expected.claims}
    return Evidence(documents=texts, gold=gold, claims=expected.claims)


def citation_scores(
    produced: tuple[Claim, ...] | None, evidence: Evidence, *, question: str
) -> dict[str, float | None]:
    """Return accuracy, precision, recall and the invalid rate of one output's citations.

    Parameters
    ----------
    produced : tuple of Claim, optional
        None for an output that could not be read, which scores 0.
    evidence : Evidence
    question : str
        What a claim without words of its own is about.

    Notes
    -----
    A citation is valid if its id is in the corpus and in the gold evidence of its claim; without
    gold, if the document has at least 30 % of the claim's content words. Accuracy is valid / max(
    expected, produced), and 1 where nothing was expected or produced.
    """
    names = ("citation_accuracy", "citation_precision", "citation_recall", "citation_invalid_rate")
    if not evidence.judged:
        return dict.fromkeys(names)
    expected = evidence.expected
    made = [(claim, cited) for claim in produced or () for cited in dict.fromkeys(claim.citations)]
    valid = sum(_is_valid(claim, cited, evidence, question) for claim, cited in made)
    if produced is None:
        return dict(zip(names, (0.0, 0.0, 0.0, float(expected > 0)), strict=True))
    if not made:
        nothing = float(expected == 0)
        return dict(zip(names, (nothing, nothing, nothing, 1.0 - nothing), strict=True))
    right = (
        valid / max(expected, len(made)),
        valid / len(made),
        min(1.0, valid / expected) if expected else 1.0,
        1 - valid / len(made),
    )
    return dict(zip(names, right, strict=True))


def _is_valid(claim: Claim, cited: str, evidence: Evidence, question: str) -> bool:
    documents, gold = evidence.documents, evidence.gold
    if documents is not None and cited not in documents:
        return False
    if gold is not None:
        return cited in gold.get(claim.id, ())
    text = question if claim.text is None else claim.text
    (support,) = LexicalEntailment().entailment([((documents or {})[cited], text)])
    return support >= _SUPPORT
