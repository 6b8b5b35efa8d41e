"""The question, written down and hashed before the first answer."""

import hashlib
import json
from dataclasses import dataclass, fields
from typing import Any, Literal

from crucible_bench.results import Alternative, Comparison, Record

_SCHEMA = "crucible.bench.preregistration/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation(Record):
    """One field of a plan that the analysis did not keep."""

    field: str
    planned: str | float | bool | None
    actual: str | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preregistration:
    """What is asked, of what, and how it will be decided.

    Publish `digest` before the data exist; `deviations` then says what was done otherwise.

    Parameters
    ----------
    hypothesis : str
    metric, unit : str
        Such as "latency_s" and "s".
    control, treatment : str
        Labels of the two arms.
    higher_is_better : bool
    design : {"paired", "independent"}
    test : str
        The name of the test, or "default".
    alternative : {"two-sided", "greater", "less"}
    alpha, confidence : float, in (0, 1)
    sesoi : float, > 0
        Smallest effect of interest, in `unit`.
    n_planned : int, >= 2
        Pairs, or items per arm.
    correction, family : str
        Of the p-value; "none" for a single question.
    stopping_rule : str
    exclusions, exploratory : tuple of str
        What will be left out, and what is looked at beside the question.

    Examples
    --------
    >>> plan = Preregistration(
    ...     hypothesis="hedging lowers P99", metric="latency_s", unit="s", control="plain",
    ...     treatment="hedged", higher_is_better=False, design="paired",
    ...     test="quantile_difference_99", alternative="two-sided", alpha=0.05, confidence=0.95,
    ...     sesoi=0.1, n_planned=2000, correction="none", family="primary",
    ...     stopping_rule="fixed n",
    ... )
    >>> plan.digest[:16]
    '8a3a3e011e4f14c5'
    """

    hypothesis: str
    metric: str
    unit: str
    control: str
    treatment: str
    higher_is_better: bool
    design: Literal["paired", "independent"]
    test: str
    alternative: Alternative
    alpha: float
    confidence: float
    sesoi: float
    n_planned: int
    correction: str
    family: str
    stopping_rule: str
    exclusions: tuple[str, ...] = ()
    exploratory: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("alpha", "confidence"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise ValueError(f"`{name}` must be in (0, 1), got {value}")
        if not 0 < self.sesoi < float("inf"):
            raise ValueError(f"`sesoi` must be > 0, got {self.sesoi}")
        if self.n_planned < 2:
            raise ValueError(f"`n_planned` must be >= 2, got {self.n_planned}")
        if self.design not in ("paired", "independent"):
            raise ValueError(f'`design` must be "paired" or "independent", got {self.design!r}')
        if self.alternative not in ("two-sided", "greater", "less"):
            raise ValueError(
                f'`alternative` must be "two-sided", "greater" or "less", got {self.alternative!r}'
            )
        for name in ("exclusions", "exploratory"):
            if isinstance(getattr(self, name), str):
                raise ValueError(f"`{name}` must be a tuple of strings, got a string")
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def digest(self) -> str:
        """SHA-256 of the plan as JSON with sorted keys, no spaces, UTF-8."""
        text = json.dumps(
            self.to_dict(),
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
            allow_nan=False,
        )
        return hashlib.sha256(text.encode()).hexdigest()

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-safe mapping with a "schema" entry."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        lists = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
        return {"schema": _SCHEMA, **lists}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Preregistration":
        """Return the plan that `to_dict` wrote.

        Raises
        ------
        ValueError
            If `data` is of another schema, or fields are missing or unknown.
        """
        if data.get("schema") != _SCHEMA:
            raise ValueError(f"`data` must be {_SCHEMA}, got {data.get('schema')!r}")
        values = {k: v for k, v in data.items() if k != "schema"}
        names = {f.name for f in fields(cls)}
        if set(values) != names:
            raise ValueError(
                f"`data` must have the fields of a plan, got {sorted(names ^ set(values))} missing "
                "or unknown"
            )
        return cls(**values)

    def deviations(self, comparison: Comparison) -> tuple[Deviation, ...]:
        """Return each planned field that the comparison did not keep, as planned and actual.

        Notes
        -----
        Compared are the labels, design, test ("default" allows whatever the data's default is),
        alternative, alpha, confidence, sesoi, the number of items, whether p was corrected, and
        items left out without a planned exclusion. What a comparison does not know (hypothesis,
        metric, stopping rule) is not compared.
        """
        interval, verdict = comparison.confidence_interval, comparison.verdict
        pairs: list[tuple[str, Any, Any]] = [
            ("control", self.control, comparison.control.label),
            ("treatment", self.treatment, comparison.treatment.label),
            ("design", self.design, comparison.design),
            ("alternative", self.alternative, comparison.alternative),
            ("alpha", self.alpha, comparison.alpha),
            ("sesoi", self.sesoi, None if verdict is None else verdict.sesoi),
        ]
        if self.test != "default" or comparison.selection.rule != "default":
            pairs.append(("test", self.test, comparison.test))
        if interval is not None:
            pairs.append(("confidence", self.confidence, interval.level))
        if comparison.n_pairs is not None:
            pairs.append(("n_planned", self.n_planned, comparison.n_pairs))
        else:
            arms = {comparison.control.n, comparison.treatment.n} - {self.n_planned}
            pairs.extend(("n_planned", self.n_planned, n) for n in sorted(arms))
        if (self.correction == "none") != (comparison.p_adjusted is None):
            actual = "none" if comparison.p_adjusted is None else "corrected"
            pairs.append(("correction", self.correction, actual))
        if comparison.n_dropped and not self.exclusions:
            pairs.append(("exclusions", "none", f"{comparison.n_dropped} items left out"))
        return tuple(
            Deviation(field=name, planned=planned, actual=actual)
            for name, planned, actual in pairs
            if not _same(planned, actual)
        )


def _same(planned: object, actual: object) -> bool:
    if isinstance(planned, float) and isinstance(actual, float):
        # alpha is often written as 1 - confidence
        return abs(planned - actual) <= 1e-12 * max(1.0, abs(planned))
    return planned == actual
