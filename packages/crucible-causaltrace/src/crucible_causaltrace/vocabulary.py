"""The types that an event may have, and the spellings that models use for them."""

import re
from typing import Literal

CANONICAL_TYPES = (
    "task_decomposed",
    "hypothesis_formed",
    "pattern_applied",
    "alternative_considered",
    "constraint_identified",
    "assumption_made",
    "decision_made",
    "spec_referenced",
    "uncertainty_noted",
    "synthesis",
)

RESERVED_NAMESPACES = ("system", "training", "crucible")

_ALIASES = {
    "alternative_rejected": "alternative_considered",
    "constraint_evaluated": "constraint_identified",
    "ambiguity_flagged": "uncertainty_noted",
    "uncertainty_flagged": "uncertainty_noted",
    "uncertainty_flagging": "uncertainty_noted",
    "confidence_updated": "crucible:confidence_updated",
    "task_decomposition": "task_decomposed",
    "hypothesis_formation": "hypothesis_formed",
    "pattern_application": "pattern_applied",
    "alternative_consideration": "alternative_considered",
    "constraint_identification": "constraint_identified",
    "decision_making": "decision_made",
    "decision": "decision_made",
    "assumption": "assumption_made",
}
_REACHABLE = {*CANONICAL_TYPES, *_ALIASES.values()}
_CUSTOM = re.compile(r"([a-z][a-z0-9_]*):[a-z][a-z0-9_]*")

Standing = Literal["known", "reserved", "unknown"]
Disposition = Literal["chosen", "rejected"]


def read_type(stated: str) -> tuple[str, Disposition | None, Standing]:
    """Read a type as a model spelled it.

    Returns
    -------
    type : str
        The canonical or custom type; an unknown one as it was stated, never another type.
    disposition : {"rejected"} or None
        "rejected" if the spelling says so.
    standing : {"known", "reserved", "unknown"}
        "reserved" is a type that only code may give, such as `system:model_call`.
    """
    stated = stated.strip()
    folded = re.sub(r"[\s-]", "_", stated.lower())
    disposition: Disposition | None = "rejected" if folded == "alternative_rejected" else None
    folded = _ALIASES.get(folded, folded)
    if folded in _REACHABLE:
        return folded, disposition, "known"
    custom = _CUSTOM.fullmatch(folded)
    if custom is None:
        return stated, None, "unknown"
    return folded, None, "reserved" if custom[1] in RESERVED_NAMESPACES else "known"
