"""From the events of an experiment to its metrics."""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from crucible_telemetry.experiment import Experiment
from crucible_telemetry.filters import Filter
from crucible_telemetry.metrics.amounts import cost_of, tokens_of
from crucible_telemetry.metrics.events import Columns, Loaded, load, of
from crucible_telemetry.metrics.intervals import check_confidence
from crucible_telemetry.metrics.report import Cost, Group, MetricsReport, Reliability
from crucible_telemetry.metrics.summaries import latency_of, reliability_of, total_of
from crucible_telemetry.stores.port import Store


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

    In a sampled experiment each event stands for 1 / sample_rate: counts, sums, means and rates are
    estimates and the report is `estimated`. Percentiles and every interval are those of the sample
    as large as it is. Where rates differ (events without a trace are always kept) percentiles are
    weighted and have no interval, and rates use Kish's effective sample size.
    """
    check_confidence(confidence)
    loaded = load(experiment, store=store, names=names, where=where)
    events, requests = loaded.events, loaded.requests
    outcomes, durations = of(events.outcome, requests), of(events.duration_s, requests)
    weights = of(events.weight, requests) if loaded.weighted else None
    reliability = reliability_of(outcomes, weights, confidence)
    whole = Group(latency=latency_of(durations, weights, confidence), reliability=reliability)
    cost = cost_of(loaded, ok=reliability.ok)
    failures = reliability.errors + reliability.timeouts
    judged = reliability.ok + failures
    elapsed = _elapsed_s(of(events.start_ns, requests), durations)
    total = reliability.total
    return MetricsReport(
        experiment_id=loaded.id,
        confidence=confidence,
        events=len(events),
        latency=whole.latency,
        reliability=reliability,
        error_types=_error_types(events, requests),
        mtbf_s=elapsed / failures if failures and elapsed is not None else None,
        requests_per_failure=total / failures if failures else None,
        throughput_per_s=total / elapsed if len(requests) > 1 and elapsed else None,
        cost=cost,
        tokens=tokens_of(loaded, requests=total),
        by_name=_groups(loaded, events.name, whole, confidence),
        by_model=_groups(loaded, _innermost_models(loaded), whole, confidence),
        coverage=judged / total if total else None,
        estimated=loaded.weighted,
        warnings=tuple(_warnings(loaded, reliability, cost, judged)),
    )


def _error_types(events: Columns, requests: Sequence[int]) -> dict[str, int]:
    weights: dict[str, list[float]] = {}
    for at in requests:
        if events.outcome[at] in ("error", "timeout"):
            weights.setdefault(events.error_type[at] or "unknown", []).append(events.weight[at])
    counts = Counter({kind: total_of(found) for kind, found in weights.items()})
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _elapsed_s(starts: Sequence[int], durations: Sequence[float | None]) -> float | None:
    if not starts:
        return None
    ends = [
        start + int((lasted or 0) * 1e9) for start, lasted in zip(starts, durations, strict=True)
    ]
    return (max(ends) - min(starts)) / 1e9


def _groups(
    loaded: Loaded, keys: Sequence[str | None], whole: Group, confidence: float
) -> dict[str, Group]:
    """Return the events of each key; `whole` is known already, and often one of them."""
    events = loaded.events
    groups: dict[str, list[int]] = {}
    for at, (key, is_counted, lasted) in enumerate(
        zip(keys, loaded.counted, events.duration_s, strict=True)
    ):
        if key is not None and is_counted and lasted is not None:
            groups.setdefault(key, []).append(at)
    found = {}
    for key in sorted(groups):
        chosen = groups.pop(key)
        if chosen == loaded.requests:
            found[key] = whole
            continue
        weights = of(events.weight, chosen) if loaded.weighted else None
        found[key] = Group(
            latency=latency_of(of(events.duration_s, chosen), weights, confidence),
            reliability=reliability_of(of(events.outcome, chosen), weights, confidence),
        )
    return found


def _innermost_models(loaded: Loaded) -> list[str | None]:
    models = loaded.events.model
    inside = loaded.lineage.covered(models)
    return [None if below else model for model, below in zip(models, inside, strict=True)]


def _warnings(loaded: Loaded, reliability: Reliability, cost: Cost, judged: int) -> list[str]:
    notes = []
    if reliability.total - judged:
        notes.append(
            f"{reliability.total - judged} of {reliability.total} requests are cancelled or "
            "unknown and not part of the rates."
        )
    if cost.unknown:
        notes.append(f"The cost of {cost.unknown} events with tokens is unknown.")
    if loaded.missing:
        notes.append(
            f"{loaded.missing} events are missing from the store: their numbers are skipped."
        )
    if loaded.weighted:
        notes.append(
            "Events were sampled: counts, sums and rates are estimates, each event standing for "
            "1 / sample_rate."
        )
    return notes
