"""Designs for 0/1 scores: what an effect is measured in, and the power with n."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crucible_bench.designs import check_ratio
from crucible_bench.results import Alternative

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class McNemar:
    """Paired binary scores; the effect is the difference of proportions.

    `discordance` is the share of items that exactly one of the two gets right, in (0, 1].
    """

    discordance: float
    kind: Literal["mid-p", "exact"] = "mid-p"
    unit = "pairs"
    notes = ("exact enumeration; power saw-tooths in n",)

    def __post_init__(self) -> None:
        if not 0 < self.discordance <= 1:
            raise ValueError(f"`discordance` must be in (0, 1], got {self.discordance}")
        if self.kind not in ("mid-p", "exact"):
            raise ValueError(f'`kind` must be "mid-p" or "exact", got {self.kind!r}')

    def power(self, effect: float, n: float, alpha: float, alternative: Alternative) -> float:
        """Return the exact power with n pairs, summed over the number of discordant pairs."""
        from scipy import special

        if abs(effect) > self.discordance:
            raise ValueError(
                f"`effect` must be <= the discordance, {self.discordance}, got {effect}"
            )
        pairs = math.floor(n)
        share = (1 + effect / self.discordance) / 2
        m = _likely(pairs, self.discordance)
        weights = _binomial(m, pairs, self.discordance)
        tail = alpha / 2 if alternative == "two-sided" else alpha
        most = _critical(m, 0.5, tail=tail, half=0.5 if self.kind == "mid-p" else 0.0)
        able = most >= 0
        m, weights, most = m[able], weights[able], most[able]
        won = np.zeros(m.size)
        if alternative != "less":
            won += special.bdtr(most, m, 1 - share)
        if alternative != "greater":
            won += special.bdtr(most, m, share)
        return float(weights @ won)

    def total(self, n: int) -> int:
        """Return the items."""
        return n

    def largest_effect(self, sign: Literal[1, -1]) -> float:
        """Return the discordance: all of it in one direction."""
        return self.discordance

    def look_around(self, n: int) -> tuple[int, int]:
        """Return the range in which power may fall again."""
        return max(2, n - 40), min(n + 200, int(1.3 * n) + 30)


@dataclass(frozen=True, slots=True)
class TwoProportions:
    """Two independent proportions; the effect is their difference, treatment - control.

    `control` is the control group's proportion in [0, 1]; `ratio` as in `TwoSampleT`.

    Notes
    -----
    Normal approximation with the pooled variance under no effect and the unpooled one under the
    effect [1]_; the near tail only, as in R's `power.prop.test`.

    References
    ----------
    .. [1] J. L. Fleiss, A. Tytun, H. K. Ury, Biometrics 36(2), 343-346, 1980.
    """

    control: float
    ratio: float = 1.0
    notes = ("normal approximation",)

    def __post_init__(self) -> None:
        if not 0 <= self.control <= 1:
            raise ValueError(f"`control` must be in [0, 1], got {self.control}")
        check_ratio(self.ratio)

    @property
    def unit(self) -> str:
        """What n counts."""
        return "per group" if self.ratio == 1 else "in control"

    def power(self, effect: float, n: float, alpha: float, alternative: Alternative) -> float:
        """Return the power with n in the control group."""
        from scipy import special

        p0, p1 = self.control, _shifted("control", self.control, effect)
        other = self.ratio * n
        pooled = (p0 + self.ratio * p1) / (1 + self.ratio)
        null = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / other))
        true = math.sqrt(p0 * (1 - p0) / n + p1 * (1 - p1) / other)
        tail = alpha / 2 if alternative == "two-sided" else alpha
        distance = abs(effect) if alternative == "two-sided" else effect
        if alternative == "less":
            distance = -effect
        beyond = distance - float(special.ndtri(1 - tail)) * null
        if true == 0:
            return 1.0 if beyond > 0 else 0.0
        return float(special.ndtr(beyond / true))

    def total(self, n: int) -> int:
        """Return the items of both groups."""
        return n + math.ceil(self.ratio * n - 1e-9)

    def largest_effect(self, sign: Literal[1, -1]) -> float:
        """Return the way from the control proportion to 1 or to 0."""
        return 1 - self.control if sign > 0 else self.control

    def look_around(self, n: int) -> tuple[int, int]:
        """Return (n, n): this power only grows."""
        return n, n


@dataclass(frozen=True, slots=True)
class OneProportion:
    """A proportion against a fixed value, exact binomial test; the effect is the difference.

    A two-sided test rejects where one of the tails is at most alpha / 2.
    """

    null: float
    unit = "items"
    notes = ("exact binomial; power saw-tooths in n",)

    def __post_init__(self) -> None:
        if not 0 < self.null < 1:
            raise ValueError(f"`null` must be in (0, 1), got {self.null}")

    def power(self, effect: float, n: float, alpha: float, alternative: Alternative) -> float:
        """Return the exact power with n items."""
        from scipy import special

        items, true = np.array([math.floor(n)]), _shifted("null", self.null, effect)
        tail = alpha / 2 if alternative == "two-sided" else alpha
        found = 0.0
        if alternative != "greater":
            few = int(_critical(items, self.null, tail=tail)[0])
            found += float(special.bdtr(few, items[0], true)) if few >= 0 else 0.0
        if alternative != "less":
            few = int(_critical(items, 1 - self.null, tail=tail)[0])
            found += float(special.bdtr(few, items[0], 1 - true)) if few >= 0 else 0.0
        return found

    def total(self, n: int) -> int:
        """Return the items."""
        return n

    def largest_effect(self, sign: Literal[1, -1]) -> float:
        """Return the way from the null to 1 or to 0."""
        return 1 - self.null if sign > 0 else self.null

    def look_around(self, n: int) -> tuple[int, int]:
        """Return the range in which power may fall again: several teeth on either side."""
        tooth = 1 / min(self.null, 1 - self.null)
        wide = math.ceil(4 * tooth + 4 * math.sqrt(n * tooth))
        return max(2, n - wide), n + wide


@dataclass(frozen=True, slots=True)
class ZeroFailures:
    """Show that a success rate is above `rate` by seeing no failure at all.

    n is the smallest number with rate ** n <= alpha. The effect is true rate - `rate`: the power is
    the chance that a system so good shows no failure in n, which falls as n grows.

    Notes
    -----
    The claim has one direction, so `alternative` must be "greater". 95 % confidence (alpha .05)
    that more than 99 % succeed takes 299 items (the "rule of three": 3 / .01).
    """

    rate: float
    unit = "items"
    notes = ("no failure allowed",)

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise ValueError(f"`rate` must be in (0, 1), got {self.rate}")

    def needed(self, alpha: float) -> int:
        """Return the smallest n without a failure that shows the rate."""
        n = math.ceil(math.log(alpha) / math.log(self.rate))
        return n if self.rate**n <= alpha else n + 1

    def power(self, effect: float, n: float, alpha: float, alternative: Alternative) -> float:
        """Return the probability that n items, if they are enough, show no failure."""
        if alternative != "greater":
            raise ValueError(
                f'`alternative` must be "greater" for a demonstrated rate, got {alternative!r}'
            )
        true = _shifted("rate", self.rate, effect)
        return true ** math.floor(n) if math.floor(n) >= self.needed(alpha) else 0.0

    def total(self, n: int) -> int:
        """Return the items."""
        return n

    def largest_effect(self, sign: Literal[1, -1]) -> float:
        """Return the way from the rate to 1; a worse system cannot show it."""
        return 1 - self.rate if sign > 0 else 0.0

    def look_around(self, n: int) -> tuple[int, int]:
        """Return (n, n): `needed` answers exactly."""
        return n, n


def _shifted(name: str, start: float, effect: float) -> float:
    true = start + effect
    if not -1e-12 <= true <= 1 + 1e-12:
        raise ValueError(
            f"`effect` must keep the proportion in [0, 1]: {name} {start} and effect {effect} "
            f"give {true:.6g}"
        )
    return min(1.0, max(0.0, true))


def _likely(n: int, p: float) -> Counts:
    """Return the counts of Binomial(n, p) that hold all but 1e-12 of its mass."""
    spread = 7.5 * math.sqrt(n * p * (1 - p)) + 8
    return np.arange(max(0, math.floor(n * p - spread)), min(n, math.ceil(n * p + spread)) + 1)


def _critical(m: Counts, p: float, *, tail: float, half: float = 0.0) -> Counts:
    """Return the largest k with P(X < k) + (1 - half) P(X = k) <= tail, X ~ Binomial(m, p).

    -1 where there is none: so few observations can never be significant.
    """
    from scipy import special

    # The quantile is at most one off; the sum grows with k, so the last that fits is the answer.
    start = np.floor(special.bdtrik(tail, np.maximum(m, 1), p)).astype(np.int64)
    most = np.full(m.size, -1, dtype=np.int64)
    for step in (-2, -1, 0, 1, 2):
        k = start + step
        inside = (k >= 0) & (k <= m)
        at = np.clip(k, 0, m)
        below = np.where(at > 0, special.bdtr(np.maximum(at - 1, 0), m, p), 0.0)
        fits = inside & (below + (1 - half) * _binomial(at, m, p) <= tail + 1e-15)
        most = np.where(fits, np.maximum(most, k), most)
    return most


def _binomial(k: Counts, n: int | Counts, p: float) -> NDArray[np.float64]:
    from scipy import special

    log = (
        special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
        + special.xlogy(k, p) + special.xlog1py(n - k, -p)
    )  # fmt: skip
    mass: NDArray[np.float64] = np.exp(log)
    return mass
