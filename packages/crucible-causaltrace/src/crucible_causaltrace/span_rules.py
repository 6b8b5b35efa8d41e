"""What each kind of span means: rules from a recorded span to the event it stands for.

A rule is given a mapping with the keys of a telemetry event (`KEYS`, None where missing) and one
more, "parent": the same mapping of the parent span, or None. Ids, times and links are added later,
by whoever applies the rules.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from crucible_causaltrace.event import Event, Json
from crucible_causaltrace.vocabulary import Disposition

KEYS = (
    "name", "start_ns", "duration_s", "outcome", "error_type", "model", "cost_usd", "input_tokens",
    "output_tokens", "trace_id", "span_id", "parent_span_id", "item_id", "attributes",
)  # fmt: skip
MORE_KEYS = ("experiment_id", "repeat")
# Kept as they are in the event's metadata, where they are known.
_FACTS = ("model", "input_tokens", "output_tokens", "cost_usd", "error_type", "item_id")
_RETRY_INDEX = (
    "crucible.attempt.index",
    "crucible.ensemble.attempt",
    "http.request.resend_count",
)


@dataclass(frozen=True, slots=True)
class SpanRule:
    """Spans whose name fits the glob `match` become what `to` returns; None is for other rules."""

    match: str
    to: Callable[[Mapping[str, Any]], Event | None]


def observed(
    span: Mapping[str, Any],
    type: str,
    *,
    decision: str | None = None,
    alternatives: tuple[str, ...] = (),
    disposition: Disposition | None = None,
    stage: str | None = None,
    **facts: Json,
) -> Event:
    """Make the event of a span; its facts and attributes become metadata, where they are known.

    Parameters
    ----------
    span : mapping
        As a rule receives it.
    type : str
    decision, alternatives, disposition, stage
        See `Event`.
    **facts : JSON
        More metadata.
    """
    metadata: dict[str, Json] = {"span": span["name"]}
    metadata |= {key: span[key] for key in _FACTS if span[key] is not None}
    metadata |= {key: value for key, value in facts.items() if value is not None}
    if span["attributes"]:
        metadata["attributes"] = dict(span["attributes"])
    return Event(
        id=str(span["span_id"] or "span"),
        type=type,
        source="system_observed",
        decision=decision,
        alternatives=alternatives,
        disposition=disposition,
        stage=stage,
        metadata=metadata,
    )


def attribute(span: Mapping[str, Any] | None, *names: str) -> Any:
    """Return the first of these attributes that the span has, else None."""
    attributes = (span or {}).get("attributes") or {}
    return next((attributes[name] for name in names if attributes.get(name) is not None), None)


def _vote(span: Mapping[str, Any]) -> Event:
    """Read a vote. Its confidence stays None: agreement is not a probability of being right."""
    parent = span["parent"]

    def said(name: str) -> Any:
        own = attribute(span, f"crucible.ensemble.{name}")
        return attribute(parent, f"crucible.ensemble.{name}") if own is None else own

    answer = attribute(span, "crucible.answer", "crucible.ensemble.answer")
    counts = _mapping(said("votes"))
    decision = None if answer is None else str(answer)
    losers = tuple(option for option in counts if option != decision)
    return observed(
        span,
        "decision_made",
        decision=decision,
        alternatives=losers if decision is not None else tuple(counts),
        counts=counts or None,
        strategy=said("strategy"),
        consensus=said("consensus"),
        support=said("support"),
        tie_policy=said("tie"),
        tied=said("tied"),
        options=said("answer_count"),
        winner_score=said("winner_score"),
    )


def _predict(span: Mapping[str, Any]) -> Event | None:
    """Read a cascade; what its stages were asked for is linked by whoever applies the rules."""
    if attribute(span, "crucible.ensemble.execution") != "cascade":
        return None
    called, asked = (attribute(span, f"crucible.ensemble.{name}") for name in ("called", "asked"))
    known = called is not None and asked is not None
    decision = f"stopped at stage {called} of {asked}" if known else None
    return observed(
        span, "system:cascade", decision=decision, ended=attribute(span, "crucible.ensemble.ended")
    )


def _mapping(value: Any) -> dict[str, Json]:
    """Read a mapping that may have been recorded as JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return {str(k): v for k, v in value.items()} if isinstance(value, Mapping) else {}


def _cell(span: Mapping[str, Any]) -> Event:
    condition = attribute(span, "crucible.condition", "crucible.harness.condition")
    repeat = span["repeat"]
    return observed(
        span,
        "system:cell",
        stage=None if condition is None else str(condition),
        condition=condition,
        item_id=span["item_id"] or attribute(span, "crucible.item.id"),
        repeat=attribute(span, "crucible.repeat") if repeat is None else repeat,
        status=attribute(span, "crucible.harness.status"),
        from_journal=attribute(span, "crucible.harness.from_journal"),
    )


def _hedge(span: Mapping[str, Any]) -> Event:
    hedged = attribute(span, "crucible.hedging.hedged")
    winner = attribute(span, "crucible.hedging.winner")
    won = attribute(span, "crucible.hedging.won")
    decision = None
    if hedged is False:
        decision = "not hedged"
    elif won is not None or isinstance(winner, int):
        backup = bool(won) if won is not None else winner > 0
        decision = "backup won" if backup else "primary won"
    return observed(span, "system:hedge", decision=decision)


def _attempt(span: Mapping[str, Any]) -> Event:
    name = attribute(span, "crucible.hedging.attempt.name")
    return observed(span, "system:attempt", decision=None if name is None else str(name))


def _tool(span: Mapping[str, Any]) -> Event | None:
    operation = attribute(span, "gen_ai.operation.name")
    tool = attribute(span, "gen_ai.tool.name", "crucible.tool.name")
    named = span["name"].startswith("execute_tool") or tool is not None
    if operation != "execute_tool" and not named:
        return None
    return observed(span, "system:tool_call", decision=None if tool is None else str(tool))


_GUARDS = {"guard", "guardrail", "guardrails"}


def _guard(span: Mapping[str, Any]) -> Event | None:
    if not _GUARDS & set(re.split(r"[._\s/-]", span["name"].lower())):
        return None
    verdicts = [
        str(value)
        for name, value in (span["attributes"] or {}).items()
        if name.rpartition(".")[2] == "verdict" and value is not None
    ]
    if verdicts:
        return observed(span, "decision_made", decision=verdicts[0])
    return observed(span, "system:guard_decision")


def _model_call(span: Mapping[str, Any]) -> Event | None:
    called = span["model"] is not None or any(
        name.startswith("gen_ai.") for name in span["attributes"]
    )
    if not (called or span["name"].startswith(("gen_ai", "crucible.ensemble.generate"))):
        return None
    answer = attribute(span, "crucible.answer")
    index = attribute(span, *_RETRY_INDEX)
    retried = isinstance(index, int) and index > 0
    return observed(
        span,
        "system:retry" if retried else "system:model_call",
        decision=None if answer is None else str(answer),
    )


_TRAINING = {"evaluate": "evaluated"}


def _training(span: Mapping[str, Any]) -> Event | None:
    name = re.sub(r"[^a-z0-9_]", "_", span["name"].rpartition(".")[2].lower())
    if not name or not name[0].isalpha():
        return None
    return observed(span, f"training:{_TRAINING.get(name, name)}")


def any_span(span: Mapping[str, Any]) -> Event:
    """Keep a span that no rule knows: nothing is skipped."""
    return observed(span, "system:span")


DEFAULT_RULES: tuple[SpanRule, ...] = (
    SpanRule("crucible.harness.cell", _cell),
    SpanRule("crucible.ensemble.vote", _vote),
    SpanRule("crucible.ensemble.predict", _predict),
    SpanRule("crucible.hedging.request", _hedge),
    SpanRule("crucible.hedging.attempt", _attempt),
    SpanRule("crucible.lora.step", _training),
    SpanRule("crucible.lora.checkpoint", _training),
    SpanRule("crucible.lora.evaluate", _training),
    SpanRule("crucible.training.*", _training),
    SpanRule("*", _guard),
    SpanRule("*", _tool),
    SpanRule("*", _model_call),
)
