"""Differences adjusted by regression: GEE and mixed models of statsmodels (extra: models)."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crucible_bench.arrays import Array, check_confidence, is_binary
from crucible_bench.arrays import scores as checked
from crucible_bench.clusters import codes
from crucible_bench.errors import DegenerateDataError, MissingExtraError
from crucible_bench.results import Interval, Record

FEW_CLUSTERS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class AdjustedDifference(Record):
    """Treatment - control at equal covariates, with a standard error that counts clusters.

    For "binomial" `difference` is standardised: the mean over all observations of what treatment
    instead of control would change; `odds_ratio` is conditional on the covariates, and None for
    "gaussian". `correlation` is the working correlation within clusters.
    """

    family: Literal["binomial", "gaussian"]
    difference: float
    standard_error: float
    interval: Interval
    p_value: float
    odds_ratio: float | None
    odds_ratio_interval: Interval | None
    correlation: float
    covariance: Literal["robust", "bias_reduced"]
    n: int
    n_clusters: int
    covariates: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedDifference(Record):
    """Treatment - control from a linear model with a random intercept for each cluster."""

    difference: float
    standard_error: float
    interval: Interval
    p_value: float
    between: float
    within: float
    icc: float
    n: int
    n_clusters: int
    covariates: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def adjusted_difference(
    scores: ArrayLike,
    *,
    condition: ArrayLike,
    cluster: ArrayLike,
    covariates: Mapping[str, ArrayLike] | None = None,
    family: Literal["binomial", "gaussian"] = "binomial",
    confidence: float = 0.95,
) -> AdjustedDifference:
    """Estimate a difference adjusted for covariates by generalised estimating equations.

    Parameters
    ----------
    scores : (n,) array
        0 and 1 for "binomial".
    condition : (n,) array of 0 (control) and 1 (treatment)
    cluster : (n,) array
        Such as the item: observations of one cluster may depend on each other.
    covariates : mapping of name to (n,) array of numbers, optional
    family : {"binomial", "gaussian"}
        Logistic or linear.

    Raises
    ------
    DegenerateDataError
        If all scores are equal, or a regression has no finite estimate, as where an arm has no
        success [3]_.
    MissingExtraError
        Without statsmodels.
    ValueError
        If arrays do not fit together, or a covariate is a combination of the others.

    Notes
    -----
    Exchangeable working correlation, robust covariance, bias-reduced [2]_ below 50 clusters;
    normal intervals, for the standardised difference by the delta method.

    References
    ----------
    .. [1] K.-Y. Liang, S. Zeger, Biometrika 73(1), 13-22, 1986.
    .. [2] L. Mancl, T. DeRouen, Biometrics 57(1), 126-134, 2001.
    .. [3] A. Albert, J. A. Anderson, Biometrika 71(1), 1-10, 1984.

    Examples
    --------
    >>> right = [1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 1] * 5
    >>> result = adjusted_difference(
    ...     right, condition=[0, 1] * 30, cluster=[i // 2 for i in range(60)]
    ... )
    >>> round(result.difference, 3), result.covariance
    (0.5, 'bias_reduced')
    """
    from scipy import special

    check_confidence(confidence)
    if family not in ("binomial", "gaussian"):
        raise ValueError(f'`family` must be "binomial" or "gaussian", got {family!r}')
    y, design, groups, names = _design(scores, condition, cluster, covariates)
    if family == "binomial" and not is_binary(y):
        raise ValueError('`scores` must hold only 0 and 1 for family="binomial"')
    if family == "binomial" and _separated(y, design):
        raise DegenerateDataError(
            "condition and covariates tell right from wrong without error, at least for some "
            "scores: no finite odds ratio exists; compare and compare_paired need none"
        )
    api = _statsmodels()
    n_clusters = int(groups.max()) + 1
    covariance: Literal["robust", "bias_reduced"] = (
        "bias_reduced" if n_clusters < FEW_CLUSTERS else "robust"
    )
    kind = api.families.Binomial() if family == "binomial" else api.families.Gaussian()
    model = api.GEE(y, design, groups=groups, family=kind, cov_struct=api.cov_struct.Exchangeable())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = model.fit(cov_type=covariance)
    beta, cov = np.asarray(fit.params), np.asarray(fit.cov_params())
    if not (np.isfinite(beta).all() and np.isfinite(cov).all()):
        raise DegenerateDataError("the regression has no finite estimate for these scores")
    z = float(special.ndtri((1 + confidence) / 2))
    slope, se_slope = float(beta[1]), float(np.sqrt(cov[1, 1]))
    difference, se = slope, se_slope
    ratio: float | None = None
    ratio_interval: Interval | None = None
    if family == "binomial":
        chances, gradients = [], []
        for arm in (0.0, 1.0):
            moved = design.copy()
            moved[:, 1] = arm
            p = special.expit(moved @ beta)
            chances.append(p.mean())
            gradients.append((p * (1 - p)) @ moved / y.size)
        change = gradients[1] - gradients[0]
        difference = float(chances[1] - chances[0])
        se = float(np.sqrt(change @ cov @ change))
        ratio = float(np.exp(slope))
        low, high = np.exp([slope - z * se_slope, slope + z * se_slope]).tolist()
        ratio_interval = Interval(low=low, high=high, level=confidence, method="GEE, log")
    return AdjustedDifference(
        family=family,
        difference=difference,
        standard_error=se,
        interval=Interval(
            low=difference - z * se, high=difference + z * se, level=confidence, method="GEE"
        ),
        p_value=float(2 * special.ndtr(-abs(slope) / se_slope)),
        odds_ratio=ratio,
        odds_ratio_interval=ratio_interval,
        correlation=float(fit.cov_struct.dep_params),
        covariance=covariance,
        n=y.size,
        n_clusters=n_clusters,
        covariates=names,
        warnings=_texts(caught, n_clusters),
    )


def mixed_difference(
    scores: ArrayLike,
    *,
    condition: ArrayLike,
    cluster: ArrayLike,
    covariates: Mapping[str, ArrayLike] | None = None,
    confidence: float = 0.95,
) -> MixedDifference:
    """Estimate a difference of continuous scores with a random intercept for each cluster.

    Parameters are those of `adjusted_difference`. Fitted by REML; normal interval.

    Raises
    ------
    DegenerateDataError
        If all scores are equal.
    MissingExtraError
        Without statsmodels.
    ValueError
        If arrays do not fit together, or a covariate is a combination of the others.

    References
    ----------
    .. [1] N. Laird, J. Ware, Biometrics 38(4), 963-974, 1982.
    """
    from scipy import special

    check_confidence(confidence)
    y, design, groups, names = _design(scores, condition, cluster, covariates)
    api = _statsmodels()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = api.MixedLM(y, design, groups=groups).fit(reml=True)
    slope, se = float(fit.fe_params[1]), float(fit.bse_fe[1])
    between, within = float(np.asarray(fit.cov_re)[0, 0]), float(fit.scale)
    half = float(special.ndtri((1 + confidence) / 2)) * se
    n_clusters = int(groups.max()) + 1
    return MixedDifference(
        difference=slope,
        standard_error=se,
        interval=Interval(low=slope - half, high=slope + half, level=confidence, method="REML"),
        p_value=float(2 * special.ndtr(-abs(slope) / se)),
        between=between,
        within=within,
        icc=between / (between + within),
        n=y.size,
        n_clusters=n_clusters,
        covariates=names,
        warnings=_texts(caught, n_clusters),
    )


def _design(
    scores: ArrayLike,
    condition: ArrayLike,
    cluster: ArrayLike,
    covariates: Mapping[str, ArrayLike] | None,
) -> tuple[Array, Array, NDArray[np.intp], tuple[str, ...]]:
    """Return scores, the columns 1, condition, covariates, and cluster numbers from 0."""
    y, arm = checked("scores", scores), checked("condition", condition)
    columns = {"condition": arm}
    for name, values in (covariates or {}).items():
        columns[f"covariates[{name!r}]"] = checked(f"covariates[{name!r}]", values)
    for name, column in columns.items():
        if y.ndim != 1 or column.shape != y.shape:
            raise ValueError(f"`{name}` must have one value per score, got {column.shape}")
    if not is_binary(arm) or arm.min() == arm.max():
        raise ValueError("`condition` must hold 0 (control) and 1 (treatment), both of them")
    if y.min() == y.max():
        raise DegenerateDataError("all scores are equal: there is nothing to compare")
    design: Array = np.column_stack([np.ones(y.size), *columns.values()])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise ValueError("`covariates` must not be constant, or combinations of one another")
    return y, design, codes("cluster", cluster, y.size), tuple(covariates or ())


def _separated(y: Array, design: Array) -> bool:
    """Say whether a combination of columns is never on the wrong side of 0, and somewhere right.

    A linear program finds the coefficients in [-1, 1] that lie deepest on the right side.
    """
    from scipy import optimize

    side = (2 * y - 1)[:, None] * design / np.abs(design).max(axis=0)
    found = optimize.linprog(
        -side.sum(axis=0), A_ub=-side, b_ub=np.zeros(y.size), bounds=(-1, 1), method="highs"
    )
    return bool(-found.fun > 1e-7)


def _texts(caught: list[warnings.WarningMessage], n_clusters: int) -> tuple[str, ...]:
    """Return what statsmodels warned of, once each, and whether there are few clusters."""
    few = (f"only {n_clusters} clusters: intervals may be too short",) if n_clusters < 10 else ()
    return (*dict.fromkeys(str(w.message) for w in caught), *few)


def _statsmodels() -> Any:
    try:
        import statsmodels.api as api
    except ImportError as error:
        raise MissingExtraError("crucible-bench[models]") from error
    return api
