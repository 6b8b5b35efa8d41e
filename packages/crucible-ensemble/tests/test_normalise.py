import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_ensemble.normalise import numeric, text


@pytest.mark.parametrize(
    ("said", "key"),
    [
        # The table of the specification.
        ("The answer is 1,234.50 dollars.", "1234.5"),
        (r"\boxed{\frac{3}{4}}", "0.75"),
        ("about -3.0 degrees", "-3"),
        ("it is 3-5", "5"),
        ("#### 72\nBut wait 80", "72"),
        ("Answer: 50%", "50"),
        ("2e3", "2000"),
        ("1/2", "0.5"),
        ("0.50", "0.5"),
        ("v2 model gives 9.", "9"),
        ("The answer is: $-12.", "-12"),
        ("from 10 to -4", "-4"),
        ("I do not know", None),
        ("5\N{MINUS SIGN}3", "3"),
        ("1/3", "1/3"),
        ("", None),
    ],
)
def test_the_right_number_is_read(said, key):
    assert numeric(said) == key


@given(st.text())
def test_no_string_makes_a_normaliser_raise(said):
    for normalise in (numeric, text):
        key = normalise(said)
        assert key is None or key


def test_words_are_folded():
    assert text(' "Paris."\n') == "paris"
    assert text(" .. ") is None
