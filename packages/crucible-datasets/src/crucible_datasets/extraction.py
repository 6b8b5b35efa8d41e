"""From a model's text to the answer in it."""

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from crucible_datasets.items import Task

# A sign belongs to a number only where no letter, digit or bracket stands before it: 20-5 is 5.
_NUMBER = re.compile(
    r"(?<![\w.])(?:(?<![\w.)])(?P<sign>[+-])\s?)?[$€£¥]?(?P<sign2>-)?"
    r"(?P<whole>\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?P<decimals>\.\d+)?(?:[eE](?P<exp>[+-]?\d{1,3}))?"
    r"(?:/(?P<den>\d+))?(?![^\W\d_])"
)
_HASHES = re.compile(r"####\s*(.+)")
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_SAID = re.compile(r"(?i)(?:\banswer\s*(?:is|:|=)|^a:)\s*(.+)", re.MULTILINE)
_FRACTION = re.compile(r"\\d?frac\{(-?\d+)\}\{(\d+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """What was read: `value` None = not found, `method` says by which rule."""

    value: Any
    method: str


def extract(text: str, *, task: Task) -> Extraction:
    """Read the answer out of a text.

    Parameters
    ----------
    text : str
    task : str
        "math" reads a number: after the last `####`, in the last box, after the last "answer is",
        else the last number; its value is an exact Fraction. Other tasks compare folded text.

    Examples
    --------
    >>> extract("20-5 = 15", task="math").value
    Fraction(15, 1)
    """
    if task != "math":
        folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split()).strip(" .")
        return Extraction(value=folded or None, method="text")
    text = unicodedata.normalize("NFKC", text).replace("\N{MINUS SIGN}", "-")
    text = _FRACTION.sub(r"\1/\2", text)
    for method, rule in (("hashes", _HASHES), ("boxed", _BOXED), ("answer is", _SAID)):
        for place in reversed(rule.findall(text)):
            found = _numbers(place.replace("*", ""))
            if found:
                return Extraction(value=found[0], method=method)
    found = _numbers(text)
    return Extraction(value=found[-1] if found else None, method="last number" if found else "none")


def is_right(value: Any, expected: Any, *, task: Task) -> bool:
    """Say whether an extracted value equals the reference; None never does."""
    if value is None:
        return False
    reference = extract(str(expected), task=task).value
    return bool(reference is not None and value == reference)


def _numbers(text: str) -> list[Fraction]:
    found = []
    for match in _NUMBER.finditer(text):
        value = Fraction(match["whole"].replace(",", "") + (match["decimals"] or ""))
        if match["exp"]:
            value *= Fraction(10) ** int(match["exp"])
        if match["den"]:
            if int(match["den"]) == 0:
                continue
            value /= int(match["den"])
        found.append(-value if "-" in (match["sign"], match["sign2"]) else value)
    return found
