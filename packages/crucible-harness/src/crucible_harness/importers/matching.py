"""Which samples of several logs are the same item."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from crucible_harness.importers.samples import ForeignLog, ForeignSample


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """Logs with common identities of items, and what does not match.

    `by` is "id" or "content"; `unmatched` names, for each log, items that not every log has.
    """

    logs: tuple[ForeignLog, ...]
    by: str
    unmatched: tuple[tuple[str, ...], ...]


def match(logs: Sequence[ForeignLog]) -> Matched:
    """Match items by their identity, else by the hash of what was asked.

    Notes
    -----
    Identities are not trusted where two logs ask something else under the same one, as numbers
    given by a tool to shuffled items do. Several items with one content stay apart by their order.
    """
    if _ids_agree(logs) and _common(logs):
        return _matched(logs, "id")
    renamed = tuple(_by_content(log) for log in logs)
    return _matched(renamed if _common(renamed) else logs, "content")


def _matched(logs: Sequence[ForeignLog], by: str) -> Matched:
    ids = [dict.fromkeys(sample.item for sample in log.samples) for log in logs]
    unmatched = tuple(
        tuple(item for item in mine if not all(item in other for other in ids)) for mine in ids
    )
    return Matched(logs=tuple(logs), by=by, unmatched=unmatched)


def _ids_agree(logs: Sequence[ForeignLog]) -> bool:
    asked: dict[str, str] = {}
    return all(
        asked.setdefault(sample.item, sample.content) == sample.content
        for log in logs
        for sample in log.samples
    )


def _common(logs: Sequence[ForeignLog]) -> bool:
    shared = set.intersection(*({sample.item for sample in log.samples} for log in logs))
    return bool(shared)


def _by_content(log: ForeignLog) -> ForeignLog:
    names: dict[str, str] = {}
    seen: dict[str, int] = {}

    def name(sample: ForeignSample) -> str:
        if sample.item not in names:
            nth = seen.get(sample.content, 0)
            seen[sample.content] = nth + 1
            names[sample.item] = sample.content[:16] + (f"-{nth + 1}" if nth else "")
        return names[sample.item]

    return replace(log, samples=tuple(replace(s, item=name(s)) for s in log.samples))
