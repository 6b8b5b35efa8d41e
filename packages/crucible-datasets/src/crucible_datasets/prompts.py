"""An item as a prompt; deliberately few styles, each fixed to the letter."""

from collections.abc import Sequence
from typing import Literal

from crucible_datasets.items import Item, Task

Style = Literal["plain", "mmlu", "chat"]
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_CUED = ("math", "multiple_choice", "claim")  # their questions end in a cue for the answer
_INSTRUCTIONS = {
    "math": "End with a line: #### <number>",
    "multiple_choice": "Answer with one letter.",
    "claim": "Answer with one label: SUPPORTS, REFUTES or NOT ENOUGH INFO.",
    "boolean": "Answer yes or no.",
    "code": "Return the whole function in one Python code block.",
}


def render(
    item: Item,
    *,
    style: Style = "plain",
    examples: Sequence[Item] = (),
    task: Task | None = None,
) -> str:
    """Return the text to send to a model.

    Parameters
    ----------
    style : {"plain", "mmlu", "chat"}
        "mmlu" names the subject first, as its authors do; "chat" ends with a line that says how to
        write the answer.
    examples : sequence of Item
        Worked examples before the question (the five of the "dev" split by MMLU's convention).
    task : str, optional
        How to ask; by default what the item shows: choices, tests, a claim's label. For math of
        your own, pass `dataset.task`.

    Raises
    ------
    ValueError
        If the style is unknown or does not fit the item, or an example has no answer.

    Examples
    --------
    >>> from crucible_datasets import load
    >>> print(render(load("demo-choice")[1]))
    How many legs does a spider have?
    A. 8
    B. 6
    C. 10
    D. 12
    <BLANKLINE>
    Answer:
    """
    if style not in ("plain", "mmlu", "chat"):
        raise ValueError(f"`style` must be one of plain, mmlu, chat, got {style!r}")
    if style == "mmlu":
        subject = item.metadata.get("subject")
        if item.choices is None or subject is None:
            raise ValueError(
                f"`style` must not be 'mmlu' without choices and subject, got {item.id}"
            )
        named = str(subject).replace("_", " ")
        head = f"The following are multiple choice questions (with answers) about {named}.\n\n"
    else:
        head = ""
    kind = task or _kind(item)
    between = "" if kind == "code" else " " if kind in _CUED else "\n"
    worked = "".join(f"{_question(e, kind)}{between}{_solution(e, kind)}\n\n" for e in examples)
    last = f"\n\n{_INSTRUCTIONS[kind]}" if style == "chat" and kind in _INSTRUCTIONS else ""
    return f"{head}{worked}{_question(item, kind)}{last}"


def _kind(item: Item) -> Task:
    """Return what is asked for, as far as the item itself shows it."""
    if item.choices is not None:
        return "multiple_choice"
    if "entry_point" in item.metadata:
        return "code"
    if item.id.startswith(("gsm8k/", "demo-arithmetic/")):
        return "math"
    if isinstance(item.expected, bool):
        return "boolean"
    if item.expected in ("SUPPORTS", "REFUTES", "NOT ENOUGH INFO"):
        return "claim"
    return "text"


def _question(item: Item, kind: Task) -> str:
    if kind == "math":
        return f"Problem: {item.input}\n\nSolution:"
    if kind == "multiple_choice":
        listed = zip(_LETTERS, item.choices or (), strict=False)
        choices = "\n".join(f"{letter}. {choice}" for letter, choice in listed)
        return f"{item.input}\n{choices}\n\nAnswer:"
    if kind == "claim":
        if item.context is None:
            return f"Claim: {item.input}\n\nVerify:"
        return f"Claim: {item.input}\nEvidence: {item.context}\n\nVerdict:"
    return item.input


def _solution(item: Item, kind: Task) -> str:
    if item.expected is None:
        raise ValueError(f"`examples` must have answers, got {item.id} without")
    if kind == "multiple_choice":
        return _LETTERS[item.expected]
    if kind == "math" and item.metadata.get("rationale"):
        return f"{item.metadata['rationale']}\n#### {item.expected}"
    if kind == "boolean":
        return "yes" if item.expected in (True, "yes", "true") else "no"
    return str(item.expected).rstrip()
