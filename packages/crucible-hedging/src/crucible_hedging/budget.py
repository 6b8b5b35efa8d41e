"""A cap on extra requests that holds at every moment."""

import threading
from fractions import Fraction


class HedgeBudget:
    """A token bucket: every request adds `ratio`, every backup takes 1.

    Parameters
    ----------
    ratio : float, in (0, 1]
        Backups per request. May be set later.
    burst : float, >= 1
        The most tokens that are kept for later.
    initial : float, in [0, burst]
        Tokens at the start.

    Notes
    -----
    With `initial=0`, at every moment backups <= ratio * requests; in any run of n requests backups
    <= burst + ratio * n. Tokens are counted in exact integers, so no rounding ever adds a backup.
    One budget may be shared by several hedgers, by threads and by a retry layer.

    Examples
    --------
    >>> budget = HedgeBudget(0.5)
    >>> budget.arrive(); budget.try_spend()
    False
    >>> budget.arrive(); budget.try_spend()
    True
    """

    def __init__(self, ratio: float = 0.05, *, burst: float = 20, initial: float = 0.0) -> None:
        if isinstance(burst, bool) or not 1 <= burst < float("inf"):
            raise ValueError(f"`burst` must be a number >= 1, got {burst}")
        if isinstance(initial, bool) or not 0 <= initial <= burst:
            raise ValueError(f"`initial` must be in [0, burst], got {initial}")
        self._lock = threading.Lock()
        self._burst = burst
        self._ratio = _checked(ratio)
        self._refit(Fraction(repr(float(initial))))

    def _refit(self, tokens: Fraction) -> None:
        """Choose the unit in which ratio, burst and one token are integers."""
        share = Fraction(repr(self._ratio))
        self._share, self._token = share.numerator, share.denominator
        self._most = int(Fraction(repr(float(self._burst))) * self._token)
        self._have = int(tokens * self._token)  # rounded down: never a backup too many

    @property
    def ratio(self) -> float:
        """Backups per request."""
        return self._ratio

    @ratio.setter
    def ratio(self, ratio: float) -> None:
        with self._lock:
            tokens = Fraction(self._have, self._token)
            self._ratio = _checked(ratio)
            self._refit(tokens)

    @property
    def name(self) -> str:
        """What an experiment's design should say about it."""
        return f"{self._ratio:g}" + (f" (burst {self._burst:g})" if self._burst != 20 else "")

    @property
    def tokens(self) -> float:
        """Backups that could be sent now."""
        return self._have / self._token

    def arrive(self) -> None:
        """Count a request."""
        with self._lock:
            self._have = min(self._have + self._share, self._most)

    def try_spend(self) -> bool:
        """Take one token if there is one; never waits."""
        with self._lock:
            if self._have < self._token:
                return False
            self._have -= self._token
            return True


def _checked(ratio: float) -> float:
    if isinstance(ratio, bool) or not 0 < ratio <= 1:
        raise ValueError(f"`ratio` must be in (0, 1], got {ratio}")
    return float(ratio)
