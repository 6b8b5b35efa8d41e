"""What a sweep found: a ranking with its uncertainty, and how much the winner is flattered."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crucible_lora.evaluation import EvaluationReport
from crucible_lora.gates import Direction
from crucible_lora.records import Record
from crucible_lora.seeds import mean_and_sd, t_interval
from crucible_lora.tables import markdown_table

_RESAMPLES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRun(Record):
    """One training run. `value` is the metric on the validation items; None failed, for `reason`.

    `steps` are the updates it was trained for, `round` the last one of halving it was in, from 0.
    """

    run_id: str
    experiment_id: str
    params: Mapping[str, Any]
    replication: int
    seed: int
    round: int
    steps: int
    value: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedConfig(Record):
    """A configuration over its replications; `low` and `high` are a 95 % t interval of the mean.

    `mean` is None where a replication failed: such a configuration ranks last.
    """

    params: Mapping[str, Any]
    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    n: int
    round: int
    steps: int
    run_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung(Record):
    """A round of successive halving: how many configurations were trained up to how many steps."""

    steps: int
    configs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport(Record):
    """Every run of a sweep, and what may be concluded.

    `indistinguishable_from_best` are the configurations, the best left out, whose paired difference
    to it has a 95 % t interval over replications that contains 0, or none at all. `optimism` is how
    much the best mean is expected to be flattered by having been chosen on these items; None where
    that cannot be estimated, for `optimism_reason`. `test` is the report of the winner's first
    replication on items that had no part in the choice.
    """

    name: str
    method: str
    metric: str
    direction: Direction
    backend: str
    runs: tuple[SweepRun, ...]
    ranking: tuple[RankedConfig, ...]
    best: RankedConfig | None
    indistinguishable_from_best: tuple[RankedConfig, ...]
    optimism: float | None
    optimism_reason: str | None
    rungs: tuple[Rung, ...]
    updates: int
    test: EvaluationReport | None

    def to_rows(self) -> list[Mapping[str, Any]]:
        """Return one row per run."""
        return [
            {
                "kind": "sweep run",
                "sweep": self.name,
                "backend": self.backend,
                "run_id": run.run_id,
                "experiment_id": run.experiment_id,
                "replication": run.replication,
                "seed": str(run.seed),  # beyond the integers of a spreadsheet
                "round": run.round,
                "steps": run.steps,
                self.metric: run.value,
                "reason": run.reason,
                "params": dict(run.params),
            }
            for run in self.runs
        ]

    def to_csv(self, path: Path | str) -> None:
        """Write one row per run; no cell is a formula."""
        from crucible_lora.export_rows import to_csv

        to_csv([self], path)

    def to_json(self, path: Path | str) -> None:
        """Write one object per run."""
        from crucible_lora.export_rows import to_json

        to_json([self], path)

    def to_parquet(self, path: Path | str) -> None:
        """Write one row per run; needs the extra "parquet"."""
        from crucible_lora.export_rows import to_parquet

        to_parquet([self], path)

    def markdown(self) -> str:
        """Return the ranking as Markdown."""
        close = [dict(c.params) for c in self.indistinguishable_from_best]
        columns = ["configuration", f"mean {self.metric}", "sd", "95 % interval", "n", "steps", ""]
        rows = []
        for config in self.ranking:
            mark = "as good" if dict(config.params) in close else ""
            params = ", ".join(f"{k} = {v}" for k, v in config.params.items())
            interval = "none"
            if config.low is not None and config.high is not None:
                interval = f"{config.low:.4f} to {config.high:.4f}"
            shown = [_number(config.mean), _number(config.sd), interval]
            if config is self.ranking[0] and self.best is not None:
                mark = "best"
            rows.append([params, *shown, str(config.n), str(config.steps), mark])
        parts = [markdown_table(columns, rows)]
        if self.best is not None:
            flattered = self.optimism_reason
            if self.optimism is not None:
                flattered = f"{self.optimism:.4f}, by which the best mean is probably flattered"
            parts.append(
                f'"as good": the difference to the best, paired by replication, may be 0. '
                f"Optimism of the choice: {flattered}."
            )
        if self.test is not None:
            found = self.test.metrics[self.metric]
            parts.append(
                f"On {self.test.n_items} test items, looked at once: {self.metric} "
                f"{_number(found.value)}, 95 % interval {_number(found.low)} to "
                f"{_number(found.high)}."
            )
        return "\n\n".join(parts)


def rank(runs: Sequence[SweepRun], *, direction: Direction) -> tuple[RankedConfig, ...]:
    """Return configurations, those of the last round and the best first.

    Ties go to the lower run id.
    """
    groups: dict[str, list[SweepRun]] = {}
    for run in runs:
        groups.setdefault(repr(sorted(run.params.items(), key=lambda p: p[0])), []).append(run)
    ranked = []
    for group in groups.values():
        values = [run.value for run in group if run.value is not None]
        whole = len(values) == len(group)
        mean, sd = mean_and_sd(values) if values else (math.nan, math.nan)
        low, high = t_interval(values) if whole else (None, None)
        ranked.append(
            RankedConfig(
                params=group[0].params,
                mean=mean if whole else None,
                sd=sd if whole and len(values) > 1 else None,
                low=low,
                high=high,
                n=len(values),
                round=min(run.round for run in group),
                steps=min(run.steps for run in group),
                run_ids=tuple(run.run_id for run in group),
            )
        )
    sign = 1.0 if direction == "min" else -1.0

    def key(config: RankedConfig) -> tuple[bool, int, float, str]:
        failed = config.mean is None
        return failed, -config.round, sign * (config.mean or 0.0), config.run_ids[0]

    return tuple(sorted(ranked, key=key))


def as_good(ranking: Sequence[RankedConfig], runs: Sequence[SweepRun]) -> tuple[RankedConfig, ...]:
    """Return the configurations that cannot be told from the best, among those of its round."""
    best = ranking[0]
    values = {run.run_id: run.value for run in runs}
    found = []
    for config in ranking[1:]:
        if config.mean is None or best.mean is None or config.round != best.round:
            continue
        pairs = zip(config.run_ids, best.run_ids, strict=True)
        differences = [(values[a] or 0.0) - (values[b] or 0.0) for a, b in pairs]
        low, high = t_interval(differences)
        if low is None or high is None:
            # One replication shows nothing; several equal differences are what they are.
            same = len(differences) < 2 or differences[0] == 0
        else:
            same = low <= 0 <= high
        if same:
            found.append(config)
    return tuple(found)


def estimate_optimism(
    above: NDArray[np.float64], below: NDArray[np.float64], *, direction: Direction, seed: int
) -> float:
    """Return how much the best of several values is flattered by having been chosen.

    Parameters
    ----------
    above, below : shape (configurations, items)
        The metric of a configuration is sum(above) / sum(below).
    seed : int

    Notes
    -----
    Items are drawn with replacement 1,000 times. Each time the best on the drawn items is chosen
    and looked at on those that were not drawn, which had no part in choosing it. The mean of these
    looks is what the choice is worth; the best value on all items, minus it, is the optimism. It is
    in the units of the metric and never below 0, and it errs upwards by little, since a choice from
    fewer different items is a poorer one.

    References
    ----------
    .. [1] I. Tsamardinos, E. Greasidou, G. Borboudakis, Machine Learning 107, 1895-1922, 2018,
       "Bootstrapping the out-of-sample predictions", algorithm 4.
    """
    rng = np.random.default_rng(seed)
    sign = 1.0 if direction == "max" else -1.0
    whole = sign * above.sum(axis=1) / below.sum(axis=1)
    n, worth = above.shape[1], []
    for _ in range(_RESAMPLES):
        drawn = rng.integers(n, size=n)
        left = np.setdiff1d(np.arange(n), drawn)
        if not len(left):
            continue
        values = sign * above[:, drawn].sum(axis=1) / below[:, drawn].sum(axis=1)
        chosen = int(np.argmax(values))
        worth.append(sign * above[chosen, left].sum() / below[chosen, left].sum())
    return max(0.0, float(whole.max() - np.mean(worth)))


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"
