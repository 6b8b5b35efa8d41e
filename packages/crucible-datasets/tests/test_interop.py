import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crucible_datasets import Dataset, Item, evaluate, load
from crucible_datasets.interop import from_hf, to_csv, to_hf, to_parquet, written_fields
from crucible_datasets.loaders.tabular import FieldMap
from crucible_datasets.store import ResultStore

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
ROWS = st.lists(
    st.tuples(
        TEXT.filter(str.strip), JSON, st.none() | st.lists(TEXT, min_size=1, max_size=4),
        st.none() | TEXT, st.dictionaries(TEXT, JSON, max_size=2),
    ),
    min_size=40, max_size=40,
)  # fmt: skip


@given(ROWS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_item_survives_every_format(tmp_path_factory, rows):
    # 25 x 40 = 1,000 items with newlines, quotes, unicode and None: acceptance 23
    folder = tmp_path_factory.mktemp("formats")
    items = [
        Item(id=f"x/{n}", input=text, expected=expected, context=context, metadata=metadata,
             choices=None if choices is None else tuple(choices))
        for n, (text, expected, choices, context, metadata) in enumerate(rows)
    ]  # fmt: skip
    dataset = Dataset.from_items("mine", items, task="text")
    dataset.to_jsonl(folder / "x.jsonl")
    to_csv(dataset, folder / "x.csv")
    to_parquet(dataset, folder / "x.parquet")
    for name, fields in (("x.jsonl", FieldMap.of_items()), ("x.csv", written_fields()),
                         ("x.parquet", written_fields())):  # fmt: skip
        assert tuple(load("mine", path=folder / name, fields=fields)) == tuple(items), name


def test_hugging_face_data_sets_keep_the_fingerprint():
    for name in ("demo-choice", "demo-claims", "demo-code", "demo-arithmetic"):
        demo = load(name)
        back = from_hf(to_hf(demo), name=name)
        assert back.fingerprint() == demo.fingerprint()
        assert back.task == demo.task


def test_foreign_data_sets_are_mapped_by_field():
    import datasets

    foreign = datasets.Dataset.from_dict({"q": ["1+1?"], "a": ["2"]})
    mine = from_hf(foreign, name="sums", fields=FieldMap(input="q", expected="a"), task="math")
    assert (mine[0].id, mine[0].input, mine[0].expected) == ("sums/0", "1+1?", "2")


DEMO = load("demo-arithmetic")[:4]


def stored(store, model, right):
    said = {i.id: i.expected for i in DEMO[:right]}
    return store.save(evaluate(said, DEMO, model=model))


def test_results_come_back_as_they_were_saved(tmp_path):
    store = ResultStore(tmp_path / "results.sqlite")
    result = evaluate({i.id: i.expected for i in DEMO}, DEMO, model="m")
    id = store.save(result)
    back = store.get(id)
    assert back.to_dict() == result.to_dict()
    assert back == result
    assert back.by("operation") == {"sum": (1.0, 4)}
    assert store.list()[0].to_dict()["accuracy"] == 1.0
    json.dumps(store.list()[0].to_dict())


def test_results_are_found_by_what_they_are_about(tmp_path):
    store = ResultStore(tmp_path / "results.sqlite")
    a, b = stored(store, "a", 4), stored(store, "b", 2)
    assert a != b
    assert [r.id for r in store.query(model="b")] == [b]
    assert [r.id for r in store.query(min_accuracy=0.6)] == [a]
    assert [r.id for r in store.query(max_accuracy=0.6, dataset="demo-arithmetic")] == [b]
    now = datetime.now(UTC)
    assert len(store.query(since=now - timedelta(hours=1), until=now + timedelta(hours=1))) == 2
    assert store.query(since=now + timedelta(hours=1)) == ()
    store.delete(a)
    assert [r.id for r in ResultStore(tmp_path / "results.sqlite").list()] == [b]
    for call in (store.get, store.delete):
        with pytest.raises(ValueError, match="id of a stored result, got '../../etc'"):
            call("../../etc")
    with pytest.raises(ValueError, match="must have a time zone"):
        store.query(since=datetime(2024, 1, 1))
