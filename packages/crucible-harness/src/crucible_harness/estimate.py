"""What an experiment will cost and how long it will take, before most of it is paid for."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from opentelemetry import trace

from crucible_harness.errors import NotConfirmedError
from crucible_harness.experiment import Experiment
from crucible_harness.ledger import Prices
from crucible_harness.options import RunOptions
from crucible_harness.rehearsal import Rehearsed, rehearse
from crucible_harness.sync import blocking
from crucible_harness.wall_time import TimedCall, play

if TYPE_CHECKING:
    from crucible_harness.journal import Journal
    from crucible_harness.schedule import Cell

_REPLAYS = 200
_LEVEL = 0.95
_MOST_CELLS = 4_000  # played through; a longer schedule takes proportionally longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the whole experiment is expected to take; None = unknown.

    Attributes
    ----------
    calls : int
        Requests to models, equal ones counted once.
    input_tokens, output_tokens : float or None
    cost_usd : float or None
        Expected; None without a pilot, which alone knows how long answers are.
    cost_low, cost_high : float or None
        With a pilot the 95 % prediction interval; without one the bounds of the price book, for
        answers of one token and of the longest length.
    wall_s, wall_low, wall_high : float or None
        From bootstrap replays of the pilot's latencies; None without a pilot.
    per_condition : mapping of condition to {"calls", "cost_usd"}
        What each would take alone; together they share equal calls.
    basis : {"pilot", "price_book"}
    pilot_items : int
    unpriced : tuple of str
        Models whose price is not known.
    """

    calls: int
    input_tokens: float | None
    output_tokens: float | None
    cost_usd: float | None
    cost_low: float | None
    cost_high: float | None
    wall_s: float | None
    wall_low: float | None
    wall_high: float | None
    per_condition: Mapping[str, Mapping[str, float | None]]
    basis: Literal["pilot", "price_book"]
    pilot_items: int
    unpriced: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        parts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            "schema": "crucible-harness/estimate/1",
            **parts,
            "per_condition": {name: dict(row) for name, row in self.per_condition.items()},
            "unpriced": list(self.unpriced),
        }


async def estimate(
    experiment: Experiment, *, pilot: int = 10, options: RunOptions | None = None
) -> Estimate:
    """Say what an experiment will cost and how long it will take.

    Parameters
    ----------
    experiment : Experiment
    pilot : int, >= 0
        Items of the schedule that are run first, in the run's own folder: they are part of the run,
        so nothing is paid twice. 0 asks nobody and gives the bounds of the price book.
    options : RunOptions, optional
        Of the run that will follow; its limits are those of the wall-time estimate.

    Raises
    ------
    ValueError
        If `pilot` is negative or 1: one item says nothing about the others.
    HarnessError
        Whatever running the pilot may raise.

    Notes
    -----
    With n pilot items of mean cost x and standard deviation s, the m others are expected to cost
    m x, with the prediction interval m x ± t(n - 1) s sqrt(m + m^2 / n). An item's cost is that of
    its calls under all conditions, shared ones once. Wall time is the median, and the 2.5 % and
    97.5 % quantiles, of 200 replays of the remaining schedule in virtual time, each with pilot
    items drawn anew; the pilot's own time is not part of it.
    """
    if pilot < 0 or pilot == 1:
        raise ValueError(f"`pilot` must be 0 or >= 2, got {pilot}")
    options = options or RunOptions()
    with trace.get_tracer("crucible_harness").start_as_current_span("crucible.harness.estimate"):
        assumed = {} if options.budget is None else options.budget.assume_price
        heard = await rehearse(experiment, prices=Prices(assumed))
        bounds = _by_price_book(experiment, heard)
        if pilot == 0:
            return bounds
        from crucible_harness.runner import run_part

        n = min(pilot, len(experiment.dataset))
        result = await run_part(experiment, items=n, options=replace(options, confirm=None))
        return _by_pilot(experiment, result.path, bounds, n, options)


def estimate_sync(
    experiment: Experiment, *, pilot: int = 10, options: RunOptions | None = None
) -> Estimate:
    """Do what `estimate` does, for scripts and notebooks."""
    return blocking(lambda: estimate(experiment, pilot=pilot, options=options))


async def confirmed(experiment: Experiment, options: RunOptions) -> None:
    """Ask `options.confirm`, if there is one, before the first call.

    Raises
    ------
    NotConfirmedError
        If it says no.
    """
    if options.confirm is None:
        return
    expected = await estimate(experiment, pilot=0, options=options)
    if not options.confirm(expected):
        raise NotConfirmedError("the run was not confirmed; nothing was sent")


def predict_total(
    costs: Sequence[float], remaining: int
) -> tuple[float, float | None, float | None]:
    """Return the expected total of finished and remaining items, and its prediction interval.

    Parameters
    ----------
    costs : of the finished items, at least one
    remaining : int, >= 0

    Returns
    -------
    (total, low, high); the ends are None where one item says nothing of the variation
    """
    import numpy as np
    from scipy import special

    n, m = len(costs), remaining
    paid, mean = math.fsum(costs), math.fsum(costs) / len(costs)
    total = paid + m * mean
    if m == 0:
        return total, total, total
    if n < 2:
        return total, None, None
    sd = float(np.std(np.asarray(costs), ddof=1))
    half = float(special.stdtrit(n - 1, (1 + _LEVEL) / 2)) * sd * math.sqrt(m + m**2 / n)
    return total, max(paid, total - half), total + half


def _by_price_book(experiment: Experiment, heard: Rehearsed) -> Estimate:
    calls = heard.calls.values()

    def total(name: Literal["low_usd", "high_usd"], keys: Any = None) -> float | None:
        chosen = calls if keys is None else [heard.calls[key] for key in keys]
        prices = [getattr(call, name) for call in chosen]
        return None if None in prices else math.fsum(prices)

    return Estimate(
        calls=len(heard.calls),
        input_tokens=float(sum(call.prompt_tokens for call in calls)),
        output_tokens=None,
        cost_usd=None,
        cost_low=total("low_usd"),
        cost_high=total("high_usd"),
        wall_s=None,
        wall_low=None,
        wall_high=None,
        per_condition={
            c.name: {
                "calls": float(len(heard.by_condition.get(c.name, ()))),
                "cost_usd": total("high_usd", heard.by_condition.get(c.name, ())),
            }
            for c in experiment.conditions
        },
        basis="price_book",
        pilot_items=0,
        unpriced=tuple(sorted(heard.unpriced)),
    )


def _by_pilot(
    experiment: Experiment, path: Path, bounds: Estimate, n: int, options: RunOptions
) -> Estimate:
    import numpy as np

    from crucible_harness.folder import Folder

    journal = Folder(path).open_journal(url=options.journal)
    try:
        seen = _Pilot.read(journal, experiment)
    finally:
        journal.close()
    items = list(dict.fromkeys(cell.item for cell in experiment.schedule()))
    remaining = len(items) - n
    scale = len(items) / n
    costs = [seen.cost_of(item) for item in items[:n]]
    total: float | None = None
    low: float | None = None
    high: float | None = None
    if None not in costs:
        total, low, high = predict_total([c for c in costs if c is not None], remaining)
    walls = _walls(experiment, seen, items[:n], items[n:], options)
    tokens = [[seen.tokens_of(item, which) for item in items[:n]] for which in (0, 1)]
    return replace(
        bounds,
        input_tokens=_scaled(tokens[0], scale),
        output_tokens=_scaled(tokens[1], scale),
        cost_usd=total,
        cost_low=low,
        cost_high=high,
        wall_s=None if walls is None else float(np.median(walls)),
        wall_low=None if walls is None else float(np.quantile(walls, 0.025)),
        wall_high=None if walls is None else float(np.quantile(walls, 0.975)),
        per_condition={
            name: {
                "calls": row["calls"],
                "cost_usd": _scaled([seen.cell_cost(name, i) for i in items[:n]], scale),
            }
            for name, row in bounds.per_condition.items()
        },
        basis="pilot",
        pilot_items=n,
        unpriced=() if total is not None else bounds.unpriced,
    )


def _scaled(parts: Sequence[float | None], scale: float) -> float | None:
    known = [part for part in parts if part is not None]
    return math.fsum(known) * scale if len(known) == len(parts) else None


@dataclass(slots=True)
class _Pilot:
    """What the pilot's items needed: the calls of each cell, and what each call was."""

    calls: dict[str, dict[str, Any]]
    cells: dict[tuple[str, str, int], tuple[str, ...]]
    costs: dict[tuple[str, str, int], float | None]

    @classmethod
    def read(cls, journal: "Journal", experiment: Experiment) -> "_Pilot":
        calls: dict[str, dict[str, Any]] = {}
        for call in journal.calls():
            known = calls.get(call["leaf_key"])
            if known is None or known["status"] != "ok":
                calls[call["leaf_key"]] = call
        cells, costs = {}, {}
        for key, (_, record) in journal.cells().items():
            cells[key] = tuple(record["call_keys"])
            costs[key] = record["cost_usd"]
        return cls(calls, cells, costs)

    def keys_of(self, item: str) -> set[str]:
        return {k for (_, i, _), keys in self.cells.items() if i == item for k in keys}

    def cost_of(self, item: str) -> float | None:
        """Return what an item's calls cost, each once."""
        costs = [self.calls[key]["cost_usd"] for key in self.keys_of(item) if key in self.calls]
        return None if None in costs else math.fsum(costs)

    def tokens_of(self, item: str, which: int) -> float | None:
        name = ("input_tokens", "output_tokens")[which]
        found = [self.calls[key][name] for key in self.keys_of(item) if key in self.calls]
        return None if None in found else float(sum(found))

    def cell_cost(self, condition: str, item: str) -> float | None:
        costs = [c for (name, i, _), c in self.costs.items() if (name, i) == (condition, item)]
        return None if None in costs else math.fsum(c for c in costs if c is not None)

    def timed(self, cell: "Cell", item: str, copy: int) -> list[TimedCall] | None:
        """Return the calls that a cell would make if it went as this pilot item did."""
        import json

        found = []
        for key in self.cells.get((cell.condition, item, cell.repeat), ()):
            call = self.calls.get(key)
            if call is None or call["latency_s"] is None:
                return None
            model = json.loads(call["request"])["model"]
            name = str(model.get("model", "")) if isinstance(model, Mapping) else ""
            tokens = (call["input_tokens"] or 0) + (call["output_tokens"] or 0)
            found.append(
                TimedCall(f"{copy}:{key}", name.partition("/")[0], call["latency_s"], tokens)
            )
        return found


def _walls(
    experiment: Experiment,
    seen: _Pilot,
    pilot: Sequence[str],
    rest: Sequence[str],
    options: RunOptions,
) -> list[float] | None:
    """Return the wall times of bootstrap replays; None where a latency is not known."""
    if not rest:
        return [0.0]
    import numpy as np

    rng = np.random.default_rng(experiment.seed)
    waiting = set(rest)
    cells = [cell for cell in experiment.schedule() if cell.item in waiting]
    played = cells[:_MOST_CELLS]
    walls = []
    for _ in range(_REPLAYS if len(played) * _REPLAYS <= 400_000 else 50):
        drawn = dict(zip(rest, rng.integers(len(pilot), size=len(rest)).tolist(), strict=True))
        place = {item: n for n, item in enumerate(rest)}
        timed = [seen.timed(c, pilot[drawn[c.item]], place[c.item]) for c in played]
        if any(calls is None for calls in timed):
            return None
        seconds = play(
            [calls for calls in timed if calls is not None],
            concurrency=options.concurrency,
            limits=options.per_provider,
        )
        walls.append(seconds * len(cells) / len(played))
    return walls
