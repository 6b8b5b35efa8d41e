"""Which event lies inside which, so that nothing is counted twice."""

from collections.abc import Iterable, Sequence
from typing import Any

ROOT = -1


class Lineage:
    """Parents of the events of one experiment, by position; an event without one has `ROOT`.

    Parameters
    ----------
    identities : iterable of (trace_id, span_id, parent_span_id)
        Hexadecimal or None; read once. A parent that is not among them is no parent here.
    """

    def __init__(self, identities: Iterable[tuple[str | None, str | None, str | None]]) -> None:
        # Bytes, since a million pairs of text would take three times the memory.
        own: list[bytes | None] = []
        above: dict[int, bytes] = {}
        key = bytes.fromhex
        for position, (trace, span, parent) in enumerate(identities):
            own.append(None if trace is None or span is None else key(trace + span))
            if parent is not None and trace is not None:
                above[position] = key(trace + parent)
        self.parents = [ROOT] * len(own)
        if above:
            wanted = set(above.values())
            positions = {found: position for position, found in enumerate(own) if found in wanted}
            for position, found in above.items():
                self.parents[position] = positions.get(found, ROOT)
        del own, above
        # Most events of most experiments lie inside none: only the others are ever walked.
        self._inside = [position for position, up in enumerate(self.parents) if up != ROOT]
        self._cut_cycles()

    def covered(self, values: Sequence[Any]) -> list[bool]:
        """Return for each event whether one inside it, at any depth, carries a value."""
        marked = [False] * len(self.parents)
        for position in self._inside:
            if values[position] is None:
                continue
            above = self.parents[position]
            while above != ROOT and not marked[above]:
                marked[above] = True
                above = self.parents[above]
        return marked

    def nearest(self, chosen: Sequence[bool]) -> list[int]:
        """Return for each event the chosen one nearest to it: itself, else the first above."""
        found = [position if itself else ROOT for position, itself in enumerate(chosen)]
        known = bytearray(chosen)
        for start in self._inside:
            path = []
            at = start
            while at != ROOT and not known[at]:
                path.append(at)
                at = self.parents[at]
            answer = ROOT if at == ROOT else found[at]
            for position in path:
                found[position] = answer
                known[position] = True
        return found

    def _cut_cycles(self) -> None:
        """Make the data of a broken exporter, where a span lies inside itself, a tree again."""
        state = bytearray(len(self.parents))  # 0 not seen, 1 on this path, 2 done
        for start in self._inside:
            path = []
            at = start
            while at != ROOT and state[at] == 0:
                state[at] = 1
                path.append(at)
                at = self.parents[at]
            if at != ROOT and state[at] == 1:
                self.parents[at] = ROOT
            for position in path:
                state[position] = 2
