"""The tables of the SQL store, and conditions on events as far as SQL can tell."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from crucible_causaltrace.event import Event
from crucible_causaltrace.exports.wording import replace_unspeakable
from crucible_causaltrace.queries import event_texts

METADATA = sa.MetaData()
# JSON is kept as ASCII text: no database's own JSON holds lone surrogates and NUL.
CHAINS = sa.Table(
    "causaltrace_chains",
    METADATA,
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("folded_task", sa.Text, nullable=False),
    sa.Column("n_events", sa.Integer, nullable=False),
    sa.Column("saved_s", sa.Float(53), nullable=False),
    sa.Column("metadata_json", sa.Text, nullable=False),
    sa.Column("types_json", sa.Text, nullable=False),
    sa.Column("head_json", sa.Text, nullable=False),  # all but the events
)
EVENTS = sa.Table(
    "causaltrace_events",
    METADATA,
    sa.Column("chain_id", sa.ForeignKey(CHAINS.c.id, ondelete="CASCADE"), primary_key=True),
    sa.Column("place", sa.Integer, primary_key=True),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False, index=True),
    sa.Column("source", sa.String(32), nullable=False),
    sa.Column("confidence", sa.Float(53)),
    sa.Column("time_s", sa.Float(53)),
    sa.Column("folded_text", sa.Text, nullable=False),
    sa.Column("event_json", sa.Text, nullable=False),
)
EDGES = sa.Table(
    "causaltrace_edges",
    METADATA,
    sa.Column("chain_id", sa.ForeignKey(CHAINS.c.id, ondelete="CASCADE"), primary_key=True),
    sa.Column("from_place", sa.Integer, primary_key=True),
    sa.Column("to_place", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String(16), primary_key=True),
)
_COMPARE = {
    "lt": lambda column, number: column < number,
    "le": lambda column, number: column <= number,
    "gt": lambda column, number: column > number,
    "ge": lambda column, number: column >= number,
    "eq": lambda column, number: column == number,
}


def folded(text: str) -> str:
    """Return a text as the search columns hold it: folded in case, without what SQL cannot hold."""
    return replace_unspeakable(text.casefold())


def folded_text(event: Event) -> str:
    """Return all that a search of an event's text looks at."""
    return "\n".join(folded(text) for text in event_texts(event))


def holds(column: sa.ColumnElement[str], part: str) -> sa.ColumnElement[bool]:
    """Ask whether a column holds a text; `%` and `_` in it stand for themselves."""
    return column.contains(part, autoescape=True)


def narrowing(form: Mapping[str, Any]) -> sa.ColumnElement[bool] | None:
    """Return a condition that every event fulfils which the query matches, or None for no help.

    What passes it is still to be asked itself.
    """
    ((key, value),) = form.items()
    if key == "and":
        parts = [part for part in map(narrowing, value) if part is not None]
        return sa.and_(*parts) if parts else None
    if key == "or":
        parts = [part for part in map(narrowing, value) if part is not None]
        return sa.or_(*parts) if parts and len(parts) == len(value) else None
    if key == "confidence":
        tests = [_COMPARE[how](EVENTS.c.confidence, number) for how, number in value.items()]
        return sa.and_(EVENTS.c.confidence.is_not(None), *tests)
    if key in ("type", "source"):
        wanted = [value] if isinstance(value, str) else value
        return EVENTS.c[key].in_([replace_unspeakable(one) for one in wanted])
    if key == "text":
        return holds(EVENTS.c.folded_text, folded(value))
    return None
