import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_ensemble.normalise import (
    NORMALISERS,
    CosineClusters,
    NumericTolerance,
    boolean,
    code,
    exact,
    json_value,
    mcq,
    numeric,
    text,
)


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
        # What the rules imply.
        ("5\N{MINUS SIGN}3", "3"),
        ("1/3", "1/3"),
        ("", None),
        ("10 - 4 = 6", "6"),
        ("x = 5 - 3", "3"),
        ("(4)-2", "2"),
        ("either 3,4 or 5", "5"),
        ("3,4", "4"),
        ("1,234,567.00", "1234567"),
        ("12,34", "34"),
        ("1e-3", "0.001"),
        ("1/0", None),
        ("A: 7 apples\nnot 8", "7"),
        ("**Answer:** 42 of 50", "42"),
        (r"so \boxed{12} and \boxed{\text{about } 13}", "13"),
        (r"\boxed{5", "5"),
        ("gpt4 and 3rd and 7kg", None),
        ("$5.", "5"),
        ("Total: €1,000", "1000"),
        ("½", "0.5"),
        ("it costs .5 dollars", "0.5"),
        ("+7", "7"),
        ("९", "9"),
        ("1" * 400, None),
        ("#### none\n#### 4\n", "4"),
    ],
)
def test_the_right_number_is_read(said, key):
    assert numeric(said) == key


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ("B", "B"), ("b", "B"), ("(C)", "C"), ("C.", "C"), (" **D** ", "D"), ("E", None),
        (r"I think \boxed{A} or \boxed{B}", "B"),
        ("The answer is C", "C"), ("Answer: (B) because A is wrong", "B"),
        ("The answer is not A", None), ("The answer is A because", None),
        ("the answer is A. B is wrong", "A"), ("Answer: d", "D"),
        ("answer is option C", "C"), ("It must be C, surely", "C"),
        ("A or B", None), ("A dog is B", "B"), ("nothing", None), ("", None),
        ("The answer is B. No, the answer is C.", "C"),
        ("The answer is not A, the answer is D", "D"),
    ],
)  # fmt: skip
def test_the_right_letter_is_read(said, key):
    assert mcq()(said) == key


def test_a_choice_is_recognised_by_its_text():
    read = mcq(choices=["a red house", "a house", "water", "wine"])
    assert read("Clearly it is Water.") == "C"
    assert read("water or wine") is None
    assert read("waterproof") is None
    assert mcq(26)("Z") == "Z"
    with pytest.raises(ValueError, match="`options` must be"):
        mcq(1)


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ("Yes", "true"), ("True.", "true"), ("No, it is not", "false"), ("FALSE", "false"),
        ("correct", "true"), ("Incorrect", "false"), ("yesterday", None), ("not true", "false"),
        ("untrue", "false"), ("not false", "true"), ("Not correct.", "false"),
        ("The answer is yes.", "true"), ("Answer: no", "false"), ("answer: not true", "false"),
        ("Yes and no", None), ("true or false?", None), ("yes/no", None), ("maybe yes", None),
        ("Yes, probably", None), ("I cannot say", None), ("", None), ("no way", "false"),
        ("The answer is unclear", None), ("Yes. The answer is no.", "false"),
        ("nothing is true", None),
    ],
)  # fmt: skip
def test_the_right_truth_value_is_read(said, key):
    assert boolean(said) == key


def test_programs_are_compared_by_their_syntax():
    assert (
        code("x=1  # one") == code("```python\nx = 1\n```") == code("Here:\n```\nx   =   1\n```\n")
    )
    assert code("```\nx = 1\n```\nbetter:\n```py\nx = 2\n```") == code("x=2")
    assert code("x = 1") != code("x = 2")
    for broken in ("x =", "", "# nothing", "```\nx = (\n```", "\0"):
        assert code(broken) is None
    assert code("~~~\nx = 1\n~~~") == code("x = 1")


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ('{"b": 1.0, "a": [2, 3.5]}', '{"a":[2,3.5],"b":1}'),
        ('Sure: {"a": 1} and then {"a": 2}.', '{"a":2}'),
        ('```json\n{"a": 1}\n```\n{"a": 2}', '{"a":1}'),
        ('{"a": 1, "a": 2}', None),
        ('{"a": NaN}', None),
        ("Infinity", None),
        ("[1, 2.0]", "[1,2]"),
        ('He said {oops. {"a": "}"}', '{"a":"}"}'),
        ('"text"', '"text"'),
        ("no json", None),
        ("1e400", None),
        ('{"a": 1' * 40, None),
        ("true", "true"),
    ],
)
def test_json_is_read_and_made_canonical(said, key):
    assert json_value(said) == key


def test_words_are_folded():
    assert text(' "Paris."\n') == "paris"
    assert text("ﬁne  \t Straße") == "fine strasse"
    assert text(" .. ") is None
    assert exact("") is None
    assert exact(" x ") == " x "
    assert NORMALISERS["none"] is exact
    assert NORMALISERS["lowercase_trim"] is text


ALL = sorted(set(NORMALISERS) - {"none", "lowercase_trim"})


@pytest.mark.parametrize("name", ALL)
@given(st.text())
def test_no_string_makes_a_normaliser_raise(name, said):
    key = NORMALISERS[name](said)
    assert key is None or (isinstance(key, str) and key)


@pytest.mark.parametrize("name", ALL)
@given(st.text(alphabet="0123456789,.-+/eE$%#*ABCDabcd\\boxed{}[]\"' \n:`~()answerinotf"))
def test_no_string_of_the_marks_they_look_for_makes_a_normaliser_raise(name, said):
    key = NORMALISERS[name](said)
    assert key is None or (isinstance(key, str) and key)


HARD = [
    "1,111", "answer is ", "#### ", "\\boxed{", "\\boxed{1}", "(", "{", "[", '"', '{"a":', "A ", "-",
    "1/", "1e", ".5", "```\n", "not ", "$", "9", "\\frac{1}{2}", "answer is A b ", "x ", "A: ", "~~~\n",
    "1.", "\n", "*", " ", "yes or ", "def f():\n ", "1+", "1,1",
]  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_time_grows_no_faster_than_the_text(name):
    read = NORMALISERS[name]
    for piece in HARD:
        short, long = (piece * (size // len(piece)) + "x" for size in (10_000, 100_000))

        def took(said):
            best = 9.0
            for _ in range(2):
                began = time.process_time()
                read(said)
                best = min(best, time.process_time() - began)
            return best

        # Ten times the text: ten times the time, and a wide margin. Quadratic would be a hundred.
        assert took(long) < 35 * took(short) + 0.15, (name, piece)


def test_numbers_within_a_tolerance_are_one_answer():
    same = NumericTolerance(1e-3)
    assert same(["1000", "1000.5", "1002", "x", "x"])[:2] == [0, 0]
    numbers = same(["1000", "1000.5", "1002", "x"])
    assert len(set(numbers)) == 3
    # Complete linkage: no chain from 1 to 1.0018 through 1.0009.
    assert len(set(same(["1", "1.0009", "1.0018"]))) == 2
    assert same.medoid(["1", "1.0004", "1.0009"]) == "1.0004"


@given(st.permutations(["1", "1.0000001", "2", "2.0000001", "x", "1/3"]))
def test_clusters_do_not_depend_on_the_order_of_keys(keys):
    found = dict(zip(keys, NumericTolerance()(keys), strict=True))
    assert found["1"] == found["1.0000001"] != found["2"] == found["2.0000001"]
    assert len(set(found.values())) == 4


def test_texts_that_point_the_same_way_are_one_answer():
    vectors = {"cat": [1, 0], "kitten": [0.95, 0.1], "dog": [0, 1], "puppy": [0.1, 0.9]}
    same = CosineClusters(lambda keys: [vectors[k] for k in keys], threshold=0.9)
    found = dict(zip(vectors, same(list(vectors)), strict=True))
    assert found["cat"] == found["kitten"] != found["dog"] == found["puppy"]
    with pytest.raises(ValueError, match="finite vector"):
        CosineClusters(lambda keys: [[0, 0] for _ in keys])(["a", "b"])
