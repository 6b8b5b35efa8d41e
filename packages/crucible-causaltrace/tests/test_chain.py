import json
import pickle
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_causaltrace import Chain, Event, merge, parse_llm_output
from crucible_causaltrace.errors import (
    ChainExistsError,
    CorruptChainError,
    CycleError,
    DuplicateEventError,
    ExportTooLargeError,
    InputTooLargeError,
    MissingExtraError,
    SchemaVersionError,
    TraceParseError,
    UnknownEventError,
)
from crucible_causaltrace.queries import Q


def event(id, type="decision_made", source="self_report", **more):
    return Event(id=id, type=type, source=source, **more)


def chain_of(*events, **more):
    chain = Chain("t", **more)
    chain.extend(events)
    return chain


def names(events):
    return [e.id for e in events]


@pytest.fixture
def diamond():
    """One root, two ways, one end; and an event that stands alone."""
    return chain_of(
        event("a", "task_decomposed"),
        event("b", parent="a", confidence=0.4),
        event("c", parent="a", depends_on=["b"], confidence=0.8),
        event("d", "synthesis", depends_on=["b", "c"], confidence=0.9),
        event("e", "uncertainty_noted"),
    )


# Events


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"confidence": 1.01}, "`confidence`"),
        ({"confidence": -0.01}, "`confidence`"),
        ({"confidence": float("nan")}, "`confidence`"),
        ({"parent": "a"}, "linked to others"),
        ({"depends_on": ["a"]}, "linked to others"),
        ({"contradicts": ["a"]}, "linked to others"),
        ({"id": ""}, "`id`"),
        ({"type": ""}, "`type`"),
        ({"source": "guess"}, "`source`"),
        ({"disposition": "maybe"}, "`disposition`"),
        ({"depends_on": "b"}, "`depends_on`"),
        ({"time_s": float("inf")}, "`time_s`"),
        ({"duration_s": -1.0}, "`duration_s`"),
        ({"span": (3, 2)}, "`span`"),
        ({"order": -1}, "`order`"),
    ],
)
def test_an_impossible_event_is_refused(more, message):
    with pytest.raises(ValueError, match=message):
        Event(**({"id": "a", "type": "decision_made", "source": "self_report"} | more))


def test_nothing_about_an_event_is_assumed():
    unknown = event("a").to_dict()
    stated = {"id", "type", "source", "order", "truncated"}
    assert all(value in (None, [], {}) for key, value in unknown.items() if key not in stated)


def test_an_event_survives_json():
    full = event(
        "a", decision="d", reasoning="\ud800", alternatives=["x", ""], disposition="rejected",
        confidence=0.1, code="c", code_language="py", spec_reference="s", parent="p",
        depends_on=["q", "q"], contradicts=["r"], order=3, time_s=1.5, duration_s=0.25, outcome="ok",
        stage="st", experiment_id="x", span=(1, 2), truncated=True, metadata={"k": [1, None]},
    )  # fmt: skip
    assert full.depends_on == ("q",)
    assert Event.from_dict(json.loads(json.dumps(full.to_dict()))) == full
    assert len({full, Event.from_dict(full.to_dict())}) == 1


@pytest.mark.parametrize(
    "data", [{"id": "a"}, {"id": "a", "type": "t", "source": "self_report", "x": 1}]
)
def test_a_mapping_that_is_no_event_is_refused(data):
    with pytest.raises(ValueError, match="`data`"):
        Event.from_dict(data)


# Growth


def test_add_gives_an_event_its_place():
    chain = chain_of(event("a"), event("b"))
    assert chain.add(event("c", depends_on=["a"])).order == 2
    assert names(chain) == ["a", "b", "c"]
    assert len(chain) == 3
    assert "c" in chain
    assert chain["c"].depends_on == ("a",)


def test_adding_one_by_one_goes_on_after_the_last_place():
    chain = chain_of(event("a"), event("b"))
    kept = chain.filter(Q.regex("x") | Q.has("parent") | ~Q.type("nothing"))
    chain.restore([event("z", order=7)])
    assert [chain.add(event(id)).order for id in "cd"] == [8, 9]
    assert kept.add(event("c")).order == 2


def test_add_needs_what_the_event_names():
    with pytest.raises(UnknownEventError, match="'x'"):
        Chain("t").add(event("a", parent="x"))
    with pytest.raises(UnknownEventError, match="'x'"):
        chain_of(event("a"))["x"]


def test_an_id_is_given_once():
    with pytest.raises(DuplicateEventError):
        chain_of(event("a"), event("a"))


def test_a_batch_may_refer_forward():
    chain = chain_of(event("a", depends_on=["b"]), event("b"))
    assert names(chain.topological()) == ["b", "a"]


def test_a_batch_with_a_cycle_changes_nothing():
    chain = chain_of(event("z"))
    with pytest.raises(CycleError) as caught:
        chain.extend(
            [
                event("a", depends_on=["c"]),
                event("b", parent="a"),
                event("c", depends_on=["b", "z"]),
            ]
        )
    # In the direction of the links, from what supports to what rests on it.
    cycle = caught.value.cycle
    assert cycle[0] == cycle[-1]
    assert set(cycle) == {"a", "b", "c"}
    assert all((x, y) in {("a", "b"), ("b", "c"), ("c", "a")} for x, y in pairwise(cycle))
    assert names(chain) == ["z"]


def test_link_refuses_a_cycle_and_names_it(diamond):
    with pytest.raises(CycleError) as caught:
        diamond.link("a", depends_on="d")
    assert caught.value.cycle[0] == caught.value.cycle[-1] == "a"
    with pytest.raises(CycleError):
        diamond.link("a", parent="a")
    with pytest.raises(UnknownEventError):
        diamond.link("a", parent="")
    with pytest.raises(ValueError, match="must be given"):
        diamond.link("a")


def test_link_moves_and_adds(diamond):
    diamond.link("c", parent="e")
    diamond.link("e", contradicts="d")
    assert names(diamond.children("e")) == ["c"]
    assert names(diamond.children("a")) == ["b"]
    assert diamond["e"].contradicts == ("d",)
    assert names(diamond.ancestors("c")) == ["a", "b", "e"]
    diamond.link("b", depends_on="e")
    assert set(diamond.graph.edges) == {
        ("a", "b"),
        ("e", "b"),
        ("e", "c"),
        ("b", "c"),
        ("b", "d"),
        ("c", "d"),
    }


# The graph


def test_roots_leaves_and_relatives(diamond):
    assert names(diamond.roots()) == ["a", "e"]
    assert names(diamond.leaves()) == ["d", "e"]
    assert names(diamond.children("a")) == ["b", "c"]
    assert names(diamond.dependents("b")) == ["c", "d"]
    assert diamond.parent("b").id == "a"
    assert diamond.parent("a") is None
    assert names(diamond.ancestors("d")) == ["a", "b", "c"]
    assert names(diamond.descendants("a")) == ["b", "c", "d"]


def test_the_graph_is_networkx_and_cached(diamond):
    diamond.link("c", depends_on="a")
    kinds = {(a, b): kind for a, b, kind in diamond.graph.edges(data="kind")}
    assert kinds == {
        ("a", "b"): "parent", ("a", "c"): "both", ("b", "c"): "depends_on",
        ("b", "d"): "depends_on", ("c", "d"): "depends_on",
    }  # fmt: skip
    assert diamond.graph is diamond.graph
    assert set(diamond.graph) == {"a", "b", "c", "d", "e"}


@given(st.data())
def test_a_topological_order_respects_every_link(data):
    size = data.draw(st.integers(1, 12))
    order = data.draw(st.permutations(range(size)))
    events = []
    for place, n in enumerate(order):
        before = [f"n{m}" for m in order[:place]]
        picked = data.draw(st.lists(st.sampled_from(before), max_size=3)) if before else []
        parent = data.draw(st.none() | st.sampled_from(before)) if before else None
        events.append(event(f"n{n}", depends_on=picked, parent=parent))
    chain = chain_of(*data.draw(st.permutations(events)))
    sorted_ids = names(chain.topological())
    assert sorted(sorted_ids) == sorted(names(chain))
    place = {id: n for n, id in enumerate(sorted_ids)}
    assert all(place[id] < place[e.id] for e in chain for id in e.supports())
    reached = {e.id: set(names(chain.ancestors(e.id))) for e in chain}
    assert all(e.id in {d.id for d in chain.descendants(a)} for e in chain for a in reached[e.id])


# Questions


def test_find_asks_for_all_that_is_given():
    chain = chain_of(
        event("a", decision="Use SQLite", confidence=0.9, time_s=1.0, stage="x"),
        event("b", reasoning="sqlite is small", alternatives=["Redis"]),
        event("c", "synthesis", "system_observed", confidence=0.5, time_s=2.0),
    )
    assert names(chain.find()) == ["a", "b", "c"]
    assert names(chain.find(types={"synthesis"})) == ["c"]
    assert names(chain.find(sources=["self_report"])) == ["a", "b"]
    assert names(chain.find(text="SQLITE")) == ["a", "b"]
    assert names(chain.find(text="redis")) == ["b"]
    assert names(chain.find(pattern=r"SQL\w+$")) == ["a"]
    assert names(chain.find(min_confidence=0.5)) == ["a", "c"]
    assert names(chain.find(max_confidence=0.5)) == ["c"]
    assert names(chain.find(stage="x")) == ["a"]
    assert names(chain.find(since_s=2.0)) == ["c"]
    assert names(chain.find(until_s=1.0)) == ["a"]
    assert names(chain.find(Q.has("time_s"), min_confidence=0.6)) == ["a"]
    with pytest.raises(ValueError, match="`types`"):
        chain.find(types="synthesis")


def test_low_confidence_lists_only_what_was_stated(diamond):
    assert names(diamond.low_confidence()) == ["b"]
    assert names(diamond.low_confidence(0.85)) == ["b", "c"]


def test_decision_points_name_an_alternative(diamond):
    assert diamond.decision_points() == []
    diamond.add(event("f", alternatives=["x"]))
    assert names(diamond.decision_points()) == ["f"]


def test_a_doubt_is_resolved_by_a_decision_that_rests_on_it(diamond):
    assert names(diamond.unresolved()) == ["e"]
    diamond.link("d", depends_on="e")
    assert diamond.unresolved() == []


def test_statistics_count_and_measure(diamond):
    said = diamond.statistics()
    # By hand from the drawing: confidences .4 .8 .9; longest way a-b-c-d.
    assert said.n == 5
    assert said.by_type == {
        "task_decomposed": 1, "decision_made": 2, "synthesis": 1, "uncertainty_noted": 1,
    }  # fmt: skip
    assert said.by_source == {"self_report": 5}
    assert (said.confidence_n, said.confidence_median) == (3, 0.8)
    assert said.confidence_mean == pytest.approx(0.7)
    assert (said.confidence_min, said.confidence_max) == (0.4, 0.9)
    assert list(said.bands.values()) == [1, 1, 0, 1, 0]
    assert (said.depth, said.roots, said.leaves, said.components) == (3, 2, 2, 2)
    assert said.duration_s is None
    assert said.to_dict()["n"] == 5


def test_statistics_of_nothing_invent_nothing():
    said = Chain("t").statistics()
    assert said.confidence_mean is said.confidence_median is said.confidence_min is None
    assert (said.n, said.depth, said.components) == (0, 0, 0)


def test_the_duration_spans_the_timed_events():
    chain = chain_of(
        event("a", time_s=10.0, duration_s=5.0), event("b", time_s=11.0, duration_s=1.0), event("c")
    )
    assert chain.statistics().duration_s == 5.0
    assert chain_of(event("a", time_s=1.0, duration_s=5.0)).statistics().duration_s is None


# Other chains


def test_filtering_bridges_what_it_removes():
    chain = chain_of(
        event("a"), event("b", depends_on=["a"]), event("c", parent="b", contradicts=["b"])
    )
    kept = chain.filter(Q.regex("x") | ~Q.has("depends_on"))
    assert names(kept) == ["a", "c"]
    assert kept["c"].depends_on == ("a",)
    assert kept["c"].parent is None
    assert kept["c"].contradicts == ()
    assert kept["c"].metadata == {"bridged": True}
    assert kept["a"].metadata == {}
    assert names(chain) == ["a", "b", "c"]


def test_filtering_keeps_places_and_bridges_far():
    events = [event("n0"), *(event(f"n{n}", "synthesis", parent=f"n{n - 1}") for n in range(1, 6)),
              event("n6", parent="n5")]  # fmt: skip
    kept = chain_of(*events).filter(Q.type("decision_made"))
    assert [(e.id, e.order, e.depends_on) for e in kept] == [("n0", 0, ()), ("n6", 6, ("n0",))]


def test_sorting_gives_another_order_and_back():
    chain = chain_of(
        event("a", confidence=0.2, depends_on=["c"]), event("b"), event("c", confidence=0.7)
    )
    by = chain.sort("confidence", reverse=True)
    assert names(by) == ["c", "a", "b"]
    assert names(by.sort("order")) == ["a", "b", "c"]
    assert names(chain.sort("topological")) == ["b", "c", "a"]
    assert names(chain.sort("time")) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="`key`"):
        chain.sort("size")


def test_merging_renames_what_clashes():
    first = chain_of(event("a"), event("b", depends_on=["a"]), id="1", text="x", metadata={"k": 1})
    second = chain_of(
        event("a"), event("a~2", parent="a", contradicts=["a"]), event("c", depends_on=["a", "a~2"]),
        id="2", text="y", metadata={"k": 2, "l": 3},
    )  # fmt: skip
    merged = merge(first, second)
    assert [(e.id, e.parent, e.depends_on, e.order) for e in merged] == [
        ("a", None, (), 0), ("b", None, ("a",), 1), ("a~3", None, (), 2), ("a~2", "a~3", (), 3),
        ("c", None, ("a~3", "a~2"), 4),
    ]  # fmt: skip
    assert merged["a~2"].contradicts == ("a~3",)
    assert (merged.task, merged.text, merged.metadata) == ("t", "x\n\ny", {"k": 1, "l": 3})
    with pytest.raises(DuplicateEventError):
        merge(first, second, on_conflict="error")
    with pytest.raises(ValueError, match="`chains`"):
        merge()
    with pytest.raises(ValueError, match="`on_conflict`"):
        merge(first, on_conflict="drop")


def test_what_a_call_said_is_hung_under_the_call():
    said = chain_of(event("a"), event("b", depends_on=["a"]), id="said")
    call = event(
        "call",
        "system:model_call",
        "system_observed",
        metadata={"attributes": {"crucible.trace.id": "said"}},
    )
    merged = merge(chain_of(call), said, task="both")
    assert [(e.id, e.parent) for e in merged] == [("call", None), ("a", "call"), ("b", None)]
    assert merged.task == "both"


# Storage


def test_a_parsed_chain_survives_json(oddities):
    chain = parse_llm_output(oddities, "t", id="c")
    again = Chain.from_dict(json.loads(json.dumps(chain.to_dict())))
    assert again == chain
    assert again.parse_report == chain.parse_report


def test_a_chain_that_grew_after_parsing_keeps_both(oddities):
    chain = parse_llm_output(oddities, "t", id="c")
    chain.link("e1", depends_on="t1")
    chain.add(event("late"))
    again = Chain.from_dict(json.loads(json.dumps(chain.to_dict())))
    assert again == chain
    assert again["e1"].depends_on == ("t1",)
    assert again.parse_report.events[2].depends_on == ()


def test_another_version_is_refused():
    data = Chain("t").to_dict() | {"schema": "crucible-causaltrace/9"}
    with pytest.raises(SchemaVersionError, match="crucible-causaltrace/9"):
        Chain.from_dict(data)


def test_default_ids_are_ulids_and_differ():
    first, second = Chain("t").id, Chain("t").id
    assert len(first) == 26
    assert first != second
    with pytest.raises(ValueError, match="`id`"):
        Chain("t", id="")


def test_a_notebook_shows_an_escaped_table():
    chain = Chain("<script>alert(1)</script>")
    chain.extend([event(f"n{n}", decision="<img src=x onerror=alert(1)>") for n in range(60)])
    shown = chain._repr_html_()
    assert "<script" not in shown
    assert "<img" not in shown
    assert "the first 50 shown" in shown


@pytest.mark.parametrize(
    "error",
    [
        CycleError(["a", "b", "a"]),
        UnknownEventError("a"),
        ChainExistsError("a"),
        CorruptChainError("x.json", "no JSON"),
        SchemaVersionError("9", "1", "x.json"),
        ExportTooLargeError(600, 500),
        InputTooLargeError(11, 10),
        MissingExtraError("sql"),
        TraceParseError(parse_llm_output("</event>", "t").parse_report.issues),
    ],
)
def test_errors_pickle(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
