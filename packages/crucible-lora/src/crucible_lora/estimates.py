"""Metrics over items, with two-sided intervals, and differences paired by item."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from crucible_lora.evaluation import Delta, MetricEstimate
from crucible_lora.intervals import hoeffding_difference, mean_t, ratio_t, wilson
from crucible_lora.likelihood import perplexity
from crucible_lora.measure import Measured
from crucible_lora.metrics import METRICS, direction_of, find_metric
from crucible_lora.scoring import Scoring

_LEVEL = 0.95


def estimate_all(found: Measured, scoring: Scoring) -> dict[str, MetricEstimate]:
    """Return every metric of this package and of the scorers; those not computed say why."""
    nll = _per_token("nll", found.nll, found)
    metrics = {"nll": nll, "perplexity": _perplexity(nll)}
    if found.hits is None:
        metrics["token_accuracy"] = _unknown(
            "token_accuracy", "the backend does not tell the likeliest token"
        )
    else:
        metrics["token_accuracy"] = _per_token("token_accuracy", found.hits, found)
    for metric in METRICS:
        reason = scoring.reason(metric.name)
        if metric.rate and reason is not None:
            metrics[metric.name] = _unknown(metric.name, reason)
    for name, scores in found.scores.items():
        metrics[name] = _mean(name, scores, source=_source(name, found, scoring))
    return metrics


def compare(tuned: Measured, base: Measured) -> dict[str, Delta]:
    """Return tuned minus base for each metric that both have, paired by item."""
    ones = np.ones(len(tuned.nll))
    pairs = [("nll", tuned.nll, base.nll, tuned.target_tokens)]
    if tuned.hits is not None and base.hits is not None:
        pairs.append(("token_accuracy", tuned.hits, base.hits, tuned.target_tokens))
    pairs += [
        (name, scores.mean(axis=1), base.scores[name].mean(axis=1), ones)
        for name, scores in tuned.scores.items()
    ]
    deltas = {}
    for name, after, before, size in pairs:
        known = ~(np.isnan(after) | np.isnan(before))
        if known.any():
            deltas[name] = _delta(name, after[known], before[known], size[known])
    return deltas


def _delta(
    name: str, after: NDArray[np.float64], before: NDArray[np.float64], size: NDArray[np.float64]
) -> Delta:
    difference = float((after - before).sum() / size.sum())
    low, high, method = ratio_t(after - before, size, level=_LEVEL)
    metric = find_metric(name)
    if low is None and metric is not None and metric.rate:
        low, high, method = hoeffding_difference(difference, len(after), level=_LEVEL)
    return Delta(
        base=float(before.sum() / size.sum()),
        tuned=float(after.sum() / size.sum()),
        difference=difference,
        low=low,
        high=high,
        n=len(after),
        method=method,
    )


def _per_token(name: str, sums: NDArray[np.float64], found: Measured) -> MetricEstimate:
    """Return the sum over all target tokens by their number."""
    known = int((~np.isnan(sums)).sum())
    metric = find_metric(name)
    unit = "" if metric is None else metric.unit
    if known < len(sums):
        # A mean over the items that fit would be another metric.
        why = f"{len(sums) - known} items are longer than the model's context"
        return _unknown(name, why, n=known)
    low, high, method = ratio_t(sums, found.target_tokens, level=_LEVEL)
    return MetricEstimate(
        value=float(sums.sum() / found.target_tokens.sum()),
        low=low,
        high=high,
        n=known,
        level=_LEVEL,
        method=method,
        direction=direction_of(name),
        unit=unit,
        source="teacher forced",
    )


def _perplexity(nll: MetricEstimate) -> MetricEstimate:
    def change(x: float | None) -> float | None:
        return None if x is None else perplexity(x)

    return replace(
        nll, value=change(nll.value), low=change(nll.low), high=change(nll.high), unit=""
    )


def _unknown(name: str, reason: str, *, n: int = 0) -> MetricEstimate:
    metric = find_metric(name)
    return MetricEstimate(
        value=None,
        low=None,
        high=None,
        n=n,
        level=_LEVEL,
        method="none",
        direction=direction_of(name),
        unit="" if metric is None else metric.unit,
        source="generated" if metric is None else metric.source,
        reason=reason,
    )


def _source(name: str, found: Measured, scoring: Scoring) -> str:
    source = scoring.source(name)
    overlap = source == "generated" and name in found.proxies
    return "lexical" if overlap else source


def _mean(name: str, scores: NDArray[np.float64], *, source: str) -> MetricEstimate:
    unknown = np.asarray(np.isnan(scores).any(axis=1))
    means = scores[~unknown].mean(axis=1) if not unknown.all() else np.array([])
    metric = find_metric(name)
    binary = scores.shape[1] == 1 and bool(np.isin(scores[~unknown], (0.0, 1.0)).all())
    value: float | None = None
    low: float | None = None
    high: float | None = None
    method = "none"
    if len(means):
        value = float(means.mean())
        if binary:
            low, high, method = wilson(float(means.sum()), len(means), level=_LEVEL)
        else:
            low, high, method = mean_t(means, level=_LEVEL)
    reason = (
        f"{int(unknown.sum())} of {len(unknown)} items have no score" if unknown.any() else None
    )
    return MetricEstimate(
        value=value,
        low=low,
        high=high,
        n=len(means),
        level=_LEVEL,
        method=method,
        direction=direction_of(name),
        unit="" if metric is None else metric.unit,
        source=source,
        reason=reason,
    )
