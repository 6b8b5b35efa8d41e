"""Answers that are programs."""

import ast
import re
import warnings

_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[^\n]*\n(.*?)^[ \t]*\1[ \t]*$", re.MULTILINE | re.DOTALL)


def code(text: str, /) -> str | None:
    """Return the syntax tree of the last fenced block, or of the whole text, as Python.

    Layout and comments play no part. None if it cannot be parsed, or is empty.

    Examples
    --------
    >>> code("x=1  # one") == code("x = 1")
    True
    """
    block = last_block(text)
    source = text if block is None else block
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            tree = ast.parse(source.expandtabs(8).strip("\n") if block is None else source)
        return ast.dump(tree) if tree.body else None
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None


def last_block(text: str) -> str | None:
    """Return the inside of the last fenced block; an unclosed one reaches to the end."""
    fence, start, found = None, 0, None
    for match in re.finditer(r"^[ \t]*(```+|~~~+)([^\n]*)\n?", text, re.MULTILINE):
        if fence is None:
            fence, start = match[1], match.end()
        elif match[1].startswith(fence) and not match[2].strip():
            found, fence = text[start : match.start()], None
    return text[start:] if fence is not None and found is None else found
