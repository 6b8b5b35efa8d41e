"""Every expectation: passing, failing, null, missing column, empty table (acceptance 17)."""

import json
import math
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible_datasets import load
from crucible_datasets.quality import Baseline, Suite, profile
from crucible_datasets.quality import expectations as e

DAYS = [datetime(2024, 1, 1) + timedelta(days=n) for n in range(6)]
NORMAL = [float(x) for x in np.random.default_rng(0).normal(size=200)]
SKEWED = [math.exp(3 * x) for x in NORMAL]
BASE = Baseline.fit({"c": NORMAL})

# expectation of column "c", values that pass, values that fail
CASES = {
    "column_exists": (e.column_exists("c"), [1], None),
    "column_type": (e.column_type("c", type="int"), [1, 2], [1, True]),
    "between": (e.between("c", low=0, high=3), [0, 3], [0, 4]),
    "in_set": (e.in_set("c", values=["x", "y"]), ["x", "y"], ["x", "z"]),
    "matches": (e.matches("c", pattern="a+"), ["a", "aa"], ["a", "ab"]),
    "not_null": (e.not_null("c"), [1, 2], [1, None]),
    "unique": (e.unique("c"), [1, 2], [1, 1]),
    "increasing": (e.increasing("c"), [1, 1, 2], [2, 1]),
    "strictly": (e.increasing("c", strict=True), [1, 2], [1, 1]),
    "decreasing": (e.decreasing("c"), [2, 1, 1], [1, 2]),
    "length_between": (e.length_between("c", low=1, high=2), ["a", "ab"], ["", "abc"]),
    "mean_between": (e.mean_between("c", low=1, high=2), [1, 2], [5, 6]),
    "median_between": (e.median_between("c", low=1, high=2), [0, 1, 9], [0, 3, 9]),
    "stdev_between": (e.stdev_between("c", high=1), [1, 2], [1, 9]),
    "quantile_between": (e.quantile_between("c", q=25, low=1.75, high=1.75), [1, 2, 3, 4], [5, 6]),
    "normal": (e.normal("c"), NORMAL, SKEWED),
    "label_balance": (e.label_balance("c", min_share=0.4), ["a", "b"], ["a", "a", "b"]),
    "label_cardinality": (e.label_cardinality("c", low=2, high=3), ["a", "b"], ["a"]),
    "no_missing": (e.no_missing(["c"]), [1, 2], [1, None]),
    "no_drift": (e.no_drift(BASE), NORMAL[:150], [x + 3 for x in NORMAL]),
    "timestamps_valid": (e.timestamps_valid("c"), ["2024-01-01", DAYS[0]], ["2024-13-01"]),
    "chronological": (e.chronological("c"), DAYS, DAYS[::-1]),
    "time_between": (e.time_between("c", start=DAYS[0], end="2024-01-09"), DAYS, [DAYS[0], "2025-01-01"]),
    "regular_intervals": (e.regular_intervals("c"), DAYS, [*DAYS, DAYS[-1] + timedelta(days=3)]),
    "email": (e.email("c"), ["a.b@example.org"], ["a@b", "no"]),
    "url": (e.url("c"), ["https://example.org/x?y"], ["ftp://example.org", "http://a b.c", "x"]),
    "uuid": (e.uuid("c"), ["123e4567-e89b-12d3-a456-426614174000"], ["123e4567"]),
    "format": (e.format("c", pattern="AA-9999"), ["ab-1234"], ["ab-123", "a1-1234"]),
    "length_distribution": (
        e.length_distribution("c", mean_between=(1, 2), stdev_between=(0, 1)), ["a", "ab"], ["a", "abcdefg"],
    ),
    "all_of": (e.all_of(e.between("c", low=0), e.not_null("c")), [1], [-1]),
    "any_of": (e.any_of(e.between("c", low=5), e.between("c", high=1)), [1], [3]),
    "at_least": (e.at_least(2, e.not_null("c"), e.between("c", low=0), e.unique("c")), [1, 1], [-1, -1]),
}  # fmt: skip
# about the whole table
WHOLE = {
    "column_count": (e.column_count(low=1, high=1), {"c": [1]}, {"c": [1], "d": [2]}),
    "row_count_between": (e.row_count_between(low=2), {"c": [1, 2]}, {"c": [1]}),
    "max_correlation": (
        e.max_correlation(), {"a": [1, 2, 3, 4], "b": [1, -1, 1, -1]}, {"a": [1, 2, 3], "b": [2, 4, 6]},
    ),
}  # fmt: skip


def one(expectation, table):
    return Suite([expectation]).run(table).results[0]


def test_every_expectation_has_its_cases():
    built = {expectation.name for expectation, _, _ in (CASES | WHOLE).values()}
    assert built == set(e.__all__)


@pytest.mark.parametrize("name", CASES)
def test_values_as_expected_pass_and_others_fail(name):
    expectation, good, bad = CASES[name]
    passing = one(expectation, {"c": good})
    assert passing.passed is True
    assert passing.n_failed == 0 or name in ("any_of", "at_least")
    if bad is not None:
        failing = one(expectation, {"c": bad})
        assert failing.passed is False
        assert failing.n_failed > 0 or name in ("label_cardinality",)


@pytest.mark.parametrize("name", WHOLE)
def test_tables_as_expected_pass_and_others_fail(name):
    expectation, good, bad = WHOLE[name]
    assert one(expectation, good).passed is True
    assert one(expectation, bad).passed is False


@pytest.mark.parametrize("name", CASES)
def test_a_missing_column_fails(name):
    expectation = CASES[name][0]
    found = one(expectation, {"other": [1]})
    assert found.passed is False
    assert "there is no column 'c'" in found.reason


@pytest.mark.parametrize("name", CASES | WHOLE)
def test_an_empty_table_fails(name):
    expectation = (CASES | WHOLE)[name][0]
    table = {"a": [], "b": []} if name in WHOLE else {"c": []}
    found = one(expectation, table)
    assert found.passed is False
    assert "the table is empty" in found.reason


@pytest.mark.parametrize("name", CASES)
def test_nothing_passes_because_all_is_null(name):
    found = one(CASES[name][0], {"c": [None, float("nan")]})
    if name == "column_exists":
        assert found.passed is True
    else:
        assert found.passed is not True
        assert found.reason or found.n_failed == 2


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"not_null", "no_missing", "no_drift"}))
def test_nulls_are_skipped(name):
    expectation, good, _ = CASES[name]
    if name in ("all_of", "at_least"):
        return  # they hold a not_null
    assert one(expectation, {"c": [None, *good]}).passed is True


def test_mostly_is_a_share_of_the_values_that_are_there():
    table = {"c": [1, 2, 99, None]}
    assert one(e.between("c", high=9, mostly=0.6), table).passed is True
    found = one(e.between("c", high=9, mostly=0.7), table)
    assert (found.passed, found.observed, found.n_checked, found.examples) == (
        False,
        2 / 3,
        3,
        (99,),
    )


def test_statistics_equal_numpys():
    rng = np.random.default_rng(1)
    values = rng.normal(size=57)
    table = {"c": list(values)}
    for expectation, expected in (
        (e.mean_between("c", low=0), values.mean()), (e.median_between("c", low=0), np.median(values)),
        (e.stdev_between("c", low=0), values.std(ddof=1)),
        (e.quantile_between("c", q=90, low=0), np.percentile(values, 90)),
    ):  # fmt: skip
        assert one(expectation, table).observed == pytest.approx(expected)


def test_correlations_are_over_complete_pairs_with_ranked_ties():
    from scipy import stats

    a, b = [1, 2, 2, 3, None, 9], [2, 1, 4, 4, 5, None]
    both = list(
        zip(*[(x, y) for x, y in zip(a, b, strict=True) if None not in (x, y)], strict=True)
    )
    found = one(e.max_correlation(method="spearman"), {"a": a, "b": b, "t": ["x"] * 6})
    assert found.observed == pytest.approx(stats.spearmanr(*both).statistic)
    assert found.reason == "largest: a and b"
    constant = one(e.max_correlation(), {"a": [1, 1, 1], "b": [1, 2, 3]})
    assert (constant.passed, constant.reason) == (None, "no two numeric columns that vary")


def test_what_cannot_be_computed_is_no_pass_and_says_why():
    for expectation, values, why in (
        (e.mean_between("c", low=0), ["x"], "not numeric: 'x'"), (e.normal("c"), [1, 1, 1], "undefined"),
        (e.normal("c"), [1, 2], "it takes 3 values"), (e.chronological("c"), ["x", "y"], "not a time"),
        (e.increasing("c"), [1], "fewer than two"), (e.increasing("c"), [1, "x"], "cannot be compared"),
        (e.mean_between("c", low=0), [1.0, math.inf], "not finite"),
    ):  # fmt: skip
        report = Suite([expectation]).run({"c": values})
        assert report.results[0].passed is None
        assert why in report.results[0].reason
        assert (report.passed, report.share_passed) == (False, 0.0)


def test_rows_may_be_unique_over_several_columns():
    table = {"a": [1, 1, 2], "b": [1, 2, 1]}
    assert one(e.unique(["a", "b"]), table).passed is True
    assert one(e.unique("a"), table).passed is False


def test_data_sets_and_arrow_tables_are_tables():
    import pyarrow

    demo = load("demo-choice")
    suite = Suite([e.unique("id"), e.label_balance("expected", min_share=0.25), e.not_null("topic"),
                   e.between("input_words", low=3)])  # fmt: skip
    assert suite.run(demo).passed
    assert Suite([e.between("c", high=2)]).run(pyarrow.table({"c": [1, 2, None]})).passed
    with pytest.raises(ValueError, match="columns of one length"):
        suite.run({"a": [1], "b": []})
    with pytest.raises(ValueError, match="a Dataset or an Arrow table"):
        suite.run(5)


def test_reports_are_json_and_harmless_markdown():
    report = Suite([e.in_set("c", values=["<b>"]), e.mean_between("c", low=0)]).run({"c": ["<i>|"]})
    assert json.loads(json.dumps(report.to_dict()))["share_passed"] == 0
    assert "<i>" not in report.markdown()
    assert "not computed" in report.markdown()


@pytest.mark.parametrize(
    ("make", "message"),
    [(lambda: e.between("c"), "must not both be None"), (lambda: e.between("c", low=2, high=1), "`low` must"),
     (lambda: e.between("c", low=0, mostly=0), "`mostly` must"), (lambda: e.column_type("c", type="x"), "`type`"),
     (lambda: e.normal("c", alpha=0), "`alpha`"), (lambda: e.quantile_between("c", q=101, low=0), "`q`"),
     (lambda: e.at_least(2, e.not_null("c")), "`k` must"), (lambda: e.all_of(), "`children`"),
     (lambda: Suite([]), "at least one"), (lambda: e.label_balance("c", min_share=0), "`min_share`"),
     (lambda: e.max_correlation(limit=2), "`limit`"), (lambda: e.max_correlation(method="x"), "`method`"),
     (lambda: e.time_between("c", start="x", end="y"), "ISO 8601"),
     (lambda: e.regular_intervals("c", tolerance=-1), "`tolerance`")],
)  # fmt: skip
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_profile_has_the_numbers_of_scipy_and_numpy():
    from scipy import stats

    values = [1.0, 2.0, 2.5, 3.0, 50.0]
    found = profile({"x": [*values, None], "t": ["a", "b", "a", "b", "a", "c"]})
    x, t = found.columns
    assert (x.count, x.missing, x.distinct, x.outliers) == (5, 1, 5, 1)
    assert x.skewness == pytest.approx(stats.skew(values, bias=False))
    assert x.stdev == pytest.approx(np.std(values, ddof=1))
    assert (x.min, x.max, x.median, x.type) == (1.0, 50.0, 2.5, "float")
    assert (t.type, t.top[0], t.mean) == ("str", ("a", 3), None)


def test_the_quality_score_is_the_mean_of_its_parts():
    table = {"a": [1, 1, None, 2], "b": [1, 1, 2, 3]}
    plain = profile(table)
    assert (plain.completeness, plain.validity, plain.uniqueness) == (7 / 8, None, 3 / 4)
    assert plain.quality_score == pytest.approx((7 / 8 + 3 / 4) / 2)
    full = profile(table, suite=Suite([e.not_null("a"), e.not_null("b")]))
    assert full.quality_score == pytest.approx((7 / 8 + 1 / 2 + 3 / 4) / 3)
    assert "validity 0.500" in full.markdown()
    json.dumps(full.to_dict())


@given(
    st.lists(
        st.one_of(st.none(), st.integers(), st.text(), st.floats(), st.lists(st.integers())),
        min_size=1,
    )
)
@settings(max_examples=50, deadline=None)
def test_no_column_makes_a_check_or_a_profile_raise(values):
    Suite([case[0] for case in CASES.values()]).run({"c": values})
    profile({"c": values})
