"""Adapters by name, in one SQLite file: what they are, how good, and whether still intact."""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from crucible_lora.checkpoints import CheckpointStore
from crucible_lora.config import LoraConfig
from crucible_lora.errors import (
    AdapterExistsError,
    AdapterNotFoundError,
    CheckpointCorruptError,
    CheckpointNotFoundError,
)
from crucible_lora.experiment import LoraExperiment
from crucible_lora.gates import Direction
from crucible_lora.metrics import direction_of
from crucible_lora.ports import Backend
from crucible_lora.registered import (
    RegisteredAdapter,
    adapter_of,
    metrics_text,
    read_metrics,
    read_tags,
)
from crucible_lora.sampler import Sampler
from crucible_lora.sealed import Checkpoint, MetricValue

_SCHEMA = "crucible-lora/registry/1"
_TABLE = """
create table if not exists adapters (
    name text primary key,
    checkpoint text not null,
    sha256 text not null,
    base_model text not null,
    dataset_fingerprint text,
    tags text not null,
    metrics text not null
) strict
"""


class AdapterRegistry:
    """Adapters with their metrics and tags.

    Parameters
    ----------
    path : path
        A SQLite file, made if it is not there.

    Notes
    -----
    The direction of a metric is stored with it, so that the top by "loss" is the smallest. Every
    change is one transaction; several processes may use one file.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as database:
            database.execute(_TABLE)

    def __repr__(self) -> str:
        return f"AdapterRegistry({str(self.path)!r})"

    def register(
        self,
        name: str,
        checkpoint: Checkpoint,
        *,
        metrics: Mapping[str, float | MetricValue] | None = None,
        tags: Sequence[str] = (),
        base_model: str,
        dataset_fingerprint: str | None = None,
    ) -> RegisteredAdapter:
        """Add an adapter.

        Parameters
        ----------
        name : str
            Unique.
        checkpoint : Checkpoint
        metrics : mapping of name to number or MetricValue, optional
            By default those of the checkpoint. The direction of a plain number follows from its
            name; that of an unknown metric is "max".
        tags : sequence of str
        base_model : str
            As the configuration of the adapter's experiment names it.
        dataset_fingerprint : str, optional
            None is unknown.

        Raises
        ------
        AdapterExistsError
            If the name is taken.
        CheckpointCorruptError
            If the checkpoint is not what was written.
        ValueError
            If a name is empty or a metric not finite.
        """
        if not name.strip() or not base_model.strip():
            raise ValueError(
                f"`name` and `base_model` must not be empty, got {name!r} and {base_model!r}"
            )
        given = checkpoint.metrics if metrics is None else metrics
        adapter = RegisteredAdapter(
            name=name,
            path=checkpoint.path.absolute(),
            sha256=_verified(checkpoint.path),
            base_model=base_model,
            dataset_fingerprint=dataset_fingerprint,
            tags=read_tags(tags),
            metrics=read_metrics(given),
        )
        self._insert([adapter])
        return adapter

    def get(self, name: str) -> RegisteredAdapter:
        """Return an adapter.

        Raises
        ------
        AdapterNotFoundError
            If there is none of that name; the error lists those there are.
        """
        with self._open() as database:
            row = database.execute("select * from adapters where name = ?", [name]).fetchone()
        if row is None:
            raise AdapterNotFoundError(name, [a.name for a in self.list()])
        return adapter_of(row)

    def list(self) -> tuple[RegisteredAdapter, ...]:
        """Return all adapters, by name."""
        with self._open() as database:
            rows = database.execute("select * from adapters order by name").fetchall()
        return tuple(adapter_of(row) for row in rows)

    def find(
        self, *, tags: Sequence[str] = (), base_model: str | None = None
    ) -> tuple[RegisteredAdapter, ...]:
        """Return the adapters that have all of some tags, and a base model if one is named."""
        wanted = set(read_tags(tags))
        return tuple(
            adapter
            for adapter in self.list()
            if wanted <= set(adapter.tags) and base_model in (None, adapter.base_model)
        )

    def best(self, metric: str) -> RegisteredAdapter:
        """Return the adapter with the best value of a metric.

        Raises
        ------
        AdapterNotFoundError
            If none has that metric.
        """
        found = self.top(metric, 1)
        if not found:
            raise AdapterNotFoundError(f"best by {metric}", [a.name for a in self.list()])
        return found[0]

    def top(
        self, metric: str, n: int, *, direction: Direction | None = None, tags: Sequence[str] = ()
    ) -> tuple[RegisteredAdapter, ...]:
        """Return the best adapters by a metric, equals by name; those without it are left out.

        Raises
        ------
        ValueError
            If `n` < 1, or adapters disagree on which way the metric is better.
        """
        if n < 1:
            raise ValueError(f"`n` must be >= 1, got {n}")
        having = [a for a in self.find(tags=tags) if metric in a.metrics]
        ways = {a.metrics[metric].direction for a in having}
        if direction is None and len(ways) > 1:
            raise ValueError(f"`direction` must be given: {metric!r} is stored with both")
        way = direction or next(iter(ways), direction_of(metric))
        sign = 1.0 if way == "min" else -1.0
        return tuple(sorted(having, key=lambda a: (sign * a.metrics[metric].value, a.name))[:n])

    def update_metrics(
        self, name: str, metrics: Mapping[str, float | MetricValue]
    ) -> RegisteredAdapter:
        """Set some metrics of an adapter and keep the others.

        Raises
        ------
        AdapterNotFoundError, ValueError
        """
        added = read_metrics(metrics)
        with self._open() as database:
            database.execute("begin immediate")
            row = database.execute("select * from adapters where name = ?", [name]).fetchone()
            if row is not None:
                text = metrics_text({**adapter_of(row).metrics, **added})
                database.execute("update adapters set metrics = ? where name = ?", [text, name])
        return self.get(name)

    def delete(self, name: str) -> None:
        """Forget an adapter; its checkpoint stays.

        Raises
        ------
        AdapterNotFoundError
        """
        self.get(name)
        with self._open() as database:
            database.execute("delete from adapters where name = ?", [name])

    def export_json(self, path: Path | str) -> None:
        """Write all entries; equal registries give equal bytes."""
        content = {"schema": _SCHEMA, "adapters": [a.to_dict() for a in self.list()]}
        text = json.dumps(content, sort_keys=True, indent=1, ensure_ascii=True)
        Path(path).write_text(text + "\n", encoding="utf-8", newline="\n")

    def import_json(self, path: Path | str) -> tuple[RegisteredAdapter, ...]:
        """Add the entries that `export_json` wrote, all or none.

        Raises
        ------
        AdapterExistsError
            If a name is taken.
        ValueError
            If the file is no export.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            schema = content["schema"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"`path` must be an export of a registry, got {path}") from error
        if schema != _SCHEMA:
            raise ValueError(f"`path` must be a {_SCHEMA}, got {schema!r}")
        adapters = tuple(RegisteredAdapter.from_dict(entry) for entry in content["adapters"])
        self._insert(adapters)
        return adapters

    def open(self, name: str, *, backend: Backend | Literal["auto"] = "auto") -> Sampler:
        """Return an adapter as a model, once its files are what they were.

        Parameters
        ----------
        name : str
        backend : Backend or "auto"
            Sessions of one `PeftBackend` share the base model in memory.

        Raises
        ------
        AdapterNotFoundError
        CheckpointNotFoundError
            If the checkpoint is gone.
        CheckpointCorruptError
            If a file of it is not what it was when it was registered.
        """
        adapter = self.get(name)
        if not adapter.path.is_dir():
            raise CheckpointNotFoundError(adapter.path.name, (), f"{adapter.path} is gone")
        found = _verified(adapter.path)
        if found != adapter.sha256:
            raise CheckpointCorruptError(adapter.path.name, adapter.sha256, found)
        opened = LoraExperiment.open(_experiment_of(adapter), backend=backend)
        return opened.sampler_at(adapter.path, name=f"lora/{adapter.name}")

    def config(self, name: str) -> LoraConfig:
        """Return the configuration that an adapter was trained with."""
        return LoraExperiment.open(_experiment_of(self.get(name))).config

    def _insert(self, adapters: Sequence[RegisteredAdapter]) -> None:
        rows = [
            (
                a.name,
                str(a.path),
                a.sha256,
                a.base_model,
                a.dataset_fingerprint,
                json.dumps(list(a.tags), ensure_ascii=True),
                metrics_text(a.metrics),
            )
            for a in adapters
        ]
        with self._open() as database:
            database.execute("begin immediate")
            for row in rows:
                try:
                    database.execute("insert into adapters values (?, ?, ?, ?, ?, ?, ?)", row)
                except sqlite3.IntegrityError:
                    raise AdapterExistsError(row[0]) from None

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self.path, timeout=30.0, isolation_level=None)
        try:
            yield database
            if database.in_transaction:
                database.execute("commit")
        finally:
            database.close()  # what was not committed is rolled back


def _experiment_of(adapter: RegisteredAdapter) -> Path:
    # <experiment>/run-001/checkpoints/step-000100
    return adapter.path.parent.parent.parent


def _verified(path: Path) -> str:
    """Return the SHA-256 over a checkpoint's files, read again."""
    return CheckpointStore(path.parent).get(path.name).sha256
