"""Read, link, store and draw the decisions of a run; a stated reason stays testimony.

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

_HOME = {
    "calibration": ("calibrate_confidence",),
    "chain": ("Chain",),
    "diffing": ("diff",),
    "event": ("Event",),
    "exports": ("export_chain",),
    "merging": ("merge",),
    "parsing": ("EventParser", "parse", "parse_llm_output"),
    "patterns": ("mine_patterns",),
    "probe": ("probe_faithfulness", "probe_faithfulness_sync"),
    "prompt": ("build_causal_prompt",),
    "seals": ("seal", "verify"),
    "stores": ("load", "save"),
    "telemetry": ("chain_from_events",),
    "viewer": ("open_visualization", "render_html"),
}


def __getattr__(name: str) -> object:
    for module, names in _HOME.items():
        if name in names:
            found = getattr(import_module(f"crucible_causaltrace.{module}"), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
