"""What a sweep may choose from, and which configurations it tries."""

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from crucible_lora.config import ALIASES, LoraConfig
from crucible_lora.records import Record

TRAIN_OPTIONS = ("epochs", "batch_size", "accumulate")


@dataclass(frozen=True, slots=True)
class Uniform(Record):
    """Numbers in [low, high), all equally likely."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_ends(self.low, self.high)

    def at(self, share: float) -> float:
        """Return the number below which a share of the others lie."""
        return self.low + share * (self.high - self.low)


@dataclass(frozen=True, slots=True)
class LogUniform(Record):
    """Numbers in [low, high), 0 < low, whose logarithms are all equally likely."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_ends(self.low, self.high)
        if not self.low > 0:
            raise ValueError(f"`low` must be > 0, got {self.low}")

    def at(self, share: float) -> float:
        """Return the number below which a share of the others lie."""
        return self.low * math.exp(share * math.log(self.high / self.low))


Choices = Sequence[object] | Uniform | LogUniform
Space = Mapping[str, Choices]
Params = dict[str, Any]


def check_space(space: Space, *, method: str) -> dict[str, Choices]:
    """Return a space with its names as `LoraConfig` has them.

    Raises
    ------
    ValueError
        For a name that is no field of the configuration and no train option of a sweep; a scalar;
        no choice; a range in a grid.
    """
    if not space:
        raise ValueError("`space` must not be empty")
    known = {f.name for f in fields(LoraConfig)} | set(TRAIN_OPTIONS)
    found: dict[str, Choices] = {}
    for given, choices in space.items():
        name = ALIASES.get(given, given)
        if name not in known:
            rule = f"fields of LoraConfig or {', '.join(TRAIN_OPTIONS)}"
            raise ValueError(f"`space` must name {rule}, got {given!r}")
        if name in found:
            raise ValueError(f"`space` must name {name!r} once, got {given!r} too")
        if isinstance(choices, Uniform | LogUniform):
            if method == "grid":
                raise ValueError(f"`space` must list values in a grid, got a range for {given!r}")
        elif isinstance(choices, str) or not isinstance(choices, Sequence):
            raise ValueError(
                f"`space` must hold sequences or ranges, got {choices!r} for {given!r}"
            )
        elif not choices:
            raise ValueError(f"`space` must hold choices, got none for {given!r}")
        if not isinstance(choices, Uniform | LogUniform):
            choices = [c.item() if isinstance(c, np.generic) else c for c in choices]
        found[name] = choices
    return found


def grid(space: Mapping[str, Choices]) -> list[Params]:
    """Return every combination, the last name's values changing fastest."""
    lists = [list(c) for c in space.values() if isinstance(c, Sequence)]
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*lists)]


def draw(space: Mapping[str, Choices], n: int, *, seed: int, name: str) -> list[Params]:
    """Return n different combinations, each a function of the seed, the sweep and its number.

    Raises
    ------
    ValueError
        If there are not as many.
    """
    sizes = [len(c) if isinstance(c, Sequence) else math.inf for c in space.values()]
    if math.prod(sizes) < n:
        raise ValueError(f"`n` must be <= the {math.prod(sizes)} combinations of `space`, got {n}")
    found: dict[str, Params] = {}
    for params in _draws(space, seed=seed, name=name):
        found.setdefault(canonical(params), params)
        if len(found) == n:
            break
    return list(found.values())


def canonical(value: Any) -> str:
    """Return a value as canonical JSON."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def run_id(sweep: str, params: Params, replication: int) -> str:
    """Return the name of a run: the first 12 hex digits of the SHA-256 of what it is."""
    content = {"sweep": sweep, "params": params, "replication": replication}
    return hashlib.sha256(canonical(content).encode()).hexdigest()[:12]


def run_seed(seed: int, run: str) -> int:
    """Return the seed of a run: 8 bytes of a SHA-256 over the sweep's seed and the run's name."""
    digest = hashlib.sha256(f"{seed}\x1f{run}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 2**63


def _draws(space: Mapping[str, Choices], *, seed: int, name: str) -> Iterator[Params]:
    for number in itertools.count():
        params: Params = {}
        for key, choices in space.items():
            text = f"{seed}\x1f{name}\x1f{number}\x1f{key}"
            digest = hashlib.sha256(text.encode()).digest()
            share = int.from_bytes(digest[:8], "big") / 2**64
            if isinstance(choices, Uniform | LogUniform):
                params[key] = choices.at(share)
            else:
                params[key] = choices[min(int(share * len(choices)), len(choices) - 1)]
        yield params


def _check_ends(low: float, high: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"`low` must be < `high`, got {low} and {high}")
