"""Latency and reliability of a set of events; each stands for 1 / sample_rate of its kind."""

import math
from collections import Counter
from collections.abc import Sequence

from crucible_telemetry.metrics.events import MetricEvent
from crucible_telemetry.metrics.intervals import percentile, wilson, wilson_share
from crucible_telemetry.metrics.report import PERCENTILES, Latency, Percentile, Rate, Reliability


def latency_of(events: Sequence[MetricEvent], confidence: float) -> Latency:
    """Return the latency of events. Order statistics are of the sample itself."""
    pairs = sorted((e.duration_s, e.weight) for e in events if e.duration_s is not None)
    ordered = [duration for duration, _ in pairs]
    weights = [weight for _, weight in pairs]
    alike = not weights or min(weights) == max(weights)
    total = math.fsum(weights)
    mean = math.fsum(x * w for x, w in pairs) / total if total else None
    variance = None
    if len(pairs) > 1 and mean is not None:
        squares = math.fsum(w * (x - mean) ** 2 for x, w in pairs)
        # Weights that are alike cancel; otherwise the effective number of events stands for n.
        n = len(pairs) if alike else effective_number(weights)
        variance = squares / total * n / (n - 1)
    return Latency(
        count=total_of(weights),
        mean_s=mean,
        median_s=weighted_quantile(ordered, weights, 0.5),
        min_s=ordered[0] if ordered else None,
        max_s=ordered[-1] if ordered else None,
        stdev_s=None if variance is None else math.sqrt(variance),
        variance=variance,
        percentiles=tuple(
            percentile(ordered, p, confidence=confidence)
            if alike
            else Percentile(
                p=p,
                value_s=weighted_quantile(ordered, weights, p / 100),
                low_s=None,
                high_s=None,
                reliable=False,
            )
            for p in PERCENTILES
        ),
    )


def reliability_of(events: Sequence[MetricEvent], confidence: float) -> Reliability:
    """Return counts of outcomes and rates; intervals are those of the sample's size."""
    counts: Counter[str] = Counter()
    weights: dict[str, list[float]] = {}
    for event in events:
        counts[event.outcome] += 1
        weights.setdefault(event.outcome, []).append(event.weight)

    def number(outcome: str) -> int:
        return total_of(weights.get(outcome, []))

    judged = [w for o in ("ok", "error", "timeout") for w in weights.get(o, ())]
    failed = [w for o in ("error", "timeout") for w in weights.get(o, ())]
    return Reliability(
        total=total_of([event.weight for event in events]),
        ok=number("ok"),
        errors=number("error"),
        timeouts=number("timeout"),
        cancelled=number("cancelled"),
        unknown=number("unknown"),
        success_rate=_rate(weights.get("ok", []), judged, confidence),
        failure_rate=_rate(failed, judged, confidence),
    )


def total_of(weights: Sequence[float]) -> int:
    """Return how many events these stand for, to the nearest whole number."""
    return round(math.fsum(weights))


def effective_number(weights: Sequence[float]) -> float:
    """Return Kish's effective sample size."""
    return math.fsum(weights) ** 2 / math.fsum(w * w for w in weights)


def weighted_quantile(ordered: Sequence[float], weights: Sequence[float], q: float) -> float | None:
    """Return the type 7 quantile, weighted; None without values.

    With equal weights it is the type 7 quantile of the values. Otherwise each value stands at the
    weight below it, out of the weight below the last.
    """
    if not ordered:
        return None
    if min(weights) == max(weights):
        position = (len(ordered) - 1) * q
        below = math.floor(position)
        if below + 1 >= len(ordered):
            return ordered[-1]
        return ordered[below] + (position - below) * (ordered[below + 1] - ordered[below])
    target = q * math.fsum(weights[:-1])
    passed = 0.0
    for at, weight in enumerate(weights[:-1]):
        if passed + weight >= target:
            share = (target - passed) / weight
            return ordered[at] + share * (ordered[at + 1] - ordered[at])
        passed += weight
    return ordered[-1]


def _rate(part: Sequence[float], whole: Sequence[float], confidence: float) -> Rate:
    if not whole or min(whole) == max(whole):
        return wilson(len(part), len(whole), confidence=confidence)
    share = math.fsum(part) / math.fsum(whole)
    if len(part) == len(whole):
        share = 1.0
    return wilson_share(share, effective_number(whole), confidence=confidence)
