"""Docstrings are written to be read in an editor; here they become clean reStructuredText."""

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform


def numbers(lines: list[str]) -> list[str]:
    """Return a docstring whose references `.. [1]` and `[1]_` are text.

    A page holds many docstrings, and a footnote's number must be unique in a page.
    """
    result: list[str] = []
    within: int | None = None  # a reference that stands as far to the right
    for line in lines:
        begun = re.match(r"(\s*)\.\. \[(\d+)\] ", line)
        if begun:
            within = len(begun[1])
            line = f"{begun[1]}* \\[{begun[2]}] {line[begun.end() :]}"
        elif within is not None and line.strip() and line.startswith(" " * (within + 1)):
            line = f"{' ' * (within + 2)}{line.strip()}"
        else:
            within = None
        result.append(re.sub(r"\[(\d+)\]_", r"\\[\1]", line))
    return result


def bars(lines: list[str]) -> list[str]:
    """Return a docstring in which |x| is an absolute value, not a substitution."""
    return [re.sub(r"\|(\w[\w ]*)\|", r"\\|\1\\|", line) for line in lines]


def trees(lines: list[str]) -> list[str]:
    """Return a module's docstring whose indented paragraphs (trees of errors) keep their lines."""
    result: list[str] = []
    paragraph: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            paragraph.append(line)
            continue
        if any(follower.startswith(" ") for follower in paragraph[1:]):
            result += [".. code-block:: text", "", *("   " + part for part in paragraph)]
        else:
            result += paragraph
        result.append("")
        paragraph = []
    return result


def clean(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Rewrite a docstring in place."""
    new = bars(numbers(lines))
    lines[:] = trees(new) if what == "module" else new


def readable(
    app: Sphinx, what: str, name: str, obj: object, options: object,
    signature: str | None, returns: str | None,
) -> tuple[str, str | None] | None:  # fmt: skip
    """Return a signature whose defaults can all be read as Python, so that Sphinx can format it."""
    if signature is None:
        return None
    signature = re.sub(r"(~typing\.)?~([A-Z]\w*)\b", r"\2", signature)  # of a ParamSpec
    return re.sub(r"<[^<>]*>", "...", signature), returns


class WithinThePackage(SphinxPostTransform):
    """A type that a docstring names leads to the package's own class, or is plain text.

    Sphinx would look through all packages and take an equal name from a neighbour.
    """

    default_priority = 5  # before Sphinx resolves references

    def run(self, **kwargs: object) -> None:
        """Give each reference to a Python name its full name."""
        docname = self.env.docname
        if not docname.startswith("docs/reference/") or docname.endswith("/index"):
            return
        package = "crucible_" + docname.rpartition("/")[2]
        known = self.env.domains.python_domain.objects
        own = [(n, o.objtype) for n, o in known.items() if n.startswith(package + ".")]
        classes = {"class", "exception", "function"}
        for reference in list(self.document.findall(addnodes.pending_xref)):
            if reference.get("refdomain") != "py":
                continue
            last = reference["reftarget"].rpartition(".")[2]
            fits = [n for n, kind in own if kind in classes and n.rpartition(".")[2] == last]
            if fits:
                reference["reftarget"] = min(fits, key=lambda n: (n.count("."), n))
                reference["refspecific"] = False
                reference.attributes.pop("py:module", None)
                reference.attributes.pop("py:class", None)
            else:
                reference.replace_self(reference.children or nodes.Text(last))


def setup(app: Sphinx) -> dict[str, bool]:
    """Clean before napoleon reads the sections."""
    app.connect("autodoc-process-docstring", clean, priority=100)
    app.connect("autodoc-process-signature", readable)
    app.add_post_transform(WithinThePackage)
    return {"parallel_read_safe": True}
