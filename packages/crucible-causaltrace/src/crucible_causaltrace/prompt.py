"""Ask a model to tag its decisions."""

import re
from collections.abc import Sequence

from crucible_causaltrace.event import Event
from crucible_causaltrace.tagged import write_tagged
from crucible_causaltrace.vocabulary import CANONICAL_TYPES

_MEANING = {
    "task_decomposed": "you split the task into parts",
    "hypothesis_formed": "you suppose something that could turn out wrong",
    "pattern_applied": "you use a known method or pattern",
    "alternative_considered": "you weigh an option",
    "constraint_identified": "something limits what you may do",
    "assumption_made": "you take something for granted",
    "decision_made": "you choose",
    "spec_referenced": "you follow a rule that was given to you",
    "uncertainty_noted": "you are not sure",
    "synthesis": "you put the parts together",
}
_CUSTOM = re.compile(r"[a-z][a-z0-9_]*:[a-z][a-z0-9_]*")


def build_causal_prompt(
    task: str,
    *,
    instructions: str | None = None,
    types: Sequence[str] = CANONICAL_TYPES,
    example: bool = True,
    final_answer: str = "Answer:",
) -> str:
    """Write a prompt that asks for tagged decisions before the answer; the same every time.

    Parameters
    ----------
    task : str, not blank
    instructions : str, optional
        More to say, put before the task.
    types : sequence of str
        Canonical types or `namespace:name`.
    example : bool
        Show two events, as `parse` reads them.
    final_answer : str, not blank
        How the line with the answer begins.

    Raises
    ------
    ValueError
        If the task is blank or a type is not known.
    """
    for name, value in (("task", task), ("final_answer", final_answer)):
        if not value.strip():
            raise ValueError(f"`{name}` must not be blank, got {value!r}")
    if isinstance(types, str) or not types:
        raise ValueError(f"`types` must be a sequence of at least one type, got {types!r}")
    for type_ in types:
        if type_ not in _MEANING and not _CUSTOM.fullmatch(type_):
            raise ValueError(
                f"`types` must be among {CANONICAL_TYPES} or namespace:name, got {type_!r}"
            )
    parts = [
        "Solve the task below. Write down each decision you take on the way as an event, in this "
        "form:",
        # A fence whose info string is not xml: tags in it are text for whoever parses this prompt.
        "```form\n"
        '<event type="TYPE" id="ID" depends_on="ID,ID">\n'
        "<decision>what, in one sentence</decision>\n"
        "<alternatives><alternative>what else could be done</alternative></alternatives>\n"
        "<reasoning>why</reasoning>\n"
        "<confidence>0.8</confidence>\n"
        "</event>\n"
        "```",
        "Only the decision is required. State a confidence, from 0 to 1, only if you have one; "
        "leave it out otherwise. depends_on names the events that this one rests on. Write &lt; "
        "for < and &amp; for & inside the fields. Code goes into code_section tags, as it is.",
        "Types:\n" + "\n".join(f"- {t}{_explain(t)}" for t in types),
    ]
    if example:
        parts.append("An example, for another task:\n```xml\n" + write_tagged(_example()) + "\n```")
    parts.append(f'After the events, end with one line that begins with "{final_answer}"')
    if instructions is not None:
        parts.append(instructions)
    parts.append(f"Task: {task}")
    return "\n\n".join(parts)


def _explain(type_: str) -> str:
    return f": {_MEANING[type_]}" if type_ in _MEANING else ""


def _example() -> list[Event]:
    return [
        Event(
            id="e1",
            type="assumption_made",
            source="self_report",
            decision="The shop sells whole boxes only",
            reasoning="The question speaks of boxes & asks for a whole number",
        ),
        Event(
            id="e2",
            type="decision_made",
            source="self_report",
            decision="Round 29 / 8 up to 4 boxes",
            alternatives=("Round down to 3 boxes",),
            reasoning="3 boxes hold 24 eggs, and 24 < 29",
            confidence=0.95,
            depends_on=("e1",),
        ),
    ]
