"""Three or more systems: one test for all, then the pairs, corrected together."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench import anova, post_hoc, ranks, tables
from crucible_bench.arrays import Array, is_binary, item_means, scores
from crucible_bench.corrections import Method, correct
from crucible_bench.independent import compare
from crucible_bench.paired import compare_paired
from crucible_bench.records import Record
from crucible_bench.results import Comparison, Correction, Effect, TestResult, undefined
from crucible_bench.spans import span
from crucible_bench.verdicts import check_question, decide

Omnibus = Literal[
    "default", "welch_anova", "one_way_anova", "kruskal_wallis", "chi_square", "rm_anova",
    "friedman", "cochran_q",
]  # fmt: skip
PostHoc = Literal["default", "none", "games_howell", "tukey_hsd", "dunnett", "dunn", "pairwise"]
_INDEPENDENT = ("welch_anova", "one_way_anova", "kruskal_wallis", "chi_square")
_PAIRED = ("rm_anova", "friedman", "cochran_q")


@dataclass(frozen=True, slots=True, kw_only=True)
class MultipleComparison(Record):
    """Several systems compared: the test for all, and the pairs with corrected p-values.

    `omnibus` is None with clusters. Intervals of the pairs hold together, at the level they carry.
    """

    omnibus: TestResult | None
    robustness: tuple[TestResult, ...]
    effects: Mapping[str, Effect] = field(default_factory=dict)
    comparisons: tuple[Comparison, ...]
    post_hoc: str
    correction: Correction | None
    family: str
    control: str | None
    reasons: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def markdown(self) -> str:
        """Return the pairs as a Markdown table."""
        from crucible_bench.report import results_table

        return results_table(self.comparisons, format="markdown")

    def latex(self) -> str:
        """Return the pairs as a LaTeX table (booktabs)."""
        from crucible_bench.report import results_table

        return results_table(self.comparisons, format="latex")

    def _repr_html_(self) -> str:
        from crucible_bench.report import results_table

        return results_table(self.comparisons, format="html")


def compare_multiple(
    groups: Mapping[str, ArrayLike],
    *,
    paired: bool,
    test: Omnibus = "default",
    control: str | None = None,
    post_hoc: PostHoc = "default",
    correction: Method = "holm",
    family: str = "comparisons",
    confidence: float = 0.95,
    sesoi: float | None = None,
    higher_is_better: bool = True,
    cluster: ArrayLike | Mapping[str, ArrayLike] | None = None,
) -> MultipleComparison:
    """Compare two or more systems with a family of pairs.

    Parameters
    ----------
    groups : mapping of name to (items,) or (items, repeats) array
        Paired groups hold the same items in the same order.
    paired : bool
    test : str
        For all groups at once. "default": Welch's ANOVA or chi-square; paired, repeated-measures
        ANOVA (Greenhouse-Geisser) or Cochran's Q.
    control : str, optional
        Compare every other group with this one only.
    post_hoc : str
        For the pairs. "default": Games-Howell, Dunnett with a control, and "pairwise" where groups
        are paired, binary or clustered: the test of `compare` or `compare_paired`, corrected.
    correction : str
        Of "pairwise" and "dunn", see `correct`. The others are simultaneous by themselves.
    family : str
        What the pairs have in common; printed.
    cluster : labels (paired), or mapping of name to labels
        Pairs are then compared over clusters; there is no test for all.
    confidence, sesoi, higher_is_better
        As for `compare`. Intervals, and so verdicts, hold for all pairs together.

    Raises
    ------
    ValueError
        If groups or an argument cannot be used.

    Notes
    -----
    The pairs are compared whatever the omnibus p: their correction does not need its permission.

    Examples
    --------
    >>> plants = {
    ...     "ctrl": [4.17, 5.58, 5.18, 6.11, 4.50, 4.61, 5.17, 4.53, 5.33, 5.14],
    ...     "trt1": [4.81, 4.17, 4.41, 3.59, 5.87, 3.83, 6.03, 4.89, 4.32, 4.69],
    ...     "trt2": [6.31, 5.12, 5.54, 5.50, 5.37, 5.29, 4.92, 6.15, 5.80, 5.26],
    ... }
    >>> result = compare_multiple(plants, paired=False)
    >>> [round(c.p_adjusted, 4) for c in result.comparisons]
    [0.4746, 0.1129, 0.0237]
    """
    check_question(confidence, sesoi, "two-sided")
    if len(groups) < 2:
        raise ValueError(f"`groups` must hold at least 2 groups, got {len(groups)}")
    if control is not None and control not in groups:
        raise ValueError(f"`control` must be one of {', '.join(groups)}, got {control!r}")
    data = {name: item_means(scores(f"groups[{name!r}]", g)) for name, g in groups.items()}
    if paired and len({a.size for a in data.values()}) > 1:
        sizes = [a.size for a in data.values()]
        raise ValueError(f"`groups` must have the same items, got {sizes} scores")
    binary = is_binary(*data.values())
    clustered = cluster is not None
    omnibus, chosen = _omnibus(data, test, paired=paired, binary=binary, clustered=clustered)
    how = _how(post_hoc, paired=paired, binary=binary, clustered=clustered, control=control)
    pairs = [pair for pair in itertools.combinations(data, 2) if control is None or control in pair]
    if control is not None:
        pairs = [(control, b if a == control else a) for a, b in pairs]
    with span("compare_multiple", test=chosen, n_groups=len(data), n_comparisons=len(pairs)):
        family_of = _Family(data, pairs, paired, confidence, sesoi, higher_is_better, cluster)
        corrected = None
        if how == "none":
            comparisons: tuple[Comparison, ...] = ()
        elif how == "pairwise":
            comparisons, corrected = family_of.pairwise(correction, family)
        elif how == "dunn":
            comparisons, corrected = family_of.dunn(correction, family)
        else:
            comparisons = family_of.simultaneous(how, control)
    reasons = (
        f"{'the same items' if paired else 'independent groups'}, "
        f"{'0/1 scores' if binary else 'continuous scores'}: {chosen or 'no test for all'}, "
        f"then {how}",
    )
    return MultipleComparison(
        omnibus=omnibus,
        robustness=_beside(data, chosen, paired=paired, binary=binary),
        effects={} if omnibus is None else {e.name: e for e in omnibus.effects},
        comparisons=comparisons,
        post_hoc=how,
        correction=corrected,
        family=family,
        control=control,
        reasons=reasons,
        warnings=() if omnibus is None or omnibus.p_value is not None else omnibus.notes,
    )


def _omnibus(
    data: Mapping[str, Array], test: Omnibus, *, paired: bool, binary: bool, clustered: bool
) -> tuple[TestResult | None, str | None]:
    known = _PAIRED if paired else _INDEPENDENT
    if test not in ("default", *known):
        raise ValueError(f"`test` must be default or one of {', '.join(known)}, got {test!r}")
    if clustered:
        if test != "default":
            raise ValueError(f"`test` must be default with clusters, got {test!r}")
        return None, None
    chosen: str = test
    if test == "default":
        chosen = (
            ("cochran_q" if binary else "rm_anova")
            if paired
            else ("chi_square" if binary else "welch_anova")
        )
    if chosen in ("chi_square", "cochran_q") and not binary:
        raise ValueError(f"`test` must fit the scores: {chosen!r} needs scores of 0 and 1")
    if chosen == "chi_square":
        table = np.array([[float(a.sum()), a.size - float(a.sum())] for a in data.values()])
        if (table.sum(axis=0) == 0).any():
            df = (len(data) - 1.0,)
            flat = undefined("chi_square", "chi2", df=df, n=int(table.sum()),
                             notes=("no variation",))  # fmt: skip
            return flat, chosen
        return tables.chi_square(table), chosen
    functions = {
        "welch_anova": anova.welch_anova,
        "one_way_anova": anova.one_way_anova,
        "kruskal_wallis": ranks.kruskal_wallis,
        "rm_anova": anova.rm_anova,
        "friedman": ranks.friedman,
        "cochran_q": tables.cochran_q,
    }
    return functions[chosen](data), chosen


def _beside(
    data: Mapping[str, Array], chosen: str | None, *, paired: bool, binary: bool
) -> tuple[TestResult, ...]:
    if chosen is None or binary:
        return ()
    other = "friedman" if paired else "kruskal_wallis"
    if chosen == other:
        return ()
    return (ranks.friedman(data) if paired else ranks.kruskal_wallis(data),)


def _how(
    post_hoc: PostHoc, *, paired: bool, binary: bool, clustered: bool, control: str | None
) -> str:
    known = ("default", "none", "games_howell", "tukey_hsd", "dunnett", "dunn", "pairwise")
    if post_hoc not in known:
        raise ValueError(f"`post_hoc` must be one of {', '.join(known)}, got {post_hoc!r}")
    plain = not (paired or binary or clustered)
    if post_hoc == "default":
        if not plain:
            return "pairwise"
        return "games_howell" if control is None else "dunnett"
    if post_hoc in ("none", "pairwise"):
        return post_hoc
    if not plain:
        raise ValueError(
            f'`post_hoc` must be "none" or "pairwise" for paired, 0/1 or clustered scores, '
            f"got {post_hoc!r}"
        )
    if (post_hoc == "dunnett") != (control is not None):
        raise ValueError(f'`control` must be named for "dunnett", and only then, got {control!r}')
    return post_hoc


class _Family:
    """The pairs of one family, compared in one way."""

    def __init__(
        self,
        data: Mapping[str, Array],
        pairs: Sequence[tuple[str, str]],
        paired: bool,
        confidence: float,
        sesoi: float | None,
        higher_is_better: bool,
        cluster: ArrayLike | Mapping[str, ArrayLike] | None,
    ) -> None:
        self.data, self.pairs, self.paired = data, pairs, paired
        self.confidence, self.sesoi, self.better = confidence, sesoi, higher_is_better
        self.cluster = cluster
        if cluster is not None and paired == isinstance(cluster, Mapping):
            raise ValueError(
                "`cluster` must be one sequence of labels when paired, else a mapping of name to "
                "labels"
            )

    def _compare(
        self, pair: tuple[str, str], confidence: float, test: str = "default"
    ) -> Comparison:
        a, b = self.data[pair[0]], self.data[pair[1]]
        if self.paired:
            assert not isinstance(self.cluster, Mapping)
            return compare_paired(
                a, b, confidence=confidence, sesoi=self.sesoi, higher_is_better=self.better,
                labels=pair, cluster=self.cluster, robustness=False,
            )  # fmt: skip
        labels = None
        if isinstance(self.cluster, Mapping):
            labels = (self.cluster[pair[0]], self.cluster[pair[1]])
        return compare(
            a, b, test=test, confidence=confidence, sesoi=self.sesoi,  # type: ignore[arg-type]
            higher_is_better=self.better, labels=pair, cluster=labels, robustness=False,
        )  # fmt: skip

    def pairwise(
        self, method: Method, family: str
    ) -> tuple[tuple[Comparison, ...], Correction | None]:
        """Use the default test of each pair, and Bonferroni's level for the intervals."""
        alone = [self._compare(pair, self.confidence) for pair in self.pairs]
        level = 1 - (1 - self.confidence) / len(self.pairs)
        wide = [self._compare(pair, level) for pair in self.pairs]
        adjusted, corrected = _adjust(
            [c.p_value for c in alone], method, family, round(1 - self.confidence, 12)
        )
        return tuple(
            replace(c, p_adjusted=p, confidence_interval=w.confidence_interval, verdict=w.verdict)
            for c, w, p in zip(alone, wide, adjusted, strict=True)
        ), corrected

    def dunn(self, method: Method, family: str) -> tuple[tuple[Comparison, ...], Correction | None]:
        """Compare mean ranks of all groups; differences are shifts of the two groups alone."""
        tests = ranks.dunn(self.data, correction="none")
        found = []
        for pair in self.pairs:
            test, _ = tests[pair] if pair in tests else tests[pair[1], pair[0]]
            sign = 1.0 if pair in tests else -1.0
            found.append(
                replace(
                    self._compare(pair, self.confidence, "mann_whitney"), test="dunn",
                    statistic_name="z", statistic=sign * (test.statistic or 0.0), df=(),
                    p_value=test.p_value,
                )
            )  # fmt: skip
        adjusted, corrected = _adjust(
            [c.p_value for c in found], method, family, round(1 - self.confidence, 12)
        )
        return tuple(
            replace(c, p_adjusted=p) for c, p in zip(found, adjusted, strict=True)
        ), corrected

    def simultaneous(self, how: str, control: str | None) -> tuple[Comparison, ...]:
        """Use a method whose p-values and intervals hold for all pairs by themselves."""
        tests = self._tests(how, control, self.confidence)
        narrow = None
        if self.sesoi is not None:
            narrow = self._tests(how, control, 1 - 2 * (1 - self.confidence))
        found = []
        for pair in self.pairs:
            key = pair if pair in tests else (pair[1], pair[0])
            test = tests[key] if key == pair else _turned(tests[key])
            inner = None
            if narrow is not None:
                inner = (narrow[key] if key == pair else _turned(narrow[key])).interval
            verdict = None
            if self.sesoi is not None and inner is not None and test.interval is not None:
                verdict = decide(
                    test.interval, inner, sesoi=self.sesoi, higher_is_better=self.better
                )
            base = "welch_t" if how == "games_howell" else "student_t"
            alone = self._compare(pair, self.confidence, base)
            found.append(
                replace(
                    alone, test=how, statistic_name=test.statistic_name, df=test.df,
                    statistic=test.statistic, p_adjusted=test.p_value,
                    confidence_interval=test.interval, verdict=verdict,
                )
            )  # fmt: skip
        return tuple(found)

    def _tests(self, how: str, control: str | None, level: float) -> post_hoc.Pairs:
        if how == "dunnett":
            assert control is not None  # asked for before
            return post_hoc.dunnett(self.data, control=control, confidence=level)
        function = post_hoc.tukey_hsd if how == "tukey_hsd" else post_hoc.games_howell
        return function(self.data, confidence=level)


def _adjust(
    p_values: Sequence[float | None], method: Method, family: str, alpha: float
) -> tuple[list[float | None], Correction | None]:
    """Correct the p-values that exist; the family counts them alone."""
    known = [p for p in p_values if p is not None]
    if not known:
        return [None] * len(p_values), None
    corrected = correct(known, method=method, alpha=alpha, family=family)
    adjusted = iter(corrected.adjusted)
    return [None if p is None else next(adjusted) for p in p_values], corrected


def _turned(test: TestResult) -> TestResult:
    interval = test.interval
    if interval is not None and interval.low is not None and interval.high is not None:
        interval = replace(interval, low=-interval.high, high=-interval.low)
    return replace(test, estimate=-(test.estimate or 0.0), interval=interval)
