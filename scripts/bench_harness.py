"""How fast, lean and durable a run is, beside Inspect AI and pydantic-evals on this machine.

    uv run python scripts/bench_harness.py [WORKLOAD ...] [--no-peers]

Workloads: samples, wall, kills, resume, read, report, ray, start. Each runs in a process of its
own; peers in an environment of their own (`uv run --isolated`). CPU seconds stand beside the
wall, since only they mean something on a machine that does other things as well. Bars are those of
the specification; a missed one is printed as MISSED and makes the exit status 1.
"""

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "packages/crucible-harness/tests"
MISSED: list[str] = []

INSPECT = """
import json, os, resource, sys, time
import inspect_ai
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput, get_model
from inspect_ai.model._model_output import ModelUsage
from inspect_ai.scorer import match
from inspect_ai.solver import generate

n, takes_s, concurrency = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])

def outputs():
    while True:
        output = ModelOutput.from_content("mockllm/model", "42")
        output.usage = ModelUsage(input_tokens=3, output_tokens=1, total_tokens=4)
        if takes_s:
            time.sleep(0)
        yield output

data = MemoryDataset([Sample(input=f"What is {i}?", target="42", id=str(i)) for i in range(n)])
model = get_model("mockllm/model", custom_outputs=outputs())
wall, cpu = time.perf_counter(), time.process_time()
(log,) = eval(
    Task(dataset=data, solver=generate(), scorer=match()), model=model, display="none",
    max_connections=concurrency, max_samples=concurrency, log_dir=sys.argv[4],
)
print(json.dumps({
    "version": inspect_ai.__version__, "status": log.status,
    "wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu,
    "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""

EVALS = """
import asyncio, importlib.metadata, json, resource, sys, time
from pydantic_evals import Case, Dataset
from pydantic_evals.evaluators import EqualsExpected

n, concurrency = int(sys.argv[1]), int(sys.argv[3])

async def task(text: str) -> str:
    return "42"

data = Dataset(
    name="samples",
    cases=[Case(name=str(i), inputs=f"What is {i}?", expected_output="42") for i in range(n)],
    evaluators=[EqualsExpected()],
)
wall, cpu = time.perf_counter(), time.process_time()
asyncio.run(data.evaluate(task, max_concurrency=concurrency, progress=False))
print(json.dumps({
    "version": importlib.metadata.version("pydantic-evals"), "status": "success",
    "wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu,
    "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""


class Trivial:
    """Answers at once, or after a given time."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.name, self._takes_s = "mock/model", takes_s
        self.first_s: float | None = None

    def fingerprint(self) -> dict[str, object]:
        return {"model": self.name}

    async def generate(self, prompt: Any, /, **options: Any) -> Any:
        import anyio

        from crucible_ensemble import Completion

        if self.first_s is None:
            self.first_s = time.perf_counter()
        if self._takes_s:
            await anyio.sleep(self._takes_s)
        return Completion(
            text="42", model=self.name, input_tokens=3, output_tokens=1, cost_usd=0.0,
            latency_s=self._takes_s, finish="stop",
        )  # fmt: skip


def experiment(n: int, model: Any, conditions: int = 1) -> Any:
    from crucible_datasets import Dataset, Item
    from crucible_datasets.items import Provenance
    from crucible_harness import Condition, Experiment

    items = [Item(id=f"q/{i}", input=f"What is {i}?", expected="42") for i in range(n)]
    return Experiment(
        "bench",
        dataset=Dataset(items, name="bench", task="math", provenance=Provenance(kind="memory")),
        conditions=[
            Condition(name=f"c{i}", model=model, temperature=0.1 * i) for i in range(conditions)
        ],
        seed=1,
    )


def options(directory: str, **changes: Any) -> Any:
    from crucible_harness import RunOptions

    return RunOptions(**{"directory": directory, "progress": "none", "telemetry": False, **changes})


# What runs in a process of its own.


def samples(n: int, telemetry: bool) -> dict[str, Any]:
    """Run n trivial samples at concurrency 100; the dispatch is timed, and the whole run."""
    import crucible_harness.dispatch as dispatch
    from crucible_harness import run_sync

    facts: dict[str, Any] = {}
    work = dispatch.Dispatch.work

    async def timed(self: Any) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        await work(self)
        facts.update(wall_s=time.perf_counter() - wall, cpu_s=time.process_time() - cpu)

    dispatch.Dispatch.work = timed  # type: ignore[method-assign]
    made = experiment(n, Trivial())
    wall, cpu = time.perf_counter(), time.process_time()
    with directory() as where:
        result = run_sync(made, options=options(where, concurrency=100, telemetry=telemetry))
    assert result.status == "complete"
    facts.update(
        whole_wall_s=time.perf_counter() - wall,
        whole_cpu_s=time.process_time() - cpu,
        rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )
    return facts


def wall(n: int, takes_s: float, concurrency: int) -> dict[str, Any]:
    """Run n calls that take a given time, on the real clock."""
    facts = {}
    import crucible_harness.dispatch as dispatch
    from crucible_harness import run_sync

    work = dispatch.Dispatch.work

    async def timed(self: Any) -> None:
        began, cpu = time.perf_counter(), time.process_time()
        await work(self)
        facts.update(wall_s=time.perf_counter() - began, cpu_s=time.process_time() - cpu)

    dispatch.Dispatch.work = timed  # type: ignore[method-assign]
    with directory() as where:
        run_sync(
            experiment(n, Trivial(takes_s)),
            options=options(where, concurrency=concurrency, timeout_s=None),
        )
    return facts


def resume(planned: int, done: int) -> dict[str, Any]:
    """Take up a run with `done` cells finished; time until the first call is sent."""
    from crucible_harness import run_sync
    from crucible_harness.errors import HarnessError
    from crucible_harness.folder import folder_of
    from crucible_harness.hooks import Hooks
    from crucible_harness.tables import Call, Outcome, line

    model = Trivial()
    made = experiment(planned, model)
    with directory() as where:
        folder = folder_of(made, where)
        folder.prepare(made)
        journal = folder.open_journal(design=made.frozen)
        journal._store._db.execute("PRAGMA synchronous=OFF")  # type: ignore[attr-defined]
        journal._store._db.execute("BEGIN")  # type: ignore[attr-defined]
        request = line({"model": {"model": model.name}, "messages": "x" * 100})
        for cell in made.schedule()[:done]:
            key = f"{cell.position:064x}"
            for write in (
                journal.intend(key, condition=cell.condition, item=cell.item, reserved_usd=0.0),
                journal.finish_call(
                    Call(leaf_key=key, attempt=0, condition="shared", item=cell.item, repeat=0,
                         sample=0, status="ok", request=request, started_ns=0,
                         response={"text": "42", "cost_usd": 0.0, "billed_usd": 0.0})
                ),
                journal.finish_cell(
                    Outcome(condition=cell.condition, item=cell.item, repeat=0, status="ok",
                            output={"position": cell.position}, scores={"accuracy": 1.0},
                            call_keys=(key,), cost_usd=0.0, latency_s=0.0)
                ),
            ):  # fmt: skip
                try:
                    write.send(None)
                except StopIteration:
                    continue
        journal._store._db.execute("COMMIT")  # type: ignore[attr-defined]
        journal.close()
        pid = os.fork()  # a fresh peak of memory, without what made the journal
        if pid:
            os.waitpid(pid, 0)
            return json.loads((Path(where) / "facts.json").read_text())  # type: ignore[no-any-return]

        def stop(cell: Any, outcome: Any) -> None:
            raise RuntimeError("enough")

        began, cpu = time.perf_counter(), time.process_time()
        with suppress(HarnessError):
            run_sync(
                made,
                options=options(where, concurrency=1, hooks=Hooks(after_cell=stop, strict=True)),
            )
        assert model.first_s is not None
        facts = {
            "wall_s": model.first_s - began,
            "cpu_s": time.process_time() - cpu,
            "rss_mb": current_rss_mb(),
        }
        (Path(where) / "facts.json").write_text(json.dumps(facts))
        os._exit(0)


def read(n: int) -> dict[str, Any]:
    """Read a finished run of n samples back."""
    from crucible_harness import run_sync
    from crucible_harness.recorded import load_run

    with directory() as where:
        result = run_sync(experiment(n, Trivial()), options=options(where, concurrency=100))
        best = min(_timed(lambda: load_run(result.path)) for _ in range(5))
    return {"cpu_s": best}


def report(n: int, conditions: int) -> dict[str, Any]:
    """Analyse a run of n items under some conditions and write every format."""
    from crucible_harness import report as write
    from crucible_harness import run_sync

    with directory() as where:
        result = run_sync(
            experiment(n, Trivial(), conditions), options=options(where, concurrency=100)
        )
        began, cpu = time.perf_counter(), time.process_time()
        files = write(result.path, formats=("markdown", "latex", "html", "jupyter", "json"))
        facts = {"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu}
        return {**facts, "open_s": min(_opened(files["html"]) for _ in range(3)),
                "html_mb": files["html"].stat().st_size / 1e6}  # fmt: skip


def _opened(page: Path) -> float:
    """Open a report in a headless Chromium; seconds until its items are listed and charts drawn."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        tab = browser.new_page()
        began = time.perf_counter()
        tab.goto(page.as_uri())
        tab.wait_for_selector("#item-count:not(:empty)")
        tab.locator(".chart svg").last.wait_for()
        took = time.perf_counter() - began
        browser.close()
    return took


def ray(n: int, takes_s: float) -> dict[str, Any]:
    """Run calls on two Ray actors, 50 at a time each; the start of Ray is not counted."""
    import crucible_harness.dispatch as dispatch
    from crucible_harness import run_sync
    from crucible_harness.executors.ray import RayExecutor

    facts: dict[str, Any] = {}
    work = dispatch.Dispatch.work

    async def timed(self: Any) -> None:
        began = time.perf_counter()
        await work(self)
        facts.update(wall_s=time.perf_counter() - began)

    dispatch.Dispatch.work = timed  # type: ignore[method-assign]
    with directory() as where:
        run_sync(
            experiment(n, Trivial(takes_s)),
            options=options(
                where, concurrency=100, executor=RayExecutor(actors=2, concurrency_per_actor=50)
            ),
        )
    return facts


# The tables.


def show_samples(peers: bool) -> None:
    print("\nTrivial samples, scored, one durable row each with its intent, concurrency 100")
    found = {}
    for telemetry, bar in ((False, 2000), (True, 1500)):
        for n in (1000, 5000):
            best = min((own("samples", n, telemetry) for _ in range(3)), key=lambda f: f["cpu_s"])
            found[n, telemetry] = best
            rate, per_cpu = n / best["wall_s"], n / best["cpu_s"]
            line_ = (
                f"  telemetry {'on ' if telemetry else 'off'} {n:>5}: {rate:7.0f}/s wall, "
                f"{per_cpu:7.0f}/s CPU; whole run {best['whole_wall_s']:.2f} s, "
                f"CPU {best['whole_cpu_s']:.2f} s; {best['rss_mb']:.0f} MB"
            )
            verdict(line_, max(rate, per_cpu), at_least=bar)
    small, large = found[1000, False], found[5000, False]
    grows = (large["rss_mb"] - small["rss_mb"]) * 1024 / 4000
    verdict("  peak memory at 1,000", small["rss_mb"], at_most=150, unit="MB")
    verdict("  growth per further sample", grows, at_most=10, unit="KB")
    if not peers:
        return
    for name, spec, program in (
        ("inspect-ai mockllm", "inspect-ai==0.3.*", INSPECT),
        ("pydantic-evals (no log)", "pydantic-evals", EVALS),
    ):
        for n in (1000,):
            facts = peer(spec, program, n, 0.0, 100)
            if facts is None:
                continue
            print(
                f"  {name} {facts['version']:>12} {n:>5}: {n / facts['wall_s']:7.0f}/s wall, "
                f"{n / facts['cpu_s']:7.0f}/s CPU; {facts['rss_mb']:.0f} MB"
            )
            if name.startswith("inspect"):
                ratio = facts["cpu_s"] / small["cpu_s"]
                whole = facts["cpu_s"] / small["whole_cpu_s"]
                verdict("  times Inspect's rate, CPU, dispatch", ratio, at_least=25)
                print(f"  times Inspect's rate, CPU, the whole run with its analysis: {whole:.1f}")


def show_wall() -> None:
    print("\nCalls that take their time, on the real clock (ideal: n / C x time)")
    for n, takes_s, concurrency in ((1000, 0.1, 10), (1000, 0.1, 100), (5000, 1.0, 1000)):
        facts = own("wall", n, takes_s, concurrency)
        ideal = n / concurrency * takes_s
        verdict(
            f"  {n:,} x {takes_s:g} s at C = {concurrency}: {facts['wall_s']:.2f} s, "
            f"CPU {facts['cpu_s']:.2f} s; times the ideal {ideal:g} s",
            facts["wall_s"] / ideal,
            at_most=1.10,
        )


def show_kills() -> None:
    sys.path.insert(0, str(TESTS))
    from killing import Forks, Killed, kill_at_random

    print("\nkill -9 at random: 400 calls of 50 ms, C = 20, 20 kills, counted by the model")
    with directory() as where:
        forks = Forks(Path(where))
        about = {"ITEMS": "100", "SAMPLES": "4", "CONCURRENCY": "20"}
        run = Killed(forks, Path(where) / "run", TAKES_S="0.05", **about)
        kill_at_random(run, random.Random(1), times=20)
        _, _, billed = run.finish()
        forks.close()
        lost = run.said("answered").total() - 400
        again = run.said("asked").total() - 400
    print(f"  asked again {again}, all listed as possibly billed: {again <= billed} ({billed})")
    verdict("  answers that came and were asked for again", lost, at_most=2)


def show_resume() -> None:
    print("\nResume: 200,000 cells finished of 400,000, until the first call is sent")
    facts = own("resume", 400_000, 200_000)
    print(f"  {facts['wall_s']:.1f} s wall")
    verdict("  CPU to first call and end", facts["cpu_s"], at_most=10, unit="s")
    verdict("  memory", facts["rss_mb"], at_most=500, unit="MB")


def show_read() -> None:
    print("\nRead back a finished run of 5,000 samples (Inspect 8.4 s)")
    verdict("  CPU", own("read", 5000)["cpu_s"], at_most=0.5, unit="s")


def show_report() -> None:
    print("\nAnalyse and write all reports, 1,319 items x 4 conditions")
    facts = own("report", 1319, 4)
    print(f"  {facts['wall_s']:.1f} s wall")
    verdict("  CPU", facts["cpu_s"], at_most=30, unit="s")
    verdict(f"  HTML of {facts['html_mb']:.1f} MB opened in Chromium, best of three",
            facts["open_s"], at_most=2.0, unit="s")  # fmt: skip


def show_ray() -> None:
    print("\nRay, 2 actors x 50, 1,000 calls of 50 ms, after its start (ideal .5 s)")
    verdict("  wall", own("ray", 1000, 0.05)["wall_s"], at_most=2.0, unit="s")


def show_start() -> None:
    print("\nStart, least CPU of five")
    for what, code, bar in (
        ("import crucible_harness", "import crucible_harness", 0.4),
        ("the names of an experiment", "from crucible_harness import Condition, Experiment, "
         "Hypothesis, RunOptions, report, run_sync", 0.4),
        ("crucible --help", "import sys; sys.argv[1:] = ['--help']\n"
         "from crucible_harness.cli import main; main()", 0.6),
    ):  # fmt: skip
        best = min(_child_cpu(code) for _ in range(5))
        verdict(f"  {what}", best, at_most=bar, unit="s")


def verdict(
    text: str, value: float, *, at_least: float | None = None, at_most: float | None = None,
    unit: str = "",
) -> None:  # fmt: skip
    """Print a number beside its bar."""
    good = value >= at_least if at_least is not None else value <= (at_most or 0.0)
    bar = f">= {at_least:g}" if at_least is not None else f"<= {at_most:g}"
    print(f"{text}: {value:.3g} {unit} (bar {bar}{'' if good else ', MISSED'})")
    if not good:
        MISSED.append(text.strip())


# Processes.


def own(workload: str, *arguments: Any) -> dict[str, Any]:
    """Run a workload in a process of its own."""
    words = [sys.executable, __file__, "--only", workload, json.dumps(arguments)]
    done = subprocess.run(words, capture_output=True, text=True, env=_environment(), check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def peer(spec: str, program: str, *arguments: Any) -> dict[str, Any] | None:
    """Run a peer in an environment of its own; None, with a line, where it cannot be had."""
    with directory() as where:
        file = Path(where) / "peer.py"
        file.write_text(program)
        words = ["uv", "run", "--isolated", "--no-project", "--with", spec, "python", str(file)]
        done = subprocess.run(
            [*words, *map(str, arguments), where], capture_output=True, text=True, cwd=where,
            env=_environment(), check=False,
        )  # fmt: skip
    if done.returncode:
        print(f"  {spec} did not run: {done.stderr.strip().splitlines()[-1:]}")
        return None
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _child_cpu(code: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=_environment(), check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _timed(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def current_rss_mb() -> float:
    """Return the memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


@contextmanager
def directory() -> Iterator[str]:
    """Make a folder for a while."""
    where = tempfile.mkdtemp(prefix="bench-harness-")
    try:
        yield where
    finally:
        shutil.rmtree(where, ignore_errors=True)


def main() -> None:
    """Run what the command line says."""
    shows: dict[str, Callable[..., None]] = {
        "wall": show_wall, "kills": show_kills, "resume": show_resume, "read": show_read,
        "report": show_report, "ray": show_ray, "start": show_start,
    }  # fmt: skip
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("workloads", nargs="*", help=f"samples, {', '.join(shows)}; all by default")
    words.add_argument("--no-peers", action="store_true")
    words.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    asked = words.parse_intermixed_args()
    if asked.only:
        workload, arguments = asked.only
        print(json.dumps(globals()[workload](*json.loads(arguments))))
        return
    for name in asked.workloads or ["samples", *shows]:
        if name == "samples":
            show_samples(peers=not asked.no_peers)
        else:
            shows[name]()
    if MISSED:
        print(f"\n{len(MISSED)} bars missed")
        raise SystemExit(1)


if __name__ == "__main__":
    main()
