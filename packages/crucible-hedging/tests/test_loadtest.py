import itertools
import json

import anyio
import pytest

from crucible_hedging.loadtest import open_loop

pytestmark = pytest.mark.anyio


async def test_a_stall_is_felt_by_everyone_who_arrived_in_it():
    # One request a second; the server answers in 0.1 s but stalls from 10 to 20. A closed loop
    # would see one slow request; here ten arrive in the stall and wait for its end.
    async def call():
        now = anyio.current_time() - began
        if 10 <= now < 20:
            await anyio.sleep(20 - now)
        await anyio.sleep(0.1)

    began = anyio.current_time()
    report = await open_loop(call, rate_per_s=1, requests=40, arrivals="uniform")
    assert [round(latency, 6) for latency in report.latencies_s[9:21]] == [
        0.1, 10.1, 9.1, 8.1, 7.1, 6.1, 5.1, 4.1, 3.1, 2.1, 1.1, 0.1,
    ]  # fmt: skip
    assert report.inflight == 11
    assert (report.failures, report.lag_s) == (0, pytest.approx(0, abs=1e-9))
    assert report.sent_per_s == pytest.approx(1.0)
    assert report.duration_s == pytest.approx(39.1)
    assert (report.p50_s, report.p99_s) == (pytest.approx(0.1), None)
    assert len(json.loads(json.dumps(report.to_dict()))["latencies_s"]) == 40


async def test_arrivals_are_a_poisson_process_and_repeat_with_the_seed():
    async def arrivals(seed):
        times = []

        async def call():
            times.append(anyio.current_time() - began)

        began = anyio.current_time()
        await open_loop(call, rate_per_s=100, requests=5_000, seed=seed)
        return times

    first, again = await arrivals(1), await arrivals(1)
    assert first == pytest.approx(again)
    gaps = [b - a for a, b in itertools.pairwise(first)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert mean == pytest.approx(0.01, rel=0.06)  # four standard errors
    assert variance**0.5 / mean == pytest.approx(1.0, abs=0.06)  # an exponential's is 1


async def test_failures_are_counted_and_mistakes_are_raised():
    calls = 0

    async def call():
        nonlocal calls
        calls += 1
        if calls % 4 == 0:
            raise OSError

    report = await open_loop(call, rate_per_s=10, requests=20)
    assert (report.failures, len(report.latencies_s)) == (5, 15)
    with pytest.raises(TypeError, match="`call` must return an awaitable, got int"):
        await open_loop(lambda: 1, rate_per_s=10, requests=20)


async def test_cancelling_it_cancels_every_request():
    running = 0

    async def call():
        nonlocal running
        running += 1
        try:
            await anyio.sleep(100)
        finally:
            running -= 1

    with anyio.move_on_after(1.05):
        await open_loop(call, rate_per_s=10, requests=50, arrivals="uniform")
    assert running == 0


async def test_bad_arguments_are_named():
    async def call(): ...

    for options, error, message in [
        ({"rate_per_s": 0}, ValueError, "`rate_per_s` must be a finite number > 0, got 0"),
        ({"requests": 0}, ValueError, "`requests` must be >= 1, got 0"),
        ({"requests": 1.5}, TypeError, "`requests` must be an integer"),
        ({"arrivals": "bursty"}, ValueError, '`arrivals` must be "poisson" or "uniform"'),
    ]:
        with pytest.raises(error, match=message):
            await open_loop(call, **{"rate_per_s": 1, "requests": 1, **options})
    with pytest.raises(TypeError, match="`call` must be callable, got int"):
        await open_loop(1, rate_per_s=1, requests=1)
