"""Numbers as readers see them: formatted once, printed the same by every renderer."""

import math
from dataclasses import dataclass

MINUS = "\N{MINUS SIGN}"
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One number of a report.

    `number` is what was computed (None = unknown), `text` what is printed, in every format alike.
    """

    id: str
    number: float | None
    unit: str
    text: str

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-safe mapping."""
        return {"id": self.id, "number": self.number, "unit": self.unit, "text": self.text}


def fixed(
    id: str, number: float | None, *, digits: int = 3, unit: str = "", signed: bool = False
) -> Value:
    """Return a value with a fixed number of decimals; an infinite bound prints as a sign."""
    if number is None or math.isnan(number):
        return Value(id=id, number=None, unit=unit, text=UNKNOWN)
    if math.isinf(number):
        text = "∞" if number > 0 else f"{MINUS}∞"
        return Value(id=id, number=None, unit=unit, text=text)
    text = f"{number:+.{digits}f}" if signed else f"{number:.{digits}f}"
    if float(text) == 0:  # neither "-0.000" nor "+0.000"
        text = f"{0:.{digits}f}"
    return Value(id=id, number=float(number), unit=unit, text=text.replace("-", MINUS))


def count(id: str, number: int | None, *, unit: str = "") -> Value:
    """Return a whole number with thousands separated by commas."""
    text = UNKNOWN if number is None else f"{number:,}".replace("-", MINUS)
    return Value(id=id, number=number, unit=unit, text=text)


def p_value(id: str, number: float | None) -> Value:
    """Return a p-value in APA style: no leading zero, four decimals below .01, `< .0001`."""
    if number is None or math.isnan(number):
        return Value(id=id, number=None, unit="", text=UNKNOWN)
    if number < 0.0001:
        return Value(id=id, number=number, unit="", text="< .0001")
    digits = 4 if number < 0.01 else 3
    text = f"{number:.{digits}f}"
    return Value(id=id, number=number, unit="", text=text.removeprefix("0"))


def seconds(id: str, number: float | None) -> Value:
    """Return a duration with three significant digits, in seconds or milliseconds."""
    if number is None:
        return Value(id=id, number=None, unit="s", text=UNKNOWN)
    if number == math.inf:
        return Value(id=id, number=None, unit="s", text="> timeout")
    if number < 0.9995:
        return Value(id=id, number=number, unit="s", text=f"{_significant(number * 1000)} ms")
    return Value(id=id, number=number, unit="s", text=f"{_significant(number)} s")


def dollars(id: str, number: float | None) -> Value:
    """Return US dollars: cents above a dollar, four significant digits below."""
    if number is None:
        return Value(id=id, number=None, unit="USD", text=UNKNOWN)
    if number == 0 or number >= 1:
        text = f"${number:,.2f}"
    else:
        text = f"${number:.{max(2, 3 - math.floor(math.log10(number)))}f}"
    return Value(id=id, number=number, unit="USD", text=text)


def measured(
    id: str, number: float | None, *, unit: str, digits: int = 3, signed: bool = False
) -> Value:
    """Return a value in the way its unit is usually printed."""
    if unit == "s" and not signed:
        return seconds(id, number)
    if unit == "USD" and not signed:
        return dollars(id, number)
    if unit in ("s", "USD"):
        return fixed(id, number, digits=4, unit=unit, signed=signed)
    if unit in ("tokens", "calls"):
        return fixed(id, number, digits=1, unit=unit, signed=signed)
    return fixed(id, number, digits=digits, unit=unit, signed=signed)


def to_plain(text: "tuple[str | Value, ...]") -> str:
    """Return a run of text as one string, without markup."""
    return "".join(part if isinstance(part, str) else part.text for part in text)


def parts_to_json(text: "tuple[str | Value, ...]") -> list[object]:
    """Return a run of text as JSON: strings, and mappings for values."""
    return [part if isinstance(part, str) else part.to_dict() for part in text]


def _significant(number: float) -> str:
    """Return three significant digits without an exponent."""
    if number == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(number))))
    return f"{number:,.{digits}f}"
