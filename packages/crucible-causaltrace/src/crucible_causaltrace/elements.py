"""Read one event, from its opening tag to wherever it ends, however broken."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from crucible_causaltrace import grammar
from crucible_causaltrace.event import Json
from crucible_causaltrace.fields import (
    read_confidence,
    read_metadata,
    split_alternatives,
    unframe_code,
)
from crucible_causaltrace.grammar import Finder, decode_entities

# (code, message, start, end), offsets in the text at hand
Note = Callable[[str, str, int, int], None]


class IncompleteError(Exception):
    """More text may follow, and what is here cannot be decided without it."""


@dataclass(slots=True)
class Draft:
    """An event as written: nothing is resolved yet."""

    start: int
    tag_end: int
    attributes: dict[str, str]
    end: int = 0
    values: dict[str, Any] = field(default_factory=dict)
    alternatives: list[str] = field(default_factory=list)
    metadata: dict[str, Json] = field(default_factory=dict)
    truncated: bool = False


class EventReader:
    """Reads the body of one event.

    Parameters
    ----------
    finder : Finder
    opening : re.Match
        The event's opening tag.
    final : bool
        Whether the text at hand is all there will be.
    note : callable
        Is told of issues.
    """

    __slots__ = ("_final", "_finder", "_loose", "_note", "_opening", "_text", "draft")

    def __init__(self, finder: Finder, opening: re.Match[str], *, final: bool, note: Note) -> None:
        self._finder = finder
        self._text = finder.text
        self._opening = opening
        self._final = final
        self._note = note
        self._loose: list[str] = []
        self.draft = Draft(
            start=opening.start(),
            tag_end=opening.end(),
            attributes=grammar.read_attributes(opening[3]),
        )

    def read(self) -> Draft:
        """Read to the event's end.

        Raises
        ------
        IncompleteError
            If the end is not in the text at hand, and more text may follow.
        """
        draft = self.draft
        draft.end = draft.tag_end if self._opening[3].endswith("/") else self._body(draft.tag_end)
        if self._loose:
            draft.metadata.setdefault("text", "\n".join(self._loose))
        return draft

    def _body(self, at: int) -> int:
        finder = self._finder
        mark = at  # the end of the last element
        while True:
            lt = finder.find("<", at)
            if lt < 0:
                self._keep_loose(mark, finder.size)
                return self._cut_off()
            tag = finder.tag(lt)
            if tag is None:
                self._check_malformed(lt)
                at = lt + 1
                continue
            name, closing = tag[2].lower(), bool(tag[1])
            at = tag.end()
            if name == "code":
                continue
            self._keep_loose(mark, lt)
            if name == "event":
                if closing:
                    return at
                self._issue("unclosed_event", "ends where the next event begins", *self._tag())
                return lt
            if closing:
                self._issue("stray_close", f"</{name}> closes nothing", lt, at)
            else:
                at = self._element(tag, name)
                if at < 0:
                    return self._cut_off()
            mark = at

    def _cut_off(self) -> int:
        if not self._final:
            raise IncompleteError
        self.draft.truncated = True
        self._issue("truncated_event", "the text ends inside this event", *self._tag())
        return self._finder.size

    def _tag(self) -> tuple[int, int]:
        return self.draft.start, self.draft.tag_end

    def _issue(self, code: str, message: str, start: int, end: int) -> None:
        self._note(code, message, start, end)

    def _check_malformed(self, lt: int) -> None:
        if grammar.EVENT_HEAD.match(self._text, lt):
            self._issue("malformed_tag", "<event without its >", lt, lt + 1)

    def _keep_loose(self, start: int, end: int) -> None:
        loose = self._text[start:end].strip()
        if loose:
            if not self._loose:
                self._issue("loose_text", "text in an event, in none of its fields", start, end)
            self._loose.append(loose)

    def _element(self, tag: re.Match[str], name: str) -> int:
        """Read the field that `tag` opens; return where it ends, -1 where the text did."""
        values, start = self.draft.values, tag.start()
        repeated = name in values and name != "alternatives"
        if repeated:
            self._issue(
                "duplicate_field", f"a second {name}; the first one counts", start, tag.end()
            )
        if tag[3].endswith("/"):
            pieces: list[tuple[str, bool]] = []
            end, closed = tag.end(), True
        elif name == "code_section":
            return self._code_section(tag, repeated)
        elif name in ("alternatives", "alternative"):
            return self._alternatives(tag, name)
        else:
            pieces, end, closed = self._content(tag, name)
        content = _join(pieces)
        if not repeated and (content or closed):
            self._keep(name, content, start, end)
        return end

    def _keep(self, name: str, content: str, start: int, end: int) -> None:
        values, cut = self.draft.values, end < 0
        if name == "confidence":
            # The text may end inside a number: "0.8" of "0.85" was never stated.
            values[name], issue = (None, None) if cut else read_confidence(content)
            if issue:
                shown = content if len(content) <= 40 else content[:40] + "…"
                self._issue(issue, f"{shown!r} is no confidence in [0, 1]", start, end)
        elif name == "metadata":
            values[name] = True
            read, fine = read_metadata(content)
            self.draft.metadata |= read
            if not fine and not cut:
                self._issue("metadata_not_read", "neither JSON nor `key: value`", start, end)
        elif name not in ("alternatives", "alternative"):
            values[name] = content

    def _content(self, tag: re.Match[str], name: str) -> tuple[list[tuple[str, bool]], int, bool]:
        """Read text up to what ends it: pieces (text, verbatim), end or -1, properly closed."""
        finder, text = self._finder, self._text
        pieces: list[tuple[str, bool]] = []
        begun = at = tag.end()
        while True:
            lt = finder.find("<", at)
            if lt < 0:
                if not self._final:
                    raise IncompleteError
                pieces.append((text[begun:], False))
                return pieces, -1, False
            after = self._cdata(pieces, begun, lt)
            if after >= 0:
                begun = at = after
                continue
            inner = finder.tag(lt)
            if inner is None:
                self._check_malformed(lt)
                at = lt + 1
                continue
            found = inner[2].lower()
            if found in ("code", "alternative"):
                at = inner.end()
                continue
            pieces.append((text[begun:lt], False))
            return pieces, *self._ending(tag, name, inner)

    def _ending(self, tag: re.Match[str], name: str, inner: re.Match[str]) -> tuple[int, bool]:
        """Say where an element ends that meets the tag `inner`, and whether that closes it."""
        found = inner[2].lower()
        if inner[1] and found == name:
            return inner.end(), True
        if inner[1] and found != "event":
            self._issue("mismatched_close", f"</{found}> closes <{name}>", *inner.span())
            return inner.end(), True
        self._issue("unclosed_element", f"<{name}> is never closed", *tag.span())
        return inner.start(), False

    def _cdata(self, pieces: list[tuple[str, bool]], begun: int, lt: int) -> int:
        """Unwrap a CDATA section at `lt` into pieces; return its end, or -1 if there is none."""
        text = self._text
        if not text.startswith(grammar.CDATA, lt):
            if not self._final and grammar.CDATA.startswith(text[lt : lt + len(grammar.CDATA)]):
                raise IncompleteError
            return -1
        inside = lt + len(grammar.CDATA)
        close = self._finder.find("]]>", inside)
        if close < 0:
            if not self._final:
                raise IncompleteError
            return -1
        pieces += [(text[begun:lt], False), (text[inside:close], True)]
        return close + 3

    def _code_section(self, tag: re.Match[str], repeated: bool) -> int:
        """Read code word for word, to its own end or the event's."""
        finder, begun = self._finder, tag.end()
        own = finder.search(grammar.CODE_SECTION_CLOSE, begun)
        others = finder.search(grammar.EVENT_CLOSE, begun)
        if own is not None and (others is None or own.start() < others.start()):
            stop, end = own.start(), own.end()
        elif others is not None:
            stop = end = others.start()
            self._issue("unclosed_element", "<code_section> is never closed", *tag.span())
        elif self._final:
            stop, end = finder.size, -1
        else:
            raise IncompleteError
        if not repeated:
            attributes = grammar.read_attributes(tag[3])
            self.draft.values["code_section"] = unframe_code(self._text[begun:stop])
            self.draft.values["code_language"] = (
                attributes.get("lang") or attributes.get("language") or None
            )
        return end

    def _alternatives(self, tag: re.Match[str], name: str) -> int:
        """Read `<alternatives>`, or one `<alternative>` that stands alone."""
        finder, text = self._finder, self._text
        loose: list[tuple[str, bool]] = []  # what stands in <alternatives> itself
        one: list[tuple[str, bool]] = []  # what stands in the open <alternative>
        opened = tag if name == "alternative" else None
        tagged = opened is not None
        begun = at = tag.end()
        end = -1

        def finish_one() -> None:
            content = _join(one)
            if content:
                self.draft.alternatives.append(content)
            one.clear()

        while True:
            lt = finder.find("<", at)
            if lt < 0 and not self._final:
                raise IncompleteError
            pieces = loose if opened is None else one
            if lt < 0:
                pieces.append((text[begun:], False))
                break
            after = self._cdata(pieces, begun, lt)
            if after >= 0:
                begun = at = after
                continue
            inner = finder.tag(lt)
            found = None if inner is None else inner[2].lower()
            if inner is None or found == "code":
                self._check_malformed(lt)
                at = lt + 1
                continue
            pieces.append((text[begun:lt], False))
            begun = at = inner.end()
            if found != "alternative":
                if opened is not None and name == "alternatives":
                    self._issue("unclosed_element", "<alternative> is never closed", *opened.span())
                end, _ = self._ending(tag, name, inner)
                break
            if opened is not None and not inner[1]:
                self._issue("unclosed_element", "<alternative> is never closed", *opened.span())
            if opened is None and inner[1] and not tagged:
                end, _ = self._ending(tag, name, inner)
                break
            if opened is None and inner[1]:
                self._issue("stray_close", "</alternative> closes nothing", *inner.span())
            finish_one()
            opened = None if inner[1] or inner[3].endswith("/") else inner
            tagged = True
            if name == "alternative" and inner[1]:
                return begun
        finish_one()
        content = _join(loose)
        if not tagged:
            self.draft.alternatives += split_alternatives(content)
        elif content:
            self._loose.append(content)
            self._issue("loose_text", "text beside <alternative>", *tag.span())
        return end


def _join(pieces: list[tuple[str, bool]]) -> str:
    """Strip what stands at the edges, decode what is not CDATA, and join."""
    if len(pieces) == 1:
        return decode_entities(pieces[0][0].strip())
    last = len(pieces) - 1
    joined = []
    for place, (text, verbatim) in enumerate(pieces):
        if not verbatim:
            text = text.lstrip() if place == 0 else text
            text = decode_entities(text.rstrip() if place == last else text)
        joined.append(text)
    return "".join(joined)
