"""The tags, and a way to look for them that never walks over the same text twice.

Every pattern here is possessive or bounded: none backtracks, whatever the input.
"""

import re

FIELDS = (
    "decision",
    "alternatives",
    "reasoning",
    "confidence",
    "code_section",
    "spec_reference",
    "metadata",
)
CDATA = "<![CDATA["
COMMENT = "<!--"

_BLANK = r"[ \t\r\n\f]"
_FLAGS = re.IGNORECASE | re.ASCII
_NAMES = "|".join(("event", "code", "alternative", *FIELDS))
_REST = r"((?:[ \t\r\n\f/][^<>]*+)?+)>"

# Groups: "/" of a closing tag, name, attributes.
TAG = re.compile(rf"<(/?)({_NAMES}){_REST}", _FLAGS)
EVENT_HEAD = re.compile(r"<event(?:(?=[ \t\r\n\f/])|\Z)", _FLAGS)
KNOWN_HEAD = re.compile(rf"</?(?:{_NAMES})(?=[ \t\r\n\f/])", _FLAGS)
LONGEST_HEAD = len("</spec_reference ")

EVENT_OPEN = re.compile(rf"<event{_REST}", _FLAGS)
EVENT_CLOSE = re.compile(rf"</event{_REST}", _FLAGS)
CODE_CLOSE = re.compile(rf"</code{_REST}", _FLAGS)
CODE_SECTION_CLOSE = re.compile(rf"</code_section{_REST}", _FLAGS)

_ATTRIBUTE = re.compile(
    r"([A-Za-z_][A-Za-z0-9_.:-]*+)"
    rf"(?:{_BLANK}*+={_BLANK}*+(?:\"([^\"]*+)\"?|'([^']*+)'?|([^ \t\r\n\f\"']++)))?+"
)

FENCE = re.compile(r"^ {0,3}+(`{3,}+|~{3,}+)", re.MULTILINE)
BARE_FENCE = re.compile(r"^ {0,3}+(`{3,}+|~{3,}+)[ \t]*+\r?$", re.MULTILINE)
FENCE_BEGUN = re.compile(r"^ {0,3}(?:`{0,2}|~{0,2})\Z", re.MULTILINE)
# A fence with one of these info strings, around tags, is the wrapping of a whole answer.
WRAPPINGS = frozenset({"", "xml", "html", "text", "markdown"})
WRAPPED = re.compile(r"<(?:event|code)(?=[ \t\r\n\f/>])|<!--", _FLAGS)
WHITESPACE = re.compile(rf"{_BLANK}*+")
COMMENT_PAIR = re.compile(r"[ \t]*+([A-Za-z][A-Za-z0-9_.-]*+)[ \t]*+:(?!//)(.*+)")

_ENTITY = re.compile(r"&(?:(lt|gt|amp|quot|apos)|#([0-9]{1,7})|#[xX]([0-9a-fA-F]{1,6}));")
_NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}


def decode_entities(text: str) -> str:
    """Decode the five named entities and character references, once; others stay."""
    if "&" not in text:
        return text
    return _ENTITY.sub(_decode_one, text)


def _decode_one(match: re.Match[str]) -> str:
    named, decimal, hexadecimal = match.groups()
    if named is not None:
        return _NAMED[named]
    number = int(decimal) if decimal is not None else int(hexadecimal, 16)
    scalar = 0 < number < 0xD800 or 0xDFFF < number < 0x110000
    return chr(number) if scalar else match[0]


def read_attributes(source: str) -> dict[str, str]:
    """Read a tag's attributes: any order, quoted or bare, names lower-cased, the first one wins."""
    found: dict[str, str] = {}
    for name, double, single, bare in _ATTRIBUTE.findall(source):
        found.setdefault(name.lower(), decode_entities(double or single or bare.rstrip("/")))
    return found


class Finder:
    """Search one text; what was found, or is not there, is remembered by position.

    `examined` counts the characters that were looked at.
    """

    __slots__ = ("_found", "examined", "size", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.size = len(text)
        self.examined = 0
        self._found: dict[object, tuple[int, int, re.Match[str] | None]] = {}

    def find(self, needle: str, at: int) -> int:
        """Return where `needle` next begins, or -1."""
        known = self._found.get(needle)
        if known is not None and known[0] <= at and (known[1] < 0 or at <= known[1]):
            return known[1]
        found = self.text.find(needle, at)
        self.examined += (self.size if found < 0 else found) - at
        self._found[needle] = (at, found, None)
        return found

    def search(self, pattern: re.Pattern[str], at: int) -> re.Match[str] | None:
        """Return the next match of `pattern` that begins at `at` or later."""
        known = self._found.get(pattern)
        if known is not None and known[0] <= at and (known[1] < 0 or at <= known[1]):
            return known[2]
        match = pattern.search(self.text, at)
        self.examined += (self.size if match is None else match.end()) - at
        self._found[pattern] = (at, -1 if match is None else match.start(), match)
        return match

    def tag(self, at: int) -> re.Match[str] | None:
        """Return the tag whose `<` stands at `at`, if it is one."""
        match = TAG.match(self.text, at)
        if match is not None:
            self.examined += match.end() - at
        elif KNOWN_HEAD.match(self.text, at):
            following = self.find("<", at + 1)
            self.examined += (self.size if following < 0 else following) - at
        return match
