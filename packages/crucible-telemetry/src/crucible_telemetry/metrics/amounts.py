"""Money and tokens of an experiment, each call counted once and never guessed."""

import math

from crucible_telemetry.metrics.events import Loaded
from crucible_telemetry.metrics.lineage import ROOT
from crucible_telemetry.metrics.report import Cost, Tokens
from crucible_telemetry.metrics.summaries import total_of, weighted_quantile


def cost_of(loaded: Loaded, *, ok: int) -> Cost:
    """Return the known cost, and how many events with tokens have none."""
    events, owner = loaded.events, loaded.owner
    costs = [event.cost_usd for event in events]
    stated_inside = loaded.lineage.covered(costs)
    stated_around = loaded.lineage.nearest([cost is not None for cost in costs])
    amounts: list[float] = []
    known: list[float] = []
    unknown: list[float] = []
    by_model: dict[str, list[float]] = {}
    of_request: list[float | None] = [None] * len(events)
    priceless: set[int] = set()
    for at, event in enumerate(events):
        if not loaded.counted[at]:
            continue
        cost = event.cost_usd
        if cost is not None and not stated_inside[at]:
            amounts.append(cost * event.weight)
            known.append(event.weight)
            request = owner[at]
            if request != ROOT:
                of_request[request] = (of_request[request] or 0.0) + cost
            if event.model is not None:
                by_model.setdefault(event.model, []).append(amounts[-1])
        has_tokens = event.input_tokens is not None or event.output_tokens is not None
        if has_tokens and stated_around[at] == ROOT and not stated_inside[at]:
            unknown.append(event.weight)
            priceless.add(owner[at])
    total = math.fsum(amounts) if amounts else None
    requests = sorted(
        [
            (cost, events[at].weight)
            for at, cost in enumerate(of_request)
            if cost is not None and at not in priceless
        ]
    )
    values = [cost for cost, _ in requests]
    weights = [weight for _, weight in requests]
    return Cost(
        total_usd=total,
        known=total_of(known),
        unknown=total_of(unknown),
        by_model={model: math.fsum(by_model[model]) for model in sorted(by_model)},
        per_request_mean_usd=math.fsum([c * w for c, w in requests]) / math.fsum(weights)
        if requests
        else None,
        per_request_median_usd=weighted_quantile(values, weights, 0.5),
        per_success_usd=total / ok if total is not None and ok and not unknown else None,
    )


def tokens_of(loaded: Loaded, *, requests: int) -> Tokens:
    """Return the reported tokens; None where nobody reported any."""
    events, owner = loaded.events, loaded.owner
    by_model: dict[str, list[float]] = {}
    sums: list[list[float]] = []
    inside_requests: list[float] = []
    for column in ("input_tokens", "output_tokens"):
        values = [getattr(event, column) for event in events]
        inside = loaded.lineage.covered(values)
        found: list[float] = []
        for at, value in enumerate(values):
            if value is None or inside[at] or not loaded.counted[at]:
                continue
            weighted = value * events[at].weight
            found.append(weighted)
            if owner[at] != ROOT:
                inside_requests.append(weighted)
            model = events[at].model
            if model is not None:
                by_model.setdefault(model, []).append(weighted)
        sums.append(found)
    tokens_in, tokens_out = (total_of(found) if found else None for found in sums)
    known = tokens_in is not None and tokens_out is not None
    return Tokens(
        input=tokens_in,
        output=tokens_out,
        total=tokens_in + tokens_out if tokens_in is not None and tokens_out is not None else None,
        per_request_mean=math.fsum(inside_requests) / requests if requests and known else None,
        by_model={model: total_of(by_model[model]) for model in sorted(by_model)},
    )
