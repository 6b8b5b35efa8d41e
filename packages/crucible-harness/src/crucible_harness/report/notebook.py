"""The report as a Jupyter notebook that computes its own numbers again and checks them."""

from typing import Any

from crucible_harness.report import markdown
from crucible_harness.report.model import Chart, Report, Section
from crucible_harness.report.notebook_code import CONTRASTS, DERIVE, LOAD, SCORES


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
        cells.append(new_code_cell(LOAD))
        cells.append(
            new_markdown_cell(
                "The next cells derive every number again: first all of them from the journal, "
                "then each hypothesis from the table of results, by crucible_bench."
            )
        )
        cells.append(new_code_cell(DERIVE))
        cells += [new_code_cell(SCORES), new_code_cell(CONTRASTS)]
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
