"""What a study found: the verdict, the figures behind it, and what it cannot say."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from crucible_harness.verdicts import Outcome

Cell = str | int | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number with its interval; None with a `reason` where it cannot be known."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    method: str = ""
    reason: str | None = None

    def __str__(self) -> str:
        """Return the number as it is printed, with its interval."""
        if self.value is None:
            return f"unknown ({self.reason})" if self.reason else "unknown"
        unit = f" {self.unit}" if self.unit and self.unit != "share" else ""
        if self.low is None and self.high is None:
            return f"{_short(self.value)}{unit}"
        low = "-inf" if self.low is None else _short(self.low)
        high = "inf" if self.high is None else _short(self.high)
        return f"{_short(self.value)} [{low}, {high}]{unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyTable:
    """Rows under named columns; None is unknown."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResult:
    """What a study found.

    Attributes
    ----------
    study : str
        Its id, such as "h3".
    question : str
    n : int
        Units that the verdict rests on.
    unit : str
        What they are: "items", "pairs of calls", "seeds", ...
    simulated : bool
        Whether anything that answered was a simulation.
    outcome : Outcome or None
        None where a study gives no verdict.
    sentence : str
        The verdict in words.
    figures : tuple of Figure
    tables : tuple of StudyTable
    plan : mapping
        What was fixed beforehand.
    warnings : tuple of str
    limits : tuple of str
        What it cannot show.
    """

    study: str
    question: str
    n: int
    unit: str
    simulated: bool
    outcome: Outcome | None
    sentence: str
    figures: tuple[Figure, ...]
    tables: tuple[StudyTable, ...] = ()
    plan: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()

    def figure(self, name: str) -> Figure:
        """Return a figure by its name.

        Raises
        ------
        KeyError
            If there is none of that name; the known ones are listed.
        """
        for figure in self.figures:
            if figure.name == name:
                return figure
        raise KeyError(f"{name!r}; known: {', '.join(f.name for f in self.figures)}")

    def table(self, title: str) -> StudyTable:
        """Return a table by its title.

        Raises
        ------
        KeyError
            If there is none of that title; the known ones are listed.
        """
        for table in self.tables:
            if table.title == title:
                return table
        raise KeyError(f"{title!r}; known: {', '.join(t.title for t in self.tables)}")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return {"schema": "crucible-harness/study-result/1", **asdict(self)}

    def to_report(self) -> dict[str, Any]:
        """Return what `crucible_harness.report` renders."""
        subtitle = f"{self.n:,} {self.unit}"
        if self.simulated:
            subtitle += "; SIMULATED: no number here is about a real model"
        verdict = self.sentence if self.outcome is None else f"{self.outcome}. {self.sentence}"
        sections: list[dict[str, Any]] = [
            {"title": "Answer", "text": verdict},
            {
                "title": "Figures",
                "table": {
                    "columns": ["figure", "value", "low", "high", "unit", "how"],
                    "rows": [
                        [f.name, f.value, f.low, f.high, f.unit, f.reason or f.method]
                        for f in self.figures
                    ],
                },
            },
            *(
                {"title": t.title, "table": {"columns": list(t.columns), "rows": _rows(t.rows)}}
                for t in self.tables
            ),
        ]
        for title, lines in (("Warnings", self.warnings), ("What this cannot show", self.limits)):
            if lines:
                sections.append({"title": title, "text": "\n\n".join(lines)})
        fixed = "\n\n".join(f"{name}: {value}" for name, value in self.plan.items())
        sections.append({"title": "Fixed beforehand", "text": fixed or "nothing"})
        return {
            "title": f"Study {self.study}: {self.question}",
            "subtitle": subtitle,
            "sections": sections,
        }


def _rows(rows: Sequence[Sequence[Cell]]) -> list[list[Cell]]:
    return [list(row) for row in rows]


def _short(number: float) -> str:
    text = f"{number:.3f}" if abs(number) < 100 else f"{number:,.1f}"
    return text if float(text.replace(",", "")) or not number else f"{number:.3g}"
