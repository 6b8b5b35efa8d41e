"""One canonical form of what is asked, for caches and recordings."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from crucible_ensemble.model import Prompt
from crucible_ensemble.prompts import to_messages


def request_of(
    prompt: Prompt,
    *,
    temperature: float | None,
    max_tokens: int,
    seed: int | None,
    stop: Sequence[str],
) -> dict[str, Any]:
    """Return a request as a JSON-safe mapping."""
    return {
        "messages": to_messages(prompt),
        "temperature": temperature,
        "max_tokens": max_tokens,
        "seed": seed,
        "stop": list(stop),
    }


def key_of(request: Mapping[str, Any]) -> str:
    """Return the BLAKE2b hash of the canonical JSON of a request."""
    text = json.dumps(request, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def is_repeatable(request: Mapping[str, Any]) -> bool:
    """Say whether equal requests have equal answers: a seed, or temperature 0."""
    return request["seed"] is not None or request["temperature"] == 0
