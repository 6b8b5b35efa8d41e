import math
import threading

import pytest

from crucible_telemetry import MemoryStore, start_experiment
from crucible_telemetry.alerts import (
    ALERT,
    CostAbove,
    Custom,
    ErrorRateAbove,
    LatencyAbove,
    LatencyOutlier,
    NonFiniteLoss,
    Reading,
)
from crucible_telemetry.event import Event
from crucible_telemetry.schema import INDEX
from crucible_telemetry.testing import example_row


def readings(rule, events):
    """Give a rule events of (start in s, fields) and return what it read after each."""
    watch = rule.watch()
    found = []
    for seq, (start_s, fields) in enumerate(events, 1):
        row = list(example_row(seq=seq, start_ns=int(start_s * 1e9)))
        for name, value in fields.items():
            row[INDEX[name]] = value
        found.append(watch(Event.from_row(tuple(row)), tuple(row)))
    return found


def holding(rule, events):
    return [n for n, reading in enumerate(readings(rule, events)) if reading and reading.holds]


def outcomes(failed, total):
    return [(0, {"outcome": "error" if n < failed else "ok"}) for n in range(total)]


def test_only_the_outlier_is_one():
    # specification, section 7, test 14: only 50 fires, with modified z 26.98
    events = [(n, {"duration_s": float(x)}) for n, x in enumerate([10, 11, 9, 10, 12, 10, 50])]
    assert holding(LatencyOutlier(), events) == [6]
    assert readings(LatencyOutlier(), events)[-1].value == pytest.approx(26.98)
    assert readings(LatencyOutlier(), [(0, {"duration_s": 1.0})] * 9)[-1] is None  # MAD is 0


def test_an_error_rate_is_above_only_where_its_interval_is():
    rule = ErrorRateAbove(0.10, window_s=60)
    # Wilson's lower ends: 0.0362, 0.0524 and 0.1455 (specification, section 7, test 14)
    assert not readings(rule, outcomes(1, 5))[-1].holds
    assert not readings(rule, outcomes(3, 20))[-1].holds
    assert readings(rule, outcomes(6, 20))[-1].holds
    assert holding(rule, outcomes(1, 1)) == []  # one failure never fires
    assert readings(rule, [(0, {"outcome": "cancelled"})]) == [None]


def test_windows_forget():
    late = [*outcomes(6, 20), (100, {"outcome": "ok"})]
    assert not readings(ErrorRateAbove(0.10, window_s=60), late)[-1].holds
    slow = [(n, {"duration_s": 2.0}) for n in range(20)]
    quick = [(100 + n, {"duration_s": 0.1}) for n in range(20)]
    rule = LatencyAbove(95, threshold_s=1.0, window_s=60)
    assert holding(rule, slow) == [19]  # twenty requests and not before
    assert readings(rule, slow + quick)[20] is None  # too few are left
    assert not readings(rule, slow + quick)[-1].holds
    assert readings(rule, slow)[-1].value == 2.0
    spent = [(0, {"cost_usd": 0.6}), (1, {"cost_usd": 0.6}), (100, {"cost_usd": 0.1})]
    assert holding(CostAbove(1.0, window_s=60), spent) == [1]
    assert holding(CostAbove(1.0), spent) == [1, 2]


def test_a_cost_inside_is_not_added_by_what_is_around_it():
    inside = {"trace_id": "t", "span_id": "b", "parent_span_id": "a", "cost_usd": 0.6}
    around = {"trace_id": "t", "span_id": "a", "cost_usd": 0.6}
    assert holding(CostAbove(1.0), [(0, inside), (0, around)]) == []


def test_names_choose_what_is_watched():
    events = [(0, {"outcome": "error", "name": "other"})] * 30
    assert holding(ErrorRateAbove(0.1, window_s=60, names=["call"]), events) == []
    assert holding(ErrorRateAbove(0.1, window_s=60), events) != []


def test_an_alert_fires_once_is_stored_and_arms_again_when_it_clears():
    fired = []
    with start_experiment(
        name="a",
        store=MemoryStore(),
        capture_spans=False,
        alerts=[LatencyOutlier(window_n=50)],
        on_alert=fired.append,
    ) as experiment:
        for x in [10, 11, 9, 10, 12, 10, 50, 60, 10, 11, 70]:
            experiment.record("call", duration_s=float(x))
        experiment.flush()
        assert [alert.rule for alert in fired] == ["LatencyOutlier"] * 2
        assert fired[0].value == pytest.approx(26.98)
        assert (fired[0].threshold, fired[0].cleared_ns) == (3.5, None)
        experiment.flush()  # what fired during the first was queued behind it
        stored = list(experiment.events(names=[ALERT]))
    assert [e.attributes.get("crucible.alert.cleared_ns") is None for e in stored] == [
        True,
        False,
        True,
    ]
    assert stored[0].attributes["crucible.alert.message"].startswith("call took 50 s")
    assert stored[0].attributes["crucible.alert.value"] == fired[0].value
    assert experiment.stop().stats.recorded == 11 + 3


def test_an_alert_of_the_last_event_is_stored_by_the_stop():
    experiment = start_experiment(
        name="a", store=MemoryStore(), capture_spans=False, alerts=[CostAbove(1.0)]
    )
    experiment.record("call", cost_usd=2.0)
    experiment.stop()
    assert [event.name for event in experiment.events(names=[ALERT])] == [ALERT]


def test_hooks_that_raise_are_logged_and_stop_nothing(caplog):
    def broken(event):
        raise RuntimeError("broken rule")

    def loud(alert):
        raise RuntimeError("broken hook")

    with start_experiment(
        name="a",
        store=MemoryStore(),
        capture_spans=False,
        alerts=[Custom(broken), Custom(lambda event: event.name)],
        on_alert=loud,
    ) as experiment:
        experiment.record("call")
        experiment.flush()
        experiment.flush()
        assert [e.name for e in experiment.events()] == ["call", ALERT]
    assert "the alert rule Custom failed" in caplog.text
    assert "on_alert failed for Custom" in caplog.text


def test_a_hook_on_the_writers_thread_cannot_wait_for_itself_and_is_told(caplog):
    asked = threading.Event()

    def stop(alert):
        asked.set()
        experiment.stop()

    with start_experiment(
        name="a", store=MemoryStore(), capture_spans=False, alerts=[CostAbove(0.0)], on_alert=stop
    ) as experiment:
        experiment.record("call", cost_usd=1.0)
        experiment.flush()
        assert asked.is_set()
        experiment.record("later")  # it still runs
    assert "which cannot wait for itself" in caplog.text
    assert experiment.stop().state == "stopped"


def test_a_loss_that_is_not_finite_is_noticed():
    def step(n, lost):
        key = '"crucible.training.'
        text = f'{{{key}step":{n},{key}loss_nonfinite":{"true" if lost else "false"}}}'
        return (n, {"attributes": text})

    assert holding(NonFiniteLoss(), [step(1, False), step(2, True), step(3, False)]) == [1]
    assert readings(NonFiniteLoss(), [(0, {})]) == [None]


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: LatencyAbove(100, threshold_s=1, window_s=1), "`percentile` must be in"),
        (lambda: LatencyAbove(95, threshold_s=0, window_s=1), "`threshold_s` must be"),
        (lambda: LatencyAbove(95, threshold_s=1, window_s=1, min_requests=0), "`min_requests`"),
        (lambda: ErrorRateAbove(1.0, window_s=1), "`max_rate` must be in"),
        (lambda: ErrorRateAbove(0.1, window_s=math.inf), "`window_s` must be finite"),
        (lambda: CostAbove(-1), "`usd` must be finite and >= 0"),
        (lambda: LatencyOutlier(window_n=2), "`window_n` must be >= 3"),
        (
            lambda: start_experiment(name="x", store=MemoryStore(), alerts=[NonFiniteLoss]),
            "`alerts` must be rules",
        ),
    ],
)
def test_rules_that_make_no_sense_are_refused(build, match):
    with pytest.raises(ValueError, match=match):
        build()


def test_a_reading_needs_no_numbers():
    assert Reading(holds=True).value is None
