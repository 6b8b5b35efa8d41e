"""The directives `reference` and `reference-list`: public names, from their docstrings.

Public is what the package's root offers, and the modules that its README or a guide speaks of.
"""

import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType

from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parent.parent.parent


def modules(package: str) -> list[str]:
    """Return the modules that the documentation of a package speaks of, sorted."""
    distribution = package.replace("_", "-")
    source = ROOT / "packages" / distribution / "src"
    pages = [ROOT / "packages" / distribution / "README.md", *(ROOT / "docs").rglob("*.md")]
    spoken = {f"{package}.errors", f"{package}.testing"}
    for page in pages:
        spoken |= set(re.findall(rf"\b{package}(?:\.[a-z_]+)+", page.read_text(encoding="utf-8")))
    found = set()
    for name in spoken:
        parts = name.split(".")
        while len(parts) > 1:
            path = source.joinpath(*parts)
            if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
                found.add(".".join(parts))
                break
            parts.pop()
    return sorted(found)


def names(module: ModuleType, *, shown: set[int]) -> list[str]:
    """Return the public names that a module offers and that are not in `shown`, by identity."""
    offered = getattr(module, "__all__", None)
    found = []
    for name in offered or sorted(vars(module)):
        thing = getattr(module, name)
        if name.startswith("_") or id(thing) in shown or inspect.ismodule(thing):
            continue
        if not (inspect.isclass(thing) or inspect.isroutine(thing)):
            continue
        if offered or thing.__module__ == module.__name__:
            found.append(name)
    return found


def kind(thing: object) -> str:
    """Return the directive that documents a thing."""
    if inspect.isclass(thing):
        return "autoexception" if issubclass(thing, BaseException) else "autoclass"
    return "autofunction" if inspect.isroutine(thing) else "autodata"


def links(module: ModuleType, offered: list[str]) -> str:
    """Return links to names, in one line."""
    return ", ".join(f":py:obj:`~{module.__name__}.{name}`" for name in offered)


class ReferenceList(SphinxDirective):
    """`.. reference-list::` of package and page: each with what it is for and its names."""

    has_content = True

    def run(self) -> list:
        """Write a definition list."""
        lines = []
        for package in self.content:
            module = importlib.import_module(package)
            about = (module.__doc__ or "").strip().splitlines()[0]
            page = package.removeprefix("crucible_")
            offered = links(module, module.__all__)
            lines += [f":doc:`{package} <{page}>`", f"   {about}", "", f"   {offered}", ""]
        return self.parse_text_to_nodes("\n".join(lines))


class Reference(SphinxDirective):
    """`.. reference:: crucible_bench`."""

    required_arguments = 1

    def run(self) -> list:
        """Write what a person would, and let autodoc read it."""
        package = importlib.import_module(self.arguments[0])
        shown: set[int] = set()
        body: list[str] = []
        for name in package.__all__:
            shown.add(id(getattr(package, name)))
            body += self.entry(package, name)
        sections: list[str] = []
        for path in modules(package.__name__):
            module = importlib.import_module(path)
            there = names(module, shown=shown)
            if not there:
                continue
            sections.append(f"`{path} <#{re.sub('[._]', '-', path)}>`__")
            body += [f"``{path}``", "-" * (len(path) + 4), ""]
            body += [f".. automodule:: {path}", "   :no-members:", "   :no-index:", ""]
            for name in there:
                shown.add(id(getattr(module, name)))
                body += self.entry(module, name)
        lines = [f".. automodule:: {package.__name__}", "   :no-members:", ""]
        lines += [f"At its root: {links(package, package.__all__)}.", ""]
        if sections:
            lines += [f"In modules of their own: {', '.join(sections)}.", ""]
        return self.parse_text_to_nodes("\n".join(lines + body), allow_section_headings=True)

    def entry(self, module: ModuleType, name: str) -> list[str]:
        """Return the lines that document one name."""
        thing = getattr(module, name)
        lines = [f".. {kind(thing)}:: {module.__name__}.{name}"]
        if inspect.isclass(thing):
            lines.append("   :members:")
        return [*lines, ""]


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directive known."""
    app.add_directive("reference", Reference)
    app.add_directive("reference-list", ReferenceList)
    return {"parallel_read_safe": True}
