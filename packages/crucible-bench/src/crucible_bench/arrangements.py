"""From a statistic under all, or many, arrangements of the data to a test."""

import math

import numpy as np

from crucible_bench.arrays import Array, check_confidence
from crucible_bench.results import Alternative, Interval, TestResult

_TOLERANCE = 1e-12


def result(
    name: str,
    observed: float,
    drawn: Array,
    alternative: Alternative,
    n: int,
    estimate: float,
    *,
    exact: bool,
    level: float = 0.95,
    se: float | None = None,
) -> TestResult:
    """Return the test, given the statistic observed and under each arrangement."""
    finite = np.abs(drawn[np.isfinite(drawn)])
    slack = _TOLERANCE * float(finite.max()) if finite.size else 0.0
    if alternative == "two-sided":
        extreme = np.abs(drawn) >= abs(observed) - slack
        top = float(np.abs(drawn).max())
        floor = int((np.abs(drawn) >= top - slack).sum())
    else:
        sign = 1.0 if alternative == "greater" else -1.0
        extreme = sign * drawn >= sign * observed - slack
        floor = int((sign * drawn >= float((sign * drawn).max()) - slack).sum())
    count, size = int(extreme.sum()), drawn.size
    return TestResult(
        name=name,
        statistic_name="statistic",
        statistic=observed if math.isfinite(observed) else None,
        df=(),
        p_value=count / size if exact else (1 + count) / (1 + size),
        alternative=alternative,
        method="exact" if exact else "permutation",
        n=n,
        estimate=estimate,
        interval=None if se is None else interval(estimate, se, drawn, level),
        min_p=floor / size if exact else 1 / (1 + size),
        notes=() if math.isfinite(observed) else ("the observed statistic is infinite",),
    )


def interval(estimate: float, se: float, drawn: Array, level: float) -> Interval | None:
    """Return estimate +- the permutation quantile of abs(t) times se; None where it is infinite."""
    critical = float(np.quantile(np.abs(drawn), level, method="inverted_cdf"))
    if not math.isfinite(critical) or se == 0:
        return None
    half = critical * se
    return Interval(low=estimate - half, high=estimate + half, level=level, method="permutation t")


def generator(rng: int | np.random.Generator | None, ways: float) -> np.random.Generator:
    """Return a generator; `ValueError` where there is none and sampling needs it."""
    if rng is None:
        raise ValueError(
            f"`rng` is required: {ways:.3g} arrangements are more than `n_resamples`, so they are "
            "sampled"
        )
    return np.random.default_rng(rng)


def check(n_resamples: int, alternative: Alternative, confidence: float) -> None:
    """Raise `ValueError` unless the arguments of a permutation test are in range."""
    check_confidence(confidence)
    if n_resamples < 1:
        raise ValueError(f"`n_resamples` must be >= 1, got {n_resamples}")
    if alternative not in ("two-sided", "greater", "less"):
        raise ValueError(
            f'`alternative` must be "two-sided", "greater" or "less", got {alternative!r}'
        )
