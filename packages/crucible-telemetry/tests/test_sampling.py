import doctest
import subprocess
import sys

import pytest
from opentelemetry import trace

from crucible_telemetry import MemoryStore, sampling, start_experiment
from crucible_telemetry.sampling import Sampler, sampling_share

TRACE = 0x4BF92F3577B34DA6A3CE929D0E0E4736


@pytest.mark.parametrize(
    ("trace_id", "seed", "share"),
    [  # specification, section 7, test 13
        (TRACE, 42, "0.101700715134"),
        (TRACE, 0, "0.505062898435"),
        (1, 42, "0.889594904508"),
        (1, 0, "0.224325516332"),
    ],
)
def test_the_share_of_a_trace_is_the_specified_hash(trace_id, seed, share):
    assert f"{sampling_share(trace_id.to_bytes(16, 'big'), seed=seed):.12f}" == share


def test_of_ten_thousand_traces_968_are_kept_and_another_process_keeps_the_same():
    sampler = Sampler(rate=0.1, seed=42)
    kept = [number for number in range(1, 10_001) if sampler.keeps_trace(number)]
    assert len(kept) == 968
    code = (
        "from crucible_telemetry.sampling import Sampler\n"
        "s = Sampler(rate=0.1, seed=42)\n"
        "print(*[n for n in range(1, 10_001) if s.keeps_trace(n)])"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [int(number) for number in other.stdout.split()] == kept


def test_all_events_of_a_trace_share_its_fate(tracer):
    with start_experiment(name="s", store=MemoryStore(), seed=7, sample_rate=0.3) as experiment:
        for n in range(300):
            with (
                tracer.start_as_current_span("root", attributes={"n": n}),
                tracer.start_as_current_span("inside", attributes={"n": n}),
            ):
                experiment.record("event", n=n)
        found = {}
        for event in experiment.events():
            found.setdefault(event.attributes["n"], set()).add(event.name)
            assert event.sample_rate == 0.3
        stats = experiment.stats()
    assert 0 < len(found) < 300
    assert all(names == {"root", "inside", "event"} for names in found.values())
    assert stats.sampled_out == 900 - 3 * len(found)
    assert stats.recorded == stats.stored == 3 * len(found)
    sampler = Sampler(rate=0.3, seed=7)
    traces = {event.trace_id for event in experiment.events()}
    assert all(sampler.keeps_trace(int(trace_id, 16)) for trace_id in traces)


def test_outside_a_span_the_key_decides_and_without_one_the_event_is_kept():
    with start_experiment(
        name="k", store=MemoryStore(), seed=1, sample_rate=0.5, capture_spans=False
    ) as experiment:
        for n in range(100):
            experiment.record("keyed", sample_key=f"q{n}", n=n)
            experiment.record("keyed again", sample_key=f"q{n}", n=n)
        experiment.record("kept")
        events = list(experiment.events())
    keyed = [event.attributes["n"] for event in events if event.name == "keyed"]
    assert [e.attributes["n"] for e in events if e.name == "keyed again"] == keyed
    assert 20 < len(keyed) < 80
    assert {e.sample_rate for e in events if e.name != "kept"} == {0.5}
    (kept,) = (event for event in events if event.name == "kept")
    assert kept.sample_rate == 1.0


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"sample_rate": 0.0}, r"`sample_rate` must be in \(0, 1\], got 0.0"),
        ({"sample_rate": 1.1}, "`sample_rate` must be in"),
        ({"sample_rate": float("nan")}, "`sample_rate` must be in"),
        ({"sample_rate": 0.5}, "`seed` must be in .* got None"),
        ({"sample_rate": 0.5, "seed": -1}, "`seed` must be in"),
        ({"sample_rate": 0.5, "seed": 2**64}, "`seed` must be in"),
        ({"seed": "x"}, "`seed` must be an integer"),
    ],
)
def test_sampling_that_could_not_be_repeated_is_refused(options, match):
    with pytest.raises(ValueError, match=match):
        start_experiment(name="x", store=MemoryStore(), capture_spans=False, **options)


def test_the_examples_run():
    assert doctest.testmod(sampling).failed == 0
    assert trace.get_current_span().get_span_context().trace_id == 0
