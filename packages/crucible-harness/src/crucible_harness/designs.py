"""Who answers what: every condition on every item, or each item under one of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

Level = str | int | float | bool
Counterbalance = Literal["williams", "random", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Within:
    """Every condition answers every item.

    Attributes
    ----------
    counterbalance : {"williams", "random", "none"}
        Order of the conditions inside an item: the next row of a Williams square, a seeded draw, or
        as declared.
    block_by : str, optional
        Metadata field whose values are interleaved in proportion.
    """

    counterbalance: Counterbalance = "williams"
    block_by: str | None = None

    def __post_init__(self) -> None:
        if self.counterbalance not in ("williams", "random", "none"):
            raise ValueError(
                '`counterbalance` must be "williams", "random" or "none", '
                f"got {self.counterbalance!r}"
            )

    @property
    def within(self) -> bool:
        """Say that conditions are compared inside items."""
        return True

    def to_dict(self) -> dict[str, Any]:
        """Return what is hashed."""
        return {"kind": "within", "counterbalance": self.counterbalance, "block_by": self.block_by}


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """Each item is answered under one condition, in equal numbers inside each block.

    For conditions that cannot share items, such as prompts that use them up. It needs several times
    as many items as `Within` for the same precision.
    """

    block_by: str | None = None

    @property
    def within(self) -> bool:
        """Say that conditions are compared across items."""
        return False

    def to_dict(self) -> dict[str, Any]:
        """Return what is hashed."""
        return {"kind": "between", "block_by": self.block_by}


@dataclass(frozen=True, slots=True)
class Factorial:
    """Conditions are the product of the factors' levels; see `Condition.grid`.

    Parameters
    ----------
    factors : mapping of name to its levels
        The first level is the reference. Main effects and interactions of two factors become
        exploratory contrasts, unless a hypothesis names them.
    within : bool
        Every condition on every item, or each item under one.
    counterbalance, block_by : as in `Within`

    Raises
    ------
    ValueError
        If a factor has fewer than two different levels.
    """

    factors: Mapping[str, Sequence[Level]]
    within: bool = True
    counterbalance: Counterbalance = "williams"
    block_by: str | None = None

    def __post_init__(self) -> None:
        if len(self.factors) < 1:
            raise ValueError("`factors` must name at least one factor")
        for name, levels in self.factors.items():
            if len(levels) < 2 or len(set(map(str, levels))) < len(levels):
                raise ValueError(
                    f"`factors` must give {name!r} two or more different levels, got {levels!r}"
                )
        Within(counterbalance=self.counterbalance)

    def combinations(self) -> list[dict[str, Level]]:
        """Return every combination of levels, the last factor changing fastest."""
        return [
            dict(zip(self.factors, levels, strict=True))
            for levels in product(*self.factors.values())
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return what is hashed."""
        return {
            "kind": "factorial",
            # A list, since their order names the reference and JSON mappings are sorted.
            "factors": [[name, list(levels)] for name, levels in self.factors.items()],
            "within": self.within,
            "counterbalance": self.counterbalance,
            "block_by": self.block_by,
        }


@dataclass(frozen=True, slots=True)
class DoseResponse:
    """Conditions differ in one number, such as the size of a vote; its slope is tested.

    Parameters
    ----------
    factor : str
        Name of the factor; each condition's `factors` gives it one of `levels`.
    levels : sequence of numbers, at least two, ascending
    """

    factor: str
    levels: Sequence[float]
    counterbalance: Counterbalance = "williams"
    block_by: str | None = None

    def __post_init__(self) -> None:
        levels: Sequence[object] = self.levels
        numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in levels)
        if len(self.levels) < 2 or not numbers or list(self.levels) != sorted(set(self.levels)):
            raise ValueError(
                f"`levels` must be two or more ascending numbers, got {list(self.levels)!r}"
            )
        Within(counterbalance=self.counterbalance)

    @property
    def within(self) -> bool:
        """Say that conditions are compared inside items."""
        return True

    def to_dict(self) -> dict[str, Any]:
        """Return what is hashed."""
        return {
            "kind": "dose_response",
            "factor": self.factor,
            "levels": list(self.levels),
            "counterbalance": self.counterbalance,
            "block_by": self.block_by,
        }


Design = Within | Between | Factorial | DoseResponse


def read_design(stored: Mapping[str, Any]) -> Design:
    """Read a design back from what `to_dict` returned.

    Raises
    ------
    ValueError
        If its kind is unknown.
    """
    rest = {name: value for name, value in stored.items() if name != "kind"}
    match stored["kind"]:
        case "within":
            return Within(**rest)
        case "between":
            return Between(**rest)
        case "factorial":
            return Factorial(**{**rest, "factors": dict(rest["factors"])})
        case "dose_response":
            return DoseResponse(**rest)
    raise ValueError(
        f"`kind` must be within, between, factorial or dose_response, got {stored['kind']!r}"
    )


def factors_of(design: Design) -> dict[str, tuple[Level, ...]]:
    """Return the factors of a design and their levels; none for plain conditions."""
    match design:
        case Factorial():
            return {name: tuple(levels) for name, levels in design.factors.items()}
        case DoseResponse():
            return {design.factor: tuple(design.levels)}
    return {}


def check_factors(design: Design, conditions: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that conditions are the combinations of the design's levels, each once.

    Parameters
    ----------
    conditions : mapping of condition to its factors

    Raises
    ------
    ValueError
        If a combination is missing, doubled or unknown.
    """
    wanted: list[dict[str, Any]]
    match design:
        case Factorial():
            wanted = [dict(c) for c in design.combinations()]
        case DoseResponse():
            wanted = [{design.factor: level} for level in design.levels]
        case _:
            return
    names = list(wanted[0])
    seen: list[dict[str, Any]] = []
    for condition, factors in conditions.items():
        found = {name: factors.get(name) for name in names}
        if found not in wanted:
            raise ValueError(
                f"condition {condition!r}: `factors` must be a combination of the design's levels, "
                f"got {found}"
            )
        if found in seen:
            raise ValueError(f"condition {condition!r}: `factors` {found} are used twice")
        seen.append(found)
    missing = [c for c in wanted if c not in seen]
    if missing:
        raise ValueError(f"`conditions` must cover every combination, missing {missing[0]}")
