"""Differences between the metrics of experiments; inference is for arrays and crucible-bench."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crucible_telemetry.experiment import Experiment
from crucible_telemetry.metrics.calculate import calculate_metrics
from crucible_telemetry.metrics.report import MetricsReport
from crucible_telemetry.stores.port import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One quantity in both experiments; None where it is not known in both.

    `difference` is treatment - control, so a positive latency means slower. `ratio` is
    treatment / control.
    """

    control: float | None
    treatment: float | None
    difference: float | None
    ratio: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Differences of each treatment to the control, by experiment id and quantity.

    It holds no p-value: whether a difference is more than chance is a question to the values per
    item, which `export_arrays` returns for a statistics package.
    """

    control: MetricsReport
    treatments: Mapping[str, MetricsReport]
    differences: Mapping[str, Mapping[str, Difference]]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return asdict(self)


def compare_experiments(
    control: Experiment | str,
    treatments: Sequence[Experiment | str],
    *,
    store: Store | str | Path | None = None,
    names: Collection[str] | None = None,
) -> Comparison:
    """Measure experiments and subtract the control from each treatment.

    The quantities are mean, median and percentiles of latency, the success rate, and the mean cost
    of a request. See `calculate_metrics` for the parameters.

    Raises
    ------
    ValueError
        If there is no treatment.
    UnknownExperimentError
        If the store has no experiment of some id.
    """
    if isinstance(treatments, str) or not treatments:
        raise ValueError(f"`treatments` must be a sequence of experiments, got {treatments!r}")
    base = calculate_metrics(control, store=store, names=names)
    others = [calculate_metrics(treatment, store=store, names=names) for treatment in treatments]
    return Comparison(
        control=base,
        treatments={report.experiment_id: report for report in others},
        differences={
            report.experiment_id: {
                name: _difference(value, _quantities(report)[name])
                for name, value in _quantities(base).items()
            }
            for report in others
        },
    )


def _quantities(report: MetricsReport) -> dict[str, float | None]:
    latency = report.latency
    return {
        "mean_s": latency.mean_s,
        "median_s": latency.median_s,
        **{f"p{found.p:g}_s": found.value_s for found in latency.percentiles},
        "success_rate": report.reliability.success_rate.value,
        "cost_per_request_usd": report.cost.per_request_mean_usd,
    }


def _difference(control: float | None, treatment: float | None) -> Difference:
    known = control is not None and treatment is not None
    return Difference(
        control=control,
        treatment=treatment,
        difference=treatment - control if known else None,  # type: ignore[operator]  # both known
        ratio=treatment / control if known and control else None,  # type: ignore[operator]
    )
