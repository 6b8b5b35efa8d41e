"""Paired logs: both copies of a request to their end, so that every delay can be judged later."""

import json
import math
import os
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from types import TracebackType
from typing import IO, Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowRecord:
    """A request of which both copies ran.

    Attributes
    ----------
    key : Hashable
        Stored as text.
    started_at : str or None
        Wall clock, ISO 8601.
    primary_s, backup_s : float, >= 0
        Each on its own clock.
    primary_ok, backup_ok : bool
        Whether it answered.
    primary_censored, backup_censored : bool
        It was cut short: its latency is a lower bound.
    primary_cost_usd, backup_cost_usd : float or None
    primary_measures, backup_measures : mapping of str to float
        What was measured of the answers, such as their length.
    """

    primary_s: float
    backup_s: float
    key: Hashable = None
    started_at: str | None = None
    primary_ok: bool = True
    backup_ok: bool = True
    primary_censored: bool = False
    backup_censored: bool = False
    primary_cost_usd: float | None = None
    backup_cost_usd: float | None = None
    primary_measures: Mapping[str, float] = field(default_factory=dict)
    backup_measures: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, seconds in (("primary_s", self.primary_s), ("backup_s", self.backup_s)):
            if isinstance(seconds, bool) or not 0 <= seconds < math.inf:
                raise ValueError(f"`{name}` must be a finite number >= 0, got {seconds}")

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-ready record; the key as text."""
        record = asdict(self)
        record["key"] = None if self.key is None else str(self.key)
        return record


class ShadowLog:
    """A list of paired records, in memory or also in a file of JSON Lines.

    Parameters
    ----------
    path : str or path, optional
        The file is appended to, line by line, and synced when the log is closed. What it holds
        already is read first.
    measure : callable, optional
        What is to be known of an answer beside its latency and price, such as its length: returns
        names with numbers. A hedger that keeps this log calls it once per answer.

    Examples
    --------
    >>> log = ShadowLog()
    >>> log.append(ShadowRecord(primary_s=9.0, backup_s=1.0))
    >>> len(log)
    1
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        measure: Callable[[Any], Mapping[str, float]] | None = None,
    ) -> None:
        if measure is not None and not callable(measure):
            raise TypeError(f"`measure` must be callable, got {measure!r}")
        self.measure = measure
        self._records: list[ShadowRecord] = []
        self._file: IO[bytes] | None = None
        if path is not None:
            if os.path.exists(path):
                self._records, whole = _read(path)
                if whole < os.path.getsize(path):
                    os.truncate(path, whole)  # else the next line would continue the torn one
            self._file = open(path, "ab")  # noqa: SIM115  # closed by `close`

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "ShadowLog":
        """Read a file into a log in memory.

        A last line that was torn, by a crash in the middle of a write, is left out with a warning.

        Raises
        ------
        ValueError
            If any other line is no record.
        """
        log = cls()
        log._records, _ = _read(path)
        return log

    def append(self, record: ShadowRecord) -> None:
        """Add a record."""
        if self._file is not None:
            line = json.dumps(record.to_dict(), allow_nan=False, ensure_ascii=False)
            self._file.write(line.encode() + b"\n")
            self._file.flush()
        self._records.append(record)

    def close(self) -> None:
        """Sync and close the file; the records stay readable, and later ones stay in memory."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def __iter__(self) -> Iterator[ShadowRecord]:
        return iter(tuple(self._records))

    def __len__(self) -> int:
        return len(self._records)

    def __enter__(self) -> "ShadowLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


_FIELDS = frozenset(f.name for f in fields(ShadowRecord))


def _read(path: str | os.PathLike[str]) -> tuple[list[ShadowRecord], int]:
    """Return the records of a file, and how many of its bytes are whole lines."""
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")
    torn = lines.pop()  # what follows the last newline: nothing, unless a write was cut short
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            entries = json.loads(line)
            records.append(ShadowRecord(**{k: v for k, v in entries.items() if k in _FIELDS}))
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{os.fspath(path)}, line {number}, is no record: {error}") from error
    if torn:
        warnings.warn(f"{os.fspath(path)}: its torn last line is left out", stacklevel=3)
    return records, sum(len(line) + 1 for line in lines)
