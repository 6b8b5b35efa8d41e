"""Acceptance 13. The oracle is the `codebleu` package 0.7.0 with tree-sitter 0.22.3."""

import re
import subprocess
import sys

import pytest

from crucible_datasets import evaluate, load
from crucible_datasets.metrics.codebleu import codebleu, stripped


@pytest.fixture(scope="module")
def programs(humaneval):
    return [item.input + item.expected for item in humaneval]


def test_other_programs_score_what_the_package_says(programs):
    found = codebleu(programs[1:] + programs[:1], programs)
    assert found.ngram == pytest.approx(0.020125592578, abs=1e-9)
    assert found.weighted_ngram == pytest.approx(0.022270241127, abs=1e-9)
    assert found.syntax == pytest.approx(0.1636, abs=0.001)
    assert 0.331 <= found.data_flow <= 0.345
    assert found.total == pytest.approx(0.1359, abs=0.003)


def test_broken_programs_score_what_the_package_says(programs):
    broken = [re.sub(r"\breturn\b", "result =", program) for program in programs]
    found = codebleu(broken, programs)
    assert found.ngram == pytest.approx(0.920202534259, abs=1e-9)
    assert found.weighted_ngram == pytest.approx(0.930344093885, abs=1e-9)
    assert found.syntax == pytest.approx(0.8015, abs=0.001)
    assert 0.895 <= found.data_flow <= 0.910
    assert found.total == pytest.approx(0.8889, abs=0.003)


def test_a_renamed_function_keeps_its_syntax_and_data_flow():
    found = codebleu(
        ["def sum ( first , second ) :\n return second + first"],
        ["def add ( a , b ) :\n return a + b"],
    )
    parts = [found.ngram, found.weighted_ngram, found.syntax, found.data_flow]
    assert parts == pytest.approx([0.104190446401, 0.110946604716, 1, 1], abs=1e-12)
    assert found.total == pytest.approx(0.553784262779, abs=1e-12)


def test_nothing_scores_0_and_a_program_scores_1_against_itself(programs):
    assert codebleu([""], programs[:1]).total == 0
    assert codebleu(programs, programs).total == pytest.approx(1)
    short = codebleu(["x = 1"], ["x = 1"])
    assert (short.total, short.data_flow is None, short.n_degenerate) == (1.0, False, 0)
    plain = codebleu(["print('hello')"], ["print('hello')"])
    assert (plain.total, plain.data_flow, plain.n_degenerate) == (1.0, None, 1)
    assert codebleu(["def f(:"], programs[:1]).n_unparsable == 1


def test_the_bytes_do_not_depend_on_the_hash_seed():
    code = (
        "from crucible_datasets import load\n"
        "from crucible_datasets.metrics.codebleu import codebleu\n"
        "p = [i.input + i.expected for i in load('demo-code')]\n"
        "print(repr(codebleu(p[1:] + p[:1], p)))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True,
            text=True, check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }  # fmt: skip
    assert len(said) == 1


def test_comments_and_docstrings_are_left_out():
    source = (
        'def f(x):\n    """Doc.\n    More."""\n    # why\n    y = "kept"  # why\n\n    return y\n'
    )
    assert stripped(source) == 'def f(x):\n    y = "kept"  \n    return y'
    assert stripped("x = (") == "x = ("


def test_deep_nesting_neither_crashes_nor_stalls():
    deep = "x = " + "(" * 3000 + "1" + ")" * 3000
    assert 0 <= codebleu([deep], ["x = 1"]).total <= 1


def test_it_is_a_metric_of_evaluate():
    demo = load("demo-code")
    result = evaluate({i.id: i.expected for i in demo}, demo, metrics=["codebleu"])
    assert result.metrics["codebleu"].value == pytest.approx(1)
    assert result.scores("codebleu") == pytest.approx(dict.fromkeys(demo.ids, 1.0))


def test_other_languages_are_refused():
    with pytest.raises(ValueError, match="`language` must be 'python', got 'java'"):
        codebleu(["x"], ["x"], language="java")
    with pytest.raises(ValueError, match="of one length >= 1, got 1 and 2"):
        codebleu(["x"], ["x", "y"])
