"""What tokens cost. An unknown price is None, never 0."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

_DATE = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|latest)$")


@dataclass(frozen=True, slots=True)
class PriceBook:
    """Prices per million tokens, (input, output) in US dollars, by "provider/model"."""

    prices: Mapping[str, tuple[float, float]]
    as_of: str | None = None

    @classmethod
    def default(cls) -> "PriceBook":
        """Return the prices that this version of the package was released with."""
        return _default()

    def override(self, prices: Mapping[str, tuple[float, float]]) -> "PriceBook":
        """Return a book with some prices added or replaced.

        Raises
        ------
        ValueError
            If a price is negative.
        """
        for name, pair in prices.items():
            if min(pair) < 0:
                raise ValueError(f"`prices` must be >= 0, got {pair} for {name}")
        return PriceBook({**self.prices, **prices}, self.as_of)

    def cost_usd(
        self, model: str, input_tokens: int | None, output_tokens: int | None
    ) -> float | None:
        """Return the cost of a call; None if price or usage is unknown.

        A dated snapshot ("gpt-4o-2024-11-20") has the price of its base name.
        """
        pair = self.prices.get(model) or self.prices.get(_DATE.sub("", model))
        if pair is None or input_tokens is None or output_tokens is None:
            return None
        return (pair[0] * input_tokens + pair[1] * output_tokens) / 1_000_000


@lru_cache(maxsize=1)
def _default() -> PriceBook:
    text = (resources.files("crucible_ensemble") / "prices.json").read_text(encoding="utf-8")
    data = json.loads(text)
    return PriceBook({k: (v[0], v[1]) for k, v in data["models"].items()}, data["as_of"])
