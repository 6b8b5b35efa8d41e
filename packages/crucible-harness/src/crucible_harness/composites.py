"""The port of models that are made of models."""

from collections.abc import Sequence
from typing import Protocol

from crucible_ensemble import Model


class Composite(Protocol):
    """A model made of models, such as a vote or a race: its leaves are journaled, not the whole.

    Anything without these two methods is a leaf: one request, one row.
    """

    def members(self) -> Sequence[Model]:
        """Return the models that it asks, in order."""
        ...

    def with_members(self, models: Sequence[Model], /) -> Model:
        """Return the same composite over other models, in the order of `members`; a new object."""
        ...
