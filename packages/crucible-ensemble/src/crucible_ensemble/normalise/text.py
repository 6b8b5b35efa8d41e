"""Answers that are words."""

import unicodedata

_EDGES = " \t\n\r\"'`.,;:!?()[]{}*_"


def exact(text: str, /) -> str | None:
    """Return the text unchanged; None if it is empty."""
    return text or None


def text(text: str, /) -> str | None:
    """Return the text folded: NFKC, case, white space, outer quotes and punctuation."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split()).strip(_EDGES)
    return folded or None
