import math

import numpy as np
import pytest

from crucible_telemetry import MemoryStore, start_experiment
from crucible_telemetry.alerts import ALERT, NonFiniteLoss
from crucible_telemetry.training import CHECKPOINT, EPOCH, EVALUATION, STEP, TrainingLog

HASH = "ab" * 32


@pytest.fixture
def experiment():
    with start_experiment(
        name="t", store=MemoryStore(), capture_spans=False, alerts=[NonFiniteLoss()]
    ) as it:
        yield it


def test_everything_that_happens_in_a_training_is_an_event(experiment):
    log = TrainingLog(experiment)
    log.step(0, epoch=0, loss=2.5, learning_rate=1e-3, grad_norm=0.5, tokens=128, accuracy=0.25)
    log.epoch(0, loss=2.0, duration_s=3.0)
    log.evaluation(0, loss=1.5, f1=0.5)
    log.checkpoint(0, "step-0", HASH)
    events = {event.name: event for event in experiment.events()}
    assert set(events) == {STEP, EPOCH, EVALUATION, CHECKPOINT}
    assert events[STEP].attributes == {
        "crucible.training.step": 0,
        "crucible.training.segment": 0,
        "crucible.training.epoch": 0,
        "crucible.training.loss": 2.5,
        "crucible.training.learning_rate": 1e-3,
        "crucible.training.grad_norm": 0.5,
        "crucible.training.tokens": 128,
        "crucible.training.metric.accuracy": 0.25,
    }
    assert events[EPOCH].duration_s == 3.0
    assert events[EVALUATION].attributes["crucible.training.metric.f1"] == 0.5
    assert events[CHECKPOINT].attributes["crucible.training.sha256"] == HASH


def test_a_loss_that_is_not_finite_is_none_with_a_flag_and_an_alert(experiment):
    log = TrainingLog(experiment)
    for step, loss in enumerate([1.0, math.nan, math.inf, 0.5]):
        log.step(step, loss=loss)
    experiment.flush()
    experiment.flush()
    steps = list(experiment.events(names=[STEP]))
    assert [e.attributes.get("crucible.training.loss") for e in steps] == [1.0, None, None, 0.5]
    assert [e.attributes.get("crucible.training.loss_nonfinite") for e in steps] == [
        None, True, True, None,
    ]  # fmt: skip
    assert log.curve("loss") == [(0, 1.0), (3, 0.5)]
    alerts = list(experiment.events(names=[ALERT]))
    assert [a.attributes.get("crucible.alert.cleared_ns") is None for a in alerts] == [True, False]
    assert alerts[0].attributes["crucible.alert.message"] == "the loss of step 1 is not finite"


def test_after_a_resume_the_last_segment_counts(experiment):
    log = TrainingLog(experiment)
    for step in range(10):
        log.step(step, loss=float(step))
    resumed = TrainingLog(experiment)  # a process that starts again
    for step in range(5, 8):
        resumed.step(step, loss=100.0 + step)
    curve = resumed.curve("loss")
    # Steps 8 and 9 of the first segment were never taken by the run that goes on.
    assert curve == [(n, float(n)) for n in range(5)] + [(n, 100.0 + n) for n in range(5, 8)]
    segments = [e.attributes["crucible.training.segment"] for e in experiment.events(names=[STEP])]
    assert segments == [0] * 10 + [1] * 3


def test_curves_are_smoothed_without_a_bias_at_the_start_and_thinned(experiment):
    log = TrainingLog(experiment)
    values = [4.0, 2.0, 1.0]
    for step, value in enumerate(values):
        log.step(step, loss=value, extra=value)
    # w = 0.5, closed form: sum of w^(n-k) v_k over sum of w^(n-k)
    wanted = [4.0, (0.5 * 4 + 2) / 1.5, (0.25 * 4 + 0.5 * 2 + 1) / 1.75]
    assert [value for _, value in log.curve("loss", smoothing=0.5)] == pytest.approx(wanted)
    assert log.curve("extra") == [(0, 4.0), (1, 2.0), (2, 1.0)]
    for step in range(3, 1_000):
        log.step(step, loss=0.0)
    thin = log.curve("loss", max_points=10)
    assert len(thin) == 10
    assert (thin[0][0], thin[-1][0]) == (0, 999)
    assert log.curve("nothing") == []


def test_scalars_of_numpy_are_numbers(experiment):
    log = TrainingLog(experiment)
    log.step(0, loss=np.float32(0.5))
    assert log.curve("loss") == [(0, 0.5)]
    assert next(experiment.events()).altered is None


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda log: log.step(-1), "`step` must be an integer >= 0, got -1"),
        (lambda log: log.step(1.5), "`step` must be an integer"),
        (lambda log: log.step(0, loss="x"), "`loss` must be a number, got 'x'"),
        (lambda log: log.step(0, mine="x"), "`mine` must be a number"),
        (lambda log: log.epoch(True), "`epoch` must be an integer"),
        (lambda log: log.checkpoint(0, "x", "abc"), "`sha256` must be 64"),
        (lambda log: log.curve("loss", smoothing=1.0), "`smoothing` must be in"),
        (lambda log: log.curve("loss", max_points=1), "`max_points` must be >= 2"),
    ],
)
def test_bad_arguments(experiment, call, match):
    with pytest.raises(ValueError, match=match):
        call(TrainingLog(experiment))
