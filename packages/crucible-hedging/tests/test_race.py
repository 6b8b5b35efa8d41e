"""Table 3.1 of the specification, row by row, on both back ends in virtual time."""

import anyio
import pytest

import crucible_hedging
from crucible_hedging import FixedDelay, HedgeBudget, NoHedge
from crucible_hedging.errors import (
    AllAttemptsFailedError,
    HedgingError,
    NotIdempotentError,
    PolicyError,
    RejectedError,
)
from crucible_hedging.failures import Verdict

pytestmark = pytest.mark.anyio


class Fatal(Exception):
    retryable = False


class TooMany(Exception):
    def __init__(self, retry_after_s):
        self.retry_after_s = retry_after_s


async def test_a_slow_primary_loses_to_its_backup(hedge, stage):
    outcome = await hedge(stage.call((1.0, "slow"), (0.05, "quick")), delay=0.1)
    # Acceptance 1: 0.1 + 0.05, and the loser's `finally` has run.
    assert outcome.latency_s == pytest.approx(0.15, abs=1e-12)
    assert anyio.current_time() == pytest.approx(0.15, abs=1e-9)
    assert (outcome.value, outcome.winner, outcome.hedge_won) == ("quick", 1, True)
    assert (outcome.requests, outcome.hedged, outcome.delay_s) == (2, True, 0.1)
    assert stage.ended == ["quick", "slow"]
    assert [a.status for a in outcome.attempts] == ["cancelled", "won"]
    assert [a.name for a in outcome.attempts] == ["primary", "backup 1"]
    assert outcome.attempts[0].latency_s == pytest.approx(0.15, abs=1e-12)
    assert outcome.attempts[1].start_s == pytest.approx(0.1, abs=1e-12)
    assert outcome.attempts[1].latency_s == pytest.approx(0.05, abs=1e-12)


async def test_a_quick_primary_needs_no_backup(hedge, stage):
    outcome = await hedge(stage.call((0.05, "quick")), delay=0.1)
    assert (outcome.value, outcome.requests, outcome.hedged) == ("quick", 1, False)
    assert outcome.latency_s == 0.05
    assert outcome.blocked is None


async def test_a_primary_that_ends_when_the_timer_fires_is_not_hedged(hedge, stage):
    for _ in range(20):  # trio wakes the two in random order
        outcome = await hedge(stage.call((0.25, "just in time")), delay=0.25)
        assert outcome.requests == 1


async def test_a_primary_may_still_win_after_its_backup_started(hedge, stage):
    outcome = await hedge(stage.call((0.2, "primary"), (1.0, "backup")), delay=0.1)
    assert (outcome.value, outcome.winner, outcome.hedged) == ("primary", 0, True)
    assert outcome.latency_s == pytest.approx(0.2)
    assert [a.status for a in outcome.attempts] == ["won", "cancelled"]


async def test_of_two_answers_at_one_moment_exactly_one_wins(hedge, stage):
    for _ in range(20):  # trio wakes the two in random order
        outcome = await hedge(stage.call((0.5, "primary"), (0.25, "backup")), delay=0.25)
        assert outcome.value == ("primary", "backup")[outcome.winner]
        other = outcome.attempts[1 - outcome.winner].status
        assert outcome.attempts[outcome.winner].status == "won"
        assert other in ("lost", "cancelled")  # whether cancellation was in time is the loop's
        assert outcome.latency_s == 0.5


async def test_a_failing_backup_never_ends_a_good_primary(hedge, stage):
    # Acceptance 2: primary good at 0.05 s, backup fails at 0.011 s.
    outcome = await hedge(stage.call((0.05, "good"), (0.001, ConnectionError("reset"))), delay=0.01)
    assert (outcome.value, outcome.winner) == ("good", 0)
    assert outcome.latency_s == pytest.approx(0.05)
    assert [a.status for a in outcome.attempts] == ["won", "failed"]
    assert isinstance(outcome.attempts[1].error, ConnectionError)


async def test_a_primary_that_fails_before_the_delay_starts_its_backup_at_once(hedge, stage):
    # Acceptance 2: 0.01 + the backup's 0.02, not the 10 s delay.
    outcome = await hedge(stage.call((0.01, ConnectionError()), (0.02, "backup")), delay=10)
    assert (outcome.value, outcome.winner) == ("backup", 1)
    assert outcome.latency_s == pytest.approx(0.03)


async def test_an_empty_budget_raises_the_primarys_own_error(hedge, stage):
    budget, broken = HedgeBudget(0.05), ConnectionError("reset")
    with pytest.raises(ConnectionError) as caught:
        await hedge(stage.call((0.01, broken)), delay=10, budget=budget)
    assert caught.value is broken


async def test_an_empty_budget_sends_no_backup_and_says_so(hedge, stage):
    outcome = await hedge(stage.call((1.0, "slow")), delay=0.1, budget=HedgeBudget(0.05))
    assert (outcome.value, outcome.requests, outcome.blocked) == ("slow", 1, "budget")
    assert outcome.delay_s == 0.1


async def test_a_budget_that_fills_in_the_meantime_serves_a_primary_that_fails_later(hedge, stage):
    budget = HedgeBudget(0.5)

    async def refill():
        await anyio.sleep(0.5)
        budget.arrive()

    async with anyio.create_task_group() as group:
        group.start_soon(refill)
        call = stage.call((1.0, ConnectionError()), (0.1, "backup"))
        outcome = await hedge(call, delay=0.1, budget=budget)
    assert (outcome.value, outcome.blocked) == ("backup", None)
    assert outcome.latency_s == pytest.approx(1.1)


async def test_a_primary_that_fails_while_a_backup_runs_waits_for_it(hedge, stage):
    outcome = await hedge(stage.call((0.2, ConnectionError()), (1.0, "backup")), delay=0.1)
    assert (outcome.value, outcome.winner) == ("backup", 1)
    assert outcome.latency_s == pytest.approx(1.1)
    assert [a.status for a in outcome.attempts] == ["failed", "won"]


async def test_when_all_fail_the_errors_come_in_start_order(hedge, stage):
    first, second = ConnectionError("first"), OSError("second")
    with pytest.raises(AllAttemptsFailedError) as caught:
        await hedge(stage.call((1.0, first), (0.1, second)), delay=0.1)
    assert caught.value.exceptions == (first, second)
    assert isinstance(caught.value, HedgingError)
    assert isinstance(caught.value, ExceptionGroup)
    assert caught.value.rejected == ()


async def test_when_one_attempt_was_started_its_error_is_raised_unchanged(hedge, stage):
    alone = ConnectionError("alone")
    with pytest.raises(ConnectionError) as caught:
        await hedge(stage.call((0.1, alone)), delay=NoHedge())
    assert caught.value is alone


async def test_except_star_can_take_the_failures_apart(hedge, stage):
    seen = []
    try:
        await hedge(stage.call((1.0, ConnectionError()), (0.1, KeyError())), delay=0.1)
    except* ConnectionError as group:
        seen.append(type(group))
    except* KeyError as group:
        seen.append(type(group))
    assert seen == [AllAttemptsFailedError, AllAttemptsFailedError]


@pytest.mark.parametrize("error", [TypeError(), AssertionError(), Fatal()])
async def test_a_fatal_error_of_the_same_call_ends_everything(hedge, stage, error):
    with pytest.raises(type(error)) as caught:
        await hedge(stage.call((1.0, "good"), (0.05, error)), delay=0.1)
    assert caught.value is error
    assert anyio.current_time() == pytest.approx(0.15)
    assert stage.ended == [error, "good"]
    with pytest.raises(type(error)):
        await hedge(stage.call((0.01, error), (0.01, "never sent")), delay=0.1)
    assert len(stage.started) == 3


async def test_a_fatal_error_of_a_backups_own_call_ends_only_that_attempt(hedge, stage):
    outcome = await hedge(
        stage.call((1.0, "good")), backups=[stage.call((0.05, Fatal()))], delay=0.1
    )
    assert (outcome.value, outcome.winner) == ("good", 0)
    assert outcome.latency_s == 1.0


async def test_a_fatal_error_of_the_primary_ends_backups_of_other_calls(hedge, stage):
    with pytest.raises(Fatal):
        await hedge(stage.call((0.2, Fatal())), backups=[stage.call((5, "other"))], delay=0.1)
    assert anyio.current_time() == pytest.approx(0.2)


async def test_a_backup_given_as_the_primarys_call_is_the_same_call(hedge, stage):
    call = stage.call((1.0, "good"), (0.05, Fatal()))
    with pytest.raises(Fatal):
        await hedge(call, backups=[call], delay=0.1)


async def test_pushback_holds_back_the_backup_that_would_start_at_once(hedge, stage):
    pushed = TooMany(retry_after_s=2.0)
    with pytest.raises(TooMany) as caught:
        await hedge(stage.call((0.05, pushed)), delay=0.1)
    assert caught.value is pushed


async def test_pushback_on_a_backup_holds_back_the_next_and_lets_the_primary_go_on(hedge, stage):
    outcome = await hedge(
        stage.call((1.0, "good"), (0.05, TooMany(retry_after_s=0.7))), delay=0.1, max_backups=2
    )
    assert (outcome.value, outcome.requests, outcome.blocked) == ("good", 2, "pushback")


async def test_pushback_without_a_time_lasts_one_second(hedge, stage):
    def classify(error):
        return Verdict(kind="pushback")

    call = stage.call((5.0, "primary"), (0.01, OSError()), (0.05, "third"))
    outcome = await hedge(call, delay=0.5, stagger=3.0, max_backups=2, classify=classify)
    # The first backup starts at 0.5 and fails at 0.51; the second is due 1.5 s later, at 2.0.
    assert (outcome.value, outcome.winner, outcome.blocked) == ("third", 2, None)
    call = stage.call((5.0, "primary"), (0.01, OSError()), (0.05, "third"))
    outcome = await hedge(call, delay=0.5, stagger=1.5, max_backups=2, classify=classify)
    # Now it is due at 1.25, before 0.51 + 1.
    assert (outcome.value, outcome.winner, outcome.blocked) == ("primary", 0, "pushback")


async def test_a_call_that_is_not_idempotent_is_never_raced(stage):
    with pytest.raises(NotIdempotentError):
        await crucible_hedging.hedge(stage.call(), delay=0.1, idempotent=False)
    assert stage.started == []


async def test_backups_are_staggered_and_use_their_own_calls(hedge, stage):
    first = stage.call((9, "primary"), (9, "again"), (0.05, "last"))
    outcome = await hedge(
        first, backups=[stage.call((9, "east"))], delay=0.1, max_backups=3, stagger=2.0
    )
    assert outcome.value == "last"
    # Backup k starts delay * stagger^(k-1) after the one before: 0.1, then 0.2, then 0.4 later.
    assert [t for t, _ in stage.started] == pytest.approx([0.0, 0.1, 0.3, 0.7])
    assert [r for _, r in stage.started] == ["primary", "east", "again", "last"]
    assert outcome.latency_s == pytest.approx(0.75)


async def test_the_next_backup_starts_at_once_when_all_that_ran_have_failed(hedge, stage):
    call = stage.call((0.1, OSError()), (0.1, OSError()), (0.1, "third"))
    outcome = await hedge(call, delay=10, max_backups=2)
    assert outcome.value == "third"
    assert outcome.latency_s == pytest.approx(0.3)


async def test_an_answer_that_is_not_accepted_counts_as_a_failure(hedge, stage):
    outcome = await hedge(
        stage.call((0.01, ""), (0.02, "text")), delay=10, accept=lambda value: value != ""
    )
    assert (outcome.value, outcome.winner) == ("text", 1)
    assert [a.status for a in outcome.attempts] == ["rejected", "won"]


async def test_when_nothing_is_accepted_the_error_carries_the_answers(hedge, stage):
    with pytest.raises(AllAttemptsFailedError) as caught:
        await hedge(stage.call((1.0, "a"), (0.1, "b")), delay=0.1, accept=lambda value: False)
    assert caught.value.rejected == ("a", "b")
    with pytest.raises(AllAttemptsFailedError) as caught:
        await hedge(stage.call((1.0, "a")), delay=NoHedge(), accept=lambda value: False)
    assert caught.value.rejected == ("a",)
    assert isinstance(caught.value.exceptions[0], RejectedError)


@pytest.mark.parametrize("option", ["accept", "classify", "cost"])
async def test_a_mistake_in_a_callback_is_raised_after_the_clean_up(hedge, stage, option):
    def mistaken(_):
        raise LookupError("my mistake")

    result = OSError() if option == "classify" else "quick"
    with pytest.raises(LookupError, match="my mistake"):
        await hedge(stage.call((1.0, "slow"), (0.1, result)), delay=0.1, **{option: mistaken})
    assert stage.ended == [result, "slow"]


async def test_a_loser_that_fails_in_its_clean_up_does_not_harm_the_winner(hedge):
    async def untidy():
        try:
            await anyio.sleep(1)
        finally:
            raise ValueError("clean-up")

    async def quick():
        return "quick"

    outcome = await hedge(untidy, backups=[quick], delay=0.1)
    assert outcome.value == "quick"
    assert outcome.attempts[0].status == "cancelled"
    assert isinstance(outcome.attempts[0].error, ValueError)
    slow = FixedDelay(0.1)
    outcome = await hedge(lambda: _late(0.2, "primary"), backups=[untidy], delay=slow)
    assert outcome.value == "primary"


async def test_a_loser_with_tasks_of_its_own_does_not_harm_the_winner(hedge):
    async def untidy():
        try:
            await anyio.sleep(1)
        finally:
            raise ValueError("clean-up")

    async def crowd():
        async with anyio.create_task_group() as group:
            group.start_soon(untidy)
            await anyio.sleep(1)

    for call, backup in [(crowd, lambda: _late(0.1, "good")), (lambda: _late(0.3, "good"), crowd)]:
        outcome = await hedge(call, backups=[backup], delay=0.1)
        assert outcome.value == "good"


async def test_a_losers_clean_up_is_awaited(hedge):
    tidied = []

    async def tidy():
        try:
            await anyio.sleep(10)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.5)
                tidied.append("tidy")

    outcome = await hedge(tidy, backups=[lambda: _late(0.05, "quick")], delay=0.1)
    assert (outcome.value, tidied) == ("quick", ["tidy"])
    assert outcome.latency_s == pytest.approx(0.65)  # what the caller waited
    assert outcome.attempts[1].latency_s == pytest.approx(0.05)


async def test_a_loser_that_will_not_stop_loses_all_the_same(hedge):
    async def stubborn():
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.5)
        return "late"

    outcome = await hedge(stubborn, backups=[lambda: _late(0.05, "quick")], delay=0.1)
    assert outcome.value == "quick"
    assert [a.status for a in outcome.attempts] == ["lost", "won"]


@pytest.mark.parametrize("who", ["primary", "backup"])
async def test_an_interrupt_in_an_attempt_comes_out_as_it_is(hedge, stage, who):
    class Interrupt(BaseException):
        pass

    mine = (0.5, Interrupt()) if who == "primary" else (9, "slow")
    other = (0.2, Interrupt()) if who == "backup" else (9, "slow")
    with pytest.raises(Interrupt):
        await hedge(stage.call(mine, other), delay=0.1)
    assert len(stage.ended) == 2


@pytest.mark.parametrize("cancelled", [False, True])
async def test_an_interrupt_in_a_losers_clean_up_is_not_swallowed(hedge, cancelled):
    class Interrupt(BaseException):
        pass

    async def interrupted():
        try:
            await anyio.sleep(10)
        finally:
            raise Interrupt

    backup = 10 if cancelled else 0.05
    with pytest.raises(Interrupt):
        with anyio.move_on_after(0.2):
            await hedge(interrupted, backups=[lambda: _late(backup, "quick")], delay=0.1)


async def test_a_call_that_is_not_async_is_named(hedge):
    with pytest.raises(TypeError, match="primary must return an awaitable, got int"):
        await hedge(lambda: 1, delay=0.1)
    with pytest.raises(TypeError, match="backup 1 must return an awaitable, got str"):
        await hedge(lambda: _late(1, "good"), backups=[lambda: "no"], delay=0.1)


async def test_bad_arguments_are_named_with_rule_and_value(stage):
    call = stage.call()
    for options, error, message in [
        ({"delay": -1}, ValueError, "`delay` must be >= 0 seconds, got -1"),
        ({"delay": float("nan")}, ValueError, "`delay` must be >= 0 seconds, got nan"),
        ({"delay": True}, TypeError, "`delay` must be a number of seconds or a policy object"),
        ({"delay": "p95"}, TypeError, "words are for Hedger"),
        ({"delay": None}, TypeError, "`delay` must be"),
        ({"delay": 1, "max_backups": 6}, ValueError, r"`max_backups` must be in \[0, 5\], got 6"),
        ({"delay": 1, "max_backups": 1.5}, TypeError, "`max_backups` must be an integer"),
        ({"delay": 1, "stagger": 0}, ValueError, "`stagger` must be a finite number > 0, got 0"),
        ({"delay": 1, "backups": [call, call]}, ValueError, "`backups` must be at most"),
        ({"delay": 1, "backups": ["x"]}, TypeError, r"`backups\[0\]` must be callable, got str"),
    ]:
        with pytest.raises(error, match=message):
            await crucible_hedging.hedge(call, **options)
    coroutine = call()
    with pytest.raises(TypeError, match="`call` must be callable, got coroutine"):
        await crucible_hedging.hedge(coroutine, delay=1)
    coroutine.close()
    assert stage.started == []


@pytest.mark.parametrize("value", [float("nan"), -0.1, None, "soon"])
async def test_a_policy_that_returns_no_delay_is_named(hedge, stage, value):
    class Broken:
        def delay(self):
            return value

        def observe(self, latency_s, *, censored, attempt=0): ...

    with pytest.raises(PolicyError, match="policy Broken") as caught:
        await hedge(stage.call((0.1, "good")), delay=Broken())
    assert repr(caught.value.value) == repr(value)


async def test_no_backup_at_all_is_a_plain_call(hedge, stage):
    outcome = await hedge(stage.call((1.0, "slow")), delay=0.1, max_backups=0)
    assert (outcome.requests, outcome.blocked, outcome.delay_s) == (1, "disabled", None)
    outcome = await hedge(stage.call((1.0, "slow")), delay=float("inf"))
    assert (outcome.requests, outcome.blocked, outcome.delay_s) == (1, None, None)


async def test_the_record_can_be_stored(hedge, stage):
    import json

    outcome = await hedge(stage.call((1.0, "slow"), (0.1, OSError("no"))), delay=0.1)
    stored = json.loads(json.dumps(outcome.to_dict()))
    assert stored["winner"] == 0
    assert [a["error"] for a in stored["attempts"]] == [None, "OSError"]
    assert "value" not in stored


async def _late(seconds, value):
    await anyio.sleep(seconds)
    return value
