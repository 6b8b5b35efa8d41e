"""Samples without a random generator: the order of a hash of seed and id decides.

They are the same on every platform and for every order of the file, and a sample of 100 lies
inside the sample of 200.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from crucible_datasets.items import Dataset, Item, labels_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One round of cross-validation."""

    index: int
    train: Dataset
    test: Dataset


def rank(id: str, seed: int) -> bytes:
    """Return what ids are ordered by."""
    return hashlib.sha256(f"{seed}\x1f{id}".encode()).digest()


def order(ids: Sequence[str], *, seed: int = 0) -> list[int]:
    """Return positions of ids in the order of the hash of `seed` and id.

    Notes
    -----
    Ascending SHA-256 of seed, unit separator (U+001F) and id. Different ids do not tie in practice.
    """
    ranks = [rank(id, seed) for id in ids]
    return sorted(range(len(ids)), key=ranks.__getitem__)


def sample(
    dataset: Dataset, size: int, *, seed: int = 0, stratify_by: str | None = None
) -> Dataset:
    """Draw items without replacement, returned in their original order.

    Parameters
    ----------
    size : int, in [1, len(dataset)]
    stratify_by : str, optional
        "expected" or a field of the metadata: every value gets its share, and at least one.

    Raises
    ------
    ValueError
        If the size is out of range or smaller than the number of strata, or items lack the field.

    Notes
    -----
    Shares are Hamilton's: strata whose quota would be below 1 get 1 and leave, repeatedly; the rest
    go by largest remainder, ties by the name of the stratum.
    """
    _check_size("size", size, len(dataset))
    if stratify_by is None:
        drawn = set(order(dataset.ids, seed=seed)[:size])
        note = f"sample of {size}, seed {seed}"
    else:
        drawn = _stratified(dataset, size, seed, stratify_by)
        note = f"sample of {size}, stratified by {stratify_by}, seed {seed}"
    how = {
        "method": "random" if stratify_by is None else "stratified",
        "seed": seed, "size": size, "field": stratify_by,
    }  # fmt: skip
    return dataset.derive([dataset[n] for n in sorted(drawn)], note, sampling=how)


def shares(counts: Mapping[str, int], size: int) -> dict[str, int]:
    """Divide `size` among strata in proportion to their counts, at least 1 each.

    Raises
    ------
    ValueError
        If there are more strata than `size`.

    References
    ----------
    .. [1] M. L. Balinski and H. P. Young, Fair Representation, 1982, chapter 2.
    """
    if size < len(counts):
        raise ValueError(f"`size` must be >= the {len(counts)} strata, got {size}")
    given: dict[str, int] = {}
    left, rest = dict(counts), size
    while left:
        total = sum(left.values())
        quota = {name: Fraction(rest * n, total) for name, n in left.items()}
        small = [name for name, q in quota.items() if q < 1]
        if not small:
            given |= {name: int(q) for name, q in quota.items()}
            by_remainder = sorted(quota, key=lambda name: (int(quota[name]) - quota[name], name))
            for name in by_remainder[: rest - sum(int(q) for q in quota.values())]:
                given[name] += 1
            break
        for name in small:
            given[name] = 1
            rest -= 1
            del left[name]
    return given


def _stratified(dataset: Dataset, size: int, seed: int, field: str) -> set[int]:
    strata = _strata(dataset, field, seed, "stratify_by")
    given = shares({name: len(members) for name, members in strata.items()}, size)
    return {n for name, members in strata.items() for n in members[: given[name]]}


def _strata(dataset: Dataset, field: str, seed: int, parameter: str) -> dict[str, list[int]]:
    """Return positions by label, each in hash order; labels in alphabetical order."""
    labels = labels_of(dataset, field, parameter=parameter)
    found: defaultdict[str, list[int]] = defaultdict(list)
    for n in order(dataset.ids, seed=seed):
        found[str(labels[n])].append(n)
    return {name: found[name] for name in sorted(found)}


def bootstrap_sample(dataset: Dataset, *, size: int | None = None, seed: int = 0) -> Dataset:
    """Draw items with replacement; the second copy of an item has the id "id@2".

    Parameters
    ----------
    size : int, >= 1, optional
        As many as there are items by default.
    """
    if not len(dataset):
        raise ValueError("`dataset` must hold at least one item")
    size = len(dataset) if size is None else size
    if size < 1:
        raise ValueError(f"`size` must be >= 1, got {size}")
    places = order(dataset.ids, seed=seed)
    drawn = [0] * len(dataset)
    for draw in range(size):
        number = int.from_bytes(rank(f"bootstrap\x1f{draw}", seed)[:16], "big")
        drawn[places[number % len(dataset)]] += 1
    items = [
        item if copy == 1 else replace(item, id=f"{item.id}@{copy}")
        for item, copies in zip(dataset, drawn, strict=True)
        for copy in range(1, copies + 1)
    ]
    how = {"method": "bootstrap", "seed": seed, "size": size, "field": None}
    return dataset.derive(items, f"bootstrap sample of {size}, seed {seed}", sampling=how)


def train_test_split(
    dataset: Dataset,
    *,
    test_size: float | int = 0.2,
    seed: int = 0,
    stratify_by: str | None = None,
    group_by: str | None = None,
) -> tuple[Dataset, Dataset]:
    """Divide into two parts, each in the original order.

    Parameters
    ----------
    test_size : float in (0, 1), or int in [1, len(dataset) - 1]
        A share is rounded to the nearest number of items, at least 1.
    stratify_by : str, optional
        Field whose values have the same shares in both parts.
    group_by : str, optional
        Field whose values must not be in both parts. Whole groups are then taken in hash order as
        long as they fit, so the test part may be smaller than asked for.

    Raises
    ------
    ValueError
        If a part would be empty, items lack a field, or both fields are given.
    """
    n = len(dataset)
    asked = max(1, round(test_size * n)) if isinstance(test_size, float) else test_size
    if (isinstance(test_size, float) and not 0 < test_size < 1) or not 1 <= asked <= n - 1:
        raise ValueError(f"`test_size` must be in (0, 1) or [1, {n - 1}], got {test_size}")
    _not_both(stratify_by, group_by)
    if group_by is not None:
        chosen: set[int] = set()
        groups = _strata(dataset, group_by, seed, "group_by")
        names = sorted(groups, key=lambda name: rank(name, seed))
        for name in names:
            if len(chosen) + len(groups[name]) <= asked:
                chosen |= set(groups[name])
        if not chosen:
            chosen = set(groups[min(names, key=lambda name: len(groups[name]))])
        if len(chosen) == n:
            raise ValueError(f"`group_by` must give at least two groups, got one for {group_by!r}")
    elif stratify_by is not None:
        chosen = _stratified(dataset, asked, seed, stratify_by)
    else:
        chosen = set(order(dataset.ids, seed=seed)[:asked])
    by = _by(stratify_by, group_by)
    how = {"method": "train_test_split", "seed": seed, "size": test_size,
           "field": stratify_by or group_by}  # fmt: skip
    train, test = _two(dataset, chosen)
    return (
        dataset.derive(train, f"train part of {len(train)}{by}, seed {seed}", sampling=how),
        dataset.derive(test, f"test part of {len(test)}{by}, seed {seed}", sampling=how),
    )


def k_fold(
    dataset: Dataset,
    k: int = 5,
    *,
    seed: int = 0,
    stratify_by: str | None = None,
    group_by: str | None = None,
) -> tuple[Fold, ...]:
    """Divide into k parts, each of which is tested once.

    Parameters
    ----------
    k : int, in [2, len(dataset)]
    stratify_by : str, optional
        Deal each stratum round, continuing where the last one ended; sizes differ by at most 1.
    group_by : str, optional
        Keep groups whole: the largest first into the smallest fold, ties by hash.

    Raises
    ------
    ValueError
        If k is larger than the number of items or groups, items lack a field, or both are given.
    """
    if not 2 <= k <= len(dataset):
        raise ValueError(f"`k` must be in [2, {len(dataset)}], got {k}")
    _not_both(stratify_by, group_by)
    folds: list[set[int]] = [set() for _ in range(k)]
    if group_by is not None:
        groups = _strata(dataset, group_by, seed, "group_by")
        if len(groups) < k:
            raise ValueError(f"`k` must be <= the {len(groups)} groups of {group_by!r}, got {k}")
        for name in sorted(groups, key=lambda name: (-len(groups[name]), rank(name, seed))):
            min(folds, key=len).update(groups[name])
    else:
        dealt = order(dataset.ids, seed=seed)
        if stratify_by is not None:
            strata = _strata(dataset, stratify_by, seed, "stratify_by")
            dealt = [n for stratum in strata.values() for n in stratum]
        for turn, n in enumerate(dealt):
            folds[turn % k].add(n)
    by = _by(stratify_by, group_by)
    how = {"method": "k_fold", "seed": seed, "size": k, "field": stratify_by or group_by}
    found = []
    for index, chosen in enumerate(folds):
        train, test = _two(dataset, chosen)
        note = f"fold {index} of {k}{by}, seed {seed}"
        found.append(
            Fold(
                index=index,
                train=dataset.derive(train, f"{note}, train", sampling={**how, "fold": index}),
                test=dataset.derive(test, f"{note}, test", sampling={**how, "fold": index}),
            )
        )
    return tuple(found)


def _two(dataset: Dataset, chosen: set[int]) -> tuple[list[Item], list[Item]]:
    parts: tuple[list[Item], list[Item]] = ([], [])
    for n, item in enumerate(dataset):
        parts[n in chosen].append(item)
    return parts


def _by(stratify_by: str | None, group_by: str | None) -> str:
    return (
        f", stratified by {stratify_by}"
        if stratify_by
        else f", grouped by {group_by}"
        if group_by
        else ""
    )


def _not_both(stratify_by: Any, group_by: Any) -> None:
    if stratify_by is not None and group_by is not None:
        raise ValueError("`stratify_by` and `group_by` must not both be given")


def _check_size(name: str, size: int, most: int) -> None:
    if not 1 <= size <= most:
        raise ValueError(f"`{name}` must be in [1, {most}], got {size}")
