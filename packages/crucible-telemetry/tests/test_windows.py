import pytest

from crucible_telemetry import MemoryStore, start_experiment
from crucible_telemetry.windows import windows

ORIGIN = 1_700_000_000_000_000_000  # a whole number of seconds


@pytest.fixture
def experiment():
    with start_experiment(name="w", store=MemoryStore(), capture_spans=False) as it:
        for start_s in (0.0, 0.5, 1.2, 3.7):
            it.record(
                "call", start_ns=ORIGIN + int(start_s * 1e9), duration_s=start_s + 1, outcome="ok"
            )
        yield it


def counts(experiment, width_s, **options):
    return [window.count for window in experiment.windows(width_s, **options)]


def test_windows_tumble_or_slide_and_end_with_the_last_event(experiment):
    # specification, section 7, test 14
    assert counts(experiment, 1) == [2, 1, 0, 1]
    assert counts(experiment, 2, step_s=1) == [3, 1, 1, 1]
    assert counts(experiment, 10) == [4]


def test_a_window_holds_its_start_and_not_its_end(experiment):
    found = list(experiment.windows(0.5))
    assert [window.count for window in found] == [1, 1, 1, 0, 0, 0, 0, 1]
    assert (found[0].start_ns, found[0].end_ns) == (ORIGIN, ORIGIN + 500_000_000)
    assert found[0].latency.mean_s == 1.0
    assert found[1].latency.mean_s == 1.5
    assert found[0].reliability.ok == 1
    assert found[3].to_dict()["latency"] is None
    assert found[3].reliability is None


def test_windows_can_stand_on_whole_multiples_of_the_step(experiment):
    found = list(experiment.windows(3, align="epoch"))
    assert all(window.start_ns % (3 * 10**9) == 0 for window in found)
    assert sum(window.count for window in found) == 4


def test_only_the_outermost_events_count_unless_names_choose(tracer):
    with start_experiment(name="w", store=MemoryStore()) as experiment:
        with tracer.start_as_current_span("around"):
            for _ in range(3):
                with tracer.start_as_current_span("inside"):
                    pass
        assert counts(experiment, 60) == [1]
        assert counts(experiment, 60, names=["inside"]) == [3]
        assert sum(w.count for w in windows(experiment.id, 60)) == 1


def test_nothing_happened_in_no_window():
    with start_experiment(name="w", store=MemoryStore(), capture_spans=False) as experiment:
        assert counts(experiment, 1) == []


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"width_s": 0}, "`width_s` must be finite and > 0"),
        ({"width_s": float("inf")}, "`width_s` must be finite"),
        ({"width_s": 1, "step_s": 2}, "`step_s` must be in"),
        ({"width_s": 1, "step_s": 0}, "`step_s` must be in"),
        ({"width_s": 1, "step_s": 1e-12}, "`step_s` must be at least"),
        ({"width_s": 1, "align": "end"}, "`align` must be"),
        ({"width_s": 1, "names": "call"}, "`names` must be a collection"),
    ],
)
def test_bad_arguments(experiment, arguments, match):
    with pytest.raises(ValueError, match=match):
        next(experiment.windows(**arguments))
