"""How to cite a run, in four styles."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from crucible_harness.recorded import dataset_name, load_run

if TYPE_CHECKING:
    from crucible_harness.outcome import RunResult

Style = Literal["bibtex", "apa", "ieee", "mla"]
STYLES: tuple[Style, ...] = ("bibtex", "apa", "ieee", "mla")
_SOFTWARE = "Crucible for Python"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "June", "July", "Aug", "Sept", "Oct", "Nov", "Dec")


def cite(run: "Path | str | RunResult", *, style: Style = "bibtex") -> str:
    """Return how to cite a run: its authors, name, date, and the digest that identifies it.

    Parameters
    ----------
    run : run folder or result
    style : {"bibtex", "apa", "ieee", "mla"}

    Raises
    ------
    ValueError
        If the style is unknown.
    NotARunError
        If it is no run.

    Notes
    -----
    Authors are those of the experiment; without any, the experiment's name stands first, as all
    three styles have it. The data set's own citation, where its card has one, follows in BibTeX as
    a note.
    """
    if style not in STYLES:
        raise ValueError(f"`style` must be one of {', '.join(STYLES)}, got {style!r}")
    recorded = load_run(run if isinstance(run, Path | str) else run.path)
    about = _About(
        title=str(recorded.design["name"]),
        authors=tuple(map(str, recorded.design.get("authors") or ())),
        date=str(recorded.manifest.get("ended") or recorded.manifest.get("started") or ""),
        digest=recorded.digest,
        version=str((recorded.manifest.get("versions") or {}).get("crucible-harness") or "unknown"),
        dataset=dataset_name(recorded),
        source=(recorded.design["dataset"].get("provenance") or {}).get("citation"),
    )
    return {"bibtex": _bibtex, "apa": _apa, "ieee": _ieee, "mla": _mla}[style](about)


@dataclass(frozen=True, slots=True, kw_only=True)
class _About:
    title: str
    authors: tuple[str, ...]
    date: str
    digest: str
    version: str
    dataset: str
    source: str | None

    @property
    def year(self) -> str:
        return self.date[:4] or "n.d."

    @property
    def day(self) -> tuple[str, str, str] | None:
        parts = self.date[:10].split("-")
        return (parts[0], parts[1], parts[2]) if len(parts) == 3 else None


def _bibtex(a: _About) -> str:
    from crucible_harness.report import latex

    def escape(text: str) -> str:
        return latex.escape(text).replace("{-}", "-")  # hyphens do no harm in a list of sources

    fields = {
        "title": escape(a.title),
        "author": " and ".join(escape(name) for name in a.authors),
        "year": a.year if a.year != "n.d." else "",
        "month": a.day[1].lstrip("0") if a.day else "",
        "howpublished": f"Experiment run with {_SOFTWARE}",
        "version": a.version,
        "note": f"Design digest {a.digest}. Data: {escape(a.dataset)}"
        + (f" ({escape(a.source)})" if a.source else ""),
    }
    body = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items() if value)
    return f"@misc{{crucible-{a.digest[:8]},\n{body}}}"


def _apa(a: _About) -> str:
    names = [_inverted(name, initials=True) for name in a.authors]
    who = ", ".join(names[:-1]) + f", & {names[-1]}" if len(names) > 1 else "".join(names)
    rest = f"[Experiment; design digest {a.digest[:16]}]. {_SOFTWARE} (Version {a.version})."
    if not who:
        return f"{a.title} ({a.year}) {rest}"
    return f"{who} ({a.year}). {a.title} {rest}"


def _ieee(a: _About) -> str:
    names = [_initials_first(name) for name in a.authors]
    who = (", ".join(names[:-1]) + (", and " if len(names) > 2 else " and ") + names[-1]
           if len(names) > 1 else "".join(names))  # fmt: skip
    when = f"{_MONTHS[int(a.day[1]) - 1]}. {a.year}" if a.day else a.year
    text = f'"{a.title}," experiment, {_SOFTWARE}, ver. {a.version}, {when}, '
    return f"{who + ', ' if who else ''}{text}design digest {a.digest[:16]}."


def _mla(a: _About) -> str:
    names = list(a.authors)
    who = _inverted(names[0]) if names else ""
    if len(names) == 2:
        who += f", and {names[1]}"
    elif len(names) > 2:
        who += ", et al"
    when = f"{int(a.day[2])} {_MONTHS[int(a.day[1]) - 1]}. {a.year}" if a.day else a.year
    who = f"{who.removesuffix('.')}. " if who else ""
    return (
        f'{who}"{a.title}." {_SOFTWARE}, version {a.version}, {when}, '
        f"design digest {a.digest[:16]}."
    )


def _inverted(name: str, *, initials: bool = False) -> str:
    """Return "Family, Given"; a name that has a comma is taken to be written so already."""
    family, _, given = name.partition(",")
    if not given:
        *before, family = name.split()
        given = " ".join(before)
    given = given.strip()
    if initials:
        given = " ".join(f"{part[0]}." for part in given.split())
    return f"{family.strip()}, {given}" if given else family.strip()


def _initials_first(name: str) -> str:
    family, _, initials = _inverted(name, initials=True).partition(", ")
    return f"{initials} {family}".strip()
