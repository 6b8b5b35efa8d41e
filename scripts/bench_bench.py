"""Time crucible-bench beside pingouin, scipy and statsmodels, in one run, and print the ratios.

    uv run --no-sync python scripts/bench_bench.py

Each row is the best of several runs of ours and of the peer's, on the same data, in this process;
imports are timed in fresh processes. The load average is printed: a busy machine blurs ratios.
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

from crucible_bench import bootstrap, compare
from crucible_bench.corrections import adjust
from crucible_bench.permutations import paired_permutation, permutation_test


def best(call: Callable[[], object], *, runs: int) -> float:
    """Return the shortest of several timings, in seconds."""
    call()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def imported(code: str) -> float:
    """Return the shortest time of a fresh interpreter that runs `code`."""
    times = []
    for _ in range(7):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times.append(time.perf_counter() - start)
    return min(times)


def row(name: str, peer: str, bar: float | None, ours: float, theirs: float) -> None:
    """Print one line of the table."""
    verdict = "" if bar is None else "ok" if ours <= bar * theirs else "OVER"
    shown = "none" if bar is None else f"{bar:.4f}"
    print(
        f"| {name} | {peer} | {1e3 * ours:,.2f} | {1e3 * theirs:,.2f} | {ours / theirs:.4f} "
        f"| {shown} | {verdict} |"
    )


def difference(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
    """Return a difference of means, for scipy."""
    return a.mean(axis=axis) - b.mean(axis=axis)


def main() -> None:
    """Print the table of ratios."""
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    print("load average:", ", ".join(f"{load:.2f}" for load in os.getloadavg()))
    print("| workload | peer | ours ms | peer ms | ratio | bar | |\n|:--|:--|--:|--:|--:|--:|:--|")
    row(
        "import crucible_bench", "import numpy, opentelemetry.trace", 1.3,
        imported("import crucible_bench"), imported("import numpy, opentelemetry.trace"),
    )  # fmt: skip
    row(
        "from crucible_bench import *", "import numpy, opentelemetry.trace", None,
        imported("from crucible_bench import *"), imported("import numpy, opentelemetry.trace"),
    )  # fmt: skip
    for n, runs, bar in ((30, 200, 0.6), (10_000, 5, 0.1)):
        x, y = rng.normal(size=n), rng.normal(size=n) + 0.2

        def peer(x: np.ndarray = x, y: np.ndarray = y) -> None:
            pingouin.ttest(x, y)
            pingouin.mwu(x, y)

        row(
            f"compare, n = {n:,}", "pingouin ttest + mwu", bar,
            best(lambda x=x, y=y: compare(x, y), runs=runs), best(peer, runs=min(runs, 20)),
        )  # fmt: skip
    d = rng.normal(size=2_000)
    row(
        "BCa mean, n = 2,000, B = 10,000", "scipy bootstrap", 0.6,
        best(lambda: bootstrap("mean", d, method="bca", n_resamples=10_000, rng=1), runs=3),
        best(lambda: stats.bootstrap((d,), np.mean, n_resamples=10_000, method="BCa"), runs=2),
    )  # fmt: skip
    zeros = np.zeros(2_000)
    row(
        "sign flips, n = 2,000, B = 10,000", "scipy permutation_test", 1 / 30,
        best(lambda: paired_permutation(zeros, d, n_resamples=10_000, rng=1), runs=3),
        best(
            lambda: stats.permutation_test(
                (d, zeros), difference, permutation_type="samples", vectorized=True,
                n_resamples=10_000, batch=1_000,
            ),
            runs=1,
        ),
    )  # fmt: skip
    a, b = d[:1_000], d[1_000:]
    row(
        "permutation, 1,000 + 1,000, B = 10,000", "scipy permutation_test", 0.45,
        best(lambda: permutation_test(a, b, n_resamples=10_000, rng=1), runs=3),
        best(
            lambda: stats.permutation_test(
                (b, a), difference, vectorized=True, n_resamples=10_000, batch=1_000
            ),
            runs=2,
        ),
    )  # fmt: skip
    quantile_rows(rng)
    p = rng.random(1_000_000)
    row(
        "Benjamini-Hochberg, 1e6 p", "scipy false_discovery_control", 0.6,
        best(lambda: adjust(p, method="benjamini_hochberg"), runs=3),
        best(lambda: stats.false_discovery_control(p), runs=3),
    )  # fmt: skip


def quantile_rows(rng: np.random.Generator) -> None:
    """Time the P99 bootstrap against a loop that resamples indices."""
    from crucible_bench.quantile_resampling import independent

    x = rng.lognormal(size=10_000)

    def loop() -> None:
        for _ in range(200):  # of 10,000; the time is scaled
            np.percentile(x[rng.integers(x.size, size=x.size)], 99)

    row(
        "P99 bootstrap, n = 10,000, B = 10,000", "index-resampling loop", 1 / 500,
        best(lambda: independent(x, 99, 10_000, rng), runs=3),
        50 * best(loop, runs=2),
    )  # fmt: skip


if __name__ == "__main__":
    main()
