"""What an experiment may name without further ado: data sets, models, prices, keys."""

import os
from typing import Any

from crucible_harness.folder import KEYS


def known_datasets() -> list[dict[str, Any]]:
    """Return a card for each data set that can be named: task, items, licence, where it is from."""
    from crucible_datasets import benchmarks

    found = []
    for card in benchmarks():
        split = card.splits.get(card.default_split) if card.default_split else None
        found.append(
            {
                "name": card.name,
                "title": card.title,
                "task": str(card.task),
                "split": card.default_split,
                "items": None if split is None else split.n_items,
                "license": card.license,
                "homepage": card.homepage,
                "available": "here" if card.made_here else "from its file",
            }
        )
    return found


def known_models() -> dict[str, Any]:
    """Return aliases, providers, prices in US dollars per million tokens, and the keys set."""
    from crucible_ensemble import PriceBook
    from crucible_ensemble.aliases import aliases
    from crucible_ensemble.open_model import PROVIDERS

    book = PriceBook.default()
    return {
        "aliases": dict(sorted(aliases().items())),
        "providers": list(PROVIDERS),
        "prices_as_of": book.as_of,
        "prices": {name: list(pair) for name, pair in sorted(book.prices.items())},
        "keys": {name: bool(os.environ.get(name)) for name in KEYS},
    }
