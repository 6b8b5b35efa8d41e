import doctest
import importlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_datasets import Dataset, Item, load, render
from crucible_datasets.errors import IntegrityError
from crucible_datasets.items import Provenance

CHOICE, CLAIMS = load("demo-choice"), load("demo-claims")


def test_slices_are_data_sets_and_derivations_are_noted():
    some = CHOICE[2:8:2]
    assert some.ids == ("demo-choice/2", "demo-choice/4", "demo-choice/6")
    easy = some.filter(lambda i: i.metadata["topic"] == "places").sorted(lambda i: i.id)
    changed = easy.map(lambda i: Item(id=i.id, input=i.input.upper(), expected=i.expected, choices=i.choices),
                       note="in capitals")  # fmt: skip
    assert changed.provenance.derivations == (
        "[2:8:2]", "filtered: 2 of 3", "sorted", "in capitals",
    )  # fmt: skip
    assert CHOICE.provenance.derivations == ()
    with pytest.raises(ValueError, match="`note` must say"):
        easy.map(lambda i: i, note="")


def test_items_are_found_by_id_and_labels_by_field():
    item = CHOICE.by_id("demo-choice/3")
    assert item in CHOICE
    assert CHOICE.labels("topic")[3] == item.metadata["topic"]
    with pytest.raises(ValueError, match="`id` must be the id of an item, got 'x'"):
        CHOICE.by_id("x")
    with pytest.raises(ValueError, match="which 20 of 20 items lack"):
        CHOICE.labels("colour")


@given(st.integers(0, 50))
def test_shuffled_choices_keep_the_right_one(seed):
    mixed = CHOICE.shuffle_choices(seed)
    for before, after in zip(CHOICE, mixed, strict=True):
        assert sorted(before.choices) == sorted(after.choices)
        assert before.choices[before.expected] == after.choices[after.expected]
    assert mixed.ids == CHOICE.ids
    assert mixed.fingerprint() == CHOICE.shuffle_choices(seed).fingerprint()


def test_data_sets_are_joined_only_where_they_fit():
    both = CHOICE[:2].concat(CHOICE[5:6])
    assert len(both) == 3
    with pytest.raises(ValueError, match="unique ids, got demo-choice/0 twice"):
        CHOICE.concat(CHOICE[:1])
    with pytest.raises(ValueError, match="`other` must be of task 'multiple_choice'"):
        CHOICE.concat(CLAIMS)
    with pytest.raises(ValueError, match="must have choices in every item"):
        CLAIMS.shuffle_choices()


@pytest.mark.parametrize(
    ("item", "reason"),
    [({"input": " "}, "empty input"), ({"choices": ("a",)}, "fewer than two choices"),
     ({"expected": 7}, "not the index of a choice"), ({"metadata": {"x": {1}}}, "not JSON"),
     ({"metadata": {"x": float("nan")}}, "not JSON")],
)  # fmt: skip
def test_items_that_are_not_valid_are_named(item, reason):
    fields = {"id": "bad", "input": "?", "expected": 0, "choices": ("a", "b"), **item}
    dataset = Dataset.from_items("x", [Item(**fields)], task="multiple_choice")
    with pytest.raises(IntegrityError, match=reason):
        dataset.validate()
    with pytest.raises(IntegrityError, match="at least one item"):
        dataset[:0].validate()


def test_a_description_is_json_and_says_what_is_there():
    said = CHOICE.describe()
    assert (said["n_items"], said["distinct_answers"], said["without_answer"]) == (20, 4, 0)
    json.dumps([said, CHOICE.provenance.to_dict()])
    assert repr(CHOICE) == "Dataset('demo-choice', 20 items)"
    with pytest.raises(ValueError, match="`task` must be one of"):
        Dataset([], name="x", task="magic", provenance=Provenance(kind="memory"))


def test_the_fingerprint_is_of_the_items_and_their_order():
    rows = [Item(id=str(n), input="ü?", expected="1") for n in range(2)]
    first = Dataset.from_items("a", rows, task="text").fingerprint()
    assert Dataset.from_items("b", rows, task="math").fingerprint() == first
    assert Dataset.from_items("a", rows[::-1], task="text").fingerprint() != first


# Prompts, to the letter: the specification, 3.3.

SUM = load("demo-arithmetic")[0]


def test_plain_prompts():
    assert render(SUM) == "Problem: What is 1 + 1? Answer with the number only.\n\nSolution:"
    assert render(CLAIMS[4]) == (
        "Claim: All three samples contained iron.\n"
        "Evidence: Iron was found in the first, the second and the third sample.\n\nVerdict:"
    )
    bare = Item(id="c", input="It rains.", expected="SUPPORTS")
    assert render(bare) == "Claim: It rains.\n\nVerify:"
    code = load("demo-code")[0]
    assert render(code) == code.input
    assert render(Item(id="t", input="Hello", expected="x")) == "Hello"
    assert (
        render(Item(id="t", input="1+1", expected="2"), task="math") == "Problem: 1+1\n\nSolution:"
    )


def test_mmlu_prompts_name_the_subject_and_work_examples():
    def question(n):
        return Item(id=f"mmlu/dev/high_school_physics/{n}", input=f"Q{n}", expected=n,
                    choices=("a", "b"), metadata={"subject": "high_school_physics"})  # fmt: skip

    assert render(question(0), style="mmlu", examples=[question(1)]) == (
        "The following are multiple choice questions (with answers) about high school physics.\n\n"
        "Q1\nA. a\nB. b\n\nAnswer: B\n\nQ0\nA. a\nB. b\n\nAnswer:"
    )
    with pytest.raises(ValueError, match="must not be 'mmlu' without choices and subject"):
        render(SUM, style="mmlu")


@pytest.mark.parametrize(
    ("item", "task", "line"),
    [(SUM, None, "End with a line: #### <number>"), (CHOICE[0], None, "Answer with one letter."),
     (CLAIMS[0], None, "Answer with one label: SUPPORTS, REFUTES or NOT ENOUGH INFO."),
     (Item(id="b", input="?", expected=True), None, "Answer yes or no."),
     (load("demo-code")[0], None, "Return the whole function in one Python code block.")],
)  # fmt: skip
def test_chat_prompts_end_with_how_to_answer(item, task, line):
    assert render(item, style="chat").endswith(f"\n\n{line}")


def test_worked_examples_show_answers_that_would_be_read(gsm8k_train, gsm8k_test):
    prompt = render(gsm8k_test[0], examples=gsm8k_train[:2])
    assert prompt.count("\n#### ") == 2
    assert prompt.endswith("\n\nSolution:")
    with pytest.raises(ValueError, match="`examples` must have answers"):
        render(SUM, examples=[Item(id="gsm8k/x/0", input="?", expected=None)])
    with pytest.raises(ValueError, match="`style` must be one of"):
        render(SUM, style="poem")


@pytest.mark.parametrize("module", ["extraction", "prompts", "batching", "metrics.execution"])
def test_examples_in_docstrings_run(module):
    result = doctest.testmod(importlib.import_module(f"crucible_datasets.{module}"))
    assert result.attempted > 0
    assert result.failed == 0
