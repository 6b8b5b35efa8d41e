"""Put a chain, the viewer's script and its style into one file."""

import base64
import hashlib
import os
import re
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Literal, get_args

from crucible_causaltrace.chain import Chain
from crucible_causaltrace.exports.wording import CAVEAT, replace_unspeakable
from crucible_causaltrace.seals import Seal
from crucible_causaltrace.tracing import span
from crucible_causaltrace.viewer.payload import pack

Theme = Literal["auto", "light", "dark"]

# The viewer's script, one idea a file, in the order in which they are read and run.
_SCRIPTS = (
    "names",
    "data",
    "wording",
    "filters",
    "timeline",
    "list",
    "detail",
    "overview",
    "graph",
    "commands",
    "start",
)
_PLACEHOLDER = re.compile(r"\{\{([a-z]+)\}\}")


def render_html(
    chain: Chain, *, title: str | None = None, theme: Theme = "auto", seal: Seal | None = None
) -> str:
    """Draw a chain as one HTML page that makes no request and runs no text of the chain.

    Parameters
    ----------
    chain : Chain
    title : str, optional
        The chain's task by default.
    theme : {"auto", "light", "dark"}
        "auto" follows the reader's system.
    seal : Seal, optional
        The page says whether the chain was the sealed one when the page was made, and shows the
        head. A seal with a key is shown and not checked.

    Returns
    -------
    str
        The same for the same chain, byte for byte.

    Raises
    ------
    ValueError
        If the theme is not known.
    """
    if theme not in get_args(Theme):
        raise ValueError(f"`theme` must be one of {get_args(Theme)}, got {theme!r}")
    from importlib.resources import files

    folder = files("crucible_causaltrace.viewer")
    style = (folder / "viewer.css").read_text("utf-8")
    parts = [(folder / "script" / f"{name}.js").read_text("utf-8") for name in _SCRIPTS]
    # One function around all of it: the page's names stay out of the browser's.
    script = '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"
    template = (folder / "viewer.html").read_text("utf-8")
    with span("render") as current:
        shown = chain.task if title is None else title
        filled = {
            "policy": escape(_policy(script=script, style=style)),
            "title": escape(replace_unspeakable(shown)) or "Trace",
            "theme": theme,
            "caveat": escape(CAVEAT),
            "style": style,
            "script": script,
            "payload": pack(chain, title=shown, seal=seal),
        }
        # In one pass: a title that looks like a placeholder stays what it is.
        page = _PLACEHOLDER.sub(lambda match: filled[match[1]], template)
        current.set_attribute("crucible.causaltrace.events", len(chain))
        current.set_attribute("crucible.causaltrace.bytes", len(page))
    return page


def open_visualization(
    chain: Chain,
    *,
    path: str | os.PathLike[str] | None = None,
    browser: bool = True,
    title: str | None = None,
    theme: Theme = "auto",
    seal: Seal | None = None,
) -> Path:
    """Write the page of `render_html` and show it.

    Parameters
    ----------
    chain : Chain
    path : path, optional
        Where to write; by default a new directory that only the user can read.
    browser : bool
        Open it. That no browser is there is no failure.
    title, theme, seal
        See `render_html`.

    Returns
    -------
    Path
        The file.
    """
    page = render_html(chain, title=title, theme=theme, seal=seal)
    if path is None:
        import tempfile

        place = Path(tempfile.mkdtemp(prefix="crucible-trace-")) / "trace.html"
    else:
        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(page.encode("utf-8"))
    if browser:
        import webbrowser

        # Where no browser is, the file is still what was asked for.
        with suppress(OSError, webbrowser.Error):
            webbrowser.open(place.resolve().as_uri())
    return place


def _policy(*, script: str, style: str) -> str:
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
