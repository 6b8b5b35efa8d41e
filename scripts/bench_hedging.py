"""Print how close our plans come to the best ones, what a call costs, and how the peers do.

    python scripts/bench_hedging.py            # all of it, some minutes
    python scripts/bench_hedging.py --quick    # fewer requests

Peers that are installed (group `peers`: hedge-python, httpx-hedged, asynchedging) run in the same
process on the same traces; those that are not are left out.
"""

import argparse
import contextlib
import gc
import importlib.util
import math
import random
import time

import anyio
import numpy as np

from crucible_hedging import AdaptiveDelay, HedgeBudget, Hedger, hedge
from crucible_hedging.simulate import Lognormal, Pareto, Stragglers, oracle, requests

DISTRIBUTIONS = {
    "lognormal(1)": Lognormal(1),
    "Pareto(1.5)": Pareto(1.5),
    "5 % stragglers x10": Stragglers(0.05, 10, 0.25),
}


def against_the_oracle(seeds):
    print(f"\nP99 reduction after 2,000 requests, 20,000 more, mean of {seeds} seeds, same draws")
    print(f"{'':20} budget  oracle    ours   share  most extra load")
    for name, dist in DISTRIBUTIONS.items():
        for budget in (0.05, 0.10):
            best, ours, theirs, extra = oracle(dist, budget=budget), [], [], []
            for seed in range(seeds):
                planned = (best.policy(seed=seed), theirs)
                learned = (AdaptiveDelay(budget=budget, seed=seed), ours)
                for policy, reductions in (planned, learned):
                    bucket = HedgeBudget(budget)
                    shared = {"budget": bucket, "explore": 0.1}
                    requests(dist, policy, n=2_000, seed=100 + seed, **shared)
                    report = requests(dist, policy, n=20_000, seed=seed, **shared)
                    reductions.append(report.reduction())
                    extra += [report.extra_ratio] if reductions is ours else []
            gain, most = np.mean(ours), np.mean(theirs)
            print(
                f"{name:20} {budget:6.0%} {most:7.1%} {gain:7.1%} {gain / most:7.2f} "
                f"{max(extra):16.2%}"
            )


async def per_call(one, n):
    """Return microseconds per call, the best of five."""
    best = math.inf
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(n):
            await one()
        best = min(best, (time.perf_counter() - began) / n)
    return best * 1e6


async def overhead(n):
    async def quick():
        await anyio.lowlevel.checkpoint()

    pending = 0

    async def loses_to_its_backup():
        nonlocal pending
        pending += 1
        if pending % 2:
            await anyio.sleep(60)

    hedger, off, free = Hedger(10.0), Hedger("off"), Hedger(0.0, budget=None)
    rows = {
        "a bare await": quick,
        "hedge(), not hedged": lambda: hedge(quick, delay=10.0),
        "Hedger, not hedged": lambda: hedger(quick),
        "Hedger, no backup allowed": lambda: off(quick),
        "Hedger, backup wins at delay 0": lambda: free(loses_to_its_backup),
    }
    return {name: await per_call(one, n) for name, one in rows.items()}


async def peers_overhead(n):
    rows = {}

    async def quick():
        await anyio.lowlevel.checkpoint()

    if importlib.util.find_spec("asynchedging"):
        from asynchedging import hedge as other

        rows["asynchedging, not hedged"] = await per_call(lambda: other(quick, delays_s=[10.0]), n)
    for name, client in transports(lambda request: quick()):
        request = http_request(0)
        rows[f"{name}, not hedged"] = await per_call(
            lambda client=client, request=request: client.handle_async_request(request), n
        )
    return rows


def http_request(number):
    import httpx

    return httpx.Request("GET", "http://bench.invalid/", headers={"number": str(number)})


def transports(answer):
    """Yield the peers that are transports of httpx, around one that calls `answer(request)`."""
    names = [n for n in ("hedge", "httpx_hedged") if importlib.util.find_spec(n)]
    if not names:
        return
    import httpx

    class Inner(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            await answer(request)
            return httpx.Response(200)

    if "hedge" in names:
        from hedge.transport._httpx import HedgedHttpxTransport as Python

        yield "hedge-python", Python(Inner())
    if "httpx_hedged" in names:
        from httpx_hedged import HedgedTransport as Httpx

        yield "httpx-hedged", Httpx(Inner())


class Trace:
    """The same two latencies for request i, whoever asks."""

    def __init__(self, dist, n, seed, unit_s):
        rng = np.random.default_rng(seed)
        self.seconds = unit_s * np.asarray(dist.ppf(rng.random((2, n))))
        self.sent = np.zeros(n, dtype=int)

    async def copy(self, i):
        nth = min(self.sent[i], 1)
        self.sent[i] += 1
        await anyio.sleep(float(self.seconds[nth, i]))


async def play(trace, ask, concurrent=20):
    """Send every request of the trace; return its latencies."""
    n = trace.sent.size
    took, numbers = np.zeros(n), iter(range(n))

    async def worker():
        for i in numbers:
            began = time.perf_counter()
            await ask(i)
            took[i] = time.perf_counter() - began

    async with anyio.create_task_group() as group:
        for _ in range(concurrent):
            group.start_soon(worker)
    return took


async def on_real_sleeps(n):
    print(f"\n{n} sleeps of median 20 ms, 20 at a time: P99, extra load after the first 2,000")
    for name, dist in DISTRIBUTIONS.items():
        print(name)
        base = None
        for who in ("unhedged", "adaptive", "p90", "asynchedging", "hedge-python", "httpx-hedged"):
            trace = Trace(dist, n, 1, 0.02)
            ask = asker(who, trace, dist)
            if ask is None:
                continue
            took = await play(trace, ask)
            p99 = np.percentile(took[2_000:], 99)
            base = base or p99
            extra = (trace.sent[2_000:] - 1).mean()
            print(f"  {who:14} {1e3 * p99:7.1f} ms  {p99 / base - 1:+7.1%}  extra {extra:6.2%}")


def asker(who, trace, dist):
    if who == "unhedged":
        return trace.copy
    if who in ("adaptive", "p90"):
        hedger = Hedger(who, budget=0.10)
        return lambda i: hedger(lambda: trace.copy(i))
    if who == "asynchedging":
        if not importlib.util.find_spec("asynchedging"):
            return None
        from asynchedging import hedge as other

        p90 = 0.02 * float(dist.ppf(0.9))  # it does not learn; it is told
        return lambda i: other(lambda: trace.copy(i), delays_s=[p90])
    peers = dict(transports(lambda request: trace.copy(int(request.headers["number"]))))
    client = peers.get(who)
    return client and (lambda i: client.handle_async_request(http_request(i)))


async def a_backup_that_fails_at_once():
    print("\na good primary of 50 ms and a backup that fails after 11 ms")
    calls = 0

    async def call(*_):
        nonlocal calls
        calls += 1
        if calls % 2 == 0:
            await anyio.sleep(0.001)
            raise ConnectionError("refused")
        await anyio.sleep(0.05)

    tries = {"crucible-hedging": lambda: hedge(call, delay=0.01)}
    if importlib.util.find_spec("asynchedging"):
        from asynchedging import hedge as other

        tries["asynchedging"] = lambda: other(call, delays_s=[0.01])
    for name, client in transports(call):
        tries[name] = lambda client=client: client.handle_async_request(http_request(0))
    for name, one in tries.items():
        calls, good = 0, 0
        for _ in range(20):
            calls = 0
            try:
                await one()
                good += 1
            except Exception:  # noqa: BLE001  # whatever it raises is the finding
                pass
        print(f"  {name:18} {good} of 20 answered")


async def leaks(n):
    rng, running = random.Random(1), 0
    hedger = Hedger(0.0005, budget=0.5)

    async def call():
        nonlocal running
        running += 1
        try:
            await anyio.sleep(rng.choice([0, 0, 0.0005, 0.001, 0.002]))
            if rng.random() < 0.2:
                raise OSError
        finally:
            running -= 1

    async def one():
        with anyio.move_on_after(rng.choice([0.0, 0.0003, 0.001, 1.0])):
            with contextlib.suppress(OSError, ExceptionGroup):
                await hedger(call)

    left = iter(range(n))

    async def worker():
        for _ in left:
            await one()

    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(worker)
    gc.collect()
    tasks = len(anyio.get_running_tasks())
    print(
        f"\n{n} calls with failures and cancellations: {running} attempts, {tasks - 1} tasks left"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    against_the_oracle(2 if quick else 10)
    print("\nmicroseconds per call")
    for backend in ("asyncio", "trio"):
        for name, cost in anyio.run(overhead, 500 if quick else 3_000, backend=backend).items():
            print(f"  {backend:8} {name:32} {cost:7.1f}")
    for name, cost in anyio.run(peers_overhead, 500 if quick else 3_000).items():
        print(f"  {'asyncio':8} {name:32} {cost:7.1f}")
    anyio.run(on_real_sleeps, 3_000 if quick else 12_000)
    anyio.run(a_backup_that_fails_at_once)
    anyio.run(leaks, 10_000 if quick else 100_000)


if __name__ == "__main__":
    main()
