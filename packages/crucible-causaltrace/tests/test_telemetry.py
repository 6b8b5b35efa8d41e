import json
import math
import random

import pytest

from crucible_causaltrace import Chain, Event, chain_from_events
from crucible_causaltrace.span_rules import DEFAULT_RULES, SpanRule, observed

S = 1_000_000_000
T0 = 1_765_000_000 * S


def span(name, id, parent=None, start=0.0, took=1.0, **more):
    attributes = more.pop("attributes", {})
    return {
        "name": name, "span_id": id, "parent_span_id": parent, "trace_id": "t", "outcome": "ok",
        "start_ns": T0 + round(start * S), "duration_s": took, "attributes": attributes,
    } | more  # fmt: skip


def vote_of_three():
    """A cell: three members, one failing for good, one retried, one hedged; then the vote."""
    e = "crucible.ensemble."
    chat = {"gen_ai.operation.name": "chat"}
    hedge = "crucible.hedging.attempt."
    return [
        span("crucible.harness.cell", "cell", start=0, took=4, item_id="q1", attributes={
            "crucible.condition": "vote-3", "crucible.repeat": 1, "crucible.harness.status": "ok",
            "crucible.harness.from_journal": False}),
        span(e + "predict", "predict", "cell", 0.1, 3.8, attributes={
            e + "strategy": "majority", e + "consensus": 0.5, e + "support": 1 / 3}),
        span(e + "member", "m1", "predict", 0.1, 1, outcome="error", attributes={e + "member": "a"}),
        span(e + "generate", "g1", "m1", 0.2, 0.5, outcome="error", error_type="ServerError",
             model="a", attributes=chat),
        span(e + "member", "m2", "predict", 0.1, 2, attributes={e + "member": "b"}),
        span(e + "generate", "g2", "m2", 0.2, 0.5, outcome="timeout", model="b", attributes=chat),
        span(e + "generate", "g3", "m2", 1.0, 0.5, model="b", input_tokens=10, output_tokens=3,
             cost_usd=0.001, attributes=chat),
        span(e + "member", "m3", "predict", 0.1, 3, attributes={e + "member": "c"}),
        span("crucible.hedging.request", "h", "m3", 0.2, 2.5, attributes={
            "crucible.hedging.hedged": True, "crucible.hedging.won": True}),
        span("crucible.hedging.attempt", "h1", "h", 0.2, 2.4, outcome="cancelled", attributes={hedge + "index": 0}),
        span(e + "generate", "g4", "h1", 0.21, 2.3, outcome="cancelled", model="c", attributes=chat),
        span("crucible.hedging.attempt", "h2", "h", 1.2, 1.4, attributes={hedge + "index": 1}),
        span(e + "generate", "g5", "h2", 1.21, 1.3, model="c", attributes=chat),
        span(e + "vote", "vote", "predict", 3.8, 0.001, attributes={
            e + "strategy": "majority", "crucible.answer": "42", e + "answer_count": 2,
            e + "tied": True, e + "votes": json.dumps({"42": 1.0, "41": 1.0})}),
    ]  # fmt: skip


@pytest.fixture
def vote():
    spans = vote_of_three()
    random.Random(1).shuffle(spans)
    return chain_from_events(spans, task="t", id="run")


def test_every_span_becomes_one_event_with_its_parent(vote):
    assert len(vote) == len(vote_of_three())
    assert {e.id: e.parent for e in vote} == {
        s["span_id"]: s["parent_span_id"] for s in vote_of_three()
    }
    assert {e.source for e in vote} == {"system_observed"}
    assert [e.order for e in vote] == list(range(len(vote)))
    assert [e.time_s for e in vote] == sorted(e.time_s for e in vote)
    assert vote.id == "run"


def test_each_span_means_what_the_table_says(vote):
    assert {e.id: e.type for e in vote} == {
        "cell": "system:cell", "predict": "system:span", "m1": "system:span", "m2": "system:span",
        "m3": "system:span", "g1": "system:model_call", "g2": "system:model_call",
        "g3": "system:retry", "g4": "system:model_call", "g5": "system:model_call",
        "h": "system:hedge", "h1": "system:attempt", "h2": "system:attempt", "vote": "decision_made",
    }  # fmt: skip


def test_a_vote_has_its_losers_and_no_confidence(vote):
    decision = vote["vote"]
    assert (decision.decision, decision.alternatives) == ("42", ("41",))
    # Agreement is not a probability of being right.
    assert decision.confidence is None
    facts = {
        k: decision.metadata[k] for k in ("counts", "strategy", "consensus", "support", "tied")
    }
    assert facts == {
        "counts": {"42": 1.0, "41": 1.0}, "strategy": "majority", "consensus": 0.5,
        "support": 1 / 3, "tied": True,
    }  # fmt: skip


def test_a_vote_rests_on_the_calls_that_ended_before_it(vote):
    assert set(vote["vote"].depends_on) == {"g1", "g2", "g3", "g4", "g5"}


def test_a_call_that_ends_after_the_vote_is_no_ground_for_it():
    spans = [s if s["span_id"] != "g5" else s | {"duration_s": 9.0} for s in vote_of_three()]
    assert "g5" not in chain_from_events(spans, task="t")["vote"].depends_on


def test_a_vote_on_votes_rests_on_the_inner_vote():
    e = "crucible.ensemble."
    chain = chain_from_events(
        [
            span(e + "predict", "outer", took=9),
            span(e + "member", "m", "outer", took=5),
            span(e + "predict", "inner", "m", took=5),
            span(e + "generate", "g", "inner", took=1),
            span(e + "vote", "v1", "inner", 2, 0),
            span(e + "generate", "g2", "outer", 2, 1),
            span(e + "vote", "v2", "outer", 8, 0),
        ],
        task="t",
    )
    assert set(chain["v2"].depends_on) == {"v1", "g2"}
    assert chain["v1"].depends_on == ("g",)


def test_an_answer_that_telemetry_did_not_keep_is_none():
    (event,) = chain_from_events([span("crucible.ensemble.vote", "v")], task="t")
    assert (event.decision, event.alternatives) == (None, ())


def test_attempts_follow_each_other_and_retries_what_failed(vote):
    assert vote["h2"].depends_on == ("h1",)
    assert vote["h1"].depends_on == ()
    assert vote["g3"].depends_on == ("g2",)
    assert vote["g5"].type == "system:model_call"


def test_a_second_call_after_a_good_one_is_no_retry():
    e = "crucible.ensemble."
    chain = chain_from_events(
        [
            span(e + "member", "m", took=9),
            span(e + "generate", "a", "m", 0, 1),
            span(e + "generate", "b", "m", 2, 1),
        ],
        task="t",
    )
    assert [chain[id].type for id in "ab"] == ["system:model_call"] * 2
    assert chain["b"].depends_on == ()


def test_a_retry_may_say_so_itself():
    attributes = {"gen_ai.operation.name": "chat", "http.request.resend_count": 2}
    (event,) = chain_from_events([span("chat", "a", attributes=attributes)], task="t")
    assert event.type == "system:retry"


@pytest.mark.parametrize(
    ("attributes", "decision"),
    [
        ({"hedged": False}, "not hedged"),
        ({"hedged": True, "won": True}, "backup won"),
        ({"hedged": True, "won": False}, "primary won"),
        ({"hedged": True, "winner": 1}, "backup won"),
        ({"hedged": True, "winner": 0}, "primary won"),
        ({}, None),
    ],
)
def test_a_hedge_says_who_won(attributes, decision):
    named = {f"crucible.hedging.{key}": value for key, value in attributes.items()}
    (event,) = chain_from_events(
        [span("crucible.hedging.request", "h", attributes=named)], task="t"
    )
    assert event.decision == decision


def test_a_cell_says_which_one_it_is(vote):
    cell = vote["cell"]
    assert cell.stage == "vote-3"
    assert {k: v for k, v in cell.metadata.items() if k not in ("attributes", "span", "trace_id")} == {
        "condition": "vote-3", "item_id": "q1", "repeat": 1, "status": "ok", "from_journal": False,
    }  # fmt: skip


def test_a_call_keeps_what_is_known_and_only_that(vote):
    retried, failed = vote["g3"].metadata, vote["g1"].metadata
    assert (retried["model"], retried["input_tokens"], retried["cost_usd"]) == ("b", 10, 0.001)
    assert "cost_usd" not in failed
    assert failed["error_type"] == "ServerError"
    assert vote["g1"].outcome == "error"


@pytest.mark.parametrize(
    ("name", "attributes", "type_", "decision"),
    [
        ("crucible.lora.step", {}, "training:step", None),
        ("crucible.lora.checkpoint", {}, "training:checkpoint", None),
        ("crucible.lora.evaluate", {}, "training:evaluated", None),
        ("crucible.training.early_stopped", {}, "training:early_stopped", None),
        ("execute_tool search", {"gen_ai.tool.name": "search"}, "system:tool_call", "search"),
        ("x", {"gen_ai.operation.name": "execute_tool"}, "system:tool_call", None),
        ("crucible.security.guard", {}, "system:guard_decision", None),
        ("crucible.security.guard", {"crucible.guard.verdict": "block"}, "decision_made", "block"),
        ("chat gpt", {"gen_ai.request.temperature": 0.7}, "system:model_call", None),
        ("safeguarding", {}, "system:span", None),
        ("GET /x", {"http.response.status_code": 200}, "system:span", None),
    ],
)
def test_other_spans_are_what_they_are(name, attributes, type_, decision):
    (event,) = chain_from_events([span(name, "a", attributes=attributes)], task="t")
    assert (event.type, event.decision, event.metadata["span"]) == (type_, decision, name)


def test_a_rule_of_ones_own_comes_first_and_none_means_another():
    def mine(found):
        if found["attributes"].get("skip"):
            return None
        return observed(found, "mine:step", decision=found["parent"]["name"], extra=None, size=3)

    rules = (SpanRule("my.*", mine), *DEFAULT_RULES)
    chain = chain_from_events(
        [
            span("top", "a"),
            span("my.step", "b", "a"),
            span("my.step", "c", "a", attributes={"skip": 1}),
        ],
        task="t",
        rules=rules,
    )
    assert [(e.type, e.decision) for e in chain] == [
        ("system:span", None), ("mine:step", "top"), ("system:span", None),
    ]  # fmt: skip
    assert chain["b"].metadata["size"] == 3
    assert chain["b"].parent == "a"


def test_missing_keys_are_unknown():
    (event,) = chain_from_events([{"name": "x"}], task="t")
    assert event == Event(
        id="s1", type="system:span", source="system_observed", metadata={"span": "x"}
    )


def test_a_parent_that_was_not_recorded_leaves_its_id():
    (event,) = chain_from_events([span("x", "a", "gone")], task="t")
    assert event.parent is None
    assert event.metadata["parent_span_id"] == "gone"


def test_parents_are_looked_for_in_the_same_trace():
    chain = chain_from_events([span("x", "a"), span("y", "b", "a", trace_id="other")], task="t")
    assert chain["b"].parent is None


def test_span_ids_that_repeat_and_parents_in_a_circle_lose_nothing():
    spans = [
        span("x", "a", "b"),
        span("y", "b", "a"),
        span("z", "a"),
        span("w", "c", "c"),
        span("v", None),
    ]
    chain = chain_from_events(spans, task="t")
    assert len(chain) == 5
    assert sorted(e.id for e in chain) == ["a", "a~2", "b", "c", "s1"]


def test_a_parent_may_start_later_than_its_child():
    chain = chain_from_events([span("x", "a", "b", start=0), span("y", "b", start=1)], task="t")
    assert chain["a"].parent == "b"


def test_values_that_json_cannot_hold_are_written_out():
    odd = {"a": math.inf, "b": {1: object}, "c": (1, 2)}
    chain = chain_from_events([span("x", "a", attributes=odd, duration_s=math.nan)], task="t")
    kept = chain["a"].metadata["attributes"]
    assert (kept["a"], kept["b"], kept["c"]) == ("inf", {"1": repr(object)}, [1, 2])
    assert chain["a"].duration_s is None
    assert Chain.from_dict(json.loads(json.dumps(chain.to_dict()))) == chain


def test_an_event_without_a_name_is_refused():
    with pytest.raises(ValueError, match="name"):
        chain_from_events([{"span_id": "a"}], task="t")


# Shapes that crucible-ensemble, crucible-hedging and crucible-telemetry recorded in a real run.


def recorded(*rows):
    """Rows of name, id, parent, start in s, duration in s, outcome, and what was known besides."""
    return [
        span(f"crucible.{name}", id, parent, start, took, outcome=outcome, **more)
        for name, id, parent, start, took, outcome, more in rows
    ]


def marks(prefix, **facts):
    return {"attributes": {f"crucible.{prefix}.{key}": value for key, value in facts.items()}}


def call(model, error_type=None, **attributes):
    chat = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model}
    return {"model": model, "error_type": error_type, "attributes": chat | attributes}


def hedged_run():
    """Three members: one answers, one fails, one is late and raced by a backup, which wins."""
    hedge = {"policy": "fixed(0.02 s)", "key": "c", "delay_s": 0.02, "hedged": True, "backups": 1,
             "extra_requests": 1, "winner": 1, "won": True, "wasted_s": 0.0296}  # fmt: skip
    return recorded(
        ("ensemble.predict", "p", None, 0.0, 0.0328, "ok", marks(
            "ensemble", strategy="majority", execution="parallel", asked=3, called=3, valid=2,
            consensus=0.5, support=1 / 3, tie="seeded", ended="all", hedged=0, abstained=False)),
        ("ensemble.member", "m1", "p", 0.0005, 0.0007, "ok", marks("ensemble", member="a", sample=0)),
        ("ensemble.generate", "g1", "m1", 0.0009, 0.0001, "ok", call("a")),
        ("ensemble.member", "m2", "p", 0.0013, 0.0003, "error", marks("ensemble", member="b", sample=0)),
        ("ensemble.generate", "g2", "m2", 0.0014, 0.0001, "error", call("b", "ConnectionError")),
        ("ensemble.member", "m3", "p", 0.0017, 0.0307, "ok", marks("ensemble", member="c", sample=0)),
        ("hedging.request", "h", "m3", 0.0019, 0.0298, "ok", marks("hedging", **hedge)),
        # Written when the request ends, with the times at which they ran; the first starts with it.
        ("hedging.attempt", "a1", "h", 0.0019, 0.0296, "cancelled", marks(
            "hedging.attempt", index=0, name="primary", status="cancelled")),
        # The caller's span stays the current one: calls lie beside the request, not below it.
        ("ensemble.generate", "g3", "m3", 0.0022, 0.0294, "cancelled", call("c", "CancelledError")),
        ("hedging.attempt", "a2", "h", 0.0308, 0.0005, "ok", marks(
            "hedging.attempt", index=1, name="backup 1", status="won")),
        ("ensemble.generate", "g4", "m3", 0.0313, 0.0001, "ok", call("c")),
        ("ensemble.vote", "v", "p", 0.0326, 0.0002, "ok", marks(
            "ensemble", strategy="majority", n=3, answer_count=2, tied=True, winner_score=1.0)),
    )  # fmt: skip


def test_a_recorded_race_shows_who_called_and_who_won():
    chain = chain_from_events(hedged_run(), task="t")
    assert len(chain) == len(hedged_run())
    assert chain["h"].decision == "backup won"
    assert [chain[a].decision for a in ("a1", "a2")] == ["primary", "backup 1"]
    assert chain["a2"].depends_on == ("a1",)
    # Each attempt made one call, though the call is recorded beside it; neither is a retry.
    assert (chain["g3"].depends_on, chain["g4"].depends_on) == (("a1",), ("a2",))
    assert [chain[g].type for g in ("g3", "g4")] == ["system:model_call"] * 2
    assert chain["g3"].parent == "m3"
    vote = chain["v"]
    assert set(vote.depends_on) == {"g1", "g2", "g3", "g4"}
    # The answers were not recorded: the count was.
    assert (vote.decision, vote.alternatives, vote.confidence) == (None, (), None)
    assert vote.metadata["options"] == 2
    assert (vote.metadata["consensus"], vote.metadata["winner_score"]) == (0.5, 1.0)
    assert vote.metadata["tie_policy"] == "seeded"


def test_a_race_that_a_busy_machine_recorded_too_short_keeps_its_calls():
    # The process stood still between the two clocks that tell when a span starts and how long it is.
    spans = [s | {"duration_s": 0.025} if s["span_id"] == "h" else s for s in hedged_run()]
    chain = chain_from_events(spans, task="t")
    assert (chain["g3"].depends_on, chain["g4"].depends_on) == (("a1",), ("a2",))
    assert [chain[g].type for g in ("g3", "g4")] == ["system:model_call"] * 2


def test_a_race_outside_an_ensemble_is_seen_too():
    spans = [s for s in hedged_run() if s["span_id"] in ("h", "a1", "a2", "g3", "g4")]
    cell = span("crucible.harness.cell", "m3", took=1)
    chain = chain_from_events([cell, *spans], task="t")
    assert (chain["g3"].depends_on, chain["g4"].depends_on) == (("a1",), ("a2",))


def test_calls_that_no_attempt_can_be_told_from_stay_as_they_are():
    spans = [s for s in hedged_run() if s["span_id"] != "g3"]
    chain = chain_from_events(spans, task="t")
    assert chain["g4"].depends_on == ()
    failed = [s | {"outcome": "error"} if s["span_id"] in ("a1", "g3") else s for s in hedged_run()]
    failed = [s | {"duration_s": 0.001} if s["span_id"] == "g3" else s for s in failed]
    # A backup that starts because the first call failed is a backup still.
    assert chain_from_events(failed, task="t")["g4"].type == "system:model_call"


def test_a_recorded_retry_names_its_attempt():
    retried = call("m", **{"crucible.ensemble.attempt": 1, "crucible.model.id": "openai/m"})
    chain = chain_from_events(
        recorded(
            (
                "ensemble.member",
                "m",
                None,
                0.0,
                2.0,
                "ok",
                marks("ensemble", member="m", attempts=2),
            ),
            ("ensemble.generate", "g1", "m", 0.1, 0.2, "error", call("m", "RateLimitError")),
            ("ensemble.generate", "g2", "m", 0.9, 0.2, "ok", retried),
        ),
        task="t",
    )
    assert [chain[g].type for g in ("g1", "g2")] == ["system:model_call", "system:retry"]
    assert chain["g2"].depends_on == ("g1",)


def test_a_recorded_cascade_shows_where_it_stopped_and_how_it_got_there():
    facts = {
        "strategy": "majority",
        "execution": "cascade",
        "asked": 3,
        "called": 2,
        "ended": "winner",
    }
    chain = chain_from_events(
        recorded(
            ("ensemble.predict", "p", None, 0.0, 0.0011, "ok", marks("ensemble", **facts)),
            ("ensemble.member", "m1", "p", 0.0003, 0.0003, "ok", marks("ensemble", member="small")),
            (
                "ensemble.generate",
                "g1",
                "m1",
                0.0004,
                0.0001,
                "ok",
                call("small", **{"crucible.confidence": 0.3}),
            ),
            ("ensemble.member", "m2", "p", 0.0007, 0.0002, "ok", marks("ensemble", member="big")),
            ("ensemble.generate", "g2", "m2", 0.0008, 0.0001, "ok", call("big")),
            ("ensemble.vote", "v", "p", 0.001, 0.0001, "ok", marks("ensemble", answer_count=2)),
        ),
        task="t",
    )
    assert (chain["p"].type, chain["p"].decision) == ("system:cascade", "stopped at stage 2 of 3")
    assert (chain["m2"].type, chain["m2"].decision) == ("system:escalation", "ask big")
    assert chain["m2"].depends_on == ("m1",)
    assert chain["m1"].type == "system:span"
    assert chain["g1"].confidence is None  # it stays in the attributes: who measured it is not said
    (unknown,) = chain_from_events(
        recorded(
            ("ensemble.predict", "p", None, 0, 1, "ok", marks("ensemble", execution="cascade"))
        ),
        task="t",
    )
    assert unknown.decision is None
