"""A column of a response matrix as a model."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from crucible_ensemble.completion import Completion
from crucible_ensemble.errors import CassetteMissError, ModelError
from crucible_ensemble.model import Prompt
from crucible_ensemble.prompts import to_messages

if TYPE_CHECKING:
    from crucible_ensemble.matrix import ResponseMatrix


class RecordedModel:
    """Answers as a model did in a matrix; the prompt is the name of an item.

    Options are not looked at: the matrix says under which it was recorded.
    """

    def __init__(self, matrix: "ResponseMatrix", model: str) -> None:
        self._matrix = matrix
        self.name = model

    def fingerprint(self) -> dict[str, object]:
        """Return what identifies the model in an experiment's design."""
        return {"model": self.name, "recorded": True}

    async def generate(
        self,
        prompt: Prompt,
        /,
        *,
        temperature: float | None = 0.0,
        max_tokens: int = 1000,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> Completion:
        """Answer with the first sample of the item.

        Raises
        ------
        CassetteMissError
            If the item is not in the matrix.
        ModelError
            If the model failed there.
        """
        item = to_messages(prompt)[-1]["content"]
        cell = self._matrix.cell(item, self.name)
        if cell is None:
            raise CassetteMissError(
                f"the matrix holds no answer of {self.name} to {item[:80]!r}", model=self.name
            )
        if cell.completion is None:
            raise ModelError(cell.error or cell.status, model=self.name, cost_usd=cell.cost_usd)
        return replace(cell.completion, cached=True, billed_usd=0.0)
