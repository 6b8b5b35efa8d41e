"""What is claimed, before the first call: hypotheses and the bounds that go with them."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass
from typing import Any, Literal, get_args

Contrast = Literal[
    "difference",
    "ratio",
    "equivalence",
    "non_inferiority",
    "main_effect",
    "interaction",
    "trend",
]
OVER_FACTORS: Mapping[str, int] = {"main_effect": 1, "interaction": 2, "trend": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """A bound on one condition that must be proved by a one-sided 95 % limit."""

    metric: str
    condition: str
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("`at_least` or `at_most` must be given, and not both")


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A claim about treatment - control, with the smallest effect of interest.

    Attributes
    ----------
    id : str
    metric : str
        Name or label of one of the experiment's metrics; a percentile (`latency_s:p95`) is compared
        as a quantile.
    treatment, control : str
        Names of conditions; for a "main_effect" levels of the factor; none for "interaction" and
        "trend".
    sesoi : float, > 0
        Smallest effect of interest in the metric's unit (per unit of the factor for a trend, as a
        share of 1 for a ratio); the margin of an equivalence or non-inferiority claim.
    direction : {"greater", "less", "two-sided"}
        "greater" claims treatment > control. Equivalence has no direction.
    contrast : str
        "difference", "ratio", "equivalence", "non_inferiority"; over the factors of a design
        "main_effect" (one factor), "interaction" (two factors), "trend" (one factor of numbers).
    factors : tuple of str
        Factors of the last three.
    levels : tuple of str, int, float or bool
        Of an interaction of factors with more than two levels: which level of each is set against
        the first.
    alpha : float, in (0, 1)
    family : str
        Hypotheses of a family share alpha.
    kind : {"confirmatory", "exploratory"}
    criteria : tuple of Criterion
        All must hold as well.
    text : str
        The claim in words.

    Raises
    ------
    ValueError
        If an argument is out of range, or does not fit the contrast.
    """

    id: str
    _: KW_ONLY
    metric: str
    treatment: str | None = None
    control: str | None = None
    sesoi: float
    direction: Literal["greater", "less", "two-sided"] = "greater"
    contrast: Contrast = "difference"
    factors: tuple[str, ...] = ()
    levels: tuple[str | int | float | bool, ...] = ()
    alpha: float = 0.05
    family: str = "confirmatory"
    kind: Literal["confirmatory", "exploratory"] = "confirmatory"
    criteria: tuple[Criterion, ...] = ()
    text: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "criteria", tuple(self.criteria))
        object.__setattr__(self, "factors", tuple(self.factors))
        object.__setattr__(self, "levels", tuple(self.levels))
        if not self.sesoi > 0:
            raise ValueError(f"`sesoi` must be > 0, got {self.sesoi}")
        if not 0 < self.alpha < 1:
            raise ValueError(f"`alpha` must be in (0, 1), got {self.alpha}")
        if self.contrast not in get_args(Contrast):
            raise ValueError(
                f"`contrast` must be one of {', '.join(get_args(Contrast))}, got {self.contrast!r}"
            )
        if self.direction not in ("greater", "less", "two-sided"):
            raise ValueError(
                f'`direction` must be "greater", "less" or "two-sided", got {self.direction!r}'
            )
        if self.contrast == "non_inferiority" and self.direction == "two-sided":
            raise ValueError('`direction` of a non_inferiority claim must be "greater" or "less"')
        if len(self.factors) != OVER_FACTORS.get(self.contrast, 0):
            raise ValueError(
                f"`factors` of a {self.contrast} must name {OVER_FACTORS.get(self.contrast, 0)}, "
                f"got {self.factors}"
            )
        if self.levels and (self.contrast != "interaction" or len(self.levels) != 2):
            raise ValueError(
                f"`levels` must be two, of an interaction, got {self.levels} for a {self.contrast}"
            )
        pair = self.contrast not in ("interaction", "trend")
        if pair and (self.treatment is None or self.control is None):
            raise ValueError(f"`treatment` and `control` must be given for a {self.contrast}")
        if not pair and (self.treatment, self.control) != (None, None):
            raise ValueError(f"`treatment` and `control` must not be given for a {self.contrast}")
        if pair and self.treatment == self.control:
            raise ValueError(f"`treatment` and `control` must differ, got {self.control!r} twice")

    @property
    def label(self) -> str:
        """Return what is estimated, such as "vote-5 - single"."""
        if self.contrast == "trend":
            return f"slope over {self.factors[0]}"
        if self.contrast == "interaction":
            at = [f" ({level})" for level in self.levels] or ["", ""]
            return " x ".join(name + level for name, level in zip(self.factors, at, strict=True))
        pair = f"{self.treatment} \N{MINUS SIGN} {self.control}"
        return f"{self.factors[0]}: {pair}" if self.factors else pair

    def to_dict(self) -> dict[str, Any]:
        """Return what is hashed."""
        found = {**asdict(self), "criteria": [asdict(c) for c in self.criteria],
                 "factors": list(self.factors), "levels": list(self.levels)}  # fmt: skip
        if not self.levels:  # designs of before keep their identity
            del found["levels"]
        return found


def read_hypothesis(stored: Mapping[str, Any]) -> Hypothesis:
    """Read a hypothesis back from a design."""
    criteria = tuple(Criterion(**c) for c in stored["criteria"])
    return Hypothesis(**{**stored, "criteria": criteria})
