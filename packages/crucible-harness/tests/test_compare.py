"""Several runs, one answer: pooled numbers, and runs that ask another question."""

import json
from dataclasses import replace

import pytest

from crucible_harness import Hypothesis, compare, report, run_sync
from crucible_harness.compare import MetaReport, Study
from crucible_harness.errors import NotComparableError

H1 = Hypothesis(id="h1", metric="accuracy", treatment="treatment", control="control", sesoi=0.05)


@pytest.fixture
def ran(replayed, options, tmp_path):
    """Return a maker of run folders from outcomes of control and treatment."""

    def make(control: str, treatment: str, *, name: str, **design: object):
        at = replace(options, directory=tmp_path / name)
        rows = {"control": control, "treatment": treatment}
        return run_sync(replayed(rows, **{"hypotheses": [H1], **design}), options=at).path

    return make


def test_published_effects_are_pooled_to_the_published_numbers():
    # harness specification, acceptance 18 (REML with HKSJ)
    from crucible_bench.meta import meta_analysis

    pooled = meta_analysis([0.05, 0.08, 0.02, 0.06], [0.0004, 0.0009, 0.0006, 0.0005])
    studies = tuple(
        Study(
            run=f"run-{n}", digest="", n=100, effect=e, variance=v, interval=None,
            outcome="inconclusive", preregistered=False, simulated=False,
        )
        for n, (e, v) in enumerate(
            zip([0.05, 0.08, 0.02, 0.06], [0.0004, 0.0009, 0.0006, 0.0005], strict=True)
        )
    )  # fmt: skip
    meta = MetaReport(
        hypothesis="h1", metric="accuracy", unit="share", treatment="t", control="c",
        studies=studies, pooled=pooled, differences={}, sentence="",
    )  # fmt: skip
    rows = dict(map(tuple, meta.to_report()["sections"][2]["table"]["rows"]))
    assert rows["estimate"] == pytest.approx(0.050458, abs=1e-6)
    assert (rows["tau²"], rows["I² in %"]) == (0.0, 0.0)
    assert rows["Q"] == pytest.approx(2.698473, abs=1e-6)
    assert rows["95 % interval, low"] == pytest.approx(0.015078, abs=1e-6)
    assert rows["95 % interval, high"] == pytest.approx(0.085838, abs=1e-6)


def test_the_effect_of_a_run_is_weighed_by_the_variance_over_its_items(ran):
    one = ran("1100000000", "1111100000", name="one")
    other = ran("11000000000000000000", "11110000000000000000", name="other")
    meta = compare([one, other], hypothesis="h1")
    first, second = meta.studies
    # differences of items: 3 of 10 are 1, the others 0: variance p(1 - p) / (n - 1)
    assert (first.effect, first.variance) == (pytest.approx(0.3), pytest.approx(0.3 * 0.7 / 9))
    assert (second.effect, second.variance) == (pytest.approx(0.1), pytest.approx(0.1 * 0.9 / 19))
    assert meta.pooled.k == 2
    assert "Over 2 runs and 30 items" in meta.sentence
    assert set(meta.differences) >= {"data set", "items"}
    assert "prompt" not in meta.differences
    json.dumps(meta.to_dict())


def test_the_report_of_several_runs_has_a_forest_and_equal_numbers(ran, tmp_path):
    runs = [ran("1100000000", t, name=t) for t in ("1111100000", "1011100001", "1111000000")]
    meta = compare(runs, hypothesis="h1")
    files = report(
        meta, formats=("markdown", "json", "html", "latex", "jupyter"), path=tmp_path / "out"
    )
    text = files["markdown"].read_text()
    assert "treatment against control: 3 runs" in text
    assert "How the runs differ" in text
    assert "Some runs asked the same items" in text
    assert (tmp_path / "out" / "figures" / "chart-0.svg").read_text().startswith("<svg")
    assert f"{meta.pooled.estimate:.4f}" in text
    assert f"{meta.pooled.estimate:.4f}" in files["html"].read_text()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"metric": "cost_usd"}, "metric"),
        ({"direction": "less"}, "direction"),
        ({"treatment": "control", "control": "treatment"}, "treatment"),
        ({"id": "h2"}, "hypothesis"),
    ],
)
def test_runs_that_ask_another_question_are_refused(ran, change, field):
    metrics = ("accuracy", "cost_usd")
    one = ran("1100", "1110", name="one", metrics=metrics)
    other = ran("1100", "0111", name="other", metrics=metrics, hypotheses=[replace(H1, **change)])
    with pytest.raises(NotComparableError) as caught:
        compare([one, other], hypothesis="h1")
    assert caught.value.field == field


def test_a_run_without_variation_has_no_weight(ran):
    one, other = ran("1100", "1110", name="one"), ran("1100", "1100", name="other")
    with pytest.raises(NotComparableError, match="no variance"):
        compare([one, other], hypothesis="h1")


def test_one_run_is_no_comparison(ran):
    one = ran("1100", "1110", name="one")
    with pytest.raises(ValueError, match="at least 2 runs"):
        compare([one], hypothesis="h1")
    with pytest.raises(ValueError, match="each run once"):
        compare([one, one], hypothesis="h1")


class Evaluation:
    """What an adapter's evaluation says of itself."""

    def __init__(self, **change: object) -> None:
        self.change = change

    def to_report(self):
        return {
            "title": "Evaluation of <b>x</b>",
            "sections": [
                {
                    "title": "Metrics",
                    "text": "12 items.",
                    "table": {"columns": ["metric", "value"], "rows": [["f1", 0.75], ["n", None]]},
                    "chart": None,
                }
            ],
            **self.change,
        }


def test_whatever_can_say_what_it_found_is_rendered(tmp_path):
    files = report(Evaluation(), formats=("markdown", "html"), path=tmp_path)
    text = files["markdown"].read_text()
    assert "| f1 | 0.7500 |" in text
    assert "| n | unknown |" in text
    assert "<b>" not in files["html"].read_text().replace("<body>", "")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"title": ""}, "`title` of report must be a text"),
        ({"sections": "x"}, "`sections` of a report must be a list"),
        ({"sections": [{"title": "a", "table": {"columns": ["a"], "rows": [[1, 2]]}}]}, "1 cells"),
        ({"sections": [{"title": "a", "chart": {"data": {"url": "http://x"}}}]}, "not an address"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path, change, says):
    with pytest.raises(ValueError, match=says):
        report(Evaluation(**change), path=tmp_path)


def test_a_report_of_no_run_needs_a_place(ran):
    with pytest.raises(ValueError, match="`path` must be given"):
        report(Evaluation())
    with pytest.raises(ValueError, match="to_report"):
        report(42)
