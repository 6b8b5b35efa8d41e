"""Which benchmarks there are, where their files come from, and who reads them."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from crucible_datasets.items import Item, Task

ENTRY_POINTS = "crucible_datasets.benchmarks"


class Loader(Protocol):
    """Reads the files of a split. `version` changes when it reads the same file differently."""

    @property
    def version(self) -> int:
        """Version of the parser, part of the cache key and the lock."""
        ...

    def parse(
        self, files: Mapping[str, Path], *, split: str | None, subset: str | None
    ) -> Iterator[Item]:
        """Yield the items of official files (name -> path).

        Raises
        ------
        ParseError
            Naming file and line, where a file is not what the format promises.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCard:
    """One split as it was published.

    Parameters
    ----------
    n_items : int, optional
        The published count; None where nobody can check it (a subject, a group's rarer split).
    files : tuple of str
        Official file names; a local one may also be gzipped.
    sha256 : str, optional
        Digest of the file at `url`, where there is exactly one.
    url : str, optional
        Of the file, or of the archive that holds all `files`.
    hub_files : tuple of str
        Patterns of the split's files in the hub repository.
    has_labels : bool
    """

    n_items: int | None
    files: tuple[str, ...] = ()
    sha256: str | None = None
    url: str | None = None
    hub_files: tuple[str, ...] = ()
    has_labels: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkCard:
    """What a benchmark is, and under what terms it is published."""

    name: str
    title: str
    description: str
    task: Task
    domain: str
    default_split: str | None
    splits: Mapping[str, SplitCard]
    license: str | None
    citation: str | None
    homepage: str | None
    hub_id: str | None = None
    default_metrics: tuple[str, ...] = ("exact_match",)
    notes: str = ""
    subsets: tuple[str, ...] = ()

    @property
    def made_here(self) -> bool:
        """Whether the items come with this package, and from nowhere else."""
        return self.homepage is None and self.hub_id is None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        row = {name: getattr(self, name) for name in self.__dataclass_fields__}
        row["splits"] = {name: split.to_dict() for name, split in self.splits.items()}
        return {"schema": "crucible.datasets.card/1", **row}


@dataclass(frozen=True, slots=True)
class Registry:
    """Benchmarks by name. Immutable: `with_` returns a larger one.

    Parameters
    ----------
    entries : mapping of name to (card, loader)
    plugins : bool
        Whether packages may add benchmarks by the entry point group
        `crucible_datasets.benchmarks`; an entry point loads to a (card, loader) pair.
    """

    entries: Mapping[str, tuple[BenchmarkCard, Loader]] = field(default_factory=dict)
    plugins: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", MappingProxyType(dict(self.entries)))

    def with_(self, card: BenchmarkCard, loader: Loader) -> "Registry":
        """Return a registry that also holds this benchmark.

        Raises
        ------
        ValueError
            If the name is taken.
        """
        if self.get(card.name) is not None:
            raise ValueError(f"`card` must have a new name, got {card.name!r}")
        return Registry({**self.entries, card.name: (card, loader)}, self.plugins)

    def get(self, name: str) -> tuple[BenchmarkCard, Loader] | None:
        """Return card and loader of a benchmark, None if there is none."""
        return self.entries.get(name) or self._plugins().get(name)

    def cards(self) -> tuple[BenchmarkCard, ...]:
        """Return all cards, by name."""
        every = {**self._plugins(), **self.entries}
        return tuple(every[name][0] for name in sorted(every))

    def near(self, name: str) -> tuple[str, ...]:
        """Return the three names most like `name`."""
        names = [card.name for card in self.cards()]
        return tuple(difflib.get_close_matches(name, names, n=3, cutoff=0.4))

    def _plugins(self) -> dict[str, tuple[BenchmarkCard, Loader]]:
        if not self.plugins:
            return {}
        from importlib.metadata import entry_points

        found = {}
        for point in entry_points(group=ENTRY_POINTS):
            card, loader = point.load()
            found[card.name] = (card, loader)
        return found


def benchmarks(
    *,
    task: Task | None = None,
    domain: str | None = None,
    license: str | None = None,
    text: str | None = None,
    registry: Registry | None = None,
) -> tuple[BenchmarkCard, ...]:
    """List benchmarks that fit all conditions, by name.

    Parameters
    ----------
    text : str, optional
        Part of name, title, description or notes, capital or not.
    """
    from crucible_datasets.cards import DEFAULT_REGISTRY

    def fits(card: BenchmarkCard) -> bool:
        words = f"{card.name} {card.title} {card.description} {card.notes}".casefold()
        return (
            task in (None, card.task)
            and domain in (None, card.domain)
            and license in (None, card.license)
            and (text is None or text.casefold() in words)
        )

    return tuple(card for card in (registry or DEFAULT_REGISTRY).cards() if fits(card))
