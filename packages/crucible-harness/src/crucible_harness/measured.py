"""What one cell measured or scored, by the name of the metric."""

from collections.abc import Callable, Mapping

from crucible_harness.recorded import RecordedCell

# Measured on every cell, whatever the scorers are.
_MEASURED: Mapping[str, Callable[[RecordedCell], float | None]] = {
    "latency_s": lambda cell: cell.latency_s,
    "cost_usd": lambda cell: cell.cost_usd,
    "input_tokens": lambda cell: cell.input_tokens,
    "output_tokens": lambda cell: cell.output_tokens,
    "ttft_s": lambda cell: cell.ttft_s,
    "consensus": lambda cell: cell.consensus,
    "support": lambda cell: cell.support,
    "abstained": lambda cell: cell.abstained,
    "calls": lambda cell: cell.calls,
    "hedged": lambda cell: float(cell.hedged > 0),
    "extraction_failed": lambda cell: float(cell.unextracted),
}


def value_of(cell: RecordedCell, metric: str) -> float | None:
    """Return what was measured or scored on a cell under this name; None where it was not."""
    if metric in cell.scores:
        return cell.scores[metric]
    measure = _MEASURED.get(metric)
    return None if measure is None else measure(cell)
