"""Metrics of a running experiment, kept up to date without reading anything again."""

import math
import threading
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from crucible_telemetry.inclusion import Inclusion
from crucible_telemetry.outcome import OUTCOMES
from crucible_telemetry.schema import INDEX, Row

_NAME, _DURATION, _OUTCOME = INDEX["name"], INDEX["duration_s"], INDEX["outcome"]
_PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
_AMOUNTS = ("input_tokens", "output_tokens", "cost_usd")


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingSnapshot:
    """The numbers at one moment; None where nothing is known.

    `percentiles_s` maps 50, 90, 95, 99 and 99.9 to seconds and is approximate (t-digest);
    everything else is exact.
    """

    outcomes: dict[str, int]
    count: int
    mean_s: float | None
    variance: float | None
    stdev_s: float | None
    min_s: float | None
    max_s: float | None
    percentiles_s: dict[float, float | None]
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        data = asdict(self)
        data["percentiles_s"] = {f"{p:g}": value for p, value in self.percentiles_s.items()}
        return data


class StreamingMetrics:
    """Counts, moments and quantiles of a stream of events.

    Parameters
    ----------
    names : collection of str, optional
        Names of the events to measure; all by default, nested ones too. Amounts that an event
        inside carries are not added again by those around it.

    Notes
    -----
    Mean and variance (divided by n - 1) are exact per batch and joined by the pairwise update
    of [1]_, which is stable where sums of squares are not. Quantiles are those of a t-digest [2]_.
    Numbers of a sampled experiment are of what was stored, not weighted up.

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub, R. J. LeVeque, Updating Formulae and a Pairwise Algorithm for
       Computing Sample Variances, Stanford STAN-CS-79-773, 1979.
    .. [2] T. Dunning, O. Ertl, Computing Extremely Accurate Quantiles Using t-Digests,
       arXiv:1902.04023, 2019.

    Examples
    --------
    >>> metrics = StreamingMetrics()
    >>> metrics.add([1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16])
    >>> metrics.snapshot().mean_s - 1e9, metrics.snapshot().variance
    (10.0, 30.0)
    """

    def __init__(self, *, names: Collection[str] | None = None) -> None:
        if isinstance(names, str):
            raise ValueError(f"`names` must be a collection of names, got the text {names!r}")
        self._names = None if names is None else frozenset(names)
        self._lock = threading.Lock()
        self._clear()

    def observe(self, rows: Sequence[Row]) -> None:
        """Take stored rows; the writer's thread calls this."""
        if self._names is not None:
            rows = [row for row in rows if row[_NAME] in self._names]
        outcomes = Counter(row[_OUTCOME] for row in rows)
        durations = [row[_DURATION] for row in rows if row[_DURATION] is not None]
        with self._lock:
            self._outcomes.update(outcomes)
            self._add(durations)
            for row in rows:
                for at, amount in enumerate(self._inclusion.own(row)):
                    if amount is not None:
                        self._amounts[at] = (self._amounts[at] or 0) + amount

    def add(self, durations_s: Sequence[float]) -> None:
        """Take durations alone.

        Raises
        ------
        ValueError
            If one is not finite.
        """
        for duration in durations_s:
            if not math.isfinite(duration):
                raise ValueError(f"`durations_s` must be finite, got {duration}")
        with self._lock:
            self._add([float(duration) for duration in durations_s])

    def snapshot(self) -> StreamingSnapshot:
        """Return the numbers so far."""
        with self._lock:
            n, empty = self._count, self._count == 0
            variance = self._squares / (n - 1) if n > 1 else None
            tokens_in, tokens_out, cost = self._amounts
            return StreamingSnapshot(
                outcomes={outcome: self._outcomes[outcome] for outcome in OUTCOMES},
                count=n,
                mean_s=None if empty else self._mean,
                variance=variance,
                stdev_s=None if variance is None else math.sqrt(variance),
                min_s=None if empty else self._least,
                max_s=None if empty else self._most,
                percentiles_s={
                    p: None if empty else float(self._digest.percentile(p)) for p in _PERCENTILES
                },
                input_tokens=None if tokens_in is None else int(tokens_in),
                output_tokens=None if tokens_out is None else int(tokens_out),
                cost_usd=cost,
            )

    def reset(self) -> None:
        """Forget everything."""
        with self._lock:
            self._clear()

    def merge(self, other: "StreamingMetrics") -> "StreamingMetrics":
        """Return the metrics of both streams together; neither changes."""
        merged = StreamingMetrics()
        for one in (self, other):
            with one._lock:
                merged._outcomes.update(one._outcomes)
                merged._join(one._count, one._mean, one._squares, one._least, one._most)
                merged._digest = merged._digest.merge(one._digest)
                for at, amount in enumerate(one._amounts):
                    if amount is not None:
                        merged._amounts[at] = (merged._amounts[at] or 0) + amount
        return merged

    def _clear(self) -> None:
        from fastdigest import TDigest

        self._outcomes: Counter[str] = Counter()
        self._count = 0
        self._mean = self._squares = 0.0
        self._least, self._most = math.inf, -math.inf
        self._digest = TDigest()
        self._amounts: list[float | None] = [None] * len(_AMOUNTS)
        self._inclusion = Inclusion(_AMOUNTS)

    def _add(self, durations: list[float]) -> None:
        if not durations:
            return
        n = len(durations)
        mean = math.fsum(durations) / n
        squares = math.fsum((value - mean) ** 2 for value in durations)
        self._join(n, mean, squares, min(durations), max(durations))
        self._digest.batch_update(durations)

    def _join(self, n: int, mean: float, squares: float, least: float, most: float) -> None:
        if n == 0:
            return
        total = self._count + n
        gap = mean - self._mean
        self._squares += squares + gap * gap * self._count * n / total
        self._mean = mean if self._count == 0 else self._mean + gap * n / total
        self._count = total
        self._least, self._most = min(self._least, least), max(self._most, most)
