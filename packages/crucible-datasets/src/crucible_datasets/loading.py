"""From a name to a data set; nothing is ever invented under a benchmark's name."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from crucible_datasets import acquiring
from crucible_datasets.cache import Cache
from crucible_datasets.cards import DEFAULT_REGISTRY
from crucible_datasets.errors import (
    IntegrityError,
    ParseError,
    ReservedNameError,
    UnknownDatasetError,
)
from crucible_datasets.items import Dataset, Item, Provenance, Task
from crucible_datasets.loaders.scifact import Context, SciFact
from crucible_datasets.loaders.tabular import FieldMap, Tabular
from crucible_datasets.lock import pin
from crucible_datasets.registry import BenchmarkCard, Loader, Registry
from crucible_datasets.sampling import sample
from crucible_datasets.tracing import span

Sampling = Literal["random", "stratified", "first"]


def load(
    name: str,
    *,
    split: str | None = None,
    subset: str | None = None,
    path: Path | str | None = None,
    url: str | None = None,
    hub: str | None = None,
    revision: str | None = None,
    fields: FieldMap | None = None,
    task: Task | None = None,
    sample_size: int | None = None,
    sampling: Sampling = "random",
    stratify_by: str | None = None,
    seed: int = 0,
    context: Context = "none",
    check_counts: bool = True,
    lock: Path | str | None = None,
    cache: Cache | None = None,
    download: bool = True,
    registry: Registry = DEFAULT_REGISTRY,
) -> Dataset:
    """Load a benchmark, or data of your own.

    Sources are tried in this order: `path`, the cache, `url` or the benchmark's own URL, the hub.

    Parameters
    ----------
    name : str
        A benchmark (see `benchmarks`), or any other name together with a source.
    split, subset : str, optional
        The benchmark's default split, and all subsets, if not given.
    path : path, optional
        An official file, or a folder that holds files with the official names; for data of your
        own a table: JSON Lines, a JSON array, CSV, TSV or Parquet.
    url, hub : str, optional
        Load from this URL (http or https), or from this data set on the Hugging Face hub.
    revision : str, optional
        Of the hub: branch, tag or commit, resolved to a commit at the first download.
    fields, task : optional
        For data of your own: which columns make an item, and how answers are read.
    sample_size : int, optional
        Draw that many items.
    sampling : {"random", "stratified", "first"}
        "stratified" keeps the shares of `stratify_by`; "first" takes the order of the file.
    context : {"none", "evidence", "abstracts"}
        SciFact only: text of the gold sentences or of the cited abstracts.
    check_counts : bool
        Refuse data that are not the published ones by count or digest. If False, they are
        renamed "(unverified)".
    lock : path, optional
        A lock file, written at the first load; any later difference is refused.
    download : bool
        Whether the network may be used; HF_HUB_OFFLINE=1 forbids it as well.

    Raises
    ------
    UnknownDatasetError, DatasetUnavailableError
        If there is no such benchmark, or nothing to load it from.
    ReservedNameError
        If data of your own would get the name of a benchmark.
    ParseError, IntegrityError
        If a file is malformed, or not the published one.
    LockMismatchError, LockFrozenError
        If the lock file says otherwise.
    ValueError
        If an argument is out of range, or cannot be honoured together with the others.
    """
    if sum(source is not None for source in (path, url, hub)) > 1:
        raise ValueError("`path`, `url` and `hub` must not be given together")
    local = path is not None or url is not None
    if revision is not None and (local or (hub is None and registry.get(name) is None)):
        raise ValueError(f"`revision` must come with `hub`, got {revision!r}")
    if sample_size is None and (sampling != "random" or stratify_by is not None):
        raise ValueError("`sampling` and `stratify_by` must come with `sample_size`")
    known = registry.get(name)
    with span("load", name=name, split=split, subset=subset) as here:
        if known is None:
            if path is None and url is None and hub is None:
                raise UnknownDatasetError(name, registry.near(name))
            if context != "none":
                raise ValueError(f"`context` must be 'none' for {name!r}, got {context!r}")
            if subset is not None and hub is None:
                raise ValueError(f"`subset` must come with `hub` for {name!r}, got {subset!r}")
            card = None
            loader: Loader = Tabular(name=name, fields=fields or FieldMap(), task=task or "text")
        else:
            card, loader = known
            for argument, value in (("fields", fields), ("task", task)):
                if value is not None:
                    raise ReservedNameError(name, argument)
            loader = _with_context(card, loader, context)
            split = _split(card, split)
            _check_subset(card, subset)
        source = acquiring.Source(
            name=name, split=split, subset=subset, path=None if path is None else Path(path),
            url=url, hub=hub, revision=revision, corpus=context != "none",
            check=check_counts,
        )  # fmt: skip
        offline = not download or os.environ.get("HF_HUB_OFFLINE", "").lower() in (
            "1",
            "true",
            "yes",
        )
        files = acquiring.acquire(source, card, loader, cache, offline=offline)
        dataset = _parsed(
            name, split, subset, card, loader, files, task=task or "text", check=check_counts
        )
        if lock is not None:
            pin(lock, dataset, variant="" if context == "none" else context)
        here.set(
            n_items=len(dataset),
            source_kind=dataset.provenance.kind,
            cache_hit=files.cache_hit,
            bytes=sum(file.bytes for file in dataset.provenance.files),
            fingerprint=dataset.fingerprint() if here.recording else None,
        )
    if sample_size is None:
        return dataset
    return _sampled(dataset, sample_size, sampling, stratify_by, seed)


def _with_context(card: BenchmarkCard, loader: Loader, context: Context) -> Loader:
    if context == "none":
        return loader
    if context not in ("evidence", "abstracts"):
        raise ValueError(f"`context` must be one of none, evidence, abstracts, got {context!r}")
    if not isinstance(loader, SciFact):
        raise ValueError(f"`context` must be 'none' for {card.name!r}, got {context!r}")
    return replace(loader, context=context)


def _split(card: BenchmarkCard, split: str | None) -> str | None:
    if card.default_split is None:
        if split is not None:
            raise ValueError(f"`split` must be None for {card.name!r}, got {split!r}")
        return None
    if split is not None and split not in card.splits:
        raise ValueError(f"`split` must be one of {', '.join(card.splits)}, got {split!r}")
    return split or card.default_split


def _check_subset(card: BenchmarkCard, subset: str | None) -> None:
    if subset is None or subset in card.subsets:
        return
    if not card.subsets:
        raise ValueError(f"`subset` must be None for {card.name!r}, got {subset!r}")
    raise ValueError(f"`subset` must be one of {', '.join(card.subsets)}, got {subset!r}")


def _parsed(
    name: str,
    split: str | None,
    subset: str | None,
    card: BenchmarkCard | None,
    loader: Loader,
    files: acquiring.Files,
    *,
    task: Task,
    check: bool,
) -> Dataset:
    items: list[Item] = list(loader.parse(files.paths, split=split, subset=subset))
    first = next(iter(files.paths), name)
    if not items:
        raise ParseError(first, None, "it holds no items")
    seen: set[str] = set()
    twice = [i.id for i in items if i.id in seen or seen.add(i.id)]  # type: ignore[func-returns-value]
    if twice:
        raise IntegrityError(first, "unique ids", f"{', '.join(twice[:5])} twice")
    published = None
    if card is not None and subset is None:
        published = card.splits[split or ""].n_items
    if published is not None and len(items) != published:
        if check:
            raise IntegrityError(
                f"{first} is not the published split {split!r} of {name} (pass "
                f"check_counts=False to use it as '{name} (unverified)')",
                f"{published} items", len(items),
            )  # fmt: skip
        name = f"{name} (unverified)"
    elif files.unofficial:
        name = f"{name} (unverified)"
    version = f"{type(loader).__name__.lower()}/{loader.version}"
    provenance = Provenance(
        kind=files.kind, location=files.location, revision=files.revision, files=files.hashes,
        license=None if card is None else card.license,
        citation=None if card is None else card.citation,
        loader=version, n_total=len(items), counts_checked=check and published is not None,
    )  # fmt: skip
    return Dataset(
        items, name=name, split=split, subset=subset,
        task=task if card is None else card.task, provenance=provenance,
    )  # fmt: skip


def _sampled(
    dataset: Dataset, size: int, sampling: Sampling, stratify_by: str | None, seed: int
) -> Dataset:
    if sampling == "first":
        if stratify_by is not None:
            raise ValueError("`stratify_by` must come with sampling='stratified', got 'first'")
        if not 1 <= size <= len(dataset):
            raise ValueError(f"`sample_size` must be in [1, {len(dataset)}], got {size}")
        how: Mapping[str, object] = {"method": "first", "size": size}
        return dataset.derive(dataset[:size], f"first {size}", sampling=how)
    if sampling not in ("random", "stratified"):
        raise ValueError(f"`sampling` must be one of random, stratified, first, got {sampling!r}")
    if (sampling == "stratified") != (stratify_by is not None):
        raise ValueError("`stratify_by` must be given if and only if sampling='stratified'")
    return sample(dataset, size, seed=seed, stratify_by=stratify_by)
