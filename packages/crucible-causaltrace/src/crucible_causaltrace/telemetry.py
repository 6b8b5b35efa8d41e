"""Turn recorded telemetry into the decisions that the system took."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from crucible_causaltrace.chain import Chain
from crucible_causaltrace.event import Event, Json
from crucible_causaltrace.span_links import link
from crucible_causaltrace.span_rules import DEFAULT_RULES, KEYS, MORE_KEYS, SpanRule, any_span


def chain_from_events(
    events: Iterable[Mapping[str, object]],
    *,
    task: str,
    rules: Sequence[SpanRule] = DEFAULT_RULES,
    id: str | None = None,
) -> Chain:
    """Make a chain of what the system did and decided; every recorded event becomes one event.

    Parameters
    ----------
    events : iterable of mapping
        With the keys name, start_ns, duration_s, outcome, error_type, model, cost_usd,
        input_tokens, output_tokens, trace_id, span_id, parent_span_id, item_id, attributes. A
        missing key is None; `experiment_id` and `repeat` are used where they are there.
    task : str
    rules : sequence of SpanRule
        The first one that fits and returns an event decides. A span that none wants becomes
        `system:span`.
    id : str, optional
        The chain's; a new ULID by default.

    Returns
    -------
    Chain
        Ordered by start. A parent that was not recorded leaves its id in
        `metadata["parent_span_id"]`.

    Raises
    ------
    ValueError
        If an event has no name.
    """
    spans = sorted((_normal(event) for event in events), key=_by_start)
    ids = _ids(spans)
    places: dict[tuple[Any, Any], int] = {}
    for place, span in enumerate(spans):
        if span["span_id"] is not None:
            places.setdefault((span["trace_id"], span["span_id"]), place)
    parents = _parents(spans, places)
    chain = Chain(task, id=id)
    made = []
    for place, span in enumerate(spans):
        above = parents[place]
        span["parent"] = None if above is None else spans[above]
        event = _apply(rules, span)
        metadata = dict(event.metadata)
        if above is None and span["parent_span_id"] is not None:
            metadata["parent_span_id"] = span["parent_span_id"]
        if span["trace_id"] is not None:
            metadata["trace_id"] = span["trace_id"]
        start, duration = span["start_ns"], span["duration_s"]
        outcome = span["outcome"]
        made.append(
            replace(
                event,
                id=ids[place],
                parent=None if above is None else ids[above],
                time_s=event.time_s if start is None else start / 1e9,
                duration_s=event.duration_s if duration is None else duration,
                outcome=event.outcome if outcome in (None, "unknown") else str(outcome),
                experiment_id=span["experiment_id"] or event.experiment_id,
                metadata=_json(metadata),
            )
        )
    link(spans, made, parents)
    chain.extend(made)
    return chain


def _normal(event: Mapping[str, object]) -> dict[str, Any]:
    span = {key: event.get(key) for key in (*KEYS, *MORE_KEYS)}
    if not isinstance(span["name"], str) or not span["name"]:
        raise ValueError(f"`events` must have a name each, got {span['name']!r}")
    duration = span["duration_s"]
    if not (isinstance(duration, int | float) and 0.0 <= duration < math.inf):
        span["duration_s"] = None
    if span["attributes"] is None:
        span["attributes"] = {}
    return span


def _by_start(span: Mapping[str, Any]) -> tuple[bool, int, str]:
    start = span["start_ns"]
    return start is None, start or 0, str(span["span_id"] or "")


def _ids(spans: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name events by their span id, `~2` and so on where it is taken, `s1` where there is none."""
    ids: dict[str, None] = {}
    wanted = {str(span["span_id"]) for span in spans if span["span_id"]}
    copies: dict[str, int] = {}
    for place, span in enumerate(spans):
        base = id = str(span["span_id"] or f"s{place + 1}")
        while id in ids or (not span["span_id"] and id in wanted):
            copies[base] = copies.get(base, 1) + 1
            id = f"{base}~{copies[base]}"
        ids[id] = None
    return list(ids)


def _parents(
    spans: Sequence[Mapping[str, Any]], places: Mapping[tuple[Any, Any], int]
) -> list[int | None]:
    """Find each span's parent; a parent that would make a circle is none."""
    parents: list[int | None] = []
    for place, span in enumerate(spans):
        above = places.get((span["trace_id"], span["parent_span_id"]))
        parents.append(None if above == place else above)
    settled: set[int] = set()
    for place in range(len(spans)):
        way: dict[int, None] = {}
        at: int | None = place
        while at is not None and at not in settled:
            way[at] = None
            above = parents[at]
            if above in way:
                parents[at] = above = None
            at = above
        settled.update(way)
    return parents


def _apply(rules: Sequence[SpanRule], span: Mapping[str, Any]) -> Event:
    for rule in rules:
        if fnmatchcase(span["name"], rule.match):
            event = rule.to(span)
            if event is not None:
                return replace(event, source="system_observed")
    return any_span(span)


def _json(metadata: Mapping[str, Any]) -> dict[str, Json]:
    """Return a copy that JSON can hold; values that it cannot become their `repr`."""
    try:
        json.dumps(metadata, allow_nan=False)
        return dict(metadata)
    except (TypeError, ValueError):
        plain: dict[str, Json] = json.loads(json.dumps(_finite(metadata), default=repr))
        return plain


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value
