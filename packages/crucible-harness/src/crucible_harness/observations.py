"""From recorded cells to arrays: one metric, items x repeats, with failures counted."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crucible_harness.measured import value_of
from crucible_harness.metrics import Metric
from crucible_harness.recorded import RecordedRun

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """One metric under every condition; rows are the run's items, columns the repeats.

    Attributes
    ----------
    counted : mapping of condition to float array (items, repeats)
        Intention to treat: a failed cell has the worst value of a bounded metric; a failure's
        latency is `inf`, longer than any that was seen. NaN = not run, or not known.
    complete : mapping of condition to float array (items, repeats)
        The same with NaN wherever the cell failed.
    """

    counted: Mapping[str, Array]
    complete: Mapping[str, Array]


def observe(run: RecordedRun, metric: Metric) -> Observations:
    """Collect one metric of a run into arrays."""
    place = {item.id: row for row, item in enumerate(run.items)}
    repeats = 1 + max((cell.repeat for cell in run.cells), default=0)
    shape = (len(run.items), repeats)
    counted = {name: np.full(shape, np.nan) for name in run.conditions}
    complete = {name: np.full(shape, np.nan) for name in run.conditions}
    for cell in run.cells:
        at = place[cell.item], cell.repeat
        value = value_of(cell, metric.name)
        if cell.status == "ok":
            if value is not None:
                counted[cell.condition][at] = complete[cell.condition][at] = value
        else:
            counted[cell.condition][at] = _value_of_failure(metric, value)
    return Observations(counted=counted, complete=complete)


def by_item(values: Array) -> Array:
    """Average the repeats of each item; NaN for an item without any.

    Parameters
    ----------
    values : float array (items, repeats)
    """
    present = ~np.isnan(values)
    n = present.sum(axis=1)
    total = np.where(present, values, 0.0).sum(axis=1)
    means: Array = np.where(n > 0, total / np.maximum(n, 1), np.nan)
    return means


def paired(control: Array, treatment: Array) -> tuple[Array, Array]:
    """Keep the items that have an observation under both conditions."""
    both = ~np.isnan(control).all(axis=1) & ~np.isnan(treatment).all(axis=1)
    return control[both], treatment[both]


def _value_of_failure(metric: Metric, value: float | None) -> float:
    if metric.bounds is not None:
        return metric.bounds[0] if metric.higher_is_better else metric.bounds[1]
    if metric.name in ("latency_s", "ttft_s"):
        return math.inf
    return math.nan if value is None else value
