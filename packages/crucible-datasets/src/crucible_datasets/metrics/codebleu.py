"""CodeBLEU for Python: n-grams, weighted n-grams, syntax trees and data flow."""

import io
import keyword
import math
import tokenize
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crucible_datasets.extras import need
from crucible_datasets.metrics.dataflow import data_flow
from crucible_datasets.metrics.metric import Answer, Corpus, Measure, references

KEYWORDS = frozenset((*keyword.kwlist, "case", "match", "type"))  # 35 keywords and 3 soft ones
ORDERS = (1, 2, 3, 4)
SMOOTHED = 0.1  # stands for a count of 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeBleu:
    """CodeBLEU with its four parts, each in [0, 1]; a part without any reference is None.

    Parameters
    ----------
    total : float
        Mean of the parts that are defined.
    n_degenerate : int
        References without data flow.
    n_unparsable : int
        Candidates whose syntax tree has errors.
    """

    ngram: float | None
    weighted_ngram: float | None
    syntax: float | None
    data_flow: float | None
    total: float
    n_degenerate: int
    n_unparsable: int

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(slots=True)
class Counts:
    """What one candidate adds to the sums of a corpus."""

    hits: list[float] = field(default_factory=lambda: [0.0] * 4)
    said: list[float] = field(default_factory=lambda: [0.0] * 4)
    recalled: list[float] = field(default_factory=lambda: [0.0] * 4)
    wanted: list[float] = field(default_factory=lambda: [0.0] * 4)
    reference_orders: list[int] = field(default_factory=lambda: [0] * 4)
    candidate_length: int = 0
    reference_length: int = 0
    trees_found: int = 0
    trees: int = 0
    edges_found: int = 0
    edges: int = 0
    degenerate: int = 0
    unparsable: int = 0

    def add(self, other: "Counts") -> None:
        """Add another candidate's counts."""
        for name in self.__dataclass_fields__:
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, list):
                setattr(self, name, [a + b for a, b in zip(mine, theirs, strict=True)])
            else:
                setattr(self, name, mine + theirs)


def codebleu(
    predictions: Sequence[str], references: Sequence[str], *, language: str = "python"
) -> CodeBleu:
    """Compare programs with one reference each.

    Parameters
    ----------
    predictions, references : sequences of source texts, of equal length >= 1
    language : {"python"}

    Raises
    ------
    ValueError
        If the lengths differ, nothing is given, or the language is another one.
    MissingExtraError
        If the extra `code` is not installed.

    Notes
    -----
    A quarter each: BLEU-4 over words between spaces; recall of n-grams, in which keywords weigh
    five times as much as other words (unigrams) and short candidates pay no penalty; share of the
    reference's subtrees that the candidate has; share of its data-flow edges, variables renamed in
    order of appearance. Comments and docstrings do not count for the last two. Two cases differ
    from the `codebleu` package on purpose: orders of n-grams that no reference has are left out,
    and a reference without data flow leaves that part undefined instead of perfect, so that nothing
    scores 0 and a program scores 1 against itself.

    References
    ----------
    .. [1] S. Ren et al., CodeBLEU, arXiv:2009.10297, 2020.
    .. [2] D. Guo et al., GraphCodeBERT, ICLR 2021 (data flow).
    """
    if language != "python":
        raise ValueError(f"`language` must be 'python', got {language!r}")
    if len(predictions) != len(references) or not predictions:
        raise ValueError(
            f"`predictions` and `references` must be of one length >= 1, got {len(predictions)} "
            f"and {len(references)}"
        )
    parser = _parser()
    total = Counts()
    for candidate, reference in zip(predictions, references, strict=True):
        total.add(counted(candidate, reference, parser))
    return score(total)


def score(counts: Counts) -> CodeBleu:
    """Turn counts into the four parts and their mean."""
    orders = [n for n in range(4) if counts.reference_orders[n]]
    penalty = 1.0
    if counts.candidate_length <= counts.reference_length:
        penalty = 0.0
        if counts.candidate_length:
            penalty = math.exp(1 - counts.reference_length / counts.candidate_length)
    parts = {
        "ngram": _geometric(counts.hits, counts.said, orders, penalty),
        "weighted_ngram": _geometric(counts.recalled, counts.wanted, orders, 1.0),
        "syntax": counts.trees_found / counts.trees if counts.trees else None,
        "data_flow": counts.edges_found / counts.edges if counts.edges else None,
    }
    known = [value for value in parts.values() if value is not None]
    return CodeBleu(
        **parts, total=math.fsum(known) / len(known) if known else 0.0,
        n_degenerate=counts.degenerate, n_unparsable=counts.unparsable,
    )  # fmt: skip


def _geometric(
    hits: Sequence[float], of: Sequence[float], orders: Sequence[int], penalty: float
) -> float | None:
    if not orders:
        return None
    if hits[0] == 0 or penalty == 0:
        return 0.0
    logs = [math.log((hits[n] or SMOOTHED) / of[n]) for n in orders]
    return penalty * math.exp(math.fsum(logs) / len(orders))


def counted(candidate: str, reference: str, parser: Any) -> Counts:
    """Count what a candidate shares with its reference."""
    counts = Counts()
    said, wanted = candidate.split(), reference.split()
    counts.candidate_length, counts.reference_length = len(said), len(wanted)
    for n, size in enumerate(ORDERS):
        ours = Counter(zip(*(said[k:] for k in range(size)), strict=False))
        theirs = Counter(zip(*(wanted[k:] for k in range(size)), strict=False))
        counts.hits[n] = sum(min(count, theirs[gram]) for gram, count in ours.items())
        counts.said[n] = max(1, ours.total())
        weight = {g: 0.2 if size == 1 and g[0] not in KEYWORDS else 1.0 for g in theirs}
        counts.recalled[n] = sum(weight[g] * min(c, ours[g]) for g, c in theirs.items())
        counts.wanted[n] = sum(weight[g] * c for g, c in theirs.items())
        counts.reference_orders[n] = len(theirs)
    our_tree = parser.parse(stripped(candidate.strip()).encode("utf-8", "replace"))
    their_tree = parser.parse(stripped(reference.strip()).encode("utf-8", "replace"))
    keys: dict[Any, int] = {}
    have = set(_subtrees(our_tree, keys))
    want = _subtrees(their_tree, keys)
    counts.trees, counts.trees_found = len(want), sum(key in have for key in want)
    flow, left = data_flow(their_tree), Counter(data_flow(our_tree))
    counts.edges = len(flow)
    for edge in flow:
        if left[edge] > 0:
            left[edge] -= 1
            counts.edges_found += 1
    counts.degenerate = int(not flow)
    counts.unparsable = int(our_tree.root_node.has_error)
    return counts


def _subtrees(tree: Any, keys: dict[Any, int]) -> list[int]:
    """Return a number for each node with children: equal numbers are equal s-expressions.

    Built from the leaves up, so that deep nesting costs no more than wide code.
    """
    found = []
    cursor = tree.walk()
    open_: list[tuple[Any, str | None, list[Any]]] = [(cursor.node, None, [])]
    down = cursor.goto_first_child()
    while open_:
        if down:
            open_.append((cursor.node, cursor.field_name, []))
            down = cursor.goto_first_child()
            continue
        node, name, children = open_.pop()
        key = keys.setdefault((node.type, node.is_missing, *children), len(keys))
        if node.child_count or not open_:
            found.append(key)
        if not open_:
            break
        if node.is_named or node.is_missing:
            open_[-1][2].append((name, key))
        if cursor.goto_next_sibling():
            open_.append((cursor.node, cursor.field_name, []))
            down = cursor.goto_first_child()
        else:
            cursor.goto_parent()
            down = False
    return found


def stripped(source: str) -> str:
    """Return source without comments, docstrings and blank lines, if it can be tokenised."""
    cut: list[tuple[tuple[int, int], tuple[int, int]]] = []
    starts_line = True
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT or (starts_line and token.type == tokenize.STRING):
                cut.append((token.start, token.end))
            if token.type not in (tokenize.COMMENT, tokenize.NL):
                starts_line = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    except (tokenize.TokenError, SyntaxError, ValueError):
        return source
    lines = source.splitlines(keepends=True)
    for (row, column), (end_row, end_column) in reversed(cut):
        tail = lines[end_row - 1][end_column:]
        lines[row - 1 : end_row] = [lines[row - 1][:column] + tail]
    return "\n".join(line.rstrip("\n") for line in lines if line.strip())


def _parser() -> Any:
    sitter = need("tree_sitter", extra="code", feature="CodeBLEU")
    python = need("tree_sitter_python", extra="code", feature="CodeBLEU")
    return sitter.Parser(sitter.Language(python.language()))


def measure() -> Measure:
    """Return CodeBLEU as a metric: over all answers, and of each one."""
    parser = _parser()
    cache: dict[int, Counts] = {}

    def counts_of(answer: Answer) -> Counts | None:
        pair = _pair(answer)
        if pair is None:
            return None
        if id(answer) not in cache:  # answers live as long as the evaluation does
            cache[id(answer)] = counted(*pair, parser)
        return cache[id(answer)]

    def item(answer: Answer) -> float | None:
        counts = counts_of(answer)
        return None if counts is None else score(counts).total

    def corpus(answers: Sequence[Answer]) -> Mapping[str, Corpus]:
        total, known = Counts(), 0
        for answer in answers:
            counts = counts_of(answer)
            if counts is not None:
                known += 1
                total.add(counts)
        if not known:
            return {"codebleu": Corpus(value=None, reason="no item has a reference program")}
        found = score(total)
        signature = "|".join(
            f"{name}:{'none' if value is None else format(value, '.6f')}"
            for name, value in list(found.to_dict().items())[:4]
        )
        reason = None
        if found.n_degenerate or found.n_unparsable:
            reason = (
                f"{found.n_degenerate} references without data flow, "
                f"{found.n_unparsable} answers with syntax errors"
            )
        return {"codebleu": Corpus(value=found.total, signature=signature, reason=reason)}

    return Measure(name="codebleu", item=item, corpus=corpus)


def _pair(answer: Answer) -> tuple[str, str] | None:
    """Return the predicted and the reference program, the prompt included in both."""
    from crucible_datasets.programs import function_of

    against = references(answer.item.expected)
    if not against:
        return None
    if "entry_point" in answer.item.metadata:
        said = function_of(answer.item, answer.text) if answer.text else ""
        return said, answer.item.input + against[0]
    return answer.extraction.value or "", against[0]
