import csv
import hashlib
import json
import sqlite3
import sys

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible_telemetry import MemoryStore, SQLiteStore, export, export_async, start_experiment
from crucible_telemetry.errors import ExportError, MissingExtraError, UnknownExperimentError
from crucible_telemetry.exports import import_events, to_arrow
from crucible_telemetry.lines import line_of, row_of
from crucible_telemetry.schema import NAMES
from crucible_telemetry.stores.port import Query


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def experiment_with(*events, store=None, name="my run", **options):
    with start_experiment(
        name=name, store=store or MemoryStore(), capture_spans=False, **options
    ) as experiment:
        for attributes in events:
            experiment.record("event", **attributes)
    return experiment


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_csv_has_the_union_of_attributes_and_guards_formulas():
    experiment = experiment_with(
        {"a": 1, "text": "=1+1"},
        {"b.c": -3.5, "text": "-2"},
        {"text": "plain", "list": [1, "x"], "flag": True, "item_id": "@cmd"},
    )
    path = export(experiment, "csv")
    raw = path.read_bytes()
    assert raw.count(b"\r\n") == 4
    rows = table(path)
    fixed = [name for name in NAMES if name != "attributes"]
    assert list(rows[0]) == [
        *fixed, "attributes.a", "attributes.b.c", "attributes.flag", "attributes.list",
        "attributes.text",
    ]  # fmt: skip
    assert [row["attributes.text"] for row in rows] == ["'=1+1", "'-2", "plain"]
    assert [row["attributes.b.c"] for row in rows] == ["", "-3.5", ""]
    assert rows[2]["attributes.list"] == '[1,"x"]'
    assert rows[2]["attributes.flag"] == "true"
    assert rows[2]["item_id"] == "'@cmd"
    assert json.loads(manifest(path).read_text())["guarded_cells"] == 3
    bare = table(export(experiment, "csv", path="bare.csv", formula_guard=False))
    assert bare[0]["attributes.text"] == "=1+1"


def manifest(path):
    return path.with_name(path.name + ".manifest.json")


def test_the_default_name_is_safe_and_says_what_it_is():
    experiment = experiment_with({}, name="../a b/é", condition="x:y")
    path = export(experiment, "jsonl")
    assert str(path) == f"_a_b_-x_y-{experiment.id[-8:]}.jsonl"
    assert path.exists()


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_the_same_rows_give_the_same_bytes(format):
    experiment = experiment_with({"a": 1.5}, {"b": "ü"}, {"c": float("nan")})
    one = export(experiment, format, path=f"1.{format}")
    two = export(experiment, format, path=f"2.{format}")
    assert one.read_bytes() == two.read_bytes()
    assert manifest(one).read_bytes() == manifest(two).read_bytes()
    document = json.loads(manifest(one).read_text())
    assert document["sha256"] == hashlib.sha256(one.read_bytes()).hexdigest()
    assert document["rows"] == 3
    assert document["experiment"]["id"] == experiment.id
    assert document["columns"] == list(NAMES)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "outcome": st.sampled_from(["ok", "error", "timeout", "cancelled", "unknown"]),
                "duration_s": st.none() | st.floats(0, 1e9),
                "cost_usd": st.none() | st.floats(0, 1e9),
                "input_tokens": st.none() | st.integers(0, 2**63 - 1),
                "item_id": st.none() | st.text(),
                "repeat": st.none() | st.integers(-(2**63), 2**63 - 1),
                "x": VALUES,
                "line": st.just("a\u2028b\x85c\r\nd"),
            }
        ),
        max_size=8,
    )
)
@settings(max_examples=20, deadline=None)
def test_json_lines_come_back_equal(tmp_path_factory, events):
    folder = tmp_path_factory.mktemp("round")
    store = MemoryStore()
    experiment = experiment_with(*events, store=store)
    path = export(experiment, "jsonl", path=folder / "e.jsonl")
    asked = Query(experiments=(experiment.id,))
    written = list(store.scan(asked))
    assert [row_of(json.loads(line_of(row))) for row in written] == written
    for other in (MemoryStore(), SQLiteStore(folder / "other.sqlite")):
        assert import_events(path, other) == len(events)
        assert import_events(path, other) == 0
        assert list(other.scan(asked)) == written
        again = export(experiment.id, "jsonl", path=folder / "again.jsonl", store=other)
        assert again.read_bytes() == path.read_bytes()
        other.close()


def test_an_import_checks_the_hash_and_wants_all_columns():
    experiment = experiment_with({"a": 1}, {"a": 2})
    path = export(experiment, "jsonl", path="e.jsonl")
    text = path.read_text()
    path.write_text(text.replace('"a":2', '"a":3'))
    with pytest.raises(ExportError, match="is not the file that its manifest describes"):
        import_events(path, MemoryStore())
    few = export(experiment, "jsonl", path="few.jsonl", columns=["seq", "name"])
    assert few.read_text() == '{"seq":1,"name":"event"}\n{"seq":2,"name":"event"}\n'
    with pytest.raises(ExportError, match="has no 'experiment_id'"):
        import_events(few, MemoryStore())
    with pytest.raises(ExportError, match="only jsonl files"):
        import_events(export(experiment, "csv", path="e.csv"), MemoryStore())
    manifest(path).unlink()
    with pytest.raises(ExportError, match="is no manifest"):
        import_events(path, MemoryStore())


def test_parquet_has_the_same_schema_whatever_the_data():
    empty = pq.read_schema(export(experiment_with(), "parquet", path="0.parquet"))
    full = pq.read_schema(
        export(
            experiment_with({"duration_s": 1.0, "model": "m", "input_tokens": 3, "z": [2**70]}),
            "parquet",
            path="1.parquet",
        )
    )
    assert full == empty
    assert full.names == list(NAMES)
    read = pq.read_table("1.parquet").to_pylist()[0]
    assert read["model"] == "m"
    assert read["altered"] == ["z"]
    assert json.loads(read["attributes"]) == {"z": ["1180591620717411303424"]}
    assert pq.ParquetFile("1.parquet").metadata.row_group(0).column(0).compression == "ZSTD"


def test_arrow_gives_the_rows_without_a_file():
    experiment = experiment_with({"n": 1}, {"n": 2})
    arrow = to_arrow(experiment)
    assert arrow.column("seq").to_pylist() == [1, 2]
    assert arrow.schema.names == list(NAMES)


def test_the_manifest_names_a_row_that_is_gone(tmp_path):
    with SQLiteStore(tmp_path / "gaps.sqlite") as store:
        experiment = experiment_with(*[{"n": n} for n in range(10)], store=store)
        deleting = sqlite3.connect(tmp_path / "gaps.sqlite")
        with deleting:
            deleting.execute("DELETE FROM event WHERE seq IN (4, 5, 8, 10)")
        deleting.close()
        document = json.loads(manifest(export(experiment, "csv")).read_text())
    (writer,) = document["writers"]
    assert writer["gaps"] == [[4, 5], [8, 8], [10, 10]]
    assert (writer["first_seq"], writer["last_seq"], writer["rows"]) == (1, 9, 6)


def test_an_existing_file_is_replaced_and_a_failed_export_leaves_it(monkeypatch, tmp_path):
    path = tmp_path / "kept.csv"
    path.write_text("before")
    experiment = experiment_with({"a": 1})

    def broken(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr("crucible_telemetry.exports.exporting.sha256_of", broken)
    with pytest.raises(OSError, match="disk full"):
        export(experiment, "csv", path=path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    assert export(experiment, "csv", path=path) == path
    assert "attributes.a" in path.read_text()


def test_a_running_experiment_exports_what_was_recorded_so_far():
    with start_experiment(name="running", store=MemoryStore(), capture_spans=False) as experiment:
        experiment.record("event", a=1)
        assert len(table(export(experiment.id, "csv", path="1.csv"))) == 1
        experiment.record("event", b=1)
        assert len(table(export(experiment, "csv", path="2.csv"))) == 2


def test_what_cannot_be_exported_is_refused_before_a_file_appears(monkeypatch, tmp_path):
    experiment = experiment_with({})
    with pytest.raises(ValueError, match="`format` must be"):
        export(experiment, "xlsx")
    with pytest.raises(ValueError, match="`columns` must be some of experiment_id, .*, got colour"):
        export(experiment, "csv", columns=["name", "colour"])
    with pytest.raises(UnknownExperimentError):
        export("exp_nobody", "csv", store=MemoryStore())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr("crucible_telemetry.extras.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "crucible-telemetry\[parquet\]"'):
        export(experiment, "parquet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.anyio
async def test_the_async_twin_writes_the_same_file():
    experiment = experiment_with({"a": 1})
    one = export(experiment, "csv", path="1.csv")
    two = await export_async(experiment, "csv", path="2.csv")
    assert one.read_bytes() == two.read_bytes()
