"""Texts as they are compared: what is written differently may be the same."""

import re
import unicodedata

_JOINTS = re.compile(r"[\W_]+")


def fold(text: str) -> str:
    """Fold a text for comparison: NFKC, case, white space and punctuation.

    A text of nothing but signs is compared as it is: "+" and "-" are different options.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_JOINTS.sub(" ", plain).split()) or " ".join(plain.split())
