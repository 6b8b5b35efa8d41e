"""Amounts counted once while events arrive: what an event inside carries, those around do not add.

The report knows the whole tree (`metrics.lineage`); here children end, and arrive, before parents.
"""

from collections import OrderedDict

from crucible_telemetry.schema import INDEX, Row

_REMEMBERED = 65_536
_TRACE, _SPAN, _PARENT = INDEX["trace_id"], INDEX["span_id"], INDEX["parent_span_id"]


class Inclusion:
    """Remember which open spans contain an event that carries an amount.

    It remembers the latest 65,536 spans; an aggregate around more calls than that counts again.
    """

    def __init__(self, columns: tuple[str, ...]) -> None:
        self._at = tuple(INDEX[name] for name in columns)
        self._covered: OrderedDict[tuple[str, str], int] = OrderedDict()

    def own(self, row: Row) -> tuple[int | float | None, ...]:
        """Return the amounts that nothing inside this event has brought already."""
        trace, span, parent = row[_TRACE], row[_SPAN], row[_PARENT]
        covered = 0 if span is None else self._covered.pop((trace, span), 0)
        amounts = []
        carries = covered
        for bit, at in enumerate(self._at):
            value = row[at]
            if value is not None:
                carries |= 1 << bit
            amounts.append(None if covered >> bit & 1 else value)
        if carries and parent is not None:
            key = (trace, parent)
            self._covered[key] = self._covered.get(key, 0) | carries
            if len(self._covered) > _REMEMBERED:
                self._covered.popitem(last=False)
        return tuple(amounts)
