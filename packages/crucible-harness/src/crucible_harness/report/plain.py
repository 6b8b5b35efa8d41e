"""Reports of anything that can say what it found as plain data, such as an adapter's evaluation."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from crucible_harness.report.model import (
    Block,
    Chart,
    Column,
    Paragraph,
    Report,
    Section,
    Table,
    Text,
)
from crucible_harness.report.values import Value, count, fixed


class Reportable(Protocol):
    """What `report()` renders beside runs."""

    def to_report(self) -> Mapping[str, Any]:
        """Return `{"title", "sections": [{"title", "text", "table", "chart"}]}`.

        A table is `{"columns": [...], "rows": [[...]]}` with text, numbers and None (unknown) as
        cells; a chart is a Vega-Lite specification. Everything but the titles may be left out. A
        report may have a "subtitle", a section a "caption" of its table and an "alt" of its chart.
        """
        ...


def read_report(data: Mapping[str, Any]) -> Report:
    """Read the plain data of a `Reportable`.

    Raises
    ------
    ValueError
        If it is not of that form; the message names the place.
    """
    title = _text(data, "title", "report")
    sections = data.get("sections")
    if not isinstance(sections, Sequence) or isinstance(sections, str):
        raise ValueError(f"`sections` of a report must be a list, got {sections!r}")
    made = [_section(section, n) for n, section in enumerate(sections)]
    ids = [chart.id for section in made for chart in section.blocks if isinstance(chart, Chart)]
    assert len(ids) == len(set(ids))
    return Report(
        title=title,
        subtitle=str(data.get("subtitle") or ""),
        banners=(),
        sections=tuple(made),
    )


def _section(data: Any, n: int) -> Section:
    if not isinstance(data, Mapping):
        raise ValueError(f"section {n} of a report must be a mapping, got {data!r}")
    title = _text(data, "title", f"section {n}")
    blocks: list[Block] = []
    if data.get("text"):
        blocks += [
            Paragraph(text=(part,)) for part in str(data["text"]).split("\n\n") if part.strip()
        ]
    if data.get("table") is not None:
        blocks.append(_table(data["table"], n, caption=str(data.get("caption") or title)))
    if data.get("chart") is not None:
        blocks.append(_chart(data["chart"], n, title=title, alt=data.get("alt")))
    return Section(id=f"part-{n}-{_slug(title)}", title=title, blocks=tuple(blocks))


def _table(data: Any, n: int, *, caption: str) -> Table:
    where = f"the table of section {n}"
    if not isinstance(data, Mapping):
        raise ValueError(f"{where} must be a mapping, got {data!r}")
    columns, rows = data.get("columns"), data.get("rows")
    if not isinstance(columns, Sequence) or not isinstance(rows, Sequence):
        raise ValueError(f"{where} must have `columns` and `rows`, got {sorted(data)}")
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"{where} must have {len(columns)} cells in each row, got {len(row)}")
    numeric = [all(_is_number(row[c]) for row in rows) for c in range(len(columns))]
    return Table(
        id=f"table-{n}",
        caption=caption,
        columns=tuple(
            Column(title=str(name), numeric=number)
            for name, number in zip(columns, numeric, strict=True)
        ),
        rows=tuple(
            tuple(_cell(cell, f"table-{n}.{r}.{c}") for c, cell in enumerate(row))
            for r, row in enumerate(rows)
        ),
    )


def _cell(cell: Any, id: str) -> Text:
    if cell is None:
        return (Value(id=id, number=None, unit="", text="unknown"),)
    if isinstance(cell, bool):
        return ("yes" if cell else "no",)
    if isinstance(cell, int):
        return (count(id, cell),)
    if isinstance(cell, float):
        return (fixed(id, cell, digits=_digits(cell)),)
    return (str(cell),)


def _is_number(cell: Any) -> bool:
    """Say whether a cell is a number, printed or not, or one that is not known."""
    if not isinstance(cell, str):
        return not isinstance(cell, bool)
    return bool(re.fullmatch(r"[-+\N{MINUS SIGN}]?[\d,.]+( ?%)?|unknown|none|", cell))


def _digits(number: float) -> int:
    """Return the decimals that show four significant digits, at least three."""
    if number == 0 or not math.isfinite(number):
        return 3
    return min(12, max(3, 3 - math.floor(math.log10(abs(number)))))


def _chart(spec: Any, n: int, *, title: str, alt: Any) -> Chart:
    if not isinstance(spec, Mapping):
        raise ValueError(f"the chart of section {n} must be a mapping, got {spec!r}")
    if _remote(spec):
        raise ValueError(f"the chart of section {n} must hold its data, and not an address")
    said = spec.get("title")
    if isinstance(said, Mapping):
        said = said.get("text")
    shown = " ".join(said) if isinstance(said, list) else str(said or title)
    drawn = {k: v for k, v in spec.items() if k not in ("$schema", "config", "title", "usermeta")}
    return Chart(
        id=f"chart-{n}",
        title=shown,
        alt=str(alt or spec.get("description") or shown),
        spec=drawn,
    )


def _remote(node: Any) -> bool:
    if isinstance(node, Mapping):
        return "url" in node or any(_remote(value) for value in node.values())
    return isinstance(node, list | tuple) and any(_remote(value) for value in node)


def _text(data: Mapping[str, Any], key: str, where: str) -> str:
    value = data.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"`{key}` of {where} must be a text, got {value!r}")
    return value


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40]
