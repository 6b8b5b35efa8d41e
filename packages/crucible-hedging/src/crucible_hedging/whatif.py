"""What would have happened at other delays, from a paired log."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Literal

from crucible_hedging.delays.fixed import check_delay_s
from crucible_hedging.errors import InsufficientDataError
from crucible_hedging.shadow import ShadowRecord

if TYPE_CHECKING:
    from crucible_hedging.distributions import Floats
    from crucible_hedging.pairs import Raced

Bands = Literal["pointwise", "simultaneous"]
_PERCENTILES = {50: "p50_s", 95: "p95_s", 99: "p99_s", 99.9: "p999_s"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure and its interval; None where the data do not determine it."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIfRow:
    """What one delay would have done to the requests of the log.

    Attributes
    ----------
    delay_s, probability : float
    extra_ratio, win_ratio : Estimate
        Backups, and backups that answered first, per request.
    p50_s, p90_s, p95_s, p99_s, p999_s : Estimate
    ratio_p99 : Estimate
        To the baseline, in the same draws.
    mean_s : float
        With a cut latency at its lower bound.
    wasted_s : float
        All seconds that losers ran, stopped when the race was over.
    cost_usd : float or None
        Of all attempts; None if any price is unknown.
    reliable : bool
        At least 10 requests lie above the 99th percentile.
    """

    delay_s: float
    probability: float
    extra_ratio: Estimate
    win_ratio: Estimate
    p50_s: Estimate
    p90_s: Estimate
    p95_s: Estimate
    p99_s: Estimate
    p999_s: Estimate
    ratio_p99: Estimate
    mean_s: float
    wasted_s: float
    cost_usd: float | None
    reliable: bool

    def to_dict(self) -> dict[str, object]:
        """Return a flat, JSON-ready record: `p99_s`, `p99_s_low`, `p99_s_high`, ..."""
        record: dict[str, object] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Estimate):
                record[field.name] = value.value
                record[f"{field.name}_low"], record[f"{field.name}_high"] = value.low, value.high
            else:
                record[field.name] = None if value == math.inf else value
        return record


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIfCurve:
    """The rows of `what_if` in the order of the delays, and the baseline without backups.

    Attributes
    ----------
    n : int
        Pairs that were used.
    excluded : int
        Pairs of which a copy failed.
    block_length : int
    confidence : float
    bands : str
    """

    baseline: WhatIfRow
    rows: tuple[WhatIfRow, ...]
    n: int
    excluded: int
    block_length: int
    confidence: float
    bands: Bands

    def pareto(self, percentile: float = 99) -> tuple[WhatIfRow, ...]:
        """Return the rows to which no other is preferable in both load and percentile."""
        known = sorted(
            (row for row in self.rows if _of(row, percentile) is not None),
            key=lambda row: (row.extra_ratio.value, _of(row, percentile), -row.delay_s),
        )
        kept: list[WhatIfRow] = []
        least = math.inf
        for row in known:
            reached = _of(row, percentile)
            if reached is not None and reached < least:
                kept.append(row)
                least = reached
        return tuple(kept)

    def best(self, budget: float, percentile: float = 99) -> WhatIfRow:
        """Return the row with the lowest percentile within a budget; the baseline if none is lower.

        Parameters
        ----------
        budget : float, in (0, 1]
            Backups per request.
        percentile : {50, 95, 99, 99.9}
        """
        if isinstance(budget, bool) or not 0 < budget <= 1:
            raise ValueError(f"`budget` must be in (0, 1], got {budget}")
        within = [r for r in self.pareto(percentile) if (r.extra_ratio.value or 0.0) <= budget]
        base = _of(self.baseline, percentile)
        reached = _of(within[-1], percentile) if within else None
        if reached is None or (base is not None and base <= reached):
            return self.baseline
        return within[-1]

    def to_records(self) -> list[dict[str, object]]:
        """Return baseline and rows as flat dicts, for a data frame."""
        return [row.to_dict() for row in (self.baseline, *self.rows)]

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-ready record."""
        return asdict(self)


def _of(row: WhatIfRow, percentile: float) -> float | None:
    name = _PERCENTILES.get(percentile)
    if name is None:
        raise ValueError(f"`percentile` must be one of 50, 95, 99, 99.9, got {percentile}")
    estimate: Estimate = getattr(row, name)
    return estimate.value


def what_if(
    log: Iterable[ShadowRecord],
    delays: Sequence[float],
    *,
    probabilities: Sequence[float] = (1.0,),
    confidence: float = 0.95,
    bootstrap: int = 2_000,
    block: int | None = None,
    bands: Bands = "pointwise",
    seed: int = 0,
) -> WhatIfCurve:
    """Compute what every delay would have done to the requests of a paired log.

    Parameters
    ----------
    log : ShadowLog or iterable of ShadowRecord
    delays : sequence of float, >= 0
    probabilities : sequence of float, in [0, 1]
        One row for each delay and probability, the probabilities of a delay side by side.
    confidence : float, in (0, 1)
    bootstrap : int, >= 1
        Draws.
    block : int, >= 1, optional
        Length of the blocks that are drawn; ceil(n^(1/3)) if not given.
    bands : {"pointwise", "simultaneous"}
        Whether the intervals hold for each row, or for all rows together (sup-t).
    seed : int

    Raises
    ------
    InsufficientDataError
        If the log has no pair of which both copies answered.

    Notes
    -----
    A pair takes min(p, d + b) where p > d, else p. Quantiles are type 7; with a probability below
    1 a pair with p > d counts twice, with weights q and 1 - q, and a quantile is the smallest value
    whose cumulative weight reaches it. Intervals are percentiles of a circular block bootstrap
    [1]_, since consecutive calls are alike. A quantile that depends on how long a cut attempt would
    have taken is None.

    References
    ----------
    .. [1] D. N. Politis, J. P. Romano, A circular block-resampling procedure for stationary data,
       in Exploring the Limits of Bootstrap, 1992.
    """
    from crucible_hedging.pairs import Pairs, block_counts

    for name, values in (("delays", delays), ("probabilities", probabilities)):
        if len(values) == 0:
            raise ValueError(f"`{name}` must not be empty, got {values!r}")
    for delay in delays:
        check_delay_s(delay, name="delays")
    for q in probabilities:
        if isinstance(q, bool) or not 0 <= q <= 1:
            raise ValueError(f"`probabilities` must be in [0, 1], got {q}")
    if isinstance(confidence, bool) or not 0 < confidence < 1:
        raise ValueError(f"`confidence` must be in (0, 1), got {confidence}")
    if bands not in ("pointwise", "simultaneous"):
        raise ValueError(f'`bands` must be "pointwise" or "simultaneous", got {bands!r}')
    for name, count in (("bootstrap", bootstrap), ("block", block)):
        if count is not None and (isinstance(count, bool) or count < 1):
            raise ValueError(f"`{name}` must be >= 1, got {count}")
    pairs = Pairs.of(log)
    if len(pairs) == 0:
        raise InsufficientDataError(0, 1)
    block = block or math.ceil(len(pairs) ** (1 / 3) - 1e-9)
    counts = block_counts(len(pairs), block=min(block, len(pairs)), draws=bootstrap, seed=seed)
    settings = [(math.inf, 1.0), *((float(d), float(q)) for d in delays for q in probabilities)]
    figures = [_Figures(pairs.race(d, q), counts) for d, q in settings]
    for one in figures:
        one.compare(figures[0])
    intervals = _intervals(figures, confidence, bands)
    rows = [
        WhatIfRow(
            delay_s=d,
            probability=q,
            **estimates,
            mean_s=float(one.raced.mean.mean()),
            wasted_s=float(one.raced.wasted.sum()),
            cost_usd=None if math.isnan(usd := float(one.raced.usd.sum())) else usd,
            reliable=len(pairs) >= 1_000,
        )
        for (d, q), one, estimates in zip(settings, figures, intervals, strict=True)
    ]
    return WhatIfCurve(
        baseline=rows[0],
        rows=tuple(rows[1:]),
        n=len(pairs),
        excluded=pairs.excluded,
        block_length=block,
        confidence=confidence,
        bands=bands,
    )


_QUANTILES = {"p50_s": 0.5, "p90_s": 0.9, "p95_s": 0.95, "p99_s": 0.99, "p999_s": 0.999}


class _Figures:
    """The figures of one row in the data (first) and in every draw: name -> lower, upper bounds."""

    def __init__(self, raced: "Raced", counts: "Floats") -> None:
        import numpy as np

        self.raced = raced
        whole = np.concatenate((np.ones((1, counts.shape[1])), counts))
        low, high = raced.quantiles(tuple(_QUANTILES.values()), whole)
        self.bounds = {name: (low[:, i], high[:, i]) for i, name in enumerate(_QUANTILES)}
        for name, values in (("extra_ratio", raced.fired), ("win_ratio", raced.won)):
            mean = whole @ values / counts.shape[1]
            self.bounds[name] = (mean, mean)

    def compare(self, base: "_Figures") -> None:
        """Add the ratio to the baseline; unknown where either is not determined."""
        import numpy as np

        (low, high), (base_low, base_high) = self.bounds["p99_s"], base.bounds["p99_s"]
        with np.errstate(divide="ignore", invalid="ignore"):
            smallest = np.where(np.isinf(base_high), 0.0, low / base_high)
            largest = np.where(np.isinf(high), np.inf, high / base_low)
        self.bounds["ratio_p99"] = (smallest, largest)


def _intervals(
    figures: Sequence[_Figures], confidence: float, bands: Bands
) -> list[dict[str, Estimate]]:
    import numpy as np

    names = list(figures[0].bounds)
    found: list[dict[str, Estimate]] = [{} for _ in figures]
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    for name in names:
        spreads = []
        for row, one in zip(found, figures, strict=True):
            low, high = one.bounds[name]
            value = float(low[0]) if low[0] == high[0] and np.isfinite(low[0]) else None
            ends_low = float(np.quantile(low[1:], ends[0], method="inverted_cdf"))
            ends_high = float(np.quantile(high[1:], ends[1], method="inverted_cdf"))
            row[name] = Estimate(
                value=value,
                low=ends_low if np.isfinite(ends_low) else None,
                high=ends_high if np.isfinite(ends_high) else None,
            )
            if bands == "simultaneous" and value is not None and np.isfinite(high).all():
                spread = float(low[1:].std())
                if spread > 0:
                    spreads.append((row, value, spread, np.abs(low[1:] - value) / spread))
        if spreads:
            most = np.max([deviations for _, _, _, deviations in spreads], axis=0)
            factor = float(np.quantile(most, confidence))
            for row, value, spread, _ in spreads:
                row[name] = Estimate(
                    value=value, low=value - factor * spread, high=value + factor * spread
                )
    return found
