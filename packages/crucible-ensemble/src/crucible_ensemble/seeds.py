"""Seeds: functions of what is asked, never of the order of calls."""

import hashlib
import json

from crucible_ensemble.model import Prompt
from crucible_ensemble.prompts import to_messages


def derive(*parts: str | int) -> int:
    """Return a 31-bit seed that depends on every part and on nothing else."""
    text = "\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 33


def sample_seed(seed: int | None, sample: int) -> int | None:
    """Return the seed of a sample.

    Sample 0 keeps the caller's seed, so that one answer and the first of five are the same call and
    are paid once where responses are shared.
    """
    return seed if seed is None or sample == 0 else derive(seed, "sample", sample)


def call_seed(seed: int, item: str, member: str, sample: int) -> int:
    """Return the seed of one call of an ensemble that has a seed of its own."""
    return derive(seed, item, member, sample)


def item_of(prompt: Prompt) -> str:
    """Return a name for a prompt: a hash of its messages."""
    text = json.dumps(to_messages(prompt), sort_keys=True).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=8).hexdigest()
