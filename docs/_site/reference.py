"""The directive `reference`: the public names of a package, from its docstrings.

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


class Reference(SphinxDirective):
    """`.. reference:: crucible_bench`."""

    required_arguments = 1

    def run(self) -> list:
        """Write what a person would, and let autodoc read it."""
        package = importlib.import_module(self.arguments[0])
        lines = [f".. automodule:: {package.__name__}", "   :no-members:", ""]
        shown: set[int] = set()
        for name in package.__all__:
            shown.add(id(getattr(package, name)))
            lines += self.entry(package, name)
        for path in modules(package.__name__):
            module = importlib.import_module(path)
            there = names(module, shown=shown)
            if not there:
                continue
            lines += [f"``{path}``", "-" * (len(path) + 4), ""]
            lines += [f".. automodule:: {path}", "   :no-members:", "   :no-index:", ""]
            for name in there:
                shown.add(id(getattr(module, name)))
                lines += self.entry(module, name)
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)

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
    return {"parallel_read_safe": True}
