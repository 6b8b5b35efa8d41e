"""Tables for people, in which a model's text stays text."""

import re
from collections.abc import Iterable, Sequence


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [list(columns), ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(markdown_cell(c) for c in line)} |" for line in lines)


def markdown_cell(text: str) -> str:
    """Return a text that stays within one cell and is no markup."""
    # An underscore within a word is no markup.
    marked = re.sub(r"[\\|`*<\[\]]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)
    return " ".join(marked.split())


def csv_cell(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula; numbers stay numbers."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return "" if value is None else value
