"""Give every event its id, let references find their events, and drop what would close a cycle."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from crucible_causaltrace.elements import Draft
from crucible_causaltrace.event import Event, Json
from crucible_causaltrace.scanner import Finding
from crucible_causaltrace.vocabulary import read_type

_KNOWN_ATTRIBUTES = ("type", "id", "parent", "depends_on", "contradicts", "stage")


@dataclass(slots=True)
class _Links:
    """The references of one event, by place of the event they name."""

    parent: int | None = None
    depends_on: list[int] = field(default_factory=list)
    contradicts: list[int] = field(default_factory=list)
    unresolved: dict[str, list[Json]] = field(default_factory=dict)


def resolve(drafts: Sequence[Draft]) -> tuple[list[Event], list[Finding]]:
    """Turn drafts into events.

    Given ids stand; events without one become e1, e2, ... where that is free. A reference means
    the first bearer of an id, wherever it stands.
    """
    findings: list[Finding] = []
    ids = _assign_ids(drafts, findings)
    bearers: dict[str, int] = {}
    for place, draft in enumerate(drafts):
        bearers.setdefault(draft.attributes.get("id", "").strip() or ids[place], place)
    links = [_look_up(draft, place, bearers, findings) for place, draft in enumerate(drafts)]
    _break_cycles(links, ids, drafts, findings)
    events = []
    for place, (draft, link) in enumerate(zip(drafts, links, strict=True)):
        event, issue = make_event(
            draft,
            id=ids[place],
            order=place,
            parent=None if link.parent is None else ids[link.parent],
            depends_on=tuple(ids[n] for n in link.depends_on),
            contradicts=tuple(ids[n] for n in link.contradicts),
            unresolved=link.unresolved,
        )
        events.append(event)
        if issue is not None:
            findings.append(_at_tag(issue[0], issue[1], draft, place))
    return events, findings


def make_event(
    draft: Draft,
    *,
    id: str,
    order: int,
    parent: str | None,
    depends_on: tuple[str, ...],
    contradicts: tuple[str, ...],
    unresolved: Mapping[str, Sequence[Json]],
) -> tuple[Event, tuple[str, str] | None]:
    """Return the event that a draft describes, and the issue with its type if there is one."""
    attributes, values = draft.attributes, draft.values
    stated = attributes.get("type", "").strip()
    type_, disposition, standing = read_type(stated) if stated else ("unspecified", None, "known")
    issue = None
    if not stated:
        issue = "missing_type", "the event states no type"
    elif standing == "unknown":
        issue = "unknown_type", f"{_short(stated)} is not a known type; kept as it is"
    elif standing == "reserved":
        issue = "reserved_type", f"{_short(stated)} is a type that only code may give"
    metadata = dict(draft.metadata)
    others: dict[str, Json] = {k: v for k, v in attributes.items() if k not in _KNOWN_ATTRIBUTES}
    if others:
        metadata.setdefault("attributes", others)
    if unresolved:
        metadata.setdefault("unresolved", dict(unresolved))
    event = Event(
        id=id,
        type=type_,
        source="self_report",
        decision=values.get("decision"),
        reasoning=values.get("reasoning"),
        alternatives=tuple(draft.alternatives),
        disposition=disposition,
        confidence=values.get("confidence"),
        code=values.get("code_section"),
        code_language=values.get("code_language"),
        spec_reference=values.get("spec_reference"),
        parent=parent,
        depends_on=depends_on,
        contradicts=contradicts,
        order=order,
        stage=attributes.get("stage", "").strip() or None,
        span=(draft.start, draft.end),
        truncated=draft.truncated,
        metadata=metadata,
    )
    return event, issue


class Provisional:
    """Events as they arrive, before the text is at its end.

    Ids and links may still change: a later event may claim an id, or be the one that is meant.
    """

    def __init__(self) -> None:
        self._taken: dict[str, None] = {}
        self._count = 0

    def event(self, draft: Draft) -> Event:
        """Return the event with links to those that have arrived."""
        given = draft.attributes.get("id", "").strip()
        if given:
            id = _free(given, self._taken) if given in self._taken else given
        else:
            self._count += 1
            while f"e{self._count}" in self._taken:
                self._count += 1
            id = f"e{self._count}"
        wanted = [r for r in _named(draft, "depends_on", self._taken) if r in self._taken]
        contradicted = [r for r in _named(draft, "contradicts", self._taken) if r in self._taken]
        parent = draft.attributes.get("parent", "").strip()
        event, _ = make_event(
            draft,
            id=id,
            order=len(self._taken),
            parent=parent if parent in self._taken else None,
            depends_on=tuple(wanted),
            contradicts=tuple(contradicted),
            unresolved={},
        )
        self._taken[id] = None
        return event


def _assign_ids(drafts: Sequence[Draft], findings: list[Finding]) -> list[str]:
    given = [draft.attributes.get("id", "").strip() for draft in drafts]
    taken = dict.fromkeys(filter(None, given))
    ids: list[str] = []
    seen: set[str] = set()
    copies: dict[str, int] = {}
    count = 0
    for place, stated in enumerate(given):
        if not stated:
            count += 1
            while f"e{count}" in taken:
                count += 1
            ids.append(f"e{count}")
            continue
        if stated not in seen:
            seen.add(stated)
            ids.append(stated)
            continue
        id = _free(stated, taken, copies)
        taken[id] = None
        ids.append(id)
        message = f"{_short(stated)} is taken; renamed {_short(id)}"
        findings.append(_at_tag("duplicate_id", message, drafts[place], place))
    return ids


def _free(id: str, taken: Mapping[str, object], copies: dict[str, int] | None = None) -> str:
    copies = {} if copies is None else copies
    number = copies.get(id, 1) + 1
    while f"{id}~{number}" in taken:
        number += 1
    copies[id] = number
    return f"{id}~{number}"


def _named(draft: Draft, attribute: str, bearers: Mapping[str, object]) -> list[str]:
    """List the ids that an attribute names, each once."""
    named: list[str] = []
    for part in draft.attributes.get(attribute, "").split(","):
        part = part.strip()
        pieces = re.split(r"[\s;]+", part)
        if part not in bearers and len(pieces) > 1 and all(p in bearers for p in pieces if p):
            named += [piece for piece in pieces if piece]
        elif part:
            named.append(part)
    return list(dict.fromkeys(named))


def _look_up(
    draft: Draft, place: int, bearers: Mapping[str, int], findings: list[Finding]
) -> _Links:
    links = _Links()
    parent = draft.attributes.get("parent", "").strip()
    wanted = [("parent", parent)] if parent else []
    for attribute in ("depends_on", "contradicts"):
        if attribute in draft.attributes:
            wanted += [(attribute, id) for id in _named(draft, attribute, bearers)]
    for attribute, id in wanted:
        found = bearers.get(id)
        if found is None or found == place:
            code = "unknown_reference" if found is None else "self_reference"
            says = "no event has the id" if found is None else "the event names itself,"
            findings.append(_at_tag(code, f"{attribute}: {says} {_short(id)}", draft, place))
            links.unresolved.setdefault(attribute, []).append(id)
        elif attribute == "parent":
            links.parent = found
        else:
            (links.depends_on if attribute == "depends_on" else links.contradicts).append(found)
    return links


def _break_cycles(
    links: Sequence[_Links], ids: Sequence[str], drafts: Sequence[Draft], findings: list[Finding]
) -> None:
    """Drop the links that lead back to an event on the way; depth first, in reading order."""
    forward = any(
        n > place
        for place, link in enumerate(links)
        for n in (*link.depends_on, -1 if link.parent is None else link.parent)
    )
    if not forward:
        return
    fresh, on_the_way, done = 0, 1, 2
    state = [fresh] * len(links)
    for root in range(len(links)):
        if state[root] != fresh:
            continue
        state[root] = on_the_way
        path = [(root, iter(_targets(links[root])))]
        while path:
            place, targets = path[-1]
            target = next(targets, None)
            if target is None:
                state[place] = done
                path.pop()
            elif state[target] == fresh:
                state[target] = on_the_way
                path.append((target, iter(_targets(links[target]))))
            elif state[target] == on_the_way:
                _drop(links[place], target, ids[target])
                message = f"the link to {_short(ids[target])} closes a cycle; dropped"
                findings.append(_at_tag("cycle", message, drafts[place], place))


def _targets(link: _Links) -> list[int]:
    parent = [] if link.parent is None else [link.parent]
    return list(dict.fromkeys(parent + link.depends_on))


def _drop(link: _Links, target: int, id: str) -> None:
    if link.parent == target:
        link.parent = None
        link.unresolved.setdefault("parent", []).append(id)
    if target in link.depends_on:
        link.depends_on.remove(target)
        link.unresolved.setdefault("depends_on", []).append(id)


def _at_tag(code: str, message: str, draft: Draft, place: int) -> Finding:
    return Finding(code, message, draft.start, draft.tag_end, place)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")
