"""What a caller is told whose experiment stops while its events are not all there."""

import warnings
from collections.abc import Sequence

from crucible_telemetry.errors import OpenSpansWarning, RedactionWarning, SpillWarning
from crucible_telemetry.records import CaptureStats
from crucible_telemetry.spill import Spill

_NAMED_OPEN_SPANS = 5
# The line that stops the experiment is above this function, `stop` and what `stop` calls.
_CALLER = 4


def warn_of(name: str, stats: CaptureStats, *, open_spans: Sequence[str], spill: Spill) -> None:
    """Warn of open spans, a redactor that failed, and events that lie in the spill file."""
    if stats.open_spans:
        warnings.warn(
            f"{stats.open_spans} spans were still open when {name!r} stopped and are not stored: "
            f"{', '.join(open_spans[:_NAMED_OPEN_SPANS])}",
            OpenSpansWarning,
            stacklevel=_CALLER,
        )
    if stats.redaction_failures:
        warnings.warn(
            f"the redactor failed on {stats.redaction_failures} events, whose attributes were "
            "dropped",
            RedactionWarning,
            stacklevel=_CALLER,
        )
    if spill.waiting or stats.refused:
        warnings.warn(
            f"{spill.waiting} events wait and {stats.refused} refused ones lie in {spill.path}; "
            "see `recover_spill`",
            SpillWarning,
            stacklevel=_CALLER,
        )
