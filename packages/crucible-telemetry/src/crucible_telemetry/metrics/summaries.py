"""Latency and reliability of a set of events; each stands for 1 / sample_rate of its kind."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from crucible_telemetry.metrics.intervals import percentile, quantile, wilson, wilson_share
from crucible_telemetry.metrics.report import PERCENTILES, Latency, Percentile, Rate, Reliability


def latency_of(
    durations: Sequence[float | None], weights: Sequence[float] | None, confidence: float
) -> Latency:
    """Return the latency of events that have one; without `weights` each stands for itself.

    Where weights differ, percentiles have no interval.
    """
    if weights is None:
        return _plain(sorted([x for x in durations if x is not None]), confidence)
    pairs = sorted((x, w) for x, w in zip(durations, weights, strict=True) if x is not None)
    ordered = [duration for duration, _ in pairs]
    weights = [weight for _, weight in pairs]
    sample = _plain(ordered, confidence)
    if not pairs or min(weights) == max(weights):
        return replace(sample, count=total_of(weights))
    total = math.fsum(weights)
    mean = math.fsum(x * w for x, w in pairs) / total
    n = effective_number(weights)
    squares = math.fsum(w * (x - mean) ** 2 for x, w in pairs)
    variance = squares / total * n / (n - 1)
    return replace(
        sample,
        count=total_of(weights),
        mean_s=mean,
        median_s=weighted_quantile(ordered, weights, 0.5),
        stdev_s=math.sqrt(variance),
        variance=variance,
        percentiles=tuple(
            Percentile(
                p=p,
                value_s=weighted_quantile(ordered, weights, p / 100),
                low_s=None,
                high_s=None,
                reliable=False,
            )
            for p in PERCENTILES
        ),
    )


def _plain(ordered: list[float], confidence: float) -> Latency:
    n = len(ordered)
    mean = math.fsum(ordered) / n if n else None
    variance = None
    if n > 1 and mean is not None:
        variance = math.fsum([(x - mean) ** 2 for x in ordered]) / (n - 1)
    return Latency(
        count=n,
        mean_s=mean,
        median_s=quantile(ordered, 0.5) if n else None,
        min_s=ordered[0] if n else None,
        max_s=ordered[-1] if n else None,
        stdev_s=None if variance is None else math.sqrt(variance),
        variance=variance,
        percentiles=tuple(percentile(ordered, p, confidence=confidence) for p in PERCENTILES),
    )


def reliability_of(
    outcomes: Sequence[str], weights: Sequence[float] | None, confidence: float
) -> Reliability:
    """Return counts of outcomes and rates; intervals are those of the sample's size."""
    counts = Counter(outcomes)
    success = failure = None
    if weights is not None:
        found: dict[str, list[float]] = {}
        for outcome, weight in zip(outcomes, weights, strict=True):
            found.setdefault(outcome, []).append(weight)
        judged = [w for o in ("ok", "error", "timeout") for w in found.get(o, ())]
        failed = [w for o in ("error", "timeout") for w in found.get(o, ())]
        success = _rate(found.get("ok", []), judged, confidence)
        failure = _rate(failed, judged, confidence)
        counts = Counter({outcome: total_of(stood_for) for outcome, stood_for in found.items()})
    failures = counts["error"] + counts["timeout"]
    trials = counts["ok"] + failures
    return Reliability(
        total=len(outcomes) if weights is None else total_of(weights),
        ok=counts["ok"],
        errors=counts["error"],
        timeouts=counts["timeout"],
        cancelled=counts["cancelled"],
        unknown=counts["unknown"],
        success_rate=success or wilson(counts["ok"], trials, confidence=confidence),
        failure_rate=failure or wilson(failures, trials, confidence=confidence),
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
        return quantile(ordered, q)
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
