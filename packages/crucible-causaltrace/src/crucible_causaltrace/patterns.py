"""Runs of event types that return in many chains, and how those chains ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from crucible_causaltrace.chain import Chain
from crucible_causaltrace.intervals import wilson


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """Event types that follow each other directly, in the order of a chain.

    `support` is the share of chains that hold it at least once, `chains` their number,
    `occurrences` counts every time. Of the `n_outcomes` chains with it whose outcome is known,
    `successes` ended well: `rate`, with the Wilson 95 % interval [`low`, `high`]. `base_rate`, with
    [`base_low`, `base_high`], is that of all chains with a known outcome. Rates are None where no
    outcome is known. A pattern is an association: it says nothing of what makes an answer right.
    """

    types: tuple[str, ...]
    support: float
    occurrences: int
    chains: int
    n_outcomes: int
    successes: int
    rate: float | None
    low: float | None
    high: float | None
    base_rate: float | None
    base_low: float | None
    base_high: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return asdict(self) | {"types": list(self.types)}


def mine_patterns(
    chains: Iterable[Chain],
    *,
    outcomes: Mapping[str, bool] | None = None,
    lengths: tuple[int, int] = (2, 5),
    min_support: float = 0.3,
) -> list[Pattern]:
    """List the runs of types that enough chains share.

    Parameters
    ----------
    chains : iterable of Chain
        With different ids.
    outcomes : mapping of chain id to bool, optional
        Whether a chain ended well. Chains that are not in it have no known outcome.
    lengths : (int, int), 1 <= first <= second
        Shortest and longest run.
    min_support : float, in (0, 1]
        The least share of chains.

    Returns
    -------
    list of Pattern
        By support, then length, both falling, then types. There are no p-values: many runs are
        looked at, and those that are shown were picked by what is to be tested.

    Raises
    ------
    ValueError
        If an argument is out of range, or two chains have one id.
    """
    shortest, longest = lengths
    if not 1 <= shortest <= longest:
        raise ValueError(f"`lengths` must be (a, b) with 1 <= a <= b, got {lengths}")
    if not 0.0 < min_support <= 1.0:
        raise ValueError(f"`min_support` must be in (0, 1], got {min_support}")
    known = {} if outcomes is None else outcomes
    occurrences: Counter[tuple[str, ...]] = Counter()
    holders: dict[tuple[str, ...], list[str]] = {}
    ids: dict[str, None] = {}
    for chain in chains:
        if chain.id in ids:
            raise ValueError(f"`chains` must have different ids, got {chain.id!r} twice")
        ids[chain.id] = None
        types = [event.type for event in chain]
        found = Counter(
            tuple(types[at : at + length])
            for length in range(shortest, longest + 1)
            for at in range(len(types) - length + 1)
        )
        occurrences.update(found)
        for run in found:
            holders.setdefault(run, []).append(chain.id)
    base = _rate(ids, known)
    patterns = []
    for run, where in holders.items():
        support = len(where) / len(ids)
        if support < min_support:
            continue
        n, successes, rate, low, high = _rate(where, known)
        patterns.append(
            Pattern(
                types=run, support=support, occurrences=occurrences[run], chains=len(where),
                n_outcomes=n, successes=successes, rate=rate, low=low, high=high,
                base_rate=base[2], base_low=base[3], base_high=base[4],
            )
        )  # fmt: skip
    return sorted(patterns, key=lambda p: (-p.support, -len(p.types), p.types))


def _rate(
    ids: Iterable[str], known: Mapping[str, bool]
) -> tuple[int, int, float | None, float | None, float | None]:
    ended = [bool(known[id]) for id in ids if id in known]
    if not ended:
        return 0, 0, None, None, None
    low, high = wilson(sum(ended), len(ended))
    return len(ended), sum(ended), sum(ended) / len(ended), low, high
