"""Which runs a sweep is made of, and what it cannot be asked."""

from collections.abc import Mapping, Sequence
from typing import Literal

from crucible_lora.corpus import Corpus, Entry, find_leaks
from crucible_lora.errors import UnsupportedOptionError
from crucible_lora.gates import Direction
from crucible_lora.metrics import METRICS, direction_of, find_metric, unknown_metric
from crucible_lora.options import EarlyStopping
from crucible_lora.ports import Backend
from crucible_lora.records import plain
from crucible_lora.scoring import Scoring
from crucible_lora.space import Params, run_id, run_seed
from crucible_lora.trials import Trial

Method = Literal["grid", "random", "halving"]


def trials_of(name: str, params: Params, replications: int, seed: int) -> list[Trial]:
    """Return the replications of a configuration."""
    found = []
    for replication in range(replications):
        identifier = run_id(name, plain(params), replication)
        found.append(
            Trial(
                params=params,
                replication=replication,
                run_id=identifier,
                seed=run_seed(seed, identifier),
            )
        )
    return found


def rounds_of(
    configs: int, method: Method, eta: int, min_steps: int | None, max_steps: int | None
) -> list[tuple[int | None, int]]:
    """Return the updates and the number of configurations of each round."""
    if method != "halving" or min_steps is None or max_steps is None:
        return [(None, configs)]
    rounds: list[tuple[int | None, int]] = []
    steps, count = min_steps, configs
    while count >= 1 and steps <= max_steps:
        rounds.append((steps, count))
        steps, count = steps * eta, count // eta
    return rounds


def check_method(
    name: str,
    method: str,
    n: int | None,
    replications: int,
    eta: int,
    min_steps: int | None,
    max_steps: int | None,
    concurrency: int,
    seed: int,
    early_stopping: EarlyStopping | None,
) -> None:
    """Raise `ValueError` for a method that its numbers do not fit."""
    if not name.strip():
        raise ValueError(f"`name` must not be empty, got {name!r}")
    if method not in ("grid", "random", "halving"):
        raise ValueError(f"`method` must be grid, random or halving, got {method!r}")
    if seed < 0:
        raise ValueError(f"`seed` must be >= 0, got {seed}")
    for key, value in (("replications", replications), ("concurrency", concurrency)):
        if value < 1:
            raise ValueError(f"`{key}` must be >= 1, got {value}")
    if eta < 2:
        raise ValueError(f"`eta` must be >= 2, got {eta}")
    if method == "grid" and n is not None:
        raise ValueError(f"`n` must be None for a grid, got {n}")
    if method != "grid" and (n is None or n < 1):
        raise ValueError(f"`n` must be >= 1 for {method}, got {n}")
    if method != "halving":
        if min_steps is not None:
            raise ValueError(f"`min_steps` must be None for {method}, got {min_steps}")
        return
    if min_steps is None or max_steps is None or not 1 <= min_steps <= max_steps:
        raise ValueError(
            f"`min_steps` must be in [1, `max_steps`] for halving, got {min_steps} and {max_steps}"
        )
    if early_stopping is not None:
        raise ValueError("`early_stopping` must be None for halving, which stops runs itself")


def check_metric(metric: str, direction: Direction, scoring: Scoring, *, backend: Backend) -> None:
    """Raise for a metric that cannot be computed, or is not better in that direction."""
    forced = [m.name for m in METRICS if not m.rate and m.name != "perplexity"]
    known = [*forced, *(m.name for m in METRICS if m.rate), *scoring.scorers]
    if metric not in known:
        raise unknown_metric(metric, known)
    if direction not in ("min", "max"):
        raise ValueError(f"`direction` must be min or max, got {direction!r}")
    if find_metric(metric) is not None and direction != direction_of(metric):
        raise ValueError(
            f"`direction` must be {direction_of(metric)} for {metric}, got {direction!r}"
        )
    reason = scoring.reason(metric)
    if reason is not None:
        raise ValueError(f"`metric` {metric!r} {reason}: give one")
    if metric == "token_accuracy" and not backend.capabilities.predictions:
        raise UnsupportedOptionError("metric", metric, backend.name)


def check_apart(corpus: Corpus, parts: Mapping[str, Sequence[Entry]]) -> None:
    """Raise `ValueError` for a prompt that is in two of the data sets."""
    seen: tuple[Entry, ...] = corpus.train
    for name, entries in parts.items():
        leaks = find_leaks(entries, seen)
        if leaks:
            raise ValueError(
                f"`{name}` must hold no prompt that was learned or chosen by, got {len(leaks)}: "
                f"{', '.join(leaks[:5])}"
            )
        seen = (*seen, *entries)
