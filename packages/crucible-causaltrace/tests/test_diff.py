import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_causaltrace import Chain, Event, diff
from crucible_causaltrace.alignment import _common_rare, common


def chain_of(*events, task="t"):
    chain = Chain(task)
    chain.extend(
        Event(**({"id": f"e{n}", "type": "decision_made", "source": "self_report"} | event))
        for n, event in enumerate(events, start=1)
    )
    return chain


def split(confidence, says="Cache helps", *more):
    return chain_of(
        {"type": "task_decomposed", "decision": "Split"},
        {"type": "hypothesis_formed", "decision": says},
        {"decision": "Use SQLite", "confidence": confidence},
        *more,
    )


@pytest.fixture
def both():
    """Acceptance test 7 of the specification."""
    done = {"type": "synthesis", "decision": "Done"}
    return split(0.9), split(0.7, "Cache helps a lot", done)


def test_scores_are_those_of_the_specification(both):
    found = diff(*both)
    # (5 + 2*11/28) / 6 and (5 + .8) / 6; 2 * (1 + .964286 + .966667) / 7
    assert [pair.score for pair in found.pairs] == pytest.approx([1, 0.964286, 0.966667], abs=5e-7)
    assert found.similarity == pytest.approx(0.837415, abs=5e-7)
    assert [event.decision for event in found.added] == ["Done"]
    assert found.removed == found.moved == ()
    assert [(pair.old.id, pair.fields) for pair in found.modified] == [
        ("e2", ("decision",)), ("e3", ("confidence",)),
    ]  # fmt: skip
    assert found.confidence_deltas == {"e3": pytest.approx(-0.2)}


def test_a_chain_is_like_itself(both):
    for chain in both:
        found = diff(chain, chain)
        assert found.similarity == 1.0
        assert found.added == found.removed == found.modified == found.moved == ()
    assert diff(Chain("t"), Chain("t")).similarity is None
    assert diff(Chain("t"), both[0]).similarity == 0.0


def test_siblings_in_another_order_have_moved():
    a, b, c = ({"decision": d} for d in ("one", "two", "three"))
    found = diff(chain_of(a, b, c), chain_of(b, c, a))
    assert [pair.old.decision for pair in found.moved] == ["one"]
    assert found.modified == ()
    # A moved pair counts nine tenths: 2 * (.9 + 1 + 1) / 6.
    assert found.similarity == pytest.approx(2.9 / 3)


def test_an_event_under_another_parent_has_moved():
    top = {"type": "task_decomposed", "decision": "A"}, {"type": "task_decomposed", "decision": "B"}
    leaf = {"decision": "leaf"}
    found = diff(chain_of(*top, leaf | {"parent": "e1"}), chain_of(*top, leaf | {"parent": "e2"}))
    assert [pair.old.id for pair in found.moved] == ["e3"]
    assert found.modified == ()


def test_what_rested_on_a_removed_event_is_still_found():
    old = chain_of(
        {"decision": "first choice"}, {"type": "synthesis", "decision": "S", "parent": "e1"}
    )
    new = chain_of({"type": "synthesis", "decision": "S"})
    found = diff(old, new)
    assert [event.id for event in found.removed] == ["e1"]
    assert [(p.old.id, p.new.id, p.moved) for p in found.pairs] == [("e2", "e1", True)]


def test_the_most_similar_are_paired_first():
    old = chain_of({"decision": "Use a small cache"}, {"decision": "Use a big cache now"})
    new = chain_of({"decision": "Use a big cache"}, {"decision": "Ask the user about it"})
    found = diff(old, new)
    assert [(p.old.id, p.new.id) for p in found.pairs] == [("e2", "e1")]
    assert [e.id for e in found.added] == ["e2"]
    assert [e.id for e in found.removed] == ["e1"]


def test_the_best_pair_comes_first_though_another_was_met_before():
    # Indel: 2*10/32 = .625 for the first, 2*17/38 = .89 for the second.
    old = chain_of({"decision": "Use a cache"}, {"decision": "Use the big cache"})
    found = diff(old, chain_of({"decision": "Use the big cache now"}))
    assert [(p.old.id, p.new.id) for p in found.pairs] == [("e2", "e1")]


def test_explicit_ids_pair_what_texts_would_not():
    old = chain_of({"id": "d1", "decision": "Use SQLite"}, {"id": "d2", "decision": "Stop"})
    new = chain_of({"id": "d2", "decision": "Stop"}, {"id": "d1", "decision": "Write nothing"})
    assert [p.new.id for p in diff(old, new).pairs] == ["d1", "d2"]
    assert [p.new.id for p in diff(old, new, match="structure").pairs] == ["d2"]
    # An id that the parser made up pairs nothing by itself.
    assert diff(chain_of({"decision": "x"}), chain_of({"decision": "other"})).pairs == ()
    assert len(diff(chain_of({"decision": "x"}), chain_of({"decision": "other"}), match="id").pairs) == 1  # fmt: skip


def test_changed_links_are_changes_and_renamed_ones_are_none():
    def of(*ids, on):
        return chain_of(
            {"id": ids[0], "decision": "A"},
            {"id": ids[1], "decision": "B"},
            {"id": ids[2], "decision": "C", "depends_on": [ids[n] for n in on]},
        )

    assert diff(of("a", "b", "c", on=[0, 1]), of("x", "y", "z", on=[1, 0])).similarity != 1.0
    same = diff(of("a", "b", "c", on=[0, 1]), of("x", "y", "z", on=[0, 1]))
    assert (same.similarity, same.modified) == (1.0, ())
    fewer = diff(of("a", "b", "c", on=[0, 1]), of("a", "b", "c", on=[0]))
    assert [pair.fields for pair in fewer.modified] == [("depends_on",)]
    assert fewer.similarity < 1.0


def test_ignored_fields_may_differ():
    old, new = chain_of({"time_s": 1.0, "stage": "x"}), chain_of({"time_s": 2.0, "stage": "y"})
    assert diff(old, new).modified[0].fields == ("stage",)
    assert diff(old, new).similarity < 1.0
    assert diff(old, new, ignore=("time_s", "stage")).similarity == 1.0
    assert diff(old, new, ignore=()).modified[0].fields == ("time_s", "stage")
    stated, unstated = chain_of({"confidence": 0.5}), chain_of({})
    assert diff(stated, unstated).pairs[0].score == pytest.approx(5 / 6)
    assert diff(stated, unstated).confidence_deltas == {}
    assert diff(stated, unstated, ignore=("confidence",)).similarity == 1.0


@pytest.mark.parametrize(
    ("options", "name"),
    [({"match": "best"}, "match"), ({"ignore": ("colour",)}, "ignore"), ({"ignore": "time_s"}, "ignore")],
)  # fmt: skip
def test_what_a_diff_cannot_do_is_refused(options, name):
    with pytest.raises(ValueError, match=f"`{name}`"):
        diff(Chain("t"), Chain("t"), **options)


def test_a_diff_reads_as_text_and_as_an_escaped_table(both):
    found = diff(*both)
    assert found.to_text().splitlines() == [
        "similarity 0.837: 1 added, 0 removed, 2 modified, 0 moved, 1 unchanged",
        "~ hypothesis_formed (self-report): Cache helps a lot",
        "    decision: Cache helps -> Cache helps a lot",
        "~ decision_made (self-report): Use SQLite",
        "    confidence: 0.9 -> 0.7",
        "+ synthesis (self-report): Done",
    ]
    json.dumps(found.to_dict())
    hostile = '"><script>alert(1)</script>\x00\ud800'
    shown = diff(chain_of({"decision": hostile, "reasoning": "a"}),
                 chain_of({"decision": hostile, "reasoning": hostile})).to_html()  # fmt: skip
    assert "<script" not in shown
    assert "\x00" not in shown
    assert shown.count("&lt;script&gt;") == 2
    assert "nothing changed" in diff(both[0], both[0])._repr_html_()
    assert "\n" not in diff(chain_of({"decision": "a\n+ b"}), Chain("t")).to_text().splitlines()[1]


texts = st.sampled_from(["use sqlite", "use redis", "use sqlite now", "stop", None])
kinds = st.sampled_from(["decision_made", "synthesis"])


@st.composite
def chains(draw):
    events = []
    for n in range(draw(st.integers(0, 7))):
        above = draw(st.none() | st.integers(1, n)) if n else None
        events.append(
            {"type": draw(kinds), "decision": draw(texts),
             "reasoning": draw(st.sampled_from([None, "a", "b"])),
             "confidence": draw(st.sampled_from([None, 0.5, 0.75])),
             "parent": None if above is None else f"e{above}"}
        )  # fmt: skip
    return chain_of(*events)


@given(chains(), chains())
def test_the_way_back_is_the_mirror(old, new):
    forth, back = diff(old, new), diff(new, old)
    assert [e.id for e in forth.added] == [e.id for e in back.removed]
    assert [e.id for e in forth.removed] == [e.id for e in back.added]
    assert forth.similarity == back.similarity
    assert {(p.old.id, p.new.id, p.moved) for p in forth.pairs} == {
        (p.new.id, p.old.id, p.moved) for p in back.pairs
    }
    assert len(forth.pairs) + len(forth.added) == len(new)
    if old.events or new.events:
        assert 0.0 <= forth.similarity <= 1.0


@given(chains(), st.data())
def test_only_an_equal_chain_is_wholly_similar(chain, data):
    if not len(chain):
        return
    events = list(chain)
    at = data.draw(st.integers(0, len(events) - 1))
    events[at] = replace(events[at], outcome="changed")
    other = Chain("t")
    other.extend(events)
    assert diff(chain, chain).similarity == 1.0
    assert diff(chain, other).similarity < 1.0


@given(
    st.lists(st.sampled_from("abcd"), max_size=12), st.lists(st.sampled_from("abcd"), max_size=12)
)
def test_common_subsequences_are_common_and_longest(old, new):
    found = common(old, new)
    assert all(old[a] == new[b] for a, b in found)
    assert found == sorted(found)
    assert [b for _, b in found] == sorted({b for _, b in found})
    # The textbook recursion.
    table = [[0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for i, x in enumerate(old):
        for j, y in enumerate(new):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])  # fmt: skip
    assert len(found) == table[-1][-1]


@given(st.permutations(range(9)))
def test_beyond_memory_rare_events_still_align(order):
    found = _common_rare(list(range(9)), list(order))
    assert all(order[b] == a for a, b in found)
    assert [b for _, b in found] == sorted(b for _, b in found)
    assert len(found) == len(common(list(range(9)), list(order)))
