"""From a model's text to the answer in it; each task has its rules, tried in order."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from crucible_datasets.choice_letters import letter
from crucible_datasets.items import TASKS, Task
from crucible_datasets.numbers_in_text import Number, numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """What was read.

    Parameters
    ----------
    value : Fraction, letter, bool, label or text
        None = nothing was found.
    method : str
        The rule that found it, "none" if none did.
    span : (start, end), optional
        Where it stands in the text; None where the text had to be normalised first.
    ambiguous : bool
        Whether there were several answers and nothing to choose between them.
    """

    value: Any
    method: str
    span: tuple[int, int] | None = None
    ambiguous: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        value = self.value if isinstance(self.value, bool | None) else str(self.value)
        return {"value": value, "method": self.method, "span": self.span,
                "ambiguous": self.ambiguous}  # fmt: skip


_NOTHING = Extraction(value=None, method="none")


def extract(text: str, *, task: Task, choices: Sequence[str] | None = None) -> Extraction:
    """Read the answer out of a text.

    Parameters
    ----------
    text : str
        What a model said. No text makes this raise, or take more than linear time.
    task : str
        "math" reads an exact `Fraction`, "multiple_choice" a capital letter, "boolean" a bool,
        "claim" one of SUPPORTS, REFUTES, NOT ENOUGH INFO, "code" the last fenced block; "qa" is the
        text, "classification" and "text" the folded text.
    choices : sequence of str, optional
        For multiple choice: their texts also count as answers. Four letters by default.

    Raises
    ------
    ValueError
        If the task is unknown.

    Examples
    --------
    >>> extract("20-5 = 15", task="math").value
    Fraction(15, 1)
    >>> extract("I think A is wrong, the answer is C", task="multiple_choice").value
    'C'
    """
    if task not in TASKS:
        raise ValueError(f"`task` must be one of {', '.join(TASKS)}, got {task!r}")
    if task == "code":
        return _code(text)
    plain = normalised(text)
    if task == "math":
        found = _number(plain)
    elif task == "multiple_choice":
        value, method, span, ambiguous = letter(plain, choices)
        found = Extraction(value=value, method=method, span=span, ambiguous=ambiguous)
    elif task == "boolean":
        found = _boolean(plain)
    elif task == "claim":
        found = _claim(plain)
    else:
        value = plain.strip() if task == "qa" else folded(plain)
        found = Extraction(value=value or None, method="text" if value else "none")
    if found.span is not None and plain != text:
        found = Extraction(value=found.value, method=found.method, ambiguous=found.ambiguous)
    return found


def normalised(text: str) -> str:
    """Return the text in NFKC with ASCII minus signs, in linear time."""
    if text.isascii():
        return text
    # Long runs of combining marks are sorted by insertion: in pieces, that stays linear.
    pieces = (text[n : n + 4096] for n in range(0, len(text), 4096))
    joined = "".join(unicodedata.normalize("NFKC", piece) for piece in pieces)
    return joined.replace("\N{MINUS SIGN}", "-")


def folded(text: str) -> str:
    """Return the text as labels are compared: NFKC, case folded, single spaces, no end dots."""
    return " ".join(normalised(text).casefold().split()).strip(" .")


_HASHES = re.compile(r"####[ \t]*([^\n#]+)")
_SAID = re.compile(r"(?im)(?:\banswer[ \t]*(?:is|:|=)[:\s]*|^[ \t]*a:[ \t]*)([^\n]+)")
_BRACES = re.compile(r"\\boxed\s{0,3}\{|\{|\}")
_FRACTION = re.compile(r"([+-]?)\\[dt]?frac\s?\{([+-]?\d{1,400})\}\s?\{(\d{1,400})\}")


def _number(text: str) -> Extraction:
    for method, spans in (
        ("hashes", [m.span(1) for m in _HASHES.finditer(text)]),
        ("boxed", _boxed(text)),
        ("answer is", [m.span(1) for m in _SAID.finditer(text)]),
    ):
        for start, end in reversed(spans):
            found = _first(text[start:end])
            if found is not None:
                span = (start + found.start, start + found.end)
                return Extraction(value=found.value, method=method, span=span)
    last = None
    for last in numbers(text):  # noqa: B007 - the last one is wanted
        pass
    if last is None:
        return _NOTHING
    return Extraction(value=last.value, method="last number", span=(last.start, last.end))


def _first(text: str) -> Number | None:
    fraction = _FRACTION.search(text)
    number = next(numbers(text, fractions=True), None)
    if fraction is None or (number is not None and number.start < fraction.start()):
        return number
    value = next(numbers(f"{fraction[2]}/{fraction[3]}", fractions=True)).value
    if int(fraction[3]) == 0:
        return None
    sign = -1 if fraction[1] == "-" else 1
    return Number(sign * value, fraction.start(), fraction.end())


def _boxed(text: str) -> list[tuple[int, int]]:
    r"""Return the insides of all `\boxed{...}` whose braces are balanced, by their start."""
    if "\\boxed" not in text:
        return []
    open_: list[int | None] = []
    found = []
    for match in _BRACES.finditer(text):
        if match[0] == "}":
            start = open_.pop() if open_ else None
            if start is not None:
                found.append((start, match.start()))
        else:
            open_.append(match.end() if match[0] != "{" else None)
    return sorted(found)


_LEADING = re.compile(r"(?i)\W*(yes|no|true|false)\b")
_ANSWERED = re.compile(r"(?i)\banswer\s{0,3}(?:is|:|=)[:\s]{0,3}(yes|no|true|false)\b")
_NEGATIVE = re.compile(r"(?i)\bnot\s+(?:true|correct|right)\b|\bincorrect\b|\bfalse\b")
_POSITIVE = re.compile(r"(?i)\b(?:true|correct)\b")


def _boolean(text: str) -> Extraction:
    said = _LEADING.match(text)
    method = "leading"
    if said is None:
        said, method = next(reversed([*_ANSWERED.finditer(text)]), None), "answer is"
    if said is not None:
        value = said[1].lower() in ("yes", "true")
        return Extraction(value=value, method=method, span=said.span(1))
    negative = _NEGATIVE.search(text)
    positive = _POSITIVE.search(_NEGATIVE.sub(" ", text))
    if negative and positive:
        return Extraction(value=None, method="none", ambiguous=True)
    if negative or positive:
        return Extraction(value=negative is None, method="word")
    return _NOTHING


_NEI = re.compile(
    r"(?i)\bnot enough info(?:rmation)?\b|\binsufficient\b|\bcannot be determined\b|\bneutral\b"
)
_LABEL = re.compile(
    r"(?i)\b(?:(?P<supports>support(?:s|ed)?|entail(?:s|ed)?|true)"
    r"|refute(?:s|d)?|contradict(?:s|ed)?|false)\b"
)
_NEGATED = re.compile(
    r"(?i)(?:\bnot|\bnever|\bcannot|n['’]t)\s+(?:\w{1,20}\s+)?"
    r"(?:support|entail|true|refute|contradict|false)\w{0,3}\b"
)
_VERDICT = re.compile(r"(?i)\b(?:verdict|label|answer)\s{0,3}(?:is|:)[:\s*]{0,3}([^\n]+)")


def _claim(text: str) -> Extraction:
    nei = _NEI.search(text)
    if nei is not None:
        return Extraction(value="NOT ENOUGH INFO", method="label word", span=nei.span())
    verdicts = [*_VERDICT.finditer(text)]
    for verdict in reversed(verdicts):
        said = _LABEL.search(_NEGATED.sub(_blank, verdict[1]))
        if said is not None:
            start = verdict.start(1)
            return Extraction(
                value=_label(said), method="verdict",
                span=(start + said.start(), start + said.end()),
            )  # fmt: skip
    words = [*_LABEL.finditer(_NEGATED.sub(_blank, text))]
    labels = {_label(word) for word in words}
    if len(labels) == 1:
        return Extraction(value=labels.pop(), method="label word", span=words[0].span())
    return Extraction(value=None, method="none", ambiguous=len(labels) > 1)


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])  # places of other words stay what they are


def _label(match: re.Match[str]) -> str:
    return "SUPPORTS" if match["supports"] else "REFUTES"


def _code(text: str) -> Extraction:
    """Find the last fenced block that is marked as Python, else the last one, else the text."""
    blocks: list[tuple[bool, int, int]] = []
    start: int | None = None
    python, place = False, 0
    for line in text.splitlines(keepends=True):
        bare = line.strip()
        if bare.startswith("```"):
            if start is None:
                language = bare.lstrip("`").strip().lower()
                python, start = language in ("python", "py", "python3"), place + len(line)
            else:
                blocks.append((python, start, place))
                start = None
        place += len(line)
    if start is not None:  # cut off before the fence was closed
        blocks.append((python, start, len(text)))
    marked = [block for block in blocks if block[0]]
    chosen = (marked or blocks or [(False, 0, len(text))])[-1]
    value = text[chosen[1] : chosen[2]]
    if not value.strip():
        return _NOTHING
    method = "python block" if marked else "block" if blocks else "text"
    return Extraction(value=value, method=method, span=chosen[1:])
