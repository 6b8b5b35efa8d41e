"""What came of one request: the value, every attempt, the price."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

T_co = TypeVar("T_co", covariant=True)

AttemptStatus = Literal["won", "lost", "cancelled", "failed", "rejected", "abandoned", "running"]
CostSource = Literal["value", "reported", "assumed_full"]
Blocked = Literal[
    "warmup",
    "budget",
    "breaker",
    "pushback",
    "inflight",
    "ineligible",
    "disabled",
    "not_idempotent",
    "not_sampled",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One copy of the call.

    Attributes
    ----------
    index : int
        0 is the primary.
    name : str
    start_s : float
        Seconds after the request began.
    latency_s : float or None
        On the attempt's own clock, its clean-up included; None while it runs.
    status : str
        "won"; "lost" (succeeded after another had won); "cancelled"; "failed"; "rejected" by
        `accept`; "abandoned" (a plain function in a thread, which cannot be stopped); "running"
        (a loser that goes on in the background).
    error : BaseException or None
        Why it failed. On a cancelled attempt, what its clean-up raised.
    cost_usd : float or None
        None: unknown.
    cost_source : str or None
        "value" (from `cost`), "reported" (`report_cost`), "assumed_full" (the winner's price).
    """

    index: int
    name: str
    start_s: float
    latency_s: float | None
    status: AttemptStatus
    error: BaseException | None = None
    cost_usd: float | None = None
    cost_source: CostSource | None = None

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-ready record; of an error only its type is kept."""
        return {
            "index": self.index,
            "name": self.name,
            "start_s": self.start_s,
            "latency_s": self.latency_s,
            "status": self.status,
            "error": None if self.error is None else type(self.error).__name__,
            "cost_usd": self.cost_usd,
            "cost_source": self.cost_source,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeOutcome(Generic[T_co]):
    """The answer to one request, and what it took.

    Attributes
    ----------
    value : T
    winner : int
        Index of the attempt whose value this is; 0 is the primary.
    hedged : bool
        A backup was started.
    hedge_won : bool
    latency_s : float
        From the request to its return, the losers' clean-up included.
    delay_s : float or None
        The wait before the first backup; None: the policy said never, or was not asked.
    requests : int
        Attempts started.
    attempts : tuple of Attempt
        In start order.
    blocked : str or None
        Why a backup that was due, or would have been, was not sent.
    key : Hashable
    cost_usd : float or None
        Of all attempts; None if the price of any of them is unknown.
    known_cost_usd : float
        The sum of the prices that are known.
    shadow : bool
        Both copies were started at once, for the shadow log.
    """

    value: T_co
    winner: int
    hedged: bool
    hedge_won: bool
    latency_s: float
    delay_s: float | None
    requests: int
    attempts: tuple[Attempt, ...]
    blocked: Blocked | None
    key: Hashable
    cost_usd: float | None
    known_cost_usd: float
    shadow: bool = False

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-ready record without the value; the key as text."""
        return {
            "winner": self.winner,
            "hedged": self.hedged,
            "hedge_won": self.hedge_won,
            "latency_s": self.latency_s,
            "delay_s": self.delay_s,
            "requests": self.requests,
            "attempts": [attempt.to_dict() for attempt in self.attempts],
            "blocked": self.blocked,
            "key": None if self.key is None else str(self.key),
            "cost_usd": self.cost_usd,
            "known_cost_usd": self.known_cost_usd,
            "shadow": self.shadow,
        }
