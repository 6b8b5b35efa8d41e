"""What is measured on each cell, in which unit, and which direction is better."""

from dataclasses import dataclass

REDUCERS = ("mean", "rate", "median", "sum", "min", "max")


@dataclass(frozen=True, slots=True)
class Metric:
    """A number per cell, reduced over items.

    `bounds` marks a share: a failed cell then counts as the worse bound.
    """

    name: str
    reducer: str = "mean"
    higher_is_better: bool = True
    unit: str = ""
    bounds: tuple[float, float] | None = None

    @property
    def label(self) -> str:
        """Return the name in tables and hypotheses: with its reducer, unless that is the mean."""
        return self.name if self.reducer == "mean" else f"{self.name}:{self.reducer}"

    def __post_init__(self) -> None:
        if self.reducer not in REDUCERS and not _is_percentile(self.reducer):
            raise ValueError(
                f"`reducer` must be one of {', '.join(REDUCERS)} or p50 to p99.9, "
                f"got {self.reducer!r}"
            )


_BUILT_IN = {
    "accuracy": Metric("accuracy", unit="share", bounds=(0.0, 1.0)),
    "latency_s": Metric("latency_s", reducer="median", higher_is_better=False, unit="s"),
    "cost_usd": Metric("cost_usd", higher_is_better=False, unit="USD"),
    "input_tokens": Metric("input_tokens", higher_is_better=False, unit="tokens"),
    "output_tokens": Metric("output_tokens", higher_is_better=False, unit="tokens"),
    "calls": Metric("calls", higher_is_better=False, unit="calls"),
}
METRICS = tuple(_BUILT_IN)


def metric(text: str) -> Metric:
    """Return a built-in metric by "name" or "name:reducer", such as "latency_s:p95".

    Raises
    ------
    ValueError
        If name or reducer is unknown.
    """
    from dataclasses import replace

    name, _, reducer = text.partition(":")
    if name not in _BUILT_IN:
        raise ValueError(f"`metrics` must be among {', '.join(METRICS)}, got {name!r}")
    return replace(_BUILT_IN[name], reducer=reducer) if reducer else _BUILT_IN[name]


def _is_percentile(reducer: str) -> bool:
    try:
        return reducer.startswith("p") and 0 < float(reducer[1:]) < 100
    except ValueError:
        return False
