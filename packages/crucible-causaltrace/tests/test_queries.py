import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_causaltrace import Event
from crucible_causaltrace.errors import QueryError
from crucible_causaltrace.queries import Q


def event(**more):
    return Event(**({"id": "a", "type": "decision_made", "source": "self_report"} | more))


def test_a_confidence_that_was_not_stated_satisfies_no_comparison():
    unknown = event()
    conditions = [
        Q.confidence < 2,
        Q.confidence >= 0,
        Q.confidence == 0.5,
        Q.confidence <= 2,
        Q.confidence > -1,
    ]
    assert not any(condition(unknown) for condition in conditions)
    assert all((~condition)(unknown) for condition in conditions)


def test_conditions_combine():
    sure = event(confidence=0.9, decision="Use SQLite", metadata={"model": "small"})
    assert (Q.type("decision_made") & (Q.confidence > 0.7))(sure)
    assert not (Q.type("synthesis") | Q.source("intervention"))(sure)
    assert (Q.text("sqlite") & Q.has("decision") & (Q.meta("model") == "small"))(sure)
    assert Q.regex("^use", re.IGNORECASE)(sure)
    assert not Q.has("code")(sure)
    assert not (Q.meta("size") == None)(sure)  # noqa: E711  # builds a condition


leaves = st.sampled_from(
    [Q.type("decision_made", "synthesis"), Q.source("self_report"), Q.confidence < 0.5, Q.text("x"),
     Q.regex("y+", re.IGNORECASE), Q.has("reasoning"), Q.meta("k") == 1, Q.confidence == 0.5]
)  # fmt: skip
queries = st.recursive(
    leaves,
    lambda inner: (
        st.builds(lambda a, b: a & b, inner, inner)
        | st.builds(lambda a, b: a | b, inner, inner)
        | st.builds(lambda a: ~a, inner)
    ),
    max_leaves=6,
)
events = st.builds(
    event,
    type=st.sampled_from(["decision_made", "other"]),
    decision=st.none() | st.sampled_from(["xX", "Yy"]),
    reasoning=st.none() | st.just("r"),
    confidence=st.none() | st.sampled_from([0.2, 0.5, 0.9]),
    metadata=st.sampled_from([{}, {"k": 1}]),
)


@given(queries, events)
def test_a_stored_query_finds_the_same(query, event):
    again = Q.from_dict(json.loads(json.dumps(query.to_dict())))
    assert again == query
    assert again(event) == query(event)


@given(queries, queries, events)
def test_de_morgan_holds(a, b, event):
    assert (~(a & b))(event) == (~a | ~b)(event)


def test_the_json_form_of_the_specification_is_read():
    query = Q.from_dict({"and": [{"confidence": {"lt": 0.7}}, {"type": ["decision_made", "b"]}]})
    assert query(event(confidence=0.6))
    assert not query(event(confidence=0.7))


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ({"colour": "red"}, "colour"),
        ({"confidence": {"about": 0.5}}, "about"),
        ({"confidence": {"lt": "0.5"}}, "lt"),
        ({"has": "soul"}, "soul"),
        ({"regex": {"pattern": "("}}, "regex"),
        ({}, "one key"),
        ({"and": [{"x": 1}]}, "x"),
        ({"text": 3}, "text"),
    ],
)
def test_an_unknown_condition_is_named(form, names):
    with pytest.raises(QueryError, match=re.escape(names)):
        Q.from_dict(form)
