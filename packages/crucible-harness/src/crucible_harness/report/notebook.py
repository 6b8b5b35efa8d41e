"""The report as a Jupyter notebook that computes its own numbers again and checks them."""

from typing import Any

from crucible_harness.report import markdown
from crucible_harness.report.model import Chart, Report, Section

_LOAD = """\
import csv, json
import numpy as np
from pathlib import Path

with open("results.csv", encoding="utf-8", newline="") as file:
    rows = list(csv.DictReader(file))
analysis = json.loads(Path("analysis.json").read_text(encoding="utf-8"))
print(len(rows), "cells,", len(analysis["hypotheses"]), "hypotheses")"""

_RECOMPUTE = """\
from crucible_harness import analyse

again = json.loads(json.dumps(analyse(".").to_dict()))
assert again == analysis, "analysis.json is not what the journal gives"
print("analysis.json follows from the journal")"""

_PAIRED = """\
from crucible_bench import compare_paired


def scores(condition, metric):
    \"\"\"One number per item and repeat, failures counted as wrong.\"\"\"
    mine = [row for row in rows if row["condition"] == condition]
    items = sorted({row["item"] for row in mine})
    repeats = 1 + max(int(row["repeat"]) for row in mine)
    table = np.full((len(items), repeats), np.nan)
    for row in mine:
        value = row[metric] if row["status"] == "ok" else "0"
        if value != "":
            table[items.index(row["item"]), int(row["repeat"])] = float(value)
    return table[:, 0] if repeats == 1 else table


for result in analysis["hypotheses"] + analysis["exploratory"]:
    hypothesis, contrast = result["hypothesis"], result["contrast"]
    if contrast["kind"] != "difference" or hypothesis["metric"] != "accuracy":
        continue
    c = compare_paired(
        scores(hypothesis["control"], "accuracy"), scores(hypothesis["treatment"], "accuracy"),
        confidence=contrast["confidence"],
    )
    assert np.isclose(c.difference, contrast["estimate"], atol=1e-12)
    if contrast["interval"] is not None:
        ends = [c.confidence_interval.low, c.confidence_interval.high]
        assert np.allclose(ends, contrast["interval"], atol=1e-9)
    if contrast["p_value"] is not None:
        assert np.isclose(c.p_value, contrast["p_value"], atol=1e-12)
    print(hypothesis["id"], "-", c.apa())"""


def render(report: Report) -> str:
    """Return the notebook as JSON (format 4.5); it reads results.csv and analysis.json."""
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    cells: list[Any] = [
        new_markdown_cell(
            "\n\n".join(
                (
                    f"# {markdown.escape(report.title)}",
                    markdown.escape(report.subtitle),
                    *markdown.banner_lines(report),
                )
            )
        )
    ]
    if report.explorer is None:  # not of a run: there is nothing to compute again
        cells.append(new_code_cell("import json"))
    else:
        cells.append(new_code_cell(_LOAD))
        cells.append(
            new_markdown_cell(
                "The next two cells derive every number again: first all of them from the journal, "
                "then the differences in accuracy from the table of results alone."
            )
        )
        cells += [new_code_cell(_RECOMPUTE), new_code_cell(_PAIRED)]
    for section in report.sections:
        cells.append(new_markdown_cell(_text(section)))
        cells += [
            new_code_cell(_draw(block)) for block in section.blocks if isinstance(block, Chart)
        ]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number:03d}"
    notebook = new_notebook(
        cells=cells,
        metadata={
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
    )
    nbformat.validate(notebook)
    text: str = nbformat.writes(notebook, version=4)
    return text + "\n"


def _text(section: Section) -> str:
    words = tuple(block for block in section.blocks if not isinstance(block, Chart))
    lines = markdown.section_lines(Section(id=section.id, title=section.title, blocks=words))
    return "\n".join(lines).strip()


def _draw(chart: Chart) -> str:
    import json

    spec = json.dumps(chart.spec, sort_keys=True)
    return (
        "from IPython.display import display\n\n"
        f"# {' '.join(chart.title.split())}\n"
        f"spec = json.loads({spec!r})\n"
        'display({"application/vnd.vegalite.v6+json": spec, "text/plain": '
        f"{' '.join(chart.alt.split())!r}}}, raw=True)"
    )
