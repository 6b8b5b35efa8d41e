"""Words and characters that the exports share."""

import re

CAVEAT = "Reasons marked self-report are what the model said, not proof of why."
SOURCE_NAMES: dict[str, str] = {
    "self_report": "self-report",
    "system_observed": "observed",
    "intervention": "intervention",
}
_UNSPEAKABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def replace_unspeakable(text: str) -> str:
    """Replace control characters and lone surrogates, which few formats can hold, by U+FFFD."""
    return _UNSPEAKABLE.sub("\ufffd", text)
