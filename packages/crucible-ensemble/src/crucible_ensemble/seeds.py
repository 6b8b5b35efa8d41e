"""Seeds for samples: functions of what is asked, never of the order of calls."""

import hashlib


def derive(*parts: str | int) -> int:
    """Return a 31-bit seed that depends on every part and on nothing else."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 33


def sample_seed(seed: int | None, sample: int) -> int | None:
    """Return the seed of a sample.

    Sample 0 keeps the caller's seed, so that one answer and the first of five are the same call and
    are paid once where responses are shared.
    """
    return seed if seed is None or sample == 0 else derive(seed, "sample", sample)
