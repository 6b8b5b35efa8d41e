"""Chains as JSON: everything, in ASCII, since model text may hold lone surrogates."""

import json

from crucible_causaltrace.chain import Chain


def to_json(chain: Chain) -> str:
    """Write a chain as one JSON object.

    A surrogate pair that stands in the text as two characters is, in JSON, the one it encodes.
    """
    return json.dumps(chain.to_dict(), allow_nan=False)


def to_jsonl(chain: Chain) -> str:
    """Write a chain as JSON Lines: all but the events first, then one event a line."""
    data = chain.to_dict()
    events = data.pop("events")
    return "".join(json.dumps(line, allow_nan=False) + "\n" for line in (data, *events))
