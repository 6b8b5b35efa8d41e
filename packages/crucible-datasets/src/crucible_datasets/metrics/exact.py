"""Exact match, by task: equal numbers, the right choice, the same label, the same words."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from crucible_datasets.extraction import extract, folded, normalised
from crucible_datasets.items import Item, Task
from crucible_datasets.metrics.metric import Answer, Corpus, references
from crucible_datasets.metrics.squad import tokens
from crucible_datasets.numbers_in_text import numbers
from crucible_datasets.results import Prediction

CLAIM_LABELS = {
    "SUPPORT": "SUPPORTS", "SUPPORTS": "SUPPORTS", "CONTRADICT": "REFUTES", "REFUTE": "REFUTES",
    "REFUTES": "REFUTES", "NOT ENOUGH INFO": "NOT ENOUGH INFO", "NEI": "NOT ENOUGH INFO",
    "NOT_ENOUGH_INFO": "NOT ENOUGH INFO",
}  # fmt: skip


def is_right(value: Any, expected: Any, *, task: Task) -> bool:
    """Say whether an extracted value equals the reference; None never does.

    Parameters
    ----------
    value : what `extract` returned as its value
    expected : the item's `expected`
    """
    if value is None or expected is None:
        return False
    if task == "math":
        return bool(value == number_of(expected))
    if task == "multiple_choice":
        return bool(str(value) == choice_of(expected))
    if task == "claim":
        return claim_label(value) == claim_label(expected)
    if task == "boolean":
        return bool(value is truth_of(expected))
    if task == "qa":
        said = tokens(str(value))
        return any(said == tokens(reference) for reference in references(expected))
    if task == "code":
        return str(value).strip() == str(expected).strip()
    return any(folded(str(value)) == folded(reference) for reference in references(expected))


def number_of(expected: Any) -> Fraction | None:
    """Return the number that a reference answer is, None if it is none."""
    if isinstance(expected, bool):
        return None
    if isinstance(expected, int | float | Fraction):
        return Fraction(str(expected))
    text = normalised(str(expected)).strip()
    first = next(numbers(text, fractions=True), None)
    if first is not None and first.start == 0 and first.end == len(text):
        return first.value
    value = extract(text, task="math").value
    return value if isinstance(value, Fraction) else None


def choice_of(expected: Any) -> str | None:
    """Return the letter of a reference: an index, or a letter already."""
    if isinstance(expected, int) and not isinstance(expected, bool):
        return chr(65 + expected) if 0 <= expected < 26 else None
    text = str(expected).strip().upper()
    return text if len(text) == 1 and text.isalpha() else None


def claim_label(value: Any) -> str | None:
    """Return a claim's label in FEVER's spelling; the spellings of SciFact are understood."""
    return CLAIM_LABELS.get(str(value).strip().upper())


def truth_of(expected: Any) -> bool | None:
    """Return the truth value that a reference is."""
    if isinstance(expected, bool):
        return expected
    said = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
    return said.get(str(expected).strip().lower())


def exact_match(answer: Answer) -> float | None:
    """Score one answer: 1 if it is right, 0 if not, None if the reference is unknown."""
    expected = answer.item.expected
    if expected is None:
        return None
    if isinstance(expected, list) and answer.task != "qa":
        return float(_list_of(answer.text) == [folded(str(one)) for one in expected])
    return float(is_right(predicted(answer), expected, task=answer.task))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactMatch:
    """Exact match of lists, as a metric of its own.

    Parameters
    ----------
    unordered : bool
        Compare as multisets instead of in order.
    """

    unordered: bool = False

    @property
    def __name__(self) -> str:
        return "exact_match_unordered" if self.unordered else "exact_match_list"

    def __call__(self, prediction: Prediction, item: Item, /) -> float | None:
        """Return 1 if the list in the output equals the item's, else 0."""
        if item.expected is None:
            return None
        said, right = (
            _list_of(prediction.output or ""),
            [folded(x) for x in references(item.expected)],
        )
        return float(Counter(said) == Counter(right) if self.unordered else said == right)


def _list_of(text: str) -> list[str]:
    """Read a list: JSON if it is, else one entry per line, else entries between commas."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, list):
        data = text.split("\n" if "\n" in text.strip() else ",")
    return [word for entry in data if (word := folded(str(entry)))]


def predicted(answer: Answer) -> Any:
    """Return what was answered: the prediction's own label, else what was extracted."""
    label = answer.prediction.label
    if label is None or answer.prediction.error is not None:
        return answer.extraction.value
    if answer.task == "claim":
        return claim_label(label)
    return extract(label, task=answer.task, choices=answer.item.choices).value


def _labels(answers: Sequence[Answer]) -> list[tuple[str, str | None]]:
    """Return (gold, predicted) labels of the answers whose gold is known."""
    pairs = []
    for answer in answers:
        gold = answer.item.expected
        if gold is None or isinstance(gold, list):
            continue
        value = predicted(answer)
        if answer.task == "multiple_choice":
            gold = choice_of(gold)
        elif answer.task == "claim":
            gold = claim_label(gold)
        elif answer.task == "boolean":
            gold = truth_of(gold)
        elif answer.task == "math":
            gold = number_of(gold)
        else:
            gold, value = folded(str(gold)), None if value is None else folded(str(value))
        pairs.append((str(gold), None if value is None else str(value)))
    return pairs


def macro_f1(answers: Sequence[Answer]) -> dict[str, Corpus]:
    """Average F1 over the gold labels; labels that were only predicted are left out and named."""
    pairs = _labels(answers)
    if not pairs:
        return {"macro_f1": Corpus(value=None, reason="no gold label is known")}
    gold, said = Counter(g for g, _ in pairs), Counter(p for _, p in pairs)
    hits = Counter(g for g, p in pairs if g == p)
    value = sum(2 * hits[label] / (gold[label] + said[label]) for label in gold) / len(gold)
    return {"macro_f1": Corpus(value=value, reason=_left_out(gold, said))}


def balanced_accuracy(answers: Sequence[Answer]) -> dict[str, Corpus]:
    """Average recall over the gold labels."""
    pairs = _labels(answers)
    if not pairs:
        return {"balanced_accuracy": Corpus(value=None, reason="no gold label is known")}
    gold, said = Counter(g for g, _ in pairs), Counter(p for _, p in pairs)
    hits = Counter(g for g, p in pairs if g == p)
    value = sum(hits[label] / gold[label] for label in gold) / len(gold)
    return {"balanced_accuracy": Corpus(value=value, reason=_left_out(gold, said))}


def _left_out(gold: Counter[str], said: Counter[str | None]) -> str | None:
    extra = sorted(str(label) for label in said if label is not None and label not in gold)
    return f"predicted but not in the gold labels: {', '.join(extra[:10])}" if extra else None
