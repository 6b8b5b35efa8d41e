"""Chains as W3C PROV, in its JSON form; a self-report is attributed, never made a cause."""

import json
from datetime import UTC, datetime
from typing import Any

from crucible_causaltrace.chain import Chain
from crucible_causaltrace.event import SOURCES, Event
from crucible_causaltrace.exports.wording import CAVEAT, replace_unspeakable

_AGENTS = {"self_report": "model", "system_observed": "system", "intervention": "experimenter"}
_NAMESPACE = "urn:crucible-causaltrace:"
_PLAIN = ("type", "source", "reasoning", "confidence", "disposition", "code", "code_language",
          "spec_reference", "outcome", "stage", "experiment_id", "order")  # fmt: skip


def to_prov_json(chain: Chain) -> str:
    """Write a chain as PROV-JSON.

    An event is an activity, its decision an entity that it generated, its source an agent with
    which it is associated. What it depends on it used, and its decision is derived from that one;
    its parent informed it. Where an event decided nothing there is no entity, and what depends on
    it is informed by it. Times stand only where they are known.
    """
    doc: dict[str, Any] = {"prefix": {"c": _NAMESPACE}}
    names = {event.id: f"n{n}" for n, event in enumerate(chain, start=1)}

    def put(kind: str, id: str, facts: dict[str, Any]) -> None:
        doc.setdefault(kind, {})[id] = facts

    def relate(kind: str, facts: dict[str, Any]) -> None:
        relations = doc.setdefault(kind, {})
        relations[f"_:{kind}{len(relations) + 1}"] = facts

    put("entity", "c:chain", _known({"prov:label": chain.task, "c:id": chain.id, "c:note": CAVEAT}))
    for source in SOURCES:
        if any(event.source == source for event in chain):
            put("agent", f"c:{_AGENTS[source]}", {"prov:label": _AGENTS[source]})
    for event in chain:
        activity, entity = f"c:{names[event.id]}", f"c:{names[event.id]}_decision"
        put("activity", activity, _activity(event, names))
        relate(
            "wasAssociatedWith",
            {"prov:activity": activity, "prov:agent": f"c:{_AGENTS[event.source]}"},
        )
        if event.decision is not None:
            put("entity", entity, _known({"prov:value": event.decision}))
            relate("wasGeneratedBy", {"prov:entity": entity, "prov:activity": activity})
        if event.parent is not None:
            relate(
                "wasInformedBy",
                {"prov:informed": activity, "prov:informant": f"c:{names[event.parent]}"},
            )
        for id in event.depends_on:
            if chain[id].decision is None:
                informant = {"prov:informed": activity, "prov:informant": f"c:{names[id]}"}
                relate("wasInformedBy", informant)
                continue
            ground = f"c:{names[id]}_decision"
            relate("used", {"prov:activity": activity, "prov:entity": ground})
            if event.decision is not None:
                derived = {"prov:generatedEntity": entity, "prov:usedEntity": ground}
                relate("wasDerivedFrom", derived)
    return json.dumps(doc, indent=1)


def _activity(event: Event, names: dict[str, str]) -> dict[str, Any]:
    start = event.time_s
    end = None if start is None or event.duration_s is None else start + event.duration_s
    facts: dict[str, Any] = {"prov:startTime": _moment(start), "prov:endTime": _moment(end)}
    facts["c:id"] = event.id
    data = event.to_dict()
    facts |= {f"c:{name}": data[name] for name in _PLAIN}
    facts["c:alternative"] = list(event.alternatives) or None
    facts["c:contradicts"] = [names[id] for id in event.contradicts] or None
    facts["c:metadata"] = json.dumps(data["metadata"]) if event.metadata else None
    return _known(facts)


def _known(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in facts.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return replace_unspeakable(value)
    return [replace_unspeakable(one) for one in value] if isinstance(value, list) else value


def _moment(time_s: float | None) -> str | None:
    """Write a Unix time; None where it is not known or beyond the years that PROV can say."""
    if time_s is None:
        return None
    try:
        return datetime.fromtimestamp(time_s, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return None
