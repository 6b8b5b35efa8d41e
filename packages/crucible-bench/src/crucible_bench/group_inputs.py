"""From what users have to checked arrays of several groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crucible_bench.arrays import Array, by_id, duplicates, item_means, scores
from crucible_bench.errors import PseudoReplicationError, UnmatchedPairsError

Labels = NDArray[Any]
Scores = ArrayLike | Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Groups of checked scores: `scores` as given, (items,) or (items, repeats), and `means`.

    `cluster` holds one sequence of labels (paired) or one per group; `n_dropped` counts what was
    left out.
    """

    scores: dict[str, Array]
    means: dict[str, Array]
    cluster: Labels | dict[str, Labels] | None
    n_dropped: int


def checked_groups(
    groups: Mapping[str, Scores],
    *,
    paired: bool,
    cluster: ArrayLike | Mapping[str, Any] | None,
    ids: Sequence[str] | Mapping[str, Sequence[str]] | None,
    missing: Literal["raise", "drop"],
    nan: Literal["raise", "omit"],
) -> Groups:
    """Return the groups, item by item if paired.

    Raises
    ------
    UnmatchedPairsError
        If paired mappings have different items and `missing` is "raise".
    PseudoReplicationError
        If an id repeats without clusters, or is in two independent groups.
    ValueError
        If scores, ids and clusters do not fit together.
    """
    if len(groups) < 2:
        raise ValueError(f"`groups` must hold at least 2 groups, got {len(groups)}")
    if missing not in ("raise", "drop"):
        raise ValueError(f'`missing` must be "raise" or "drop", got {missing!r}')
    if nan not in ("raise", "omit"):
        raise ValueError(f'`nan` must be "raise" or "omit", got {nan!r}')
    mapped = [isinstance(group, Mapping) for group in groups.values()]
    if any(mapped) and not all(mapped):
        raise ValueError("`groups` must all be mappings of item id to score, or none")
    dropped, given = 0, dict(groups)
    if all(mapped):
        if ids is not None:
            raise ValueError("`ids` must be None where the scores are mappings: their keys are ids")
        if paired:
            given, cluster, dropped = _matched(given, cluster, missing)  # type: ignore[arg-type]
        else:
            given, cluster, ids = _listed(given, cluster)  # type: ignore[arg-type]
    data = {name: scores(f"groups[{name!r}]", g, nan=nan) for name, g in given.items()}  # type: ignore[arg-type]
    sizes = [len(a) for a in data.values()]
    if paired and len(set(sizes)) > 1:
        raise ValueError(f"`groups` must have the same items, got {sizes} scores")
    labels: Any = _labels(data, cluster, paired=paired)  # one sequence, or one for each group
    _check_ids(data, ids, paired=paired, clustered=cluster is not None)
    known = {name: ~np.isnan(item_means(a)) for name, a in data.items()}
    if paired:
        keep = np.logical_and.reduce(list(known.values()))
        known = {name: keep for name in data}  # noqa: C420  # fromkeys loses the type
        dropped += int((~keep).sum())
        if labels is not None:
            labels = labels[keep]
    else:
        dropped += sum(int((~k).sum()) for k in known.values())
        if isinstance(labels, dict):
            labels = {name: of_group[known[name]] for name, of_group in labels.items()}
    data = {name: scores(f"groups[{name!r}]", a[known[name]]) for name, a in data.items()}
    means = {name: item_means(a) for name, a in data.items()}
    return Groups(scores=data, means=means, cluster=labels, n_dropped=dropped)


def _matched(
    groups: dict[str, Mapping[str, float]],
    cluster: Mapping[str, Any] | None,
    missing: Literal["raise", "drop"],
) -> tuple[dict[str, Scores], Any, int]:
    """Return the common items of all groups in order of their ids, their labels, the rest's count.

    The order of a mapping changes nothing.
    """
    first, *others = groups.values()
    for other in others:
        only = tuple(k for k in first if k not in other), tuple(k for k in other if k not in first)
        if any(only) and missing == "raise":
            raise UnmatchedPairsError(*only)
    common = sorted(set.intersection(*(set(group) for group in groups.values())), key=str)
    dropped = len(set().union(*groups.values())) - len(common)
    if cluster is not None:
        if not isinstance(cluster, Mapping):
            raise ValueError("`cluster` must be a mapping of item id to label, as the scores are")
        unknown = [key for key in common if key not in cluster]
        if unknown:
            raise ValueError(f"`cluster` must have a label for every item, lacks {unknown[:5]}")
        cluster = [str(cluster[key]) for key in common]  # type: ignore[assignment]
    return {name: [g[key] for key in common] for name, g in groups.items()}, cluster, dropped


def _listed(
    groups: dict[str, Mapping[str, float]], cluster: ArrayLike | Mapping[str, Any] | None
) -> tuple[dict[str, Scores], Any, dict[str, list[str]]]:
    """Return independent mappings as sequences, with labels and ids in the same order."""
    if cluster is not None and not isinstance(cluster, Mapping):
        raise ValueError("`cluster` must be a mapping of name to labels for independent groups")
    data: dict[str, Scores] = {}
    labels, ids = {}, {}
    for name, group in groups.items():
        of_group = None if cluster is None else cluster.get(name)
        ids[name], data[name], labels[name] = by_id(f"groups[{name!r}]", group, of_group)
    known = {name: found for name, found in labels.items() if found is not None}
    return data, None if cluster is None else known, ids


def _labels(
    data: dict[str, Array], cluster: ArrayLike | Mapping[str, Any] | None, *, paired: bool
) -> Labels | dict[str, Labels] | None:
    if cluster is None:
        return None
    if paired == isinstance(cluster, Mapping):
        raise ValueError(
            "`cluster` must be one sequence of labels when paired, else a mapping of name to labels"
        )
    if not isinstance(cluster, Mapping):
        labels, n = np.asarray(cluster), len(next(iter(data.values())))
        if labels.shape != (n,):
            raise ValueError(f"`cluster` must have one label per item, got {labels.size} for {n}")
        return labels
    found = {}
    for name, group in data.items():
        if name not in cluster:
            raise ValueError(f"`cluster` must have labels for every group, lacks {name!r}")
        found[name] = np.asarray(cluster[name])
        if found[name].shape != (len(group),):
            raise ValueError(
                f"`cluster` must have one label per score of {name!r}, got {found[name].size} for "
                f"{len(group)}"
            )
    return found


def _check_ids(
    data: dict[str, Array],
    ids: Sequence[str] | Mapping[str, Sequence[str]] | None,
    *,
    paired: bool,
    clustered: bool,
) -> None:
    if ids is None:
        return
    if paired == isinstance(ids, Mapping):
        raise ValueError(
            "`ids` must be one sequence when paired, else a mapping of name to a sequence"
        )
    named = ids if isinstance(ids, Mapping) else {next(iter(data)): ids}
    seen: set[str] = set()
    for name, of_group in named.items():
        if name not in data or len(of_group) != len(data[name]):
            raise ValueError(f"`ids` must have one id per score of every group, not so {name!r}")
        repeated = duplicates(of_group)
        if repeated and not clustered:
            raise PseudoReplicationError(
                repeated,
                "put the repeats of an item into one row (items x repeats), or name them with "
                "cluster=",
            )
        shared = tuple(sorted(seen & set(of_group)))
        if shared:
            raise PseudoReplicationError(shared, "they are in two groups: pass paired=True")
        seen |= set(of_group)
    if not paired and set(named) != set(data):
        raise ValueError("`ids` must be given for every group, or for none")
