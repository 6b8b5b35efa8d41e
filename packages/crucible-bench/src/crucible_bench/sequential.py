"""Look after every pair and stop when you like: always-valid paired comparison."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from crucible_bench.betting import Betting, check_bounds, confidence_sequence
from crucible_bench.results import Interval, Record

__all__ = ["SequentialComparison", "SequentialState", "confidence_sequence"]

Decision = Literal["superior", "inferior", "continue"]
_SCHEMA = "crucible.bench.sequential_comparison/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialState(Record):
    """What can be said after n pairs.

    Binary: `interval` is for the share of discordant pairs that treatment wins, against 1/2.
    Bounded: for the mean difference, treatment - control, against 0. `decision` keeps the first
    verdict, reached at pair `decided_at`. `e_value` is None where it is beyond a float;
    `log_e_value` always exists.
    """

    n: int
    e_value: float | None
    log_e_value: float
    interval: Interval
    decision: Decision
    decided_at: int | None


class SequentialComparison:
    """A paired comparison that stays valid however often one looks and whenever one stops.

    Parameters
    ----------
    outcome : {"binary", "bounded"}
        Scores of 0 and 1, or any scores within `bounds`.
    bounds : (float, float)
        The smallest and largest possible score; for "binary" always (0, 1).
    alpha : float, in (0, 1)
        Bound on the probability of ever deciding for one side while there is no difference.

    Notes
    -----
    Binary: E = B(c + 1/2, b + 1/2) / B(1/2, 1/2) * 2^(b + c), where treatment wins c and control b
    of the discordant pairs, a mixture of likelihood ratios against 1/2 [1]_. Under no difference
    its mean is 1 at any time one may stop, so E >= 1 / alpha ever happens with probability alpha
    at most (Ville). Bounded: hedged-capital betting [2]_ on the differences.

    References
    ----------
    .. [1] P. Grunwald, R. de Heide, W. Koolen, JRSS B 86(5), 1091-1128, 2024.
    .. [2] I. Waudby-Smith, A. Ramdas, JRSS B 86(1), 1-27, 2024, theorem 3.

    Examples
    --------
    >>> watch = SequentialComparison(outcome="binary")
    >>> for _ in range(7):
    ...     state = watch.update(0, 1)
    >>> state.decision, round(state.e_value, 4)
    ('superior', 26.8125)
    """

    __slots__ = ("_bets", "_bounds", "_decided_at", "_decision", "_lost", "_n", "_won", "alpha",
                 "outcome")  # fmt: skip

    def __init__(
        self,
        *,
        outcome: Literal["binary", "bounded"],
        bounds: tuple[float, float] = (0.0, 1.0),
        alpha: float = 0.05,
    ) -> None:
        if outcome not in ("binary", "bounded"):
            raise ValueError(f'`outcome` must be "binary" or "bounded", got {outcome!r}')
        if not 0 < alpha < 1:
            raise ValueError(f"`alpha` must be in (0, 1), got {alpha}")
        self.outcome = outcome
        self.alpha = alpha
        self._bounds = check_bounds(bounds)
        if outcome == "binary" and self._bounds != (0.0, 1.0):
            raise ValueError(f"`bounds` must be (0, 1) for binary scores, got {bounds}")
        self._n = self._won = self._lost = 0
        self._bets = Betting(alpha=alpha, grid=1_000) if outcome == "bounded" else None
        self._decision: Decision = "continue"
        self._decided_at: int | None = None

    def update(self, control: float, treatment: float) -> SequentialState:
        """Add one pair of scores and return the state.

        Raises
        ------
        ValueError
            If a score is out of range; the pair is then not counted.
        """
        low, high = self._bounds
        for name, score in (("control", control), ("treatment", treatment)):
            if self.outcome == "binary" and score not in (0, 1):
                raise ValueError(f"`{name}` must be 0 or 1, got {score!r}")
            if not low <= score <= high:
                raise ValueError(f"`{name}` must be within {self._bounds}, got {score!r}")
        self._n += 1
        if self._bets is not None:
            self._bets.update((float(treatment) - float(control) + high - low) / (2 * (high - low)))
        else:
            self._won += treatment > control
            self._lost += treatment < control
        log_e, upward = self._log_e_value()
        if self._decision == "continue" and log_e >= -math.log(self.alpha):
            self._decision = "superior" if upward else "inferior"
            self._decided_at = self._n
        return self.state

    @property
    def state(self) -> SequentialState:
        """What can be said now."""
        log_e, _ = self._log_e_value()
        return SequentialState(
            n=self._n,
            e_value=math.exp(log_e) if log_e < 709 else None,
            log_e_value=log_e,
            interval=self._interval(),
            decision=self._decision,
            decided_at=self._decided_at,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything that is needed to go on; after JSON and back the bytes are the same."""
        return {
            "schema": _SCHEMA,
            "outcome": self.outcome,
            "bounds": list(self._bounds),
            "alpha": self.alpha,
            "n": self._n,
            "won": self._won,
            "lost": self._lost,
            "decision": self._decision,
            "decided_at": self._decided_at,
            "bets": None if self._bets is None else self._bets.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "SequentialComparison":
        """Return the comparison that `to_dict` wrote.

        Raises
        ------
        ValueError
            If `data` is of another schema.
        """
        if data.get("schema") != _SCHEMA:
            raise ValueError(f"`data` must be {_SCHEMA}, got {data.get('schema')!r}")
        low, high = data["bounds"]
        watch = cls(outcome=data["outcome"], bounds=(low, high), alpha=data["alpha"])
        watch._n, watch._won, watch._lost = data["n"], data["won"], data["lost"]
        watch._decision, watch._decided_at = data["decision"], data["decided_at"]
        watch._bets = None if data["bets"] is None else Betting.from_dict(data["bets"])
        return watch

    def _log_e_value(self) -> tuple[float, bool]:
        """Return the log e-value against no difference, and whether it speaks for treatment."""
        if self._bets is not None:
            up, down = self._bets.log_capital()
            return max(up, down), up > down
        discordant = self._won + self._lost
        return self._log_mixture() + discordant * math.log(2), self._won > self._lost

    def _log_mixture(self) -> float:
        from scipy import special

        return float(special.betaln(self._won + 0.5, self._lost + 0.5) - math.log(math.pi))

    def _interval(self) -> Interval:
        if self._bets is not None:
            (low, high), wide = self._bets.interval, self._bounds[1] - self._bounds[0]
            low, high = (2 * low - 1) * wide, (2 * high - 1) * wide
            return Interval(low=low, high=high, level=1 - self.alpha, method="betting")
        low, high = mixture_interval(self._won, self._lost, alpha=self.alpha)
        return Interval(low=low, high=high, level=1 - self.alpha, method="beta mixture")


def mixture_interval(won: int, lost: int, *, alpha: float) -> tuple[float, float]:
    """Return the shares that the e-value against them does not exclude at 1 / alpha."""
    from scipy import optimize, special

    if won + lost == 0:
        return 0.0, 1.0
    mixture = float(special.betaln(won + 0.5, lost + 0.5) - math.log(math.pi))

    def excess(share: float) -> float:
        against = mixture - special.xlogy(won, share) - special.xlog1py(lost, -share)
        return float(against) + math.log(alpha)

    best, tiny = won / (won + lost), 1e-300
    low = 0.0 if won == 0 else float(optimize.brentq(excess, tiny, best, xtol=1e-15))
    high = 1.0 if lost == 0 else float(optimize.brentq(excess, best, 1 - 1e-16, xtol=1e-15))
    return low, high
