import csv
import json

import altair
import pyarrow.parquet
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crucible_lora import create_experiment, evaluate_sync, results, train_sync
from crucible_lora.dashboards import (
    gradient_flow,
    latency_histogram,
    learning_rate,
    loss_curve,
    quality_over_steps,
    sweep_parallel,
    thin,
)
from crucible_lora.demo import demo_findings
from crucible_lora.errors import MissingExtraError
from crucible_lora.gradients import GradFlow, GradNorm
from crucible_lora.sweep_report import SweepReport, SweepRun, rank


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    experiment = create_experiment(
        "a", {"base_model": "reference", "rank": 2, "lr": 1e-2},
        directory=tmp_path_factory.mktemp("lora"),
    )  # fmt: skip
    trained = train_sync(
        experiment, demo_findings(16), epochs=2, evaluate_every=2, hook_every=2,
        gradient_hooks=[GradNorm(), GradFlow()], validation=demo_findings(4, held_out=True),
    )  # fmt: skip
    evaluated = evaluate_sync(experiment, demo_findings(4, held_out=True), max_tokens=4)
    return trained, evaluated


def test_updates_and_evaluations_are_rows_of_one_table(reports, tmp_path):
    results.to_csv(reports, tmp_path / "a.csv")
    results.to_json(reports, tmp_path / "a.json")
    results.to_parquet(reports, tmp_path / "a.parquet")
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    objects = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    table = pyarrow.parquet.read_table(tmp_path / "a.parquet").to_pylist()
    assert objects == table
    assert [row["kind"] for row in rows] == ["step"] * 4 + ["evaluation"]
    trained, evaluated = reports
    assert [o["loss"] for o in objects[:4]] == [row.loss for row in trained.history]
    assert objects[0]["gradients.norm.global"] == pytest.approx(trained.history[0].grad_norm)
    assert objects[1]["validation.nll"] == trained.history[1].validation["nll"]
    assert objects[4]["nll"] == evaluated.metrics["nll"].value
    assert objects[4]["delta.nll"] == evaluated.delta["nll"].difference
    assert objects[0]["delta.nll"] is None
    assert rows[0]["delta.nll"] == ""


def test_the_same_reports_give_the_same_bytes(reports, tmp_path):
    for kind, write in (("csv", results.to_csv), ("json", results.to_json), ("parquet", results.to_parquet)):  # fmt: skip
        for name in ("one", "two"):
            write(reports, tmp_path / f"{name}.{kind}")
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()


class Told:
    def __init__(self, text):
        self.text = text

    def to_rows(self):
        return [{"text": self.text, "more": {"list": [self.text], "n": 1}}, {"flag": True}]


@example("=1+1")
@example('a"b,c\r\n')
@settings(deadline=None)
@given(st.text(max_size=20))
def test_no_text_breaks_an_export(text):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        results.to_csv([Told(text)], path / "a.csv")
        results.to_json([Told(text)], path / "a.json")
        results.to_parquet([Told(text)], path / "a.parquet")
        with (path / "a.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        objects = json.loads((path / "a.json").read_text(encoding="utf-8"))
        table = pyarrow.parquet.read_table(path / "a.parquet").to_pylist()
    assert len(rows) == len(objects) == len(table) == 2
    assert objects[0]["text"] == text
    assert json.loads(objects[0]["more.list"]) == [text]
    assert rows[0]["text"][:1] not in ("=", "+", "-", "@", "\t", "\r")
    assert (table[0]["more.n"], table[1]["flag"], table[0]["flag"]) == (1, True, None)


def test_parquet_without_its_library_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"crucible-lora\[parquet\]"):
        results.to_parquet([Told("x")], tmp_path / "a.parquet")


def sweep_report():
    runs = tuple(
        SweepRun(
            run_id=f"r{i}", experiment_id=f"e{i}", params={"rank": 2**i, "schedule": s},
            replication=0, seed=0, round=0, steps=1, value=v,
        )
        for i, (s, v) in enumerate([("linear", 1.0), ("cosine", 2.0), ("linear", 3.0)])
    )  # fmt: skip
    ranking = rank(runs, direction="min")
    return SweepReport(
        name="s", method="grid", metric="nll", direction="min", backend="in-process", runs=runs,
        ranking=ranking, best=ranking[0], indistinguishable_from_best=(), optimism=0.0,
        optimism_reason=None, rungs=(), updates=3, test=None,
    )  # fmt: skip


def test_every_chart_is_one_that_vega_lite_draws(reports):
    trained, _ = reports
    charts = [
        loss_curve(trained, smoothing=0.5),
        learning_rate([trained]),
        gradient_flow(trained),
        quality_over_steps(trained),
        sweep_parallel(sweep_report()),
        latency_histogram([0.1, 0.2, 0.2]),
    ]
    for chart in charts:
        altair.Chart.from_dict(chart)  # validates against the schema
        assert json.dumps(chart, allow_nan=False)
        assert chart["data"]["values"]


def test_a_curve_shows_the_losses_there_were(reports):
    trained, _ = reports
    plain = [v for v in loss_curve(trained)["data"]["values"] if v["line"] == "training loss"]
    assert [v["loss"] for v in plain] == [row.loss for row in trained.history]
    looks = [v for v in loss_curve(trained)["data"]["values"] if v["line"] == "held-out nll"]
    assert [v["step"] for v in looks] == [2, 4]
    smooth = loss_curve(trained, smoothing=0.5)["data"]["values"][:2]
    a, b = trained.history[0].loss, trained.history[1].loss
    # 1/2 a + 1/2 b, corrected for the start: (a / 4 + b / 2) / (3 / 4)
    assert [v["loss"] for v in smooth] == pytest.approx([a, (a + 2 * b) / 3])


def test_points_are_thinned_evenly_and_keep_their_ends():
    assert thin(range(11), 3) == [0, 5, 10]
    assert thin(range(3), 5) == [0, 1, 2]
    with pytest.raises(ValueError, match="`max_points` must be >= 2"):
        thin(range(3), 1)


def test_a_parallel_chart_puts_each_value_in_its_place():
    values = sweep_parallel(sweep_report())["data"]["values"]
    places = {(v["axis"], v["value"]): v["place"] for v in values}
    assert places[("rank", "1")] == 0.0
    assert places[("rank", "2")] == pytest.approx(1 / 3)
    assert places[("rank", "4")] == 1.0
    assert places[("schedule", "cosine")] == 0.0
    assert places[("nll", "2.0")] == 0.5


def test_a_chart_of_nothing_is_refused(reports):
    trained, _ = reports
    bare = type(trained).from_dict({**trained.to_dict(), "history": []})
    for wrong, message in (
        (lambda: gradient_flow(bare), "with the hook GradFlow"),
        (lambda: quality_over_steps(bare), "looked at held-out items"),
        (lambda: latency_histogram([]), "numbers >= 0"),
        (lambda: latency_histogram([-1.0]), "numbers >= 0"),
        (lambda: latency_histogram([1.0], bins=0), "`bins` must be >= 1"),
        (lambda: loss_curve(bare, smoothing=1.0), r"`smoothing` must be in \[0, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()
