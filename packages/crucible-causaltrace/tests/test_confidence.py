import pytest

from crucible_causaltrace import parse
from crucible_causaltrace.fields import read_confidence


# Rule 7 of the specification, row by row.
@pytest.mark.parametrize(
    ("stated", "value"),
    [
        ("0.85", 0.85), (".85", 0.85), ("1", 1.0), ("85%", 0.85), ("0,85", 0.85), ("8/10", 0.8),
        ("~0.9", 0.9), ("0.9 (high)", 0.9), (" 85 % ", 0.85), ("0", 0.0), ("100%", 1.0),
        ("8.5 / 10", 0.85), ("-0", 0.0), (",5", 0.5),
    ],
)  # fmt: skip
def test_a_stated_confidence_is_read(stated, value):
    assert read_confidence(stated) == (value, None)


@pytest.mark.parametrize("stated", ["85", "1.5", "-0.1", "101%", "12/10", "9" * 390, "1,000"])
def test_what_is_out_of_range_is_none_and_never_clamped(stated):
    assert read_confidence(stated) == (None, "confidence_out_of_range")


@pytest.mark.parametrize(
    "stated", ["high", "nan", "1e-1", "inf", "0.9 high", "3/0", "٠.٩", "0.9 (a (b))", "0." + "1" * 500]
)  # fmt: skip
def test_what_is_no_number_is_none(stated):
    assert read_confidence(stated) == (None, "confidence_not_numeric")


def test_nothing_stated_is_none():
    assert read_confidence("  ") == (None, "empty_confidence")


def test_an_issue_points_at_its_element():
    text = '<event type="synthesis"><confidence>high</confidence></event>'
    (issue,) = parse(text).issues
    assert text[issue.start : issue.end] == "<confidence>high</confidence>"
    assert issue.event_id == "e1"
