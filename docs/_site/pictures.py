"""A picture `x-light.png` is shown in the light theme, its sibling `x-dark.png` in the dark one."""

import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx


def pair(app: Sphinx, document: nodes.document) -> None:
    """Put the dark sibling of each light picture beside it."""
    folder = Path(app.env.doc2path(app.env.docname)).parent
    for light in list(document.findall(nodes.image)):
        uri = light["uri"]
        dark = re.sub(r"-light(?=\.(svg|png)$)", "-dark", uri)
        if dark == uri or not (folder / dark).is_file():
            continue
        other = light.deepcopy()
        other["uri"] = dark
        light["classes"].append("only-light")
        other["classes"].append("only-dark")
        light.parent.insert(light.parent.index(light) + 1, other)


def setup(app: Sphinx) -> dict[str, bool]:
    """Run before Sphinx collects the files that pages show."""
    app.connect("doctree-read", pair, priority=1)
    return {"parallel_read_safe": True}
