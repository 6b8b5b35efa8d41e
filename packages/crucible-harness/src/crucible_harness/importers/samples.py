"""What another tool wrote down, in one shape: logs of samples."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crucible_harness.errors import ForeignLogError


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignSample:
    """One answer in a log. None = the log does not say.

    Attributes
    ----------
    item : str
        Identity in the log.
    content : str
        Hash of what was asked, to match items whose identities do not.
    repeat : int, >= 0
    scores : mapping of metric to number
    error : str or None
        Why there is no answer.
    """

    item: str
    content: str
    input: str
    expected: Any
    metadata: Mapping[str, Any] = field(default_factory=dict)
    repeat: int = 0
    output: str | None = None
    scores: Mapping[str, float | None] = field(default_factory=dict)
    error: str | None = None
    latency_s: float | None = None
    cost_usd: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    served_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignLog:
    """One log file: who answered, and every sample.

    `names` are names for the condition, from the most telling to the last resort; `metrics` maps
    each score to whether higher is better (None = the log does not say); `aliases` names the score
    that a metric of the log was computed from.
    """

    tool: str
    version: str
    file: str
    sha256: str
    names: tuple[str, ...]
    metrics: Mapping[str, bool | None]
    samples: tuple[ForeignSample, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Return the task, or the name of the file."""
        return str(self.facts.get("task") or Path(self.file).stem)


@contextmanager
def reading(path: Path, kind: str, *damage: type[Exception]) -> Iterator[None]:
    """Turn whatever a damaged or foreign file provokes into one error that names the file.

    `damage` are classes of errors beyond those of wrong bytes, texts, keys and types.
    """
    foreign: tuple[type[Exception], ...] = (
        OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, *damage,
    )  # fmt: skip
    try:
        yield
    except ForeignLogError:
        raise
    except foreign as error:
        raise ForeignLogError(
            str(path), f"is truncated or no {kind} ({type(error).__name__}: {error})"
        ) from error


def amount(value: Any) -> float | None:
    """Return a finite number of a log, or None where it has none.

    Raises
    ------
    TypeError
        If it is something else than a number.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, got {value!r}")
    return float(value) if math.isfinite(value) else None


def sources(tools: Iterable[tuple[str, str]]) -> str:
    """Name tools with their versions, each once."""
    return ", ".join(
        sorted({f"a {what} table" if tool == "table" else f"{tool} {what}" for tool, what in tools})
    )


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_of(*texts: str) -> str:
    """Return a hash of texts."""
    return hashlib.sha256("\x1f".join(texts).encode("utf-8", "surrogatepass")).hexdigest()
