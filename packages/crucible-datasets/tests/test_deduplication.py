import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_datasets import Dataset, Item, duplicates
from crucible_datasets.deduplication import contamination


@pytest.fixture(scope="module")
def questions(gsm8k_test, gsm8k_train):
    return gsm8k_test.concat(gsm8k_train)


def made(texts):
    items = [Item(id=str(n), input=text, expected=None) for n, text in enumerate(texts)]
    return Dataset.from_items("made", items, task="text")


def test_near_duplicates_of_gsm8k_are_the_known_ones(questions):
    found = duplicates(questions, threshold=0.5)  # acceptance 15
    named = [
        (p.a.removeprefix("gsm8k/"), p.b.removeprefix("gsm8k/"), round(p.jaccard, 6)) for p in found
    ]
    assert named[:2] == [
        ("train/2483", "train/6691", 0.928571),
        ("train/5518", "train/6320", 0.625),
    ]
    assert [j for _, _, j in named[2:]] == [0.555556] * 3
    assert sum("test/602" in (a, b) for a, b, _ in named) == 2
    assert (found.method, found.expected_recall) == ("exact", 1.0)
    assert len(duplicates(questions, threshold=0.8)) == 1


def test_minhash_finds_the_same_pairs_and_states_its_recall(questions):
    found = duplicates(questions, threshold=0.5, method="minhash")
    assert found == duplicates(questions, threshold=0.5)
    assert found.method == "minhash"
    assert 0.99 <= found.expected_recall < 1  # 1 - (1 - t^rows)^bands


def test_exact_duplicates_of_mmlu_are_the_known_ones(mmlu):
    found = duplicates(mmlu, kind="exact")
    subject = {item.id: item.metadata["subject"] for item in mmlu}
    assert len(found) == 114  # acceptance 15
    assert sum(subject[p.a] == subject[p.b] for p in found) == 36


def test_questions_that_train_gives_away_are_the_known_ones(gsm8k_test, gsm8k_train):
    train = [item.input for item in gsm8k_train]
    found = contamination(gsm8k_test, iter(train))
    assert [o.item_id for o in found] == ["gsm8k/test/581", "gsm8k/test/602", "gsm8k/test/632"]
    assert all(len(o.text.split()) == 13 and 0 < o.share_of_item <= 1 for o in found)
    assert len(contamination(gsm8k_test, train, n=8)) == 80  # acceptance 15


WORDS = st.lists(st.lists(st.sampled_from("abcd"), max_size=8).map(" ".join), max_size=12)


@given(WORDS, st.sampled_from([0.3, 0.5, 0.8, 1.0]), st.integers(1, 3))
def test_the_exact_join_misses_nothing_and_adds_nothing(texts, threshold, size):
    def shingles(text):
        tokens = text.split()
        if len(tokens) <= size:
            return {tuple(tokens)} if tokens else set()
        return set(zip(*(tokens[k:] for k in range(size)), strict=False))

    expected = set()
    for (a, x), (b, y) in itertools.combinations(enumerate(map(shingles, texts)), 2):
        if x and y and len(x & y) / len(x | y) >= threshold:
            expected.add((str(a), str(b)))
    found = duplicates(made(texts), threshold=threshold, shingle=size)
    assert {(p.a, p.b) for p in found} == expected
    assert all(p.jaccard >= threshold for p in found)


def test_case_and_punctuation_do_not_hide_a_repeat():
    texts = ["What is 1 + 1?", "what IS  1 1", "What is 2?", "???", "???"]
    assert [(p.a, p.b) for p in duplicates(made(texts), kind="exact")] == [("0", "1"), ("3", "4")]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"threshold": 0}, "`threshold`"), ({"kind": "x"}, "`kind`"), ({"shingle": 0}, "`shingle`"),
     ({"method": "x"}, "`method`")],
)  # fmt: skip
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        duplicates(made(["a"]), **options)
    with pytest.raises(ValueError, match="`n` must be"):
        contamination(made(["a"]), [], n=0)
    with pytest.raises(ValueError, match="`corpus` must be texts"):
        contamination(made(["a"]), [1])
