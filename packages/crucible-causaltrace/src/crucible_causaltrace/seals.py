"""Seal a chain, so that a later change shows and is located."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from crucible_causaltrace.chain import Chain
from crucible_causaltrace.event import SCHEMA

Algorithm = Literal["sha256", "hmac-sha256"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """The hashes of a chain: of its header, then of each event with all before it.

    `head` is the last of `hashes`, 64 hexadecimal digits each. Without a key whoever can edit the
    chain can also make a new seal: publish the head where they cannot, or keep a key.
    """

    algorithm: Algorithm
    keyed: bool
    hashes: tuple[str, ...]
    head: str

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping that `from_dict` reads."""
        return asdict(self) | {"hashes": list(self.hashes)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Seal:
        """Read what `to_dict` wrote.

        Raises
        ------
        ValueError
            If it is no seal of this version.
        """
        try:
            algorithm, keyed = data["algorithm"], data["keyed"]
            hashes, head = tuple(data["hashes"]), data["head"]
        except KeyError as error:
            raise ValueError(f"`data` must hold a seal, got none of {error}") from None
        if (algorithm, keyed) not in (("sha256", False), ("hmac-sha256", True)):
            raise ValueError(f"`data` must name a known algorithm, got {algorithm!r}")
        if not hashes or not all(isinstance(one, str) for one in (*hashes, head)):
            raise ValueError(f"`data` must hold hashes, got {len(hashes)}")
        return cls(algorithm=algorithm, keyed=keyed, hashes=hashes, head=head)


@dataclass(frozen=True, slots=True, kw_only=True)
class SealCheck:
    """Whether a chain is the one that was sealed.

    `first_bad` is 0 for the header or a wrong key, i for the i-th event, counted from 1: the first
    that was changed, is missing, was moved or was added; None if valid. What comes after it cannot
    be judged.
    """

    valid: bool
    first_bad: int | None
    reason: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return asdict(self)


def seal(chain: Chain, *, key: bytes | None = None) -> Seal:
    """Seal the id, task, metadata and events of a chain.

    The text outside events and the parse report are not sealed: what the events say is.

    Parameters
    ----------
    chain : Chain
    key : bytes, optional
        With a key only who has it can make or check the seal (HMAC, RFC 2104).

    Raises
    ------
    ValueError
        If the key is empty, or metadata holds what JSON cannot say.
    """
    hashes = hash_chain((event.to_dict() for event in chain), header=_header(chain), key=key)
    return Seal(
        algorithm="sha256" if key is None else "hmac-sha256",
        keyed=key is not None,
        hashes=tuple(hashes),
        head=hashes[-1],
    )


def verify(chain: Chain, seal: Seal, *, key: bytes | None = None) -> SealCheck:
    """Compare a chain with its seal.

    Parameters
    ----------
    chain : Chain
    seal : Seal
    key : bytes, optional
        The one that the seal was made with.

    Returns
    -------
    SealCheck
        Which locates the first difference.
    """
    if seal.keyed != (key is not None):
        needs = "was made with a key" if seal.keyed else "was made without a key"
        return SealCheck(valid=False, first_bad=0, reason=f"the seal {needs}")
    found = hash_chain((event.to_dict() for event in chain), header=_header(chain), key=key)
    for place, (now, then) in enumerate(zip(found, seal.hashes, strict=False)):
        if not hmac.compare_digest(now, then):
            what = "the header or the key" if place == 0 else f"event {place}"
            return SealCheck(valid=False, first_bad=place, reason=f"{what} is not what was sealed")
    if len(found) != len(seal.hashes):
        place = min(len(found), len(seal.hashes))
        what = "is missing" if len(found) < len(seal.hashes) else "was added"
        return SealCheck(valid=False, first_bad=place, reason=f"event {place} {what}")
    if not hmac.compare_digest(seal.head, found[-1]):
        return SealCheck(
            valid=False, first_bad=len(found) - 1, reason="the head is not the seal's last hash"
        )
    return SealCheck(valid=True, first_bad=None, reason=None)


def hash_chain(
    records: Iterable[Mapping[str, Any]], *, header: Mapping[str, Any], key: bytes | None = None
) -> list[str]:
    """Return the hashes of a header and of the records after it, in hexadecimal digits.

    h(0) = H("crucible-causaltrace/1" LF canon(header)), h(i) = H(h(i-1) canon(record i)), where H
    is SHA-256, or HMAC-SHA-256 with a key, h(i-1) its raw 32 bytes, and canon the JSON text with
    sorted keys, separators "," and ":", ASCII escapes and no NaN.

    Parameters
    ----------
    records : iterable of mapping
    header : mapping
    key : bytes, not empty, optional

    Raises
    ------
    ValueError
        If the key is empty, or a value is none of JSON's.
    """
    if key is not None and not key:
        raise ValueError("`key` must have a byte, got b''")
    digest = _digest(f"{SCHEMA}\n".encode() + _canon(header), key)
    digests = [digest]
    for record in records:
        digest = _digest(digest + _canon(record), key)
        digests.append(digest)
    return [one.hex() for one in digests]


def _header(chain: Chain) -> dict[str, Any]:
    return {"id": chain.id, "task": chain.task, "metadata": dict(chain.metadata)}


def _canon(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def _digest(content: bytes, key: bytes | None) -> bytes:
    if key is None:
        return hashlib.sha256(content).digest()
    return hmac.digest(key, content, "sha256")
