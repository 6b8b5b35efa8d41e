"""Chains as plain mappings, and back; nothing is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from crucible_causaltrace.accounting import CodeBlock, account_from_dict, account_to_dict
from crucible_causaltrace.errors import SchemaVersionError
from crucible_causaltrace.event import SCHEMA, Event

if TYPE_CHECKING:
    from crucible_causaltrace.chain import Chain


def chain_to_dict(chain: Chain) -> dict[str, Any]:
    """Write a chain; see `Chain.to_dict`."""
    report = chain.parse_report
    events = [event.to_dict() for event in chain]
    account: dict[str, Any] | None = None
    if report is not None:
        parsed = [event.to_dict() for event in report.events]
        # The events as parsed, where the chain has other ones by now.
        account = account_to_dict(report) | {"events": None if parsed == events else parsed}
    return {
        "schema": SCHEMA,
        "id": chain.id,
        "task": chain.task,
        "metadata": dict(chain.metadata),
        "text": chain.text,
        "code_blocks": [asdict(block) for block in chain.code_blocks],
        "parse_report": account,
        "events": events,
    }


def chain_from_dict(data: Mapping[str, Any]) -> Chain:
    """Read a chain; see `Chain.from_dict`."""
    from crucible_causaltrace.chain import Chain

    if data.get("schema") != SCHEMA:
        raise SchemaVersionError(data.get("schema"), SCHEMA)
    events = [Event.from_dict(event) for event in data["events"]]
    blocks = tuple(CodeBlock(**block) for block in data["code_blocks"])
    account = data["parse_report"]
    report = None
    if account is not None:
        parsed = account["events"]
        report = account_from_dict(
            account,
            events=tuple(events if parsed is None else map(Event.from_dict, parsed)),
            text=data["text"],
            code_blocks=blocks,
        )
    chain = Chain(
        data["task"],
        id=data["id"],
        metadata=data["metadata"],
        text=data["text"],
        code_blocks=blocks,
        parse_report=report,
    )
    chain.restore(events)
    return chain
