"""Chains as CSV, one event a row."""

import csv
import io
import json
from typing import Any

from crucible_causaltrace.chain import Chain
from crucible_causaltrace.event import Event
from crucible_causaltrace.exports.wording import replace_unspeakable

# A cell that begins with one of these is a formula to a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_COLUMNS = tuple(Event(id="x", type="x", source="self_report").to_dict())


def to_csv(chain: Chain) -> str:
    """Write a chain as CSV with a header; lists and metadata are JSON, unknown is empty."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)  # RFC 4180: lines end with CR LF, and what holds either is quoted
    writer.writerow(_COLUMNS)
    for event in chain:
        data = event.to_dict()
        writer.writerow([_cell(data[name]) for name in _COLUMNS])
    return out.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        guarded = f"'{value}" if value.startswith(_FORMULA) else value
        return replace_unspeakable(guarded)
    return json.dumps(value)
