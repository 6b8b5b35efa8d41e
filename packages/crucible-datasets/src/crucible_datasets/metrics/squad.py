"""SQuAD v1.1: normalised exact match, and F1 of the tokens that both texts share."""

import re
import string
from collections import Counter
from collections.abc import Callable
from functools import partial

from crucible_datasets.metrics.metric import Answer, references

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_ARTICLE_WORDS = frozenset(("a", "an", "the"))


def tokens(text: str) -> list[str]:
    """Return the words of a text as SQuAD compares them: no case, punctuation or articles.

    References
    ----------
    .. [1] P. Rajpurkar et al., SQuAD, EMNLP 2016; `normalize_answer` of the evaluation script.
    """
    words = text.lower().translate(_PUNCTUATION).split()
    joined = " ".join(words)
    if joined.isascii() and joined.isprintable():  # then an article is always a whole word
        return [word for word in words if word not in _ARTICLE_WORDS]
    return _ARTICLES.sub(" ", joined).split()


def overlap(prediction: list[str], reference: list[str]) -> tuple[float, float, float]:
    """Return precision, recall and F1 of two lists of tokens, as multisets.

    Both empty count as equal (1), one empty as different (0).
    """
    if not prediction or not reference:
        same = float(prediction == reference)
        return same, same, same
    counts = Counter(prediction)
    common = 0
    for token in reference:
        if counts.get(token, 0) > 0:
            counts[token] -= 1
            common += 1
    if common == 0:
        return 0.0, 0.0, 0.0
    precision, recall = common / len(prediction), common / len(reference)
    return precision, recall, 2 * precision * recall / (precision + recall)


def _best(answer: Answer, part: int) -> float | None:
    against = references(answer.item.expected)
    if not against:
        return None
    said = tokens(answer.text)
    return max(overlap(said, tokens(reference))[part] for reference in against)


precision: Callable[[Answer], float | None] = partial(_best, part=0)
recall: Callable[[Answer], float | None] = partial(_best, part=1)
f1: Callable[[Answer], float | None] = partial(_best, part=2)
