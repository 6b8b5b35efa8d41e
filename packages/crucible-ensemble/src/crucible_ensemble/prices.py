"""What tokens cost. An unknown price is None, never 0."""

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

# What follows a base name must be a date: gpt-4o-audio is another model than gpt-4o.
_DATE = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8}|\d{2}-\d{4})$")


class PriceUnknownWarning(UserWarning):
    """The cost of a model's answers is not known and stays None."""


@dataclass(frozen=True, slots=True)
class PriceBook:
    """Prices in US dollars per million tokens, by "provider/model".

    Parameters
    ----------
    prices : mapping of name to (input, output) or (input, output, cached input)
        Without a third price, cached input costs what input does.
    as_of : str, optional
        ISO date.
    source : str, optional

    Examples
    --------
    >>> PriceBook.default().cost_usd("openai/gpt-4o-mini", 1_000, 500)
    0.00045
    """

    prices: Mapping[str, tuple[float, ...]]
    as_of: str | None = None
    source: str | None = None
    _warned: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, row in self.prices.items():
            if len(row) not in (2, 3) or not all(p >= 0 for p in row):
                raise ValueError(f"`prices` must be 2 or 3 numbers >= 0, got {row} for {name!r}")

    @classmethod
    def default(cls) -> "PriceBook":
        """Return the prices that this version of the package was released with."""
        data = _default()
        return cls(data["models"], data["as_of"], data["source"])

    @classmethod
    def load(cls, path: Path | str) -> "PriceBook":
        """Read a JSON file laid out like this package's `prices.json`.

        Raises
        ------
        ValueError
            If it is not of that layout.
        """
        return _book(cls, Path(path).read_text(encoding="utf-8"), str(path))

    def override(self, prices: Mapping[str, tuple[float, ...]]) -> "PriceBook":
        """Return a book with some prices added or replaced.

        Raises
        ------
        ValueError
            If a price is negative.
        """
        return PriceBook({**self.prices, **prices}, self.as_of, self.source)

    def price(self, model: str) -> tuple[float, ...] | None:
        """Return the row of a model; a dated snapshot has the row of its base name."""
        named = self.priced_as(model)
        return None if named is None else self.prices[named]

    def priced_as(self, model: str) -> str | None:
        """Return the name under which a model has its price, None if it has none.

        A dated snapshot that has no row of its own has that of its base name.
        """
        for name in (model, _DATE.sub("", model)):
            if name in self.prices:
                return name
        return None

    def cost_usd(
        self,
        model: str,
        input_tokens: int | None,
        output_tokens: int | None,
        cached_tokens: int | None = 0,
    ) -> float | None:
        """Return the cost of a call; None if price or usage is unknown.

        Warns
        -----
        PriceUnknownWarning
            Once per model and book, if there is no price for it.
        """
        row = self.price(model)
        if row is None:
            if model not in self._warned:
                self._warned.add(model)
                warnings.warn(
                    f"no price for {model!r}: its costs stay unknown; see PriceBook.override",
                    PriceUnknownWarning,
                    stacklevel=2,
                )
            return None
        if input_tokens is None or output_tokens is None:
            return 0.0 if not any(row) else None
        cached = min(cached_tokens or 0, input_tokens)
        cached_price = row[2] if len(row) > 2 else row[0]
        fresh = row[0] * (input_tokens - cached)
        return (fresh + cached_price * cached + row[1] * output_tokens) / 1_000_000

    def estimate(
        self, models: Sequence[str], input_tokens: int, output_tokens: int
    ) -> dict[str, float | None]:
        """Return what a call of that size costs, by model; None where the price is unknown."""
        found: dict[str, float | None] = {}
        for model in models:
            known = self.price(model) is not None
            found[model] = self.cost_usd(model, input_tokens, output_tokens) if known else None
        return found


def _book(cls: type[PriceBook], text: str, where: str) -> PriceBook:
    try:
        data = json.loads(text)
        rows = {str(k): tuple(float(p) for p in row) for k, row in data["models"].items()}
        return cls(rows, data.get("as_of"), data.get("source"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{where} must be a price file, got {type(error).__name__}: {error}") from None  # fmt: skip # noqa: E501


@lru_cache(maxsize=1)
def _default() -> dict[str, Any]:
    text = (resources.files("crucible_ensemble") / "prices.json").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(text)
    return {**data, "models": {k: tuple(v) for k, v in data["models"].items()}}
