"""Logs of other tools, as those tools wrote them (see scripts/record_foreign_logs.py)."""

import io
import json
import math
import shutil
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible_bench.clusters import cluster_mean
from crucible_harness import analyse, report
from crucible_harness.errors import ForeignLogError
from crucible_harness.importers import import_logs, read_logs
from crucible_harness.importers.inspect_ai import _zipfile
from crucible_harness.importers.members import members
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
    # Neither how many calls it took nor a seed is in the logs.
    assert {summary.calls for summary in analysis.conditions.values()} == {None}
    assert "calls, seed" not in files["markdown"].read_text()


def test_one_log_alone_makes_no_claim_and_says_so(tmp_path):
    analysis = analyse(import_logs(INSPECT[:1], directory=tmp_path))
    assert analysis.hypotheses == ()
    assert analysis.deviations == (
        "Imported from Inspect AI 0.3.285: not designed here, not preregistered.",
    )


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


def test_true_and_false_are_scores_and_a_column_without_numbers_is_about_the_item(tmp_path):
    rows = [f"q{i},{c},{'True' if (c == 'b') or i % 2 else 'false'},t{i % 2}" for i in range(6)
            for c in "ab"]  # fmt: skip
    file = table(tmp_path, "item,condition,correct,topic\n" + "\n".join(rows) + "\n")
    run = load_run(import_logs([file], directory=tmp_path))
    assert [metric.name for metric in run.metrics] == ["correct"]
    assert [item.metadata["topic"] for item in run.items] == ["t0", "t1"] * 3
    assert items_of(run, "a").tolist() == [0, 1, 0, 1, 0, 1]
    assert items_of(run, "b").tolist() == [1] * 6


def test_what_inspect_says_of_cost_and_of_cached_tokens_is_kept(tmp_path):
    # Inspect 0.3.285, ModelUsage: `input_tokens` "excludes tokens reported in
    # input_tokens_cache_read and input_tokens_cache_write".
    log = json.loads((LOGS / "inspect" / "plain.json").read_text())
    for sample in log["samples"]:
        (usage,) = sample["model_usage"].values()
        usage |= {"input_tokens": 4, "input_tokens_cache_read": 30, "input_tokens_cache_write": 10,
                  "total_cost": 0.25}  # fmt: skip
    file = tmp_path / "priced.json"
    file.write_text(json.dumps(log))
    run = load_run(import_logs([file], directory=tmp_path))
    assert {cell.input_tokens for cell in run.cells} == {44}
    assert {cell.cost_usd for cell in run.cells} == {0.25}
    plain = load_run(import_logs([LOGS / "inspect" / "plain.json"], directory=tmp_path / "plain"))
    assert {cell.cost_usd for cell in plain.cells} == {None}


def of_two_tasks(source, folder):
    """Copy a run of lm-eval, with its task a second time under another name."""
    shutil.copytree(source, folder)
    (samples,) = folder.glob("samples_*")
    (results,) = folder.glob("results_*")
    shutil.copy(samples, samples.with_name(samples.name.replace("_sums_", "_again_")))
    said = json.loads(results.read_text())
    for part in ("results", "configs", "higher_is_better"):
        said[part]["again"] = said[part]["sums"]
    results.write_text(json.dumps(said))
    return folder


def test_the_tasks_of_two_runs_of_lm_eval_are_compared_together(tmp_path):
    folders = [of_two_tasks(source, tmp_path / source.name) for source in LM_EVAL]
    run = load_run(import_logs(folders, directory=tmp_path / "runs"))
    assert run.conditions == ("smollm2-135m plain", "smollm2-135m hinted")
    assert len(run.items) == 32
    assert [item.metadata["task"] for item in run.items] == ["again"] * 16 + ["sums"] * 16
    (one, _) = run.manifest["imported"]["logs"]
    assert list(one["sha256_of_files"]) == one["file"].split(", ")
    # of the same 16 answers twice, the mean is that of 16
    assert items_of(run, run.conditions[0]).mean() == pytest.approx(0.5625, abs=1e-9)


def test_a_log_that_is_named_twice_is_read_once(tmp_path):
    (samples,) = LM_EVAL[0].glob("samples_*")
    run = load_run(import_logs([samples, *LM_EVAL, *LM_EVAL], directory=tmp_path))
    assert run.conditions == ("smollm2-135m plain", "smollm2-135m hinted")
    assert len(run.cells) == 32


def test_the_tasks_of_a_single_run_are_what_is_compared(tmp_path):
    run = load_run(import_logs([of_two_tasks(LM_EVAL[0], tmp_path / "plain")], directory=tmp_path))
    assert len(run.conditions) == 2
    assert len(run.items) == 16
    assert run.manifest["imported"]["matched_by"] == "content"


def test_a_choice_by_likelihood_shows_the_likelihood_of_every_choice(tmp_path):
    folder = tmp_path / "plain"
    shutil.copytree(LM_EVAL[0], folder)
    (file,) = folder.glob("samples_*")
    row = json.loads(file.read_text().splitlines()[0])
    # as `multiple_choice` tasks write it: a (log-likelihood, is greedy) pair for each choice
    row["resps"] = [[["-1.5", "False"]], [["-0.5", "True"]]]
    row["filtered_resps"] = [["-1.5", "False"], ["-0.5", "True"]]
    file.write_text(json.dumps(row) + "\n")
    (log,) = read_logs([folder])
    assert log.samples[0].output == '[["-1.5", "False"], ["-0.5", "True"]]'


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(
    whole=st.dictionaries(st.sampled_from(["samples", "eval", "plan", "x"]), JSON),
    chunk=st.integers(1, 9), indent=st.sampled_from([None, 2]),
)  # fmt: skip
def test_an_object_that_is_read_piece_by_piece_is_the_object(whole, chunk, indent):
    read: dict[str, object] = {}
    with patch("crucible_harness.importers.members._CHUNK", chunk):
        for key, value in members(
            io.StringIO(json.dumps(whole, indent=indent)), one_by_one="samples"
        ):
            if key == "samples" and isinstance(whole[key], list):
                read.setdefault(key, []).append(value)
            else:
                read[key] = value
    # A list without elements yields none.
    assert read == {key: value for key, value in whole.items() if (key, value) != ("samples", [])}


@pytest.mark.parametrize("suffix", [".eval", ".json"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_wherever_inspect_logs_are_damaged_they_are_read_or_named(tmp_path_factory, suffix, data):
    damaged(LOGS / "inspect" / f"plain{suffix}", tmp_path_factory, data)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_wherever_lm_eval_logs_are_damaged_they_are_read_or_named(tmp_path_factory, data):
    source = data.draw(st.sampled_from(sorted(LM_EVAL[0].iterdir())))
    damaged(source, tmp_path_factory, data, beside=LM_EVAL[0])


def damaged(source, tmp_path_factory, data, beside=None):
    """Read a log that ends early, or in which some bytes are others."""
    folder = tmp_path_factory.mktemp("damaged")
    content = bytearray(source.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        places = st.integers(0, len(content) - 1)
        for place in data.draw(st.lists(places, min_size=1, max_size=8)):
            content[place] = data.draw(st.integers(0, 255))
    for file in [] if beside is None else beside.iterdir():
        shutil.copy(file, folder)
    (folder / source.name).write_bytes(content)
    refused = None
    try:
        read_logs([folder if beside is not None else folder / source.name])
    except ForeignLogError as error:
        refused = str(error)
    assert refused is None or str(folder) in refused


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
        (lambda tmp: table(tmp, '{"a": 1}', "x.json"), "it has no `version` and `eval`"),
        (lambda tmp: table(tmp, '{"version": 2, "eval": {}}', "x.json"), "holds no samples"),
        (lambda tmp: table(tmp, "[1, 2]", "x.json"), "truncated or no Inspect log"),
        (lambda tmp: next(LM_EVAL[0].glob("results_*")), "no Inspect log.*give the folder"),
        (lambda tmp: table(tmp, "hello", "x.eval"), "truncated or no Inspect log"),
        (lambda tmp: table(tmp, "", "x.csv"), "holds no rows"),
        (lambda tmp: table(tmp, "a,b\n1,2\n"), "no column 'item'"),
        (lambda tmp: table(tmp, "item,condition\nq,a\n"), "has no score"),
        (lambda tmp: table(tmp, "item,condition,score\nq,a,many\n"), "has no score"),
        (
            lambda tmp: table(tmp, "item,condition,score\nq,a,1\nr,a,many\n"),
            "line 3: `score` must be",
        ),
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
