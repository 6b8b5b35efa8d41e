"""Losses by name, and how they are stored with a run."""

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from crucible_lora.composite import Composite
from crucible_lora.losses import KL, MSE, CitationWeighted, CrossEntropy
from crucible_lora.ports import LossFunction

_OURS: tuple[type[CrossEntropy | CitationWeighted | KL | MSE], ...] = (
    CrossEntropy,
    CitationWeighted,
    KL,
    MSE,
)


class LossRegistry:
    """Losses by name. A new one knows those of this package."""

    def __init__(self) -> None:
        self._factories: dict[str, Callable[[], LossFunction]] = {c().name: c for c in _OURS}

    def register(self, name: str, factory: Callable[[], LossFunction], /) -> None:
        """Add a loss.

        Raises
        ------
        ValueError
            If the name is taken.
        """
        if name in self._factories:
            raise ValueError(f"`name` must be new, got {name!r}")
        self._factories[name] = factory

    def get(self, name: str, /) -> LossFunction:
        """Return the loss of that name.

        Raises
        ------
        ValueError
            If there is none; the message lists those there are.
        """
        if name not in self._factories:
            near = difflib.get_close_matches(name, self._factories, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            known = ", ".join(self.names())
            raise ValueError(f"`loss` must be one of {known}, got {name!r}{hint}")
        return self._factories[name]()

    def names(self) -> tuple[str, ...]:
        """Return the known names, sorted."""
        return tuple(sorted(self._factories))


def composite(parts: Mapping[str, float], *, losses: LossRegistry | None = None) -> Composite:
    """Return a weighted sum of losses by their names, such as `{"cross_entropy": 1, "kl": 0.1}`.

    Parameters
    ----------
    parts : mapping of name to coefficient, > 0
    losses : LossRegistry, optional
        Where names are looked up; by default among those of this package.

    Raises
    ------
    ValueError
        For an unknown name, no parts, or a coefficient that is not > 0.
    """
    known = losses or LossRegistry()
    return Composite(parts={name: (weight, known.get(name)) for name, weight in parts.items()})


def loss_to_dict(loss: LossFunction) -> dict[str, Any]:
    """Return a loss as a mapping; one that is not of this package leaves its name alone."""
    if isinstance(loss, Composite):
        stored = {name: loss_to_dict(part) for name, (_, part) in loss.parts.items()}
        custom = any("custom" in part for part in stored.values())
        parts = {name: [weight, stored[name]] for name, (weight, _) in loss.parts.items()}
        return {"name": loss.name, "parts": parts, **({"custom": True} if custom else {})}
    if type(loss) in _OURS:
        return {"name": loss.name, **loss.to_dict()}  # type: ignore[attr-defined]
    return {"name": loss.name, "custom": True}


def loss_from_dict(data: Mapping[str, Any]) -> LossFunction:
    """Read what `loss_to_dict` wrote of a loss of this package."""
    if "parts" in data:
        stored = data["parts"].items()
        return Composite(parts={name: (c, loss_from_dict(part)) for name, (c, part) in stored})
    kind = {c().name: c for c in _OURS}[data["name"]]
    return kind.from_dict({k: v for k, v in data.items() if k != "name"})
