"""A block of a page that is a file, ```toml file="x.toml", says its name above it."""

import re

from sphinx.application import Sphinx

_FENCE = re.compile(r'^```(?P<language>\w+) file="(?P<name>[^"]+)".*$', re.M)


def name_files(app: Sphinx, docname: str, source: list[str]) -> None:
    """Make a code block with a caption of each block that names its file."""
    source[0] = _FENCE.sub("```{code-block} \\g<language>\n:caption: \\g<name>\n", source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Act when a page is read."""
    app.connect("source-read", name_files)
    return {"parallel_read_safe": True}
