"""Who scores an answer: a function of it, or a model that is asked for a label."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from crucible_ensemble import Model
from crucible_harness.fingerprints import structure
from crucible_harness.prompts import ItemLike

_PLACE = re.compile(r"\{(input|expected|answer)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a scorer sees of a cell: the text, and what was read out of it (None = nothing)."""

    text: str
    value: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Scorer(Protocol):
    """Scores one answer. It must be a pure function: it is asked again at every analysis."""

    def __call__(self, answered: Answered, item: ItemLike, /) -> float | None:
        """Return the score, or None where it is undefined."""
        ...


class JudgeScorer:
    """A model that labels each answer.

    Parameters
    ----------
    model : Model
        Its calls are journaled, limited and billed like all others.
    rubric : str
        The question to the judge, with `{answer}` and, as needed, `{input}` and `{expected}`.
    labels : mapping of label to score
        The reply must hold exactly one of them as a word; anything else is no score.

    Raises
    ------
    ValueError
        If `rubric` lacks `{answer}`, or fewer than two labels are given.
    """

    def __init__(self, model: Model, *, rubric: str, labels: Mapping[str, float]) -> None:
        if "{answer}" not in rubric:
            raise ValueError("`rubric` must contain {answer}")
        if len(labels) < 2 or any(not label.strip() for label in labels):
            raise ValueError(f"`labels` must be two or more words, got {list(labels)}")
        self.model, self.rubric, self.labels = model, rubric, dict(labels)

    def __call__(self, answered: Answered, item: ItemLike, /) -> float | None:
        """Raise: a judge is asked during the run, by `ask`."""
        raise TypeError("a JudgeScorer is asked by the run and scores no recorded answer again")

    async def ask(self, answered: Answered, item: ItemLike, *, model: Model) -> float | None:
        """Ask the judge through `model`, which is its own model behind the journal."""
        facts = {"input": item.input, "expected": str(item.expected), "answer": answered.text}
        prompt = _PLACE.sub(lambda found: facts[found[1]], self.rubric)
        reply = await model.generate([{"role": "user", "content": prompt}])
        label = self.label(reply.text)
        return None if label is None else self.labels[label]

    def label(self, reply: str) -> str | None:
        """Return the only label in a reply; None if there is none, or more than one."""
        words = sorted(self.labels, key=len, reverse=True)
        found = set(re.findall("|".join(rf"(?<!\w){re.escape(w)}(?!\w)" for w in words), reply))
        return found.pop() if len(found) == 1 else None

    def fingerprint(self) -> dict[str, Any]:
        """Return model, rubric and labels."""
        return {"judge": structure(self.model), "rubric": self.rubric, "labels": self.labels}
