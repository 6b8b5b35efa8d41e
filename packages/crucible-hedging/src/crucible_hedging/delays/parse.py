"""The words for delay policies."""

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from crucible_hedging.delays.adaptive import AdaptiveDelay
from crucible_hedging.delays.backoff import BackoffDelay
from crucible_hedging.delays.fixed import FixedDelay, NoHedge
from crucible_hedging.delays.percentile import PercentileDelay, smallest_window
from crucible_hedging.delays.policy import DelayPolicy, policy_name
from crucible_hedging.delays.workload import WorkloadDelays

_PERCENTILE = re.compile(r"(?:percentile_|p)(\d{2}(?:\.\d+)?)", re.ASCII)
WORDS = (
    '"off", "fixed", "percentile", "percentile_NN" or "pNN" with NN from 50 to 99.99..., '
    '"adaptive", "workload_aware", "exponential_backoff"'
)


@dataclass(frozen=True, slots=True)
class OnePerKey:
    """A factory that makes equal policies, one for each key."""

    make: Callable[[], DelayPolicy]
    name: str
    learns: bool
    needs_budget: bool

    @staticmethod
    def of(make: Callable[[], DelayPolicy]) -> "OnePerKey":
        """Describe the factory by what it makes."""
        example = make()
        return OnePerKey(
            make,
            policy_name(example),
            bool(getattr(example, "learns", False)),
            bool(getattr(example, "needs_budget", False)),
        )

    def __call__(self, key: Hashable, /) -> DelayPolicy:
        """Return a new policy."""
        return self.make()


def parse_delay(
    text: str, *, budget: float | None = None, seed: int = 0
) -> Callable[[Hashable], DelayPolicy]:
    """Return the factory of policies that a word names.

    Parameters
    ----------
    text : str
        Case does not matter and "-" is "_". "p95", "percentile_95" and "Percentile-95" are the
        same; any percentile in [50, 100) may stand there, and "percentile" is "p95".
    budget : float, in (0, 1], optional
        The share of extra requests for which "adaptive" plans.
    seed : int
        Of the coin of "adaptive".

    Returns
    -------
    callable
        Makes one policy per key.

    Raises
    ------
    ValueError
        If no policy has that name, or "adaptive" has no budget.

    Examples
    --------
    >>> parse_delay("p95")(None).name
    'percentile(95)'
    """
    if not isinstance(text, str):
        raise TypeError(f"`text` must be a str, got {text!r}")
    word = text.lower().replace("-", "_")
    if word == "off":
        return OnePerKey.of(NoHedge)
    if word == "fixed":
        return OnePerKey.of(FixedDelay)
    if word == "percentile":
        return OnePerKey.of(PercentileDelay)
    if word == "exponential_backoff":
        return OnePerKey.of(BackoffDelay)
    if word == "workload_aware":
        return WorkloadDelays()
    if word == "adaptive":
        if budget is None:
            raise ValueError('`budget` must be given with "adaptive", got None')
        share = budget
        return OnePerKey.of(lambda: AdaptiveDelay(budget=share, seed=seed))
    match = _PERCENTILE.fullmatch(word)
    if match and 50 <= float(match[1]) < 100:
        percentile = float(match[1])
        window = max(500, smallest_window(percentile))
        return OnePerKey.of(lambda: PercentileDelay(percentile, window=window))
    raise ValueError(f"`delay` must be one of {WORDS}, got {text!r}")
