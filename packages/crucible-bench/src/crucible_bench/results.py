"""The records that every function of this package returns."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Literal

Alternative = Literal["two-sided", "greater", "less"]


def plain(value: object) -> object:
    """Return records as mappings, and numbers that JSON cannot hold as None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class Record:
    """Turns a frozen dataclass into JSON-safe data that names its schema."""

    __slots__ = ()

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-safe mapping with a "schema" entry."""
        name = type(self).__name__.lower()
        data = plain(self)
        assert isinstance(data, dict)  # every record is a dataclass
        return {"schema": f"crucible.bench.{name}/1", **data}


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval(Record):
    """An interval at confidence `level`; a bound that does not exist is None (unbounded)."""

    low: float | None
    high: float | None
    level: float
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect(Record):
    """An effect size; `magnitude` is a convention, `reason` says why a value is None."""

    name: str
    value: float | None
    interval: Interval | None = None
    magnitude: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample(Record):
    """One arm of a comparison, described. `n` counts items."""

    label: str
    n: int
    mean: float
    sd: float | None
    median: float
    n_missing: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult(Record):
    """One hypothesis test; `min_p` is the smallest p-value that this design can give."""

    name: str
    statistic_name: str
    statistic: float | None
    df: tuple[float, ...]
    p_value: float | None
    alternative: Alternative
    method: Literal["exact", "asymptotic", "permutation", "mid-p"]
    n: int
    estimate: float | None = None
    interval: Interval | None = None
    min_p: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(Record):
    """What the interval allows to say, given the smallest effect size of interest (`sesoi`)."""

    outcome: Literal["superior", "equivalent", "inferior", "inconclusive"]
    sesoi: float
    difference_interval: Interval
    equivalence_interval: Interval
    excludes_zero: bool
    non_inferior: bool
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction(Record):
    """p-values of one family, corrected together."""

    method: str
    alpha: float
    family: str
    p_values: tuple[float, ...]
    adjusted: tuple[float, ...]
    rejected: tuple[bool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerResult(Record):
    """A sample size (in `unit`), the effect it is for, and the power at that size."""

    design: str
    effect: float
    n: int
    unit: str
    power: float
    alpha: float
    alternative: Alternative


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapResult(Record):
    """A bootstrap estimate with its interval."""

    estimate: float
    interval: Interval
    standard_error: float
    bias: float
    n_resamples: int
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantileResult(Record):
    """A quantile (percentile `q`) with a distribution-free interval."""

    q: float
    value: float
    interval: Interval
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(Record):
    """Treatment against control; every difference is treatment - control.

    `p_value` belongs to `test` and agrees with `confidence_interval` about zero, except where a
    warning says so. `n_pairs` is None for independent arms. `metadata` holds counts such as
    `discordant` for paired binary scores.
    """

    design: Literal["independent", "paired"]
    outcome: Literal["binary", "continuous"]
    control: Sample
    treatment: Sample
    difference: float
    confidence_interval: Interval | None
    test: str
    statistic_name: str
    statistic: float | None
    df: tuple[float, ...]
    p_value: float | None
    alternative: Alternative
    alpha: float
    effect_size: Effect
    effect_sizes: Mapping[str, Effect]
    reasons: tuple[str, ...]
    robustness: tuple[TestResult, ...] = ()
    verdict: Verdict | None = None
    p_adjusted: float | None = None
    n_pairs: int | None = None
    n_dropped: int = 0
    icc: float | None = None
    warnings: tuple[str, ...] = ()
    metadata: Mapping[str, float] = field(default_factory=dict)

    @property
    def significant(self) -> bool:
        """Whether the (corrected, if set) p-value is at most alpha."""
        p = self.p_value if self.p_adjusted is None else self.p_adjusted
        return p is not None and p <= self.alpha

    @property
    def agreement(self) -> bool | None:
        """Whether every robustness test is on the same side of alpha; None without any."""
        known = [t.p_value <= self.alpha for t in self.robustness if t.p_value is not None]
        if not known or self.p_value is None:
            return None
        return all(side == (self.p_value <= self.alpha) for side in known)

    def apa(self) -> str:
        """Return the result as a sentence in APA style."""
        from crucible_bench.report import apa

        return apa(self)

    def markdown(self) -> str:
        """Return the result as a Markdown table."""
        from crucible_bench.report import markdown

        return markdown(self)

    def latex(self) -> str:
        """Return the result as a LaTeX table (booktabs)."""
        from crucible_bench.report import latex

        return latex(self)

    def _repr_html_(self) -> str:
        from crucible_bench.report import html

        return html(self)
