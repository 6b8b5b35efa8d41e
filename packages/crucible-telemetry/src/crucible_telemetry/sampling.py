"""Which traces are kept: decided by a hash, so that every process decides alike."""

from dataclasses import dataclass
from hashlib import blake2b

_LARGEST_SEED = 2**64


def sampling_share(key: bytes, *, seed: int) -> float:
    """Return the number in [0, 1) that stands for a trace; it is kept if that is below the rate.

    Parameters
    ----------
    key : bytes
        A trace id (16 bytes, big-endian), or the UTF-8 of a sampling key.
    seed : int, in [0, 2**64)

    Examples
    --------
    >>> trace = bytes.fromhex("4bf92f3577b34da6a3ce929d0e0e4736")
    >>> f"{sampling_share(trace, seed=42):.12f}"
    '0.101700715134'
    """
    digest = blake2b(key, key=seed.to_bytes(8, "big"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def check_sampling(sample_rate: float, seed: int | None) -> None:
    """Raise `ValueError` unless the rate is in (0, 1], with a seed below 1."""
    if isinstance(sample_rate, bool) or not 0 < sample_rate <= 1:
        raise ValueError(f"`sample_rate` must be in (0, 1], got {sample_rate!r}")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise ValueError(f"`seed` must be an integer, got {seed!r}")
    if sample_rate < 1 and (seed is None or not 0 <= seed < _LARGEST_SEED):
        raise ValueError(f"`seed` must be in [0, 2**64) where `sample_rate` < 1, got {seed!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """Keep whole traces: all events of one share its fate."""

    rate: float
    seed: int

    def keeps_trace(self, trace_id: int) -> bool:
        """Whether events of this trace are kept."""
        return sampling_share(trace_id.to_bytes(16, "big"), seed=self.seed) < self.rate

    def keeps_key(self, key: str) -> bool:
        """Whether events with this sampling key are kept."""
        return sampling_share(key.encode("utf-8", "surrogatepass"), seed=self.seed) < self.rate


def sampler(sample_rate: float, seed: int | None) -> Sampler | None:
    """Return what decides; None where everything is kept."""
    if sample_rate == 1 or seed is None:
        return None
    return Sampler(rate=sample_rate, seed=seed)
