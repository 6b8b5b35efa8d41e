"""Numbers as people write them, read as exact fractions."""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

# A sign belongs to a number only where no letter, digit, point or bracket stands before it: in
# "20-5" the 5 is positive. Runs of more than 400 digits are not numbers that anybody meant.
_NUMBER = re.compile(
    r"(?P<sign>(?<![\w.)])[+-])?(?:[$€£¥]\s?(?P<sign2>[+-])?)?"
    r"(?P<whole>\d{1,3}(?:,\d{3})+(?!\d)|\d+|(?<![\w.])(?=\.\d))(?P<decimals>\.\d+)?"
    r"(?:[eE](?P<exponent>[+-]?\d{1,3})(?!\w))?"
)
_OVER = re.compile(r"\s?/\s?(\d{1,400})(?![\d/])")


class Number(NamedTuple):
    """A number and where it stands."""

    value: Fraction
    start: int
    end: int


def numbers(text: str, *, fractions: bool = False) -> Iterator[Number]:
    """Yield the numbers of a text, in order.

    Parameters
    ----------
    text : str
        Already normalised (NFKC, ASCII minus).
    fractions : bool
        Read "3/4" as one number instead of two.
    """
    position = 0
    while (match := _NUMBER.search(text, position)) is not None:
        position = match.end()
        digits = match["whole"].replace(",", "") + (match["decimals"] or "")
        if len(digits) > 400:
            continue
        value = Fraction(digits)
        if match["exponent"]:
            value *= Fraction(10) ** int(match["exponent"])
        end = match.end()
        if fractions and (over := _OVER.match(text, end)) and int(over[1]) != 0:
            value, end = value / int(over[1]), over.end()
        position = end
        negative = "-" in (match["sign"], match["sign2"])
        yield Number(-value if negative else value, match.start(), end)
