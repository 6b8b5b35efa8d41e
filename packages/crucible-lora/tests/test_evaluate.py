import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from crucible_lora import Gate, create_experiment, evaluate, evaluate_sync, train, train_sync
from crucible_lora.demo import demo_findings, findings_schema
from crucible_lora.errors import CheckpointNotFoundError
from crucible_lora.evaluation import EvaluationReport
from crucible_lora.intervals import mean_t, ratio_t, wilson
from crucible_lora.items import read_items
from crucible_lora.measure import EvaluatedItem
from crucible_lora.schemas import JsonSchema
from crucible_lora.seeds import SeedSummary, across_seeds
from crucible_lora.tables import markdown_table

pytestmark = pytest.mark.anyio
SCHEMA = JsonSchema(findings_schema())


def read(text, item):
    """Return whether verdict and source are right."""
    try:
        return float(json.loads(text) == json.loads(item.expected))
    except ValueError:
        return 0.0


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The specification's run: 400 items, rank 16, rate 1e-2, batch 16, 200 updates."""
    experiment = create_experiment(
        "findings",
        {"base_model": "reference", "lr": 1e-2},
        directory=tmp_path_factory.mktemp("lora"),
    )
    report = train_sync(experiment, demo_findings(400), epochs=8, batch_size=16)
    return experiment, report


def judged(experiment):
    return evaluate_sync(
        experiment,
        demo_findings(100, held_out=True),
        schema=SCHEMA,
        scorers={"fields": read},
        gates=[Gate("schema_compliance", 0.95), Gate("fields", 0.90)],
        max_tokens=60,
    )


@pytest.fixture(scope="module")
def evaluated(trained):
    experiment, _ = trained
    return judged(experiment)


@pytest.fixture(scope="module")
def three_seeds(trained, evaluated, tmp_path_factory):
    """The specification's run again with seeds 1 and 2."""
    found = [(trained[1], evaluated)]
    for seed in (1, 2):
        experiment = create_experiment(
            "findings", {"base_model": "reference", "lr": 1e-2},
            directory=tmp_path_factory.mktemp("lora"), seed=seed,
        )  # fmt: skip
        report = train_sync(experiment, demo_findings(400), epochs=8, batch_size=16)
        found.append((report, judged(experiment)))
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_reference_model_learns_the_demo_task(three_seeds, seed):
    report, evaluated = three_seeds[seed]
    assert (report.seed, report.steps) == (seed, 200)
    assert 5.4 <= report.loss_first <= 6.4  # ln 257 = 5.549 is uniform
    metrics = evaluated.metrics
    assert metrics["nll"].value <= 0.02
    assert metrics["schema_compliance"].value >= 0.98
    assert metrics["fields"].value >= 0.95
    assert evaluated.delta["schema_compliance"].base == 0.0
    assert 5.4 <= evaluated.delta["nll"].base <= 6.4
    assert evaluated.quality.passed


def test_seeds_are_summed_up_by_t_over_their_differences(three_seeds):
    reports = [evaluated for _, evaluated in three_seeds]
    summary = across_seeds(reports)
    values = [report.delta["nll"].difference for report in reports]
    found = summary.delta["nll"]
    assert (found.n, found.least, found.most) == (3, min(values), max(values))
    assert (found.mean, found.sd) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    expected = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)
    assert "over training seeds" in summary.markdown()
    assert "One training seed" not in summary.markdown()
    again = SeedSummary.from_dict(json.loads(json.dumps(summary.to_dict())))
    assert again == summary


def test_seeds_that_cannot_be_compared_are_refused(three_seeds):
    one, two, _ = (evaluated for _, evaluated in three_seeds)
    for reports, message in (
        ([one], "at least 2 seeds, got 1"),
        ([one, one], "different adapters"),
        ([one, replace(two, compared_to=None)], "compare with the same model"),
        ([one, replace(two, items=two.items[1:])], "on the same items"),
    ):
        with pytest.raises(ValueError, match=message):
            across_seeds(reports)


def test_few_items_make_a_weak_member(tmp_path):
    experiment = create_experiment(
        "weak", {"base_model": "reference", "lr": 1e-2}, directory=tmp_path
    )
    train_sync(experiment, demo_findings(24), epochs=30, batch_size=16)
    report = evaluate_sync(
        experiment, demo_findings(100, held_out=True), schema=SCHEMA, max_tokens=60,
        compare_to=None,
        scorers={"verdict": lambda t, i: float(json.loads(t)["verdict"] == json.loads(i.expected)["verdict"])},
    )  # fmt: skip
    assert report.metrics["schema_compliance"].value >= 0.95
    assert 0.5 <= report.metrics["verdict"].value <= 0.75
    assert report.delta is None


def test_rates_get_wilsons_interval_and_differences_one_paired_by_item(evaluated):
    found = evaluated.metrics["schema_compliance"]
    k = round(found.value * 100)
    expected = stats.binomtest(k, 100).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    delta = evaluated.delta["nll"]
    per_item = [(i.nll, i.target_tokens) for i in evaluated.items]
    assert sum(n for n, _ in per_item) / sum(t for _, t in per_item) == pytest.approx(delta.tuned)
    assert delta.low < delta.difference < delta.high < 0
    assert delta.n == 100


def test_a_difference_without_spread_still_has_an_interval(evaluated):
    delta = evaluated.delta["schema_compliance"]
    assert delta.difference == 1.0
    # Hoeffding for differences in [-1, 1]: 1 - 2 sqrt(ln(2 / .05) / 200)
    assert delta.low == pytest.approx(1 - 2 * np.sqrt(np.log(40) / 200))
    assert delta.method == "hoeffding"


def test_every_form_of_the_report_shows_the_same(evaluated, tmp_path):
    assert EvaluationReport.from_dict(json.loads(json.dumps(evaluated.to_dict()))) == evaluated
    text = evaluated.markdown()
    assert "backend in-process" in text
    assert "One training seed" in text
    assert "Quality gates: pass" in text
    report = evaluated.to_report()
    assert json.dumps(report, allow_nan=False)
    assert [s["title"] for s in report["sections"]] == [
        "Metrics",
        "Against base",
        "Quality gates: pass",
    ]
    for section in report["sections"]:
        assert all(len(row) == len(section["table"]["columns"]) for row in section["table"]["rows"])
    assert report["sections"][0]["text"].startswith("100 items, one answer each")
    said = report["sections"][1]["chart"]["description"]  # for who cannot see the chart
    assert f"schema_compliance {evaluated.delta['schema_compliance'].difference:+.3f}" in said
    evaluated.to_csv(tmp_path / "items.csv")
    rows = rows_of(tmp_path / "items.csv")
    assert len(rows) == 100
    assert rows[0]["exact_match"] == str(evaluated.items[0].scores["exact_match"])
    evaluated.to_jsonl(tmp_path / "items.jsonl")
    lines = (tmp_path / "items.jsonl").read_text(encoding="utf-8").splitlines()
    assert EvaluatedItem.from_dict(json.loads(lines[7])) == evaluated.items[7]


async def test_cut_off_outputs_count_as_wrong(trained):
    experiment, _ = trained
    asked = []

    def scorer(text, item):
        asked.append(text)
        return 1.0

    report = await evaluate(
        experiment, demo_findings(5, held_out=True), max_tokens=3, schema=SCHEMA,
        scorers={"always": scorer}, compare_to=None, gates=[Gate("always", 0.1)],
    )  # fmt: skip
    assert not asked
    assert report.metrics["always"].value == 0.0
    assert report.metrics["always"].n == 5
    assert (report.quality.n_expected, report.quality.n_produced, report.quality.n_failed) == (
        5,
        5,
        5,
    )
    assert {i.finish for i in report.items} == {"length"}


async def test_what_was_not_asked_for_is_unknown_and_not_zero(trained):
    experiment, _ = trained
    report = await evaluate(
        experiment, demo_findings(5, held_out=True), max_tokens=60, compare_to=None,
        gates=[Gate("schema_compliance", 0.9)],
    )  # fmt: skip
    missing = report.metrics["schema_compliance"]
    assert (missing.value, missing.reason) == (None, "needs a `schema`")
    assert report.quality.verdict == "not_computed"
    assert report.cost_usd is None


async def test_a_scorer_that_cannot_tell_leaves_its_gate_open(trained):
    experiment, _ = trained
    seen = iter(range(100))
    report = await evaluate(
        experiment, demo_findings(5, held_out=True), max_tokens=60, compare_to=None,
        scorers={"half": lambda text, item: None if next(seen) % 2 else 1.0},
        gates=[Gate("half", 0.1)],
    )  # fmt: skip
    assert report.metrics["half"].n == 3
    assert report.metrics["half"].reason == "2 of 5 items have no score"
    assert report.quality.verdict == "not_computed"


async def test_several_answers_per_item_are_averaged_within_it(trained):
    experiment, _ = trained
    options = {"samples": 3, "temperature": 1.0, "max_tokens": 60, "compare_to": None, "seed": 4}
    one, two = [
        await evaluate(experiment, demo_findings(6, held_out=True), **options) for _ in range(2)
    ]
    assert len(one.items) == 18
    assert one.metrics["exact_match"].n == 6
    assert [i.text for i in one.items] == [i.text for i in two.items]


async def test_learned_items_are_no_test(trained):
    experiment, _ = trained
    leaked = [{**demo_findings(1)[0], "id": "under another id"}]
    with pytest.raises(ValueError, match="1 items were learned: under another id"):
        await evaluate(experiment, leaked, gates=[Gate("exact_match", 0.5)])
    report = await evaluate(experiment, leaked, max_tokens=60, compare_to=None)
    assert "These are not held-out items" in report.markdown()


async def test_checkpoints_are_compared_with_each_other(tmp_path):
    experiment = create_experiment(
        "two", {"base_model": "reference", "lr": 1e-2}, directory=tmp_path
    )
    await train(experiment, demo_findings(16), epochs=10, checkpoint_every=5)
    report = await evaluate(
        experiment, demo_findings(8, held_out=True), checkpoint="latest",
        compare_to="step-000005", max_tokens=8,
    )  # fmt: skip
    assert (report.checkpoint, report.compared_to) == ("step-000020", "step-000005")
    assert report.delta["nll"].difference < 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 2}, "`samples` must be 1 at temperature 0, got 2"),
        ({"samples": 0}, "`samples` must be >= 1"),
        ({"max_tokens": 0}, "`max_tokens` must be >= 1"),
        ({"temperature": -1.0}, "`temperature` must be >= 0"),
        ({"gates": [Gate("schema_complaince", 0.9)]}, "did you mean 'schema_compliance'"),
        ({"scorers": {"nll": read}}, "`scorers` must not be named like a metric"),
        ({"dataset": []}, "`dataset` must not be empty"),
    ],
)
async def test_bad_arguments_are_named(trained, options, message):
    experiment, _ = trained
    arguments = {"dataset": demo_findings(2, held_out=True), **options}
    with pytest.raises(ValueError, match=message):
        await evaluate(experiment, arguments.pop("dataset"), **arguments)


async def test_nothing_trained_is_nothing_to_evaluate(tmp_path):
    experiment = create_experiment("new", {"base_model": "reference"}, directory=tmp_path)
    with pytest.raises(CheckpointNotFoundError, match="nothing was trained yet"):
        await evaluate(experiment, demo_findings(2))
    with pytest.raises(CheckpointNotFoundError):
        experiment.sampler()


def test_intervals_are_those_of_scipy():
    values = np.array([0.2, 0.9, 0.4, 0.4, 0.7])
    low, high, method = mean_t(values, level=0.95)
    expected = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    assert (low, high) == pytest.approx(expected, abs=1e-12)
    assert method == "t"
    for k in (0, 3, 10):
        low, high, _ = wilson(k, 10, level=0.95)
        expected = stats.binomtest(k, 10).proportion_ci(0.95, method="wilson")
        assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert mean_t(np.array([0.3, 0.3]), level=0.95)[:2] == (None, None)
    assert mean_t(np.array([0.3]), level=0.95)[:2] == (None, None)


def test_the_interval_of_a_ratio_covers_it():
    # 2,000 samples of 40 items: three standard errors of a coverage of .95 are .015
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(2_000):
        tokens = rng.integers(5, 30, 40)
        sums = tokens * 0.5 + rng.normal(0, 1, 40) * np.sqrt(tokens)
        low, high, _ = ratio_t(sums, tokens.astype(float), level=0.95)
        covered += low <= 0.5 <= high
    assert covered / 2_000 == pytest.approx(0.95, abs=0.02)


@example("a|b\\|c`d\n| e | f |")
@settings(deadline=None)
@given(st.text(max_size=30))
def test_no_text_of_a_model_breaks_a_table(text):
    from markdown_it import MarkdownIt

    lines = markdown_table(["a", "b"], [[text, "end"]]).splitlines()
    assert len(lines) == 3
    html = MarkdownIt("commonmark").enable("table").render("\n".join(lines))
    assert html.count("<td>") == 2
    assert "<td>end</td>" in html


@example("=1+1")
@example("@sum")
@settings(deadline=None)
@given(st.text(max_size=30))
def test_no_text_of_a_model_is_a_formula_or_breaks_a_line(text):
    import tempfile
    from pathlib import Path

    item = EvaluatedItem(
        item_id="x", sample=0, text=text, parsed=None, scores={"s": 1.0}, nll=None,
        target_tokens=1, finish="stop", error=None,
    )  # fmt: skip
    report = EvaluationReport(
        experiment_id="e", backend="b", checkpoint="c", checkpoint_sha256="", compared_to=None,
        n_items=1, samples=1, metrics={}, quality=None, delta=None, items=(item,), cost_usd=None,
        duration_s=0.0,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "items.csv"
        report.to_csv(path)
        (row,) = rows_of(path)
        report.to_jsonl(Path(folder) / "items.jsonl")
        lines = (Path(folder) / "items.jsonl").read_text(encoding="utf-8").split("\n")
    assert row["s"] == "1.0"
    assert row["text"].lstrip("'") == text.lstrip("'")
    assert row["text"][:1] not in ("=", "+", "-", "@", "\t", "\r")
    assert json.loads(lines[0])["text"] == text


def test_the_items_reach_scorers_as_they_are():
    item = read_items([{"id": "a", "input": "q", "expected": {"k": 1}, "context": "c", "metadata": {"m": 2}}])[0]  # fmt: skip
    assert (item.expected, item.context, item.metadata) == ({"k": 1}, "c", {"m": 2})
