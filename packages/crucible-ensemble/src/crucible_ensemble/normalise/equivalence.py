"""Keys that mean the same."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class NumericTolerance:
    """Numbers within a relative distance are one answer; every other key is its own.

    Attributes
    ----------
    rel : float, in (0, 1)
        No two numbers of a cluster differ by more, relative to the larger.

    Notes
    -----
    Clusters grow from the smallest number on, so the order of keys plays no part.
    """

    rel: float = 1e-6

    def __post_init__(self) -> None:
        if not 0 < self.rel < 1:
            raise ValueError(f"`rel` must be in (0, 1), got {self.rel}")

    def __call__(self, keys: Sequence[str], /) -> list[int]:
        """Return a cluster number for each key."""
        values = {key: _value(key) for key in keys}
        numbers = sorted((v, k) for k, v in values.items() if v is not None)
        cluster: dict[str, int] = {}
        first: Fraction | None = None
        rel = Fraction(self.rel)
        for value, key in numbers:
            if first is None or value - first > rel * max(abs(value), abs(first)):
                first = value
                cluster[key] = len(set(cluster.values()))
            else:
                cluster[key] = max(cluster.values())
        for key in sorted(set(keys) - cluster.keys()):
            cluster[key] = len(set(cluster.values()))
        return [cluster[key] for key in keys]

    def medoid(self, keys: Sequence[str]) -> str:
        """Return the key whose distances to the others add to least; ties to the smallest."""
        values = {key: _value(key) or Fraction(0) for key in keys}
        return min(keys, key=lambda k: (sum(abs(values[k] - v) for v in values.values()), k))


def _value(key: str) -> Fraction | None:
    try:
        return Fraction(key)
    except (ValueError, ZeroDivisionError):
        return None


@dataclass(frozen=True, slots=True)
class CosineClusters:
    """Keys whose embeddings point the same way are one answer.

    Attributes
    ----------
    embed : callable
        From keys to an array of shape (keys, dimensions).
    threshold : float, in (-1, 1]
        Smallest cosine between any two keys of a cluster (complete linkage).
    """

    embed: Callable[[Sequence[str]], "npt.ArrayLike"]
    threshold: float = 0.8

    def __post_init__(self) -> None:
        if not -1 < self.threshold <= 1:
            raise ValueError(f"`threshold` must be in (-1, 1], got {self.threshold}")

    def __call__(self, keys: Sequence[str], /) -> list[int]:
        """Return a cluster number for each key.

        Raises
        ------
        ValueError
            If the embeddings are not one finite vector, other than 0, for each key.
        """
        from scipy.cluster.hierarchy import fcluster, linkage
        from scipy.spatial.distance import squareform

        unique = sorted(set(keys))
        if len(unique) < 2:
            return [0] * len(keys)
        distance = self._distances(unique)
        tree = linkage(squareform(distance, checks=False), method="complete")
        found = fcluster(tree, t=1 - self.threshold + 1e-12, criterion="distance")
        number = {key: int(n) for key, n in zip(unique, found, strict=True)}
        return [number[key] for key in keys]

    def medoid(self, keys: Sequence[str]) -> str:
        """Return the key whose distances to the others add to least; ties to the smallest."""
        unique = sorted(set(keys))
        sums = self._distances(unique).sum(axis=1).round(12)
        return unique[int(sums.argmin())]

    def _distances(self, keys: Sequence[str]) -> "np.ndarray[Any, Any]":
        import numpy as np

        vectors = np.asarray(self.embed(keys), dtype=float)  # (keys, dimensions)
        lengths = np.linalg.norm(vectors, axis=1) if vectors.ndim == 2 else np.zeros(0)
        if vectors.ndim != 2 or len(vectors) != len(keys) or not np.all(np.isfinite(vectors)) or not np.all(lengths > 0):  # noqa: E501 # fmt: skip
            raise ValueError(
                f"`embed` must give one finite vector other than 0 for each of {len(keys)} keys, "
                f"got shape {vectors.shape}"
            )
        vectors = vectors / lengths[:, None]
        distance = np.clip(1 - vectors @ vectors.T, 0, 2)
        np.fill_diagonal(distance, 0)
        return np.asarray((distance + distance.T) / 2)
