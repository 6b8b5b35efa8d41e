"""A guide that the front page does not name gets its place at the end of the guides."""

from pathlib import Path

from sphinx.application import Sphinx

PLACE = "(every other guide)\n"


def add_others(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the guides that are not named where the front page leaves room for them."""
    if docname != app.config.root_doc:
        return
    lines = (line.strip() for line in source[0].splitlines())
    named = {line.rpartition("<")[2].removesuffix(">") for line in lines}
    guides = sorted(page.stem for page in Path(app.env.doc2path(docname)).parent.glob("*.md"))
    others = [guide for guide in guides if guide not in named and guide != "index"]
    assert PLACE in source[0], f"{docname} has no line {PLACE!r}"
    source[0] = source[0].replace(PLACE, "".join(f"{guide}\n" for guide in others))


def setup(app: Sphinx) -> dict[str, bool]:
    """Act when the front page is read, and read it each time."""
    app.connect("source-read", add_others)
    app.connect("env-get-outdated", lambda app, env, *_: [app.config.root_doc])
    return {"parallel_read_safe": True}
