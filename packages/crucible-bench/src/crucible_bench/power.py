"""How many items a question needs, and what a number of items can show."""

import math
from dataclasses import dataclass

import numpy as np

from crucible_bench.results import Alternative, PowerResult


@dataclass(frozen=True, slots=True)
class PairedT:
    """Paired t test; the effect is d_z, mean of the differences over their SD."""

    unit = "pairs"

    def power(self, effect: float, n: int, alpha: float, alternative: Alternative) -> float:
        """Return the power with n pairs."""
        return _t_power(effect * math.sqrt(n), n - 1, alpha, alternative)


@dataclass(frozen=True, slots=True)
class TwoSampleT:
    """Two independent groups of equal size; the effect is Cohen's d."""

    unit = "per group"

    def power(self, effect: float, n: int, alpha: float, alternative: Alternative) -> float:
        """Return the power with n per group."""
        return _t_power(effect * math.sqrt(n / 2), 2 * n - 2, alpha, alternative)


@dataclass(frozen=True, slots=True)
class McNemar:
    """Paired binary scores; the effect is the difference of proportions.

    `discordance` is the share of items that exactly one of the two gets right, in (0, 1].
    """

    discordance: float
    kind: str = "mid-p"
    unit = "pairs"

    def __post_init__(self) -> None:
        if not 0 < self.discordance <= 1:
            raise ValueError(f"`discordance` must be in (0, 1], got {self.discordance}")
        if self.kind not in ("mid-p", "exact"):
            raise ValueError(f'`kind` must be "mid-p" or "exact", got {self.kind!r}')

    def power(self, effect: float, n: int, alpha: float, alternative: Alternative) -> float:
        """Return the exact power with n pairs, summed over the number of discordant pairs."""
        from scipy import special

        if abs(effect) > self.discordance:
            raise ValueError(
                f"`effect` must be <= the discordance, {self.discordance}, got {effect}"
            )
        share = (1 + effect / self.discordance) / 2
        m = _likely(n, self.discordance)
        weights = _binomial(m, n, self.discordance)
        tail = alpha / 2 if alternative == "two-sided" else alpha
        most = _critical(m, tail=tail, half=0.5 if self.kind == "mid-p" else 0.0)
        able = most >= 0
        m, weights, most = m[able], weights[able], most[able]
        won = np.zeros(m.size)
        if alternative != "less":
            won += special.bdtr(most, m, 1 - share)
        if alternative != "greater":
            won += special.bdtr(most, m, share)
        return float(weights @ won)


Design = PairedT | TwoSampleT | McNemar


def sample_size(
    design: Design,
    *,
    effect: float,
    power: float = 0.80,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
) -> PowerResult:
    """Return the smallest n after which the power never falls below `power` again.

    Parameters
    ----------
    design : PairedT, TwoSampleT or McNemar
        Says what `effect` means.
    effect : float, not 0
    power : float, in (0, 1)
    alpha : float, in (0, 1)

    Raises
    ------
    ValueError
        If an argument is out of range, or more than 10 million would be needed.

    Notes
    -----
    t designs by the noncentral t, McNemar's by exact enumeration, whose power saw-tooths in n.

    Examples
    --------
    >>> sample_size(TwoSampleT(), effect=0.5).n
    64
    """
    _check(power=power, alpha=alpha)
    if effect == 0 or not math.isfinite(effect):
        raise ValueError(f"`effect` must be a number other than 0, got {effect}")

    def enough(n: int) -> bool:
        return design.power(effect, n, alpha, alternative) >= power

    high = 4
    while not enough(high):
        high *= 2
        if high > 10_000_000:
            raise ValueError(f"`effect` must be larger: {effect} needs more than 10,000,000")
    low = 2
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    if isinstance(design, McNemar):
        # The saw tooth: look past the first crossing for the last n that falls below again.
        reach = min(high + 200, int(1.3 * high) + 30)
        last_below = max((n for n in range(max(2, high - 40), reach) if not enough(n)), default=0)
        high = max(last_below + 1, _first_from(enough, last_below + 1))
    return PowerResult(
        design=type(design).__name__,
        effect=effect,
        n=high,
        unit=design.unit,
        power=design.power(effect, high, alpha, alternative),
        alpha=alpha,
        alternative=alternative,
    )


def detectable_effect(
    design: Design,
    *,
    n: int,
    power: float = 0.80,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
) -> PowerResult:
    """Return the smallest effect that n would find with the given power.

    Raises
    ------
    ValueError
        If an argument is out of range, or no effect of the design reaches that power.
    """
    from scipy import optimize

    _check(power=power, alpha=alpha)
    if n < 2:
        raise ValueError(f"`n` must be >= 2, got {n}")
    top = design.discordance if isinstance(design, McNemar) else 1.0
    while not isinstance(design, McNemar) and design.power(top, n, alpha, "two-sided") < power:
        top *= 2
    if isinstance(design, McNemar) and design.power(top, n, alpha, alternative) < power:
        raise ValueError(f"`n` must be larger: no effect reaches power {power} with {n} pairs")

    def short(effect: float) -> float:
        return design.power(effect, n, alpha, alternative) - power

    effect = float(optimize.brentq(short, 1e-9, top, xtol=1e-10))
    return PowerResult(
        design=type(design).__name__,
        effect=effect,
        n=n,
        unit=design.unit,
        power=power,
        alpha=alpha,
        alternative=alternative,
    )


def _t_power(nc: float, df: float, alpha: float, alternative: Alternative) -> float:
    from scipy import special

    if alternative == "less":
        nc, alternative = -nc, "greater"
    if alternative == "greater":
        return float(1 - special.nctdtr(df, nc, special.stdtrit(df, 1 - alpha)))
    critical = float(special.stdtrit(df, 1 - alpha / 2))
    # scipy's far tail is NaN for a large noncentrality, where it is 0 to every digit.
    far = 0.0 if abs(nc) > 8 else float(special.nctdtr(df, abs(nc), -critical))
    return float(1 - special.nctdtr(df, abs(nc), critical)) + far


def _likely(n: int, p: float) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Return the counts of Binomial(n, p) that hold all but 1e-12 of its mass."""
    spread = 7.5 * math.sqrt(n * p * (1 - p)) + 8
    return np.arange(max(0, math.floor(n * p - spread)), min(n, math.ceil(n * p + spread)) + 1)


def _critical(
    m: "np.ndarray[tuple[int], np.dtype[np.int64]]", *, tail: float, half: float
) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Return the largest k with P(X < k) + (1 - half) P(X = k) <= tail, X ~ Binomial(m, 1/2).

    -1 where there is none: so few discordant pairs can never be significant.
    """
    from scipy import special

    # The quantile is at most one off; the sum grows with k, so the last that fits is the answer.
    start = np.floor(special.bdtrik(tail, np.maximum(m, 1), 0.5)).astype(np.int64)
    most = np.full(m.size, -1, dtype=np.int64)
    for step in (-2, -1, 0, 1, 2):
        k = start + step
        inside = (k >= 0) & (k <= m)
        at = np.clip(k, 0, m)
        below = np.where(at > 0, special.bdtr(np.maximum(at - 1, 0), m, 0.5), 0.0)
        fits = inside & (below + (1 - half) * _binomial(at, m, 0.5) <= tail + 1e-15)
        most = np.where(fits, np.maximum(most, k), most)
    return most


def _binomial(
    k: "np.ndarray[tuple[int], np.dtype[np.int64]]",
    n: "int | np.ndarray[tuple[int], np.dtype[np.int64]]",
    p: float,
) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    from scipy import special

    log = (
        special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
        + special.xlogy(k, p) + special.xlog1py(n - k, -p)
    )  # fmt: skip
    mass: np.ndarray[tuple[int], np.dtype[np.float64]] = np.exp(log)
    return mass


def _first_from(enough: object, n: int) -> int:
    while not enough(n):  # type: ignore[operator]
        n += 1
    return n


def _check(*, power: float, alpha: float) -> None:
    for name, value in (("power", power), ("alpha", alpha)):
        if not 0 < value < 1:
            raise ValueError(f"`{name}` must be in (0, 1), got {value}")
