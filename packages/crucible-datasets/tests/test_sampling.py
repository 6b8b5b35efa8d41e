import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_datasets import (
    Dataset,
    Item,
    batches,
    bootstrap_sample,
    k_fold,
    load,
    sample,
    train_test_split,
)
from crucible_datasets.sampling import order, shares


def made(n, groups=3):
    items = [
        Item(id=f"i/{k}", input="?", expected=str(k), metadata={"g": f"g{k % groups}"})
        for k in range(n)
    ]
    return Dataset.from_items("made", items, task="text")


def test_shares_are_hamiltons():
    # acceptance 14: {97, 2, 1} of 10; the small ones get 1 each and leave
    assert shares({"a": 97, "b": 2, "c": 1}, 10) == {"a": 8, "b": 1, "c": 1}
    assert shares({"a": 1, "b": 1, "c": 1}, 4) == {"a": 2, "b": 1, "c": 1}  # ties by name
    with pytest.raises(ValueError, match=r"`size` must be >= the 3 strata, got 2"):
        shares({"a": 1, "b": 1, "c": 1}, 2)


@given(
    st.dictionaries(st.text(min_size=1), st.integers(1, 500), min_size=1, max_size=20), st.data()
)
def test_shares_add_up_and_fit(counts, data):
    size = data.draw(st.integers(len(counts), max(len(counts), sum(counts.values()))))
    given_ = shares(counts, size)
    assert sum(given_.values()) == size
    assert all(given_[name] >= 1 for name in counts)
    assert size > sum(counts.values()) or all(given_[name] <= counts[name] for name in counts)


@pytest.mark.parametrize(
    ("seed", "smallest"), [(7, [336, 678, 777, 1226, 538]), (0, [837, 871, 297, 474, 650])]
)
def test_gsm8k_is_ordered_by_sha256(gsm8k_test, seed, smallest):
    # acceptance 14: sha256 of f"{seed}\x1fgsm8k/test/{n}", computed by sha256sum
    assert order(gsm8k_test.ids, seed=seed)[:5] == smallest
    drawn = sample(gsm8k_test, 5, seed=seed)
    assert drawn.ids == tuple(f"gsm8k/test/{n}" for n in sorted(smallest))


def test_mmlu_stem_is_stratified_as_computed_by_hand(benchmark_data):
    stem = load(
        "mmlu_stem", path=benchmark_data / "mmlu", sample_size=200, sampling="stratified",
        stratify_by="subject",
    )  # fmt: skip
    counts = {s: stem.labels("subject").count(s) for s in set(stem.labels("subject"))}
    assert sum(counts.values()) == 200
    named = {  # acceptance 14
        "elementary_mathematics": 25, "high_school_biology": 20, "high_school_mathematics": 18,
        "conceptual_physics": 15, "high_school_statistics": 14, "high_school_chemistry": 13,
        "astronomy": 10, "electrical_engineering": 10, "high_school_physics": 10, "college_biology": 9,
    }  # fmt: skip
    assert {s: counts[s] for s in named} == named
    assert [n for s, n in counts.items() if s not in named] == [7] * 8


def test_every_subject_of_mmlu_is_in_a_stratified_sample(mmlu):
    drawn = sample(mmlu, 200, stratify_by="subject").labels("subject")
    counts = {s: drawn.count(s) for s in set(drawn)}
    assert len(counts) == 57
    top = {"professional_law": 22, "moral_scenarios": 13, "miscellaneous": 11}  # acceptance 14
    assert {s: counts[s] for s in top} == top


@given(st.integers(1, 40), st.integers(0, 5), st.data())
def test_samples_are_nested_ordered_and_independent_of_the_file(n, seed, data):
    dataset = made(n)
    small = data.draw(st.integers(1, n))
    large = data.draw(st.integers(small, n))
    drawn = sample(dataset, small, seed=seed)
    assert set(drawn.ids) <= set(sample(dataset, large, seed=seed).ids)
    assert list(drawn.ids) == [id for id in dataset.ids if id in set(drawn.ids)]
    shuffled = Dataset.from_items("made", reversed(list(dataset)), task="text")
    assert set(sample(shuffled, small, seed=seed).ids) == set(drawn.ids)
    assert drawn.provenance.sampling == {
        "method": "random",
        "seed": seed,
        "size": small,
        "field": None,
    }


@given(st.integers(2, 60), st.integers(0, 3), st.sampled_from([None, "g"]), st.data())
def test_folds_partition_with_sizes_within_one(n, seed, field, data):
    dataset = made(n)
    k = data.draw(st.integers(2, n))
    folds = k_fold(dataset, k, seed=seed, stratify_by=field)
    tested = [id for fold in folds for id in fold.test.ids]
    assert sorted(tested) == sorted(dataset.ids)
    sizes = [len(fold.test) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    for fold in folds:
        assert set(fold.train.ids) == set(dataset.ids) - set(fold.test.ids)
    if field:
        for label in set(dataset.labels("g")):
            counts = [fold.test.labels("g").count(label) for fold in folds]
            assert max(counts) - min(counts) <= 1


def test_humaneval_in_ten_folds_has_sizes_that_add_up(humaneval):
    assert sorted(len(f.test) for f in k_fold(humaneval, 10)) == [16] * 6 + [17] * 4  # spec 3.8


@given(st.integers(4, 60), st.integers(2, 8), st.integers(0, 3))
def test_groups_stay_whole(n, groups, seed):
    dataset = made(n, groups=groups)
    names = set(dataset.labels("g"))
    k = min(len(names), 3)
    if k < 2:
        return
    for fold in k_fold(dataset, k, seed=seed, group_by="g"):
        assert not set(fold.test.labels("g")) & set(fold.train.labels("g"))
        assert len(fold.test)
    train, test = train_test_split(dataset, test_size=0.3, seed=seed, group_by="g")
    assert not set(train.labels("g")) & set(test.labels("g"))
    assert len(train) + len(test) == n
    assert len(test)


@given(st.integers(2, 80), st.integers(0, 3))
def test_splits_partition(n, seed):
    dataset = made(n)
    train, test = train_test_split(dataset, test_size=0.25, seed=seed)
    assert len(test) == max(1, round(n / 4))
    assert sorted(train.ids + test.ids) == sorted(dataset.ids)


def test_a_stratified_split_keeps_the_shares():
    train, test = train_test_split(made(90), test_size=30, stratify_by="g")
    assert {test.labels("g").count(g) for g in ("g0", "g1", "g2")} == {10}
    assert len(train) == 60


@given(st.integers(1, 50), st.integers(0, 3))
def test_bootstrap_copies_have_ids_of_their_own(n, seed):
    dataset = made(n)
    drawn = bootstrap_sample(dataset, seed=seed)
    assert len(drawn) == n
    assert {id.partition("@")[0] for id in drawn.ids} <= set(dataset.ids)
    assert bootstrap_sample(dataset, seed=seed).ids == drawn.ids
    backwards = Dataset.from_items("made", reversed(list(dataset)), task="text")
    assert set(bootstrap_sample(backwards, seed=seed).ids) == set(drawn.ids)


def test_bootstrap_leaves_out_a_share_of_1_over_e():
    left_out = [
        1 - len({i.partition("@")[0] for i in bootstrap_sample(made(200), seed=s).ids}) / 200
        for s in range(100)
    ]
    # E = (1 - 1/n)^n = 0.3670 for n = 200; the mean of 100 has a standard error of about 0.0022
    assert sum(left_out) / 100 == pytest.approx(0.3670, abs=0.008)


def test_batches_hold_every_item_once():
    dataset = made(10)
    assert [len(b) for b in batches(dataset, 4)] == [4, 4, 2]
    assert [len(b) for b in batches(dataset, 4, drop_last=True)] == [4, 4]
    assert [i.id for b in batches(dataset, 3) for i in b] == list(dataset.ids)
    mixed = [i.id for b in batches(dataset, 3, seed=1) for i in b]
    assert mixed != list(dataset.ids)
    assert sorted(mixed) == sorted(dataset.ids)


@pytest.mark.parametrize(
    ("call", "message"),
    [(lambda d: sample(d, 11), r"`size` must be in \[1, 10\], got 11"), (lambda d: sample(d, 0), "`size`"),
     (lambda d: sample(d, 5, stratify_by="x"), "`stratify_by` must.*which 10 of 10 items lack"), (lambda d: k_fold(d, 2, group_by="x"), "`group_by` must.*lack"), (lambda d: k_fold(d, 2, stratify_by="x"), "`stratify_by` must.*lack"),
     (lambda d: k_fold(d, 11), r"`k` must be in \[2, 10\], got 11"), (lambda d: k_fold(d, 4, group_by="g"), "`k` must be <= the 3 groups"),
     (lambda d: k_fold(d, 2, group_by="g", stratify_by="g"), "must not both"),
     (lambda d: train_test_split(d, test_size=1.0), "`test_size`"), (lambda d: train_test_split(d, test_size=10), "`test_size`"),
     (lambda d: bootstrap_sample(d, size=0), "`size`"), (lambda d: batches(d, 0), "`size`"),
     (lambda d: bootstrap_sample(d[:0]), "at least one item")],
)  # fmt: skip
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(made(10))
