"""Acceptance 21: real HTTP over loopback, in real time."""

import random
from contextlib import asynccontextmanager

import anyio
import httpx
import numpy as np
import pytest

from crucible_hedging import HedgeBudget, Hedger

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"  # its real clock; the virtual ones are for the other tests


class Server:
    """HTTP/1.1 on a free port; 5 % of its answers take 0.3 s, the others 0.03 s."""

    def __init__(self, seed):
        self._rng = random.Random(seed)
        self.requests = self.disconnects = 0

    @asynccontextmanager
    async def running(self):
        async with (
            await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
            anyio.create_task_group() as group,
        ):
            self.port = listener.extra(anyio.abc.SocketAttribute.local_port)
            group.start_soon(listener.serve, self._serve)
            yield self
            group.cancel_scope.cancel()

    async def _serve(self, stream):
        async with stream:
            try:
                while True:
                    request = b""
                    while not request.endswith(b"\r\n\r\n"):
                        request += await stream.receive()
                    await self._answer(stream)
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                pass

    async def _answer(self, stream):
        self.requests += 1
        seconds = 0.3 if self._rng.random() < 0.05 else 0.03
        async with anyio.create_task_group() as group:

            async def watch():  # nothing is sent before the answer, unless the client goes away
                try:
                    await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    self.disconnects += 1
                    group.cancel_scope.cancel()

            group.start_soon(watch)
            await anyio.sleep(seconds)
            group.cancel_scope.cancel()
        await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


async def measure(ask, n, concurrent=4):
    latencies, numbers = [], iter(range(n))

    async def worker():
        for _ in numbers:
            began = anyio.current_time()
            await ask()
            latencies.append(anyio.current_time() - began)

    async with anyio.create_task_group() as group:
        for _ in range(concurrent):
            group.start_soon(worker)
    return latencies


def client():
    return httpx.AsyncClient(
        limits=httpx.Limits(max_connections=500, max_keepalive_connections=500), verify=False
    )


async def hedged_run(n):
    async with (
        Server(7).running() as server,
        client() as http,
        Hedger("p90", budget=0.1) as hedger,
    ):

        async def get():
            return (await http.get(f"http://127.0.0.1:{server.port}/")).text

        async def ask():
            assert (await hedger(get)).value == "ok"

        latencies = await measure(ask, n)
    figures = hedger.statistics()
    assert figures.extra_ratio <= 0.10
    assert server.requests <= n * 1.1
    # Every beaten copy but the explored ones was cut off, unless it had answered at that moment.
    assert 0.5 * figures.hedged <= server.disconnects <= figures.hedged
    return np.percentile(latencies, 99)


async def test_stragglers_of_a_real_server_are_cut_by_half_within_the_budget():
    async with Server(7).running() as plain, client() as http:
        unhedged = await measure(lambda: http.get(f"http://127.0.0.1:{plain.port}/"), 500)
    assert plain.disconnects == 0
    base = np.percentile(unhedged, 99)
    # A machine that is busy with something else makes every latency longer, so the best of five.
    p99s = []
    while len(p99s) < 5 and not (p99s and p99s[-1] <= 0.5 * base):
        p99s.append(await hedged_run(2_000))
    assert min(p99s) <= 0.5 * base


@pytest.mark.parametrize("dead_first", [True, False])
async def test_with_one_of_two_servers_dead_every_call_succeeds(dead_first):
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as gone:
        dead = gone.extra(anyio.abc.SocketAttribute.local_port)
    budget = HedgeBudget(1.0, burst=500, initial=500)
    answers = []
    async with (
        Server(1).running() as server,
        client() as http,
        Hedger(0.01, budget=budget) as hedger,
    ):

        async def get(port):
            return (await http.get(f"http://127.0.0.1:{port}/")).text

        calls = [lambda: get(dead), lambda: get(server.port)]
        if not dead_first:
            calls.reverse()

        async def ask():
            answers.append(await hedger.race(calls))

        await measure(ask, 200)
    assert answers == [("ok", int(dead_first))] * 200
