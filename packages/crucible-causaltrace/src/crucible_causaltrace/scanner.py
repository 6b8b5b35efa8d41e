"""Walk over a text once and say what each character belongs to."""

import re
from array import array
from bisect import bisect_right
from dataclasses import dataclass

from crucible_causaltrace import grammar
from crucible_causaltrace.accounting import CodeBlock, Span, SpanKind
from crucible_causaltrace.elements import Draft, EventReader, IncompleteError
from crucible_causaltrace.fields import unframe_code
from crucible_causaltrace.grammar import Finder

_NEWLINE = re.compile("\n")
_NEVER_CLOSED = "the fence is never closed"
_LONGEST_FENCE = 16  # longer ones are closed by any as long as this


@dataclass(frozen=True, slots=True)
class Finding:
    """An issue as found: offsets in the whole text, the index of its event."""

    code: str
    message: str
    start: int
    end: int
    event: int | None


class Scanner:
    """Reads text that may arrive in windows, each beginning where the last was understood.

    What has been read accumulates in the public attributes, with offsets in the whole text.
    """

    def __init__(self) -> None:
        self.drafts: list[Draft] = []
        self.findings: list[Finding] = []
        self.spans: list[Span] = []
        self.pieces: list[str] = []
        self.code_blocks: list[CodeBlock] = []
        self.metadata: dict[str, str] = {}
        self.newlines = array("Q")
        self.examined = 0
        self._wrappings: dict[str, list[int]] = {"`": [], "~": []}  # open ones: where they began
        self._finder = Finder("")
        self._base = 0
        self._final = False
        self._bare: list[tuple[int, int, str, int]] | None = None
        self._next_bare: dict[tuple[str, int], int] = {}

    def read(self, text: str, *, start: int, base: int, final: bool) -> int:
        """Read as far as can be decided.

        Parameters
        ----------
        text : str
            A window of the whole text.
        start : int
            Where to begin in it; what stands before is context.
        base : int
            Offset of the window in the whole text.
        final : bool
            Whether the whole text ends with this window.

        Returns
        -------
        int
            The position in the window up to which everything is decided.
        """
        self._finder = finder = Finder(text)
        self._base, self._final = base, final
        self._bare, self._next_bare = None, {}
        at = start
        while at < finder.size:
            angle = finder.find("<", at)
            fence = finder.search(grammar.FENCE, at)
            stop = fence.start() if fence and (angle < 0 or fence.start() < angle) else angle
            if stop < 0:
                stop = finder.size
                if not final:
                    begun = grammar.FENCE_BEGUN.search(text, max(at, stop - 5))
                    stop = begun.start() if begun else stop
                self._text(at, stop)
                at = stop
                break
            self._text(at, stop)
            at = stop
            known = len(self.findings)
            try:
                if fence is not None and stop == fence.start():
                    at = self._fence(fence)
                else:
                    at = self._angle(stop)
            except IncompleteError:
                del self.findings[known:]
                break
        self.newlines.extend(base + m.start() for m in _NEWLINE.finditer(text, start, at))
        if final:
            for offset in self._wrappings["`"] + self._wrappings["~"]:
                self._outside("unclosed_fence", _NEVER_CLOSED, offset - base, offset - base + 3)
        self.examined += finder.examined
        return at

    def position(self, offset: int) -> tuple[int, int]:
        """Return line and column, from 1, of an offset in the whole text."""
        line = bisect_right(self.newlines, offset - 1) if offset else 0
        before = self.newlines[line - 1] if line else -1
        return line + 1, offset - before

    def _note(self, code: str, message: str, start: int, end: int) -> None:
        event = len(self.drafts)
        base = self._base
        self.findings.append(Finding(code, message, base + start, base + end, event))

    def _span(self, kind: SpanKind, start: int, end: int, event: int | None = None) -> int:
        start, end = start + self._base, end + self._base
        if kind == "text" and self.spans and self.spans[-1].kind == "text":
            start = self.spans.pop().start
        self.spans.append(Span(kind=kind, start=start, end=end, event=event))
        return end - self._base

    def _text(self, start: int, end: int) -> int:
        if end > start:
            self.pieces.append(self._finder.text[start:end])
            self._span("text", start, end)
        return end

    def _angle(self, at: int) -> int:
        """Read what begins with the `<` at `at`; return where it ends."""
        finder = self._finder
        tag = finder.tag(at)
        if tag is None:
            return self._no_tag(at)
        name, closing = tag[2].lower(), bool(tag[1])
        if name == "event" and not closing:
            reader = EventReader(finder, tag, final=self._final, note=self._note)
            draft = reader.read()
            end = self._span("event", draft.start, draft.end, len(self.drafts))
            draft.start += self._base
            draft.tag_end += self._base
            draft.end += self._base
            self.drafts.append(draft)
            return end
        if name == "code" and not closing and not tag[3].endswith("/"):
            return self._code(tag)
        if closing and name != "code":
            self._outside("stray_close", f"</{name}> closes nothing", *tag.span())
            return self._span("error", *tag.span())
        return self._text(at, tag.end())

    def _outside(self, code: str, message: str, start: int, end: int) -> None:
        self.findings.append(Finding(code, message, self._base + start, self._base + end, None))

    def _no_tag(self, at: int) -> int:
        finder, text = self._finder, self._finder.text
        if text.startswith(grammar.COMMENT, at):
            return self._comment(at)
        if not self._final and finder.find("<", at + 1) < 0 and finder.find(">", at + 1) < 0:
            short = finder.size - at < grammar.LONGEST_HEAD
            if short or grammar.KNOWN_HEAD.match(text, at):
                raise IncompleteError
        if grammar.EVENT_HEAD.match(text, at):
            self._outside("malformed_tag", "<event without its >", at, at + 1)
        return self._text(at, at + 1)

    def _comment(self, at: int) -> int:
        finder, inside = self._finder, at + len(grammar.COMMENT)
        close, newline = finder.find("-->", inside), finder.find("\n", inside)
        if close < 0 and newline < 0 and not self._final:
            raise IncompleteError
        if close < 0 or 0 <= newline < close:
            return self._text(at, at + 1)
        pair = grammar.COMMENT_PAIR.fullmatch(finder.text, inside, close)
        if pair is not None and pair[2].strip():
            self.metadata.setdefault(pair[1], pair[2].strip())
        return self._span("comment", at, close + 3)

    def _code(self, tag: re.Match[str]) -> int:
        finder, begun = self._finder, tag.end()
        own = finder.search(grammar.CODE_CLOSE, begun)
        event = finder.search(grammar.EVENT_OPEN, begun)
        if own is not None and (event is None or own.start() < event.start()):
            stop, end = own.span()
        elif event is not None:
            stop = end = event.start()
            self._outside("unclosed_element", "<code> is never closed", *tag.span())
        elif self._final:
            return self._text(tag.start(), begun)
        else:
            raise IncompleteError
        attributes = grammar.read_attributes(tag[3])
        block = CodeBlock(
            code=unframe_code(finder.text[begun:stop]),
            language=attributes.get("lang") or attributes.get("language") or None,
            start=self._base + tag.start(),
            end=self._base + end,
        )
        self.code_blocks.append(block)
        return self._span("code", tag.start(), end)

    def _fence(self, opening: re.Match[str]) -> int:
        """Read a fence: opaque to its end, or the wrapping of an answer, or only text."""
        finder, text = self._finder, self._finder.text
        char, marked = opening[1][0], opening.end()
        newline = finder.find("\n", marked)
        if newline < 0 and not self._final:
            raise IncompleteError
        line_end = finder.size if newline < 0 else newline + 1
        finder.examined += line_end - marked
        info = text[marked:line_end].strip()
        if char == "`" and "`" in info:
            return self._text(opening.start(), marked)  # a span of code in a line
        if not info and self._wrappings[char]:
            self._wrappings[char].pop()
            return self._text(opening.start(), line_end)
        if info.lower() in grammar.WRAPPINGS and self._wraps_tags(line_end):
            self._wrappings[char].append(self._base + opening.start())
            return self._text(opening.start(), line_end)
        end = self._fence_end(char, len(opening[1]), line_end)
        if end >= 0:
            return self._text(opening.start(), end)
        if not self._final:
            raise IncompleteError
        self._outside("unclosed_fence", _NEVER_CLOSED, *opening.span(1))
        return self._text(opening.start(), marked)

    def _wraps_tags(self, at: int) -> bool:
        finder = self._finder
        blank = grammar.WHITESPACE.match(finder.text, at)
        content = at if blank is None else blank.end()
        finder.examined += content - at
        begun = finder.text[content : content + len("<event ")]
        if not self._final and (not begun or (begun[0] == "<" and len(begun) < len("<event "))):
            raise IncompleteError
        return grammar.WRAPPED.match(finder.text, content) is not None

    def _fence_end(self, char: str, length: int, at: int) -> int:
        """Return the end of the next bare fence line that closes this one, or -1."""
        if self._bare is None:
            finder = self._finder
            finder.examined += finder.size - at
            self._bare = [
                (m.start(), min(m.end() + 1, finder.size), m[1][0], len(m[1]))
                for m in grammar.BARE_FENCE.finditer(finder.text, at)
                if self._final or m.end() < finder.size
            ]
        key = char, min(length, _LONGEST_FENCE)
        place = self._next_bare.get(key, 0)
        while place < len(self._bare):
            start, _, found, size = self._bare[place]
            if start >= at and found == char and size >= key[1]:
                break
            place += 1
        self._next_bare[key] = place
        return self._bare[place][1] if place < len(self._bare) else -1
