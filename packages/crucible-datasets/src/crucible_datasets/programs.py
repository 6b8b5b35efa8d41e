"""From what a model said to a program that can be run."""

import re
from typing import Literal

from crucible_datasets.extraction import extract
from crucible_datasets.items import Item

Assemble = Literal["auto", "continuation", "chat"]
_STOPS = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(")  # HumanEval's


def program_of(item: Item, output: str, *, assemble: Assemble = "auto") -> str:
    """Return the program that scores an output: function, tests, and the call of the tests."""
    function = function_of(item, output, assemble=assemble)
    return f"{function}\n\n{item.metadata['test']}\n\ncheck({item.metadata['entry_point']})\n"


def function_of(item: Item, output: str, *, assemble: Assemble = "auto") -> str:
    """Return the function that an output defines or continues, with the prompt's imports.

    Parameters
    ----------
    assemble : {"auto", "continuation", "chat"}
        "continuation" appends to the prompt and cuts at the next thing on the top level; "chat"
        puts the last code block after the prompt's imports and other functions.
    """
    entry_point = str(item.metadata["entry_point"])
    defined = re.search(rf"(?m)^[ \t]*(?:async )?def {re.escape(entry_point)}\b", output)
    block = extract(output, task="code").value or ""
    if assemble == "chat" or (assemble == "auto" and defined):
        return f"{_preamble(item.input, entry_point)}\n{block}"
    body = block if "```" in output else output
    ends = [place for stop in _STOPS if (place := body.find(stop)) >= 0]
    return f"{item.input}{body[: min(ends)] if ends else body}"


def _preamble(prompt: str, entry_point: str) -> str:
    """Return the prompt up to the function: its imports and other functions."""
    starts = [*re.finditer(rf"(?m)^def {re.escape(entry_point)}\b", prompt)]
    return prompt[: starts[-1].start()] if starts else prompt
