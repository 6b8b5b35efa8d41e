"""Chains in a SQL database: SQLite or PostgreSQL."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Collection, Iterator, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

from crucible_causaltrace.chain import Chain
from crucible_causaltrace.errors import (
    ChainExistsError,
    ChainNotFoundError,
    CorruptChainError,
    MissingExtraError,
    SchemaVersionError,
)
from crucible_causaltrace.event import Event, Json
from crucible_causaltrace.exports.wording import replace_unspeakable
from crucible_causaltrace.queries import Query, matches_text
from crucible_causaltrace.stores.archives import write_archive
from crucible_causaltrace.stores.content import check_id, check_types, read_chain
from crucible_causaltrace.stores.port import ChainInfo, CorruptChainWarning
from crucible_causaltrace.tracing import span

if TYPE_CHECKING:
    import sqlalchemy as sa

_BATCH = 5_000


class SQLStore:
    """Keeps chains in the tables causaltrace_chains, causaltrace_events and causaltrace_edges.

    A chain is saved in one transaction. The tables are made when the store is first used.

    Parameters
    ----------
    url : str
        "sqlite:///traces.sqlite" or "postgresql://user@host/database".

    Raises
    ------
    MissingExtraError
        Without the extra `sql`.
    ValueError
        If the database is neither of the two.
    """

    def __init__(self, url: str) -> None:
        try:
            import sqlalchemy as sa
        except ImportError:
            raise MissingExtraError("sql") from None
        place = sa.make_url(url)
        name = place.get_backend_name()
        if name == "postgresql":
            place = place.set(drivername="postgresql+psycopg")
        elif name != "sqlite":
            raise ValueError(f"`url` must name SQLite or PostgreSQL, got {name!r}")
        options: dict[str, Any] = {}
        if name == "sqlite":
            options["connect_args"] = {"timeout": 30.0}
        self._engine = sa.create_engine(place, **options)
        self._where = place.render_as_string(hide_password=True)
        self._made = False

    def close(self) -> None:
        """Close the connections; a later use opens new ones."""
        self._engine.dispose()

    def save(self, chain: Chain, *, overwrite: bool = False) -> str:
        """Keep a chain; see `ChainStore.save`."""
        import sqlalchemy as sa

        from crucible_causaltrace.stores.tables import CHAINS, EDGES, EVENTS

        check_id(chain.id)
        with span("save") as current:
            current.set_attribute("crucible.causaltrace.events", len(chain))
            row = _row(chain)
            try:
                with self._begin() as connection:
                    if overwrite:
                        # Taking the row first makes two writers of one id wait for each other.
                        self._upsert(connection, row)
                        for table in (EDGES, EVENTS):
                            connection.execute(sa.delete(table).where(table.c.chain_id == chain.id))
                    else:
                        connection.execute(sa.insert(CHAINS), row)
                    for table, rows in ((EVENTS, _events(chain)), (EDGES, _edges(chain))):
                        for at in range(0, len(rows), _BATCH):
                            connection.execute(sa.insert(table), rows[at : at + _BATCH])
            except sa.exc.IntegrityError as error:
                if overwrite or not self._has(chain.id):
                    raise
                raise ChainExistsError(chain.id) from error
        return chain.id

    def load(self, id: str) -> Chain:
        """Return a chain; see `ChainStore.load`."""
        content = self._content(check_id(id))
        if content is None:
            raise ChainNotFoundError(id)
        return read_chain(content, where=f"{self._where}: {id}", id=id)

    def delete(self, id: str) -> None:
        """Forget a chain; see `ChainStore.delete`."""
        with self._begin() as connection:
            if not self._forget(connection, check_id(id)):
                raise ChainNotFoundError(id)

    def list(self) -> Iterator[ChainInfo]:
        """Go through all chains; see `ChainStore.list`."""
        return self.search()

    def search(
        self,
        *,
        text: str | None = None,
        task: str | None = None,
        types: Collection[str] | None = None,
        created_after_s: float | None = None,
        created_before_s: float | None = None,
        min_events: int | None = None,
        max_events: int | None = None,
        metadata: Mapping[str, Json] | None = None,
    ) -> Iterator[ChainInfo]:
        """Go through the chains that satisfy every condition given; see `ChainStore.search`."""
        import sqlalchemy as sa

        from crucible_causaltrace.stores.tables import CHAINS, EVENTS, folded, holds

        check_types(types)
        where: list[sa.ColumnElement[bool]] = []
        if task is not None:
            where.append(holds(CHAINS.c.folded_task, folded(task)))
        if created_after_s is not None:
            where.append(CHAINS.c.saved_s >= created_after_s)
        if created_before_s is not None:
            where.append(CHAINS.c.saved_s < created_before_s)
        if min_events is not None:
            where.append(CHAINS.c.n_events >= min_events)
        if max_events is not None:
            where.append(CHAINS.c.n_events <= max_events)
        if text is not None:
            said = holds(EVENTS.c.folded_text, folded(text))
            where.append(CHAINS.c.id.in_(sa.select(EVENTS.c.chain_id).where(said)))
        query = sa.select(CHAINS.c.id).where(*where).order_by(CHAINS.c.id)
        with self._begin() as connection:
            ids = list(connection.scalars(query))
        for id in sorted(ids):  # a database may have an order of letters of its own
            info = self._info(id)
            if (
                info is not None
                and (task is None or task.casefold() in info.task.casefold())
                and set(types or ()) <= set(info.types)
                and all(
                    key in info.metadata and info.metadata[key] == value
                    for key, value in (metadata or {}).items()
                )
                and (text is None or self._says(id, text))
            ):
                yield info

    def find_events(self, where: Query) -> Iterator[tuple[str, Event]]:
        """Go through the events of all chains that satisfy a condition, with their chain's id.

        Types, sources, confidences and texts are looked for by the database, the rest here.
        """
        import sqlalchemy as sa

        from crucible_causaltrace.stores.tables import EVENTS, narrowing

        columns = EVENTS.c.chain_id, EVENTS.c.place, EVENTS.c.event_json
        found = narrowing(where.to_dict())
        query = sa.select(*columns).order_by(EVENTS.c.chain_id, EVENTS.c.place)
        with self._begin() as connection:
            for id, _, content in connection.execute(
                query if found is None else query.where(found)
            ):
                event = self._event(id, content)
                if event is not None and where(event):
                    yield id, event

    def archive(self, *, before_s: float, path: str | PathLike[str]) -> int:
        """Move chains saved before a time into a new zip file; see `ChainStore.archive`.

        The zip holds one JSON file per chain and `manifest.json` with the SHA-256 of each. It is
        read back and compared before anything is deleted; `read_archive` gives the chains back.

        Returns
        -------
        int
            How many chains were moved; with none, no file is made.
        """
        import sqlalchemy as sa

        from crucible_causaltrace.stores.tables import CHAINS

        old = sa.select(CHAINS.c.id).where(CHAINS.c.saved_s < before_s).order_by(CHAINS.c.id)
        with self._begin() as connection:
            ids = list(connection.scalars(old))
        contents = {}
        for id in ids:
            content = self._content(id)
            if content is not None and self._readable(id, content):
                contents[id] = content
        if not contents:
            return 0
        write_archive(path, contents)
        with self._begin() as connection:
            for id, content in contents.items():
                if self._content(id, connection) == content:  # else it was saved anew meanwhile
                    self._forget(connection, id)
        return len(contents)

    # The database

    def _begin(self) -> Any:
        if not self._made:
            import sqlalchemy as sa

            from crucible_causaltrace.stores.tables import METADATA

            try:
                METADATA.create_all(self._engine)
            except (sa.exc.IntegrityError, sa.exc.ProgrammingError, sa.exc.OperationalError):
                METADATA.create_all(self._engine)  # someone else made them at the same moment
            self._made = True
        return self._engine.begin()

    def _upsert(self, connection: sa.Connection, row: dict[str, Any]) -> None:
        from sqlalchemy.dialects import postgresql, sqlite

        from crucible_causaltrace.stores.tables import CHAINS

        insert = postgresql.insert if self._engine.name == "postgresql" else sqlite.insert
        statement = insert(CHAINS).values(row)
        changed = {name: value for name, value in row.items() if name != "id"}
        connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=changed))

    def _forget(self, connection: sa.Connection, id: str) -> bool:
        import sqlalchemy as sa

        from crucible_causaltrace.stores.tables import CHAINS, EDGES, EVENTS

        for table in (EDGES, EVENTS):
            connection.execute(sa.delete(table).where(table.c.chain_id == id))
        return bool(connection.execute(sa.delete(CHAINS).where(CHAINS.c.id == id)).rowcount)

    def _has(self, id: str) -> bool:
        import sqlalchemy as sa

        from crucible_causaltrace.stores.tables import CHAINS

        with self._begin() as connection:
            found = connection.execute(sa.select(CHAINS.c.id).where(CHAINS.c.id == id))
            return found.first() is not None

    def _content(self, id: str, connection: sa.Connection | None = None) -> bytes | None:
        """Return a chain's JSON as a file of `JSONStore` would hold it."""
        import sqlalchemy as sa

        from crucible_causaltrace.stores.tables import CHAINS, EVENTS

        if connection is None:
            with self._begin() as own:
                return self._content(id, own)
        head = connection.scalar(sa.select(CHAINS.c.head_json).where(CHAINS.c.id == id))
        if head is None:
            return None
        events = connection.scalars(
            sa.select(EVENTS.c.event_json).where(EVENTS.c.chain_id == id).order_by(EVENTS.c.place)
        )
        joined = ", ".join(events)
        return f'{str(head).rstrip().removesuffix("}")}, "events": [{joined}]}}'.encode()

    def _info(self, id: str) -> ChainInfo | None:
        import sqlalchemy as sa

        from crucible_causaltrace.stores.tables import CHAINS

        with self._begin() as connection:
            row = connection.execute(sa.select(CHAINS).where(CHAINS.c.id == id)).first()
        if row is None:
            return None  # deleted by someone else meanwhile
        try:
            return ChainInfo(
                id=id,
                task=json.loads(row.head_json)["task"],
                n_events=row.n_events,
                types=tuple(json.loads(row.types_json)),
                saved_s=row.saved_s,
                metadata=dict(json.loads(row.metadata_json)),
            )
        except (ValueError, KeyError, TypeError) as error:
            self._warn(CorruptChainError(f"{self._where}: {id}", repr(error)))
            return None

    def _says(self, id: str, text: str) -> bool:
        """Ask the events themselves: what the database found is a fold of what they say."""
        import sqlalchemy as sa

        from crucible_causaltrace.stores.tables import EVENTS, folded, holds

        query = sa.select(EVENTS.c.event_json).where(
            EVENTS.c.chain_id == id, holds(EVENTS.c.folded_text, folded(text))
        )
        with self._begin() as connection:
            contents = list(connection.scalars(query))
        events = (self._event(id, content) for content in contents)
        return any(event is not None and matches_text(event, text) for event in events)

    def _event(self, id: str, content: str) -> Event | None:
        try:
            return Event.from_dict(json.loads(content))
        except (ValueError, TypeError, RecursionError) as error:
            self._warn(CorruptChainError(f"{self._where}: {id}", repr(error)))
            return None

    def _readable(self, id: str, content: bytes) -> bool:
        try:
            read_chain(content, where=f"{self._where}: {id}", id=id)
        except (CorruptChainError, SchemaVersionError) as error:
            self._warn(error)
            return False
        return True

    def _warn(self, error: Exception) -> None:
        warnings.warn(str(error), CorruptChainWarning, stacklevel=4)


def _row(chain: Chain) -> dict[str, Any]:
    from crucible_causaltrace.stores.tables import folded

    head = chain.to_dict()
    del head["events"]
    return {
        "id": chain.id,
        "task": replace_unspeakable(chain.task),
        "folded_task": folded(chain.task),
        "n_events": len(chain),
        "saved_s": time.time(),
        "metadata_json": json.dumps(head["metadata"], allow_nan=False),
        "types_json": json.dumps(sorted({event.type for event in chain})),
        "head_json": json.dumps(head, allow_nan=False),
    }


def _events(chain: Chain) -> list[dict[str, Any]]:
    from crucible_causaltrace.stores.tables import folded_text

    return [
        {
            "chain_id": chain.id,
            "place": place,
            "event_id": replace_unspeakable(event.id),
            "type": replace_unspeakable(event.type),
            "source": event.source,
            "confidence": event.confidence,
            "time_s": event.time_s,
            "folded_text": folded_text(event),
            "event_json": json.dumps(event.to_dict(), allow_nan=False),
        }
        for place, event in enumerate(chain)
    ]


def _edges(chain: Chain) -> list[dict[str, Any]]:
    places = {event.id: place for place, event in enumerate(chain)}
    rows = []
    for event in chain:
        links = [("parent", event.parent)] if event.parent is not None else []
        links += [("depends_on", id) for id in event.depends_on]
        links += [("contradicts", id) for id in event.contradicts]
        rows += [
            {
                "chain_id": chain.id,
                "from_place": places[id],
                "to_place": places[event.id],
                "kind": kind,
            }
            for kind, id in links
        ]
    return rows
