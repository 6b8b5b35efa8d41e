"""Values per item, as arrays for whatever does the statistics."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from crucible_telemetry.experiment import Experiment
from crucible_telemetry.extras import require
from crucible_telemetry.metrics.events import Loaded, load
from crucible_telemetry.stores.port import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Value = Literal["duration_s", "ok", "cost_usd", "input_tokens", "output_tokens"]
By = Literal["item_id"]
Reduce = Literal["none", "mean"]

_OK = {"ok": 1.0, "error": 0.0, "timeout": 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrays:
    """Values of experiments on the same items; NaN where nothing is known.

    Attributes
    ----------
    experiments : tuple of str
        Ids, in the order asked for.
    items : tuple of str
        With `reduce="mean"` sorted and once each; else one per request.
    values : dict of str to array
        float64. With `reduce="mean"` of shape (experiments, items); else one per request.
    repeats : array or None
        One per request, -1 where none was given; None with `reduce="mean"`.
    experiment_of : array or None
        One per request: the position of its experiment; None with `reduce="mean"`.
    missing : dict of str to int
        How many of the values are NaN.
    without_item : int
        Requests left out because they name no item.
    """

    experiments: tuple[str, ...]
    items: tuple[str, ...]
    values: "dict[str, NDArray[np.float64]]"
    repeats: "NDArray[np.int64] | None"
    experiment_of: "NDArray[np.int64] | None"
    missing: dict[str, int]
    without_item: int


def export_arrays(
    experiments: Sequence[Experiment | str],
    *,
    values: Sequence[Value] = ("duration_s", "ok"),
    by: By = "item_id",
    store: Store | str | Path | None = None,
    reduce: Reduce = "none",
) -> Arrays:
    """Return values per item of several experiments, aligned for a paired analysis.

    Parameters
    ----------
    experiments : sequence of Experiment or str
        Usually one per condition.
    values : sequence of {"duration_s", "ok", "cost_usd", "input_tokens", "output_tokens"}
        Of each request (an outermost event). "ok" is 1 or 0, NaN where cancelled or unknown.
        Cost and tokens are those of the request and of all inside it, each call once.
    by : {"item_id"}
        What requests are aligned by; those without it are left out and counted.
    store : Store, str or path, optional
        As for `calculate_metrics`.
    reduce : {"none", "mean"}
        "mean" averages the known values of an item; "none" returns one value per request, with
        its item, repeat and experiment, ordered by (item, experiment, repeat, start).

    Raises
    ------
    ValueError
        If an argument is out of range or an experiment is given twice.
    MissingExtraError
        If numpy is not installed.
    UnknownExperimentError
        If the store has no experiment of some id.
    """
    require("arrays")
    wanted = _checked(experiments, values, by, reduce)
    loaded = [load(experiment, store=store, names=None) for experiment in experiments]
    ids = tuple(found.id for found in loaded)
    if len(set(ids)) != len(ids):
        raise ValueError(f"`experiments` must be different ones, got {ids}")
    rows: list[tuple[str, int, int, int, dict[str, float]]] = []
    without_item = 0
    for number, found in enumerate(loaded):
        readers = {name: _reader(found, name) for name in wanted}
        events = found.events
        for at in found.requests:
            item, repeat = events.item_id[at], events.repeat[at]
            if item is None:
                without_item += 1
                continue
            read = {name: reader(at) for name, reader in readers.items()}
            rows.append((item, number, -1 if repeat is None else repeat, events.start_ns[at], read))
    rows.sort(key=lambda row: row[:4])
    make = _long if reduce == "none" else _means
    return make(ids, wanted, rows, without_item)


def _checked(
    experiments: Sequence[Experiment | str], values: Sequence[Value], by: By, reduce: Reduce
) -> tuple[str, ...]:
    if isinstance(experiments, str) or not experiments:
        raise ValueError(f"`experiments` must be a sequence of experiments, got {experiments!r}")
    known = get_args(Value)
    if isinstance(values, str) or not values or not set(values) <= set(known):
        raise ValueError(f"`values` must be some of {', '.join(known)}, got {values!r}")
    if by not in get_args(By):
        raise ValueError(f'`by` must be "item_id", got {by!r}')
    if reduce not in get_args(Reduce):
        raise ValueError(f'`reduce` must be "none" or "mean", got {reduce!r}')
    return tuple(values)


def _reader(loaded: Loaded, name: str) -> Callable[[int], float]:
    events = loaded.events
    if name == "duration_s":
        return lambda at: math.nan if (lasted := events.duration_s[at]) is None else lasted
    if name == "ok":
        return lambda at: _OK.get(events.outcome[at], math.nan)
    sums = _sums_by_request(loaded, name)
    return lambda at: sums.get(at, math.nan)


def _sums_by_request(loaded: Loaded, name: str) -> dict[int, float]:
    amounts: list[float | None] = getattr(loaded.events, name)
    inside = loaded.lineage.covered(amounts)
    sums: dict[int, float] = {}
    for at, amount in enumerate(amounts):
        if amount is not None and not inside[at]:
            request = loaded.owner[at]
            sums[request] = sums.get(request, 0.0) + amount
    return sums


def _long(
    ids: tuple[str, ...], names: tuple[str, ...], rows: list[Any], without_item: int
) -> Arrays:
    import numpy as np

    values = {name: np.array([row[4][name] for row in rows], dtype=np.float64) for name in names}
    return Arrays(
        experiments=ids,
        items=tuple(row[0] for row in rows),
        values=values,
        repeats=np.array([row[2] for row in rows], dtype=np.int64),
        experiment_of=np.array([row[1] for row in rows], dtype=np.int64),
        missing={name: int(np.isnan(found).sum()) for name, found in values.items()},
        without_item=without_item,
    )


def _means(
    ids: tuple[str, ...], names: tuple[str, ...], rows: list[Any], without_item: int
) -> Arrays:
    import numpy as np

    items = tuple(sorted({row[0] for row in rows}))
    column = {item: at for at, item in enumerate(items)}
    values = {}
    for name in names:
        known: dict[tuple[int, int], list[float]] = {}
        for item, number, _, _, read in rows:
            if not math.isnan(read[name]):
                known.setdefault((number, column[item]), []).append(read[name])
        table = np.full((len(ids), len(items)), np.nan)
        for cell, found in known.items():
            table[cell] = math.fsum(found) / len(found)
        values[name] = table
    return Arrays(
        experiments=ids,
        items=items,
        values=values,
        repeats=None,
        experiment_of=None,
        missing={name: int(np.isnan(table).sum()) for name, table in values.items()},
        without_item=without_item,
    )
