"""Rates, time-outs, deadlines and concurrency, acceptance 10 of the specification; virtual time."""

import json
from dataclasses import replace

import anyio
import anyio.lowlevel
import pytest
from virtual import Clocked, in_virtual_time, virtually
from worlds import sums

from crucible_ensemble import Completion
from crucible_ensemble.errors import RateLimitError, ServerError
from crucible_harness import Condition, Experiment, run
from crucible_harness.hooks import Hooks
from crucible_harness.options import ErrorPolicy, Limits


def asking(*models: Clocked, n: int = 10, name: str = "asking") -> Experiment:
    return Experiment(
        name, dataset=sums(n), seed=1, metrics=("accuracy",),
        conditions=[Condition(name=f"c{i}", max_tokens=10, model=m) for i, m in enumerate(models)],
    )  # fmt: skip


def test_ten_requests_at_120_a_minute_end_at_four_seconds(options):
    # two at once (a second's worth), then one each half second: the tenth at 8 / 2 = 4.0
    model = Clocked()
    limits = {"clocked": Limits(requests_per_minute=120)}
    result, took = virtually(asking(model), replace(options, per_provider=limits))
    assert took == 4.0
    assert model.sent == [0, 0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]
    assert result.status == "complete"


def test_two_experiments_that_share_limits_keep_to_them_together(options):
    shared = replace(options, per_provider={"clocked": Limits(requests_per_minute=120)})
    one, two = Clocked(), Clocked()
    _, took = in_virtual_time(
        lambda: run(asking(one, n=5, name="one"), options=shared),
        lambda: run(asking(two, n=5, name="two"), options=shared),
    )
    assert took == 4.0
    assert sorted(one.sent + two.sent) == [0, 0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]


def test_two_experiments_with_limits_of_their_own_do_not_wait_for_each_other(options):
    runs = [
        replace(options, per_provider={"clocked": Limits(requests_per_minute=120)}) for _ in "ab"
    ]
    _, took = in_virtual_time(
        lambda: run(asking(Clocked(), n=5, name="one"), options=runs[0]),
        lambda: run(asking(Clocked(), n=5, name="two"), options=runs[1]),
    )
    assert took == 1.5


def test_tokens_per_minute(options):
    # 14 characters are 5 tokens, with 10 of the answer 15: at 900 a minute one call a second
    model = Clocked()
    limits = {"clocked": Limits(tokens_per_minute=900)}
    virtually(asking(model, n=4), replace(options, per_provider=limits))
    assert model.sent == pytest.approx([0, 1, 2, 3])


def test_retry_after_pauses_its_provider_and_no_other(options):
    busy = Clocked(
        "busy/m", takes_s=1.0,
        fails=lambda n: RateLimitError("slow down", retry_after_s=3.0) if n == 1 else None,
    )  # fmt: skip
    free = Clocked("free/m", takes_s=1.0)
    seen = []
    virtually(
        asking(busy, free, n=3),
        replace(
            options, concurrency=1, errors=ErrorPolicy(max_failure_rate=1.0),
            hooks=Hooks(on_event=lambda kind, detail: seen.append((kind, detail))),
        ),
    )  # fmt: skip
    pause_ends = busy.sent[0] + 3.0
    assert busy.sent[1] == pause_ends
    assert busy.sent[2] > pause_ends
    assert free.sent[0] == 0.0  # next to the refused call
    assert seen == [("retry_after", {"model": "busy/m", "seconds": 3.0})]


def test_three_failures_in_the_first_twenty_cells_end_the_run(options):
    model = Clocked(fails=lambda n: ServerError("down") if n in (3, 9, 17) else None)
    result, _ = virtually(asking(model, n=100), replace(options, concurrency=1))
    assert (result.status, result.finished, result.failed) == ("failure_rate", 20, 3)
    two = Clocked(fails=lambda n: ServerError("down") if n in (3, 9) else None)
    result, _ = virtually(asking(two, n=60, name="two"), replace(options, concurrency=1))
    assert result.status == "complete"


def test_a_call_that_takes_too_long_is_a_time_out_and_its_cell_a_failure(options):
    slow = Clocked(takes_s=31.0)
    result, took = virtually(
        asking(slow, n=2), replace(options, errors=ErrorPolicy(max_failure_rate=1.0))
    )
    assert took == 30.0
    assert result.failed == 2
    letters = (result.path / "dead_letters.jsonl").read_text().splitlines()
    assert {json.loads(letter)["error_class"] for letter in letters} == {"ModelTimeoutError"}
    assert {json.loads(letter)["status"] for letter in letters} == {"timeout"}


def test_after_the_deadline_nothing_is_sent_and_what_is_in_flight_ends(options):
    model = Clocked(takes_s=2.0)
    result, took = virtually(asking(model, n=50), replace(options, concurrency=2, deadline_s=5.0))
    assert (result.status, result.finished, took) == ("deadline", 6, 6.0)
    assert result.possibly_billed == ()
    again, _ = virtually(asking(model, n=50), options)
    assert (again.status, again.calls_sent) == ("complete", 44)


def test_calls_that_wait_for_their_turn_give_up_at_the_deadline(options):
    model = Clocked()
    limits = {"clocked": Limits(requests_per_minute=1)}
    result, took = virtually(
        asking(model, n=5), replace(options, per_provider=limits, deadline_s=90.0)
    )
    assert (result.finished, took) == (2, 90.0)


@pytest.mark.parametrize(("concurrency", "ideal_s"), [(10, 10.0), (100, 1.0), (1000, 0.1)])
def test_a_thousand_calls_take_as_long_as_they_must(options, concurrency, ideal_s):
    # section 6 of the specification: 1,000 calls of 100 ms, ideal 1,000 / C x 0.1 s
    model = Clocked(takes_s=0.1)
    result, took = virtually(asking(model, n=1000), replace(options, concurrency=concurrency))
    assert took == pytest.approx(ideal_s, abs=1e-9)
    assert result.finished == 1000


def test_a_place_that_becomes_free_is_taken_again_before_anything_else_happens(options):
    # calls that end together would else start together, and wait for each other in every round
    happened = []

    class Told(Clocked):
        async def generate(self, prompt, /, **asked):
            happened.append("start")
            answer = await super().generate(prompt, **asked)
            happened.append("end")
            return answer

    virtually(asking(Told(takes_s=1.0), n=12), replace(options, concurrency=3))
    assert happened == ["start"] * 3 + ["end", "start"] * 9 + ["end"] * 3


@pytest.mark.anyio
async def test_models_that_answer_at_once_let_others_have_their_turn(options):
    class AtOnce(Clocked):
        async def generate(self, prompt, /, **asked):
            return Completion(text="42", model=self.name, cost_usd=0.0, finish="stop")

    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    experiment = asking(AtOnce(), n=320)
    async with anyio.create_task_group() as group:
        group.start_soon(count)
        result = await run(experiment, options=replace(options, concurrency=1))
        group.cancel_scope.cancel()
    assert result.finished == 320
    assert turns >= 320 / 16


def test_at_most_so_many_calls_of_a_provider_are_in_flight(options):
    model = Clocked(takes_s=1.0)
    limits = {"clocked": Limits(concurrency=3)}
    _, took = virtually(asking(model, n=9), replace(options, per_provider=limits, concurrency=9))
    assert took == 3.0


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"concurrency": 0}, "`concurrency` must be >= 1"),
        ({"requests_per_minute": 0}, "`requests_per_minute` must be > 0"),
        ({"tokens_per_minute": -1}, "`tokens_per_minute` must be > 0"),
    ],
)
def test_limits_that_make_no_sense_are_refused(fields, rule):
    with pytest.raises(ValueError, match=rule):
        Limits(**fields)
