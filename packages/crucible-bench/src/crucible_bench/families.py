"""All pairs of several groups, compared in one way and corrected together."""

from collections.abc import Sequence
from dataclasses import replace

from crucible_bench import post_hoc, ranks
from crucible_bench.corrections import Method, correct
from crucible_bench.group_inputs import Groups
from crucible_bench.independent import compare
from crucible_bench.paired import compare_paired
from crucible_bench.results import Comparison, Correction, TestResult
from crucible_bench.verdicts import decide


class Family:
    """The pairs of one family, compared in one way."""

    def __init__(
        self,
        groups: Groups,
        pairs: Sequence[tuple[str, str]],
        paired: bool,
        confidence: float,
        sesoi: float | None,
        higher_is_better: bool,
    ) -> None:
        self.data, self.cluster, self.means = groups.scores, groups.cluster, groups.means
        self.pairs, self.paired = pairs, paired
        self.confidence, self.sesoi, self.better = confidence, sesoi, higher_is_better

    def _compare(
        self, pair: tuple[str, str], confidence: float, test: str = "default"
    ) -> Comparison:
        a, b = self.data[pair[0]], self.data[pair[1]]
        if self.paired:
            assert not isinstance(self.cluster, dict)  # one sequence of labels, if any
            return compare_paired(
                a, b, confidence=confidence, sesoi=self.sesoi, higher_is_better=self.better,
                labels=pair, cluster=self.cluster, robustness=False,
            )  # fmt: skip
        labels = None
        if isinstance(self.cluster, dict):
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
        tests = ranks.dunn(self.means, correction="none")
        found = []
        for pair in self.pairs:
            test, _ = tests[pair] if pair in tests else tests[pair[1], pair[0]]
            z = test.statistic
            if z is not None and pair not in tests:
                z = -z
            found.append(
                replace(
                    self._compare(pair, self.confidence, "mann_whitney"), test="dunn",
                    statistic_name="z", statistic=z, df=(), p_value=test.p_value,
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
            return post_hoc.dunnett(self.means, control=control, confidence=level)
        function = post_hoc.tukey_hsd if how == "tukey_hsd" else post_hoc.games_howell
        return function(self.means, confidence=level)


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
    estimate = None if test.estimate is None else -test.estimate
    return replace(test, estimate=estimate, interval=interval)
