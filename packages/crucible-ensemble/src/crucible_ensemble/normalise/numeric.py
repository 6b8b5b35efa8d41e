"""Answers that are numbers."""

import re
import unicodedata
from fractions import Fraction

# A sign belongs to a number only where no letter, digit or bracket stands before it: 3-5 ends in 5.
_NUMBER = re.compile(
    r"(?<![\w.])"
    r"(?:(?<![\w)\].])(?P<sign>[+-])\s?)?[$€£¥]?(?P<sign2>-)?"
    r"(?P<whole>\d{1,3}(?:,\d{3})+(?![\d])|\d+)(?P<decimals>\.\d+)?(?:[eE](?P<exp>[+-]?\d{1,3}))?"
    r"(?:/(?P<den>\d+))?(?![^\W\d_])"
)
_MARKERS = (
    re.compile(r"####\s*(.+)"),
    re.compile(r"(?i)(?:\banswer\s*(?:is|:|=)|^a:)\s*(.+)", re.MULTILINE),
)
_FRACTION = re.compile(r"\\d?frac\{(-?\d+)\}\{(\d+)\}")


def numeric(text: str, /) -> str | None:
    r"""Return the answer of a calculation as an exact number.

    Notes
    -----
    The first that applies: last `#### n`; last `\boxed{n}`; last "answer is n", "answer: n" or
    line that begins with "A:"; last number in the text. 1,234.50 and 1234.5 are one key; a value
    without a terminating decimal is p/q.

    Examples
    --------
    >>> numeric("so 12 + 3 = 15. The answer is: $1,080.")
    '1080'
    """
    text = unicodedata.normalize("NFKC", text).replace("\N{MINUS SIGN}", "-")
    text = _FRACTION.sub(r"\1/\2", text)
    for marker in (_MARKERS[0], None, _MARKERS[1]):
        places = _boxed(text) if marker is None else marker.findall(text)
        for place in reversed(places):
            found = _numbers(place.replace("*", ""))
            if found:
                return found[0]
    found = _numbers(text)
    return found[-1] if found else None


def _boxed(text: str) -> list[str]:
    return re.findall(r"\\boxed\{([^{}]*)\}", text)


def _numbers(text: str) -> list[str]:
    keys = []
    for match in _NUMBER.finditer(text):
        value = Fraction(match["whole"].replace(",", "") + (match["decimals"] or ""))
        if match["exp"]:
            value *= Fraction(10) ** int(match["exp"])
        if match["den"]:
            if int(match["den"]) == 0:
                continue
            value /= int(match["den"])
        if "-" in (match["sign"], match["sign2"]):
            value = -value
        keys.append(_key(value))
    return keys


def _key(value: Fraction) -> str:
    """Return an integer, a terminating decimal, or p/q."""
    if value.denominator == 1:
        return str(value.numerator)
    rest, twos, fives = value.denominator, 0, 0
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    places = max(twos, fives)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
