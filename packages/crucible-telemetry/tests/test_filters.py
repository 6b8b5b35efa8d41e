import json
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible_telemetry import F, MemoryStore, SQLiteStore, export, query, start_experiment
from crucible_telemetry.filters import Filter
from crucible_telemetry.schema import INDEX
from crucible_telemetry.stores.port import Query
from crucible_telemetry.testing import example_row


def row(seq=1, **given):
    attributes = given.pop("attributes", {})
    made = list(example_row(seq=seq, attributes=json.dumps(attributes)))
    for name, value in given.items():
        made[INDEX[name]] = value
    return tuple(made)


ROWS = [
    row(1, duration_s=0.5, model="a/b", attributes={"t": 0, "x.y": "one"}),
    row(2, duration_s=1.5, input_tokens=3, trace_id="ab" * 16, attributes={"t": 0.0, "x.y": "[*"}),
    row(3, model="A/B", item_id="ü🙂", attributes={"t": True, "x": {"y": "two"}}),
    row(4, duration_s=2.0, model="a_b", attributes={"t": "0", "l": [1], "n": None}),
    row(5, outcome="error", cost_usd=0.1 + 0.2, attributes={"t": -1, "x.y": "line\nbreak"}),
]

# What each filter keeps, by number; written by hand.
KEPT = [
    (F("duration_s") > 1.0, {2, 4}),
    (~(F("duration_s") > 1.0), {1, 3, 5}),  # a missing value is not above, and its negation is
    (F("duration_s") <= 0.5, {1}),
    (F("duration_s").is_none(), {3, 5}),
    (F("duration_s") != 0.5, {2, 4}),
    (F("cost_usd") == 0.1 + 0.2, {5}),
    (F("cost_usd") == 0.3, set()),
    (F("input_tokens") >= 2.5, {2}),
    (F("model") == "a/b", {1}),
    (F("model").is_in(["a/b", "a_b"]), {1, 4}),
    (F("model").is_in([]), set()),
    (F("model") < "a", {3}),  # code points, whatever the language
    (F("model").matches("a?b"), {1, 4}),
    (F("model").matches("*"), {1, 3, 4}),
    (F("item_id").matches("?🙂"), {3}),
    (F("trace_id") == "ab" * 16, {2}),
    (F("trace_id").is_none(), {1, 3, 4, 5}),
    (F("trace_id").matches("abab*"), {2}),
    (F("writer_id") == "00000000000000aa", {1, 2, 3, 4, 5}),
    (F("altered").is_none(), {1, 2, 3, 4, 5}),
    (F.attr("t") == 0, {1, 2}),
    (F.attr("t") == 0.0, {1, 2}),
    (F.attr("t") == True, {3}),  # noqa: E712
    (F.attr("t") == "0", {4}),
    (F.attr("t") < 0.5, {1, 2, 5}),
    (F.attr("t").matches("*"), {4}),
    (F.attr("x.y") == "one", {1}),  # a dot is part of the key
    (F.attr("x.y").is_none(), {3, 4}),
    (F.attr("x.y").matches("[*"), {2}),  # a bracket is a bracket
    (F.attr("x.y").matches("line*break"), {5}),
    (F.attr("n").is_none(), {1, 2, 3, 4, 5}),
    (F.attr("l") == 1, set()),
    ((F("duration_s") > 1.0) & (F.attr("t") == 0), {2}),
    ((F("duration_s") > 1.0) | (F("outcome") == "error"), {2, 4, 5}),
    (~((F("model") == "a/b") | (F("model") == "A/B")) & ~F("model").is_none(), {4}),
]


def kept(store, where, experiment="exp_a"):
    found = store.scan(Query(experiments=(experiment,), where=where))
    return {found_row[INDEX["seq"]] for found_row in found}


@pytest.fixture
def filled(every_store):
    every_store.append(ROWS)
    return every_store


def test_every_store_keeps_the_same_events(filled):
    for where, wanted in KEPT:
        assert kept(filled, where) == wanted, where


NUMBERS_OF_EXPERIMENTS = count()
NUMBERS = st.one_of(
    st.integers(-100, 100), st.floats(-100, 100, width=32), st.sampled_from([2**53, -(2**63)])
)
TEXTS = st.text("ab*?[]%_\\.ü🙂'\"", max_size=4)
SCALARS = st.one_of(NUMBERS, TEXTS, st.booleans())
CONDITIONS = st.one_of(
    st.builds(lambda v: F.attr("k") == v, SCALARS),
    st.builds(lambda v: F.attr("k") != v, SCALARS),
    st.builds(lambda v: F.attr("k") < v, st.one_of(NUMBERS, TEXTS)),
    st.builds(lambda v: F.attr("k") >= v, st.one_of(NUMBERS, TEXTS)),
    st.builds(lambda g: F.attr("k").matches(g), TEXTS),
    st.builds(lambda v: F("duration_s") > v, NUMBERS),
    st.builds(lambda v: F("input_tokens") <= v, NUMBERS),
    st.builds(lambda v: F("item_id") >= v, TEXTS),
    st.just(F("item_id").is_none()),
)
FILTERS = st.recursive(
    CONDITIONS,
    lambda inner: st.one_of(
        st.builds(lambda a, b: a & b, inner, inner),
        st.builds(lambda a, b: a | b, inner, inner),
        st.builds(lambda a: ~a, inner),
    ),
    max_leaves=5,
)
EVENTS = st.lists(
    st.tuples(
        st.one_of(st.none(), SCALARS),
        st.one_of(st.none(), st.floats(0, 100, width=32)),
        st.one_of(st.none(), st.integers(0, 100)),
        st.one_of(st.none(), TEXTS),
    ),
    min_size=1,
    max_size=6,
)


@settings(deadline=None)  # a shared machine, a real server
@given(where=FILTERS, events=EVENTS)
def test_sql_and_python_agree_on_any_filter(sql_store, where, events):
    experiment = f"exp_{next(NUMBERS_OF_EXPERIMENTS)}"
    rows = [
        row(
            n,
            experiment_id=experiment,
            duration_s=duration,
            input_tokens=tokens,
            item_id=item,
            attributes={"k": value},
        )
        for n, (value, duration, tokens, item) in enumerate(events, 1)
    ]
    wanted = {r[INDEX["seq"]] for r in rows if where.keeps(r)}
    sql_store.append(rows)
    assert kept(sql_store, where, experiment) == wanted


def test_events_metrics_and_exports_take_a_filter(tmp_path):
    from crucible_telemetry import calculate_metrics

    with start_experiment(name="f", store=MemoryStore(), capture_spans=False) as experiment:
        for n in range(10):
            experiment.record("call", outcome="ok", duration_s=float(n), item_id=f"q{n}")
        slow = F("duration_s") >= 8
        assert {e.item_id for e in experiment.events(slow)} == {"q8", "q9"}
        assert {e.item_id for e in experiment.events(slow, last_n=1)} <= {"q8", "q9"}
        assert {e.item_id for e in query.events(experiment.store, experiment.id, slow)} == {
            "q8",
            "q9",
        }
        report = calculate_metrics(experiment, where=slow)
        assert report.latency.mean_s == 8.5
        assert report.warnings == ()
        path = export(experiment, "jsonl", where=slow, path=tmp_path / "slow.jsonl")
    assert len(path.read_text().splitlines()) == 2
    manifest = json.loads(path.with_name("slow.jsonl.manifest.json").read_text())
    assert manifest["filtered"] is True
    assert manifest["writers"][0]["gaps"] is None  # left out on purpose is not lost


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: F("durations"), "`column` must be one of experiment_id, .*duration_s"),
        (lambda: F("attributes"), "attributes: F.attr"),
        (lambda: F.attr('a"b'), "`key` must match"),
        (lambda: F.attr(""), "`key` must match"),
        (lambda: F("model") == 1, "`value` for 'model' must be a text, got 1"),
        (lambda: F("duration_s") > "1", "`value` for 'duration_s' must be a number"),
        (lambda: F("altered") == "x", "must be absent or not"),
        (lambda: F("model") == None, "None: is_none"),  # noqa: E711
        (lambda: F("duration_s") > float("nan"), "`value` must be finite"),
        (lambda: F("start_ns") > 2**63, "`value` must fit 64 bits"),
        (lambda: F.attr("t") > True, "to have an order"),
        (lambda: F("model").is_in("ab"), "`values` must be a collection"),
        (lambda: F("duration_s").matches("1*"), "must be a number"),
        (lambda: F("model") == "\ud800", "that a store can hold"),
        (lambda: query.events(MemoryStore(), "x", "model = 1"), "`where` must be a filter"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(build, match):
    with pytest.raises(ValueError, match=match):
        build()


def test_a_filter_is_no_truth():
    one: Filter = F("duration_s") > 1
    with pytest.raises(TypeError, match="combine filters with `&`"):
        bool(one)
    with pytest.raises(TypeError, match="combine filters with `&`"):
        bool(0 < F("duration_s") < 1)
    with pytest.raises(TypeError, match="combines with filters"):
        one & True


def test_a_sqlite_file_is_searched_by_sql_with_bound_values(tmp_path):
    with SQLiteStore(tmp_path / "f.sqlite") as store:
        store.append([row(1, item_id="a'; DROP TABLE event; --")])
        assert kept(store, F("item_id") == "a'; DROP TABLE event; --") == {1}
