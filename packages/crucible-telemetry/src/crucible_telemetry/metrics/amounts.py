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
    costs = events.cost_usd
    stated_inside = loaded.lineage.covered(costs)
    stated_around = loaded.lineage.nearest([cost is not None for cost in costs])
    amounts: list[float] = []
    known = unknown = 0.0
    by_model: dict[str, list[float]] = {}
    of_request: list[float | None] = [None] * len(events)
    priceless: set[int] = set()
    for at, (cost, weight, is_counted, is_stated) in enumerate(
        zip(costs, events.weight, loaded.counted, stated_inside, strict=True)
    ):
        if is_stated or not is_counted:
            continue
        if cost is None:
            has_tokens = events.input_tokens[at] is not None or events.output_tokens[at] is not None
            if has_tokens and stated_around[at] == ROOT:
                unknown += weight
                priceless.add(owner[at])
            continue
        amount = cost if weight == 1 else cost * weight
        amounts.append(amount)
        known += weight
        request = owner[at]
        if request != ROOT:
            before = of_request[request]
            of_request[request] = cost if before is None else before + cost
        model = events.model[at]
        if model is not None:
            by_model.setdefault(model, []).append(amount)
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
        (cost, loaded.events.weight[at])
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
    for values in (events.input_tokens, events.output_tokens):
        inside = loaded.lineage.covered(values)
        total: float | None = None
        for value, is_inside, is_counted, weight, request, model in zip(
            values, inside, loaded.counted, events.weight, owner, events.model, strict=True
        ):
            if value is None or is_inside or not is_counted:
                continue
            weighted = value if weight == 1 else value * weight
            total = weighted if total is None else total + weighted
            if request != ROOT:
                inside_requests += weighted
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
