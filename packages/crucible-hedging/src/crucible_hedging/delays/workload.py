"""A delay for every kind of work."""

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from crucible_hedging.delays.fixed import check_delay_s
from crucible_hedging.delays.percentile import PercentileDelay
from crucible_hedging.delays.policy import DelayPolicy, WhyNot, policy_name

_FLOOR_S = 0.010


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is known of a request before it is sent; the `key` of a workload-aware hedger.

    `bucket` tells apart what the other fields do not, such as endpoints.
    """

    prompt_chars: int | None = None
    complexity: Literal["simple", "medium", "complex"] | None = None
    time_of_day: Literal["peak", "off_peak"] | None = None
    priority: Literal["high", "normal", "low"] | None = None
    bucket: Hashable = None

    def __post_init__(self) -> None:
        if self.prompt_chars is not None and not self.prompt_chars >= 0:
            raise ValueError(f"`prompt_chars` must be >= 0, got {self.prompt_chars}")
        for name, words in (
            ("complexity", ("simple", "medium", "complex")),
            ("time_of_day", ("peak", "off_peak")),
            ("priority", ("high", "normal", "low")),
        ):
            value = getattr(self, name)
            if value is not None and value not in words:
                raise ValueError(f"`{name}` must be one of {', '.join(words)}, got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Multipliers:
    """Factors of the delay before anything has been learned.

    `prompt_chars` holds (more than, factor), largest first; what is not listed has factor 1.
    """

    prompt_chars: tuple[tuple[int, float], ...] = ((4000, 2.5), (2000, 2.0), (1000, 1.5))
    complexity: Mapping[str, float] = field(default_factory=lambda: {"complex": 2.0, "simple": 0.5})
    time_of_day: Mapping[str, float] = field(default_factory=lambda: {"peak": 0.7, "off_peak": 1.3})
    priority: Mapping[str, float] = field(default_factory=lambda: {"high": 0.6, "low": 1.5})

    def size(self, chars: int | None) -> int:
        """Return the threshold that a prompt's length exceeds, 0 if it exceeds none."""
        if chars is None:
            return 0
        return next((least for least, _ in self.prompt_chars if chars > least), 0)

    def factor(self, workload: Workload) -> float:
        """Return the product of the factors that apply."""
        size = self.size(workload.prompt_chars)
        return (
            dict(self.prompt_chars).get(size, 1.0)
            * self.complexity.get(workload.complexity or "", 1.0)
            * self.time_of_day.get(workload.time_of_day or "", 1.0)
            * self.priority.get(workload.priority or "", 1.0)
        )


DEFAULT = Multipliers()


class WorkloadDelays:
    """A factory of policies: every kind of `Workload` learns its own delay.

    Parameters
    ----------
    base : callable
        Makes the policy that learns.
    fallback_s : float
        The delay, before it is multiplied, of a kind that has not learned yet; never below 10 ms.
    multipliers : Multipliers

    Examples
    --------
    >>> policy = WorkloadDelays(fallback_s=0.1)(Workload(prompt_chars=5000, priority="high"))
    >>> round(policy.delay(), 6)  # 0.1 * 2.5 * 0.6
    0.15
    """

    learns = True

    def __init__(
        self,
        base: Callable[[], DelayPolicy] = PercentileDelay,
        *,
        fallback_s: float = 0.1,
        multipliers: Multipliers = DEFAULT,
    ) -> None:
        if not callable(base):
            raise TypeError(f"`base` must be callable, got {type(base).__name__}")
        self._base, self._multipliers = base, multipliers
        self._fallback_s = check_delay_s(fallback_s, name="fallback_s")
        example = base()
        self.needs_budget = bool(getattr(example, "needs_budget", False))
        self._base_name = policy_name(example)

    @property
    def name(self) -> str:
        """What an experiment's design should say about it."""
        parts = [self._base_name]
        if self._fallback_s != 0.1:
            parts.append(f"fallback_s={self._fallback_s:g}")
        if self._multipliers != DEFAULT:
            parts.append("own multipliers")
        return f"workload_aware({', '.join(parts)})"

    def bucket(self, key: Hashable) -> Workload:
        """Return the kind of a workload: prompts between two thresholds are one kind."""
        if not isinstance(key, Workload):
            raise TypeError(f"`key` must be a Workload with this policy, got {key!r}")
        return Workload(
            prompt_chars=self._multipliers.size(key.prompt_chars) + 1,
            complexity=key.complexity,
            time_of_day=key.time_of_day,
            priority=key.priority,
            bucket=key.bucket,
        )

    def __call__(self, key: Hashable, /) -> DelayPolicy:
        """Return a new policy for a kind of work."""
        kind = self.bucket(key)
        fallback_s = max(self._fallback_s * self._multipliers.factor(kind), _FLOOR_S)
        return _UntilLearned(self._base(), fallback_s, needs_budget=self.needs_budget)


class _UntilLearned:
    """A constant delay until another policy is warm."""

    learns = True

    def __init__(self, base: DelayPolicy, fallback_s: float, *, needs_budget: bool) -> None:
        self._base, self._fallback_s, self.needs_budget = base, fallback_s, needs_budget
        self.name = f"{policy_name(base)} after fixed({fallback_s:g} s)"
        self.why_not: WhyNot | None = None

    def delay(self) -> float:
        delay_s = self._base.delay()
        self.why_not = None
        if delay_s != math.inf:
            return delay_s
        why_not = getattr(self._base, "why_not", None)
        if why_not == "warmup":
            return self._fallback_s
        self.why_not = why_not
        return math.inf

    def observe(self, latency_s: float, *, censored: bool, attempt: int = 0) -> None:
        self._base.observe(latency_s, censored=censored, attempt=attempt)

    def settle(self, result: Literal["unhedged", "won", "lost", "failed"]) -> None:
        settle = getattr(self._base, "settle", None)
        if settle is not None:
            settle(result)
