"""Logs of other tools, as those tools wrote them (see scripts/record_foreign_logs.py)."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from crucible_bench.clusters import cluster_mean
from crucible_harness import analyse, report
from crucible_harness.errors import ForeignLogError
from crucible_harness.importers import import_logs, read_logs
from crucible_harness.importers.inspect_ai import _zipfile
from crucible_harness.observations import by_item, observe
from crucible_harness.recorded import load_run

LOGS = Path(__file__).parent / "logs"
INSPECT = [LOGS / "inspect" / "plain.eval", LOGS / "inspect" / "hinted.eval"]
LM_EVAL = [LOGS / "lm_eval" / "plain", LOGS / "lm_eval" / "hinted"]


def items_of(run, condition):
    """Return each item's mean score under a condition."""
    values = by_item(observe(run, run.metrics[0]).counted[condition])
    return values[np.isfinite(values)]


def header_of(path):
    if path.suffix == ".json":
        return json.loads(path.read_text())
    with _zipfile().ZipFile(path) as archive:
        return json.loads(archive.read("header.json"))


def test_inspect_logs_give_inspects_own_mean_and_standard_error(tmp_path):
    run = load_run(import_logs(INSPECT, directory=tmp_path))
    assert run.conditions == ("plain", "hinted")
    for path in INSPECT:
        (score,) = header_of(path)["results"]["scores"]
        scores = items_of(run, path.stem)
        assert len(scores) == score["scored_samples"]
        assert scores.mean() == pytest.approx(score["metrics"]["accuracy"]["value"], abs=1e-9)
        error = scores.std(ddof=1) / math.sqrt(len(scores))
        assert error == pytest.approx(score["metrics"]["stderr"]["value"], abs=1e-9)


def test_the_clustered_standard_error_is_inspects(tmp_path):
    # `stderr(cluster=...)` of this version is CR1: Miller 2024 with the factor C / (C - 1)
    path = LOGS / "inspect" / "plain.json"
    (score,) = header_of(path)["results"]["scores"]
    run = load_run(import_logs([path], directory=tmp_path))
    groups = [item.metadata["group"] for item in run.items]
    found = cluster_mean(items_of(run, run.conditions[0]), groups, variance="CR1")
    assert found.se == pytest.approx(score["metrics"]["stderr"]["value"], abs=1e-9)


def test_lm_eval_logs_give_its_own_mean_and_standard_error(tmp_path):
    run = load_run(import_logs(LM_EVAL, directory=tmp_path))
    assert run.conditions == ("smollm2-135m plain", "smollm2-135m hinted")
    for folder in LM_EVAL:
        (file,) = folder.glob("results_*.json")
        results = json.loads(file.read_text())["results"]["sums"]
        scores = items_of(run, f"smollm2-135m {folder.name}")
        assert len(scores) == results["sample_len"]
        assert scores.mean() == pytest.approx(results["exact_match,number"], abs=1e-9)
        error = scores.std(ddof=1) / math.sqrt(len(scores))
        assert error == pytest.approx(results["exact_match_stderr,number"], abs=1e-9)


def test_an_import_is_a_run_that_says_what_it_is(tmp_path):
    folder = import_logs(INSPECT, directory=tmp_path, metric="accuracy", sesoi=0.1)
    assert import_logs(INSPECT, directory=tmp_path, metric="accuracy", sesoi=0.1) == folder
    run, analysis = load_run(folder), analyse(folder)
    assert run.manifest["imported"]["logs"][0]["sha256"]
    assert run.status == "complete"
    (h1,) = analysis.hypotheses
    assert (h1.hypothesis.control, h1.hypothesis.treatment) == ("plain", "hinted")
    assert h1.contrast.method == "mcnemar_midp"
    assert "not designed here, not preregistered" in analysis.deviations[0]
    assert not analysis.warnings
    files = report(folder, formats=("markdown", "latex", "html", "jupyter", "json"))
    for name in ("markdown", "latex", "html"):
        assert "not designed here, not preregistered" in files[name].read_text()


def test_formats_mix_and_one_json_log_equals_the_archive_of_the_same_answers(tmp_path):
    mixed = import_logs([LOGS / "inspect" / "plain.json", INSPECT[1]], directory=tmp_path)
    assert analyse(mixed).items_analysed == len(load_run(mixed).items)


def table(tmp_path, text, name="scores.csv"):
    file = tmp_path / name
    file.write_text(text)
    return file


TABLE = "item,condition,repeat,score\n" + "".join(
    f"q{i},{c},{r},{(i + r + (c == 'b')) % 2}\n" for i in range(6) for c in "ab" for r in (0, 1)
)


def test_a_plain_table_is_read_and_unmatched_items_are_named(tmp_path):
    file = table(tmp_path, TABLE + "q9,a,0,1\n")
    analysis = analyse(import_logs([file], directory=tmp_path))
    assert analysis.items_analysed == 6
    assert analysis.items_planned == 7
    assert any("1 items of a are not in every log" in d and "q9" in d for d in analysis.deviations)
    (h1,) = analysis.hypotheses
    assert h1.contrast.n == 6


def test_a_table_of_json_lines_with_failures_counts_them_as_wrong(tmp_path):
    rows = [
        {"item": f"q{i}", "condition": c, "score": 1.0, "latency_s": 0.5} for i in range(4)
        for c in "ab"
    ]  # fmt: skip
    rows[0] |= {"score": None, "error": "RateLimitError: too many"}
    file = table(tmp_path, "\n".join(map(json.dumps, rows)), "scores.jsonl")
    analysis = analyse(import_logs([file], directory=tmp_path))
    assert analysis.conditions["a"].failed_by_class == {"RateLimitError": 1}
    assert analysis.conditions["a"].metrics["score"].value == 0.75


def test_items_match_by_what_was_asked_where_their_ids_do_not_agree(tmp_path):
    rows = [("1", "a", "x?", 1), ("2", "a", "y?", 0), ("1", "b", "y?", 1), ("2", "b", "x?", 1)]
    lines = [dict(zip(("item", "condition", "input", "score"), row, strict=True)) for row in rows]
    file = table(tmp_path, "\n".join(map(json.dumps, lines)), "scores.jsonl")
    folder = import_logs([file], directory=tmp_path)
    run = load_run(folder)
    assert run.manifest["imported"]["matched_by"] == "content"
    asked = {item.id: item.input for item in run.items}
    scores = {(c.condition, asked[c.item]): c.scores["score"] for c in run.cells}
    assert scores == {("a", "x?"): 1, ("a", "y?"): 0, ("b", "y?"): 1, ("b", "x?"): 1}


def truncated(tmp_path, source):
    data = source.read_bytes()
    file = tmp_path / source.name
    file.write_bytes(data[: len(data) // 2])
    return file


def future(tmp_path):
    log = json.loads((LOGS / "inspect" / "plain.json").read_text())
    file = tmp_path / "future.json"
    file.write_text(json.dumps({**log, "version": 3}))
    return file


def without_results(tmp_path):
    (source,) = LM_EVAL[0].glob("samples_*")
    return Path(shutil.copy(source, tmp_path))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda tmp: truncated(tmp, INSPECT[0]), "truncated or no Inspect log"),
        (lambda tmp: truncated(tmp, LOGS / "inspect" / "plain.json"), "truncated or no Inspect"),
        (future, "version 3; version 2 can be read"),
        (without_results, "needs results_"),
        (lambda tmp: table(tmp, '{"a": 1}', "x.json"), "version None"),
        (lambda tmp: table(tmp, "hello", "x.eval"), "truncated or no Inspect log"),
        (lambda tmp: table(tmp, "", "x.csv"), "holds no rows"),
        (lambda tmp: table(tmp, "a,b\n1,2\n"), "no column 'item'"),
        (lambda tmp: table(tmp, "item,condition\nq,a\n"), "has no score"),
        (lambda tmp: table(tmp, "item,condition,score\nq,a,many\n"), "line 2: `score` must be"),
        (lambda tmp: table(tmp, "item,condition,score\nq,a,nan\n"), "must be finite"),
        (lambda tmp: table(tmp, "item,condition,score\nq,a,1\nq,a,0\n"), "stands twice"),
        (lambda tmp: table(tmp, "item,condition,score\nq,a\n"), "not as many fields"),
        (lambda tmp: table(tmp, "x", "x.parquet"), "no log that can be read"),
        (lambda tmp: tmp / "missing.eval", "does not exist"),
        (lambda tmp: tmp, "holds no .eval log"),
    ],
)
def test_a_log_that_cannot_be_used_is_one_clear_error(tmp_path, make, said):
    with pytest.raises(ForeignLogError, match=said):
        read_logs([make(tmp_path)])


def test_a_question_that_the_logs_cannot_answer_is_refused(tmp_path):
    file = table(tmp_path, TABLE)
    for wrong, said in (
        ({"metric": "rouge"}, "`metric` must be one of score"),
        ({"control": "a"}, "given together"),
        ({"control": "a", "treatment": "z"}, "`treatment` must be one of a, b"),
    ):
        with pytest.raises(ValueError, match=said):
            import_logs([file], directory=tmp_path, **wrong)
    unbounded = table(tmp_path, TABLE.replace(",1\n", ",7\n"), "other.csv")
    with pytest.raises(ValueError, match="`sesoi` must be given"):
        import_logs([unbounded], directory=tmp_path)
    apart = table(tmp_path, "item,condition,score\nq1,a,1\nq2,b,1\n", "apart.csv")
    with pytest.raises(ForeignLogError, match="no item in common"):
        import_logs([apart], directory=tmp_path)
