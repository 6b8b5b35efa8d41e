"""Identifiers: ULIDs for experiments, random hexadecimal for writers."""

import secrets
import time

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def experiment_id() -> str:
    """Return "exp_" and a lower-case ULID, which sorts by its time of birth."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return "exp_" + "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def writer_id() -> str:
    """Return 16 random hexadecimal digits."""
    return secrets.token_hex(8)
