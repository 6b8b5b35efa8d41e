"""Attributes that have a column of their own, whichever convention named them."""

import math
from collections.abc import Callable, MutableMapping
from typing import Any

MODEL = (
    "crucible.model.id",
    "gen_ai.request.model",
    "gen_ai.response.model",
    "llm.model_name",
    "llm.request.model",
)
PROVIDER = ("gen_ai.provider.name", "gen_ai.system", "llm.provider")
INPUT_TOKENS = (
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.prompt_tokens",
    "llm.token_count.prompt",
)
OUTPUT_TOKENS = (
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.completion_tokens",
    "llm.token_count.completion",
)
COST_USD = ("crucible.cost_usd",)
ITEM_ID = ("crucible.item.id",)
REPEAT = ("crucible.repeat",)


def is_text(value: object) -> bool:
    """Whether a value can be a name."""
    return isinstance(value, str) and bool(value)


def is_identity(value: object) -> bool:
    """Whether a value can identify an item: text or a whole number."""
    return is_text(value) or is_whole(value)


def is_whole(value: object) -> bool:
    """Whether a value is an integer that fits 64 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def is_count(value: object) -> bool:
    """Whether a value can be a number of tokens."""
    return isinstance(value, int) and is_whole(value) and value >= 0


def is_amount(value: object) -> bool:
    """Whether a value can be a cost: finite and >= 0."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and value >= 0
    )


def promote(
    attributes: MutableMapping[str, Any], keys: tuple[str, ...], fits: Callable[[object], bool]
) -> Any:
    """Take the first present value that fits out of `attributes`; the others stay.

    A value that does not fit its column (text for a count, NaN for a cost) stays an attribute, and
    the column is None unless a later key fits.
    """
    for key in keys:
        if key in attributes and fits(attributes[key]):
            return attributes.pop(key)
    return None


def promote_provider(attributes: MutableMapping[str, Any], model_id: object) -> str | None:
    """Take the provider; else the part before the first "/" of `crucible.model.id`."""
    named: str | None = promote(attributes, PROVIDER, is_text)
    if named is None and isinstance(model_id, str):
        before, slash, _ = model_id.partition("/")
        return before if slash and before else None
    return named
