"""What several training seeds say together: the one thing a single evaluation cannot."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crucible_lora.evaluation import EvaluationReport
from crucible_lora.records import Record
from crucible_lora.tables import markdown_table


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedDelta(Record):
    """The differences to the base of adapters trained with several seeds.

    `low` and `high` are a two-sided 95 % t interval of the mean with n - 1 degrees of freedom; None
    where the differences have no spread.
    """

    mean: float
    sd: float
    low: float | None
    high: float | None
    least: float
    most: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedSummary(Record):
    """Differences by metric over seeds; `experiments` are the ids of the adapters' experiments."""

    compared_to: str
    n_items: int
    experiments: tuple[str, ...]
    delta: Mapping[str, SeedDelta]

    def markdown(self) -> str:
        """Return the summary as Markdown."""
        columns = ["metric", "mean difference", "sd", "95 % interval", "least to most", "seeds"]
        rows = [
            [
                name,
                f"{d.mean:+.3f}",
                f"{d.sd:.3f}",
                "none" if d.low is None or d.high is None else f"{d.low:+.3f} to {d.high:+.3f}",
                f"{d.least:+.3f} to {d.most:+.3f}",
                str(d.n),
            ]
            for name, d in self.delta.items()
        ]
        note = (
            f"Tuned minus {self.compared_to} on the same {self.n_items} items. The interval is "
            "over training seeds, with the items as they are."
        )
        return f"{markdown_table(columns, rows)}\n\n{note}"


def across_seeds(reports: Sequence[EvaluationReport]) -> SeedSummary:
    """Return how the difference to the base varies with the training seed.

    Parameters
    ----------
    reports : sequence of EvaluationReport, >= 2
        Of adapters that differ in their training seed alone, on the same items.

    Raises
    ------
    ValueError
        If there are fewer than two, one adapter comes twice, or they were not compared with the
        same model on the same items.

    Notes
    -----
    For each metric that all have: mean -/+ t(.975, n - 1) sd / sqrt(n) over the seeds' differences.
    """
    if len(reports) < 2:
        raise ValueError(f"`reports` must be of at least 2 seeds, got {len(reports)}")
    adapters = [r.checkpoint_sha256 for r in reports]
    if len(set(adapters)) < len(adapters):
        raise ValueError("`reports` must be of different adapters, got one twice")
    first = reports[0]
    if first.compared_to is None or any(r.compared_to != first.compared_to for r in reports):
        kinds = sorted({str(r.compared_to) for r in reports})
        raise ValueError(f"`reports` must compare with the same model, got {', '.join(kinds)}")
    ids = [{item.item_id for item in r.items} for r in reports]
    if any(found != ids[0] for found in ids):
        raise ValueError("`reports` must be on the same items")
    deltas = [r.delta or {} for r in reports]
    shared = [name for name in deltas[0] if all(name in d for d in deltas)]
    return SeedSummary(
        compared_to=first.compared_to,
        n_items=first.n_items,
        experiments=tuple(r.experiment_id for r in reports),
        delta={name: _summary([d[name].difference for d in deltas]) for name in shared},
    )


def _summary(values: Sequence[float]) -> SeedDelta:
    mean, sd = mean_and_sd(values)
    low, high = t_interval(values)
    return SeedDelta(
        mean=mean,
        sd=sd,
        low=low,
        high=high,
        least=min(values),
        most=max(values),
        n=len(values),
    )


def mean_and_sd(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the sd with n - 1; the sd of one value is NaN."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, math.nan
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))


def t_interval(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the 95 % t interval of a mean; None below 2 values or without spread."""
    mean, sd = mean_and_sd(values)
    if len(values) < 2 or sd <= 1e-14 * max(abs(mean), 1.0):
        return None, None
    from scipy import special

    reach = float(special.stdtrit(len(values) - 1, 0.975)) * sd / math.sqrt(len(values))
    return mean - reach, mean + reach
