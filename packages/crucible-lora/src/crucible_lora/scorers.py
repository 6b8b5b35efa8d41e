"""Does the cited text say so, do two texts mean the same: ports, and stand-ins by word overlap."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

Pairs = Sequence[tuple[str, str]]


class Entailment(Protocol):
    """Says how likely a text is entailed by another."""

    @property
    def name(self) -> str:
        """Return the source that reports name."""
        ...

    @property
    def proxy(self) -> bool:
        """Return whether it stands in for what it is called, as word overlap does."""
        ...

    def entailment(self, pairs: Pairs, /) -> Sequence[float]:
        """Return for each (premise, hypothesis) the probability that the premise entails it."""
        ...


class Similarity(Protocol):
    """Says how much two texts mean the same."""

    @property
    def name(self) -> str:
        """Return the source that reports name."""
        ...

    @property
    def proxy(self) -> bool:
        """Return whether it stands in for what it is called, as word overlap does."""
        ...

    def similarity(self, pairs: Pairs, /) -> Sequence[float]:
        """Return for each pair a similarity, 1 for the same."""
        ...


@dataclass(frozen=True, slots=True)
class LexicalEntailment:
    """The share of the hypothesis' content words that the premise has; a stand-in.

    0 if exactly one of the two is negated. What passes by it passes "by word overlap", and every
    report says so.
    """

    name: str = field(default="lexical", init=False)
    proxy: bool = field(default=True, init=False)

    def entailment(self, pairs: Pairs, /) -> Sequence[float]:
        """Return one share per (premise, hypothesis), in [0, 1]."""
        return [_overlap(premise, hypothesis) for premise, hypothesis in pairs]


@dataclass(frozen=True, slots=True)
class LexicalSimilarity:
    """The cosine of the counts of words; a stand-in."""

    name: str = field(default="lexical", init=False)
    proxy: bool = field(default=True, init=False)

    def similarity(self, pairs: Pairs, /) -> Sequence[float]:
        """Return one cosine per pair, in [0, 1]; 0 where a text has no word."""
        return [_cosine(Counter(_words(one)), Counter(_words(other))) for one, other in pairs]


def _overlap(premise: str, hypothesis: str) -> float:
    said, claimed = _words(premise), _words(hypothesis)
    content = {w for w in claimed if w not in _FUNCTION and not _negated([w])}
    if not content or _negated(said) != _negated(claimed):
        return 0.0
    return len(content & set(said)) / len(content)


def _cosine(one: Counter[str], other: Counter[str]) -> float:
    lengths = math.sqrt(sum(n * n for n in one.values()) * sum(n * n for n in other.values()))
    if not lengths:
        return 0.0
    return min(1.0, sum(n * other[word] for word, n in one.items()) / lengths)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+'t|\w+", text.lower().replace("’", "'"))


def _negated(words: Sequence[str]) -> bool:
    return any(w in _NEGATION or w.endswith("n't") for w in words)


_NEGATION = frozenset(
    {"no", "not", "never", "none", "neither", "nor", "without", "cannot"}
    | {"lack", "lacks", "lacking", "fails"}
)
_FUNCTION = frozenset(
    re.findall(
        r"\w+",
        """
        a an the and or but if of in on at to for from by with as is are was were be been being it
        its this that these those has have had do does did can could may might will would should
        than then there their they them he she we you i who which what when where into over under
        between
        """,
    )
)
