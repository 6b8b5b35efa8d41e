"""Files that a reader finds old or new, never half written."""

from pathlib import Path


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file beside its old self, then put it in its place.

    Text is written as UTF-8; a lone surrogate, which UTF-8 cannot hold, becomes an escape.
    """
    if isinstance(content, str):
        content = content.encode("utf-8", "backslashreplace")
    temporary = path.with_name(f".{path.name}.writing")
    temporary.write_bytes(content)
    temporary.replace(path)
