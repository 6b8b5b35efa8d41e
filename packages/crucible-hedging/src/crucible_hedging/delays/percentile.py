"""Wait until a request is slower than most."""

import math
from bisect import bisect_left, insort
from collections import deque
from fractions import Fraction

from crucible_hedging.delays.fixed import check_delay_s
from crucible_hedging.delays.policy import WhyNot


class PercentileDelay:
    """Send a backup when a request is slower than a percentile of the last `window` requests.

    Parameters
    ----------
    percentile : float, in [50, 100)
        95 sends a backup for the slowest 5 %.
    window : int
        Requests that are remembered. Exact, and it forgets: a slowdown is followed.
    min_samples : int, in [1, window]
        No backup before that many requests.
    min_delay_s, max_delay_s : float
        Bounds of the delay.

    Notes
    -----
    The delay is the order statistic x_(k) with k = ceil(p (n + 1)): of the next request,
    exchangeable with the n in the window, a share of at most 1 - p is slower. Interpolating
    quantiles are lower and fire too often (5.9 % for a nominal 5 % with n = 100). Recorded are
    end-to-end latencies of requests from their primary's start, hedged ones included, at the time
    they were answered. Recording the winner's own latency instead, or leaving hedged requests out,
    makes the delay fall and the load grow.

    Examples
    --------
    >>> policy = PercentileDelay(75, window=100, min_samples=7)
    >>> for latency in [5, 1, 3, 2, 4, 6, 7]:
    ...     policy.observe(latency, censored=False)
    >>> policy.delay()  # k = ceil(0.75 * 8) = 6
    6.0
    """

    learns = True

    def __init__(
        self,
        percentile: float = 95,
        *,
        window: int = 500,
        min_samples: int = 20,
        min_delay_s: float = 0.001,
        max_delay_s: float = math.inf,
    ) -> None:
        if isinstance(percentile, bool) or not 50 <= percentile < 100:
            raise ValueError(f"`percentile` must be in [50, 100), got {percentile}")
        if min_samples < 1:
            raise ValueError(f"`min_samples` must be >= 1, got {min_samples}")
        if window < min_samples:
            raise ValueError(f"`window` must be >= min_samples = {min_samples}, got {window}")
        share = Fraction(repr(float(percentile))) / 100  # as written: 99.9 is 999/1000
        needed = smallest_window(percentile)
        if window < needed:
            raise ValueError(
                f"`window` must be >= {needed} to hold percentile {percentile}, got {window}"
            )
        self.percentile = float(percentile)
        self._min_delay_s = check_delay_s(min_delay_s, name="min_delay_s")
        self._max_delay_s = check_delay_s(max_delay_s, name="max_delay_s")
        if self._max_delay_s < self._min_delay_s:
            raise ValueError(f"`max_delay_s` must be >= min_delay_s, got {max_delay_s}")
        self._numerator, self._denominator = share.numerator, share.denominator
        self._window, self._min_samples = window, min_samples
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []

    @property
    def name(self) -> str:
        """What an experiment's design should say about it."""
        parts = [f"{self.percentile:g}"]
        if self._window != 500:
            parts.append(f"window={self._window}")
        if self._min_samples != 20:
            parts.append(f"min_samples={self._min_samples}")
        if self._min_delay_s != 0.001:
            parts.append(f"min_delay_s={self._min_delay_s:g}")
        if self._max_delay_s != math.inf:
            parts.append(f"max_delay_s={self._max_delay_s:g}")
        return f"percentile({', '.join(parts)})"

    @property
    def why_not(self) -> WhyNot | None:
        """Why the delay is inf: too few requests yet."""
        return "warmup" if self._rank() is None else None

    def _rank(self) -> int | None:
        n = len(self._sorted)
        if n < self._min_samples:
            return None
        k = -(-self._numerator * (n + 1) // self._denominator)
        return k if k <= n else None

    def delay(self) -> float:
        """Return the order statistic, or inf while there are too few requests."""
        k = self._rank()
        if k is None:
            return math.inf
        return min(max(self._sorted[k - 1], self._min_delay_s), self._max_delay_s)

    def observe(self, latency_s: float, *, censored: bool, attempt: int = 0) -> None:
        """Record a primary, censored or not; backups are not requests of their own."""
        if attempt != 0:
            return
        latency_s = float(latency_s)
        if len(self._recent) == self._window:
            oldest = self._recent.popleft()
            del self._sorted[bisect_left(self._sorted, oldest)]
        self._recent.append(latency_s)
        insort(self._sorted, latency_s)

    def reset(self) -> None:
        """Forget every latency."""
        self._recent.clear()
        self._sorted.clear()


def smallest_window(percentile: float) -> int:
    """Return the smallest n with ceil(p (n + 1)) <= n, that is n >= p / (1 - p)."""
    share = Fraction(repr(float(percentile))) / 100
    return math.ceil(share / (1 - share))
