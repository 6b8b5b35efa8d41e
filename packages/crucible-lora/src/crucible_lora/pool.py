"""Adapters side by side: who votes, with which weight."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crucible_lora.errors import AdapterExistsError, AdapterNotFoundError
from crucible_lora.experiment import choose_backend
from crucible_lora.gates import Direction
from crucible_lora.ports import Backend
from crucible_lora.registry import AdapterRegistry
from crucible_lora.sampler import Sampler


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolMember:
    """An adapter in a pool."""

    name: str
    sampler: Sampler
    weight: float
    tags: tuple[str, ...]


class AdapterPool:
    """Adapters by name, in the order in which they were added.

    Examples
    --------
    An ensemble takes them as they are:

    >>> def ensemble_of(pool):
    ...     from crucible_ensemble import Ensemble
    ...     models, weights = zip(*pool, strict=True)
    ...     return Ensemble(models, weights=weights, vote="weighted_majority")
    """

    def __init__(self) -> None:
        self._members: dict[str, PoolMember] = {}

    def __repr__(self) -> str:
        return f"AdapterPool({list(self._members)!r})"

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[tuple[Sampler, float]]:
        """Yield each adapter as (model, weight)."""
        return ((member.sampler, member.weight) for member in self._members.values())

    def add(
        self, name: str, sampler: Sampler, *, weight: float = 1.0, tags: Sequence[str] = ()
    ) -> None:
        """Add an adapter.

        Raises
        ------
        AdapterExistsError
            If the name is taken.
        ValueError
            If the name is empty or the weight not > 0.
        """
        if not name.strip():
            raise ValueError(f"`name` must not be empty, got {name!r}")
        if not (math.isfinite(weight) and weight > 0):
            raise ValueError(f"`weight` must be > 0, got {weight}")
        if isinstance(tags, str):
            raise ValueError(f"`tags` must be a sequence of texts, got {tags!r}")
        if name in self._members:
            raise AdapterExistsError(name)
        self._members[name] = PoolMember(
            name=name, sampler=sampler, weight=float(weight), tags=tuple(tags)
        )

    def remove(self, name: str) -> None:
        """Take an adapter out.

        Raises
        ------
        AdapterNotFoundError
        """
        self._find(name)
        del self._members[name]

    def get(self, name: str) -> Sampler:
        """Return an adapter.

        Raises
        ------
        AdapterNotFoundError
            If there is none of that name; the error lists those there are.
        """
        return self._find(name).sampler

    def members(self) -> tuple[PoolMember, ...]:
        """Return all members, in the order in which they were added."""
        return tuple(self._members.values())

    def weights(self, normalise: bool = False) -> dict[str, float]:
        """Return the weights by name; if normalised, they add up to 1."""
        whole = math.fsum(m.weight for m in self._members.values()) if normalise else 1.0
        return {name: member.weight / whole for name, member in self._members.items()}

    def by_tags(self, all_of: Sequence[str]) -> tuple[PoolMember, ...]:
        """Return the members that have all of some tags."""
        if isinstance(all_of, str):
            raise ValueError(f"`all_of` must be a sequence of texts, got {all_of!r}")
        return tuple(m for m in self._members.values() if set(all_of) <= set(m.tags))

    @classmethod
    def from_registry(
        cls,
        registry: AdapterRegistry,
        *,
        metric: str,
        direction: Direction,
        top_n: int = 5,
        tags: Sequence[str] = (),
        backend: Backend | Literal["auto"] = "auto",
    ) -> Self:
        """Return a pool of a registry's best adapters, each with weight 1.

        Parameters
        ----------
        registry : AdapterRegistry
        metric : str
        direction : {"min", "max"}
            Which way the metric is better.
        top_n : int, >= 1
        tags : sequence of str
            Only adapters that have all of them.
        backend : Backend or "auto"
            One for all: adapters of one base share it in memory.

        Raises
        ------
        AdapterNotFoundError
            If no adapter has that metric and those tags.
        CheckpointNotFoundError, CheckpointCorruptError
            If a checkpoint is not what was registered.
        """
        found = registry.top(metric, top_n, direction=direction, tags=tags)
        if not found:
            raise AdapterNotFoundError(f"with {metric}", [a.name for a in registry.list()])
        pool = cls()
        made: dict[bool, Backend] = {}
        for adapter in found:
            one = backend
            if isinstance(one, str):
                config = registry.config(adapter.name)
                reference = config.base_model == "reference"
                if reference not in made:
                    made[reference] = choose_backend(config, one)
                one = made[reference]
            pool.add(adapter.name, registry.open(adapter.name, backend=one), tags=adapter.tags)
        return pool

    def _find(self, name: str) -> PoolMember:
        if name not in self._members:
            raise AdapterNotFoundError(name, tuple(self._members))
        return self._members[name]


def fit_weights(logprobs: ArrayLike, *, tolerance: float = 1e-12) -> NDArray[np.float64]:
    """Return the weights under which a mixture of adapters finds held-out answers likeliest.

    Parameters
    ----------
    logprobs : shape (items, members)
        What each member says of each item's answer, natural; -inf is impossible.
    tolerance : float, > 0
        How far the mean log-likelihood may be from its maximum.

    Returns
    -------
    weights : shape (members,)
        On the simplex: >= 0, adding up to 1.

    Raises
    ------
    ValueError
        If the shape is another, a value is NaN or above 0, or no member finds an item possible.

    Notes
    -----
    The weights maximise sum_i log sum_k w_k exp(l_ik), a concave problem, by expectation and
    maximisation. It ends where max_k mean_i(p_ik / mixture_i) - 1, which bounds the distance to the
    maximum, is within `tolerance`. Use items that no member learned: learned ones favour whoever
    learned them by heart.

    References
    ----------
    .. [1] P. Smyth, D. Wolpert, Linearly combining density estimators via stacking, Machine
       Learning 36, 59-83, 1999.
    """
    table = np.asarray(logprobs, dtype=np.float64)
    if table.ndim != 2 or not table.size:
        raise ValueError(f"`logprobs` must have shape (items, members), got {table.shape}")
    if np.isnan(table).any() or (table > 0).any():
        raise ValueError("`logprobs` must be log-probabilities <= 0, got NaN or a value above 0")
    if not tolerance > 0:
        raise ValueError(f"`tolerance` must be > 0, got {tolerance}")
    best = table.max(axis=1)
    if not np.isfinite(best).all():
        raise ValueError("`logprobs` must be finite for some member of every item")
    shares = np.exp(table - best[:, None])  # only ratios within an item matter
    weights = np.full(table.shape[1], 1 / table.shape[1])
    for _ in range(_MOST):
        gain = (shares / (shares @ weights)[:, None]).mean(axis=0)
        if gain.max() - 1 <= tolerance:
            break
        weights = weights * gain
        weights /= weights.sum()
    return weights


_MOST = 1_000_000  # rounds; the gap falls at least as 1 / rounds
