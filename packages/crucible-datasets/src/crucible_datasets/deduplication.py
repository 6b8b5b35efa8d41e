"""Items that repeat each other, and items that a corpus has given away."""

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from crucible_datasets.extras import need
from crucible_datasets.items import Dataset, Item
from crucible_datasets.tracing import span

EXACT_UP_TO = 50_000  # items; above it the exact join would take minutes
PERMUTATIONS = 128
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatePair:
    """Two items, the earlier one first. `jaccard` is exact, never an estimate."""

    a: str
    b: str
    jaccard: float
    kind: Literal["exact", "near"]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class DuplicatePairs(tuple[DuplicatePair, ...]):
    """Pairs, most alike first, and how complete they are.

    Attributes
    ----------
    method : {"exact", "minhash"}
    expected_recall : float, in (0, 1]
        Share of the pairs at the threshold that are expected to be found; 1 for "exact".
    """

    method: Literal["exact", "minhash"]
    expected_recall: float

    @classmethod
    def of(
        cls, pairs: Iterable[DuplicatePair], method: Literal["exact", "minhash"], recall: float
    ) -> "DuplicatePairs":
        """Put pairs in order."""
        found = cls(pairs)
        found.method, found.expected_recall = method, recall
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """An item that shares n-grams with a corpus.

    Parameters
    ----------
    ngrams : int, >= 1
        Distinct n-grams of the item that the corpus holds.
    share_of_item : float, in (0, 1]
        Their share of the item's distinct n-grams.
    text : str
        The first shared n-gram.
    """

    item_id: str
    ngrams: int
    share_of_item: float
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def words(text: str) -> list[str]:
    """Return the lower-cased words of a text."""
    return _WORD.findall(text.lower())


def duplicates(
    dataset: Dataset,
    *,
    kind: Literal["exact", "near"] = "near",
    threshold: float = 0.8,
    shingle: int = 5,
    method: Literal["auto", "exact", "minhash"] = "auto",
    seed: int = 0,
) -> DuplicatePairs:
    """Find items that repeat each other, by the words of input and choices.

    Parameters
    ----------
    kind : {"exact", "near"}
        "exact": the same words in the same order; each repeat is paired with the first one.
        "near": Jaccard similarity of the sets of word shingles.
    threshold : float, in (0, 1]
        No pair below it is ever reported.
    shingle : int, >= 1
        Words per shingle; a shorter text is one shingle.
    method : {"auto", "exact", "minhash"}
        For "near". The exact join misses nothing; "auto" takes it up to 50,000 items.
    seed : int
        Of the MinHash permutations.

    Raises
    ------
    ValueError
        If an argument is out of range.
    MissingExtraError
        If MinHash is needed and the extra `dedup` is not installed.

    References
    ----------
    .. [1] S. Chaudhuri, V. Ganti, R. Kaushik, A Primitive Operator for Similarity Joins in Data
       Cleaning, ICDE 2006 (prefix filter).
    .. [2] A. Broder, On the resemblance and containment of documents, 1997 (MinHash).
    """
    if kind not in ("exact", "near"):
        raise ValueError(f"`kind` must be 'exact' or 'near', got {kind!r}")
    if method not in ("auto", "exact", "minhash"):
        raise ValueError(f"`method` must be one of auto, exact, minhash, got {method!r}")
    if not 0 < threshold <= 1:
        raise ValueError(f"`threshold` must be in (0, 1], got {threshold}")
    if shingle < 1:
        raise ValueError(f"`shingle` must be >= 1, got {shingle}")
    ids = dataset.ids
    with span("duplicates", n=len(ids), kind=kind) as here:
        if kind == "exact":
            return DuplicatePairs.of(_repeats(dataset), "exact", 1.0)
        if method == "auto":
            method = "exact" if len(ids) <= EXACT_UP_TO else "minhash"
        shingled = [_shingles(_text(item), shingle) for item in dataset]
        sizes = [len(one) for one in shingled]
        recall = 1.0
        if method == "exact":
            shared = _shared(shingled)
            candidates = _prefix_candidates(shared, sizes, threshold)
        else:
            rows, recall = _bands(threshold)
            candidates = _minhash_candidates(shingled, rows, seed)
            shared = _shared(shingled)
        pairs = []
        for a, b in candidates:
            common = len(shared[a] & shared[b])
            jaccard = common / (sizes[a] + sizes[b] - common)
            if jaccard >= threshold:
                first, second = sorted((a, b))
                pairs.append((-jaccard, first, second))
        here.set(pairs=len(pairs), method=method)
    found = (
        DuplicatePair(a=ids[a], b=ids[b], jaccard=-j, kind="near") for j, a, b in sorted(pairs)
    )
    return DuplicatePairs.of(found, method, recall)


def contamination(test: Dataset, corpus: Iterable[str], *, n: int = 13) -> tuple[Overlap, ...]:
    """Find items that share a run of n words with a stream of texts.

    Parameters
    ----------
    corpus : iterable of str
        Read once; memory grows with the items only.
    n : int, >= 1
        13 is GPT-3's choice; 8 is stricter. Items with fewer words cannot be found.

    References
    ----------
    .. [1] T. Brown et al., Language Models are Few-Shot Learners, 2020, appendix C.
    """
    if n < 1:
        raise ValueError(f"`n` must be >= 1, got {n}")
    owners: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    sizes = []
    for place, item in enumerate(test):
        grams = dict.fromkeys(_ngrams(words(_text(item)), n))
        sizes.append(len(grams))
        for gram in grams:
            owners[gram].append(place)
    left = set(owners)
    hits: set[tuple[str, ...]] = set()
    for text in corpus:
        if not isinstance(text, str):
            raise ValueError(f"`corpus` must be texts, got {type(text).__name__}")
        found = left.intersection(_ngrams(words(text), n))
        hits |= found
        left -= found
    shared: defaultdict[int, set[tuple[str, ...]]] = defaultdict(set)
    for gram in hits:
        for place in owners[gram]:
            shared[place].add(gram)
    overlaps = []
    for place in sorted(shared):
        item = test[place]
        first = next(g for g in _ngrams(words(_text(item)), n) if g in shared[place])
        overlaps.append(
            Overlap(
                item_id=item.id, ngrams=len(shared[place]), text=" ".join(first),
                share_of_item=len(shared[place]) / sizes[place],
            )
        )  # fmt: skip
    return tuple(overlaps)


def _text(item: Item) -> str:
    return item.input if item.choices is None else "\n".join((item.input, *item.choices))


def _ngrams(tokens: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    return zip(*(tokens[start:] for start in range(n)), strict=False)


def _repeats(dataset: Dataset) -> Iterator[DuplicatePair]:
    first: dict[bytes, str] = {}
    for item in dataset:
        text = " ".join(words(_text(item))) or _text(item)
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        if digest in first:
            yield DuplicatePair(a=first[digest], b=item.id, jaccard=1.0, kind="exact")
        else:
            first[digest] = item.id


def _shingles(text: str, size: int) -> set[str]:
    tokens = words(text)
    if len(tokens) <= size:
        return {" ".join(tokens)} if tokens else set()
    return {" ".join(gram) for gram in _ngrams(tokens, size)}


def _shared(shingled: Sequence[set[str]]) -> list[set[int]]:
    """Keep the shingles that are in more than one text, as numbers: the rarer, the smaller."""
    counts: Counter[str] = Counter()
    for one in shingled:
        counts.update(one)
    several = [shingle for shingle, count in counts.items() if count > 1]
    several.sort(key=lambda shingle: (counts[shingle], shingle))
    number = {shingle: n for n, shingle in enumerate(several)}
    return [{number[s] for s in one if s in number} for one in shingled]


def _prefix_candidates(
    shared: Sequence[set[int]], sizes: Sequence[int], threshold: float
) -> Iterator[tuple[int, int]]:
    """Yield pairs that share one of their rarest shingles and fit in size; no pair is missed.

    The rarest shingles of all are those of one text only: they fill the prefix without a partner.
    """
    by_size = sorted((place for place, size in enumerate(sizes) if size), key=lambda p: sizes[p])
    index: defaultdict[int, list[int]] = defaultdict(list)
    for place in by_size:
        size, ours = sizes[place], shared[place]
        # The tolerance keeps 0.8 * 5 at 4, whatever the rounding: a longer prefix is only slower.
        least = threshold * size - 1e-9
        prefix = size - math.ceil(least) + 1 - (size - len(ours))
        if prefix <= 0:
            continue
        seen: set[int] = set()
        for number in sorted(ours)[:prefix]:
            for other in index[number]:
                if other not in seen and sizes[other] >= least:
                    seen.add(other)
                    yield other, place
            index[number].append(place)


def _bands(threshold: float) -> tuple[int, float]:
    """Return rows per band, and the chance that a pair at the threshold shares a band.

    The most rows, and so the fewest candidates, with which 99 of 100 such pairs are found.
    """
    for rows in range(32, 0, -1):
        recall = 1 - (1 - threshold**rows) ** (PERMUTATIONS // rows)
        if recall >= 0.99 or rows == 1:
            return rows, recall
    raise AssertionError  # pragma: no cover


def _minhash_candidates(
    shingled: Sequence[set[str]], rows: int, seed: int
) -> Iterator[tuple[int, int]]:
    rensa = need("rensa", extra="dedup", feature="MinHash")
    buckets: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, shingles in enumerate(shingled):
        if not shingles:
            continue
        minhash = rensa.RMinHash(num_perm=PERMUTATIONS, seed=seed)
        minhash.update(list(shingles))
        digest = minhash.digest()
        for band in range(PERMUTATIONS // rows):
            buckets[(band, *digest[band * rows : (band + 1) * rows])].append(place)
    seen: set[tuple[int, int]] = set()
    for bucket in buckets.values():
        for n, b in enumerate(bucket):
            for a in bucket[:n]:
                if (a, b) not in seen:
                    seen.add((a, b))
                    yield a, b
