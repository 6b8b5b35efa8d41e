"""What results look like in notebooks, papers and pages; labels are untrusted there."""

import re

import numpy as np
import pytest
from bs4 import BeautifulSoup
from markdown_it import MarkdownIt

from crucible_bench import compare, compare_multiple, compare_paired

CONTROL = [0.89, 0.87, 0.90, 0.88, 0.91]
TREATMENT = [0.96, 0.97, 0.94, 0.95, 0.98]
LABELS = [
    "<script>alert(1)</script>",
    r"\input{x}",
    "a|b",
    "$x_1^2$",
    "`c`",
    "[a](b)",
    "50 % & # ~",
]


def shown(label):
    yield compare_paired(CONTROL, TREATMENT, sesoi=0.01, labels=(label, "b"))
    groups = {label: CONTROL, "b": TREATMENT, "c": CONTROL[::-1]}
    yield compare_multiple(groups, paired=True)


@pytest.mark.parametrize("label", LABELS)
def test_labels_are_inert_in_html(label):
    for result in shown(label):
        page = BeautifulSoup(result._repr_html_(), "html.parser")
        assert page.find(["script", "a", "code"]) is None
        assert label in page.get_text()


@pytest.mark.parametrize("label", LABELS)
def test_labels_are_inert_in_markdown(label):
    parser = MarkdownIt("commonmark").enable("table")
    for result in shown(label):
        cells = [t for t in parser.parse(result.markdown()) if t.type == "inline"]
        parts = [part for cell in cells for part in cell.children]
        assert {part.type for part in parts} <= {"text"}
        assert any(label in "".join(p.content for p in cell.children) for cell in cells)
        widths = {row.count("<td") for row in parser.render(result.markdown()).split("<tr>")[2:]}
        assert len(widths) == 1  # a bar in a label makes no cell


@pytest.mark.parametrize("label", LABELS)
def test_labels_are_inert_in_latex(label):
    known = r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater)\{\}|\\[&%$#_{}]|\\\\$"
    for result in shown(label):
        rows = [line for line in result.latex().split("\n") if r" \\" in line]
        for row in rows:
            rest = re.sub(known, "", row)
            assert not re.search(r"[\\%$#_{}~^<>]", rest), row
            assert rest.count("&") == len(re.findall(r"(?<!\\)&", rows[0]))


def test_the_table_of_a_comparison_needs_booktabs_and_nothing_else():
    commands = set(re.findall(r"\\[a-z]+", compare(CONTROL, TREATMENT).latex()))
    assert commands == {"\\begin", "\\end", "\\toprule", "\\bottomrule"}


def test_the_drawing_of_an_interval_is_spoken_and_takes_the_themes_colour():
    result = compare(CONTROL, TREATMENT, sesoi=0.01, labels=("old", "<b>new"))
    drawing = BeautifulSoup(result._repr_html_(), "html.parser").svg
    assert drawing["role"] == "img"
    assert drawing.title.get_text() == (
        "<b>new minus old: 0.07, 95 % interval from 0.0469 to 0.0931; "
        "differences within 0.01 of zero do not matter (shaded)"
    )
    colours = {tag.get(name) for tag in drawing.find_all() for name in ("fill", "stroke")}
    assert colours <= {"currentColor", "none", None}
    assert [t.get_text() for t in drawing.find_all("text")] == ["0.0469", "0.0931", "0"]
    left, right = (float(t["x"]) for t in drawing.find_all("text")[:2])
    assert left < float(drawing.circle["cx"]) < right


def test_a_side_without_a_limit_is_an_arrow_and_no_interval_is_no_drawing():
    # Wilcoxon, n = 5: no confidence of 95 % on either side
    open_ended = compare_paired(np.zeros(5), np.arange(1.0, 6), test="wilcoxon")
    drawing = BeautifulSoup(open_ended._repr_html_(), "html.parser").svg
    assert len(drawing.find_all("path")) == 2
    assert "without a lower limit without an upper limit" in drawing.title.get_text()
    assert "<svg" not in compare([2.0, 2.0], [2.0, 2.0])._repr_html_()


def test_bounded_effects_have_no_leading_zero():
    found = compare([1.0, 2.0, 3.0, 4.0], [2.5, 3.5, 4.5, 1.5], estimand="dominance")
    # 10 of 16 pairs in favour of treatment
    assert "P(T>C) = .62" in found.apa()
    # t and d may exceed 1
    assert "d = 0." in compare([1.0, 2.0, 3.0, 4.0], [2.5, 3.5, 4.5, 1.5]).apa()


def test_degrees_of_freedom_are_whole_only_where_they_are():
    assert compare(CONTROL, TREATMENT).apa().startswith("t(8) =")
    # Student's sleep data, R: df 17.776
    sleep = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0], [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]  # fmt: skip
    assert compare(*sleep).apa().startswith("t(17.78) = 1.86, p = .079")
