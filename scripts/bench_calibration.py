"""Print how often each analysis of crucible-bench errs, on simulated data.

uv run --group test python scripts/bench_calibration.py            prints the tables
uv run --group test python scripts/bench_calibration.py --write    also writes docs/simulations.md
"""

import argparse
import math
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special, stats

from crucible_bench import bootstrap, compare
from crucible_bench.clusters import cluster_mean, cluster_t
from crucible_bench.effects import cohens_d, prob_superiority
from crucible_bench.intervals import miettinen_nurminen, proportion_interval, tango
from crucible_bench.means import one_sample_t, paired_t, welch_t
from crucible_bench.meta import meta_analysis
from crucible_bench.post_hoc import games_howell
from crucible_bench.prediction_powered import prediction_powered_mean
from crucible_bench.quantiles import quantile, quantile_difference
from crucible_bench.sequential import confidence_sequence
from crucible_bench.simulation import item_scores
from crucible_bench.tables import mcnemar, two_proportions

ROOT = Path(__file__).parent.parent
SEED = 20_260_101


def main() -> None:
    """Run everything and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=4_000, help="simulated studies per line")
    parser.add_argument(
        "--write", action="store_true", help="put the tables into docs/simulations.md"
    )
    arguments = parser.parse_args()
    text = "\n\n".join(
        table(arguments.runs) for table in (rejections, units, choices, coverage, watching)
    )
    print(text)
    if arguments.write:
        page = ROOT / "docs" / "simulations.md"
        pattern = re.compile("<!-- tables -->.*<!-- /tables -->", re.DOTALL)
        block = f"<!-- tables -->\n{text}\n<!-- /tables -->"
        page.write_text(pattern.sub(lambda _: block, page.read_text("utf-8")), "utf-8")


# ------------------------------------------------------------- two models on the same items


def rejections(runs: int) -> str:
    """Type-I error and power of eight analyses of the same right and wrong answers."""
    rates = [dict.fromkeys(ANALYSES, 0) for _ in range(2)]
    for ability, rejected in zip((0.0, 0.25), rates, strict=True):
        rng = np.random.default_rng(SEED)
        for _ in range(runs):
            a, b = item_scores(1_000, [0.0, ability], item_sd=2.0, base=1.0, rng=rng)[:, :, 0]
            for name, analysis in ANALYSES.items():
                rejected[name] += analysis(a, b)
    rows = [(name, share(rates[0][name], runs), share(rates[1][name], runs)) for name in ANALYSES]
    return markdown(
        f"**Two models, 1,000 common items** (item SD 2 logits, base 1; effect .25 logit, about 3 "
        f"points). Share of {runs:,} simulated studies with p <= .05.",
        ("analysis", "no effect", "effect"),
        rows,
    )


def counts(a: np.ndarray, b: np.ndarray) -> tuple[int, int]:
    return int((a > b).sum()), int((a < b).sum())


@cache
def mcnemar_p(lost: int, won: int, kind: str) -> float:
    return mcnemar(lost, won, pairs=1_000, kind=kind).p_value  # type: ignore[arg-type]


@cache
def score_p(x0: int, x1: int) -> float:
    return two_proportions((x0, 1_000), (x1, 1_000)).p_value or 1.0


@cache
def fisher_p(x0: int, x1: int) -> float:
    return float(stats.fisher_exact([[x0, 1_000 - x0], [x1, 1_000 - x1]])[1])


@cache
def wilson(x: int) -> tuple[float, float]:
    interval = proportion_interval(x, 1_000)
    return interval.low or 0.0, 1.0 if interval.high is None else interval.high


def apart(a: np.ndarray, b: np.ndarray) -> bool:
    """Say whether the two models' own 95 % intervals do not overlap."""
    (l0, h0), (l1, h1) = wilson(int(a.sum())), wilson(int(b.sum()))
    return h0 < l1 or h1 < l0


ANALYSES: dict[str, Callable[[np.ndarray, np.ndarray], bool]] = {
    "do the two 95 % intervals overlap? (not a test)": apart,
    "unpaired: Fisher's exact test": lambda a, b: fisher_p(int(a.sum()), int(b.sum())) <= 0.05,
    "unpaired: score test (`compare`)": lambda a, b: score_p(int(a.sum()), int(b.sum())) <= 0.05,
    "unpaired: Welch's t": lambda a, b: (welch_t(a, b).p_value or 1) <= 0.05,
    "paired: McNemar exact": lambda a, b: mcnemar_p(*counts(a, b), "exact") <= 0.05,
    "paired: McNemar mid-p (`compare_paired`)": lambda a, b: (
        mcnemar_p(*counts(a, b), "mid-p") <= 0.05
    ),
    "paired: McNemar asymptotic": lambda a, b: mcnemar_p(*counts(a, b), "asymptotic") <= 0.05,
    "paired: t on 0 and 1": lambda a, b: (paired_t(a, b).p_value or 1) <= 0.05,
}


# ------------------------------------------------------------- what is the unit?


def units(runs: int) -> str:
    """Type-I error where scores come in clusters, with and without knowing it."""
    rng = np.random.default_rng(SEED + 1)
    few, sizes = runs // 2, [2, 3, 4, 5, 6, 8, 10, 20, 40, 60]
    items = np.repeat(np.arange(10), 20)
    naive = by_item = cr1 = cr2 = 0
    groups = np.repeat(np.arange(10), sizes)
    for _ in range(few):
        x = rng.normal(size=10)[items] + rng.normal(size=200)
        naive += (one_sample_t(x).p_value or 1) <= 0.05
        by_item += (cluster_t(x, items).p_value or 1) <= 0.05
        y = rng.normal(size=10)[groups] + rng.normal(size=groups.size)
        found = cluster_mean(y, groups, variance="CR1")
        cr1 += 2 * special.stdtr(found.df, -abs(found.estimate) / found.se) <= 0.05
        cr2 += (cluster_t(y, groups).p_value or 1) <= 0.05
    rows = [
        ("10 items x 20 repeats, taken as 200 observations", share(naive, few)),
        ("the same by item (`cluster=`, CR2)", share(by_item, few)),
        ("10 clusters of 2 to 60, ICC .5: CR1, C - 1 df", share(cr1, few)),
        ("the same: CR2, Satterthwaite df (`cluster=`)", share(cr2, few)),
    ]
    return markdown(
        f"**What counts as one observation?** No effect, ICC .5; share of {few:,} studies with "
        "p <= .05.",
        ("analysis", "no effect"),
        rows,
    )


# ------------------------------------------------------------- auto, and what it replaces


def choices(runs: int) -> str:
    """Type-I error of the default and of `test="auto"` where t is said to be in danger."""
    settings: dict[str, Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]] = {
        "normal: SD 3, n = 10 against SD 1, n = 30": lambda r: (
            r.normal(0, 3, 10), r.normal(0, 1, 30)
        ),
        "exponential against normal, n = 20 each": lambda r: (
            r.exponential(size=20), r.normal(1, 1, 20)
        ),
        "exponential: n = 10 against 40": lambda r: (
            r.exponential(size=10), r.exponential(size=40)
        ),
        "normal: n = 5 each": lambda r: (r.normal(size=5), r.normal(size=5)),
        "lognormal: n = 30 each": lambda r: (r.lognormal(size=30), r.lognormal(size=30)),
    }  # fmt: skip
    rows, few = [], runs // 2
    for name, draw in settings.items():
        rng = np.random.default_rng(SEED + 4)
        hits = np.zeros(3, dtype=int)
        for _ in range(few):
            x, y = draw(rng)
            auto = compare(x, y, test="auto", robustness=False, n_resamples=399, rng=rng)
            hits += [gated(x, y), (welch_t(x, y).p_value or 1) <= 0.05, auto.p_value <= 0.05]
        rows.append((name, *(share(int(h), few) for h in hits)))
    return markdown(
        "**Should a test of assumptions choose the test?** No difference of means; share of "
        f"{few:,} studies with p <= .05.",
        ("data", "gate: Shapiro-Wilk, then Levene", "Welch (default)", '`test="auto"`'),
        rows,
    )


def gated(x: np.ndarray, y: np.ndarray) -> bool:
    """Do what textbooks advise: Student's t only if both look normal and alike in spread."""
    if min(stats.shapiro(x)[1], stats.shapiro(y)[1]) <= 0.05:
        return bool(stats.mannwhitneyu(x, y)[1] <= 0.05)
    same = stats.levene(x, y)[1] > 0.05
    return bool(stats.ttest_ind(x, y, equal_var=bool(same))[1] <= 0.05)


# ------------------------------------------------------------- intervals


def coverage(runs: int) -> str:
    """Coverage of every default 95 % interval."""
    rows = []
    for name, many, hits in covered(runs):
        rows.append((name, share(hits, many), f"{many:,}"))
    return markdown(
        "**Do 95 % intervals hold 95 %?**", ("interval and data", "coverage", "studies"), rows
    )


Draw = Callable[[], tuple[Any, float]]  # an interval and what it should hold


def covered(runs: int) -> Iterator[tuple[str, int, int]]:
    """Yield name, number of studies and number of intervals that hold the truth."""
    for name, many, draw in intervals(np.random.default_rng(SEED + 2), runs):
        hits = 0
        for _ in range(many):
            interval, true = draw()
            low, high = interval.low, interval.high
            hits += (low is None or low <= true) and (high is None or true <= high)
        yield name, many, hits


def intervals(rng: np.random.Generator, runs: int) -> Iterator[tuple[str, int, Draw]]:
    """Yield each default interval with data that it should hold for."""

    def welch(control: Callable[[], np.ndarray], treatment: Callable[[], np.ndarray]) -> Draw:
        return lambda: (welch_t(control(), treatment()).interval, 0.0)

    def wide() -> np.ndarray:
        return rng.normal(0, 3, 10)

    def skewed() -> np.ndarray:
        return rng.exponential(size=20)

    def lognormal() -> np.ndarray:
        return rng.lognormal(size=30)

    yield (
        "Welch: normal, n = 10 with SD 3 against n = 30 with SD 1",
        runs,
        welch(wide, lambda: rng.normal(0, 1, 30)),
    )
    yield (
        "Welch: exponential against normal, n = 20 each",
        runs,
        welch(skewed, lambda: rng.normal(1, 1, 20)),
    )
    yield "Welch: lognormal, n = 30 each", runs, welch(lognormal, lognormal)
    yield (
        "paired t: differences exponential, n = 20",
        runs,
        lambda: (one_sample_t(skewed()).interval, 1.0),
    )

    @cache
    def independent(x: int, y: int) -> object:
        return miettinen_nurminen((x, 40), (y, 40))

    def arms() -> tuple[Any, float]:
        return independent(int(rng.binomial(40, 0.9)), int(rng.binomial(40, 0.8))), -0.1

    @cache
    def together(lost: int, won: int) -> object:
        return tango(lost, won, 60)

    def pairs() -> tuple[Any, float]:
        lost, won, _ = rng.multinomial(60, [0.05, 0.10, 0.85]).tolist()
        return together(lost, won), 0.05

    def right() -> tuple[Any, float]:
        return proportion_interval(int(rng.binomial(50, 0.95)), 50), 0.95

    yield "Miettinen-Nurminen: 40 against 40 at .9 and .8", runs, arms
    yield "Tango: 60 pairs, .05 and .10 discordant", runs, pairs
    yield "Wilson: n = 50 at .95", runs, right

    sizes = np.repeat(np.arange(12), [2, 3, 4, 5, 6, 8, 3, 4, 5, 6, 2, 4])

    def clustered() -> tuple[Any, float]:
        x = rng.normal(size=12)[sizes] + rng.normal(size=sizes.size)
        return cluster_t(x, sizes).interval, 0.0

    def several() -> tuple[Any, float]:
        groups = [rng.normal(0, sd, n) for sd, n in ((1, 12), (2, 20), (4, 8))]
        found = games_howell(dict(enumerate(groups)))  # type: ignore[arg-type]
        missed = [t.interval for t in found.values() if t.interval.low > 0 or t.interval.high < 0]
        return (missed or [t.interval for t in found.values()])[0], 0.0

    def standardised() -> tuple[Any, float]:
        return cohens_d(rng.normal(0, 1, 20), rng.normal(0.5, 1, 20)).interval, 0.5

    def superior() -> tuple[Any, float]:
        chance = float(special.ndtr(0.5 / math.sqrt(2)))
        return prob_superiority(rng.normal(0, 1, 20), rng.normal(0.5, 1, 20)).interval, chance

    def studentised() -> tuple[Any, float]:
        return bootstrap("mean", skewed(), n_resamples=999, rng=rng).interval, 1.0

    yield "clusters of 2 to 8, ICC .5: CR2 t (`cluster=`)", runs, clustered
    yield "Games-Howell: all three pairs at once, SD 1, 2, 4", runs // 20, several
    yield "Cohen's d by noncentral t: n = 20 each, d = .5", runs // 2, standardised
    yield "P(T>C) by Brunner-Munzel on the logit: the same data", runs // 2, superior
    yield "studentised bootstrap of a mean: exponential, n = 20", runs // 2, studentised

    def median() -> tuple[Any, float]:
        return quantile(rng.exponential(size=60), 50).interval, math.log(2)

    def p99() -> tuple[Any, float]:
        return quantile(rng.lognormal(size=500), 99).interval, math.exp(special.ndtri(0.99))

    def latencies(paired: bool) -> tuple[Any, float]:
        base = rng.lognormal(size=1_000) if paired else 0.0
        a, b = base + rng.lognormal(size=1_000), base + rng.lognormal(size=1_000)
        found = quantile_difference(a, b, 99, paired=paired, n_resamples=999, rng=rng)
        return found.interval, 0.0

    yield "median by order statistics: exponential, n = 60", runs // 2, median
    yield "P99 by order statistics: lognormal, n = 500", runs // 2, p99
    of_p99 = "difference of P99, {} bootstrap: lognormal, n = 1,000"
    yield of_p99.format("independent"), runs // 4, lambda: latencies(False)
    yield of_p99.format("paired"), runs // 4, lambda: latencies(True)

    def studies(hksj: bool) -> tuple[Any, float]:
        variances = rng.uniform(0.02, 0.3, size=5)
        effects = rng.normal(0.2, np.sqrt(variances + 0.1))
        return meta_analysis(effects, variances, hksj=hksj).interval, 0.2

    def judged() -> tuple[Any, float]:
        truth = (rng.random(2_300) < 0.6).astype(float)
        judge = np.where(rng.random(2_300) < 0.15, 1.0, truth)
        return prediction_powered_mean(truth[:300], judge[:300], judge[300:]).interval, 0.6

    yield (
        "meta-analysis of 5 studies, REML, normal interval",
        runs // 2,
        lambda: studies(False),
    )
    yield "the same with the HKSJ standard error (default)", runs // 2, lambda: studies(True)
    yield "PPI++: 300 human labels, 2,000 of a biased judge", runs // 2, judged


# ------------------------------------------------------------- looking after every item


def watching(runs: int) -> str:
    """How often somebody who looks after every pair is misled at least once."""
    rng, few = np.random.default_rng(SEED + 3), runs // 4
    n = np.arange(1, 401)
    won = rng.integers(0, 2, size=(runs, 400)).cumsum(axis=1)
    log_e = special.betaln(won + 0.5, n - won + 0.5) - math.log(math.pi) + n * math.log(2)
    e_test = int((log_e >= math.log(20)).any(axis=1).sum())
    z = (np.abs(2 * won - n) / np.sqrt(n))[:, 19:]
    z_test = int((z >= special.ndtri(0.975)).any(axis=1).sum())
    missed = 0
    for _ in range(few):
        limits = confidence_sequence(rng.beta(0.6, 1.4, size=200), bounds=(0, 1), grid=200)
        missed += bool(((limits[:, 0] > 0.3) | (limits[:, 1] < 0.3)).any())
    rows = [
        (
            "a z test after each discordant pair from the 20th to the 400th",
            share(z_test, runs),
            f"{runs:,}",
        ),
        ("`SequentialComparison`, after each of the same 400", share(e_test, runs), f"{runs:,}"),
        ("`confidence_sequence` misses the mean, 200 values", share(missed, few), f"{few:,}"),
    ]
    return markdown(
        "**Looking after every item.** No effect; share of studies misled at least once.",
        ("method", "misled", "studies"),
        rows,
    )


def share(hits: int, runs: int) -> str:
    """Return a percentage with its Monte Carlo standard error."""
    p = hits / runs
    return f"{100 * p:.1f} % ± {100 * math.sqrt(p * (1 - p) / runs):.1f}"


def markdown(title: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a captioned table."""
    lines = [head, ("---", *("---:" for _ in head[1:])), *rows]
    return "\n".join([title, "", *("| " + " | ".join(line) + " |" for line in lines)])


if __name__ == "__main__":
    main()
