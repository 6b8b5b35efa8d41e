"""rq6: which analyses keep their promise on right and wrong answers of models."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from crucible_harness.studies.answer_world import RIDGE, Sampling, World
from crucible_harness.studies.catalogue import STUDIES
from crucible_harness.studies.result import Cell, StudyResult, StudyTable

if TYPE_CHECKING:
    from crucible_harness.observations import Array

# p-value and interval of treatment - control.
Analysed = tuple[float, float, float]
COLUMNS = ("world", "items", "repeats", "answers", "item SD", "own SD", "accuracy", "correlation",
           "analysis", "false findings", "many items", "exact", "coverage", "found")  # fmt: skip
_UNPAIRED, _PAIRS = "all answers, unpaired", "all pairs, as independent"
_CLUSTERED, _FIRST = "by item (clustered, the default)", "first answer only, by item"
_BY_ITEM = (_CLUSTERED, _FIRST)
_NEGLIGIBLE = 1e-10  # chance of a count that is left out of an exact sum


_SAMPLED: Sampling = "sampled"
WORLDS: tuple[World, ...] = (
    World(label="fitted to GSM8K (default)"),
    *RIDGE,
    World(repeats=10, label="fitted, 10 repeats"),
    World(items=200, label="fitted, 200 items"),
    World(item_sd=0.0, base=0.5, label="items all alike"),
    World(item_sd=1.0, own_sd=2.0, base=0.5, label="models that hardly err together"),
    World(item_sd=1.0, own_sd=1.0, base=0.5, label="items little unlike"),
    World(item_sd=3.0, own_sd=1.0, base=0.5, label="items very unlike"),
    World(sampling=_SAMPLED, label="fitted"),
    *(replace(world, sampling=_SAMPLED) for world in RIDGE),
    World(sampling=_SAMPLED, repeats=10, label="fitted, 10 repeats"),
    replace(RIDGE[0], sampling=_SAMPLED, repeats=10, label="with own SD 1, 10 repeats"),
    World(sampling=_SAMPLED, items=200, label="fitted, 200 items"),
    World(sampling=_SAMPLED, item_sd=1.0, own_sd=1.0, base=0.5, label="items little unlike"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Methods:
    """How often each analysis errs: experiments with and without a difference, simulated.

    Attributes
    ----------
    worlds : tuple of World
    effect : float, > 0
        Of treatment, in logits, where there is one.
    runs : int, >= 1
        Experiments of each kind per world.
    alpha : float, in (0, 1)
    seed : int

    Examples
    --------
    >>> found = Methods(worlds=(World(),), runs=50, seed=3).simulate()
    >>> [row[8] for row in found.table("Rates").rows][:2]
    ['all answers, unpaired', 'all pairs, as independent']
    """

    worlds: tuple[World, ...] = WORLDS
    effect: float = 0.7
    runs: int = 2_000
    alpha: float = 0.05
    seed: int = 1

    def __post_init__(self) -> None:
        if not self.worlds:
            raise ValueError("`worlds` must not be empty")
        if not self.effect > 0:
            raise ValueError(f"`effect` must be > 0, got {self.effect}")
        if self.runs < 1:
            raise ValueError(f"`runs` must be >= 1, got {self.runs}")
        if not 0 < self.alpha < 1:
            raise ValueError(f"`alpha` must be in (0, 1), got {self.alpha}")

    def simulate(self) -> StudyResult:
        """Run every analysis on every experiment.

        Returns
        -------
        StudyResult
            Its one table, "Rates", holds shares of the runs: false findings (p <= alpha without a
            difference), what theory expects of many items, and the exact share where every outcome
            can be counted (pairs at temperature 0); coverage of the true difference where there is
            one, and how often it was found. There is no verdict.
        """
        rows = tuple(row for n, world in enumerate(self.worlds) for row in self._rows(world, n))
        card = STUDIES["rq6"]
        worst = max(rows, key=_false)
        kept = max((row for row in rows if row[8] in _BY_ITEM), key=_false)
        error = math.sqrt(self.alpha * (1 - self.alpha) / self.runs)
        return StudyResult(
            study=card.id,
            question=card.question,
            n=self.runs,
            unit="simulated experiments of each kind",
            simulated=True,
            outcome=None,
            sentence=(
                f"Where {self.alpha:.0%} false findings are promised, analyses whose unit is the "
                f"item make at most {_false(kept):.1%} (noise {error:.1%}). The worst, "
                f"'{worst[8]}' with {worst[1]} items and {worst[2]} repeats, finds a difference "
                f"between a model and its equal in {_false(worst):.0%} of the experiments."
            ),
            figures=(),
            tables=(StudyTable(title="Rates", columns=COLUMNS, rows=rows),),
            plan={
                "effect in logits": self.effect,
                "runs": self.runs,
                "alpha": self.alpha,
                "seed": self.seed,
            },
            limits=card.limits,
        )

    def _rows(self, world: World, place: int) -> Iterator[tuple[Cell, ...]]:
        analyses = _analyses(self.alpha)
        false, found, covered = (dict.fromkeys(analyses, 0) for _ in range(3))
        truth = world.difference(self.effect)
        for effect, counted in ((0.0, false), (self.effect, found)):
            rng = np.random.default_rng([self.seed, place, int(effect > 0)])
            for _ in range(self.runs):
                control, treatment = world.draw(effect, rng)
                for name, analysis in analyses.items():
                    p, low, high = analysis(control, treatment)
                    counted[name] += p <= self.alpha
                    covered[name] += effect > 0 and low <= truth <= high
        accuracy, correlation, _ = world.moments()
        expected = {
            _UNPAIRED: world.false_findings(paired=False, alpha=self.alpha),
            _PAIRS: world.false_findings(paired=True, alpha=self.alpha),
        }
        exact = _exact(world, self.alpha)
        for name in analyses:
            yield (
                world.label, world.items, world.repeats, world.sampling, world.item_sd,
                world.own_sd, accuracy, correlation, name, false[name] / self.runs,
                expected.get(name, self.alpha), exact.get(name), covered[name] / self.runs,
                found[name] / self.runs,
            )  # fmt: skip


def _exact(world: World, alpha: float) -> dict[str, float]:
    """Return the chance of a false finding by pairs, over every count of discordant items.

    At temperature 0 an A/A experiment is n items that differ with a known chance, to either side
    alike, each counted once or `repeats` times.
    """
    from scipy.stats import binom

    if world.sampling != "temperature 0":
        return {}
    p, correlation, _ = world.moments()
    n, differ = world.items, 2 * p * (1 - p) * (1 - correlation)
    chance = dict.fromkeys((1, world.repeats), 0.0)
    for discordant in range(1, n + 1):
        weight = float(binom.pmf(discordant, n, differ))
        if weight < _NEGLIGIBLE:
            continue
        sides = binom.pmf(range(discordant + 1), discordant, 0.5)
        for times in chance:
            chance[times] += weight * sum(
                float(side)
                for lost, side in enumerate(sides)
                if _mcnemar(times * lost, times * (discordant - lost), times * n) <= alpha
            )
    return {_PAIRS: chance[world.repeats], _CLUSTERED: chance[1], _FIRST: chance[1]}


def _mcnemar(lost: int, won: int, n: int) -> float:
    from crucible_bench.tables import mcnemar

    return 1.0 if lost + won == 0 else float(mcnemar(lost, won, pairs=n).p_value or 0.0)


def _false(row: "tuple[Cell, ...]") -> float:
    return float(row[9] or 0.0)


def _analyses(alpha: float) -> "dict[str, Callable[[Array, Array], Analysed]]":
    from crucible_bench import compare_paired
    from crucible_bench.intervals import tango
    from crucible_bench.tables import two_proportions

    level = 1 - alpha

    @cache
    def unpaired(right: int, other: int, n: int) -> Analysed:
        return _plain(two_proportions(control=(right, n), treatment=(other, n), confidence=level))

    @cache
    def pairs(lost: int, won: int, n: int) -> Analysed:
        interval = tango(lost, won, n, confidence=level)
        return _mcnemar(lost, won, n), _end(interval.low), _end(interval.high)

    def by_pairs(control: Any, treatment: Any) -> Analysed:
        return pairs(
            int((control > treatment).sum()), int((control < treatment).sum()), control.size
        )

    def clustered(control: Any, treatment: Any) -> Analysed:
        if (control.mean(axis=1) == treatment.mean(axis=1)).all():
            return 1.0, 0.0, 0.0
        flat = control.shape[1] == 1
        c, t = (control[:, 0], treatment[:, 0]) if flat else (control, treatment)
        return _plain(compare_paired(c, t, confidence=level, robustness=False))

    return {
        _UNPAIRED: lambda c, t: unpaired(int(c.sum()), int(t.sum()), c.size),
        _PAIRS: by_pairs,
        _CLUSTERED: clustered,
        _FIRST: lambda c, t: by_pairs(c[:, 0], t[:, 0]),
    }


def _plain(found: Any) -> Analysed:
    interval = getattr(found, "confidence_interval", None) or getattr(found, "interval", None)
    p = 1.0 if found.p_value is None else float(found.p_value)
    if interval is None:
        return p, math.nan, math.nan
    return p, _end(interval.low), _end(interval.high)


def _end(bound: float | None) -> float:
    return math.nan if bound is None else float(bound)
