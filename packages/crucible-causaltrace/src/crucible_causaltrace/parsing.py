"""Read a model's tagged text: in one piece, as a chain, or as it streams in."""

import re
from collections.abc import Mapping

from crucible_causaltrace.accounting import SEVERITIES, Issue, ParseReport
from crucible_causaltrace.chain import Chain
from crucible_causaltrace.errors import InputTooLargeError, TraceParseError
from crucible_causaltrace.event import Event, Json
from crucible_causaltrace.references import Provisional, resolve
from crucible_causaltrace.scanner import Finding, Scanner
from crucible_causaltrace.tracing import span

_BAD_BYTES = re.compile("[\udc80-\udcff]+")
# What completes an event: its closing tag, or any opening one.
_EVENT_TAG = re.compile(r"</?event[^<>]*+>", re.IGNORECASE | re.ASCII)
_SMALL_WINDOW = 16_384
_TELLING = len("</event ")  # of its beginning, which says that it is one


def parse(text: str | bytes, *, max_chars: int = 10_000_000) -> ParseReport:
    """Read the events of a text, whatever its state.

    Parameters
    ----------
    text : str or bytes
        Bytes are read as UTF-8; bad ones become surrogates and are reported.
    max_chars : int, >= 1

    Returns
    -------
    ParseReport
        Whose spans partition the text, character for character.

    Raises
    ------
    InputTooLargeError
        If the text is longer than `max_chars`; nothing is parsed then.
    """
    _check_max_chars(max_chars)
    bad: list[tuple[int, int]] = []
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
        bad = [match.span() for match in _BAD_BYTES.finditer(text)]
    if len(text) > max_chars:
        raise InputTooLargeError(len(text), max_chars)
    with span("parse") as current:
        scanner = Scanner()
        scanner.read(text, start=0, base=0, final=True)
        scanner.findings += [
            Finding("invalid_utf8", "bytes that are not UTF-8", start, end, None)
            for start, end in bad
        ]
        report = _report(scanner)
        current.set_attribute("crucible.causaltrace.events", len(report.events))
        current.set_attribute("crucible.causaltrace.issues", len(report.issues))
        current.set_attribute("crucible.causaltrace.chars", len(text))
    return report


def parse_llm_output(
    text: str | bytes,
    task: str,
    *,
    id: str | None = None,
    strict: bool = False,
    max_chars: int = 10_000_000,
    metadata: Mapping[str, Json] | None = None,
) -> Chain:
    """Read a model's answer to a task as a chain of what it says it decided.

    Parameters
    ----------
    text : str or bytes
    task : str
    id : str, optional
        The chain's; a new ULID by default.
    strict : bool
        Refuse a text with an issue of severity "error".
    max_chars : int, >= 1
    metadata : mapping of str to JSON, optional
        Goes before what the text states in comments.

    Returns
    -------
    Chain
        `parse_report` holds the account: what was wrong, and what became of every character.

    Raises
    ------
    TraceParseError
        If `strict`, and the text has an error.
    InputTooLargeError
        If the text is longer than `max_chars`.
    """
    report = parse(text, max_chars=max_chars)
    if strict and not report.ok:
        raise TraceParseError(report.issues)
    chain = Chain(
        task,
        id=id,
        metadata={**report.metadata, **(metadata or {})},
        text=report.text,
        code_blocks=report.code_blocks,
        parse_report=report,
    )
    chain.extend(report.events)
    return chain


class EventParser:
    """Reads a text while it arrives; the result is that of `parse`, for every chunking.

    Parameters
    ----------
    max_chars : int, >= 1
    """

    def __init__(self, *, max_chars: int = 10_000_000) -> None:
        _check_max_chars(max_chars)
        self._max_chars = max_chars
        self._scanner = Scanner()
        self._provisional = Provisional()
        self._window = ""
        self._start = 0  # where, in the window, reading goes on
        self._base = 0  # where, in the whole text, the window begins
        self._chunks: list[str] = []
        self._size = 0
        self._complete = False  # a tag in the chunks may complete an event
        self._head = ""  # the beginning of a tag that no chunk has ended yet
        self._report: ParseReport | None = None

    def feed(self, chunk: str) -> list[Event]:
        """Take the next piece; return the events that it completes.

        Their ids and links are provisional: a later event may claim an id or be the one that a
        reference means. The report of `close` is final.

        Raises
        ------
        ValueError
            If the parser is closed.
        InputTooLargeError
            If the text grows longer than `max_chars`.
        """
        if self._report is not None:
            raise ValueError("`chunk` must come before close(), got one after it")
        size = self._size + len(chunk)
        if size > self._max_chars:
            raise InputTooLargeError(size, self._max_chars)
        self._size = size
        self._chunks.append(chunk)
        if ">" in chunk or "<" in chunk:
            if self._notice(chunk):
                self._complete = True
        elif self._head:
            self._head = (self._head + chunk)[:_TELLING]
        # A long window is read again only when it has grown by an eighth: what a never-ending
        # element holds back is then looked at a bounded number of times.
        if not self._complete or not self._is_worth_reading():
            return []
        return self._read(final=False)

    def close(self) -> ParseReport:
        """Say that no more text comes; return the account of all of it."""
        if self._report is None:
            with span("parse") as current:
                self._read(final=True)
                self._report = _report(self._scanner)
                current.set_attribute("crucible.causaltrace.events", len(self._report.events))
                current.set_attribute("crucible.causaltrace.issues", len(self._report.issues))
                current.set_attribute("crucible.causaltrace.chars", self._size)
        return self._report

    def _is_worth_reading(self) -> bool:
        window = len(self._window)
        waiting = self._size - self._base - window
        return window <= _SMALL_WINDOW or waiting * 8 >= window

    def _notice(self, chunk: str) -> bool:
        """Say whether `chunk` ends a tag that may complete an event."""
        ended = ">" in chunk and _EVENT_TAG.search(self._head + chunk) is not None
        begun = chunk.rfind("<")
        rest = chunk[begun:] if begun >= 0 else self._head + chunk if self._head else ""
        self._head = "" if ">" in rest else rest[:_TELLING]
        return ended

    def _read(self, *, final: bool) -> list[Event]:
        window = self._window + "".join(self._chunks)
        self._chunks, self._complete = [], False
        known = len(self._scanner.drafts)
        end = self._scanner.read(window, start=self._start, base=self._base, final=final)
        context = max(0, end - 1)  # one character, to know where a line begins
        self._window, self._start = window[context:], end - context
        self._base += context
        if final:
            return []
        return [self._provisional.event(draft) for draft in self._scanner.drafts[known:]]


def _check_max_chars(max_chars: int) -> None:
    if max_chars < 1:
        raise ValueError(f"`max_chars` must be >= 1, got {max_chars}")


def _report(scanner: Scanner) -> ParseReport:
    events, findings = resolve(scanner.drafts)
    findings = scanner.findings + findings
    if not events:
        findings.append(Finding("no_events", "the text holds no event", 0, 0, None))
    findings.sort(key=lambda f: (f.start, f.code, f.end))
    return ParseReport(
        events=tuple(events),
        issues=tuple(_issue(finding, scanner, events) for finding in findings),
        spans=tuple(scanner.spans),
        text="".join(scanner.pieces),
        code_blocks=tuple(scanner.code_blocks),
        metadata=scanner.metadata,
    )


def _issue(finding: Finding, scanner: Scanner, events: list[Event]) -> Issue:
    line, column = scanner.position(finding.start)
    return Issue(
        code=finding.code,
        severity=SEVERITIES[finding.code],
        message=finding.message,
        start=finding.start,
        end=finding.end,
        line=line,
        column=column,
        event_id=None if finding.event is None else events[finding.event].id,
    )
