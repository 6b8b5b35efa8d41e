"""What is measured on each cell, in which unit, and which direction is better."""

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

from crucible_harness.fingerprints import of_function
from crucible_harness.judging import JudgeScorer, Scorer

REDUCERS = ("mean", "rate", "median", "sum", "min", "max")


@dataclass(frozen=True, slots=True)
class Metric:
    """A number per cell, reduced over items.

    Parameters
    ----------
    name : str
    scorer : Scorer, optional
        A function of the answer and the item; built-in metrics have none.
    reducer : str
        "mean", "rate", "median", "sum", "min", "max", or a percentile such as "p95" (type 7).
    higher_is_better : bool
        Also says which bound a failed cell counts as.
    unit : str
        Such as "share", "s", "USD"; "" for a number without one.
    bounds : (low, high), optional
        Marks a share: a failed cell then counts as the worse bound.

    Raises
    ------
    ValueError
        For an unknown reducer, or bounds that are not ordered.
    """

    name: str
    _: KW_ONLY
    scorer: Scorer | None = None
    reducer: str = "mean"
    higher_is_better: bool
    unit: str
    bounds: tuple[float, float] | None = None

    @property
    def of_dataset(self) -> bool:
        """Say whether the datasets package scores it."""
        from crucible_datasets.metrics.named import NAMES

        return self.scorer is None and self.name in NAMES

    @property
    def label(self) -> str:
        """Return the name in tables and hypotheses: with its reducer, unless that is the mean."""
        return self.name if self.reducer == "mean" else f"{self.name}:{self.reducer}"

    def __post_init__(self) -> None:
        if not self.name or ":" in self.name:
            raise ValueError(f"`name` must not be empty nor hold a colon, got {self.name!r}")
        if self.reducer not in REDUCERS and not _is_percentile(self.reducer):
            raise ValueError(
                f"`reducer` must be one of {', '.join(REDUCERS)} or p50 to p99.9, "
                f"got {self.reducer!r}"
            )
        if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
            raise ValueError(f"`bounds` must be (low, high), got {self.bounds}")

    def to_dict(self) -> dict[str, Any]:
        """Return what is hashed: a scorer by its identity."""
        return {
            "name": self.name,
            "scorer": None if self.scorer is None else _identity(self.scorer),
            "reducer": self.reducer,
            "higher_is_better": self.higher_is_better,
            "unit": self.unit,
            "bounds": None if self.bounds is None else list(self.bounds),
        }


def read_metric(stored: Mapping[str, Any]) -> Metric:
    """Read a metric back from a design; its scorer stays behind, its scores are in the journal."""
    bounds = stored["bounds"]
    return Metric(**{**stored, "scorer": None, "bounds": None if bounds is None else tuple(bounds)})


def metric_of(metrics: Iterable[Metric], text: str) -> Metric | None:
    """Return the metric that a hypothesis names: by its label, else the first of that name.

    Of "latency_s:p95" and "latency_s:mean" the text "latency_s" means the second: it is its label.
    """
    known = tuple(metrics)
    for told in ("label", "name"):
        for one in known:
            if getattr(one, told) == text:
                return one
    return None


def _share(name: str, *, higher_is_better: bool = True) -> Metric:
    return Metric(name, higher_is_better=higher_is_better, unit="share", bounds=(0.0, 1.0))


def _amount(name: str, unit: str, *, reducer: str = "mean") -> Metric:
    return Metric(name, reducer=reducer, higher_is_better=False, unit=unit)


_BUILT_IN = {
    m.name: m
    for m in (
        _share("accuracy"),
        _amount("latency_s", "s", reducer="median"),
        _amount("ttft_s", "s", reducer="median"),
        _amount("cost_usd", "USD"),
        _amount("input_tokens", "tokens"),
        _amount("output_tokens", "tokens"),
        _amount("calls", "calls"),
        _share("consensus"),
        _share("support"),
        _share("abstained", higher_is_better=False),
        _share("extraction_failed", higher_is_better=False),
        _share("hedged", higher_is_better=False),
    )
}
METRICS = tuple(_BUILT_IN)


def metric(text: str) -> Metric:
    """Return a metric by "name" or "name:reducer", such as "latency_s:p95".

    Built-in ones, and those of the datasets package that score one item ("f1", "rougeL").

    Raises
    ------
    ValueError
        If name or reducer is unknown, or the metric has no score of one item to compare by.
    """
    name, _, reducer = text.partition(":")
    found = _BUILT_IN.get(name) or _of_dataset(name)
    return replace(found, reducer=reducer) if reducer else found


def _of_dataset(name: str) -> Metric:
    from crucible_datasets.metrics.named import NAMES, named

    if name not in NAMES:
        known = ", ".join((*METRICS, *sorted(NAMES)))
        raise ValueError(f"`metrics` must be among {known}, got {name!r}")
    measure = named(name)
    if measure.item is None:
        raise ValueError(
            f"`metrics` must have a score of each item to be compared by, and {name!r} is one "
            "number of all items together"
        )
    if measure.unit == "share":
        return _share(name)
    return Metric(name, higher_is_better=True, unit="0-100", bounds=(0.0, 100.0))


def _identity(scorer: Scorer) -> dict[str, Any]:
    if isinstance(scorer, JudgeScorer):
        return scorer.fingerprint()
    own = getattr(scorer, "fingerprint", None)
    return dict(own()) if own is not None else of_function(scorer)


def _is_percentile(reducer: str) -> bool:
    try:
        return reducer.startswith("p") and 0 < float(reducer[1:]) < 100
    except ValueError:
        return False
