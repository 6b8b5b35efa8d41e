"""A model of voters that err together: beta-binomial, by maximum likelihood, with intervals."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from crucible_harness.studies.result import Cell, Figure, StudyTable

_Z = 1.959963984540054  # of a two-sided 95 % interval
_STEP = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class VoterModel:
    """A fitted beta-binomial.

    Attributes
    ----------
    voters : int
    mu, rho : Figure
        Accuracy of a voter, and the correlation of right and wrong between two voters.
    """

    voters: int
    mu: Figure
    rho: Figure

    def figures(self) -> tuple[Figure, ...]:
        """Return both parameters."""
        return self.mu, self.rho

    def accuracy(self, n: int) -> float | None:
        """Return the accuracy of a majority of n such voters, right and wrong being all there is.

        None where the model could not be fitted.
        """
        from crucible_ensemble.theory import majority_accuracy

        if self.mu.value is None or self.rho.value is None:
            return None
        return majority_accuracy(self.mu.value, n, self.rho.value, model="beta_binomial")

    def table(self, counts: "np.ndarray[Any, Any]") -> StudyTable:
        """Return how many items have how many right voters, seen and expected."""
        from scipy.stats import betabinom

        n = self.voters
        seen = np.bincount(counts, minlength=n + 1)
        expected: list[float | None] = [None] * (n + 1)
        if self.mu.value is not None and self.rho.value is not None and 0 < self.rho.value < 1:
            a, b = _shape(self.mu.value, self.rho.value)
            expected = [float(p) * len(counts) for p in betabinom.pmf(np.arange(n + 1), n, a, b)]
        rows: list[tuple[Cell, ...]] = [(k, int(seen[k]), expected[k]) for k in range(n + 1)]
        return StudyTable(
            title="Right voters per item",
            columns=("right", "items", "model expects"),
            rows=tuple(rows),
        )


def fit_voters(counts: "np.ndarray[Any, Any]", voters: int) -> VoterModel:
    """Fit the model to the number of right voters per item.

    Notes
    -----
    Wald intervals on the logit scale from the observed information. Near rho = 0 or 1, and where
    every voter is right or wrong everywhere, there is none, and the figure says so.
    """
    from crucible_ensemble.theory import fit_beta_binomial

    method = "beta-binomial by maximum likelihood, Wald on the logit"
    if counts.min() == counts.max() and counts.min() in (0, voters):
        reason = "every voter is right, or wrong, on every item"
        unknown = [Figure(name=name, value=None, reason=reason) for name in ("mu", "rho")]
        return VoterModel(voters=voters, mu=unknown[0], rho=unknown[1])
    fit = fit_beta_binomial(counts, voters)
    theta = np.array([_logit(fit.mu), _logit(fit.rho)])
    spread = _errors(theta, counts, voters)
    figures = []
    for name, value, at, error in zip(("mu", "rho"), (fit.mu, fit.rho), theta, spread, strict=True):
        if error is None:
            figures.append(
                Figure(name=name, value=value, method=method, reason="at the edge of its range")
            )
            continue
        figures.append(
            Figure(name=name, value=value, low=_expit(at - _Z * error),
                   high=_expit(at + _Z * error), method=method)
        )  # fmt: skip
    return VoterModel(voters=voters, mu=figures[0], rho=figures[1])


def _errors(
    theta: "np.ndarray[Any, Any]", counts: "np.ndarray[Any, Any]", n: int
) -> tuple[float | None, float | None]:
    """Return standard errors from the curvature of the log-likelihood at its maximum."""
    from scipy.stats import betabinom

    if np.abs(theta).max() > 8:  # rho or mu within .0004 of 0 or 1: the curvature says nothing
        return None, None
    values, times = np.unique(counts, return_counts=True)

    def likelihood(point: "np.ndarray[Any, Any]") -> float:
        a, b = _shape(_expit(point[0]), _expit(point[1]))
        return float(times @ betabinom.logpmf(values, n, a, b))

    step = np.eye(2) * _STEP
    information = np.empty((2, 2))
    for i in range(2):
        for j in range(2):
            information[i, j] = -(
                likelihood(theta + step[i] + step[j])
                - likelihood(theta + step[i] - step[j])
                - likelihood(theta - step[i] + step[j])
                + likelihood(theta - step[i] - step[j])
            ) / (4 * _STEP**2)
    if not np.isfinite(information).all() or np.linalg.eigvalsh(information).min() <= 0:
        return None, None
    variance = np.diag(np.linalg.inv(information))
    return float(math.sqrt(variance[0])), float(math.sqrt(variance[1]))


def _shape(mu: float, rho: float) -> tuple[float, float]:
    total = 1 / rho - 1
    return mu * total, (1 - mu) * total


def _logit(p: float) -> float:
    p = min(max(p, 1e-12), 1 - 1e-12)
    return math.log(p / (1 - p))


def _expit(z: float) -> float:
    return float(1 / (1 + math.exp(-z)))
