"""Calls made in this process."""

from collections.abc import Sequence
from typing import Any

from crucible_ensemble import Completion, Model
from crucible_harness.ledger import name_of


class LocalExecutor:
    """Make calls in the event loop of the run."""

    async def open(self, models: Sequence[Model], /) -> None:
        """Do nothing: the models are here."""

    async def generate(self, model: Model, messages: Any, /, **options: Any) -> Completion:
        """Make one call."""
        return Completion.of(await model.generate(messages, **options), model=name_of(model))

    async def close(self) -> None:
        """Do nothing: the models are closed by the run."""
