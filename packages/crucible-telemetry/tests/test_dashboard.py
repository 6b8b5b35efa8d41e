import pytest
import vl_convert

from crucible_telemetry import MemoryStore, dashboard, start_experiment
from crucible_telemetry.training import TrainingLog


@pytest.fixture
def arms():
    store = MemoryStore()
    made = []
    for condition in ("control", "treat<b>ment"):
        with start_experiment(
            name="d", condition=condition, store=store, capture_spans=False
        ) as experiment:
            for n in range(30):
                experiment.record(
                    "call",
                    duration_s=0.1 + n / 100,
                    outcome="ok" if n % 10 else "timeout",
                    model="m</script>" if n % 2 else "n",
                    input_tokens=10,
                    cost_usd=0.5 if n else None,
                    item_id=f"q{n % 5}",
                )
            TrainingLog(experiment).step(0, loss=1.0)
        made.append(experiment)
    return made


CHARTS = {
    "loss_curve": lambda arms: dashboard.loss_curve(arms[0]),
    "latency_histogram": lambda arms: dashboard.latency_histogram(arms[0], bins=7),
    "latency_over_time": lambda arms: dashboard.latency_over_time(arms[0]),
    "outcome_bars": lambda arms: dashboard.outcome_bars(arms[0]),
    "cost_by_model": lambda arms: dashboard.cost_by_model(arms[0]),
    "model_comparison": lambda arms: dashboard.model_comparison(arms[0]),
    "heatmap": lambda arms: dashboard.heatmap(arms, value="duration_s"),
}


@pytest.mark.parametrize("name", CHARTS)
def test_every_chart_compiles_to_svg(arms, name):
    chart = CHARTS[name](arms)
    assert chart["$schema"].endswith("v5.json")
    svg = vl_convert.vegalite_to_svg(chart)
    assert svg.startswith("<svg")
    assert "<script" not in svg


@pytest.mark.parametrize("name", [name for name in CHARTS if name != "heatmap"])
def test_an_empty_experiment_gives_an_empty_chart(name):
    with start_experiment(name="e", store=MemoryStore(), capture_spans=False) as experiment:
        chart = CHARTS[name]([experiment])
        assert vl_convert.vegalite_to_svg(chart).startswith("<svg")


def values(chart):
    return chart["data"]["values"]


def test_charts_hold_what_was_measured(arms):
    bins = values(dashboard.latency_histogram(arms[0], bins=7))
    assert sum(part["requests"] for part in bins) == 30
    assert len(bins) == 7
    assert bins[0]["from"] == 0.1
    assert bins[-1]["to"] == pytest.approx(0.39)
    by_outcome = {
        row["outcome"]: row["requests"] for row in values(dashboard.outcome_bars(arms[0]))
    }
    assert (by_outcome["ok"], by_outcome["timeout"], by_outcome["error"]) == (27, 3, 0)
    cost = dashboard.cost_by_model(arms[0])
    assert {row["model"]: row["usd"] for row in values(cost)} == {"m</script>": 7.5, "n": 7.0}
    assert cost["title"] == "1 calls of unknown cost are not shown"
    cells = values(dashboard.heatmap(arms, value="ok"))
    assert len(cells) == 10
    # items q0 saw 6 requests in each arm, of which 0, 10 and 20 timed out
    assert next(c["mean"] for c in cells if c["item"] == "q0") == 0.5
    assert {cell["condition"] for cell in cells} == {"1: control", "2: treat<b>ment"}


def test_all_equal_latencies_are_one_bin():
    with start_experiment(name="e", store=MemoryStore(), capture_spans=False) as experiment:
        for _ in range(3):
            experiment.record("call", duration_s=0.5)
        bins = values(dashboard.latency_histogram(experiment, bins=4))
    assert [part["requests"] for part in bins] == [3, 0, 0, 0]


def test_very_many_requests_are_thinned_and_say_so(monkeypatch):
    monkeypatch.setattr("crucible_telemetry.dashboard._MOST_POINTS", 10)
    with start_experiment(name="e", store=MemoryStore(), capture_spans=False) as experiment:
        for _ in range(25):
            experiment.record("call", duration_s=0.5)
        chart = dashboard.latency_over_time(experiment)
    assert len(values(chart)) == 9
    assert chart["title"] == "every 3th of 25 requests"


@pytest.mark.parametrize(
    ("draw", "match"),
    [
        (lambda e: dashboard.latency_histogram(e, bins=0), "`bins` must be >= 1"),
        (lambda e: dashboard.heatmap(e.id), "`experiments` must be a sequence"),
        (lambda e: dashboard.heatmap([e], value="cost"), "`value` must be"),
    ],
)
def test_bad_arguments(arms, draw, match):
    with pytest.raises(ValueError, match=match):
        draw(arms[0])
