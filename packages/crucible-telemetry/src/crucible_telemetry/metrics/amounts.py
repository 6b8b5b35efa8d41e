"""Money and tokens of an experiment, each call counted once and never guessed."""

import math

from crucible_telemetry.metrics.events import Loaded
from crucible_telemetry.metrics.intervals import quantile
from crucible_telemetry.metrics.lineage import ROOT
from crucible_telemetry.metrics.report import Cost, Tokens
from crucible_telemetry.metrics.summaries import weighted_quantile


def cost_of(loaded: Loaded, *, ok: int) -> Cost:
    """Return the known cost, and how many events with tokens have none."""
    events, owner = loaded.events, loaded.owner
    costs = [event.cost_usd for event in events]
    stated_inside = loaded.lineage.covered(costs)
    stated_around = loaded.lineage.nearest([cost is not None for cost in costs])
    amounts: list[float] = []
    known = unknown = 0.0
    by_model: dict[str, list[float]] = {}
    of_request: list[float | None] = [None] * len(events)
    priceless: set[int] = set()
    for at, event in enumerate(events):
        if not loaded.counted[at]:
            continue
        cost = event.cost_usd
        if cost is not None and not stated_inside[at]:
            amounts.append(cost if event.weight == 1 else cost * event.weight)
            known += event.weight
            request = owner[at]
            if request != ROOT:
                before = of_request[request]
                of_request[request] = cost if before is None else before + cost
            if event.model is not None:
                by_model.setdefault(event.model, []).append(amounts[-1])
        has_tokens = event.input_tokens is not None or event.output_tokens is not None
        if has_tokens and stated_around[at] == ROOT and not stated_inside[at]:
            unknown += event.weight
            priceless.add(owner[at])
    total = math.fsum(amounts) if amounts else None
    mean, median = _per_request(loaded, of_request, priceless)
    return Cost(
        total_usd=total,
        known=round(known),
        unknown=round(unknown),
        by_model={model: math.fsum(by_model[model]) for model in sorted(by_model)},
        per_request_mean_usd=mean,
        per_request_median_usd=median,
        per_success_usd=total / ok if total is not None and ok and not unknown else None,
    )


def _per_request(
    loaded: Loaded, costs: list[float | None], priceless: set[int]
) -> tuple[float | None, float | None]:
    """Return mean and median cost of the requests whose cost is known."""
    if not loaded.weighted:
        values = sorted([c for at, c in enumerate(costs) if c is not None and at not in priceless])
        if not values:
            return None, None
        return math.fsum(values) / len(values), quantile(values, 0.5)
    pairs = sorted(
        (cost, loaded.events[at].weight)
        for at, cost in enumerate(costs)
        if cost is not None and at not in priceless
    )
    if not pairs:
        return None, None
    values, weights = [cost for cost, _ in pairs], [weight for _, weight in pairs]
    mean = math.fsum(cost * weight for cost, weight in pairs) / math.fsum(weights)
    return mean, weighted_quantile(values, weights, 0.5)


def tokens_of(loaded: Loaded, *, requests: int) -> Tokens:
    """Return the reported tokens; None where nobody reported any."""
    events, owner = loaded.events, loaded.owner
    by_model: dict[str, float] = {}
    sums: list[float | None] = []
    inside_requests = 0.0
    for column in ("input_tokens", "output_tokens"):
        values = [getattr(event, column) for event in events]
        inside = loaded.lineage.covered(values)
        total: float | None = None
        for at, value in enumerate(values):
            if value is None or inside[at] or not loaded.counted[at]:
                continue
            weight = events[at].weight
            weighted = value if weight == 1 else value * weight
            total = weighted if total is None else total + weighted
            if owner[at] != ROOT:
                inside_requests += weighted
            model = events[at].model
            if model is not None:
                by_model[model] = by_model.get(model, 0) + weighted
        sums.append(total)
    tokens_in, tokens_out = (None if total is None else round(total) for total in sums)
    known = tokens_in is not None and tokens_out is not None
    return Tokens(
        input=tokens_in,
        output=tokens_out,
        total=tokens_in + tokens_out if tokens_in is not None and tokens_out is not None else None,
        per_request_mean=inside_requests / requests if requests and known else None,
        by_model={model: round(by_model[model]) for model in sorted(by_model)},
    )
