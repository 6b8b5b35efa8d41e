"""Designs with a mean at their centre: what an effect is measured in, and the power with n."""

import math
from dataclasses import dataclass
from typing import Literal, Protocol

from crucible_bench.noncentral import t_power, z_power
from crucible_bench.results import Alternative


class Design(Protocol):
    """What `sample_size` and its neighbours ask of a design."""

    @property
    def unit(self) -> str:
        """What n counts, such as "pairs" or "per group"."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know about the power, such as an approximation."""
        ...

    def power(self, effect: float, n: float, alpha: float, alternative: Alternative) -> float:
        """Return the probability of rejection if `effect` is true."""
        ...

    def total(self, n: int) -> int:
        """Return the number of items over all groups and clusters."""
        ...

    def largest_effect(self, sign: Literal[1, -1]) -> float:
        """Return the largest possible size of an effect of this sign; `math.inf` for no limit."""
        ...

    def look_around(self, n: int) -> tuple[int, int]:
        """Return the range around a crossing in which power may fall again; (n, n) if it cannot."""
        ...


class Monotone:
    """Effects without a limit, and power that only grows with n."""

    __slots__ = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Return nothing: the power is exact."""
        return ()

    def largest_effect(self, sign: Literal[1, -1]) -> float:
        """Return that there is no limit."""
        return math.inf

    def look_around(self, n: int) -> tuple[int, int]:
        """Return (n, n): nowhere."""
        return n, n

    def total(self, n: int) -> int:
        """Return n: one group."""
        return n


@dataclass(frozen=True, slots=True)
class OneSampleT(Monotone):
    """One mean against a fixed value; the effect is d, the distance over the SD."""

    unit = "items"

    def power(self, effect: float, n: float, alpha: float, alternative: Alternative) -> float:
        """Return the power with n items."""
        return t_power(effect * math.sqrt(n), n - 1, alpha, alternative)


@dataclass(frozen=True, slots=True)
class PairedT(Monotone):
    """Paired t test; the effect is d_z, mean of the differences over their SD."""

    unit = "pairs"

    def power(self, effect: float, n: float, alpha: float, alternative: Alternative) -> float:
        """Return the power with n pairs."""
        return t_power(effect * math.sqrt(n), n - 1, alpha, alternative)


@dataclass(frozen=True, slots=True)
class TwoSampleT(Monotone):
    """Two independent groups; the effect is Cohen's d.

    `ratio` is the size of the treatment group over that of the control group; n counts the latter.
    """

    ratio: float = 1.0

    def __post_init__(self) -> None:
        check_ratio(self.ratio)

    @property
    def unit(self) -> str:
        """What n counts."""
        return "per group" if self.ratio == 1 else "in control"

    def power(self, effect: float, n: float, alpha: float, alternative: Alternative) -> float:
        """Return the power with n in the control group."""
        other = self.ratio * n
        return t_power(
            effect * math.sqrt(n * other / (n + other)), n + other - 2, alpha, alternative
        )

    def total(self, n: int) -> int:
        """Return the items of both groups."""
        return n + math.ceil(self.ratio * n - 1e-9)


@dataclass(frozen=True, slots=True)
class OneWayAnova(Monotone):
    """F test over several independent groups of equal size; the effect is Cohen's f.

    `OneWayAnova.from_eta_squared(groups)` takes eta squared as its effect instead.
    """

    groups: int
    measure: Literal["f", "eta_squared"] = "f"
    unit = "per group"

    def __post_init__(self) -> None:
        if self.groups < 2:
            raise ValueError(f"`groups` must be >= 2, got {self.groups}")
        if self.measure not in ("f", "eta_squared"):
            raise ValueError(f'`measure` must be "f" or "eta_squared", got {self.measure!r}')

    @classmethod
    def from_eta_squared(cls, groups: int) -> "OneWayAnova":
        """Return the design whose effect is eta squared, f^2 / (1 + f^2)."""
        return cls(groups, measure="eta_squared")

    def power(self, effect: float, n: float, alpha: float, alternative: Alternative) -> float:
        """Return the power with n per group; the test has no direction."""
        from scipy import special

        if alternative != "two-sided":
            raise ValueError(
                f'`alternative` must be "two-sided" for an F test, got {alternative!r}'
            )
        if effect < 0 or (self.measure == "eta_squared" and effect >= 1):
            rule = "in [0, 1)" if self.measure == "eta_squared" else ">= 0"
            raise ValueError(f"`effect` must be {rule}, got {effect}")
        squared = effect**2 if self.measure == "f" else effect / (1 - effect)
        between, within = self.groups - 1, self.groups * (n - 1)
        if within <= 0:
            return 0.0
        critical = special.fdtri(between, within, 1 - alpha)
        noncentral = squared * self.groups * n
        return float(1 - special.ncfdtr(between, within, noncentral, critical))

    def total(self, n: int) -> int:
        """Return the items of all groups."""
        return self.groups * n

    def largest_effect(self, sign: Literal[1, -1]) -> float:
        """Return the largest effect; none is negative."""
        if sign < 0:
            return 0.0
        return math.inf if self.measure == "f" else 1 - 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedItems(Monotone):
    """Mean difference over items, each answered several times; the effect is in the score's unit.

    Parameters
    ----------
    item_sd : float, >= 0
        SD over items of the true difference (omega).
    within_sd : (float, float), each >= 0
        SD of one answer of control and of treatment around its item's mean.
    repeats : (int, int), each >= 1
        Answers per item, control and treatment.

    References
    ----------
    .. [1] E. Miller, Adding Error Bars to Evals, arXiv:2411.00640, 2024, section on planning.
    """

    item_sd: float
    within_sd: tuple[float, float] = (0.0, 0.0)
    repeats: tuple[int, int] = (1, 1)
    unit = "items"

    @property
    def notes(self) -> tuple[str, ...]:
        """Say that this is an approximation."""
        return ("normal approximation",)

    def __post_init__(self) -> None:
        if not self.item_sd >= 0:
            raise ValueError(f"`item_sd` must be >= 0, got {self.item_sd}")
        if not all(sd >= 0 for sd in self.within_sd):
            raise ValueError(f"`within_sd` must be >= 0, got {self.within_sd}")
        if not all(k >= 1 for k in self.repeats):
            raise ValueError(f"`repeats` must be >= 1, got {self.repeats}")
        if self.item_sd == 0 and not any(self.within_sd):
            raise ValueError("`item_sd` must be > 0 where `within_sd` is 0, got 0")

    def power(self, effect: float, n: float, alpha: float, alternative: Alternative) -> float:
        """Return the power with n items."""
        variance = self.item_sd**2 + sum(
            sd**2 / k for sd, k in zip(self.within_sd, self.repeats, strict=True)
        )
        return z_power(effect / math.sqrt(variance / n), alpha, alternative)


@dataclass(frozen=True, slots=True)
class Clustered:
    """Another design whose items come in clusters, such as questions about one text.

    The effective number of items is the number over 1 + (cluster_size - 1) * icc [1]_; n counts
    clusters where the base design counts items.

    References
    ----------
    .. [1] L. Kish, Survey Sampling, 1965, section 5.4.
    """

    base_design: Design
    cluster_size: float
    icc: float

    def __post_init__(self) -> None:
        if not self.cluster_size >= 1:
            raise ValueError(f"`cluster_size` must be >= 1, got {self.cluster_size}")
        if not 0 <= self.icc <= 1:
            raise ValueError(f"`icc` must be in [0, 1], got {self.icc}")

    @property
    def design_effect(self) -> float:
        """How many times more items this design needs than independent ones."""
        return 1 + (self.cluster_size - 1) * self.icc

    @property
    def unit(self) -> str:
        """What n counts."""
        base = self.base_design.unit
        return f"clusters {base}" if base in ("per group", "in control") else f"clusters of {base}"

    @property
    def notes(self) -> tuple[str, ...]:
        """Return the base design's notes and the design effect."""
        effect = f"design effect {self.design_effect:.3g} for clusters of {self.cluster_size:g}"
        return (*self.base_design.notes, effect)

    def power(self, effect: float, n: float, alpha: float, alternative: Alternative) -> float:
        """Return the power with n clusters (per group, where the base design has groups)."""
        items = n * self.cluster_size / self.design_effect
        return self.base_design.power(effect, items, alpha, alternative)

    def total(self, n: int) -> int:
        """Return the items in all clusters."""
        return math.ceil(self.base_design.total(n) * self.cluster_size - 1e-9)

    def largest_effect(self, sign: Literal[1, -1]) -> float:
        """Return the base design's largest effect."""
        return self.base_design.largest_effect(sign)

    def look_around(self, n: int) -> tuple[int, int]:
        """Return the range in which power may fall again, in clusters."""
        items = self.cluster_size / self.design_effect
        low, high = self.base_design.look_around(math.ceil(n * items))
        if low == high:
            return n, n
        return max(1, math.floor(low / items) - 1), math.ceil(high / items) + 1


def check_ratio(ratio: float) -> None:
    """Raise `ValueError` unless the ratio of two group sizes is a positive number."""
    if not 0 < ratio < math.inf:
        raise ValueError(f"`ratio` must be > 0, got {ratio}")
