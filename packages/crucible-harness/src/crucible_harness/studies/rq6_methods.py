"""rq6: which analyses keep their promise on right and wrong answers of models."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from crucible_harness.studies.catalogue import STUDIES
from crucible_harness.studies.result import Cell, StudyResult, StudyTable

if TYPE_CHECKING:
    from crucible_harness.observations import Array

Sampling = Literal["temperature 0", "sampled"]
# p-value and interval of treatment - control.
Analysed = tuple[float, float, float]
COLUMNS = ("items", "repeats", "answers", "item SD", "own SD", "analysis", "false findings",
           "coverage", "found")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """How answers come about: Bernoulli(expit(base + ability + b_item + u_item,model)).

    Attributes
    ----------
    items, repeats : int, >= 1
    sampling : {"temperature 0", "sampled"}
        At temperature 0 every repeat is the first answer again; "sampled" ones are independent
        given item and model.
    item_sd : float, >= 0
        SD in logits of what makes an item easy for every model.
    own_sd : float, >= 0
        SD in logits of what makes an item easy for one model alone: the larger, the less the
        models err together.
    base : float
        Logit of an average model on an average item.
    """

    items: int = 50
    repeats: int = 3
    sampling: Sampling = "temperature 0"
    item_sd: float = 1.0
    own_sd: float = 1.0
    base: float = 0.5

    def __post_init__(self) -> None:
        if self.items < 2 or self.repeats < 1:
            raise ValueError(
                f"`items` must be >= 2 and `repeats` >= 1, got {self.items} and {self.repeats}"
            )
        if self.sampling not in ("temperature 0", "sampled"):
            raise ValueError(
                f'`sampling` must be "temperature 0" or "sampled", got {self.sampling!r}'
            )
        if not (self.item_sd >= 0 and self.own_sd >= 0):
            raise ValueError(
                f"`item_sd` and `own_sd` must be >= 0, got {self.item_sd} and {self.own_sd}"
            )

    def draw(self, effect: float, rng: np.random.Generator) -> "tuple[Array, Array]":
        """Return answers of control and treatment, (items, repeats) arrays of 0 and 1."""
        from crucible_bench.simulation import item_scores

        once = self.sampling == "temperature 0"
        control, treatment = item_scores(
            self.items, [0.0, effect], item_sd=self.item_sd, interaction_sd=self.own_sd,
            repeats=1 if once else self.repeats, base=self.base, rng=rng,
        )  # fmt: skip
        if once:
            return np.repeat(control, self.repeats, axis=1), np.repeat(
                treatment, self.repeats, axis=1
            )
        return control, treatment

    def difference(self, effect: float) -> float:
        """Return the true difference in accuracy, by Gauss-Hermite quadrature over items."""
        from scipy.special import expit

        nodes, weights = np.polynomial.hermite_e.hermegauss(120)
        spread = math.hypot(self.item_sd, self.own_sd) * nodes
        means = [
            float(weights @ expit(self.base + a + spread)) / math.sqrt(2 * math.pi)
            for a in (0.0, effect)
        ]
        return means[1] - means[0]


WORLDS: tuple[World, ...] = (
    World(),
    World(item_sd=0.0, own_sd=0.0),
    World(item_sd=3.0),
    World(own_sd=2.0),
    World(repeats=10),
    World(sampling="sampled"),
    World(sampling="sampled", item_sd=3.0),
    World(sampling="sampled", own_sd=2.0),
    World(sampling="sampled", repeats=10),
    World(items=200),
    World(items=200, sampling="sampled"),
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
    >>> [row[5] for row in found.table("Rates").rows][:2]
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
            difference), coverage of the true difference where there is one, and how often it was
            found. There is no verdict.
        """
        rows = tuple(row for n, world in enumerate(self.worlds) for row in self._rows(world, n))
        card = STUDIES["rq6"]
        worst = max(rows, key=lambda row: row[6])  # type: ignore[arg-type,return-value]
        error = math.sqrt(self.alpha * (1 - self.alpha) / self.runs)
        return StudyResult(
            study=card.id,
            question=card.question,
            n=self.runs,
            unit="simulated experiments of each kind",
            simulated=True,
            outcome=None,
            sentence=(
                f"A promise of {self.alpha:.0%} false findings is kept up to the noise of the "
                f"simulation ({error:.1%}) by every analysis whose unit is the item. The worst, "
                f"'{worst[5]}' with {worst[0]} items and {worst[1]} repeats, finds a difference "
                f"between a model and its equal in {worst[6]:.0%} of the experiments."
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
        for name in analyses:
            yield (
                world.items, world.repeats, world.sampling, world.item_sd, world.own_sd, name,
                false[name] / self.runs, covered[name] / self.runs, found[name] / self.runs,
            )  # fmt: skip


def _analyses(alpha: float) -> "dict[str, Callable[[Array, Array], Analysed]]":
    from crucible_bench import compare_paired
    from crucible_bench.intervals import tango
    from crucible_bench.tables import mcnemar, two_proportions

    level = 1 - alpha

    @cache
    def unpaired(right: int, other: int, n: int) -> Analysed:
        return _plain(two_proportions(control=(right, n), treatment=(other, n), confidence=level))

    @cache
    def pairs(lost: int, won: int, n: int) -> Analysed:
        interval = tango(lost, won, n, confidence=level)
        p = 1.0 if lost + won == 0 else mcnemar(lost, won, pairs=n).p_value
        return float(p or 0.0), _end(interval.low), _end(interval.high)

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
        "all answers, unpaired": lambda c, t: unpaired(int(c.sum()), int(t.sum()), c.size),
        "all pairs, as independent": by_pairs,
        "by item (clustered, the default)": clustered,
        "first answer only, by item": lambda c, t: by_pairs(c[:, 0], t[:, 0]),
    }


def _plain(found: Any) -> Analysed:
    interval = getattr(found, "confidence_interval", None) or getattr(found, "interval", None)
    p = 1.0 if found.p_value is None else float(found.p_value)
    if interval is None:
        return p, math.nan, math.nan
    return p, _end(interval.low), _end(interval.high)


def _end(bound: float | None) -> float:
    return math.nan if bound is None else float(bound)
