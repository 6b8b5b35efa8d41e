"""Acceptance 3 and 4: whatever happens, nothing outlives the call and nothing good is lost."""

import asyncio
import math

import anyio
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from crucible_hedging import HedgeBudget, Hedger
from crucible_hedging.errors import AllAttemptsFailedError


class Recording:
    """A fixed delay that remembers what it was told."""

    def __init__(self, delay_s):
        self.delay_s, self.seen, self.settled = delay_s, [], []

    def delay(self):
        return self.delay_s

    def observe(self, latency_s, *, censored, attempt=0):
        self.seen.append((attempt, round(latency_s, 9), censored))

    def settle(self, result):
        self.settled.append(result)


@pytest.mark.parametrize("how", ["scope", "fail_after", "move_on_after"])
@pytest.mark.parametrize(
    ("at", "told"),
    [
        (0.05, [(0, 0.05, True)]),  # before the backup
        (0.3, [(0, 0.3, True), (1, 0.2, True)]),  # while both run
    ],
)
@pytest.mark.anyio
async def test_cancelling_the_caller_cancels_every_attempt(hedge, stage, how, at, told):
    policy = Recording(0.1)
    call = stage.call((1.0, "primary"), (1.0, "backup"))
    if how == "fail_after":
        with pytest.raises(TimeoutError):
            with anyio.fail_after(at):
                await hedge(call, delay=policy)
    elif how == "move_on_after":
        with anyio.move_on_after(at) as scope:
            await hedge(call, delay=policy)
        assert scope.cancelled_caught
    else:
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: hedge(call, delay=policy))
            await anyio.sleep(at)
            group.cancel_scope.cancel()
    assert anyio.current_time() == pytest.approx(at)
    assert stage.running == 0
    assert policy.seen == told
    assert policy.settled == []


@pytest.mark.anyio
async def test_cancelling_before_the_call_starts_nothing_that_stays(hedge, stage):
    with anyio.CancelScope() as scope:
        scope.cancel()
        await hedge(stage.call((1.0, "primary")), delay=0.0)
        pytest.fail("cancellation must come out")
    assert stage.running == 0


@pytest.mark.anyio
async def test_clean_up_is_awaited_when_the_caller_is_cancelled(hedge):
    tidied = []

    async def tidy():
        try:
            await anyio.sleep(10)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.5)
                tidied.append(anyio.current_time())

    with anyio.move_on_after(0.2):
        await hedge(tidy, delay=0.1)
    assert tidied == pytest.approx([0.7, 0.7])


@pytest.mark.anyio
async def test_an_error_in_clean_up_is_no_reason_to_send_a_backup(hedge, stage):
    async def untidy():
        try:
            await anyio.sleep(10)
        finally:
            raise OSError("clean-up")

    policy = Recording(5.0)
    with anyio.move_on_after(0.2) as scope:
        await hedge(untidy, backups=[stage.call((1, "never"))], delay=policy)
    assert scope.cancelled_caught
    assert stage.started == []
    assert policy.seen == [(0, 0.2, True)]


@pytest.mark.anyio
async def test_a_winner_of_the_moment_of_cancellation_is_discarded(hedge):
    async def cancels_and_answers(scope):
        await anyio.sleep(0.1)
        scope.cancel()
        return "too late"

    for delay in (1.0, 0.05, math.inf):
        with anyio.CancelScope() as scope:
            await hedge(lambda scope=scope: cancels_and_answers(scope), delay=delay)
            pytest.fail("cancellation must come out")


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_a_native_cancel_around_the_moment_of_a_win_ends_the_task_or_comes_too_late(
    hedge, turns, anyio_backend
):
    running = 0
    go, started = asyncio.Event(), asyncio.Event()

    async def waits(forever):
        nonlocal running
        running += 1
        if running == 2:
            started.set()
        try:
            await go.wait()
            if forever:
                await anyio.sleep_forever()
            return "backup"
        finally:
            running -= 1

    async def request():
        return (await hedge(lambda: waits(True), backups=[lambda: waits(False)], delay=0)).value

    task = asyncio.ensure_future(request())
    await started.wait()
    go.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    if task.cancel():
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
    else:
        assert task.result() == "backup"
    assert running == 0


@pytest.mark.anyio
async def test_what_a_policy_is_told(hedge, stage):
    cases = [
        # an answer without a backup: the primary's latency
        ([(0.05, "a")], [(0, 0.05, False)], "unhedged"),
        # a beaten primary would have taken longer than the request did
        ([(1.0, "a"), (0.05, "b")], [(0, 0.15, True), (1, 0.05, False)], "won"),
        # a beaten backup, on its own clock
        ([(0.2, "a"), (1.0, "b")], [(0, 0.2, False), (1, 0.1, True)], "lost"),
        # a failure is not a latency
        ([(0.02, OSError()), (0.05, "b")], [(1, 0.05, False)], "won"),
        ([(1.0, "a"), (0.01, OSError())], [(0, 1.0, False)], "lost"),
        ([(0.3, OSError()), (0.01, OSError())], [], "failed"),
        ([(1.0, "a"), (0.05, TypeError())], [(0, 0.15, True)], "failed"),
    ]
    for script, told, settled in cases:
        policy = Recording(0.1)
        try:
            await hedge(stage.call(*script), delay=policy)
        except (AllAttemptsFailedError, TypeError):
            assert settled == "failed"
        assert policy.seen == told
        assert policy.settled == [settled]


@pytest.mark.anyio
async def test_clean_up_is_no_latency(hedge, stage):
    async def tidy():
        try:
            await anyio.sleep(10)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(5)

    policy = Recording(0.1)
    await hedge(tidy, backups=[stage.call((0.05, "b"))], delay=policy)
    assert policy.seen == [(0, 0.15, True), (1, 0.05, False)]


class Fatal(Exception):
    retryable = False


# Distinct primes of a millisecond, delays and deadlines irrational multiples of others: no two
# events fall on one moment.
MOMENTS = [p / 1000 for p in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61)]
ATTEMPT = st.sampled_from(["ok", "fails", "fatal"])


def expected(latencies, kinds, delay):
    """Play the race by hand: return (time, index of the winner, fatal index or None)."""
    starts, ends, events = [0.0], {}, []
    pending = delay
    started, n = 1, len(latencies)
    ends[0] = latencies[0]
    while True:
        due = pending if started < n else math.inf
        if not ends and due == math.inf:
            return events[-1], None, None
        first = min(ends, key=ends.get) if ends else None
        at = ends[first] if ends else math.inf
        if started < n and due < at:
            ends[started] = due + latencies[started]
            starts.append(due)
            pending, started = due + delay, started + 1
            continue
        del ends[first]
        events.append(at)
        if kinds[first] == "ok":
            return at, first, None
        if kinds[first] == "fatal":
            return at, None, first
        if not ends and started < n:
            pending = at  # all that ran have failed: the next one at once


@given(
    n=st.integers(1, 4),
    kinds=st.lists(ATTEMPT, min_size=4, max_size=4),
    moments=st.permutations(MOMENTS),
    cancel=st.booleans(),
)
@example(n=2, kinds=["ok", "fails", "ok", "ok"], moments=MOMENTS[::-1], cancel=False)
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_race_ends_as_played_by_hand(hedge, run, n, kinds, moments, cancel):
    latencies, delay, deadline = moments[:n], moments[4] / 2**0.5, moments[5] * 3**0.5
    kinds = kinds[:n]
    time, winner, fatal = expected(latencies, kinds, delay)
    running = 0
    policy = Recording(delay)

    async def attempt(index):
        nonlocal running
        running += 1
        try:
            await anyio.sleep(latencies[index])
            if kinds[index] == "ok":
                return index
            raise Fatal if kinds[index] == "fatal" else OSError
        finally:
            running -= 1

    async def main():
        turn = iter(range(n))

        async def call():
            return await attempt(next(turn))

        with anyio.move_on_after(deadline if cancel else math.inf) as scope:
            began = anyio.current_time()
            try:
                outcome = await hedge(call, delay=policy, max_backups=n - 1)
            except Fatal:
                assert fatal is not None
            except (OSError, AllAttemptsFailedError):
                assert (winner, fatal) == (None, None)
            else:
                assert outcome.value == outcome.winner == winner
                assert outcome.latency_s == pytest.approx(time)
                statuses = [a.status for a in outcome.attempts]
                assert statuses.count("won") == 1
                assert all(a.latency_s is not None for a in outcome.attempts)
                assert set(statuses) <= {"won", "failed", "cancelled"}
            assert anyio.current_time() - began == pytest.approx(time)
        assert scope.cancelled_caught == (cancel and deadline < time)

    run(main)
    assert running == 0
    assert all(latency >= 0 for _, latency, _ in policy.seen)


def test_many_races_at_once_do_not_mix(run):
    hedger = Hedger(0.1, budget=HedgeBudget(1.0, burst=1000, initial=1000))

    async def main():
        async def one(i):
            turn = iter([(1.0 + i / 1000, ("slow", i)), (0.05, ("quick", i))])

            async def call():
                seconds, answer = next(turn)
                await anyio.sleep(seconds)
                return answer

            value, winner = await hedger.race([call, call], key=i % 7)
            assert (value, winner) == (("quick", i), 1)

        async with anyio.create_task_group() as group:
            for i in range(300):
                group.start_soon(one, i)
        assert anyio.current_time() == pytest.approx(0.15)

    run(main)
    assert hedger.statistics().wins == 300
    assert hedger.statistics(key=0).requests == 43
