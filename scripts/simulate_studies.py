"""Print how often the studies of crucible_harness.studies err, in worlds whose truth is known.

uv run --group test python scripts/simulate_studies.py                 prints the tables
uv run --group test python scripts/simulate_studies.py --write         also writes docs/studies.md
uv run --group test python scripts/simulate_studies.py --only h1 h3    some of them

The figures of h1, h3 and h5 on graded solutions and the fit of rq6's world are not simulated: they
are from a file of GSM8K.
"""

import argparse
import json
import math
import os
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom

from crucible_ensemble import Completion
from crucible_ensemble.matrix import Cell, ResponseMatrix
from crucible_harness.studies import (
    AdaptiveHedging,
    Methods,
    ReliabilityPlan,
    Responses,
    SizePlan,
    TailLatency,
    WeightsPlan,
    World,
)
from crucible_harness.studies.ballots import chance_right
from crucible_harness.studies.item_effects import fit_item_effects
from crucible_harness.studies.result import Figure, StudyResult
from crucible_harness.studies.traces import Kind
from crucible_harness.studies.worlds import BetaVoters, Confident, PairedCalls, SharedCoin, drawn
from crucible_hedging.simulate import Lognormal, Stragglers

ROOT = Path(__file__).resolve().parent.parent
SOLVERS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
SEED = 20_261_125
SHORT = ("unpaired", "pairs", "by item", "first only")  # the analyses of rq6, in their order
HEAD = ("study", "world", "figure", "truth", "interval holds it", "supported", "studies")
Line = tuple[str, ...]


def main() -> None:
    """Run everything and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, help="some of the parts")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/studies.md")
    data = os.environ.get("CRUCIBLE_TEST_DATA", ROOT.parent / "shared" / "data")
    parser.add_argument("--data", type=Path, default=data, help="folder of the benchmark files")
    arguments = parser.parse_args()
    wanted = arguments.only or PARTS
    if arguments.write and 0 < len(set(wanted) & set(TABLES)) < len(TABLES):
        parser.error("--write needs all studies of a table")
    solutions = arguments.data / "gsm8k" / "example_model_solutions.jsonl"
    blocks = {}
    if "graded" in wanted:
        blocks["graded"] = graded(solutions)
    if "adaptive" in wanted:
        blocks["adaptive"] = adaptive()
    lines = []
    for name in TABLES:
        for line in TABLES[name]() if name in wanted else ():
            print(" | ".join(line), file=sys.stderr, flush=True)
            lines.append(line)
    if lines:
        blocks["studies"] = markdown(HEAD, lines)
        blocks["outside"] = outside(lines)
    if "rq6" in wanted:
        blocks["fit"] = fit(solutions)
        blocks["methods"], blocks["kept"] = methods()
    for text in blocks.values():
        print(text, end="\n\n", flush=True)
    if arguments.write:
        page = ROOT / "docs" / "studies.md"
        text = page.read_text("utf-8")
        for name, block in blocks.items():
            pattern = re.compile(f"<!-- {name} -->.*<!-- /{name} -->", re.DOTALL)
            new = f"<!-- {name} -->\n{block}\n<!-- /{name} -->"
            text = pattern.sub(lambda _, new=new: new, text)
        page.write_text(text, "utf-8")


class Tally:
    """Counts intervals that hold the truth, and verdicts."""

    def __init__(self, study: str, world: str) -> None:
        self._study, self._world, self._n = study, world, 0
        self._supported = 0
        self._held: dict[str, list[bool]] = defaultdict(list)
        self._truth: dict[str, float] = {}

    def see(self, found: StudyResult, truths: Mapping[str, float]) -> None:
        """Count one study against the true value of some of its figures."""
        self.see_figures({name: found.figure(name) for name in truths}, truths)
        self.verdict(found.outcome == "supported")

    def see_figures(self, figures: Mapping[str, Figure], truths: Mapping[str, float]) -> None:
        """Count intervals; one that is missing or has an open end holds what lies on its side."""
        for name, truth in truths.items():
            low, high = figures[name].low, figures[name].high
            known = low is not None or high is not None
            self._held[name].append(
                known and (low is None or low <= truth) and (high is None or truth <= high)
            )
            self._truth[name] = truth

    def verdict(self, supported: bool) -> None:
        """Count a verdict."""
        self._n += 1
        self._supported += supported

    def lines(self, *, varies: Sequence[str] = ()) -> Iterator[Line]:
        """Yield the rows of the table."""
        said = share(self._supported, self._n) if self._n else ""
        for name, held in self._held.items():
            truth = "of each study" if name in varies else f"{self._truth[name]:.3f}"
            truth = truth.replace("-0.000", "0.000")
            yield (self._study, self._world, name, truth, share(sum(held), len(held)), said,
                   f"{len(held):,}")  # fmt: skip
            said = ""
        if not self._held:
            yield (self._study, self._world, "", "", "", said, f"{self._n:,}")


# ------------------------------------------------------------- votes


def h1(studies: int = 1_000, items: int = 600) -> Iterator[Line]:
    """A vote of five against the best of them, and two cases without what is claimed."""
    worlds = (
        ("five unequal voters, correlation .3", SharedCoin(
            accuracies=(0.8, 0.7, 0.7, 0.7, 0.65), correlation=0.3), ReliabilityPlan(at_least=0.5)),
        ("no effect: one voter, copied", SharedCoin(
            accuracies=(0.8,) * 5, correlation=1.0), ReliabilityPlan(at_least=0.5)),
        ("gain exactly the smallest of interest", _AT_SESOI, ReliabilityPlan(
            at_least=0.5, sesoi=_AT_SESOI.vote() - 0.7)),
        ("accuracy exactly what is claimed", _AT_SESOI, ReliabilityPlan(
            at_least=_AT_SESOI.vote(), sesoi=0.01)),
    )  # fmt: skip
    for place, (label, world, plan) in enumerate(worlds):
        rng, tally = np.random.default_rng([SEED, 1, place]), Tally("h1", label)
        for _ in range(studies):
            found = h1_once(world, plan, items, rng)
            best = float(found.plan["best accuracy"])
            tally.see(found, {"gain": world.vote() - best})
        yield from tally.lines(varies=["gain"] if place == 0 else [])


_AT_SESOI = SharedCoin(accuracies=(0.7,) * 5, correlation=0.2)


def h1_once(
    world: SharedCoin, plan: ReliabilityPlan, items: int, rng: np.random.Generator
) -> StudyResult:
    """Return one study; its plan says the true accuracy of the voter that it chose."""
    ballots = world.draw(items, rng)
    choosing = rng.permutation(items) < round(items * plan.choose)
    vote = drawn(chance_right(ballots.answers), rng)
    best = int(ballots.right[choosing].mean(axis=0).argmax())
    found = plan.judge(ballots, vote, choosing, simulated=True)
    return replace(found, plan={**found.plan, "best accuracy": world.accuracies[best]})


def h3(studies: int = 1_000, items: int = 400) -> Iterator[Line]:
    """Gain of five voters over one, the model of correlated voters, Shapley values."""
    worlds = (
        ("five voters, mu .6, rho .2", BetaVoters()),
        ("no effect: mu .5", BetaVoters(mu=0.5)),
    )
    for place, (label, world) in enumerate(worlds):
        rng, tally = np.random.default_rng([SEED, 3, place]), Tally("h3", label)
        truths = {"gain": world.vote(5) - world.mu, "mu": world.mu, "rho": world.rho}
        more = {
            "marginal gain, 2 to 3": world.vote(3) - world.vote(2),
            "gain per USD, 2 to 3": (world.vote(3) - world.vote(2)) / world.price_usd,
            "Shapley value": world.vote(5) / 5,  # equal voters share equally
        }
        for _ in range(studies):
            found = SizePlan(resamples=999).judge(world.draw(items, rng), simulated=True)
            size = dict(
                zip(found.table("Sizes").columns, found.table("Sizes").rows[2], strict=True)
            )
            value = found.table("Shapley values").rows[0]
            tally.see(found, truths)
            tally.see_figures(
                {
                    "marginal gain, 2 to 3": _figure(
                        size, "marginal gain", "gain low", "gain high"
                    ),
                    "gain per USD, 2 to 3": _figure(
                        size, "gain per USD", "per USD low", "per USD high"
                    ),
                    "Shapley value": Figure(name="", value=_f(value[1]), low=_f(value[2]),
                                            high=_f(value[3])),
                },
                more,
            )  # fmt: skip
        yield from tally.lines()


def h5(studies: int = 400, items: int = 500) -> Iterator[Line]:
    """Gain of calibrated log-odds over counting, and what a boasting voter costs."""
    worlds = (
        ("three voters, one weak, all overstate", Confident()),
        ("no effect: confidences of other items, equal voters", Confident(
            shapes=((6.0, 1.6),) * 3, informative=False)),
    )  # fmt: skip
    for place, (label, world) in enumerate(worlds):
        rng, tally = np.random.default_rng([SEED, 5, place]), Tally("h5", label)
        many = {"items": 4_000_000, "rng": np.random.default_rng([SEED, 5, place, 1])}
        gain = world.gain(**many) if world.informative else 0.0
        truths = {"gain": gain}
        if world.informative:
            truths["interaction"] = gain - world.gain(weakest_shift=3.0, **many)
        plan = WeightsPlan(source="reported", classes=4.0, resamples=999, sesoi=0.01)
        for _ in range(studies):
            ballots, _ = world.draw(items, rng)
            tally.see(plan.judge(ballots, simulated=True, rules=("log-odds",)), truths)
        yield from tally.lines()


# ------------------------------------------------------------- latency


def h2(studies: int = 300, pairs: int = 4_000) -> Iterator[Line]:
    """Reduction of P99 and extra load, in logs whose calls are correlated in time."""
    worlds = (
        ("lognormal", PairedCalls(dist=Lognormal(1))),
        ("no effect: copies as slow as the call", PairedCalls(dist=Lognormal(1), copies=1.0)),
        ("5 % stragglers x 10", PairedCalls(dist=Stragglers())),
    )
    for place, (label, world) in enumerate(worlds):
        rng, tally = np.random.default_rng([SEED, 2, place]), Tally("h2", label)
        for n in range(studies):
            plan = TailLatency(pairs=pairs, seed=n)
            found = plan.analyse(world.draw(pairs, rng), simulated=True)
            delay, q = (float(found.figure(f).value or 0) for f in ("delay", "probability"))
            cut = 0.0
            if not world.copies:
                cut = world.reduction(delay_s=delay, probability=q, percentile=99)
            tally.see(found, {"reduction": cut})
            above = replace(found.figure("extra load"), low=None)
            load = q * float(world.dist.sf(delay))
            tally.see_figures({"extra load, upper bound": above}, {"extra load, upper bound": load})
        yield from tally.lines(varies=["reduction", "extra load, upper bound"])


def h4(studies: int = 200) -> Iterator[Line]:
    """Regret saved by the adaptive delay over 30 seeds; the truth is the mean of all seeds."""
    for label, kind in (("regimes", "regimes"), ("no effect: steady latency", "steady")):
        yield from _h4(label, kind, studies)  # type: ignore[arg-type]


def _h4(label: str, kind: Kind, studies: int) -> Iterator[Line]:
    plan = AdaptiveHedging(
        traces=(kind,), requests=1_500, warm_up=300, window=300, sojourn=400, seed=SEED
    )
    runs = [plan.one(kind, seed) for seed in range(studies * plan.seeds)]
    truth = float(np.mean([r["fixed"].regret - r["adaptive"].regret for r in runs]))
    tally = Tally("h4", label)
    for n in range(studies):
        seen = runs[n * plan.seeds : (n + 1) * plan.seeds]
        found = plan.judge({kind: seen})
        tally.see(found, {f"regret saved: {kind}": truth})
    yield from tally.lines()


def adaptive() -> str:
    """Return what h4 finds with its defaults, on each kind of trace."""
    found = AdaptiveHedging().simulate()
    policies = {(row[0], row[1]): row for row in found.table("Policies").rows}
    rows = []
    for kind in AdaptiveHedging().traces:
        saved = found.figure(f"regret saved: {kind}")
        regrets = [f"{policies[kind, policy][3]:.3f}" for policy in ("fixed", "adaptive")]
        rows.append((kind, *regrets, f"{saved.value:.3f} [{saved.low:.3f}, {saved.high:.3f}]"))
    return markdown(("trace", "regret, fixed", "regret, adaptive", "saved"), rows)


TABLES: Mapping[str, Callable[[], Iterator[Line]]] = {"h1": h1, "h2": h2, "h3": h3, "h4": h4,
                                                      "h5": h5}  # fmt: skip
PARTS = ("graded", "adaptive", *TABLES, "rq6")


# ------------------------------------------------------------- graded solutions


def graded(path: Path) -> str:
    """Return what h1, h3 and h5 find on the graded solutions of GSM8K, beside what is known."""
    cells, labels = [], {}
    for i, line in enumerate(path.read_text("utf-8").splitlines()):
        row, item = json.loads(line), f"gsm8k/test/{i}"
        labels[item] = row["ground_truth"]
        for model in SOLVERS:
            said = Completion(text=row[model]["solution"], model=model)
            cells.append(Cell(item=item, model=model, completion=said))
    asked = Responses(matrix=ResponseMatrix(cells, labels=labels), normalise="numeric")
    h1, h3 = ReliabilityPlan().analyse(asked), SizePlan().analyse(asked)
    h5 = WeightsPlan(source="accuracy").analyse(asked)
    agreed = {row[0]: row for row in h1.table("Agreement").rows}
    voters = " ".join(f"{row[1]:.4f}" for row in h1.table("Voters").rows)
    shares = " ".join(f"{row[1]:.4f}" for row in h3.table("Shapley values").rows)

    def of(found: StudyResult, name: str, digits: int = 4) -> str:
        figure = found.figure(name)
        ends = "" if figure.low is None else f" [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"
        return f"{figure.value:.{digits}f}{ends}"

    rows = (
        ("h1", "accuracy of each model", ".2168 .3904 .3472 .5625", voters),
        ("h1", "vote, ties at their expectation", ".48161", of(h1, "vote, all items", 5)),
        ("h1", "vote, ties to the best", ".56331", of(h1, "vote, ties to the best", 5)),
        ("h1", "calls per item, best first", "3.766", of(h1, "calls, best first", 3)),
        ("h1", "a unique plurality, and right", "792, 565", f"{agreed[1][1]}, {agreed[1][2]}"),
        ("h1", "3 of 4 agree, and right", "408, 361", f"{agreed[3][1]}, {agreed[3][2]}"),
        ("h1", "all agree, and right", "163, 156", f"{agreed[4][1]}, {agreed[4][2]}"),
        ("h1", "phi", ".3958 [.365, .427]", of(h1, "phi")),
        ("h1", "N_eff", "1.829", of(h1, "N_eff", 3)),
        ("h1", "ICC", ".3484", of(h1, "ICC")),
        ("h1", "ceiling", ".6725 [.6467, .6973]", of(h1, "ceiling")),
        ("h1", "all wrong, if independent", ".1363", of(h1, "all wrong, if independent")),
        ("h1", "same wrong answer", ".1055", of(h1, "same wrong answer")),
        ("h1", "K", "10.48", of(h1, "K", 2)),
        ("h1", "gain over the best single model", "8 points less", of(h1, "gain")),
        ("h3", "mu", ".37887", of(h3, "mu", 5)),
        ("h3", "rho", ".34823", of(h3, "rho", 5)),
        ("h3", "Shapley values", ".0220 .1263 .0974 .2359", shares),
        ("h5", "log-odds of accuracy", "gets it back", of(h5, "log-odds")),
        ("h5", "gain over counting", "gets it back", of(h5, "gain")),
    )
    return markdown(("study", "figure", "known", "found"), rows)


# ------------------------------------------------------------- methods


def fit(path: Path) -> str:
    """Return what the graded solutions of GSM8K say about item effects, for each own SD."""
    lines = path.read_text("utf-8").splitlines()
    right = np.array([[json.loads(line)[name]["is_correct"] for name in SOLVERS] for line in lines])
    rows = []
    for own_sd in (0.0, 0.5, 1.0, 2.0, 3.0):
        found = fit_item_effects(right, own_sd=own_sd)
        sd = found.item_sd
        world = World(item_sd=sd.value or 0.0, own_sd=own_sd, base=found.base)
        accuracy, correlation, _ = world.moments()
        rows.append(
            (f"{own_sd:g}", f"{sd.value:.3f} [{sd.low:.2f}, {sd.high:.2f}]", f"{found.base:.3f}",
             f"{found.log_likelihood:,.2f}", f"{accuracy:.3f}", f"{correlation:.3f}")
        )  # fmt: skip
    head = ("own SD (given)", "item SD", "base", "log-likelihood", "accuracy", "correlation")
    return markdown(head, rows)


def methods(runs: int = 4_000) -> tuple[str, str]:
    """Return both tables of rq6: false findings, and coverage with power."""
    table = Methods(runs=runs, seed=SEED).simulate().table("Rates")
    worlds: dict[tuple[Any, ...], dict[str, tuple[Any, ...]]] = defaultdict(dict)
    for row in table.rows:
        worlds[row[:8]][str(row[8])] = row[9:]
    false, kept = [], []
    for (
        label,
        items,
        repeats,
        answers,
        item_sd,
        own_sd,
        accuracy,
        correlation,
    ), of in worlds.items():
        said = f"{items} x {repeats}" + (" sampled" if answers == "sampled" else "")
        cells = [
            f"{100 * rate:.1f} ({100 * (many if exact is None else exact):.1f})"
            for rate, many, exact, *_ in of.values()
        ]
        false.append(
            (str(label), said, f"{item_sd:g}", f"{own_sd:g}", f"{accuracy:.2f}",
             f"{correlation:.2f}", *cells)
        )  # fmt: skip
        kept.append(
            (str(label), said,
             *(f"{100 * covered:.1f}, {100 * power:.1f}" for *_, covered, power in of.values()))
        )  # fmt: skip
    return (
        markdown(("world", "items x repeats", "item SD", "own SD", "accuracy", "corr.", *SHORT),
                 false),
        markdown(("world", "items x repeats", *SHORT), kept),
    )  # fmt: skip


# ------------------------------------------------------------- words


def outside(lines: Sequence[Line]) -> str:
    """Say how many intervals miss 93 to 97 %, and how many exact ones would by chance."""
    seen = [(float(line[4].split()[0]), int(line[6].replace(",", ""))) for line in lines if line[4]]
    varying = [(rate, n) for rate, n in seen if rate < 100]
    missed = sum(not 93 <= rate <= 97 for rate, _ in varying)
    by_chance = sum(
        binom.cdf(math.ceil(0.93 * n) - 1, n, 0.95) + binom.sf(math.floor(0.97 * n), n, 0.95)
        for _, n in varying
    )
    rates = [rate for rate, _ in varying]
    return (
        f"Of {len(varying)} intervals and bounds whose truth is not certain, {missed} held it in "
        f"less than 93 or more than 97 % of the studies (lowest {min(rates):.1f} %, highest "
        f"{max(rates):.1f} %); of as many exact ones chance would put {by_chance:.1f} there."
    )


def share(hits: int, runs: int) -> str:
    """Return a percentage with its Monte Carlo standard error."""
    p = hits / runs
    return f"{100 * p:.1f} % ± {100 * math.sqrt(p * (1 - p) / runs):.1f}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; columns of numbers are set flush right."""
    numeric = ["---" if name in _WORDS else "---:" for name in head]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, numeric, *rows))


_WORDS = {"study", "world", "figure", "items x repeats", "trace"}


def _figure(row: Mapping[str, Any], value: str, low: str, high: str) -> Figure:
    return Figure(name=value, value=_f(row[value]), low=_f(row[low]), high=_f(row[high]))


def _f(cell: Any) -> float | None:
    return None if cell is None else float(cell)


if __name__ == "__main__":
    main()
