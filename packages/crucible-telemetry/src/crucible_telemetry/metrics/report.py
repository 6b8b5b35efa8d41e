"""The records of a metrics report, and how it reads as text."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentile:
    """A percentile in seconds; a bound that too few requests cannot give is None."""

    p: float
    value_s: float | None
    low_s: float | None
    high_s: float | None
    reliable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share of judged requests with its interval; all None if none was judged."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Durations of requests, exact. Standard deviation and variance divide by n - 1."""

    count: int
    mean_s: float | None
    median_s: float | None
    min_s: float | None
    max_s: float | None
    stdev_s: float | None
    variance: float | None
    percentiles: tuple[Percentile, ...]

    def percentile(self, p: float) -> Percentile:
        """Return one of 50, 90, 95, 99, 99.9.

        Raises
        ------
        ValueError
            If it is none of these.
        """
        for found in self.percentiles:
            if found.p == p:
                return found
        raise ValueError(f"`p` must be one of {PERCENTILES}, got {p}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Outcomes of requests. Rates are of ok + errors + timeouts; the others are not judged."""

    total: int
    ok: int
    errors: int
    timeouts: int
    cancelled: int
    unknown: int
    success_rate: Rate
    failure_rate: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The events of one name or one model."""

    latency: Latency
    reliability: Reliability


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What it cost, in US dollars.

    `total_usd` is over the `known` events, None without any; `unknown` counts events with tokens
    whose cost nobody stated, neither on themselves nor above or below. A request with such an
    event has no cost of its own in the mean and the median.
    """

    total_usd: float | None
    known: int
    unknown: int
    by_model: Mapping[str, float]
    per_request_mean_usd: float | None
    per_request_median_usd: float | None
    per_success_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Tokens, each call counted once; None where nothing was reported."""

    input: int | None
    output: int | None
    total: int | None
    per_request_mean: float | None
    by_model: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsReport:
    """What `calculate_metrics` returns.

    `coverage` is the share of requests whose outcome was judged. `estimated` says that events were
    sampled, so that counts and sums stand for more than was seen.
    """

    experiment_id: str
    confidence: float
    events: int
    latency: Latency
    reliability: Reliability
    error_types: Mapping[str, int]
    mtbf_s: float | None
    requests_per_failure: float | None
    throughput_per_s: float | None
    cost: Cost
    tokens: Tokens
    by_name: Mapping[str, Group]
    by_model: Mapping[str, Group]
    coverage: float | None
    estimated: bool
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return asdict(self)

    def to_markdown(self) -> str:
        """Return a table of the main numbers; what is unknown says so."""
        lines = ["| metric | value | interval |", "|---|---|---|"]
        lines += [f"| {name} | {value} | {interval} |" for name, value, interval in self._lines()]
        lines += [f"\n{warning}" for warning in self.warnings]
        return "\n".join(lines)

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    def _lines(self) -> Iterator[tuple[str, str, str]]:
        latency, judged = self.latency, self.reliability
        yield "requests", str(judged.total), ""
        yield "mean latency", _seconds(latency.mean_s), ""
        for found in latency.percentiles:
            yield f"P{found.p:g}", _seconds(found.value_s), _between(found)
        rate = judged.success_rate
        shown = "" if rate.low is None or rate.high is None else f"{rate.low:.3f}-{rate.high:.3f}"
        yield "success rate", "unknown" if rate.value is None else f"{rate.value:.3f}", shown
        yield "errors, timeouts", f"{judged.errors}, {judged.timeouts}", ""
        yield "cancelled, unknown", f"{judged.cancelled}, {judged.unknown}", ""
        known, unknown = self.cost.known, self.cost.unknown
        total = self.cost.total_usd
        yield "cost", "unknown" if total is None else f"{total:.6g} USD", f"{unknown} unknown"
        if known and self.cost.per_success_usd is not None:
            yield "cost per success", f"{self.cost.per_success_usd:.6g} USD", ""
        tokens = self.tokens
        for name, count in (("input tokens", tokens.input), ("output tokens", tokens.output)):
            yield name, "unknown" if count is None else str(count), ""


def _seconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g} s"


def _between(found: Percentile) -> str:
    if found.reliable:
        return f"{found.low_s:.4g}-{found.high_s:.4g} s"
    return "too few requests"
