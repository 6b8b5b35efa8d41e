"""The real files: counts, field mapping, every item valid. Numbers are those of the publications."""

import json
from collections import Counter

import pytest

from crucible_datasets import benchmarks, load
from crucible_datasets.errors import IntegrityError
from crucible_datasets.loaders.mmlu import GROUPS, SUBJECTS
from crucible_datasets.loaders.scifact import read_corpus


def test_gsm8k_has_its_published_items(gsm8k_test, gsm8k_train):
    assert (len(gsm8k_test), len(gsm8k_train)) == (1319, 7473)
    # digests of the published files, as OpenAI's repository has them
    assert [d.provenance.files[0].sha256 for d in (gsm8k_test, gsm8k_train)] == [
        "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
        "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
    ]
    first = gsm8k_test[0]
    assert (first.id, first.expected) == ("gsm8k/test/0", "18")  # Janet's ducks
    assert first.metadata["rationale"].endswith("every day at the farmer’s market.")


def test_gsm8k_answers_have_the_sums_of_the_publication(gsm8k_test, gsm8k_train, benchmark_data):
    # Counted from the official files by an independent script: spec, acceptance 3.
    assert sum(int(i.expected) for i in gsm8k_test) == 9_009_187
    assert sum(int(i.expected) for i in gsm8k_train) == 403_114_874
    raw = [
        json.loads(line)["answer"].split("####")[1]
        for split in ("test", "train")
        for line in (benchmark_data / "gsm8k" / f"{split}.jsonl").read_text().splitlines()
    ]
    assert sum("," in answer for answer in raw) == 93
    assert sum("-" in answer for answer in raw) == 5
    assert sum("." in answer for answer in raw) == 0


def test_humaneval_has_its_published_problems(humaneval):
    assert len(humaneval) == 164
    assert humaneval[0].id == "HumanEval/0"
    assert humaneval[0].metadata["entry_point"] == "has_close_elements"
    assert humaneval.provenance.files[0].sha256 == (
        "b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef"
    )


def test_mmlu_has_its_published_questions(mmlu, benchmark_data):
    assert len(mmlu) == 14_042
    assert len({i.metadata["subject"] for i in mmlu}) == len(SUBJECTS) == 57
    letters = Counter(i.expected for i in mmlu)
    assert [letters[n] for n in range(4)] == [3222, 3462, 3582, 3776]
    assert sum("\n" in i.input for i in mmlu) == 1127
    dev = load("mmlu", split="dev", path=benchmark_data / "mmlu")
    assert Counter(i.metadata["subject"] for i in dev) == dict.fromkeys(SUBJECTS, 5)
    assert mmlu[0].id == "mmlu/test/abstract_algebra/0"
    assert mmlu[0].choices == ("0", "4", "2", "6")
    assert mmlu[0].expected == 1


@pytest.mark.parametrize(
    ("group", "count"),
    [("stem", 3018), ("humanities", 4705), ("social_sciences", 3077), ("other", 3242)],
)
def test_mmlu_groups_are_hendrycks_groups(group, count, benchmark_data):
    part = load(f"mmlu_{group}", path=benchmark_data / "mmlu")
    assert len(part) == count
    assert {i.metadata["subject"] for i in part} == set(GROUPS[group])
    assert part.provenance.counts_checked


def test_a_subject_of_mmlu_needs_its_own_file_only(benchmark_data, tmp_path):
    name = "anatomy_test.csv"
    (tmp_path / name).write_bytes((benchmark_data / "mmlu" / "test" / name).read_bytes())
    part = load("mmlu", subset="anatomy", path=tmp_path)
    assert (len(part), part.subset) == (135, "anatomy")  # 135 lines in the official file
    assert part[0].id == "mmlu/test/anatomy/0"
    with pytest.raises(ValueError, match="`subset` must be one of"):
        load("mmlu", subset="anatomie", path=tmp_path)


def test_scifact_has_its_published_claims_and_abstracts(scifact, benchmark_data):
    train = load("scifact", split="train", path=benchmark_data / "scifact")
    assert (len(train), len(scifact)) == (809, 300)
    # counted in the official release: spec, acceptance 1
    assert Counter(i.expected for i in scifact) == {
        "SUPPORTS": 124, "NOT ENOUGH INFO": 112, "REFUTES": 64,
    }  # fmt: skip
    corpus = read_corpus(benchmark_data / "scifact" / "corpus.jsonl.gz")
    assert len(corpus) == 5183
    assert sum(len(a.sentences) for a in corpus.values()) == 45_952
    assert scifact.by_id("scifact/dev/3").metadata["evidence"]["14717500"] == [
        {"sentences": [2, 5], "label": "SUPPORT"}, {"sentences": [7], "label": "SUPPORT"},
    ]  # fmt: skip


def test_scifact_claims_come_with_the_text_that_was_asked_for(benchmark_data):
    corpus = read_corpus(benchmark_data / "scifact" / "corpus.jsonl.gz")["14717500"]
    gold = load("scifact", path=benchmark_data / "scifact", context="evidence")
    cited = load(
        "scifact", path=benchmark_data / "scifact" / "claims_dev.jsonl", context="abstracts"
    )
    context = gold.by_id("scifact/dev/3").context
    assert context == " ".join(corpus.sentences[n].strip() for n in (2, 5, 7))
    assert gold.by_id("scifact/dev/1").context is None  # no gold evidence
    assert cited.by_id("scifact/dev/3").context == " ".join((corpus.title, *corpus.sentences))
    with pytest.raises(ValueError, match="`context` must be 'none' for 'gsm8k'"):
        load("gsm8k", path=benchmark_data / "gsm8k", context="evidence")


def test_fever_has_its_published_claims(fever):
    assert Counter(i.expected for i in fever) == {
        "SUPPORTS": 3333, "REFUTES": 3333, "NOT ENOUGH INFO": 3333,
    }  # fmt: skip
    assert fever[0].id == "fever/paper_dev/91198"
    soul_food = fever.by_id("fever/paper_dev/137334").metadata["evidence"]
    assert soul_food == [[["Soul_Food_-LRB-film-RRB-", 0]]] * 5


def test_fingerprints_are_those_of_the_specification(gsm8k_test, humaneval, mmlu):
    # acceptance 2: computed from the official files by an independent script
    assert [d.fingerprint() for d in (gsm8k_test, humaneval, mmlu)] == [
        "b9c5e1ebe5b5c63940c99045a1410b7babf7cb53845a0e86a0375d5e7c10cdf5",
        "037649d22ee63a41d5ee2e35d5689ac35b0b94f3728dbab5322dde7ff45b5fba",
        "7e5c8db461451c9b81f4a9faeb6764fc5385183ae020c0c511deff7b58fbe822",
    ]


def test_every_item_of_every_file_is_valid(
    gsm8k_test, gsm8k_train, humaneval, mmlu, fever, scifact
):
    for dataset in (gsm8k_test, gsm8k_train, humaneval, mmlu, fever, scifact):
        dataset.validate()
        assert dataset.provenance.counts_checked
        assert "/" not in dataset.provenance.to_dict()["location"]


@pytest.mark.parametrize("name", ["demo-arithmetic", "demo-choice", "demo-claims", "demo-code"])
def test_demo_sets_are_labelled_as_made_here(name):
    demo = load(name)
    demo.validate()
    assert len(demo) == {"arithmetic": 162, "choice": 20, "claims": 12, "code": 8}[name[5:]]
    assert demo.provenance.kind == ("generated" if name == "demo-arithmetic" else "handwritten")


def test_no_answer_of_a_demo_set_stands_out():
    assert Counter(i.expected for i in load("demo-choice")) == dict.fromkeys(range(4), 5)
    assert set(Counter(i.expected for i in load("demo-claims")).values()) == {4}
    item = load("demo-arithmetic").by_id("demo-arithmetic/difference-3-7")
    assert (item.input, item.expected) == ("What is 10 - 7? Answer with the number only.", "3")


def test_benchmarks_are_found_by_what_they_are():
    assert {c.name for c in benchmarks(task="claim")} == {"demo-claims", "fever", "scifact"}
    assert [c.name for c in benchmarks(text="WORD PROBLEMS")] == ["gsm8k"]
    assert [c.name for c in benchmarks(license="CC BY-SA 3.0")] == ["fever"]
    for card in benchmarks():
        assert card.to_dict()["schema"] == "crucible.datasets.card/1"
        assert card.license
        assert card.made_here or (card.citation and card.homepage)


def test_another_number_of_items_is_not_the_benchmark(tmp_path):
    file = tmp_path / "test.jsonl"
    file.write_text(json.dumps({"question": "?", "answer": "so\n#### 1"}) + "\n")
    with pytest.raises(IntegrityError, match="expected 1319 items, found 1"):
        load("gsm8k", path=file)
    loose = load("gsm8k", path=file, check_counts=False)
    assert loose.name == "gsm8k (unverified)"
    assert not loose.provenance.counts_checked
