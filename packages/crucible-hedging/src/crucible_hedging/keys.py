"""What a hedger keeps of every key: a policy, a pause, a circuit, figures."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import cast

from crucible_hedging.breaker import Circuit
from crucible_hedging.budget import HedgeBudget
from crucible_hedging.delays.fixed import FixedDelay
from crucible_hedging.delays.parse import OnePerKey, parse_delay
from crucible_hedging.delays.policy import DelayPolicy
from crucible_hedging.gates import Gates
from crucible_hedging.hedge import as_policy
from crucible_hedging.recorder import Recorder
from crucible_hedging.statistics import Tally


class Kept:
    """What is kept of one key. `recorder` is for requests that nobody else is told of."""

    __slots__ = ("circuit", "gates", "policy", "recorder", "tally")

    def __init__(
        self,
        policy: DelayPolicy,
        *,
        circuit: Circuit | None,
        gates: Gates,
        tally: Tally,
        recorder: Recorder,
    ) -> None:
        self.policy, self.circuit, self.gates = policy, circuit, gates
        self.tally, self.recorder = tally, recorder


class Keys:
    """The keys in use; the least recently used goes when there are more than `most`.

    Parameters
    ----------
    factory : callable
        Makes the policy of a key. If it has `bucket(key)`, keys of one bucket are one key.
    keep : callable
        Returns what is to be kept with a policy that was made; raises if it may not run here.
    """

    def __init__(
        self,
        factory: Callable[[Hashable], DelayPolicy],
        *,
        most: int,
        keep: Callable[[DelayPolicy], Kept],
    ) -> None:
        self._factory, self._keep, self._most = factory, keep, most
        self._bucket_of: Callable[[Hashable], Hashable] | None = getattr(factory, "bucket", None)
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()

    def use(self, key: Hashable) -> Kept:
        """Return what is kept of a key, made on its first use."""
        bucket = self._bucket(key)
        kept = self._kept.get(bucket)
        if kept is None:
            kept = self._kept[bucket] = self._keep(self._factory(bucket))
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        self._kept.move_to_end(bucket)
        return kept

    def look_up(self, key: Hashable) -> Kept:
        """Return what is kept of a key, or raise KeyError."""
        return self._kept[self._bucket(key)]

    def forget(self, key: Hashable) -> None:
        """Forget one key."""
        self._kept.pop(self._bucket(key), None)

    def clear(self) -> None:
        """Forget every key."""
        self._kept.clear()

    def _bucket(self, key: Hashable) -> Hashable:
        return key if self._bucket_of is None else self._bucket_of(key)


def policies_of(
    delay: object, budget: HedgeBudget | None, seed: int
) -> tuple[DelayPolicy | None, Callable[[Hashable], DelayPolicy]]:
    """Return the policy that all keys share, if there is one, and the factory for a key."""
    if isinstance(delay, str):
        ratio = None if budget is None else budget.ratio
        return None, parse_delay(delay, budget=ratio, seed=seed)
    if isinstance(delay, type):
        raise TypeError(f"`delay` must be a policy object, not the class {delay.__name__}")
    if isinstance(delay, int | float):
        fixed = cast("FixedDelay", as_policy(delay))
        return None, OnePerKey.of(lambda: FixedDelay(fixed.delay()))
    if isinstance(delay, DelayPolicy):
        shared = delay
        return shared, lambda key: shared
    if callable(delay):
        return None, cast("Callable[[Hashable], DelayPolicy]", delay)
    raise TypeError(
        f"`delay` must be a word, a number, a policy or a factory of policies, got {delay!r}"
    )
