import math
import subprocess

import pytest

from crucible_telemetry import (
    MemoryStore,
    SQLiteStore,
    current_experiment,
    query,
    start_experiment,
    stop_experiment,
    stop_experiment_async,
)
from crucible_telemetry.errors import ExperimentStateError, UnknownExperimentError


def started(**options):
    given = {"name": "e", "store": MemoryStore(), "capture_spans": False}
    return start_experiment(**(given | options))


def names_of(experiment, **wanted):
    return [event.name for event in experiment.events(**wanted)]


class Hand:
    """A clock moved by hand."""

    def __init__(self):
        self.ns = 10**18

    def wall_ns(self):
        return self.ns

    def monotonic_ns(self):
        return self.ns


def test_the_record_says_what_was_declared_and_how_long_it_ran():
    clock = Hand()
    experiment = started(
        name="vote", condition="treatment", hypothesis="H1", tags=["a", "b"],
        metadata={"k": [1, {"x": None}]}, seed=7, clock=clock,
    )  # fmt: skip
    clock.ns += 2 * 10**9
    experiment.pause()
    clock.ns += 5 * 10**9
    experiment.resume()
    clock.ns += 10**9
    record = stop_experiment(experiment)
    assert (record.name, record.condition, record.hypothesis) == ("vote", "treatment", "H1")
    assert (record.tags, record.metadata, record.seed) == (("a", "b"), {"k": [1, {"x": None}]}, 7)
    assert record.active_s == 3.0
    assert record.stopped_ns - record.started_ns == 8 * 10**9
    start = 10**18
    assert record.transitions == (
        ("running", start), ("paused", start + 2 * 10**9), ("running", start + 7 * 10**9),
        ("stopped", start + 8 * 10**9),
    )  # fmt: skip
    assert query.experiment(experiment.store, experiment.id) == record
    assert type(record).from_dict(record.to_dict()) == record
    (writer,) = record.writers
    assert writer.packages["crucible-telemetry"]
    assert writer.last_seq == 0


def test_an_id_is_a_ulid_that_sorts_by_time():
    first, second = started(), started()
    for experiment in (second, first):
        experiment.stop()
        assert len(experiment.id) == 4 + 26
        assert experiment.id.startswith("exp_")
        assert set(experiment.id[4:]) <= set("0123456789abcdefghjkmnpqrstvwxyz")
    assert first.id[4:14] <= second.id[4:14]


def test_a_paused_experiment_discards_and_counts(tracer):
    with started(capture_spans=True) as experiment:
        experiment.record("kept")
        experiment.pause()
        assert (experiment.state, current_experiment()) == ("paused", experiment)
        experiment.record("discarded")
        tracer.start_span("discarded").end()
        with pytest.raises(ExperimentStateError, match="cannot pause: the experiment is paused"):
            experiment.pause()
        experiment.resume()
        experiment.record("kept again")
        assert names_of(experiment) == ["kept", "kept again"]
        assert experiment.stats().paused == 2
        with pytest.raises(ExperimentStateError, match="cannot resume: the experiment is running"):
            experiment.resume()


def test_a_stopped_experiment_takes_nothing_and_answers_the_same():
    experiment = started()
    timed = experiment.timed("late")
    with timed:
        record = experiment.stop()
    assert experiment.stop() is record
    assert experiment.stats().late == 1
    for operation in (lambda: experiment.record("x"), experiment.pause, experiment.resume):
        with pytest.raises(ExperimentStateError, match="is stopped"):
            operation()
    experiment.flush()
    assert names_of(experiment) == []


def test_stop_by_id_knows_this_process_only():
    experiment = started()
    assert stop_experiment(experiment.id).id == experiment.id
    with pytest.raises(UnknownExperimentError, match="exp_nobody"):
        stop_experiment("exp_nobody")


@pytest.mark.anyio
async def test_async_twins_do_the_same():
    experiment = started()
    experiment.record("event")
    await experiment.aflush()
    assert experiment.stats().stored == 1
    record = await stop_experiment_async(experiment.id)
    assert record is experiment.stop()
    assert current_experiment() is None
    await experiment.aclose()


@pytest.mark.anyio
async def test_leaving_while_being_cancelled_still_stores_everything():
    import anyio

    with anyio.CancelScope() as scope:
        async with started() as experiment:
            experiment.record("event")
            scope.cancel()
            await anyio.sleep(10)
    assert experiment.state == "stopped"
    assert names_of(experiment) == ["event"]


def test_an_exception_goes_through_and_stops_the_experiment():
    experiment = started()
    with pytest.raises(KeyError), experiment:
        raise KeyError
    assert experiment.state == "stopped"
    assert current_experiment() is None


def test_events_are_chosen_by_name_outcome_and_time():
    clock = Hand()
    with started(clock=clock) as experiment:
        for n in range(6):
            experiment.record(f"e{n}", outcome="ok" if n % 2 else "error")
            clock.ns += 10**9
        start = 10**18
        assert names_of(experiment, names=["e1", "e4"]) == ["e1", "e4"]
        assert names_of(experiment, outcomes={"ok"}) == ["e1", "e3", "e5"]
        assert names_of(experiment, since_ns=start + 4 * 10**9) == ["e4", "e5"]
        assert names_of(experiment, until_ns=start + 10**9) == ["e0"]
        assert names_of(experiment, last_n=2) == ["e4", "e5"]
        assert names_of(experiment, limit=2) == ["e0", "e1"]
        assert names_of(experiment, last_s=2.0) == ["e4", "e5"]
        for wrong in ({"last_n": 0}, {"limit": 0}, {"last_s": 0}, {"outcomes": ["fine"]},
                      {"names": "e1"}):  # fmt: skip
            with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be"):
                experiment.events(**wrong)


def test_an_event_filter_leaves_out_and_counts_and_may_fail(caplog, tracer):
    def keep(name):
        if name == "broken":
            raise RuntimeError
        return name.startswith("keep")

    with started(event_filter=keep, capture_spans=True) as experiment:
        for name in ("keep me", "drop me", "broken"):
            experiment.record(name)
            tracer.start_span(name).end()
        assert sorted(names_of(experiment)) == ["broken", "broken", "keep me", "keep me"]
        assert experiment.stats().filtered == 2
    assert "the event filter failed" in caplog.text


@pytest.mark.parametrize(
    ("task_info", "named"),
    [("spans", {"span", "timed"}), ("all", {"span", "timed", "event"}), ("none", set())],
)
@pytest.mark.anyio
async def test_tasks_are_named_as_asked(task_info, named, tracer):
    async with started(task_info=task_info, capture_spans=True) as experiment:
        with tracer.start_as_current_span("span"):
            experiment.record("event")
        with experiment.timed("timed"):
            pass
        assert {e.name for e in experiment.events() if e.task is not None} == named


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""}, {"name": "x" * 201}, {"name": "a\nb"}, {"condition": "\x85"},
        {"queue_size": 1_023}, {"max_block_s": -1}, {"max_block_s": math.inf},
        {"max_block_s": math.nan}, {"flush_interval_s": 0}, {"flush_interval_s": math.nan},
        {"tags": "abc"}, {"tags": [1]}, {"metadata": {"x": object()}},
        {"metadata": {"x": math.nan}}, {"metadata": {"x": "\ud800"}}, {"seed": 1.5},
        {"seed": True}, {"task_info": "some"}, {"durability": "never"}, {"hypothesis": 1},
        {"on_alert": print}, {"stamp_spans": True},
    ],
)  # fmt: skip
def test_a_bad_argument_to_start_names_itself_and_starts_nothing(wrong):
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be"):
        started(**wrong)
    assert current_experiment() is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"outcome": "fine"}, {"duration_s": -0.1}, {"duration_s": math.nan},
        {"duration_s": math.inf}, {"duration_s": True}, {"duration_s": "1"},
        {"cost_usd": -1}, {"cost_usd": math.nan}, {"cost_usd": 10**400},
        {"input_tokens": -1}, {"output_tokens": 1.5}, {"output_tokens": 2**63},
        {"repeat": True}, {"start_ns": 1.5}, {"model": 1}, {"item_id": 7},
        {"provider": b"x"}, {"error_type": ValueError},
    ],
)  # fmt: skip
def test_a_bad_argument_to_record_names_itself_and_records_nothing(wrong):
    with started() as experiment:
        with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be"):
            experiment.record("event", **wrong)
        with pytest.raises(ValueError, match="`name` must be"):
            experiment.record("")
        assert names_of(experiment) == []


def test_a_timed_block_cannot_be_entered_twice_and_times_functions_only():
    with started() as experiment:
        timed = experiment.timed("t")
        with timed, pytest.raises(RuntimeError, match="cannot be entered twice"):
            timed.__enter__()

        def generator():
            yield

        with pytest.raises(ValueError, match="`fn` must be a function"):
            experiment.timed("t")(generator)
        with pytest.raises(ValueError, match="`name` must be"):
            experiment.timed("")


def test_an_event_becomes_the_mapping_that_others_read(tracer):
    with started(capture_spans=True) as experiment:
        with tracer.start_as_current_span(
            "crucible.ensemble.generate",
            attributes={
                "crucible.model.id": "openai/x", "crucible.item.id": "q1", "crucible.cost_usd": 0.5,
                "gen_ai.usage.input_tokens": 3, "gen_ai.usage.output_tokens": 4, "other": [1, 2],
            },
        ):  # fmt: skip
            pass
        (event,) = experiment.events()
    data = event.to_dict()
    wanted = [
        "name", "start_ns", "duration_s", "outcome", "error_type", "model", "cost_usd",
        "input_tokens", "output_tokens", "trace_id", "span_id", "parent_span_id", "item_id",
        "attributes",
    ]  # fmt: skip
    assert set(wanted) <= set(data)
    assert data["name"] == "crucible.ensemble.generate"
    assert data["attributes"] == {"other": [1, 2]}
    assert (data["model"], data["provider"], data["item_id"]) == ("openai/x", "openai", "q1")
    assert (data["cost_usd"], data["input_tokens"], data["output_tokens"]) == (0.5, 3, 4)
    assert (data["outcome"], data["error_type"], data["parent_span_id"]) == ("ok", None, None)
    assert len(data["trace_id"]) == 32
    assert len(data["span_id"]) == 16


def test_the_commit_is_read_once_and_unknown_outside_a_repository(tmp_path, monkeypatch):
    def git(*words):
        subprocess.run(["git", *words], check=True, capture_output=True, cwd=tmp_path / "repo")

    (tmp_path / "repo").mkdir()
    git("init")
    (tmp_path / "repo" / "file").write_text("one")
    git("add", "file")
    git("-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-m", "x")
    monkeypatch.chdir(tmp_path / "repo")
    clean = started().stop()
    (tmp_path / "repo" / "file").write_text("two")
    dirty = started().stop()
    monkeypatch.chdir(tmp_path)
    outside = started().stop()
    assert len(clean.git_commit) == 40
    assert (clean.git_dirty, dirty.git_dirty) == (False, True)
    assert dirty.git_commit == clean.git_commit
    assert (outside.git_commit, outside.git_dirty) == (None, None)


def test_a_store_opened_by_name_is_released_at_stop_and_can_still_be_read(tmp_path):
    path = tmp_path / "named.sqlite"
    with started(store=f"sqlite:///{path}") as experiment:
        experiment.record("event")
    assert [p.name for p in tmp_path.iterdir()] == ["named.sqlite"]  # no -wal left behind
    assert names_of(experiment) == ["event"]
    with SQLiteStore(path) as store:
        assert [e.name for e in query.events(store, experiment.id)] == ["event"]
        with pytest.raises(UnknownExperimentError):
            query.events(store, "exp_nobody")
        with pytest.raises(UnknownExperimentError):
            query.events(store, "exp_nobody", include_children=True)
    experiment.store.close()
