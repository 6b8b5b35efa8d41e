"""Official layouts, hand-written with three items under the official file names, and data of one's own."""

import csv
import gzip
import io
import json
import socket

import pytest

from crucible_datasets import Item, load
from crucible_datasets.cards import DEFAULT_REGISTRY
from crucible_datasets.errors import (
    DatasetUnavailableError,
    IntegrityError,
    MissingExtraError,
    ParseError,
    ReservedNameError,
    UnknownDatasetError,
)
from crucible_datasets.loaders.fever import Fever
from crucible_datasets.loaders.files import rows
from crucible_datasets.loaders.gsm8k import Gsm8k
from crucible_datasets.loaders.humaneval import HumanEval
from crucible_datasets.loaders.mmlu import Mmlu
from crucible_datasets.loaders.scifact import SciFact
from crucible_datasets.loaders.tabular import FieldMap, stream_items
from crucible_datasets.registry import BenchmarkCard, Registry, SplitCard
from crucible_datasets.testing import check_loader, check_metric

THREE = FieldMap(input="q", expected="a")


def jsonl(path, records):
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return {path.name: path}


def parquet(path, records):
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)
    return {path.name: path}


def headed(path, records):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        writer.writerows(records)
    return {path.name: path}


GSM = [{"question": f"{n}+1?", "answer": f"think\n#### {n + 1},000"} for n in range(3)]
HUMAN = [{"task_id": f"Human/{n}", "prompt": "def f():\n", "canonical_solution": "    return 1\n",
          "test": "def check(c):\n    assert c() == 1\n", "entry_point": "f"} for n in range(3)]  # fmt: skip


def test_gsm8k_reads_the_official_lines_and_the_hubs_parquet(tmp_path):
    official = check_loader(Gsm8k(), jsonl(tmp_path / "train.jsonl", GSM), split="train")
    hub = check_loader(Gsm8k(), parquet(tmp_path / "train.parquet", GSM), split="train")
    assert official == hub
    assert official[2] == Item(
        id="gsm8k/train/2", input="2+1?", expected="3000", metadata={"rationale": "think"}
    )


def test_humaneval_reads_plain_zipped_and_parquet_files(tmp_path):
    plain = check_loader(HumanEval(), jsonl(tmp_path / "h.jsonl", HUMAN), split="test")
    zipped = tmp_path / "h.jsonl.gz"
    zipped.write_bytes(gzip.compress((tmp_path / "h.jsonl").read_bytes()))
    assert check_loader(HumanEval(), {zipped.name: zipped}, split="test") == plain
    assert check_loader(HumanEval(), parquet(tmp_path / "h.parquet", HUMAN), split="test") == plain


def test_mmlu_reads_all_its_layouts_alike(tmp_path):
    text = 'Two\nlines?,a,"b, b",c,d,B\nQ2,1,2,3,4,A\nQ3,1,2,3,4,D\n'
    bare = tmp_path / "anatomy_test.csv"
    bare.write_text('"Two\nlines?",a,"b, b",c,d,B\nQ2,1,2,3,4,A\nQ3,1,2,3,4,D\n')
    official = check_loader(Mmlu(("anatomy",)), {bare.name: bare}, split="test")
    assert [i.expected for i in official] == [1, 0, 3]
    assert official[0].input == text.partition(",")[0]
    records = [
        {
            "question": i.input,
            **{f"choice{n}": c for n, c in enumerate(i.choices)},
            "answer": i.expected,
        }
        for i in official
    ]
    folder = tmp_path / "headed"
    folder.mkdir()
    assert (
        check_loader(Mmlu(("anatomy",)), headed(folder / bare.name, records), split="test")
        == official
    )
    table = [
        {
            "question": i.input,
            "subject": "anatomy",
            "choices": list(i.choices),
            "answer": i.expected,
        }
        for i in official
    ]
    assert check_loader(Mmlu(), parquet(tmp_path / "all.parquet", table), split="test") == official


def test_the_same_mmlu_in_another_layout_is_the_same_mmlu(mmlu, tmp_path):
    table = [
        {
            "question": i.input,
            "subject": i.metadata["subject"],
            "choices": list(i.choices),
            "answer": i.expected,
        }
        for i in mmlu
    ]
    parquet(tmp_path / "test.parquet", table)
    assert load("mmlu", path=tmp_path / "test.parquet").fingerprint() == mmlu.fingerprint()
    wide = [
        {
            "subject": r["subject"],
            "question": r["question"],
            **{f"choice{n}": c for n, c in enumerate(r["choices"])},
            "answer": r["answer"],
        }
        for r in table
    ]
    headed(tmp_path / "test.csv", wide)
    assert load("mmlu", path=tmp_path / "test.csv").fingerprint() == mmlu.fingerprint()


CLAIMS = [
    {"id": 1, "claim": "A.", "evidence": {}, "cited_doc_ids": [7]},
    {"id": 2, "claim": "B.", "evidence": {"7": [{"sentences": [0, 2], "label": "SUPPORT"}]}, "cited_doc_ids": [7]},
    {"id": 3, "claim": "C.", "evidence": {"8": [{"sentences": [1], "label": "CONTRADICT"}, {"sentences": [0], "label": "CONTRADICT"}]}, "cited_doc_ids": [8, 7]},
]  # fmt: skip


def test_scifact_reads_the_official_lines_and_the_hubs_rows(tmp_path):
    official = check_loader(SciFact(), jsonl(tmp_path / "claims_dev.jsonl", CLAIMS), split="dev")
    assert [i.expected for i in official] == ["NOT ENOUGH INFO", "SUPPORTS", "REFUTES"]
    flat = []
    for claim in CLAIMS:
        sets = [(doc, e) for doc, several in claim["evidence"].items() for e in several] or [
            ("", {"label": "", "sentences": []})
        ]
        flat += [{"id": claim["id"], "claim": claim["claim"], "evidence_doc_id": doc, "evidence_label": e["label"],
                  "evidence_sentences": str(e["sentences"]), "cited_doc_ids": str(claim["cited_doc_ids"])} for doc, e in sets]  # fmt: skip
    assert check_loader(SciFact(), headed(tmp_path / "dev.csv", flat), split="dev") == official


def test_scifact_labels_are_absent_in_the_test_split_and_never_invented(tmp_path):
    unlabelled = [{k: v for k, v in claim.items() if k != "evidence"} for claim in CLAIMS]
    items = check_loader(SciFact(), jsonl(tmp_path / "claims_test.jsonl", unlabelled), split="test")
    assert {i.expected for i in items} == {None}
    assert "evidence" not in items[0].metadata


def test_fever_reads_the_official_lines_and_the_hubs_rows(tmp_path):
    claims = [
        {"id": 1, "claim": "A", "label": "SUPPORTS", "evidence": [[[5, 1, "P", 0], [5, 2, "Q", 3]], [[6, 4, "R", 1]]]},
        {"id": 2, "claim": "B", "label": "NOT ENOUGH INFO", "evidence": [[[7, None, None, None]]]},
        {"id": 3, "claim": "C", "label": "REFUTES", "evidence": [[[8, 9, "P", 2]]]},
    ]  # fmt: skip
    official = check_loader(Fever(), jsonl(tmp_path / "paper_dev.jsonl", claims), split="paper_dev")
    assert official[0].metadata["evidence"] == [[["P", 0], ["Q", 3]], [["R", 1]]]
    assert official[1].metadata["evidence"] == []
    flat = [
        {"id": c["id"], "claim": c["claim"], "label": c["label"], "evidence_annotation_id": line[0], "evidence_id": line[1] or -1,
         "evidence_wiki_url": line[2] or "", "evidence_sentence_id": -1 if line[3] is None else line[3]}
        for c in claims for lines in c["evidence"] for line in lines
    ]  # fmt: skip
    assert (
        check_loader(Fever(), parquet(tmp_path / "p.parquet", flat), split="paper_dev") == official
    )


RECORDS = [{"q": "1+1,\n?", "a": "2"}, {"q": 'say "x"', "a": "x"}, {"q": "ü", "a": ""}]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "tsv", "parquet"])
def test_data_of_ones_own_load_from_every_format(tmp_path, kind, zipped):
    path = tmp_path / f"mine.{kind}"
    if kind == "parquet":
        parquet(path, RECORDS)
    elif kind in ("csv", "tsv"):
        out = io.StringIO()
        writer = csv.DictWriter(out, ["q", "a"], delimiter="," if kind == "csv" else "\t")
        writer.writeheader()
        writer.writerows(RECORDS)
        path.write_text(out.getvalue(), newline="")
    elif kind == "json":
        path.write_text("\ufeff " + json.dumps(RECORDS, indent=2))
    else:
        jsonl(path, RECORDS)
    if zipped and kind != "parquet":
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path = path.with_name(f"{path.name}.gz")
    mine = load("mine", path=path, fields=THREE)
    assert [(i.id, i.input, i.expected) for i in mine] == [
        (f"mine/{n}", r["q"], r["a"]) for n, r in enumerate(RECORDS)
    ]
    assert list(stream_items(path, fields=THREE)) == list(mine)


def test_a_large_json_array_is_read_piece_by_piece(tmp_path):
    records = [{"q": "x" * (n % 5000) + "]", "a": n} for n in range(300)]
    (tmp_path / "m.json").write_text(json.dumps(records))
    assert [i.expected for i in load("m", path=tmp_path / "m.json", fields=THREE)] == list(
        range(300)
    )


def test_fields_may_be_functions_and_choices_columns(tmp_path):
    table = [{"n": "k1", "q": "?", "x": "one", "y": "two", "right": "B", "c": "text", "m": "1"}]
    headed(tmp_path / "m.csv", table)
    mine = load("m", path=tmp_path / "m.csv", task="multiple_choice", fields=FieldMap(
        input=lambda r: r["q"] + r["q"], expected="right", id="n", choices=("x", "y"), context="c", metadata=("m",)))  # fmt: skip
    assert mine[0] == Item(
        id="k1", input="??", expected=1, choices=("one", "two"), context="text", metadata={"m": "1"}
    )
    for right, reason in (("C", "neither index, letter nor text"), ("two", None), ("1", None)):
        headed(tmp_path / "m.csv", [{**table[0], "right": right}])
        fields = FieldMap(input="q", expected="right", choices=("x", "y"))
        if reason:
            with pytest.raises(ParseError, match=reason):
                load("m", path=tmp_path / "m.csv", task="multiple_choice", fields=fields)
        else:
            assert (
                load("m", path=tmp_path / "m.csv", task="multiple_choice", fields=fields)[
                    0
                ].expected
                == 1
            )


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [("m.jsonl", '{"q": "1", "a": 1}\n{"q": \n', r"m.jsonl, line 2: not JSON"), ("m.jsonl", "[1]\n", "not a JSON object"),
     ("m.jsonl", '{"q": "1"}\n', r"line 1: no field 'a' \(it has q\)"), ("m.json", '[{"q": "1", "a": 1}, {', "m.json, line 2: not JSON"),
     ("m.json", "[1]", "line 1: not a JSON object"), ("m.csv", "q,a\n1\n", "line 2: 1 cells where the header has 2"),
     ("m.csv", "q,q\n1,2\n", "names a column twice"), ("m.csv", 'q,a\n"1,2\n', "not CSV"), ("m.txt", "x", "unknown format"),
     ("m.jsonl", '{"q": " ", "a": 1}\n', "the input is empty"), ("m.jsonl", "", "it holds no items"),
     ("m.parquet", "x", "not Parquet"), ("m.jsonl.gz", "\x1f\x8b\x08broken", "damaged gzip")],
)  # fmt: skip
def test_a_malformed_file_is_named_with_its_line(tmp_path, name, text, message):
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(ParseError, match=message):
        load("mine", path=tmp_path / name, fields=THREE)


def test_bytes_that_are_no_text_are_named(tmp_path):
    for name, data in (("m.jsonl", b'{"q": "\xff"}\n'), ("m.csv", b"q,a\n\xff,1\n")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ParseError, match="not UTF-8|not JSON"):
            load("mine", path=tmp_path / name, fields=THREE)


@pytest.mark.parametrize(
    ("name", "records", "message"),
    [("gsm8k", [{"question": "?", "answer": "no mark"}], "does not end in '#### N'"), ("gsm8k", [{"question": "?"}], "no field 'answer'"),
     ("humaneval", [{"task_id": "x"}], "no field 'prompt'"), ("scifact", [{"id": 1}], "not a claim"),
     ("scifact", [{"id": 1, "claim": "c", "evidence": {"1": [{"sentences": [0], "label": "X"}]}, "cited_doc_ids": []}], "unknown label 'X'"),
     ("fever", [{"id": 1, "claim": "c", "label": "MAYBE", "evidence": []}], "unknown label"), ("fever", [{"id": 1}], "not a claim")],
)  # fmt: skip
def test_a_file_that_is_not_the_benchmarks_is_named(tmp_path, name, records, message):
    jsonl(tmp_path / "x.jsonl", records)
    with pytest.raises(ParseError, match=message):
        load(name, path=tmp_path / "x.jsonl", check_counts=False)


def test_letters_outside_a_to_d_and_repeated_ids_are_refused(tmp_path):
    file = tmp_path / "anatomy_test.csv"
    file.write_text("q,1,2,3,4,E\n")
    with pytest.raises(ParseError, match="line 1: the answer must be A-D or 0-3, got 'E'"):
        load("mmlu", subset="anatomy", path=file)
    file.write_text("q,1,2,3,A\n")
    with pytest.raises(ParseError, match="5 cells"):
        load("mmlu", subset="anatomy", path=file)
    jsonl(tmp_path / "m.jsonl", [{"q": "?", "a": 1, "i": "same"}] * 2)
    with pytest.raises(IntegrityError, match="same twice"):
        load("m", path=tmp_path / "m.jsonl", fields=FieldMap(input="q", expected="a", id="i"))


def test_gzip_bombs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("crucible_datasets.loaders.files.MAX_DECOMPRESSED", 2**20)
    bomb = tmp_path / "m.jsonl.gz"
    bomb.write_bytes(gzip.compress(b" " * 2**21))
    with pytest.raises(IntegrityError, match="at most 1048576 bytes unfolded"):
        list(rows(bomb))


def test_names_are_reserved_for_what_was_published(tmp_path):
    jsonl(tmp_path / "m.jsonl", RECORDS)
    with pytest.raises(ReservedNameError, match="`fields` cannot be given"):
        load("gsm8k", path=tmp_path / "m.jsonl", fields=THREE)
    for argument, value in (
        ("path", tmp_path / "m.jsonl"),
        ("url", "http://127.0.0.1/x"),
        ("hub", "a/b"),
    ):
        with pytest.raises(ReservedNameError, match=f"`{argument}`"):
            load("demo-choice", **{argument: value})


def test_unknown_names_get_suggestions():
    with pytest.raises(UnknownDatasetError, match="did you mean 'gsm8k'") as caught:
        load("gsm8")
    assert caught.value.suggestions[0] == "gsm8k"
    with pytest.raises(UnknownDatasetError, match="unknown data set 'zzz'\\. For data of your own"):
        load("zzz")


@pytest.mark.parametrize("switch", ["argument", "environment"])
def test_offline_says_at_once_what_to_download_and_how_to_load_it(monkeypatch, switch):
    def no_network(*arguments, **options):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(socket.socket, "connect", no_network)
    if switch == "environment":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DatasetUnavailableError) as caught:  # acceptance 20
        load("gsm8k", split="test", download=switch == "environment")
    said = str(caught.value)
    assert "Download test.jsonl from https://github.com/openai/grade-school-math" in said
    assert 'load("gsm8k", split="test", path="...")' in said
    assert [why for _, why in caught.value.attempts] == [
        "not tried: downloads are switched off"
    ] * 2


def test_an_unresolvable_host_is_not_tried_again(monkeypatch):
    asked = []

    def nowhere(host, *arguments, **options):
        asked.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    with pytest.raises(DatasetUnavailableError, match="Name or service not known"):
        load("humaneval")
    assert asked.count("raw.githubusercontent.com") == 1


def test_missing_files_are_named_with_the_way_to_them(tmp_path):
    with pytest.raises(DatasetUnavailableError, match="no such file"):
        load("gsm8k", path=tmp_path / "nowhere.jsonl")
    with pytest.raises(DatasetUnavailableError, match=r"the folder has no test.jsonl"):
        load("gsm8k", path=tmp_path)
    with pytest.raises(DatasetUnavailableError, match="and 56 more"):
        load("mmlu", path=tmp_path)
    jsonl(tmp_path / "claims_dev.jsonl", CLAIMS)
    with pytest.raises(DatasetUnavailableError, match="no corpus.jsonl beside it"):
        load("scifact", path=tmp_path / "claims_dev.jsonl", context="evidence", check_counts=False)
    with pytest.raises(ValueError, match="`path` must be a file"):
        load("mine", path=tmp_path, fields=THREE)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"split": "x"}, "`split` must be one of"), ({"subset": "x"}, "`subset` must be None"), ({"path": "a", "hub": "b"}, "not be given together"),
     ({"sampling": "first"}, "must come with `sample_size`"), ({"context": "x"}, "`context` must be one of")],
)  # fmt: skip
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        load("gsm8k", **options)
    for name, more, text in (
        ("demo-choice", {"split": "test"}, "`split` must be None"), ("demo-choice", {"sample_size": 5, "sampling": "x"}, "`sampling` must be"),
        ("demo-choice", {"sample_size": 5, "stratify_by": "topic"}, "if and only if"), ("demo-choice", {"sample_size": 21, "sampling": "first"}, "`sample_size`"),
        ("mine", {"url": "file:///etc/passwd"}, "http or https"), ("mine", {"path": "x", "subset": "y"}, "`subset` must come with `hub`"),
        ("mine", {"path": "x", "revision": "y"}, "`revision` must come with"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=text):
            load(name, **more)
    with pytest.raises(ValueError, match="`revision` must come with"):
        load("gsm8k", path="x", revision="y")


def test_samples_are_drawn_as_asked():
    first = load("demo-choice", sample_size=3, sampling="first")
    assert first.ids == ("demo-choice/0", "demo-choice/1", "demo-choice/2")
    assert first.provenance.sampling == {"method": "first", "size": 3}
    drawn = load("demo-choice", sample_size=8, sampling="stratified", stratify_by="expected")
    assert sorted(drawn.labels()) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_benchmarks_of_other_packages_are_found(monkeypatch, tmp_path):
    card = BenchmarkCard(
        name="theirs", title="T", description="", task="math", domain="x", default_split="test",
        splits={"test": SplitCard(n_items=3, files=("t.jsonl",))}, license="MIT", citation="c", homepage="https://example.org",
    )  # fmt: skip

    class Point:
        def load(self):
            return card, Gsm8k()

    monkeypatch.setattr(
        "importlib.metadata.entry_points",
        lambda group: [Point()] if group == "crucible_datasets.benchmarks" else [],
    )
    jsonl(tmp_path / "t.jsonl", GSM)
    assert len(load("theirs", path=tmp_path)) == 3
    larger = Registry().with_(card, Gsm8k())
    assert larger.get("theirs") is not None
    with pytest.raises(ValueError, match="new name, got 'theirs'"):
        larger.with_(card, Gsm8k())
    assert DEFAULT_REGISTRY.get("nobody") is None


def test_a_missing_extra_is_named_before_any_work(monkeypatch, tmp_path):
    import sys

    (tmp_path / "m.parquet").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r'pip install "crucible-datasets\[parquet\]"'):
        load("m", path=tmp_path / "m.parquet")


def test_metrics_can_be_checked_against_their_port():
    item = load("demo-arithmetic")[0]
    check_metric(lambda p, i: float(p.output == i.expected), item, right="2", wrong="3")
    with pytest.raises(AssertionError, match="at least as well"):
        check_metric(lambda p, i: float(p.output != i.expected), item, right="2", wrong="3")
