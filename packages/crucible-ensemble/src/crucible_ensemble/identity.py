"""What tells one ensemble from another in an experiment's design."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

from crucible_ensemble.normalise import NORMALISERS
from crucible_ensemble.panel import Panel
from crucible_ensemble.seating import chosen
from crucible_ensemble.votes import VOTES


def identity_of(panel: Panel, options: Mapping[str, Any]) -> dict[str, object]:
    """Return an ensemble's identity: everything that decides its answers, and nothing else.

    Only what differs from the default is there, so that a design keeps its identity when an option
    is added.
    """
    name, read = chosen("normalise", options["normalise"], NORMALISERS)
    facts: dict[str, object] = {
        "ensemble": options["name"],
        "vote": panel.vote_name,
        "normalise": name if NORMALISERS.get(name) is read else described(read),
        "samples": options["samples"],
        "weights": [m.weight for m in panel.members],
        "tie": panel.tie,
    }
    if panel.execution.name != "parallel":
        facts["execution"] = described(panel.execution)
    if panel.vote_name != "dawid_skene" and panel.vote != VOTES.get(panel.vote_name):
        facts["vote_options"] = described(panel.vote)
    for option in ("quorum", "deadline_s"):
        if options[option] is not None:
            facts[option] = options[option]
    for option in ("confidence", "equivalence"):
        if options[option] is not None:
            facts[option] = described(options[option])
    hedger = options["hedger"]
    if hedger is not None:
        facts["hedger"] = str(getattr(hedger, "name", type(hedger).__name__))
    if any(m.accuracy is not None for m in panel.members):
        facts["accuracies"] = [m.accuracy for m in panel.members]
    if any(m.calibrator is not None for m in panel.members):
        facts["calibrators"] = [described(m.calibrator) for m in panel.members]
    return facts


def described(choice: Any) -> str:
    """Return what tells a choice apart, the same in every process."""
    named = getattr(choice, "__qualname__", None)
    if named is not None:
        return f"{choice.__module__}.{named}"
    if choice is None or isinstance(choice, str) or is_dataclass(choice):
        return repr(choice)
    return f"{type(choice).__module__}.{type(choice).__qualname__}"
