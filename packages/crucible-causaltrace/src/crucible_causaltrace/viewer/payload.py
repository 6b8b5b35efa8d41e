"""The data of a page: columns, compressed, in letters that HTML cannot misread."""

import base64
import json
from collections.abc import Hashable, Iterable
from dataclasses import asdict
from typing import Any

from crucible_causaltrace.chain import Chain
from crucible_causaltrace.event import SCHEMA, SOURCES, Event
from crucible_causaltrace.seals import Seal, verify
from crucible_causaltrace.viewer.highlight import tokens_of

# Few distinct values: stored as a list of them and a number per event.
_CODED = ("type", "stage", "outcome", "code_language", "experiment_id", "disposition")
_PLAIN = ("decision", "reasoning", "code", "spec_reference", "confidence", "time_s", "duration_s")


def pack(chain: Chain, *, title: str, seal: Seal | None = None) -> str:
    """Return base64 of gzip of JSON; the same chain gives the same letters."""
    import gzip

    data = columns(chain, title=title)
    if seal is not None:
        data["seal"] = _seal(chain, seal)
    content = json.dumps(data, separators=(",", ":"), allow_nan=False)
    squeezed = gzip.compress(content.encode("ascii"), compresslevel=9, mtime=0)
    # The tenth byte names the operating system in some versions of Python: 255 is "unknown".
    squeezed = squeezed[:9] + b"\xff" + squeezed[10:]
    return base64.b64encode(squeezed).decode("ascii")


def columns(chain: Chain, *, title: str) -> dict[str, Any]:
    """Return the chain as columns; one in which nothing is known is left out."""
    events = chain.events
    place = {event.id: n for n, event in enumerate(events)}
    report = chain.parse_report
    data: dict[str, Any] = {
        "schema": SCHEMA,
        "title": title,
        "task": chain.task,
        "chain": chain.id,
        "metadata": dict(chain.metadata),
        "text": chain.text,
        "blocks": [asdict(block) for block in chain.code_blocks],
        "issues": [] if report is None else [asdict(issue) for issue in report.issues],
        "parsed": report is not None,
        "n": len(events),
        "id": [event.id for event in events],
        "order": [event.order for event in events],
        "source": [SOURCES.index(event.source) for event in events],
        "parent": [-1 if event.parent is None else place[event.parent] for event in events],
        "truncated": [n for n, event in enumerate(events) if event.truncated],
    }
    for name in _CODED:
        _put(data, name, _coded(getattr(event, name) for event in events))
    for name in _PLAIN:
        _put(data, name, [getattr(event, name) for event in events])
    for name in ("depends_on", "contradicts"):
        _put(data, name, [[place[id] for id in getattr(event, name)] or None for event in events])
    _put(data, "alternatives", [list(event.alternatives) or None for event in events])
    _put(data, "span", [None if event.span is None else list(event.span) for event in events])
    _put(data, "metadata_of", [dict(event.metadata) or None for event in events])
    _put(data, "tokens", _tokens(events))
    return data


def _seal(chain: Chain, seal: Seal) -> dict[str, str]:
    """Say what is known of the seal when the page is made: the page itself checks nothing."""
    head = f"{seal.head[:8]}…{seal.head[-6:]}"
    if seal.keyed:
        state, says = "keyed", f"Sealed with a key, head {head}; not checked by this page"
    else:
        check = verify(chain, seal)
        state = "valid" if check.valid else "broken"
        says = (
            f"Seal {head} was valid when this page was made"
            if check.valid
            else f"Seal {head} is broken: {check.reason}"
        )
    return {"state": state, "says": says, "algorithm": seal.algorithm, "head": seal.head}


def _put(data: dict[str, Any], name: str, column: Any) -> None:
    values = column["codes"] if isinstance(column, dict) else column
    if any(value is not None and value != -1 for value in values):
        data[name] = column


def _coded(values: Iterable[Hashable | None]) -> dict[str, Any]:
    names: dict[Hashable, int] = {}
    codes = [-1 if value is None else names.setdefault(value, len(names)) for value in values]
    return {"values": list(names), "codes": codes}


def _tokens(events: Iterable[Event]) -> list[list[int] | None]:
    return [
        None if event.code is None else tokens_of(event.code, event.code_language)
        for event in events
    ]
