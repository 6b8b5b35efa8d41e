"""Hooks, error policy, dead letters, interrupts: acceptance 20 and 21 of the specification."""

import json
from dataclasses import replace

import pytest
from virtual import Clocked, in_virtual_time, virtually
from worlds import sums

from crucible_ensemble.errors import AuthenticationError, RateLimitError, ServerError
from crucible_harness import Condition, Experiment, run, run_sync
from crucible_harness.errors import HookError, ProviderRefusedError, RunAbortedError
from crucible_harness.folder import Folder
from crucible_harness.hooks import Hooks
from crucible_harness.options import ErrorPolicy, Retries


def asking(model: Clocked, n: int = 6, name: str = "asking") -> Experiment:
    return Experiment(
        name, dataset=sums(n), seed=1, metrics=("accuracy",),
        conditions=[Condition(name="a", model=model)],
    )  # fmt: skip


def failing_at(*numbers: int) -> Clocked:
    return Clocked(takes_s=1.0, fails=lambda n: ServerError("down") if n in numbers else None)


def test_every_hook_is_called_at_its_joint(options):
    seen = []

    async def after_cell(cell, outcome):  # a hook may be async
        seen.append(f"after {outcome.status}")

    hooks = Hooks(
        before_run=lambda experiment: seen.append(experiment.name),
        before_cell=lambda cell: seen.append("before"),
        after_cell=after_cell,
        on_error=lambda cell, outcome: seen.append(outcome.output["error_class"]),
        after_run=lambda result: seen.append(result.status),
    )
    lenient = ErrorPolicy(max_failure_rate=1.0)
    virtually(
        asking(failing_at(2), n=2), replace(options, hooks=hooks, concurrency=1, errors=lenient)
    )
    assert seen == [
        "asking", "before", "after ok", "before", "ServerError", "after error", "complete",
    ]  # fmt: skip


def test_on_error_may_ask_for_one_more_try(options):
    model = failing_at(2)
    hooks = Hooks(on_error=lambda cell, outcome: "retry")
    result, _ = virtually(asking(model), replace(options, hooks=hooks))
    assert (result.failed, len(model.sent)) == (0, 7)
    twice = Clocked(fails=lambda n: ServerError("down"))
    result, _ = virtually(
        asking(twice, name="twice"),
        replace(options, hooks=hooks, errors=ErrorPolicy(max_failure_rate=1.0)),
    )
    assert (result.failed, len(twice.sent)) == (6, 12)  # once more for each cell, and then recorded


def test_on_error_may_end_the_run(options):
    model = failing_at(2)
    hooks = Hooks(on_error=lambda cell, outcome: "abort")
    with pytest.raises(RunAbortedError):
        virtually(asking(model), replace(options, hooks=hooks, concurrency=1))
    assert len(model.sent) == 2
    result, _ = virtually(asking(model), options)
    assert (result.status, result.failed, len(model.sent)) == ("complete", 0, 7)


@pytest.mark.parametrize(
    "name", ["before_run", "before_cell", "after_cell", "on_error", "on_event", "after_run"]
)
def test_a_hook_that_raises_is_kept_in_the_manifest_and_a_strict_one_ends_the_run(options, name):
    def broken(*arguments):
        raise RuntimeError("a bug in a hook")

    model = failing_at(3)
    lenient = replace(options, concurrency=1, errors=ErrorPolicy(max_failure_rate=1.0))
    if name == "on_event":  # something must happen
        lenient = replace(lenient, deadline_s=2.5)
    result, _ = virtually(asking(model), replace(lenient, hooks=Hooks(**{name: broken})))
    manifest = json.loads((result.path / "manifest.json").read_text())
    assert manifest["hook_errors"][0] == f"{name}: RuntimeError: a bug in a hook"

    strict = replace(lenient, hooks=Hooks(**{name: broken}, strict=True))
    with pytest.raises(HookError, match=name):
        virtually(asking(failing_at(3), name="strict"), strict)
    again, _ = virtually(asking(failing_at(), name="strict"), replace(lenient, deadline_s=None))
    assert again.status == "complete"


def test_events_of_a_run_stand_in_its_journal_and_on_its_spans(options):
    from opentelemetry import trace
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans = InMemorySpanExporter()

    def before_run(experiment):
        trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(spans))

    def broken(cell):
        raise RuntimeError("a bug in a hook")

    model = Clocked(takes_s=1.0, fails=lambda n: RateLimitError("slow down", retry_after_s=2.0)
                    if n == 2 else None)  # fmt: skip
    hooks = Hooks(before_run=before_run, before_cell=broken)
    result, _ = virtually(
        asking(model),
        replace(options, hooks=hooks, telemetry=True, deadline_s=5.5, concurrency=1,
                errors=ErrorPolicy(max_failure_rate=1.0)),
    )  # fmt: skip
    assert result.status == "deadline"
    journal = Folder(result.path).open_journal()
    noted = [event["kind"] for event in journal.events()]
    journal.close()
    assert set(noted) == {"hook_error", "retry_after", "deadline_stop"}
    seen = {
        event.name: (span.name, dict(event.attributes))
        for span in spans.get_finished_spans() for event in span.events
        if event.name in noted
    }  # fmt: skip
    assert seen["hook_error"][0] == seen["deadline_stop"][0] == "crucible.harness.run"
    assert seen["hook_error"][1]["crucible.harness.hook"] == "before_cell"
    assert seen["retry_after"][0] == "crucible.harness.cell"
    assert seen["retry_after"][1]["crucible.harness.seconds"] == 2.0


def test_calls_in_flight_are_written_down_before_a_strict_hook_ends_the_run(options):
    def broken(cell, outcome):
        raise RuntimeError("a bug in a hook")

    model = Clocked(takes_s=1.0)
    strict = replace(options, concurrency=3, hooks=Hooks(after_cell=broken, strict=True))
    with pytest.raises(HookError):
        virtually(asking(model), strict)
    result, _ = virtually(asking(model), options)
    assert result.possibly_billed == ()
    assert len(model.sent) == 6


def test_an_answer_of_on_error_that_means_nothing_is_an_error_of_the_hook(options):
    hooks = Hooks(on_error=lambda cell, outcome: "again", strict=True)
    with pytest.raises(HookError, match='"retry"'):
        virtually(asking(failing_at(1)), replace(options, hooks=hooks))


@pytest.mark.parametrize("fatal", [True, False])
def test_an_error_of_a_fatal_class_ends_the_run_at_once(options, fatal):
    model = Clocked(fails=lambda n: AuthenticationError("no key") if n == 2 else None)
    policy = ErrorPolicy(max_failure_rate=1.0, **({} if fatal else {"fatal": ()}))
    options = replace(options, concurrency=1, errors=policy)
    if fatal:
        with pytest.raises(ProviderRefusedError, match="no key"):
            virtually(asking(model), options)
        assert len(model.sent) == 2
    else:
        assert virtually(asking(model), options)[0].failed == 1


def test_one_refused_member_of_an_ensemble_ends_the_run_and_is_not_outvoted(options):
    from crucible_ensemble import Ensemble

    good = Clocked("clocked/good")
    bad = Clocked("clocked/bad", fails=lambda n: AuthenticationError("no key"))
    experiment = Experiment(
        "refused", dataset=sums(4), seed=1,
        conditions=[Condition(name="vote", model=Ensemble([good, bad], normalise="numeric"))],
    )  # fmt: skip
    with pytest.raises(ProviderRefusedError):
        virtually(experiment, replace(options, concurrency=1))


def test_dead_letters_name_the_failed_cells_and_hold_no_prompt(options):
    options = replace(options, errors=ErrorPolicy(max_failure_rate=1.0), concurrency=1)
    result, _ = virtually(asking(failing_at(2, 4)), options)
    text = (result.path / "dead_letters.jsonl").read_text()
    letters = [json.loads(line) for line in text.splitlines()]
    assert len(letters) == 2
    assert letters[0].keys() == {
        "condition", "item", "repeat", "status", "error_class", "error_message", "attempts",
    }  # fmt: skip
    assert {letter["attempts"] for letter in letters} == {1}
    assert "What is" not in text
    always = Clocked(takes_s=1.0, fails=lambda n: ServerError("down"))
    result, _ = virtually(asking(always), options)
    letters = [json.loads(x) for x in (result.path / "dead_letters.jsonl").read_text().splitlines()]
    assert {letter["attempts"] for letter in letters} == {2}


def test_functions_are_called_again_and_models_are_not(options):
    calls = []

    def flaky(item):
        calls.append(item.id)
        if len(calls) % 2:
            raise ValueError("at odds")
        return item.expected

    experiment = Experiment(
        "function", dataset=sums(3), seed=1,
        conditions=[Condition(name="a", call=flaky, fingerprint="flaky/1")],
    )  # fmt: skip
    retries = Retries(attempts=3, initial_s=0.0, max_s=0.0)
    result = run_sync(experiment, options=replace(options, retries=retries, concurrency=1))
    assert (result.failed, len(calls)) == (0, 6)
    model = failing_at(1)
    lenient = ErrorPolicy(max_failure_rate=1.0)
    result, _ = virtually(asking(model), replace(options, retries=retries, errors=lenient))
    assert (result.failed, len(model.sent)) == (1, 6)


def test_two_experiments_at_once_share_nothing(options, tmp_path):
    from crucible_harness.ledger import Budget

    prices = {"one": 0.01, "two": 0.01}
    models = {name: Clocked(f"{name}/m", takes_s=1.0, costs=0.01) for name in prices}
    options = replace(
        options, telemetry=True, concurrency=2, budget=Budget(total_usd=0.05, assume_price=prices)
    )
    results, _ = in_virtual_time(
        *(
            lambda name=name: run(asking(models[name], n=20, name=name), options=options)
            for name in prices
        )
    )
    from crucible_harness.folder import Folder
    from crucible_telemetry import SQLiteStore
    from crucible_telemetry.query import events, experiments

    for name, result in zip(prices, results, strict=True):
        assert len(models[name].sent) == 5  # each had its own ledger
        assert result.path.name.startswith(name)
        journal = Folder(result.path).open_journal()
        assert {json.loads(row["request"])["model"]["model"] for row in journal.calls()} == {
            f"{name}/m"
        }
        journal.close()
        store = SQLiteStore(result.path / "telemetry.sqlite")
        (recorded,) = experiments(store)
        assert recorded.name == name
        spans = [e.to_dict() for e in events(store, recorded.id)]
        assert sum(span["name"] == "crucible.harness.run" for span in spans) == 1
        digests = {s["attributes"].get("crucible.harness.digest") for s in spans} - {None}
        assert digests == {json.loads((result.path / "manifest.json").read_text())["digest"]}
        store.close()
