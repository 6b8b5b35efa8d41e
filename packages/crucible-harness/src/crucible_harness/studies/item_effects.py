"""How much items differ for all voters together: a logistic-normal model, by maximum likelihood."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from crucible_harness.studies.result import Figure

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from crucible_harness.studies.ballots import Floats

_NODES = 81  # of each normal effect: 1e-6 of the likelihood up to SDs of 5
_LARGEST = 20.0  # logits: an SD at this edge says that no finite one fits better
_DROP = 1.920729410347062  # half of the 95 % quantile of chi-square with one degree of freedom


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemEffects:
    """A fitted logistic-normal: P(right) = expit(ability_m + b_item + u_item,m).

    Attributes
    ----------
    abilities : tuple of float
        Logit of each voter on an average item.
    item_sd : Figure
        SD of b, which all voters share, in logits, with its profile likelihood interval.
    own_sd : Figure
        SD of u, which is a voter's own; without interval where it was given.
    log_likelihood : float
    items, repeats : int
    """

    abilities: tuple[float, ...]
    item_sd: Figure
    own_sd: Figure
    log_likelihood: float
    items: int
    repeats: int

    @property
    def base(self) -> float:
        """Return the logit of an average voter on an average item."""
        return sum(self.abilities) / len(self.abilities)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return {**asdict(self), "abilities": list(self.abilities), "base": self.base}


def fit_item_effects(right: "ArrayLike", *, own_sd: float | None = None) -> ItemEffects:
    """Estimate item effects from who was right on which item.

    Parameters
    ----------
    right : (items, voters) or (items, voters, repeats) array of 0 and 1
        Repeats must be sampled: those at temperature 0 are one answer, and count once.
    own_sd : float, >= 0, optional
        SD of what makes an item easy for one voter alone. It must be given where each voter
        answered each item once: a voter's own effect is then a part of its chance to be right,
        and no data tell the two apart.

    Raises
    ------
    ValueError
        If the array is none of that, a voter is always right or always wrong, or `own_sd` is
        missing where it cannot be estimated.

    Notes
    -----
    The marginal likelihood integrates b and u out by Gauss-Hermite quadrature [1]_, 81 points each,
    and is maximised over abilities and SDs by L-BFGS-B. Intervals invert the likelihood ratio test
    (profile likelihood). With `own_sd=0` it is the Rasch model with voters for questions and items
    for persons.

    References
    ----------
    .. [1] R. D. Bock, M. Lieberman, Psychometrika 35(2), 179-197, 1970.

    Examples
    --------
    >>> from crucible_bench.simulation import item_scores
    >>> right = item_scores(2_000, [0.0, 0.5, 1.0], item_sd=1.5, rng=1)[:, :, 0].T
    >>> fit_item_effects(right, own_sd=0.0).item_sd.value > 1.3
    True
    """
    counts, repeats = _counts(right)
    if own_sd is None and repeats == 1:
        raise ValueError("`own_sd` must be given for one answer of each voter to each item")
    if own_sd is not None and not 0 <= own_sd < _LARGEST:
        raise ValueError(f"`own_sd` must be in [0, {_LARGEST:g}), got {own_sd}")
    model = _Likelihood(counts, repeats)
    fixed: dict[int, float] = {} if own_sd is None else {_OWN: own_sd}
    best, at = model.maximum(fixed)

    def figure(name: str, place: int) -> Figure:
        if place in fixed:
            return Figure(name=name, value=fixed[place], unit="logits", reason="as given")
        low, high = _profile(
            lambda sd: model.maximum({**fixed, place: sd}, start=at)[0] - best + _DROP, at[place]
        )
        return Figure(name=name, value=float(at[place]), low=low, high=high, unit="logits",
                      method="maximum likelihood, profile interval")  # fmt: skip

    return ItemEffects(
        abilities=tuple(float(a) for a in at[2:]),
        item_sd=figure("item SD", _ITEM),
        own_sd=figure("own SD", _OWN),
        log_likelihood=best,
        items=len(counts),
        repeats=repeats,
    )


_ITEM, _OWN = 0, 1  # places of the SDs among the parameters; abilities follow


class _Likelihood:
    """The log-likelihood of counts of right answers, without its constant; equal items together."""

    def __init__(self, counts: "np.ndarray[Any, Any]", repeats: int) -> None:
        self._patterns, self._times = np.unique(counts, axis=0, return_counts=True)
        self._repeats = repeats
        share = counts.mean(axis=0) / repeats
        self._start = np.concatenate(([1.0, 0.5], 1.5 * np.log(share / (1 - share))))
        self._values = [np.unique(column, return_inverse=True) for column in self._patterns.T]
        self._nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
        self._log = np.log(weights / weights.sum())

    def __call__(self, point: "Floats") -> "tuple[float, Floats]":
        """Return the log-likelihood and its gradient."""
        item_sd, own_sd, *abilities = point
        own, log_own = (self._nodes, self._log) if own_sd > 0 else (np.zeros(1), np.zeros(1))
        eta = item_sd * self._nodes[:, None] + own_sd * own[None, :]
        shape = len(self._patterns), len(self._nodes)
        total = np.zeros(shape) + self._log
        slopes = [np.empty(shape) for _ in abilities]  # of each voter's part, by its ability
        by_own = np.zeros(shape)
        for voter, ability in enumerate(abilities):
            values, rows = self._values[voter]
            yes = -np.logaddexp(0.0, -ability - eta)  # (nodes of b, nodes of u)
            no = yes - ability - eta
            chance = np.exp(yes)
            parts = np.empty((3, len(values), len(self._nodes)))
            for at, right in enumerate(values):
                log_joint = right * yes + (self._repeats - right) * no + log_own
                most = log_joint.max(axis=1, keepdims=True)
                joint = np.exp(log_joint - most)
                mass = joint.sum(axis=1)
                slope = joint * (right - self._repeats * chance)
                parts[0, at] = np.log(mass) + most[:, 0]
                parts[1, at] = slope.sum(axis=1) / mass
                parts[2, at] = slope @ own / mass
            total += parts[0][rows]
            slopes[voter] = parts[1][rows]
            by_own += parts[2][rows]
        most = total.max(axis=1, keepdims=True)
        posterior = np.exp(total - most)
        mass = posterior.sum(axis=1, keepdims=True)
        value = float(self._times @ (np.log(mass) + most)[:, 0])
        posterior *= self._times[:, None] / mass
        by_item = sum(slopes, np.zeros(shape)) * self._nodes
        gradient = np.array([(posterior * one).sum() for one in (by_item, by_own, *slopes)])
        return value, gradient

    def maximum(
        self, fixed: dict[int, float], *, start: "Floats | None" = None
    ) -> "tuple[float, Floats]":
        """Return the largest log-likelihood with some parameters fixed, and where it is."""
        from scipy.optimize import minimize

        whole = np.array(self._start if start is None else start, dtype=float)
        for place, value in fixed.items():
            whole[place] = value
        free = [k for k in range(len(whole)) if k not in fixed]
        bounds = [(0.0, _LARGEST) if k in (_ITEM, _OWN) else (-60.0, 60.0) for k in free]

        def loss(some: "Floats") -> "tuple[float, Floats]":
            point = whole.copy()
            point[free] = some
            value, gradient = self(point)
            return -value, -gradient[free]

        found = minimize(
            loss, whole[free], jac=True, method="L-BFGS-B", bounds=bounds,
            options={"ftol": 1e-11, "gtol": 1e-6},
        )  # fmt: skip
        whole[free] = found.x
        return -float(found.fun), whole


def _profile(above: Callable[[float], float], best: float) -> tuple[float, float | None]:
    """Return where a profile falls below its bound; 0 and None where it does not."""
    from scipy.optimize import brentq

    low = 0.0 if above(0.0) > 0 else float(brentq(above, 0.0, best, xtol=1e-3))
    step = 0.5
    while best + step < _LARGEST:
        if above(best + step) < 0:
            return low, float(brentq(above, best, best + step, xtol=1e-3))
        step *= 2
    return low, None


def _counts(right: "ArrayLike") -> "tuple[np.ndarray[Any, Any], int]":
    answers = np.asarray(right, dtype=float)
    if answers.ndim == 2:
        answers = answers[:, :, None]
    if answers.ndim != 3 or answers.shape[0] < 2 or answers.shape[1] < 2 or not answers.shape[2]:
        raise ValueError(
            "`right` must be an array (items, voters) or (items, voters, repeats) with 2 items and "
            f"2 voters at least, got shape {np.shape(right)}"
        )
    if not np.isin(answers, (0.0, 1.0)).all():
        raise ValueError("`right` must hold 0 and 1 only")
    counts = answers.sum(axis=2)
    share = counts.mean(axis=0) / answers.shape[2]
    if share.min() == 0 or share.max() == 1:
        raise ValueError("`right` must hold no voter that is always right, or always wrong")
    if math.isclose(counts.std(), 0.0):
        raise ValueError("`right` must differ over items")
    return counts, answers.shape[2]
