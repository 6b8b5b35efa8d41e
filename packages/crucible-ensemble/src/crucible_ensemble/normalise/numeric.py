"""Answers that are numbers."""

import re
import unicodedata
from collections.abc import Iterator
from fractions import Fraction

# A sign belongs to a number only where no letter, digit or bracket stands before it: 3-5 ends in 5.
# Possessive quantifiers keep the search linear; what they take is taken apart below.
_NUMBER = re.compile(
    r"(?<![\w.])(?<!\d,)"
    r"(?:(?<![\w)\].])(?P<sign>[+-]))?(?:[$€£¥](?P<sign2>-)?)?"
    r"(?P<whole>\d(?:,?\d)*+)(?P<decimals>\.\d++)?(?:[eE](?P<exp>[+-]?\d{1,3}+)(?!\d))?"
    r"(?:/(?P<den>\d++))?(?![^\W\d_])"
)
_POINT = re.compile(r"(?<![\w.])(?P<sign>(?<![\w)\].])-)?(?P<decimals>\.\d++)(?![\w.])")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+")
_HASHES = re.compile(r"####\s*(.+)")
_ANSWER = re.compile(r"(?i)(?:\banswer\s*(?:is|:|=)|^a:)\s*(.+)", re.MULTILINE)
_FRACTION = re.compile(r"(-?)\\[dt]?frac\{(-?\d{1,300})\}\{(\d{1,300})\}")
# No answer has more digits; longer runs are identifiers, and slow to convert.
_MOST_DIGITS = 300


def numeric(text: str, /) -> str | None:
    r"""Return the answer of a calculation as an exact number.

    Notes
    -----
    The first that applies: last `#### n`; last `\boxed{n}`; last "answer is n", "answer: n" or
    line that begins with "A:"; last number in the text. 1,234.50 and 1234.5 are one key; a value
    without a terminating decimal is p/q. A percent sign is ignored.

    Examples
    --------
    >>> numeric("so 12 + 3 = 15. The answer is: $1,080.")
    '1080'
    """
    text = unicodedata.normalize("NFKC", text.replace("\N{VULGAR FRACTION ONE HALF}", " 1/2"))
    text = text.replace("\N{MINUS SIGN}", "-").replace("\N{FRACTION SLASH}", "/")
    text = _FRACTION.sub(r"\1\2/\3", text).replace("\\$", "$").replace("\\,", "")
    for places in (_HASHES.findall(text), boxed(text), _ANSWER.findall(text)):
        for place in reversed(places):
            found = next(_numbers(place.replace("*", "")), None)
            if found is not None:
                return found
    last = None
    for last in _numbers(text):  # noqa: B007 - the last one is wanted
        pass
    return last


def boxed(text: str) -> list[str]:
    r"""Return what stands in each `\boxed{...}`, braces balanced."""
    found = []
    start = text.find("\\boxed{")
    while start >= 0:
        depth, place = 1, start + 7
        while place < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[place], 0)
            place += 1
        if depth:
            break  # never closed
        found.append(text[start + 7 : place - 1])
        start = text.find("\\boxed{", place)
    return found


def _numbers(text: str) -> Iterator[str]:
    matches = [(m.start(), m) for m in _NUMBER.finditer(text)]
    points = [(m.start(), m) for m in _POINT.finditer(text)]
    if points:
        matches = sorted([*matches, *points], key=lambda pair: pair[0])
    for _, match in matches:
        yield from _keys(match.groupdict())


def _keys(parts: dict[str, str | None]) -> Iterator[str]:
    """Yield the numbers of one run of digits and commas: 1,234 is one, 3,4 are two."""
    whole = parts.get("whole") or "0"
    pieces = [whole.replace(",", "")] if _THOUSANDS.fullmatch(whole) else whole.split(",")
    decimals, den = parts["decimals"] or "", parts.get("den")
    negative = "-" in (parts["sign"], parts.get("sign2"))
    for place, digits in enumerate(pieces):
        last = place == len(pieces) - 1
        tail = decimals if last else ""
        if len(digits) + len(tail) + len(den or "") > _MOST_DIGITS:
            continue
        value = Fraction(digits + tail)
        if last and parts.get("exp"):
            value *= Fraction(10) ** int(parts["exp"] or 0)
        if last and den:
            if int(den) == 0:
                continue
            value /= int(den)
        yield _key(-value if negative and place == 0 else value)


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
