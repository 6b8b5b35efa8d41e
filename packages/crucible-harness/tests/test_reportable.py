"""What is no run and has a report: here an adapter that was really trained and evaluated."""

import json
import subprocess

import pytest
from markdown_it import MarkdownIt
from programs import require

from crucible_harness import report
from crucible_harness.report import FORMATS
from crucible_harness.testing import check_reportable


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """Return the evaluation of a small adapter against its base, with a gate that it fails."""
    from crucible_lora import Gate, create_experiment, evaluate_sync, train_sync
    from crucible_lora.demo import demo_findings, findings_schema
    from crucible_lora.schemas import JsonSchema

    settings = {"base_model": "reference", "lora_rank": 8, "lr": 0.01}
    root = tmp_path_factory.mktemp("adapters")
    experiment = create_experiment("findings", settings, directory=root)
    schema = JsonSchema(findings_schema())
    train_sync(experiment, demo_findings(80), epochs=2, batch_size=16, schema=schema)
    return evaluate_sync(
        experiment, demo_findings(20, held_out=True), schema=schema,
        gates=[Gate("exact_match", 0.95)], max_tokens=60,
    )  # fmt: skip


@pytest.fixture(scope="module")
def files(evaluation, tmp_path_factory):
    return report(evaluation, formats=FORMATS, path=tmp_path_factory.mktemp("evaluated"))


def cells(evaluation) -> list[str]:
    sections = evaluation.to_report()["sections"]
    return [cell for s in sections if s["table"] for row in s["table"]["rows"] for cell in row]


def test_an_evaluation_of_an_adapter_keeps_the_promise_of_a_report(evaluation):
    check_reportable(evaluation)
    assert evaluation.delta["nll"].difference < 0  # something was learned, and its sign is kept


def test_every_number_of_an_evaluation_stands_in_every_format(evaluation, files):
    from crucible_harness.report import latex, markdown

    text = {name: path.read_text(encoding="utf-8") for name, path in files.items()}
    notebook = "".join(
        "".join(c["source"]) for c in json.loads(text["jupyter"])["cells"]
        if c["cell_type"] == "markdown"
    )  # fmt: skip
    table = {cell for cell in cells(evaluation) if cell}
    assert f"{evaluation.delta['nll'].difference:+.3f}" in table
    for cell in table:
        assert markdown.escape(cell) in text["markdown"], cell
        assert markdown.escape(cell) in notebook, cell
        assert latex.escape(cell) in text["latex"], cell
        assert cell.replace("<", "&lt;").replace(">", "&gt;") in text["html"], cell
        assert json.dumps(cell)[1:-1] in text["json"], cell


def test_printed_numbers_are_set_flush_right(files):
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(files["markdown"].read_text())
    heads = [t.attrs.get("style", "") for t in tokens if t.type == "th_open"]
    # metric, value, 95 % interval, n, method
    assert ["right" in style for style in heads[:5]] == [False, True, False, True, False]


def test_the_page_of_an_evaluation_draws_its_chart_and_loads_nothing(page, files):
    page.goto(files["html"].as_uri())
    page.locator(".chart svg").first.wait_for()
    assert page.locator(".chart svg").count() == page.locator("figure").count() == 1
    assert page.locator("h1").inner_text().startswith("Evaluation of findings-")
    assert page.trouble[1:] == []


def test_the_notebook_of_an_evaluation_runs(files):
    import nbclient
    import nbformat

    notebook = nbformat.read(files["jupyter"], as_version=4)
    where = {"metadata": {"path": str(files["jupyter"].parent)}}
    nbclient.NotebookClient(notebook, timeout=120, resources=where).execute()
    shown = [o for c in notebook.cells for o in c.get("outputs", ())]
    assert any("application/vnd.vegalite.v6+json" in o.get("data", {}) for o in shown)


def test_the_paper_of_an_evaluation_compiles(files):
    pdflatex = require("pdflatex")
    done = subprocess.run(
        [pdflatex, "-interaction=nonstopmode", "-halt-on-error", "report.tex"],
        cwd=files["latex"].parent, capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
