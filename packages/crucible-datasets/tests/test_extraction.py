import re
import unicodedata
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_datasets import evaluate, extract, load
from crucible_datasets.items import TASKS
from crucible_datasets.metrics.exact import is_right

CITIES = ("London", "Paris", "Rome", "Berlin")


@pytest.mark.parametrize(
    ("text", "value"),
    [  # the specification's table, 3.4
        ("#### 1,080", 1080), ("The answer is 1,234.50.", Fraction("1234.5")),
        (r"\boxed{\frac{3}{4}}", Fraction(3, 4)), ("20-5 = 15", 15), ("It costs $-10", -10),
        ("5\N{MINUS SIGN}3", 3), ("\N{MINUS SIGN}5", -5), ("v2.0 of GPT-4", 4),
        ("#### 5\nso the answer is 7", 5), ("The answer is: **42**", 42), ("12,5", 5),
        ("no number here", None),
        # beyond it
        (r"so \boxed{\text{about } 7} or \boxed{8}", 8), (r"\boxed{{2}", 2), ("A: 7\n(not 8)", 7),
        ("The answer is 3/4", Fraction(3, 4)), ("1e3", 1000), ("-$5", -5), ("a cost of .5", Fraction(1, 2)),
        ("Answer:\n12 apples in 3 bags", 12), ("9" * 5000, None), (r"-\frac{1}{2}", 2),
    ],
)  # fmt: skip
def test_numbers_are_read(text, value):
    assert extract(text, task="math").value == value


LETTERS = {
    "B": ["B", "b.", "Answer: B) Paris", "Answer: (b)", "A good question. The correct option is B.",
          "Paris", "The answer is A.\nWait, the answer is B."],
    "C": ["(C)", r"\boxed{C}", "I think A is wrong, the answer is C",
          "Option A fails. Option B fails. So the answer is C."],
    "D": ["The answer is D.", "The correct answer is option D", "D. Berlin"],
    "A": ["**Answer: A**", "A", "My answer: \N{FULLWIDTH LATIN CAPITAL LETTER A}"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("letter", "text"), [(k, t) for k, texts in LETTERS.items() for t in texts]
)
def test_the_chosen_letter_is_read(letter, text):
    found = extract(text, task="multiple_choice", choices=CITIES)
    assert found.value == letter
    assert not found.ambiguous
    if found.span is not None:  # it leads back to the letter or the choice
        start, end = found.span
        assert text[start:end].upper() in (letter, CITIES["ABCD".index(letter)].upper())


@pytest.mark.parametrize(
    ("text", "ambiguous"),
    [("A) 3\nB) 4\nC) 5", True), ("The answer is not B, it is D", True),
     ("It is Paris, not Rome.", True), ("C or D", True), ("A cat sat", False), ("E", False), ("", False),
     ("The answer is A or B", True)],
)  # fmt: skip
def test_no_letter_is_guessed(text, ambiguous):
    found = extract(text, task="multiple_choice", choices=CITIES)
    assert (found.value, found.ambiguous) == (None, ambiguous)


@pytest.mark.parametrize(
    ("text", "value"),
    [("Yes, it is.", True), ("no", False), ("**True**", True), ("False.", False),
     ("That is not true.", False), ("This is incorrect", False), ("It is correct", True),
     ("It is true, not false", None), ("Perhaps", None), ("The answer is: no", False), ("", None)],
)  # fmt: skip
def test_truth_is_read(text, value):
    assert extract(text, task="boolean").value is value


@pytest.mark.parametrize(
    ("text", "value"),
    [("SUPPORTS", "SUPPORTS"), ("The evidence refutes the claim.", "REFUTES"),
     ("There is not enough information.", "NOT ENOUGH INFO"), ("insufficient", "NOT ENOUGH INFO"),
     ("cannot be determined", "NOT ENOUGH INFO"), ("neutral", "NOT ENOUGH INFO"),
     ("It may support or contradict. Verdict: REFUTES", "REFUTES"), ("entails", "SUPPORTS"),
     ("It does not support the claim", None), ("supports and contradicts", None), ("maybe", None),
     ("Label: true", "SUPPORTS")],
)  # fmt: skip
def test_a_claims_label_is_read(text, value):
    assert extract(text, task="claim").value == value


def test_code_is_the_last_python_block():
    text = "First:\n```python\na = 1\n```\nthen\n```python\nb = 2\n```\nand\n```\nshell\n```\n"
    assert extract(text, task="code").value == "b = 2\n"
    assert extract("```\nx\n```", task="code").value == "x\n"
    assert extract("    return 1\n", task="code").value == "    return 1\n"
    assert extract("```python\ncut off", task="code").value == "cut off"
    assert extract(" \n", task="code").value is None


@pytest.mark.parametrize(
    ("value", "expected", "right"),
    [("-5", "5", False), ("3.14", "314", False), ("10050", "10000", False), ("1,000", "1000", True),
     ("1e3", "1000", True), ("0.50", "0.5", True), ("0.75", "3/4", True), ("18", 18, True)],
)  # fmt: skip
def test_numbers_are_equal_or_they_are_not(value, expected, right):
    # the specification's table, 3.5
    assert is_right(extract(value, task="math").value, expected, task="math") is right


def test_gsm8ks_own_answers_are_read(gsm8k_test, gsm8k_train, benchmark_data):
    import json

    agree = total = marked = 0
    for split in ("test", "train"):
        for line in (benchmark_data / "gsm8k" / f"{split}.jsonl").read_text().splitlines():
            answer = json.loads(line)["answer"]
            gold = Fraction(answer.split("####")[1].replace(",", "").strip())
            total += 1
            marked += extract(answer, task="math").value == gold
            agree += extract(answer.replace("####", ""), task="math").value == gold
    assert (total, marked, agree) == (8792, 8792, 8790)  # acceptance 3


def test_the_last_number_of_a_question_is_seldom_its_answer(gsm8k_test):
    # acceptance 4: a baseline without a model, counted by an independent script
    result = evaluate({i.id: i.input for i in gsm8k_test}, gsm8k_test)
    assert sum(result.scores().values()) == 30
    assert result.n_unextracted == 23
    assert result.accuracy == pytest.approx(0.022745, abs=5e-7)
    assert result.accuracy_interval == pytest.approx((0.015978, 0.032283), abs=5e-7)


def test_constant_letters_score_their_share_on_mmlu(mmlu):
    always_a = evaluate(dict.fromkeys(mmlu.ids, "A"), mmlu)
    assert always_a.accuracy == pytest.approx(3222 / 14042)
    assert always_a.accuracy_interval == pytest.approx((0.222574, 0.236483), abs=5e-7)
    assert evaluate(dict.fromkeys(mmlu.ids, "D"), mmlu).accuracy == pytest.approx(3776 / 14042)
    longest = {i.id: "ABCD"[max(range(4), key=lambda n: (len(i.choices[n]), -n))] for i in mmlu}
    assert sum(evaluate(longest, mmlu).scores().values()) == 3917  # acceptance 4


@given(st.text(), st.sampled_from(TASKS))
def test_no_text_makes_extraction_raise(text, task):
    found = extract(text, task=task, choices=CITIES)
    if found.span is not None and task != "code":
        assert 0 <= found.span[0] <= found.span[1] <= len(text)


HOSTILE = [
    "{", "\\boxed{", "####", "1,", "1,111", "answer is ", "A ", "A)\n", "not ", "not true ", "```\n",
    "option ", "a: ", "1/", "\\frac{1}{", "verdict: ", "Paris", "\N{COMBINING GRAVE ACCENT}\u0327", "9",
    "-", "e", " ", "\n", "($", ".5", "true false ",
]  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("unit", HOSTILE)
def test_long_texts_take_linear_time(unit, task):
    # Operations are counted by the interpreter's profile hook, and the time inside regular
    # expressions by their own bound: a text of 100 kB that backtracks would never come back.
    def operations(n: int) -> int:
        import sys

        count = 0

        def tick(frame, event, argument):
            nonlocal count
            count += 1

        text = unit * (n // len(unit) + 1)
        sys.setprofile(tick)
        try:
            extract(text, task=task, choices=CITIES)
        finally:
            sys.setprofile(None)
        return count

    assert operations(40_000) < 3 * operations(20_000) + 1000
    extract(unit * (100_000 // len(unit)), task=task, choices=CITIES)


def test_the_texts_are_normalised_first():
    assert unicodedata.normalize("NFKC", "５") == "5"
    assert extract("５", task="math").value == 5
    assert re.fullmatch("A", extract("Ａ", task="multiple_choice").value)


def test_every_demo_answer_is_its_own_answer():
    for name in ("demo-arithmetic", "demo-claims"):
        demo = load(name)
        assert evaluate({i.id: str(i.expected) for i in demo}, demo).accuracy == 1.0
