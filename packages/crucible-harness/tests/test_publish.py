"""What goes into a paper, from the facts of a run."""

import re
from dataclasses import replace

import pytest
from test_prereg import experiment
from worlds import simulated, sums

from crucible_harness import Condition, Experiment, preregister, run_sync
from crucible_harness.designs import Between
from crucible_harness.publish import (
    STYLES,
    artifact_checklist,
    cite,
    methods_paragraph,
    osf_template,
    results_sentences,
)


@pytest.fixture
def folder(options):
    return run_sync(experiment(), options=options).path


def test_every_style_names_title_year_version_and_digest(folder):
    year = r"20\d\d"
    for style in STYLES:
        text = cite(folder, style=style)
        assert "registered" in text
        assert re.search(year, text)
        assert folder.name[-8:] in text
        assert "Crucible for Python" in text
    assert cite(folder).startswith(f"@misc{{crucible-{folder.name[-8:]},\n  title = {{registered}}")
    assert cite(folder).count("{") == cite(folder).count("}")


def test_authors_stand_as_each_style_has_them():
    from crucible_harness.citations import _About, _apa, _bibtex, _ieee, _mla

    about = _About(
        title="Votes", authors=("Ada Lovelace", "Hopper, Grace B."), date="2026-03-09T10:00:00+00:00",
        digest="a" * 64, version="0.1.0", dataset="gsm8k (test)", source=None,
    )  # fmt: skip
    assert _apa(about).startswith("Lovelace, A., & Hopper, G. B. (2026). Votes [Experiment;")
    assert _ieee(about).startswith('A. Lovelace and G. B. Hopper, "Votes," experiment,')
    assert "Mar. 2026" in _ieee(about)
    assert _mla(about).startswith('Lovelace, Ada, and Hopper, Grace B. "Votes."')
    assert "9 Mar. 2026" in _mla(about)
    assert "author = {Ada Lovelace and Hopper, Grace B.}" in _bibtex(about)
    three = replace(about, authors=("A B", "C D", "E F"))
    assert _mla(three).startswith("B, A, et al. ")
    assert _ieee(three).startswith("A. B, C. D, and E. F, ")


def test_hostile_titles_are_text_in_bibtex(options):
    from crucible_harness import Experiment

    hostile = Experiment(
        r"\input{x} 50% a_b",
        dataset=experiment().dataset,
        conditions=experiment().conditions,
        seed=1,
    )
    text = cite(run_sync(hostile, options=options).path)
    assert r"\textbackslash{}input\{x\} 50\% a\_b" in text


def test_an_unknown_style_is_named(folder):
    with pytest.raises(ValueError, match="bibtex, apa, ieee, mla, got 'chicago'"):
        cite(folder, style="chicago")


def test_the_methods_paragraph_says_what_was_done(folder):
    text = methods_paragraph(folder)
    assert "Each of 8 items of sums was answered under 2 conditions (single, vote-3)" in text
    assert "not preregistered" in text
    assert folder.name[-8:] in text


def test_the_methods_paragraph_of_a_run_across_items_says_so(options):
    experiment = Experiment(
        "between", dataset=sums(12), seed=1, design=Between(),
        conditions=[Condition("a", simulated("a")), Condition("b", simulated("b"))],
    )  # fmt: skip
    text = methods_paragraph(run_sync(experiment, options=options).path)
    assert "Each of 12 items of sums was answered under one of 2 conditions (a, b)" in text
    assert "Conditions were compared across items" in text
    assert "within items" not in text


def test_results_are_sentences_in_apa_style(folder):
    (sentence,) = results_sentences(folder)
    assert re.match(r"h1 \(\w[\w ]*\): McNemar mid-p .*n = 8 pairs\.$", sentence)


def test_each_line_of_the_checklist_is_checked_or_marked_by_hand(tmp_path, options):
    plan = tmp_path / "plan.json"
    preregister(experiment(), plan)
    folder = run_sync(experiment(), options=replace(options, prereg=plan)).path
    lines = {line.demand: line for line in artifact_checklist(folder)}
    assert lines["The hypotheses were preregistered"].state == "yes"
    assert lines["All planned data were collected"].state == "yes"
    assert lines["Nothing is simulated"].state == "no"  # a simulated model answered
    assert lines["Every number can be derived again"].state == "yes"
    assert lines["The data may be shared"].state == "by hand"
    assert lines["The data set's licence is recorded"].state == "no"
    file = folder / "analysis.json"
    file.write_text(file.read_text().replace("0.", "1.", 1))
    lines = {line.demand: line for line in artifact_checklist(folder)}
    assert lines["Every number can be derived again"].state == "no"
    assert "analysis" in lines["Every number can be derived again"].detail


def test_the_registration_form_is_filled_from_the_design():
    text = osf_template(experiment())
    for heading in ("Hypotheses", "Stopping rule", "Sample size", "Statistical models"):
        assert f"**{heading}.**" in text
    assert "accuracy of vote-3 is higher than that of single" in text
    assert "8 items" in text
    assert experiment().digest in text
    assert text.count("[by hand") >= 3
