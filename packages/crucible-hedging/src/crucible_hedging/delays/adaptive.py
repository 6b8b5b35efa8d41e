"""The delay and the probability that shorten a percentile most, under a budget."""

import math
import random
from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from crucible_hedging.delays.policy import WhyNot

if TYPE_CHECKING:
    from crucible_hedging.survival import Survival

_TIE = 0.02  # of the gain; an estimated curve does not tell such plans apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """After `delay_s` seconds, a backup with probability `probability`.

    `predicted_s` is the percentile that this promises, `n` the attempts it was planned from.
    """

    delay_s: float
    probability: float
    predicted_s: float
    n: int

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-ready record."""
        return asdict(self)


class AdaptiveDelay:
    """Plan the delay from what was seen, so that a percentile falls most within a budget.

    Parameters
    ----------
    budget : float, in (0, 1]
        Backups per request.
    percentile : float, in [50, 100)
        The one to shorten.
    window : int
        Attempts that are remembered.
    min_samples : int, in [1, window]
        No backup before that many attempts.
    seed : int
        Of the coin that is tossed where the probability is below 1.

    Attributes
    ----------
    plan : Plan or None
        None until there are `min_samples` attempts.
    backups_differ : bool
        Set by the hedger where backups are calls of their own: they then have a survival function
        of their own.

    Notes
    -----
    SingleR under a budget [1]_: of all (d, q) with q S(d) <= budget, the one whose percentile t
    of min(X, d + Y) is smallest, where S(t) (1 - q + q S_b(t - d)) = 1 - percentile/100. S and S_b
    are Kaplan-Meier curves, so attempts that were beaten count as longer than they were seen.
    Tried are d = 0, 32 order statistics up to Q(1 - 2 budget), at which S falls by equal factors,
    and from there to Q(1 - budget) every one (at most 96), since the best delay is often near that
    edge. Plans that lose at most 2 % of the best one's gain are ties, which go to the latest delay:
    the curve is an estimate, and the very minimum over a hundred promises is often an early delay
    with a low probability that looks best by chance. Planned anew every max(50, window/20)
    attempts; where the curve does not fall to the budget, the last plan stays.

    References
    ----------
    .. [1] T. Kaler, Y. He, S. Elnikety, Optimal reissue policies for reducing tail latency,
       SPAA 2017, section 3.
    """

    learns = True

    def __init__(
        self,
        *,
        budget: float,
        percentile: float = 99,
        window: int = 2_000,
        min_samples: int = 100,
        seed: int = 0,
    ) -> None:
        if isinstance(budget, bool) or not 0 < budget <= 1:
            raise ValueError(f"`budget` must be in (0, 1], got {budget}")
        if isinstance(percentile, bool) or not 50 <= percentile < 100:
            raise ValueError(f"`percentile` must be in [50, 100), got {percentile}")
        if min_samples < 1:
            raise ValueError(f"`min_samples` must be >= 1, got {min_samples}")
        if window < min_samples:
            raise ValueError(f"`window` must be >= min_samples = {min_samples}, got {window}")
        self.percentile = float(percentile)
        self.plan: Plan | None = None
        self.backups_differ = False
        self.why_not: WhyNot | None = None
        # Not needed before there is something to plan, and numpy would double the time of import.
        import crucible_hedging.delays.single_r  # noqa: F401

        self._budget, self._window, self._min_samples = float(budget), window, min_samples
        self._seed = seed
        self.reset()

    @property
    def name(self) -> str:
        """What an experiment's design should say about it."""
        parts = [f"{self.percentile:g}", f"budget={self._budget:g}"]
        if self._window != 2_000:
            parts.append(f"window={self._window}")
        if self._min_samples != 100:
            parts.append(f"min_samples={self._min_samples}")
        if self._seed != 0:
            parts.append(f"seed={self._seed}")
        return f"adaptive({', '.join(parts)})"

    @property
    def probability(self) -> float | None:
        """The probability of the plan."""
        return None if self.plan is None else self.plan.probability

    def reset(self) -> None:
        """Forget every attempt and the plan, and start the coin anew."""
        self.plan = None
        self._coin = random.Random(self._seed)
        self._recent: deque[tuple[float, bool, bool]] = deque(maxlen=self._window)
        self._until_plan = self._min_samples

    def delay(self) -> float:
        """Return the planned delay with the planned probability, else inf."""
        if self.plan is None:
            self.why_not = "warmup"
            return math.inf
        if self.plan.probability < 1 and self._coin.random() >= self.plan.probability:
            self.why_not = "not_sampled"
            return math.inf
        self.why_not = None
        return self.plan.delay_s

    def observe(self, latency_s: float, *, censored: bool, attempt: int = 0) -> None:
        """Record an attempt, a primary or a backup."""
        self._recent.append((float(latency_s), censored, attempt > 0))
        self._until_plan -= 1
        if self._until_plan <= 0:
            self._until_plan = max(50, self._window // 20)
            self._plan_anew()

    def _plan_anew(self) -> None:
        from crucible_hedging.delays.single_r import single_r
        from crucible_hedging.survival import kaplan_meier

        def curve_of(attempts: list[tuple[float, bool, bool]]) -> "Survival":
            return kaplan_meier([x for x, _, _ in attempts], [cut for _, cut, _ in attempts])

        primaries, backups = list(self._recent), []
        if self.backups_differ:
            primaries = [attempt for attempt in self._recent if not attempt[2]]
            backups = [attempt for attempt in self._recent if attempt[2]]
        if not primaries:
            return
        curve = curve_of(primaries)
        again = curve_of(backups) if len(backups) >= self._min_samples else curve
        found = single_r(curve, again, budget=self._budget, percentile=self.percentile, tie=_TIE)
        if found is not None:
            delay_s, probability, predicted_s = found
            self.plan = Plan(
                delay_s=delay_s,
                probability=probability,
                predicted_s=predicted_s,
                n=len(self._recent),
            )
