"""Read, link, store and draw the decisions of a run; a stated reason stays testimony."""

from crucible_causaltrace.calibration import calibrate_confidence
from crucible_causaltrace.chain import Chain
from crucible_causaltrace.diffing import diff
from crucible_causaltrace.event import Event
from crucible_causaltrace.exports import export_chain
from crucible_causaltrace.merging import merge
from crucible_causaltrace.parsing import EventParser, parse, parse_llm_output
from crucible_causaltrace.patterns import mine_patterns
from crucible_causaltrace.probe import probe_faithfulness, probe_faithfulness_sync
from crucible_causaltrace.prompt import build_causal_prompt
from crucible_causaltrace.seals import seal, verify
from crucible_causaltrace.stores import load, save
from crucible_causaltrace.telemetry import chain_from_events
from crucible_causaltrace.viewer import open_visualization, render_html

__all__ = [
    "Chain",
    "Event",
    "EventParser",
    "build_causal_prompt",
    "calibrate_confidence",
    "chain_from_events",
    "diff",
    "export_chain",
    "load",
    "merge",
    "mine_patterns",
    "open_visualization",
    "parse",
    "parse_llm_output",
    "probe_faithfulness",
    "probe_faithfulness_sync",
    "render_html",
    "save",
    "seal",
    "verify",
]
