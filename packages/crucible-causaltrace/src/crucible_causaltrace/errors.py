"""What can go wrong, readable at the top.

CausalTraceError
    TraceParseError        strict parsing met an error; `issues` lists them all
    CycleError             a link would close a cycle; `cycle` lists its ids
    UnknownEventError      no event has this id
    DuplicateEventError    an event with this id exists
    QueryError             a stored query cannot be read
    ChainNotFoundError     the store holds no chain of this id
    ChainExistsError       the store holds one, and `overwrite` was not given
    InvalidIdError         an id that is not fit for a file name
    CorruptChainError      stored bytes that are no chain; `where` names them
    SchemaVersionError     stored by a version that this one does not know
    ExportTooLargeError    more events than the format can draw
    InputTooLargeError     more text than `max_chars`
    ProbeFailedError       more than a fifth of a probe's calls failed; `report` holds the rest
    MissingExtraError      an optional dependency is not installed
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crucible_causaltrace.accounting import Issue
    from crucible_causaltrace.faithfulness import FaithfulnessReport


class CausalTraceError(Exception):
    """Root of this package's errors. Bad arguments raise `ValueError` instead."""


class TraceParseError(CausalTraceError):
    """A text was to be read strictly and has errors; `issues` lists warnings too."""

    def __init__(self, issues: Sequence[Issue]) -> None:
        self.issues = tuple(issues)
        errors = [issue for issue in self.issues if issue.severity == "error"]
        shown = "; ".join(f"line {e.line}: {e.code} ({e.message})" for e in errors[:5])
        more = f"; and {len(errors) - 5} more" if len(errors) > 5 else ""
        super().__init__(f"the text has {len(errors)} errors: {shown}{more}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.issues,)


class CycleError(CausalTraceError):
    """A link would close a cycle; `cycle` starts and ends with the same id."""

    def __init__(self, cycle: Sequence[str]) -> None:
        self.cycle = tuple(cycle)
        super().__init__(f"events must not form a cycle: {' -> '.join(self.cycle)}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.cycle,)


class _IdError(CausalTraceError):
    says = "{id!r}"

    def __init__(self, id: str) -> None:
        self.id = id
        super().__init__(self.says.format(id=id))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.id,)


class UnknownEventError(_IdError):
    """No event has this id."""

    says = "no event has the id {id!r}"


class DuplicateEventError(_IdError):
    """The chain has an event of this id already."""

    says = "the chain has an event with the id {id!r} already"


class QueryError(CausalTraceError):
    """A stored query cannot be read; the message names the part."""


class ChainNotFoundError(_IdError):
    """The store holds no chain of this id."""

    says = "no chain {id!r} in the store"


class ChainExistsError(_IdError):
    """The store holds a chain of this id, and overwriting was not asked for."""

    says = "the store has a chain {id!r} already; pass overwrite=True to replace it"


class InvalidIdError(_IdError):
    """An id that is not fit for a file name."""

    says = "a chain's id must match [A-Za-z0-9][A-Za-z0-9_-]{{0,127}}, got {id!r}"


class CorruptChainError(CausalTraceError):
    """Stored bytes that are no chain; `where` is the path, `reason` what is wrong."""

    def __init__(self, where: str, reason: str) -> None:
        self.where = where
        self.reason = reason
        super().__init__(f"{where} holds no readable chain: {reason}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.where, self.reason)


class SchemaVersionError(CausalTraceError):
    """A chain written by a version that this one does not know."""

    def __init__(self, found: object, supported: str, where: str | None = None) -> None:
        self.found = found
        self.supported = supported
        self.where = where
        place = "the chain" if where is None else where
        super().__init__(f"{place} has the schema {found!r}; this version reads {supported!r}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.found, self.supported, self.where)


class ExportTooLargeError(CausalTraceError):
    """More events than the format can draw."""

    def __init__(self, events: int, limit: int) -> None:
        self.events = events
        self.limit = limit
        super().__init__(
            f"{events} events are more than the {limit} this format can draw; "
            "pass `limit` to draw the first ones"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.events, self.limit)


class InputTooLargeError(CausalTraceError):
    """More text than `max_chars`; nothing was parsed."""

    def __init__(self, size: int, limit: int) -> None:
        self.size = size
        self.limit = limit
        super().__init__(f"the text has {size} characters, more than `max_chars` = {limit}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.size, self.limit)


class ProbeFailedError(CausalTraceError):
    """Too many calls of a probe failed; `report` holds what the others said."""

    def __init__(self, report: FaithfulnessReport) -> None:
        self.report = report
        super().__init__(f"{report.failed} of the {report.calls} calls of the probe failed")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.report,)


class MissingExtraError(CausalTraceError):
    """A part of this package needs an extra that is not installed."""

    def __init__(self, extra: str) -> None:
        self.extra = extra
        super().__init__(
            f'this needs the extra {extra!r}: uv pip install "crucible-causaltrace[{extra}]"'
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.extra,)
