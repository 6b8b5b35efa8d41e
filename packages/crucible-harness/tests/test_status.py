"""Where a run stands, from its journal: while it runs, after a crash, at its end."""

import json
from dataclasses import replace

import anyio
import pytest
from worlds import Replay, sums

from crucible_harness import Condition, Experiment, run, run_sync, status
from crucible_harness.errors import NotARunError
from crucible_harness.options import ErrorPolicy


def test_a_finished_run_is_counted_by_condition(replayed, options):
    options = replace(options, errors=ErrorPolicy(max_failure_rate=1.0))
    path = run_sync(replayed({"a": "1101!", "b": "11011"}), options=options).path
    now = status(path)
    assert (now.status, now.planned, now.finished, now.failed, now.not_run) == (
        "complete", 10, 10, 1, 0,
    )  # fmt: skip
    assert (now.per_condition["a"].failed, now.per_condition["b"].failed) == (1, 0)
    assert now.last_error == "ModelTimeoutError: no answer within 30 s"
    assert now.known_cost_usd == pytest.approx(0.09)  # nine answers of one cent
    assert (now.rate_per_s, now.eta_s, now.in_flight, now.surplus) == (None, None, 0, 0)
    json.dumps(now.to_dict())


def test_a_run_that_goes_on_is_seen_without_being_disturbed(options):
    seen = []

    class Watched(Replay):
        async def generate(self, prompt, /, **options):
            if self.asked == 3:
                (folder,) = at.directory.iterdir()
                seen.append(await anyio.to_thread.run_sync(status, folder))
            return await super().generate(prompt, **options)

    at = replace(options, concurrency=1)
    data = sums(6)
    model = Watched("a", {item.input: "1" for item in data})
    experiment = Experiment("watched", dataset=data, conditions=[Condition("a", model)], seed=1)
    result = run_sync(experiment, options=at)
    (during,) = seen
    assert result.status == "complete"
    assert (during.status, during.finished, during.not_run) == ("running", 3, 3)
    assert during.in_flight == 1
    assert during.rate_per_s > 0
    assert during.eta_s == pytest.approx(3 / during.rate_per_s)


def test_no_difference_between_conditions_is_told_of_an_unfinished_run(replayed, options):
    path = run_sync(replayed({"a": "1111", "b": "0000"}), options=options).path
    assert "accuracy" not in json.dumps(status(path).to_dict())


@pytest.mark.anyio
async def test_a_cancelled_run_is_interrupted(options):
    class Endless(Replay):
        async def generate(self, prompt, /, **options):
            if self.asked:
                scope.cancel()
                await anyio.sleep_forever()
            return await super().generate(prompt, **options)

    data = sums(4)
    model = Endless("a", {item.input: "1" for item in data})
    experiment = Experiment("endless", dataset=data, conditions=[Condition("a", model)], seed=1)
    with anyio.CancelScope() as scope:
        await run(experiment, options=replace(options, concurrency=1))
    (folder,) = options.directory.iterdir()
    now = status(folder)
    assert (now.status, now.finished, now.not_run) == ("interrupted", 1, 3)


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(NotARunError):
        status(tmp_path)
