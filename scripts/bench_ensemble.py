"""Measure crucible-ensemble beside its peers, and compare with its bars.

Peers run where they are: `uv run --with litellm==1.106.2 --with crowd-kit==1.4.2 python
scripts/bench_ensemble.py`, or with `--peers PYTHON` in an environment of their own. Minima over
interleaved rounds. What one process computes is timed in CPU seconds, peers alike, so that a busy
machine does not look like a slow package; HTTP is timed by the clock and in CPU seconds, against a
server in a process of its own: where other processes want the cores, the clock says how long both
waited for the server. A bar that is missed is printed as missed.
"""

import argparse
import asyncio
import gc
import json
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import anyio
import httpx
import numpy as np

from crucible_ensemble import Completion, Ensemble, FunctionModel, OpenAIModel, SimulatedModel
from crucible_ensemble.ablation import ablation
from crucible_ensemble.dawid_skene import dawid_skene
from crucible_ensemble.evaluate import Strategy, evaluate
from crucible_ensemble.matrix import Cell, ResponseMatrix
from crucible_ensemble.prediction import Ballot
from crucible_ensemble.votes import Majority

BODY = json.dumps(
    {
        "id": "x", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "4"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10},
    }
).encode()  # fmt: skip
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)
missed: list[str] = []


def show(
    what: str, value: float, unit: str, *, most: float | None = None, least: float | None = None
) -> None:
    """Print a number beside its bar."""
    good = (most is None or value <= most) and (least is None or value >= least)
    bar = f"<= {most:g}" if most is not None else f">= {least:g}" if least is not None else "no bar"
    print(f"{what:62} {value:12.4g} {unit:9} bar {bar:10} {'ok' if good else 'MISSED'}", flush=True)
    if not good:
        missed.append(what)


def best_of(rounds: int, *functions, clock=time.process_time):
    """Return the least seconds of each function, in interleaved rounds."""
    least = [float("inf")] * len(functions)
    for _ in range(rounds):
        for n, function in enumerate(functions):
            gc.collect()
            began = clock()
            function()
            least[n] = min(least[n], clock() - began)
    return least


class Answers(asyncio.Protocol):
    """A chat completions server that always says 4, and is never what is waited for."""

    def __init__(self) -> None:
        self.got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.got += data
        head, found, body = self.got.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) >= length:
            self.got = body[length:]
            self.transport.write(ANSWER)  # type: ignore[attr-defined]


async def serve() -> None:
    """Answer until it is killed."""
    server = await asyncio.get_running_loop().create_server(Answers, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


PEER_MOCK = """
import asyncio, sys, time, litellm
def one():
    return litellm.acompletion(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "?"}], mock_response="4"
    )
async def main(n):
    await one()
    began = time.process_time()
    for _ in range(n):
        await asyncio.gather(*[one() for _ in range(3)])
    print(3 * n / (time.process_time() - began))
asyncio.run(main(60))
"""
PEER_HTTP = """
import asyncio, sys, time, litellm
async def main(url, n):
    gate = asyncio.Semaphore(10)
    async def one():
        async with gate:
            await litellm.acompletion(
                model="openai/m", api_base=url, api_key="x",
                messages=[{"role": "user", "content": "?"}],
            )
    await one()
    for clock in (time.perf_counter, time.process_time, time.perf_counter):
        began = clock()
        await asyncio.gather(*[one() for _ in range(n)])
        print((clock() - began) / n)
asyncio.run(main(sys.argv[1], 200))
"""
PEER_EM = """
import sys, time, numpy as np, pandas as pd
from crowdkit.aggregation import DawidSkene, OneCoinDawidSkene
keys = np.load(sys.argv[1])
n, m = keys.shape
tasks, workers = np.repeat(np.arange(n), m), np.tile(np.arange(m), n)
frame = pd.DataFrame({"task": tasks, "worker": workers, "label": keys.ravel()})
for kind in (OneCoinDawidSkene, DawidSkene):
    best = 1e9
    for _ in range(3):
        began = time.process_time()
        kind(n_iter=100).fit_predict(frame)
        best = min(best, time.process_time() - began)
    print(best)
"""


def peer(python: str | None, program: str, *arguments: str) -> list[float]:
    """Run a peer; an empty list where it is not installed."""
    if python is None:
        return []
    done = subprocess.run([python, "-c", program, *arguments], capture_output=True, text=True)
    if done.returncode:
        print(
            "  peer not measured:",
            done.stderr.strip().splitlines()[-1][:150] if done.stderr else "",
        )
        return []
    return [float(line) for line in done.stdout.split()]


def member_calls(python: str | None) -> None:
    async def four(prompt: object) -> Completion:
        return Completion(text="4", model="f", cost_usd=0.0, latency_s=0.0)

    ensemble = Ensemble([FunctionModel(four, name=n) for n in "abc"])

    async def main(n: int) -> None:
        for _ in range(n):
            await ensemble.predict("?")

    anyio.run(main, 50)
    (least,) = best_of(5, lambda: anyio.run(main, 500))
    ours = 1500 / least
    show("member calls, 3 members in parallel", ours, "calls/s", least=5000)
    theirs = [rate for _ in range(3) for rate in peer(python, PEER_MOCK)]
    if theirs:
        best = max(theirs)
        show(f"  times litellm's mock responses ({best:.0f}/s)", ours / best, "x", least=10)


def loopback(python: str | None) -> None:
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    n = 300
    messages = [{"role": "user", "content": "?"}]
    body = {"model": "m", "messages": messages, "max_tokens": 1000, "temperature": 0.0}

    async def bare() -> None:
        limits = httpx.Limits(max_connections=10)
        async with httpx.AsyncClient(limits=limits, timeout=30) as client:

            async def one(gate: anyio.CapacityLimiter) -> None:
                async with gate:
                    (await client.post(f"{url}/chat/completions", json=body)).json()

            async with anyio.create_task_group() as group:
                gate = anyio.CapacityLimiter(10)
                for _ in range(n):
                    group.start_soon(one, gate)

    from crucible_ensemble import PriceBook

    async def ours() -> None:
        prices = PriceBook({"openai/m": (1.0, 1.0)})
        async with (
            OpenAIModel("m", base_url=url, prices=prices) as model,
            anyio.create_task_group() as group,
        ):
            for _ in range(n):
                group.start_soon(model.generate, "?")

    anyio.run(ours)
    plain = own = theirs = float("inf")
    spent = []
    for _ in range(4):  # alternating, since the machine is not the same from one second to the next
        both = best_of(3, lambda: anyio.run(bare), lambda: anyio.run(ours), clock=time.perf_counter)
        plain, own = min(plain, both[0] / n), min(own, both[1] / n)
        found = peer(python, PEER_HTTP, url)
        if found:
            theirs = min(theirs, found[0], found[2])
            spent.append(found[1])
    cpu_plain, cpu = (t / n for t in best_of(3, lambda: anyio.run(bare), lambda: anyio.run(ours)))
    show(f"loopback HTTP, 10 at a time, of bare httpx ({1 / plain:.0f}/s)", own / plain, "x time", most=1.3)  # noqa: E501 # fmt: skip
    print(f"  CPU time of a call: {cpu * 1000:.2f} ms, bare httpx {cpu_plain * 1000:.2f} ms")
    if spent:
        show(f"  times litellm on the same server ({1 / theirs:.0f}/s)", theirs / own, "x", least=2)
        of_litellm = f"  times litellm's CPU time of a call ({min(spent) * 1000:.2f} ms)"
        show(of_litellm, min(spent) / cpu, "x", least=2)
    server.terminate()
    server.wait()


def votes() -> None:
    ballots = [Ballot(member=str(n), key=k) for n, k in enumerate("ababc")]
    vote = Majority()

    def many() -> None:
        for _ in range(20_000):
            vote(ballots)

    (least,) = best_of(5, many)
    show("vote over 5 ballots", least / 20_000 * 1e6, "us", most=10)


def inference(python: str | None) -> None:
    rng = np.random.default_rng(0)
    n, k = 10_000, 4
    truth = rng.integers(0, k, n)
    keys = np.stack(
        [
            np.where(rng.random(n) < p, truth, (truth + rng.integers(1, k, n)) % k)
            for p in (0.85, 0.7, 0.6, 0.55, 0.5)
        ],
        axis=1,
    ).astype(str)
    table = keys.astype(object)
    one, full = best_of(5, lambda: dawid_skene(table), lambda: dawid_skene(table, kind="full"))
    show("one-coin Dawid-Skene, 10,000 x 5, K = 4", one * 1000, "ms", most=100)
    show("full Dawid-Skene, 10,000 x 5, K = 4", full * 1000, "ms", most=200)
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file.name, keys)
        theirs = peer(python, PEER_EM, file.name)
    if theirs:
        coin = theirs[0]
        show(f"  one-coin times crowd-kit ({coin * 1000:.0f} ms)", coin / one, "x", least=5)
        show(f"  full times crowd-kit ({theirs[1] * 1000:.0f} ms)", theirs[1] / full, "x", least=5)


def random_matrix(items: int, models: int, **more: object) -> ResponseMatrix:
    rng = np.random.default_rng(1)
    rows = [
        Cell(
            item=f"i{i}", model=f"m{m}", latency_s=1.0,
            completion=Completion(
                text=str(int(a)), model=f"m{m}", cost_usd=0.01, latency_s=1.0, **more
            ),
        )
        for i in range(items)
        for m, a in enumerate(rng.integers(0, 4, models))
    ]  # fmt: skip
    return ResponseMatrix(rows, labels={f"i{i}": "1" for i in range(items)})


def matrices() -> None:
    ten = random_matrix(1319, 10)
    (least,) = best_of(2, lambda: ablation(ten))
    show("ablation, 10 models x 1,319 items, 1,023 subsets", least, "s", most=5)
    four = random_matrix(1319, 4)
    strategies = [
        Strategy(name=f"{e} {v} {t}", execution=e, vote=v, tie=t)
        for e in ("parallel", "quorum", "sequential")
        for v in ("majority", "unanimous")
        for t in ("seeded", "priority")
    ]
    assert len(strategies) == 12
    evaluate(four, strategies[:1])
    (least,) = best_of(3, lambda: evaluate(four, strategies))
    show("evaluate, 12 strategies on 1,319 x 4", least, "s", most=3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.jsonl"
        random_matrix(25_000, 4, input_tokens=20, output_tokens=3, finish="stop").save(path)
        (least,) = best_of(3, lambda: ResponseMatrix.load(path))
        show("load a matrix of 100,000 cells", least, "s", most=2)
        tracemalloc.start()
        kept = ResponseMatrix.load(path)
        held = tracemalloc.get_traced_memory()[0] / 2**20
        tracemalloc.stop()
        show(f"memory that its {len(kept):,} cells hold", held, "MiB", most=150)


def crowd() -> None:
    members = [
        SimulatedModel(
            n, accuracy=0.7, answer_of=lambda q: "1", wrong_of=lambda q: ["2"], latency_s=0.001
        )
        for n in "abc"
    ]
    ensemble = Ensemble(members)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for n in range(1000):
                group.start_soon(ensemble.predict, f"q {n}")

    anyio.run(main)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(3):
        anyio.run(main)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    grown = (after - before) / 2**20
    show("memory after 3 x 1,000 concurrent predictions of 3", grown, "MiB", most=5)


def imports(python: str | None) -> None:
    code = "import sys, time; t = time.process_time(); import crucible_ensemble; print(1000 * (time.process_time() - t), *sorted({'httpx', 'scipy', 'pydantic', 'torch', 'transformers', 'pandas', 'pyarrow'} & set(sys.modules)))"  # noqa: E501
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(7)
    ]
    assert all(len(run) == 1 for run in runs), runs[0]
    show(
        "import crucible_ensemble, nothing heavy in it",
        min(float(r[0]) for r in runs),
        "ms",
        most=350,
    )
    theirs = peer(
        python,
        "import time; t = time.process_time(); import litellm; "
        "print(1000 * (time.process_time() - t))",
    )
    if theirs:
        print(f"  import litellm: {theirs[0]:.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--peers", metavar="PYTHON", help="interpreter that has litellm and crowd-kit"
    )
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
    found = options.peers
    if found is None:
        import importlib.util

        found = sys.executable if importlib.util.find_spec("litellm") else None
    if found is None:
        print("peers are not installed here; ratios to them are left out (see --peers)")
    member_calls(found)
    loopback(found)
    votes()
    inference(found)
    matrices()
    crowd()
    imports(found)
    print(f"{len(missed)} bars missed" + (": " + "; ".join(missed) if missed else ""))
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
