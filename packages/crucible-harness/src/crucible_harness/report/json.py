"""The report as JSON, with the raw numbers."""

import json

from crucible_harness.report.model import Report


def render(report: Report) -> str:
    """Return the report as JSON with sorted keys."""
    return json.dumps(report.to_dict(), indent=1, sort_keys=True, allow_nan=False) + "\n"
