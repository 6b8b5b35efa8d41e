"""What a question will cost, before it is asked."""

from typing import Any

from crucible_ensemble.panel import Panel
from crucible_ensemble.prices import PriceBook


def estimate(panel: Panel, input_tokens: int, output_tokens: int) -> dict[str, Any]:
    """Return the least and the most that a question costs; see `Ensemble.estimate`."""
    book = PriceBook.default()
    costs: list[float] = []
    unpriced: list[str] = []
    for member in panel.members:
        model = str(getattr(member.model, "name", ""))
        cost = book.estimate([model], input_tokens, output_tokens)[model]
        if cost is None:
            unpriced.append(member.label())
        else:
            costs.append(cost)
    samples = len(panel.seats) // len(panel.members)
    return {
        "low_usd": min(costs) if costs else None,
        "high_usd": sum(costs) * samples if costs else None,
        "unpriced": tuple(unpriced),
    }
