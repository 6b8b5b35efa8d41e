"""Time crucible-bench beside pingouin, scipy, statsmodels and evalstats, and print the ratios.

    uv run --group test --with evalstats python scripts/bench_bench.py

Ours and the peer's runs alternate, on the same data, in this process; each time is the shortest of
them. Imports are timed in fresh processes, in turn too. The load average is printed: a busy machine
blurs ratios. Below the table stand what is measured and has no peer: the memory of a bootstrap of a
million scores, the cost of a span without an SDK, and how far two bootstrap distributions differ.
"""

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import pingouin
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from crucible_bench import bootstrap, compare, compare_paired
from crucible_bench.corrections import adjust
from crucible_bench.permutations import paired_permutation, permutation_test

Call = Callable[[], object]
HEAD = "| workload | peer | ours ms | peer ms | ratio | bar | |\n|:--|:--|--:|--:|--:|--:|:--|"


def once(call: Call) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def race(ours: Call, peer: Call, *, runs: int, peer_runs: int | None = None) -> tuple[float, float]:
    """Return the shortest times of both, run in turn; a slow peer may run less often."""
    ours()
    many = runs if peer_runs is None else peer_runs
    mine, theirs = [], []
    for i in range(max(runs, many)):
        if i < runs:
            mine.append(once(ours))
        if i < many:
            theirs.append(once(peer))
    return min(mine), min(theirs)


def row(name: str, peer: str, bar: float | None, times: tuple[float, float]) -> None:
    """Print one line of the table."""
    ours, theirs = times
    verdict = "" if bar is None else "ok" if ours <= bar * theirs else "OVER"
    shown = "none" if bar is None else f"{bar:.4f}"
    print(
        f"| {name} | {peer} | {1e3 * ours:,.2f} | {1e3 * theirs:,.2f} | {ours / theirs:.4f} "
        f"| {shown} | {verdict} |",
        flush=True,
    )


def difference(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
    """Return a difference of means, for scipy."""
    return a.mean(axis=axis) - b.mean(axis=axis)


def main() -> None:
    """Print the table of ratios and the figures below it."""
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    print("load average:", ", ".join(f"{load:.2f}" for load in os.getloadavg()))
    print(HEAD)
    imports()
    comparisons(rng)
    resampling(rng)
    p = rng.random(1_000_000)
    row(
        "Benjamini-Hochberg, 1e6 p", "scipy false_discovery_control", 0.6,
        race(lambda: adjust(p, method="benjamini_hochberg"),
             lambda: stats.false_discovery_control(p), runs=8),
    )  # fmt: skip
    print()
    print(*(memory(), span_cost(), distance(rng)), sep="\n")


def imports() -> None:
    """Time imports in fresh interpreters."""

    def fresh(code: str) -> Call:
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)

    peer = "import numpy, opentelemetry.trace"
    ours = "import crucible_bench"
    row(ours, peer, 1.3, race(fresh(ours), fresh(peer), runs=9))
    every = "from crucible_bench import *"
    row(every, peer, None, race(fresh(every), fresh(peer), runs=5))


def comparisons(rng: np.random.Generator) -> None:
    """Time whole comparisons."""
    for n, runs, bar in ((30, 200, 0.6), (10_000, 5, 0.1)):
        x, y = rng.normal(size=n), rng.normal(size=n) + 0.2

        def peer(x: np.ndarray = x, y: np.ndarray = y) -> None:
            pingouin.ttest(x, y)
            pingouin.mwu(x, y)

        ours = lambda x=x, y=y: compare(x, y)  # noqa: E731
        times = race(ours, peer, runs=runs, peer_runs=min(runs, 40))
        row(f"compare, n = {n:,}", "pingouin ttest + mwu", bar, times)
    a = np.repeat([1, 1, 0, 0], [306, 209, 152, 652])  # OpenAI's graded GSM8K solutions
    b = np.repeat([1, 0, 1, 0], [306, 209, 152, 652])
    name = "compare_paired, binary, n = 1,319"
    table = [[306, 209], [152, 652]]
    row(
        name, "statsmodels mcnemar (p alone)", None,
        race(lambda: compare_paired(a, b), lambda: statsmodels_mcnemar(table), runs=50),
    )  # fmt: skip
    try:
        import evalstats
        import pandas as pd
    except ImportError:
        print(f"| {name} | evalstats compare: not installed, run with --with evalstats | | | | | |")
        return
    rows = {"item": list(range(1_319)) * 2, "model": ["a"] * 1_319 + ["b"] * 1_319}
    data = evalstats.load_from(pd.DataFrame({**rows, "score": [*a, *b]}))
    peer = lambda: evalstats.compare(data, factors="model")  # noqa: E731
    row(name, "evalstats compare", 0.2, race(lambda: compare_paired(a, b), peer, runs=9))


def resampling(rng: np.random.Generator) -> None:
    """Time bootstraps and permutations against scipy, and the P99 bootstrap against a loop."""
    from crucible_bench.quantile_resampling import independent

    d = rng.normal(size=2_000)
    row(
        "BCa mean, n = 2,000, B = 10,000", "scipy bootstrap", 0.6,
        race(lambda: bootstrap("mean", d, method="bca", n_resamples=10_000, rng=1),
             lambda: stats.bootstrap((d,), np.mean, n_resamples=10_000, method="BCa"), runs=4),
    )  # fmt: skip
    zeros = np.zeros(2_000)

    def flips() -> None:
        stats.permutation_test(
            (d, zeros), difference, permutation_type="samples", vectorized=True,
            n_resamples=10_000, batch=1_000,
        )  # fmt: skip

    row(
        "sign flips, n = 2,000, B = 10,000", "scipy permutation_test", 1 / 30,
        race(lambda: paired_permutation(zeros, d, n_resamples=10_000, rng=1), flips,
             runs=5, peer_runs=2),
    )  # fmt: skip
    a, b = d[:1_000], d[1_000:]

    def exchanges() -> None:
        stats.permutation_test((b, a), difference, vectorized=True, n_resamples=10_000, batch=1_000)

    row(
        "permutation, 1,000 + 1,000, B = 10,000", "scipy permutation_test", 0.45,
        race(lambda: permutation_test(a, b, n_resamples=10_000, rng=1), exchanges,
             runs=5, peer_runs=3),
    )  # fmt: skip
    x = rng.lognormal(size=10_000)

    def loop() -> None:
        for _ in range(200):  # of 10,000; the time is scaled
            np.percentile(x[rng.integers(x.size, size=x.size)], 99)

    ours, theirs = race(lambda: independent(x, 99, 10_000, rng), loop, runs=5, peer_runs=3)
    row(
        "P99 bootstrap, n = 10,000, B = 10,000", "index-resampling loop", 1 / 500,
        (ours, 50 * theirs),
    )  # fmt: skip


def memory() -> str:
    """Run BCa on a million scores in a fresh process and return its peak resident memory."""
    code = (
        "import numpy as np\nfrom crucible_bench import bootstrap\n"
        "x = np.random.default_rng(0).exponential(size=1_000_000)\n"
        "bootstrap('mean', x, method='bca', n_resamples=1_000, rng=1)\n"
        # the peak since exec; ru_maxrss would hold this process's own
        "print(next(x.split()[1] for x in open('/proc/self/status') if x.startswith('VmHWM')))"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    megabytes = int(done.stdout) / 1_024  # kilobytes, of Linux
    verdict = "ok" if megabytes < 400 else "OVER"
    return (
        f"BCa mean, n = 1e6, B = 1,000: peak {megabytes:.0f} MB of the whole process, bar 400 MB, "
        f"{verdict}; {time.perf_counter() - start:.1f} s"
    )


def span_cost() -> str:
    """Return what a span costs where no SDK is installed."""
    from crucible_bench.spans import note, span

    def spans() -> None:
        for _ in range(1_000):
            with span("compare", test="welch_t", rule="default", n_control=5, n_treatment=5) as one:
                note(one, p_value=0.5, estimate=0.1, interval_low=0.0, interval_high=0.2)

    cost = 1e3 * min(once(spans) for _ in range(7))  # microseconds of each
    return f"a span without an SDK: {cost:.1f} us, bar 20 us, {'ok' if cost < 20 else 'OVER'}"


def distance(rng: np.random.Generator) -> str:
    """Return the Kolmogorov-Smirnov distance of the P99 bootstrap and the loop it replaces."""
    from crucible_bench.quantile_resampling import independent

    x = rng.lognormal(size=1_000)
    quick = independent(x, 99, 20_000, rng)
    slow = np.array([np.percentile(x[rng.integers(1_000, size=1_000)], 99) for _ in range(20_000)])
    found = float(stats.ks_2samp(np.round(quick, 9), np.round(slow, 9)).statistic)
    return (
        f"P99 bootstrap, n = 1,000, 20,000 draws against 20,000 of the loop: KS distance "
        f"{found:.4f}, bar .03, {'ok' if found < 0.03 else 'OVER'}"
    )


if __name__ == "__main__":
    main()
