"""A world of right and wrong answers: items, models and repeats, with what follows from them."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from crucible_harness.observations import Array

Sampling = Literal["temperature 0", "sampled"]


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
    label : str
        What it is called in a table.

    Notes
    -----
    The defaults are estimates, rounded to two digits: `fit_item_effects` of the graded solutions of
    GSM8K by four models (1,319 items, one answer each) with `own_sd=0`. With one answer each the
    likelihood is nearly flat along a ridge of pairs (item_sd, own_sd); see `RIDGE`.

    Examples
    --------
    >>> world = World()
    >>> round(world.moments()[1], 2)  # the correlation of two models' answers
    0.43
    """

    items: int = 50
    repeats: int = 3
    sampling: Sampling = "temperature 0"
    item_sd: float = 2.27
    own_sd: float = 0.0
    base: float = -0.93
    label: str = ""

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

        nodes, weights = _normal(120)
        spread = math.hypot(self.item_sd, self.own_sd) * nodes
        means = [float(weights @ expit(self.base + a + spread)) for a in (0.0, effect)]
        return means[1] - means[0]

    def moments(self) -> tuple[float, float, float]:
        """Return accuracy, correlation of two equal models, and that of two repeats of one.

        Both correlations are of answers to the same item; between repeats at temperature 0 it is 1.
        """
        from scipy.special import expit

        nodes, weights = _normal(120)
        chance = expit(self.base + self.item_sd * nodes[:, None] + self.own_sd * nodes[None, :])
        shared = chance @ weights
        p = float(weights @ shared)
        variance = p * (1 - p)
        models = (float(weights @ shared**2) - p**2) / variance
        if self.sampling == "temperature 0":
            return p, models, 1.0
        return p, models, (float(weights @ chance**2 @ weights) - p**2) / variance

    def false_findings(self, *, paired: bool, alpha: float) -> float:
        """Return how often equal models differ "significantly" when repeats pass for new items.

        Parameters
        ----------
        paired : bool
            Whether the j-th answers of both models are paired, or the models taken as two groups.
        alpha : float, in (0, 1)

        Notes
        -----
        For many items. With correlations c of two models' and w of one model's answers to an item,
        the variance of the difference is 1 + (r - 1) w - r c times what two groups of independent
        answers have, and that over 1 - c times what independent pairs have (the design effect of
        cluster samples [1]_). The rate is P(|Z| > z / sqrt(that)): at temperature 0 and paired,
        z / sqrt(r), whatever the items are like.

        References
        ----------
        .. [1] L. Kish, Survey Sampling, 1965, section 5.4.
        """
        from scipy.stats import norm

        _, models, within = self.moments()
        inflation = 1 + (self.repeats - 1) * within - self.repeats * models
        if paired:
            inflation /= 1 - models
        return float(2 * norm.sf(norm.isf(alpha / 2) / math.sqrt(inflation)))


def _normal(n: int) -> "tuple[Array, Array]":
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    return nodes, weights / weights.sum()


# Worlds that the graded solutions of GSM8K tell apart by .1 of log-likelihood only: item_sd and
# base fitted with own SDs of 1 and 2.
RIDGE: tuple[World, ...] = (
    World(item_sd=2.64, own_sd=1.0, base=-1.08, label="fitted with own SD 1"),
    World(item_sd=3.50, own_sd=2.0, base=-1.43, label="fitted with own SD 2"),
)
