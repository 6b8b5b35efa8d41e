"""From the events of an experiment to its metrics."""

import math
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from crucible_telemetry import query
from crucible_telemetry.experiment import Experiment
from crucible_telemetry.filters import Filter, check_filter
from crucible_telemetry.metrics.intervals import check_confidence, percentile, quantile, wilson
from crucible_telemetry.metrics.lineage import ROOT, Lineage
from crucible_telemetry.metrics.report import (
    PERCENTILES,
    Cost,
    Group,
    Latency,
    MetricsReport,
    Reliability,
    Tokens,
)
from crucible_telemetry.schema import INDEX
from crucible_telemetry.sources import located
from crucible_telemetry.stores.port import Query, Store

_TAKEN = tuple(
    INDEX[name]
    for name in (
        "name",
        "start_ns",
        "duration_s",
        "outcome",
        "error_type",
        "model",
        "input_tokens",
        "output_tokens",
        "cost_usd",
    )
)
_LINKS = tuple(INDEX[name] for name in ("trace_id", "span_id", "parent_span_id"))
_WRITER, _SEQ, _RATE = INDEX["writer_id"], INDEX["seq"], INDEX["sample_rate"]


class _Event(NamedTuple):
    name: str
    start_ns: int
    duration_s: float | None
    outcome: str
    error_type: str | None
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None


def calculate_metrics(
    experiment: Experiment | str,
    *,
    store: Store | str | Path | None = None,
    names: Collection[str] | None = None,
    where: Filter | None = None,
    confidence: float = 0.95,
) -> MetricsReport:
    """Measure latency, reliability, cost and tokens of an experiment.

    Parameters
    ----------
    experiment : Experiment or str
        Itself or its id; a running one is measured as of now.
    store : Store, str or path, optional
        Where to look for an id of another process; as for `open_store`.
    names : collection of str, optional
        Names of the events that count as requests. By default they are the outermost events that
        have a duration. Cost and tokens are those of these events and of all inside them.
    where : Filter, optional
        Measure only events that fulfil it. What is outside or inside what, and so which event is
        outermost, is found among these.
    confidence : float, in (0, 1)
        Of every interval.

    Raises
    ------
    UnknownExperimentError
        If the store has no experiment of that id.

    Notes
    -----
    An amount is counted where no event inside carries it, too: an aggregate span, or a second
    instrumentation of the same call, does not count twice. `by_name` groups all events that have a
    duration, `by_model` those that name a model while none inside does.
    """
    check_confidence(confidence)
    check_filter(where)
    if isinstance(names, str):
        raise ValueError(f"`names` must be a collection of names, got the text {names!r}")
    events: list[_Event] = []
    links: list[tuple[str | None, str | None, str | None]] = []
    sequences: dict[str, tuple[int, int]] = {}
    sampled = 0
    with located(experiment, store) as (opened, id):
        query.experiment(opened, id)
        for row in query.rows(opened, Query(experiments=(id,), where=where)):
            events.append(_Event(*[row[at] for at in _TAKEN]))
            links.append((row[_LINKS[0]], row[_LINKS[1]], row[_LINKS[2]]))
            count, last = sequences.get(row[_WRITER], (0, 0))
            sequences[row[_WRITER]] = count + 1, max(last, row[_SEQ])
            sampled += row[_RATE] != 1
    lineage = Lineage(links)
    del links
    if names is None:
        chosen = [
            e.duration_s is not None and above == ROOT
            for e, above in zip(events, lineage.parents, strict=True)
        ]
    else:
        chosen = [e.duration_s is not None and e.name in names for e in events]
    owner = lineage.nearest(chosen)
    counted = [names is None or at != ROOT for at in owner]
    requests = [event for event, is_request in zip(events, chosen, strict=True) if is_request]
    reliability = _reliability(requests, confidence)
    cost = _cost(events, lineage, owner, counted, ok=reliability.ok)
    failures = reliability.errors + reliability.timeouts
    judged = reliability.ok + failures
    elapsed = _elapsed_s(requests)
    notes = _warnings(reliability, cost, len(requests) - judged)
    missing = sum(last - count for count, last in sequences.values())
    if missing and where is None:
        notes.append(f"{missing} events are missing from the store: their numbers are skipped.")
    if sampled:
        notes.append(f"{sampled} events were sampled; the numbers are of the sample, unweighted.")
    return MetricsReport(
        experiment_id=id,
        confidence=confidence,
        events=len(events),
        latency=_latency(requests, confidence),
        reliability=reliability,
        error_types=_error_types(requests),
        mtbf_s=elapsed / failures if failures and elapsed is not None else None,
        requests_per_failure=len(requests) / failures if failures else None,
        throughput_per_s=len(requests) / elapsed if len(requests) > 1 and elapsed else None,
        cost=cost,
        tokens=_tokens(events, lineage, owner, counted, len(requests)),
        by_name=_groups(events, counted, [e.name for e in events], confidence),
        by_model=_groups(events, counted, _innermost_models(events, lineage), confidence),
        coverage=judged / len(requests) if requests else None,
        warnings=tuple(notes),
    )


def _latency(events: Sequence[_Event], confidence: float) -> Latency:
    ordered = sorted(e.duration_s for e in events if e.duration_s is not None)
    n = len(ordered)
    mean = math.fsum(ordered) / n if n else None
    variance = (
        math.fsum((x - mean) ** 2 for x in ordered) / (n - 1)
        if n > 1 and mean is not None
        else None
    )
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


def _reliability(events: Sequence[_Event], confidence: float) -> Reliability:
    counts = Counter(event.outcome for event in events)
    failures = counts["error"] + counts["timeout"]
    judged = counts["ok"] + failures
    return Reliability(
        total=len(events),
        ok=counts["ok"],
        errors=counts["error"],
        timeouts=counts["timeout"],
        cancelled=counts["cancelled"],
        unknown=counts["unknown"],
        success_rate=wilson(counts["ok"], judged, confidence=confidence),
        failure_rate=wilson(failures, judged, confidence=confidence),
    )


def _error_types(requests: Sequence[_Event]) -> dict[str, int]:
    counts = Counter(
        event.error_type or "unknown" for event in requests if event.outcome in ("error", "timeout")
    )
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _elapsed_s(requests: Sequence[_Event]) -> float | None:
    if not requests:
        return None
    first = min(event.start_ns for event in requests)
    last = max(event.start_ns + int((event.duration_s or 0) * 1e9) for event in requests)
    return (last - first) / 1e9


def _groups(
    events: Sequence[_Event], counted: list[bool], keys: Sequence[str | None], confidence: float
) -> dict[str, Group]:
    groups: dict[str, list[_Event]] = {}
    for event, is_counted, key in zip(events, counted, keys, strict=True):
        if is_counted and key is not None and event.duration_s is not None:
            groups.setdefault(key, []).append(event)
    return {
        key: Group(
            latency=_latency(groups[key], confidence),
            reliability=_reliability(groups[key], confidence),
        )
        for key in sorted(groups)
    }


def _innermost_models(events: Sequence[_Event], lineage: Lineage) -> list[str | None]:
    inside = lineage.covered([event.model for event in events])
    return [None if below else e.model for e, below in zip(events, inside, strict=True)]


def _cost(
    events: Sequence[_Event], lineage: Lineage, owner: list[int], counted: list[bool], *, ok: int
) -> Cost:
    costs = [event.cost_usd for event in events]
    stated_inside = lineage.covered(costs)
    stated_around = lineage.nearest([cost is not None for cost in costs])
    amounts: list[float] = []
    by_model: dict[str, list[float]] = {}
    per_request: dict[int, list[float]] = {}
    priceless: set[int] = set()
    unknown = 0
    for at, event in enumerate(events):
        if not counted[at]:
            continue
        if event.cost_usd is not None and not stated_inside[at]:
            amounts.append(event.cost_usd)
            per_request.setdefault(owner[at], []).append(event.cost_usd)
            if event.model is not None:
                by_model.setdefault(event.model, []).append(event.cost_usd)
        has_tokens = event.input_tokens is not None or event.output_tokens is not None
        if has_tokens and stated_around[at] == ROOT and not stated_inside[at]:
            unknown += 1
            priceless.add(owner[at])
    total = math.fsum(amounts) if amounts else None
    known_requests = sorted(
        math.fsum(parts)
        for request, parts in per_request.items()
        if request != ROOT and request not in priceless
    )
    return Cost(
        total_usd=total,
        known=len(amounts),
        unknown=unknown,
        by_model={model: math.fsum(by_model[model]) for model in sorted(by_model)},
        per_request_mean_usd=math.fsum(known_requests) / len(known_requests)
        if known_requests
        else None,
        per_request_median_usd=quantile(known_requests, 0.5) if known_requests else None,
        per_success_usd=total / ok if total is not None and ok and not unknown else None,
    )


def _tokens(
    events: Sequence[_Event],
    lineage: Lineage,
    owner: list[int],
    counted: list[bool],
    requests: int,
) -> Tokens:
    by_model: dict[str, int] = {}
    sums: list[int | None] = []
    inside_requests = 0
    for column in ("input_tokens", "output_tokens"):
        values = [getattr(event, column) for event in events]
        inside = lineage.covered(values)
        total: int | None = None
        for at, value in enumerate(values):
            if value is None or inside[at] or not counted[at]:
                continue
            total = value if total is None else total + value
            if owner[at] != ROOT:
                inside_requests += value
            model = events[at].model
            if model is not None:
                by_model[model] = by_model.get(model, 0) + value
        sums.append(total)
    tokens_in, tokens_out = sums
    known = tokens_in is not None and tokens_out is not None
    return Tokens(
        input=tokens_in,
        output=tokens_out,
        total=tokens_in + tokens_out if tokens_in is not None and tokens_out is not None else None,
        per_request_mean=inside_requests / requests if requests and known else None,
        by_model=dict(sorted(by_model.items())),
    )


def _warnings(reliability: Reliability, cost: Cost, not_judged: int) -> list[str]:
    notes = []
    if not_judged:
        notes.append(
            f"{not_judged} of {reliability.total} requests are cancelled or unknown and not "
            "part of the rates."
        )
    if cost.unknown:
        notes.append(f"The cost of {cost.unknown} events with tokens is unknown.")
    return notes
