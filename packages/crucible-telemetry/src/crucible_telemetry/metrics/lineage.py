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
        for position, (trace, span, parent) in enumerate(identities):
            own.append(None if trace is None or span is None else bytes.fromhex(trace + span))
            if trace is not None and parent is not None:
                above[position] = bytes.fromhex(trace + parent)
        wanted = set(above.values())
        positions = {
            key: position for position, key in enumerate(own) if key is not None and key in wanted
        }
        self.parents = [ROOT] * len(own)
        del own
        for position, key in above.items():
            self.parents[position] = positions.get(key, ROOT)
        self._cut_cycles()

    def covered(self, values: Sequence[Any]) -> list[bool]:
        """Return for each event whether one inside it, at any depth, carries a value."""
        marked = [False] * len(self.parents)
        for position, value in enumerate(values):
            if value is None:
                continue
            above = self.parents[position]
            while above != ROOT and not marked[above]:
                marked[above] = True
                above = self.parents[above]
        return marked

    def nearest(self, chosen: Sequence[bool]) -> list[int]:
        """Return for each event the chosen one nearest to it: itself, else the first above."""
        unknown = -2
        found = [unknown] * len(self.parents)
        for start in range(len(self.parents)):
            path = []
            at = start
            while at != ROOT and found[at] == unknown and not chosen[at]:
                path.append(at)
                at = self.parents[at]
            if at != ROOT and found[at] == unknown:
                found[at] = at
            answer = ROOT if at == ROOT else found[at]
            for position in path:
                found[position] = answer
        return found

    def _cut_cycles(self) -> None:
        """Make the data of a broken exporter, where a span lies inside itself, a tree again."""
        state = bytearray(len(self.parents))  # 0 not seen, 1 on this path, 2 done
        for start in range(len(self.parents)):
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
