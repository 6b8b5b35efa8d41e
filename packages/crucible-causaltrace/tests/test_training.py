import doctest
import json

import pytest

from crucible_causaltrace import Chain, Event, training
from crucible_causaltrace.training import TrainingTrace


@pytest.fixture
def trace():
    ticks = iter(range(100, 1000, 10))
    return TrainingTrace(Chain("tune"), clock=lambda: float(next(ticks)))


def test_a_run_becomes_a_line_of_observed_events(trace):
    trace.started(model="smollm2", parameters={"rank": 8})
    trace.epoch(1, metrics={"loss": 0.7, "accuracy": None}, duration_s=2.5)
    trace.checkpoint("step-100", metrics={"loss": 0.7})
    trace.early_stopped("no better loss for 3 epochs", best="step-100")
    trace.evaluated({"accuracy": 0.5}, dataset="held-out")
    trace.finished("stopped", reason="early")
    chain = trace.chain
    assert [e.type.removeprefix("training:") for e in chain] == [
        "started", "epoch", "checkpoint", "early_stopped", "evaluated", "finished",
    ]  # fmt: skip
    assert {e.source for e in chain} == {"system_observed"}
    assert [e.depends_on for e in chain] == [(), *((f"training-{n}",) for n in range(1, 6))]
    assert [e.time_s for e in chain] == [100.0, 110.0, 120.0, 130.0, 140.0, 150.0]
    epoch, stop = chain["training-2"], chain["training-4"]
    assert epoch.metadata == {"epoch": 1, "metrics": {"loss": 0.7, "accuracy": None}}
    assert (epoch.duration_s, epoch.decision) == (2.5, None)
    assert (stop.reasoning, stop.metadata) == ("no better loss for 3 epochs", {"best": "step-100"})
    assert chain["training-6"].outcome == "stopped"
    assert chain.validate() == []


def test_a_loss_that_is_not_finite_is_kept_in_words(trace):
    trace.started(model="m")
    event = trace.epoch(1, metrics={"loss": float("nan"), "grad": float("inf")})
    assert event.metadata["metrics"] == {"loss": "nan", "grad": "inf"}
    json.dumps(trace.chain.to_dict(), allow_nan=False)


def test_a_run_begins_beside_what_is_there(trace):
    trace.chain.add(Event(id="training-1", type="decision_made", source="self_report"))
    assert trace.started(model="m").id == "training-2"
    assert trace.epoch(1).depends_on == ("training-2",)


def test_steps_out_of_order_are_refused(trace):
    with pytest.raises(ValueError, match="after `started`"):
        trace.epoch(1)
    trace.started(model="m")
    with pytest.raises(ValueError, match="`started`"):
        trace.started(model="m")
    with pytest.raises(ValueError, match="`number`"):
        trace.epoch(0)
    with pytest.raises(ValueError, match="`outcome`"):
        trace.finished("done")
    trace.finished("completed")
    with pytest.raises(ValueError, match="before `finished`"):
        trace.evaluated({})
    assert len(trace.chain) == 2


def test_the_example_runs():
    assert doctest.testmod(training).failed == 0
    assert doctest.testmod(training).attempted == 3
