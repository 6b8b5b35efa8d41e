"""The port that every store satisfies, and the one query that it answers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from crucible_telemetry.filters import Filter
from crucible_telemetry.schema import Row

Kind = Literal["experiment", "writer", "cursor"]
KINDS: tuple[Kind, ...] = ("experiment", "writer", "cursor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which rows, of which experiments; None does not restrict.

    `columns` is a hint: the caller reads only these, and a store may leave the others None.
    `since_ns` is inclusive, `until_ns` exclusive, both by `start_ns`. `last_n` keeps the latest,
    `limit` the first of what is left. A store that cannot translate `where` into its own language
    asks `where.keeps(row)`.
    """

    experiments: tuple[str, ...]
    names: tuple[str, ...] | None = None
    outcomes: tuple[str, ...] | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    where: Filter | None = None
    columns: frozenset[str] | None = None
    last_n: int | None = None
    limit: int | None = None


@runtime_checkable
class Store(Protocol):
    """Keep rows and small documents. One object serves many experiments, threads and processes."""

    def append(self, rows: Sequence[Row]) -> None:
        """Store all rows or none; they are durable on return.

        Raises
        ------
        RowRejectedError
            If one of them can never be stored. Anything else is tried again.
        """
        ...

    def scan(self, query: Query) -> Iterator[Row]:
        """Yield rows ordered by (start_ns, writer_id, seq), in bounded memory."""
        ...

    def put(self, kind: Kind, key: str, value: Mapping[str, Any]) -> None:
        """Store a JSON-safe document, replacing what was there."""
        ...

    def get(self, kind: Kind, key: str) -> Mapping[str, Any] | None:
        """Return a document; None if there is none."""
        ...

    def list(self, kind: Kind) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield all documents of a kind, ordered by key."""
        ...

    def close(self) -> None:
        """Release what the store holds open."""
        ...


@runtime_checkable
class Erasing(Protocol):
    """What a store can do besides, for `Experiment.archive`."""

    def erase(self, experiment_id: str) -> int:
        """Delete the events of an experiment, all or none, and return how many there were."""
        ...


@runtime_checkable
class Columnar(Protocol):
    """What a store can do besides, for the metrics of many events."""

    def columns(self, query: Query) -> Iterator[Mapping[str, Sequence[Any]]]:
        """Yield what `scan` yields, some rows at a time: the values of each of `query.columns`."""
        ...
