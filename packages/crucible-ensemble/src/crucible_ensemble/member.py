"""A model with what is known about it as a voter."""

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace

from crucible_ensemble.model import Model


@dataclass(frozen=True, slots=True)
class Member:
    """A model, or the name of one, in an ensemble.

    Attributes
    ----------
    model : Model or str
    name : str, optional
        In predictions; by default the model's own, numbered where it would occur twice.
    weight : float, >= 0
        For "weighted_majority".
    accuracy : float in [0, 1], optional
        For votes and stops that weigh by accuracy.
    family : str, optional
        Members of one family err together; several of them set `n_eff_warning`.
    price_rank : float, optional
        For the order "cheapest", where the price book does not know the model.
    calibrator : callable, optional
        From a raw confidence to a probability; see `fit_calibrators`.
    """

    model: Model | str
    _: KW_ONLY
    name: str | None = None
    weight: float = 1.0
    accuracy: float | None = None
    family: str | None = None
    price_rank: float | None = None
    calibrator: Callable[[float], float] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise ValueError(f"`weight` must be >= 0, got {self.weight}")
        if self.accuracy is not None and not 0 <= self.accuracy <= 1:
            raise ValueError(f"`accuracy` must be in [0, 1], got {self.accuracy}")
        if self.name == "":
            raise ValueError("`name` must not be empty")

    def opened(self) -> "Member":
        """Return the member with its model opened, if it was a name."""
        if not isinstance(self.model, str):
            return self
        from crucible_ensemble.open_model import open_model

        return replace(self, model=open_model(self.model))

    def label(self) -> str:
        """Return the member's own name."""
        return self.name or str(getattr(self.model, "name", type(self.model).__name__))


def labels(members: tuple[Member, ...]) -> tuple[str, ...]:
    """Return a name for each member, numbered where models occur twice.

    Raises
    ------
    ValueError
        If two members were given the same name.
    """
    named = [m.name for m in members if m.name is not None]
    for name in named:
        if named.count(name) > 1:
            raise ValueError(f"`name` must be unique among members, got {name!r} twice")
    plain = [member.label() for member in members]
    return tuple(
        name if plain.count(name) == 1 else f"{name}#{plain[:n].count(name) + 1}"
        for n, name in enumerate(plain)
    )


def family_warning(members: tuple[Member, ...]) -> str | None:
    """Return why the members are worth fewer votes than they are, if families say so."""
    families: dict[str, int] = {}
    for member in members:
        family = member.family or getattr(member.model, "family", None)
        if family is not None:
            families[str(family)] = families.get(str(family), 0) + 1
    shared = [f"{n} of family {family!r}" for family, n in families.items() if n > 1]
    if not shared:
        return None
    return f"members err together: {', '.join(shared)}; measure with error_correlation"
