"""The records that every function of this package returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from crucible_bench.records import Record as Record
from crucible_bench.records import plain as plain

if TYPE_CHECKING:
    from crucible_bench.bayes import Posterior

Alternative = Literal["two-sided", "greater", "less"]


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
    """One arm of a comparison, described.

    `n` counts items, or observations where clusters are named; `n_clusters` is None without.
    """

    label: str
    n: int
    mean: float
    sd: float | None
    median: float
    n_missing: int = 0
    n_clusters: int | None = None


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
    effects: tuple[Effect, ...] = ()
    notes: tuple[str, ...] = ()


def undefined(
    name: str,
    statistic_name: str,
    *,
    n: int,
    notes: tuple[str, ...],
    df: tuple[float, ...] = (),
    alternative: Alternative = "two-sided",
    estimate: float | None = None,
    p_value: float | None = None,
) -> TestResult:
    """Return the result of a test whose statistic does not exist; the notes say why."""
    return TestResult(
        name=name, statistic_name=statistic_name, statistic=None, df=df, p_value=p_value,
        alternative=alternative, method="asymptotic", n=n, estimate=estimate, notes=notes,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection(Record):
    """Which test was used, who decided, and why, one sentence each."""

    test: str
    rule: Literal["default", "requested", "auto"]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic(Record):
    """A check of an assumption. It stands beside the result and never chooses the test."""

    name: str
    statistic: float | None
    p_value: float | None
    finding: Literal["ok", "doubtful", "undecidable"]
    note: str


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
class BootstrapResult(Record):
    """A bootstrap estimate with its interval; `distribution` is kept only when asked for."""

    estimate: float
    interval: Interval
    standard_error: float
    bias: float
    n_resamples: int
    method: str
    distribution: tuple[float, ...] | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(Record):
    """Treatment against control; every difference is treatment - control.

    `p_value` belongs to `test` and agrees with `confidence_interval` about zero, except where a
    warning says so. `n_pairs` is None for independent arms; `icc` is None where nothing repeats.
    `metadata` holds counts such as `discordant` for paired binary scores.
    """

    design: Literal["independent", "paired"]
    outcome: Literal["binary", "continuous"]
    estimand: Literal["mean", "dominance"]
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
    selection: Selection
    diagnostics: tuple[Diagnostic, ...] = ()
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

    @property
    def interpretation(self) -> str:
        """One paragraph that says what was found, and what it does not say."""
        from crucible_bench.interpretation import interpret

        return interpret(self)

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

    def detectable_effect(self, *, power: float = 0.80) -> float | None:
        """Return the smallest difference that data like these would show with this power.

        In the units of `difference`; None where the data do not say, as without variation. It
        replaces "observed power", which is the p-value in other words.
        """
        from crucible_bench.interpretation import detectable

        return detectable(self, power=power)

    def bayes(self, *, rope: float | None = None, prior: float = 0.5) -> "Posterior":
        """Return the posterior of the difference, of 0/1 scores without clusters.

        Parameters
        ----------
        rope : float, > 0, optional
            Half-width of the region of practical equivalence.
        prior : float, > 0
            Of the Beta or Dirichlet distribution before the data, see `crucible_bench.bayes`.

        Raises
        ------
        ValueError
            If scores are not only 0 and 1, or clusters were named.
        """
        from crucible_bench.interpretation import posterior

        return posterior(self, rope=rope, prior=prior)

    def _repr_html_(self) -> str:
        from crucible_bench.report import html

        return html(self)
