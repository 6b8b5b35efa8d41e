"""From a design to a number of items, a power, or an effect that can be detected."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crucible_bench.binary_designs import ZeroFailures
from crucible_bench.designs import Design
from crucible_bench.results import Alternative, Record
from crucible_bench.spans import note, span

LARGEST_N = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerResult(Record):
    """A sample size (in `unit`), the effect it is for, and the power at that size.

    `total_n` counts items over all groups and clusters. There is no "observed power": it is a
    function of the p-value alone (about .50 where p is .05, whatever n) and says nothing more.
    """

    design: str
    effect: float
    n: int
    unit: str
    total_n: int
    power: float
    alpha: float
    alternative: Alternative
    notes: tuple[str, ...] = ()


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
    design : Design
        Says what `effect` means, such as `TwoSampleT()`, `McNemar(discordance)`,
        `Clustered(TwoProportions(0.85), cluster_size=5, icc=0.2)`.
    effect : float, not 0
        Treatment - control. Its sign must fit a one-sided `alternative`.
    power : float, in (0, 1)
    alpha : float, in (0, 1)

    Raises
    ------
    ValueError
        If an argument is out of range, or more than 10 million would be needed.

    Notes
    -----
    t and F designs by the noncentral distributions; binomial ones by exact enumeration, whose
    power saw-tooths in n, so that a smaller n may reach the target by chance of its tooth. For
    `ZeroFailures`, whose power falls with n, the answer is the n that the claim takes.

    Examples
    --------
    >>> from crucible_bench.power import McNemar, TwoSampleT
    >>> sample_size(TwoSampleT(), effect=0.5).n
    64
    >>> sample_size(McNemar(0.07), effect=0.05).n
    199
    """
    _check(power=power, alpha=alpha, alternative=alternative)
    _check_effect(effect, alternative)
    with span("sample_size", test=type(design).__name__) as current:
        if isinstance(design, ZeroFailures):
            n = design.needed(alpha)
            reached = design.power(effect, n, alpha, alternative)
            if reached < power:
                raise ValueError(
                    f"`effect` must be larger: {n} items show no failure with probability "
                    f"{reached:.3g} < {power}"
                )
        else:
            n = _smallest(design, lambda k: design.power(effect, k, alpha, alternative) >= power)
        note(current, n_control=n)
        return _result(design, effect, n, alpha, alternative)


def achieved_power(
    design: Design,
    *,
    planned_effect: float,
    n: int,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
) -> PowerResult:
    """Return the power that n gives for the effect that was planned for.

    Parameters
    ----------
    planned_effect : float
        The effect declared before the data; 0 gives the type-I error. The observed effect does not
        belong here: "observed power" only restates p. What a finished study could have found is
        `detectable_effect`.
    n : int, >= 2
        In the design's unit.

    References
    ----------
    .. [1] J. M. Hoenig, D. M. Heisey, The American Statistician 55(1), 19-24, 2001.

    Examples
    --------
    >>> from crucible_bench.power import TwoSampleT
    >>> round(achieved_power(TwoSampleT(), planned_effect=0.5, n=30).power, 3)
    0.478
    """
    _check(alpha=alpha, alternative=alternative)
    _check_n(n)
    if not math.isfinite(planned_effect):
        raise ValueError(f"`planned_effect` must be finite, got {planned_effect}")
    return _result(design, planned_effect, n, alpha, alternative)


def detectable_effect(
    design: Design,
    *,
    n: int,
    power: float = 0.80,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
) -> PowerResult:
    """Return the smallest effect that n would find with the given power.

    The effect is positive, except for `alternative="less"`, where it is negative.

    Parameters
    ----------
    n : int, >= 2
        In the design's unit.

    Raises
    ------
    ValueError
        If an argument is out of range, or no effect of the design reaches that power.

    Examples
    --------
    >>> from crucible_bench.power import TwoSampleT
    >>> round(detectable_effect(TwoSampleT(), n=100).effect, 3)
    0.398
    """
    from scipy import optimize

    _check(power=power, alpha=alpha, alternative=alternative)
    _check_n(n)
    sign: Literal[1, -1] = -1 if alternative == "less" else 1
    limit = design.largest_effect(sign)

    def short(size: float) -> float:
        return design.power(sign * size, n, alpha, alternative) - power

    top = min(1.0, limit)
    while short(top) < 0 and top < min(limit, 1e12):
        top = min(2 * top, limit)
    if short(top) < 0:
        direction = "negative" if sign < 0 else "positive"
        raise ValueError(
            f"`n` must be larger: no {direction} effect reaches power {power} with {n} "
            f"{design.unit}"
        )
    size = float(optimize.brentq(short, min(1e-12, top), top, xtol=1e-12))
    return _result(design, sign * size, n, alpha, alternative, power=power)


def power_curve(
    design: Design,
    effects: ArrayLike,
    ns: ArrayLike,
    *,
    alpha: float = 0.05,
    alternative: Alternative = "two-sided",
) -> NDArray[np.float64]:
    """Return the power for each effect and each n.

    Parameters
    ----------
    effects : (E,) array
    ns : (N,) array of int, >= 2

    Returns
    -------
    (E, N) array
    """
    _check(alpha=alpha, alternative=alternative)
    sizes, many = np.asarray(effects, dtype=float), np.asarray(ns)
    if sizes.ndim != 1 or sizes.size == 0 or not np.isfinite(sizes).all():
        raise ValueError("`effects` must be one dimension of finite numbers, at least one")
    if many.ndim != 1 or many.size == 0:
        raise ValueError("`ns` must be one dimension of integers, at least one")
    for n in many.tolist():
        _check_n(n, name="ns")
    return np.array(
        [[design.power(e, n, alpha, alternative) for n in many.tolist()] for e in sizes.tolist()]
    )


def _smallest(design: Design, enough: Callable[[int], bool]) -> int:
    high = 4
    while not enough(high):
        high *= 2
        if high > LARGEST_N:
            raise ValueError(f"`effect` must be larger: more than {LARGEST_N:,} would be needed")
    low = 2
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    first, last = design.look_around(high)
    if first < last:
        # The saw tooth: the answer follows the last n around the crossing that falls below.
        high = next((n for n in range(last, first - 1, -1) if not enough(n)), first - 1) + 1
    return high


def _result(
    design: Design,
    effect: float,
    n: int,
    alpha: float,
    alternative: Alternative,
    *,
    power: float | None = None,
) -> PowerResult:
    return PowerResult(
        design=type(design).__name__,
        effect=effect,
        n=n,
        unit=design.unit,
        total_n=design.total(n),
        power=design.power(effect, n, alpha, alternative) if power is None else power,
        alpha=alpha,
        alternative=alternative,
        notes=design.notes,
    )


def _check(*, alpha: float, alternative: Alternative, power: float = 0.5) -> None:
    for name, value in (("power", power), ("alpha", alpha)):
        if not 0 < value < 1:
            raise ValueError(f"`{name}` must be in (0, 1), got {value}")
    if alternative not in get_args(Alternative):
        rule = ", ".join(get_args(Alternative))
        raise ValueError(f"`alternative` must be one of {rule}, got {alternative!r}")


def _check_n(n: int, *, name: str = "n") -> None:
    if isinstance(n, bool) or not isinstance(n, int):
        raise ValueError(f"`{name}` must be an integer, got {n!r}")
    if n < 2:
        raise ValueError(f"`{name}` must be >= 2, got {n}")


def _check_effect(effect: float, alternative: Alternative) -> None:
    if effect == 0 or not math.isfinite(effect):
        raise ValueError(f"`effect` must be a number other than 0, got {effect}")
    if (alternative == "greater" and effect < 0) or (alternative == "less" and effect > 0):
        rule = "> 0" if alternative == "greater" else "< 0"
        raise ValueError(f'`effect` must be {rule} for alternative="{alternative}", got {effect}')
