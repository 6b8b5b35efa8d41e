import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextvars import copy_context

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from opentelemetry import context, trace

from crucible_telemetry import (
    ContextExecutor,
    MemoryStore,
    SQLiteStore,
    bind,
    current_experiment,
    query,
    start_experiment,
    stop_experiment,
)
from crucible_telemetry.errors import ExperimentStateError, OpenSpansWarning

EXPERIMENTS, TASKS, THREADS, EVENTS, SPANS = 100, 8, 2, 50, 10
# Every store, and both event loops.
BOTH = [
    ("trio", "memory"),
    ("asyncio", "sqlite"),
    ("trio", "postgres"),
]


def names_of(experiment, **wanted):
    return [event.name for event in experiment.events(**wanted)]


@pytest.mark.parametrize(("anyio_backend", "every_store"), BOTH, indirect=["every_store"])
@pytest.mark.anyio
async def test_a_hundred_experiments_at_once_never_see_each_others_events(
    anyio_backend, every_store, tracer
):
    store = every_store

    def work(owner):
        for n in range(EVENTS):
            current_experiment().record("event", owner=owner)
            if n % (EVENTS // SPANS) == 0:
                with tracer.start_as_current_span("span", attributes={"owner": owner}):
                    pass

    async def task(owner):
        for n in range(EVENTS):
            current_experiment().record("event", owner=owner)
            await anyio.lowlevel.checkpoint()
            if n % (EVENTS // SPANS) == 0:
                with tracer.start_as_current_span("span", attributes={"owner": owner}):
                    await anyio.lowlevel.checkpoint()

    async def one(owner):
        async with start_experiment(name=f"owner {owner}", store=store):
            with ContextExecutor(ThreadPoolExecutor(THREADS)) as pool:
                futures = [pool.submit(work, owner) for _ in range(THREADS)]
                async with anyio.create_task_group() as tasks:
                    for _ in range(TASKS):
                        tasks.start_soon(task, owner)
                for future in futures:
                    await anyio.to_thread.run_sync(future.result)

    async with anyio.create_task_group() as all_of_them:
        for owner in range(EXPERIMENTS):
            all_of_them.start_soon(one, owner)

    records = query.experiments(store)
    assert len(records) == EXPERIMENTS
    for record in records:
        events = list(query.events(store, record.id))
        assert len(events) == (TASKS + THREADS) * (EVENTS + SPANS)
        assert {event.attributes["owner"] for event in events} == {int(record.name.split()[1])}
        assert sorted(event.seq for event in events) == list(range(1, len(events) + 1))
        assert record.state == "stopped"
        assert record.stats.recorded == record.stats.stored == len(events)


def test_a_bare_thread_captures_nothing_and_a_bound_one_does(tracer):
    def work():
        with tracer.start_as_current_span("in a thread"):
            pass

    with start_experiment(name="threads", store=MemoryStore()) as experiment:
        for target in (work, bind(work)):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
            assert names_of(experiment) == (["in a thread"] if target is not work else [])


def test_a_bound_function_can_run_many_times_at_once():
    together = threading.Barrier(3, timeout=30)

    def work(n):
        together.wait()  # all are inside at once; one context could not be
        current_experiment().record(f"call {n}")

    with start_experiment(name="bound", store=MemoryStore(), capture_spans=False) as experiment:
        bound = bind(work)
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(bound, range(3)))
        with ContextExecutor(ThreadPoolExecutor(3)) as pool:
            list(pool.map(work, range(3, 6)))
        assert sorted(names_of(experiment)) == [f"call {n}" for n in range(6)]


def test_what_cannot_carry_a_context_is_refused():
    async def coroutine(): ...

    def generator():
        yield

    for fn in (coroutine, generator):
        with pytest.raises(ValueError, match="`fn` must be a plain function"):
            bind(fn)
    with (
        ProcessPoolExecutor(1) as pool,
        pytest.raises(ValueError, match="`executor` must run threads"),
    ):
        ContextExecutor(pool)


def test_nested_experiments_capture_innermost_only(tracer):
    store = MemoryStore()
    with start_experiment(name="outer", store=store) as outer:
        outer.record("before")
        began_outside = tracer.start_span("began outside")
        with start_experiment(name="inner", store=store) as inner:
            assert current_experiment() is inner
            assert inner.parent_id == outer.id
            with tracer.start_as_current_span("inside"):
                pass
            began_outside.end()
        assert current_experiment() is outer
        with tracer.start_as_current_span("after"):
            pass
        assert names_of(inner) == ["inside"]
        assert names_of(outer) == ["before", "began outside", "after"]
        assert len(names_of(outer, include_children=True)) == 4
    assert current_experiment() is None


def test_stopping_the_outer_first_leaves_the_inner_current():
    store = MemoryStore()
    outer = start_experiment(name="outer", store=store, capture_spans=False)
    inner = start_experiment(name="inner", store=store, capture_spans=False)
    outer.stop()
    assert current_experiment() is inner
    inner.stop()
    assert current_experiment() is None


def test_an_explicit_context_decides_where_a_span_belongs(tracer):
    store = MemoryStore()
    with start_experiment(name="outer", store=store) as outer:
        kept = context.get_current()
        with start_experiment(name="inner", store=store) as inner:
            with tracer.start_as_current_span("in the outer's context", context=kept):
                pass
            with tracer.start_as_current_span("in an empty one", context=context.Context()):
                pass
    assert names_of(outer) == ["in the outer's context"]
    assert names_of(inner) == ["in an empty one"]


def test_an_attached_context_brings_its_experiment_to_a_worker_thread(tracer):
    # What opentelemetry-instrumentation-threading does: the context of OpenTelemetry alone.
    with start_experiment(name="attached", store=MemoryStore()) as experiment:
        kept = context.get_current()

        def work():
            token = context.attach(kept)
            assert current_experiment() is experiment
            with tracer.start_as_current_span("attached"):
                pass
            context.detach(token)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert names_of(experiment) == ["attached"]


def test_leaving_a_span_does_not_leave_the_experiment_that_began_in_it(tracer):
    store = MemoryStore()
    with start_experiment(name="outer", store=store) as outer:
        with tracer.start_as_current_span("around"):
            inner = start_experiment(name="inner", store=store)
        with tracer.start_as_current_span("after"):
            pass
        inner.stop()
        assert current_experiment() is outer
    assert names_of(inner) == ["after"]
    assert names_of(outer) == ["around"]


def test_a_span_begun_before_any_experiment_is_adopted_by_the_one_at_its_end(tracer):
    with start_experiment(name="to install the processor", store=MemoryStore()):
        pass
    span = tracer.start_span("early")
    with start_experiment(name="adopts", store=MemoryStore()) as experiment:
        span.end()
        (event,) = experiment.events()
    assert event.attributes == {"crucible.adopted": True}
    assert event.start_ns < experiment.stop().started_ns
    assert event.duration_s > 0


@pytest.mark.anyio
async def test_an_experiment_can_be_stopped_in_another_task():
    outer = start_experiment(name="outer", store=MemoryStore(), capture_spans=False)
    inner = start_experiment(name="inner", store=MemoryStore(), capture_spans=False)

    async def stop():
        await inner.aclose()
        assert current_experiment() is outer

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop)
    assert current_experiment() is outer
    outer.stop()
    assert current_experiment() is None


def test_a_generator_fixture_may_end_in_another_context():
    def fixture():
        with start_experiment(name="fixture", store=MemoryStore(), capture_spans=False) as it:
            yield it

    began, unrelated = copy_context(), copy_context()
    generator = fixture()
    experiment = began.run(next, generator)
    assert current_experiment() is None
    other = unrelated.run(
        lambda: start_experiment(name="other", store=MemoryStore(), capture_spans=False)
    )
    assert unrelated.run(next, generator, "ended") == "ended"
    assert experiment.state == "stopped"
    assert unrelated.run(current_experiment) is other
    assert began.run(current_experiment) is None
    unrelated.run(other.stop)


@pytest.mark.anyio
async def test_siblings_of_a_task_that_started_an_experiment_use_active():
    started = anyio.Event()
    done = anyio.Event()
    found = []

    async def starts():
        async with start_experiment(name="in a task", store=MemoryStore()) as experiment:
            found.append(experiment)
            started.set()
            await done.wait()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(starts)
        await started.wait()
        (experiment,) = found
        assert current_experiment() is None
        with experiment.active():
            assert current_experiment() is experiment
            trace.get_tracer("x").start_span("seen").end()
        assert current_experiment() is None
        assert names_of(experiment) == ["seen"]
        done.set()
    with pytest.raises(ExperimentStateError):
        experiment.active()


def test_stopping_inside_active_restores_what_was_current_before():
    experiment = start_experiment(name="a", store=MemoryStore(), capture_spans=False)
    with start_experiment(name="b", store=MemoryStore(), capture_spans=False) as other:
        with experiment.active():
            experiment.stop()
            assert current_experiment() is None
        assert current_experiment() is other


def test_a_recorded_event_is_a_child_of_the_span_around_it(tracer):
    with start_experiment(name="child", store=MemoryStore()) as experiment:
        with tracer.start_as_current_span("parent"):
            experiment.record("child")
        by_name = {event.name: event for event in experiment.events()}
    assert by_name["child"].trace_id == by_name["parent"].trace_id
    assert by_name["child"].parent_span_id == by_name["parent"].span_id
    assert by_name["child"].span_id is None


def test_open_spans_are_named_at_stop_and_counted_late_when_they_end(tracer):
    experiment = start_experiment(name="open", store=MemoryStore())
    span = tracer.start_span("never ended")
    with pytest.warns(OpenSpansWarning, match="1 spans were still open.*never ended"):
        record = stop_experiment(experiment.id)
    assert record.stats.open_spans == 1
    span.end()
    assert names_of(experiment) == []
    assert experiment.stats().late == 1
    assert experiment.stats().open_spans == 0


# From Python 3.12 on, forking a process with threads warns by itself.
QUIET = "import warnings; warnings.simplefilter('ignore')"

FORK = """
import os, sys
from crucible_telemetry import SQLiteStore, start_experiment, query
from opentelemetry import trace

store = SQLiteStore(sys.argv[1])
experiment = start_experiment(name="forks", store=store, flush_interval_s=0.01)
for n in range(500):
    experiment.record("parent", n=n)
pid = os.fork()
if pid == 0:
    with trace.get_tracer("x").start_as_current_span("child"):
        experiment.record("child")
    experiment.flush()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
experiment.record("parent")
record = experiment.stop()
events = list(query.events(store, experiment.id))
writers = {}
for event in events:
    writers.setdefault(event.writer_id, []).append((event.seq, event.name))
assert len(writers) == 2, writers
for mine in writers.values():
    assert sorted(seq for seq, _ in mine) == list(range(1, len(mine) + 1))
assert sorted(len(mine) for mine in writers.values()) == [2, 501]
assert {w.writer_id for w in query.experiment(store, experiment.id).writers} == set(writers)
"""


def test_a_forked_child_writes_through_a_writer_of_its_own(run_script, tmp_path):
    run_script(QUIET + FORK, tmp_path / "f.sqlite")


IN_THE_MIDDLE = """
import os, sys, threading
from crucible_telemetry import SQLiteStore, start_experiment

class Slow(SQLiteStore):
    inside = threading.Event()
    def _stream_ids(self, connection, rows):  # runs in the middle of a transaction
        self.inside.set()
        threading.Event().wait(0.2)
        return super()._stream_ids(connection, rows)

store = Slow(sys.argv[1], busy_timeout_s=5)
experiment = start_experiment(name="forks", store=store, flush_interval_s=0.01, max_block_s=0.1)
experiment.record("parent")
assert store.inside.wait(10)
pid = os.fork()
if pid == 0:
    experiment.record("child")
    experiment.flush()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
experiment.stop()
assert sorted(e.name for e in experiment.events()) == ["child", "parent"]
"""


def test_a_fork_in_the_middle_of_a_transaction_leaves_the_child_a_usable_file(run_script, tmp_path):
    run_script(QUIET + IN_THE_MIDDLE, tmp_path / "f.sqlite")


WORKERS = """
import multiprocessing, sys
from crucible_telemetry import SQLiteStore, current_experiment, start_experiment, query

def work(n):
    current_experiment().record("worker", n=n)

store = SQLiteStore(sys.argv[1])
with start_experiment(name="forks", store=store) as experiment:
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=work, args=(n,)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert sorted(e.attributes["n"] for e in experiment.events()) == [0, 1, 2]
"""


def test_a_forked_worker_of_multiprocessing_loses_nothing_when_it_ends(run_script, tmp_path):
    run_script(QUIET + WORKERS, tmp_path / "f.sqlite")


def test_one_file_takes_experiment_after_experiment(tmp_path):
    for condition in ("first", "second"):
        with (
            SQLiteStore(tmp_path / "run.sqlite") as store,
            start_experiment(name="run", condition=condition, store=store) as experiment,
        ):
            experiment.record(condition)
    with SQLiteStore(tmp_path / "run.sqlite") as store:
        records = query.experiments(store)
        assert [record.condition for record in records] == ["first", "second"]
        assert [e.name for e in query.events(store, records[1].id)] == ["second"]
