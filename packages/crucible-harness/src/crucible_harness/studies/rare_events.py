"""How often something happens to a request, with bounds for calls that are correlated in time."""

import math
from typing import TYPE_CHECKING

from crucible_harness.studies.result import Figure

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def rate_figure(
    name: str, happened: "ArrayLike", *, times: float = 1.0, alpha: float, unit: str = ""
) -> Figure:
    """Return a rate per request with two one-sided bounds.

    Parameters
    ----------
    name : str
    happened : (n,) array of bool, in order of time
    times : float, >= 0
        What the rate and its bounds are multiplied by, such as the probability of a backup.
    alpha : float, in (0, 0.5)
        Of each bound.
    unit : str

    Raises
    ------
    ValueError
        If there are fewer than two calls.

    Notes
    -----
    Clopper-Pearson bounds at the effective number of calls [1]_: n over the design effect, with the
    t quantile's allowance for n / block - 1 degrees of freedom. The design effect is the variance
    of the mean under a circular block bootstrap [2]_ (blocks of ceil(n^(1/3)), in closed form) over
    p (1 - p) / n, at least 1. Percentiles of bootstrap draws would be a nearly symmetric interval
    of a rare event, whose upper bound errs more often than it says [3]_.

    References
    ----------
    .. [1] E. L. Korn, B. I. Graubard, Survey Methodology 24(2), 193-201, 1998.
    .. [2] D. N. Politis, J. P. Romano, A circular block-resampling procedure for stationary data,
       in Exploring the Limits of Bootstrap, 1992.
    .. [3] T. T. Cai, Journal of Statistical Planning and Inference 131(1), 63-88, 2005.

    Examples
    --------
    >>> str(rate_figure("backups", [False] * 99 + [True], alpha=0.05))
    '0.010 [0.000394, 0.050]'
    """
    import numpy as np
    from scipy.special import betaincinv
    from scipy.stats import norm, t

    x = np.asarray(happened, dtype=float)
    n = x.size
    if x.ndim != 1 or n < 2:
        raise ValueError(f"`happened` must hold 2 calls at least, got {n}")
    share = float(x.mean())
    block = math.ceil(n ** (1 / 3) - 1e-9)
    sums = np.concatenate(([0.0], np.cumsum(np.concatenate((x, x[: block - 1])))))
    means = (sums[block:] - sums[:-block]) / block
    spread = share * (1 - share)
    effect = max(1.0, block * float(((means - share) ** 2).mean()) / spread) if spread else 1.0
    allowance = float(norm.isf(alpha) / t.isf(alpha, max(n / block - 1, 1.0))) ** 2
    size = n / effect * allowance
    hits = size * share
    low = float(betaincinv(hits, size - hits + 1, alpha)) if share > 0 else 0.0
    high = float(betaincinv(hits + 1, size - hits, 1 - alpha)) if share < 1 else 1.0
    return Figure(
        name=name, value=times * share, low=times * low, high=times * high, unit=unit,
        method=f"one-sided {1 - alpha:.0%} bounds, Clopper-Pearson at the effective sample size",
    )  # fmt: skip
