"""A list of expectations, checked together; nothing passes because there was nothing to check."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crucible_datasets.extras import need
from crucible_datasets.quality.table import Columns, Table, columns_of
from crucible_datasets.tracing import span


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectationResult:
    """What came of one expectation.

    Parameters
    ----------
    passed : bool, optional
        None = it could not be computed, with `reason`; that is no pass.
    observed : JSON value
        The share, statistic or value that was held against the expectation.
    n_checked, n_failed : int
        Values that were looked at, nulls left out, and how many of them were not as expected.
    examples : tuple
        Up to five of those.
    """

    name: str
    column: str | None
    passed: bool | None
    observed: Any = None
    n_checked: int = 0
    n_failed: int = 0
    examples: tuple[Any, ...] = ()
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        row = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**row, "examples": [repr(one) for one in self.examples]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """Something that ought to be true of a table; made by the functions in `expectations`."""

    name: str
    column: str | None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    check: Callable[[Columns], ExpectationResult]
    needs_scipy: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping of what is expected."""
        return {"name": self.name, "column": self.column, "parameters": dict(self.parameters)}


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityReport:
    """Results of a suite, in its order."""

    passed: bool
    share_passed: float
    results: tuple[ExpectationResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return {
            "schema": "crucible.datasets.quality/1", "passed": self.passed,
            "share_passed": self.share_passed, "results": [r.to_dict() for r in self.results],
        }  # fmt: skip

    def markdown(self) -> str:
        """Return a table with one line per expectation."""
        from crucible_datasets.rendering import cell

        lines = [
            "| expectation | column | passed | observed | failed | why |",
            "|---|" + "---|" * 5,
        ]
        for r in self.results:
            said = {True: "yes", False: "no", None: "not computed"}[r.passed]
            observed = f"{r.observed:.4g}" if isinstance(r.observed, float) else str(r.observed)
            shown = [r.name, r.column or "", said, observed, f"{r.n_failed} of {r.n_checked}"]
            lines.append("| " + " | ".join(map(cell, [*shown, r.reason or ""])) + " |")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Suite:
    """Expectations that belong together.

    Parameters
    ----------
    expectations : sequence of Expectation, at least one
    """

    expectations: Sequence[Expectation]

    def __post_init__(self) -> None:
        object.__setattr__(self, "expectations", tuple(self.expectations))
        if not self.expectations:
            raise ValueError("`expectations` must hold at least one, got none")

    def run(self, table: Table) -> QualityReport:
        """Check all expectations.

        Raises
        ------
        MissingExtraError
            If one of them needs the extra `quality` and it is not installed.
        ValueError
            If it is no table, or its columns differ in length.
        """
        if any(one.needs_scipy for one in self.expectations):
            need("scipy.stats", extra="quality", feature="this check")
        with span("quality", n=len(self.expectations)) as here:
            columns = columns_of(table)
            results = tuple(one.check(columns) for one in self.expectations)
            passed = sum(result.passed is True for result in results)
            here.set(passed=passed)
        return QualityReport(
            passed=passed == len(results), share_passed=passed / len(results), results=results
        )
