"""Answers that are yes or no."""

import re
import unicodedata
from itertools import pairwise

_MARKER = re.compile(r"\banswer\s*(?:is|:|=)")
_WORD = re.compile(r"[a-z']+")
_TRUE = frozenset({"yes", "true", "correct"})
_FALSE = frozenset({"no", "false", "incorrect", "untrue"})
_UNSURE = frozenset(
    {"maybe", "perhaps", "possibly", "probably", "unsure", "uncertain", "unknown", "unclear",
     "depends", "cannot", "can't"}
)  # fmt: skip
_JOINS = frozenset({"and", "or", "nor"})


def boolean(text: str, /) -> str | None:
    """Return "true" or "false"; None for neither, for doubt and for contradictions.

    Notes
    -----
    Read is what follows the last "answer is" or "answer:", else how the text begins. "Not true"
    and "untrue" are false, "not false" is true; "yes and no" is neither.

    Examples
    --------
    >>> boolean("Not true."), boolean("yesterday"), boolean("The answer is yes.")
    ('false', None, 'true')
    """
    folded = unicodedata.normalize("NFKC", text).casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")  # noqa: E501 # fmt: skip
    for marker in reversed(list(_MARKER.finditer(folded))):
        value = _read(_first_words(folded, marker.end()))
        if value is not None or _is_about_truth(_first_words(folded, marker.end())):
            return value
    return _read(_first_words(folded, 0))


def _first_words(text: str, start: int) -> list[str]:
    """Return the first words of the sentence that starts here; 8 are enough."""
    words: list[str] = []
    for match in _WORD.finditer(text, start):
        between = text[start : match.start()]
        if words and any(mark in between for mark in ".!?;\n"):
            break
        words.append(match[0].strip("'"))
        start = match.end()
        if len(words) == 8:
            break
    return words


def _is_about_truth(words: list[str]) -> bool:
    return any(w in _TRUE | _FALSE | _UNSURE for w in words)


def _read(words: list[str]) -> str | None:
    if not words or any(word in _UNSURE for word in words):
        return None
    negated = words[0] == "not"
    if negated:
        words = words[1:]
    if words[:1] in (["sure"], ["certain"]) or not words:
        return None
    value = _truth(words[0])
    if value is None:
        return None
    for joint, other in pairwise(words[1:]):
        if joint in _JOINS and _truth(other) is (not value):
            return None  # yes and no
    if len(words) > 1 and _truth(words[1]) is (not value):
        return None  # yes/no
    return "true" if value is not negated else "false"


def _truth(word: str) -> bool | None:
    return True if word in _TRUE else False if word in _FALSE else None
