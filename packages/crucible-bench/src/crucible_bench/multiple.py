"""Three or more systems: one test for all, then the pairs, corrected together."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from crucible_bench import anova, ranks, tables
from crucible_bench.arrays import Array, is_binary
from crucible_bench.corrections import Method
from crucible_bench.families import Family
from crucible_bench.group_inputs import Scores, checked_groups
from crucible_bench.records import Record
from crucible_bench.results import Comparison, Correction, Effect, TestResult, undefined
from crucible_bench.spans import note, span
from crucible_bench.verdicts import as_seed, check_question

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
    n_dropped: int = 0
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
    groups: Mapping[str, Scores],
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
    cluster: ArrayLike | Mapping[str, Any] | None = None,
    ids: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    missing: Literal["raise", "drop"] = "raise",
    nan: Literal["raise", "omit"] = "raise",
    n_resamples: int = 2_000,
    rng: int | np.random.Generator | None = None,
) -> MultipleComparison:
    """Compare two or more systems with a family of pairs.

    Parameters
    ----------
    groups : mapping of name to (items,) or (items, repeats) array, or to mapping of id to score
        Paired arrays hold the same items in the same order; mappings are matched by id.
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
        Pairs are then compared over clusters; there is no test for all. Paired mappings of scores
        take a mapping of item id to label.
    ids : sequence of str (paired), or mapping of name to one
        An id that repeats raises unless clusters are named, and so does one in two independent
        groups.
    missing : {"raise", "drop"}
        What to do with items that not every paired mapping has.
    nan : {"raise", "omit"}
        "omit" leaves out scores that are NaN; if paired, items with one in any group, from all
        comparisons alike. `n_dropped` counts them.
    n_resamples, rng
        Of the bootstrap intervals of Kendall's W and of epsilon squared of ranks, which exist where
        `rng` is given.
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
    if control is not None and control not in groups:
        raise ValueError(f"`control` must be one of {', '.join(groups)}, got {control!r}")
    checked = checked_groups(
        groups, paired=paired, cluster=cluster, ids=ids, missing=missing, nan=nan
    )
    data, seed = checked.means, as_seed(rng)
    binary = is_binary(*data.values())
    clustered = cluster is not None
    chosen = _chosen(test, paired=paired, binary=binary, clustered=clustered)

    def ask(name: str) -> TestResult:
        return _test(name, data, confidence, n_resamples, seed)

    how = _how(post_hoc, paired=paired, binary=binary, clustered=clustered, control=control)
    pairs = [pair for pair in itertools.combinations(data, 2) if control is None or control in pair]
    if control is not None:
        pairs = [(control, b if a == control else a) for a, b in pairs]
    with span("compare_multiple", test=chosen, n_groups=len(data),
              n_comparisons=len(pairs)) as current:  # fmt: skip
        family_of = Family(checked, pairs, paired, confidence, sesoi, higher_is_better)
        omnibus = None if chosen is None else ask(chosen)
        corrected = None
        if how == "none":
            comparisons: tuple[Comparison, ...] = ()
        elif how == "pairwise":
            comparisons, corrected = family_of.pairwise(correction, family)
        elif how == "dunn":
            comparisons, corrected = family_of.dunn(correction, family)
        else:
            comparisons = family_of.simultaneous(how, control)
        warnings = () if omnibus is None or omnibus.p_value is not None else omnibus.notes
        note(current, p_value=None if omnibus is None else omnibus.p_value, warnings=len(warnings))
    reasons = (
        f"{'the same items' if paired else 'independent groups'}, "
        f"{'0/1 scores' if binary else 'continuous scores'}: {chosen or 'no test for all'}, "
        f"then {how}",
    )
    return MultipleComparison(
        omnibus=omnibus,
        robustness=tuple(ask(name) for name in _beside(chosen, paired=paired, binary=binary)),
        effects={} if omnibus is None else {e.name: e for e in omnibus.effects},
        comparisons=comparisons,
        post_hoc=how,
        correction=corrected,
        family=family,
        control=control,
        n_dropped=checked.n_dropped,
        reasons=reasons,
        warnings=warnings,
    )


def _chosen(test: Omnibus, *, paired: bool, binary: bool, clustered: bool) -> str | None:
    """Return the name of the test for all groups; None with clusters."""
    known = _PAIRED if paired else _INDEPENDENT
    if test not in ("default", *known):
        raise ValueError(f"`test` must be default or one of {', '.join(known)}, got {test!r}")
    if clustered:
        if test != "default":
            raise ValueError(f"`test` must be default with clusters, got {test!r}")
        return None
    if test in ("chi_square", "cochran_q") and not binary:
        raise ValueError(f"`test` must fit the scores: {test!r} needs scores of 0 and 1")
    if test != "default":
        return test
    if paired:
        return "cochran_q" if binary else "rm_anova"
    return "chi_square" if binary else "welch_anova"


def _test(
    name: str, data: Mapping[str, Array], confidence: float, n_resamples: int, seed: int | None
) -> TestResult:
    if name == "chi_square":
        table = np.array([[float(a.sum()), a.size - float(a.sum())] for a in data.values()])
        if (table.sum(axis=0) == 0).any():
            df = (len(data) - 1.0,)
            return undefined(name, "chi2", df=df, n=int(table.sum()), notes=("no variation",))
        return tables.chi_square(table, confidence=confidence)
    of_means = {
        "welch_anova": anova.welch_anova,
        "one_way_anova": anova.one_way_anova,
        "rm_anova": anova.rm_anova,
    }
    if name in of_means:
        return of_means[name](data, confidence=confidence)
    of_ranks = {
        "kruskal_wallis": ranks.kruskal_wallis,
        "friedman": ranks.friedman,
        "cochran_q": tables.cochran_q,
    }
    return of_ranks[name](data, confidence=confidence, n_resamples=n_resamples, rng=seed)


def _beside(chosen: str | None, *, paired: bool, binary: bool) -> tuple[str, ...]:
    """Return the names of other tests of the same question."""
    if chosen is None or binary:
        return ()
    other = "friedman" if paired else "kruskal_wallis"
    return () if chosen == other else (other,)


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
