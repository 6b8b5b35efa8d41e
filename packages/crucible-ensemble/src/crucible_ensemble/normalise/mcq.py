"""Answers that are letters."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from crucible_ensemble.normalise.numeric import boxed

_WHOLE = re.compile(r"^[\s\"'*_(\[]*([A-Za-z])[\s\"'*_)\].:]*$")
_MARKER = re.compile(r"(?i)\banswer\s*(?:is|:|=)")
_AFTER = re.compile(
    r"(?i:\s*(?P<not>not\b)?\s*(?:(?:option|choice)\s+)?)[\s*:_\"'(\[]*(?P<letter>[A-Za-z])(?![\w'])"
    r"(?P<word>\s+[a-z]++)?"
)
_LONE = re.compile(r"(?<![\w'])(?P<letter>[A-Z])(?![\w'])(?P<word>\s+[a-z]++)?")
_DENIED = re.compile(r"(?i)\b(?:is|are|be)\s+not\s+[\"'(\[*]*(?P<letter>[A-Z])(?![\w'])")
_JOINS = frozenset({"or", "and", "nor", "is"})


@dataclass(frozen=True, slots=True)
class Mcq:
    """Reads the letter of a multiple-choice answer.

    Attributes
    ----------
    options : int, in [2, 26]
        Letters from A on.
    choices : tuple of str
        The texts of the choices, in their order: an answer that contains exactly one of them
        means its letter.

    Notes
    -----
    The first that applies: the whole text is one letter; the last boxed letter; the last "answer
    is X" or "answer: X" ("answer is not X" is none, and A before a lower-case word is an article);
    the only lone capital; the only choice that is contained. Several different capitals without a
    marker are no answer.
    """

    options: int = 4
    choices: tuple[str, ...] = ()
    name: ClassVar[str] = "mcq"

    def __post_init__(self) -> None:
        if not 2 <= self.options <= 26:
            raise ValueError(f"`options` must be in [2, 26], got {self.options}")
        if self.choices and len(self.choices) != self.options:
            raise ValueError(f"`choices` must be {self.options} texts, got {len(self.choices)}")

    def __call__(self, text: str, /) -> str | None:
        """Return a capital letter, or None."""
        text = unicodedata.normalize("NFKC", text)
        letters = self.letters()
        whole = _WHOLE.match(text)
        if whole is not None:
            return _within(whole[1], letters)
        for place in reversed(boxed(text)):
            inner = _WHOLE.match(place.replace("\\text", "").strip("{}"))
            if inner is not None and inner[1].upper() in letters:
                return inner[1].upper()
        marked = self._marked(text, letters)
        if marked is not None:
            return marked
        denied = {m["letter"].upper() for m in _DENIED.finditer(text)}
        found = [m for m in _LONE.finditer(text) if m["letter"] in letters and not _is_word(m)]
        lone = {m["letter"] for m in found} - denied
        if len(lone) == 1:
            return lone.pop()
        return None if lone else self._contained(text, letters)

    def letters(self) -> str:
        """Return the letters that are options, such as "ABCD"."""
        return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: self.options]

    def _marked(self, text: str, letters: str) -> str | None:
        for marker in reversed(list(_MARKER.finditer(text))):
            after = _AFTER.match(text, marker.end())
            if after is None or after["not"] or _is_word(after):
                continue
            letter = _within(after["letter"], letters)
            if letter is not None:
                return letter
        return None

    def _contained(self, text: str, letters: str) -> str | None:
        said = " ".join(text.casefold().split())
        found = [
            letter
            for letter, choice in zip(letters, self.choices, strict=False)
            if _holds(said, " ".join(choice.casefold().split()))
        ]
        return found[0] if len(found) == 1 else None


def mcq(options: int = 4, *, choices: Sequence[str] = ()) -> Mcq:
    """Return a reader of multiple-choice letters; see `Mcq`."""
    return Mcq(len(choices) if choices else options, tuple(choices))


def _within(letter: str, letters: str) -> str | None:
    return letter.upper() if letter.upper() in letters else None


def _is_word(match: re.Match[str]) -> bool:
    """Say whether A is an article, or I a pronoun: a word in small letters follows."""
    word = match["word"]
    return word is not None and match["letter"] in "AaIi" and word.strip() not in _JOINS


def _holds(text: str, part: str) -> bool:
    if not part:
        return False
    at = text.find(part)
    while at >= 0:
        before, after = text[at - 1 : at], text[at + len(part) : at + len(part) + 1]
        if not (before.isalnum() or after.isalnum()):
            return True
        at = text.find(part, at + 1)
    return False
