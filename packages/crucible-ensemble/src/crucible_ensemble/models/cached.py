"""Answers that are paid once: a content-addressed cache before a model."""

import json
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, Self

from crucible_ensemble.completion import Completion
from crucible_ensemble.model import Model, Prompt
from crucible_ensemble.requests import is_repeatable, key_of, request_of
from crucible_ensemble.spans import generate_span


class Store(Protocol):
    """Keeps completions by key."""

    def get(self, key: str, /) -> Mapping[str, Any] | None:
        """Return what was put, else None."""
        ...

    def put(self, key: str, completion: Mapping[str, Any], /) -> None:
        """Keep a completion."""
        ...


class SqliteStore:
    """Completions in a SQLite file, shared by threads and processes.

    Parameters
    ----------
    path : path of the file; it is made if it does not exist
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA busy_timeout=10000")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS completions "
            "(key TEXT PRIMARY KEY, completion TEXT NOT NULL)"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, key: str, /) -> Mapping[str, Any] | None:
        """Return the completion of a key, else None."""
        with self._lock:
            row = self._db.execute(
                "SELECT completion FROM completions WHERE key = ?", (key,)
            ).fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, key: str, completion: Mapping[str, Any], /) -> None:
        """Keep a completion; the first one of a key stays."""
        with self._lock:
            self._db.execute(
                "INSERT OR IGNORE INTO completions VALUES (?, ?)",
                (key, json.dumps(completion, sort_keys=True)),
            )

    def close(self) -> None:
        """Close the file."""
        self._db.close()


class _Memory:
    def __init__(self) -> None:
        self._rows: dict[str, Mapping[str, Any]] = {}

    def get(self, key: str, /) -> Mapping[str, Any] | None:
        return self._rows.get(key)

    def put(self, key: str, completion: Mapping[str, Any], /) -> None:
        self._rows.setdefault(key, completion)


class CachedModel:
    """Asks a model only what it was not asked before.

    Parameters
    ----------
    model : Model
    store : Store, path of a SQLite file, or None
        None keeps answers in memory.

    Notes
    -----
    The key is a BLAKE2b hash of the model, the messages and every option. Only successes are kept;
    equal requests that are under way share one call. Requests without a seed at a temperature
    other than 0 are new draws and go past the cache. An answer from the cache keeps its cost and
    latency, and `billed_usd` is 0.0.
    """

    def __init__(self, model: Model, store: Store | Path | str | None = None) -> None:
        self._model = model
        self._owned = SqliteStore(store) if isinstance(store, Path | str) else None
        self._store: Store
        if self._owned is not None:
            self._store = self._owned
        else:
            self._store = _Memory() if store is None else store  # type: ignore[assignment]
        self._under_way: dict[str, Any] = {}
        self.name = str(getattr(model, "name", type(model).__name__))
        self.family = str(getattr(model, "family", self.name))
        supports = getattr(model, "supports", None)
        if supports is not None:
            self.supports = supports - {"stream"}
        identity = getattr(model, "fingerprint", None)
        self._identity = {"model": self.name} if identity is None else identity()

    def fingerprint(self) -> dict[str, object]:
        """Return what identifies the model in an experiment's design: the model behind."""
        return dict(self._identity)

    async def aclose(self) -> None:
        """Close the store, if this object opened it, and the model."""
        if self._owned is not None:
            self._owned.close()
        close = getattr(self._model, "aclose", None)
        if close is not None:
            await close()

    async def generate(
        self,
        prompt: Prompt,
        /,
        *,
        temperature: float | None = 0.0,
        max_tokens: int = 1000,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> Completion:
        """Answer from the cache, or ask and keep the answer."""
        import anyio

        request = request_of(
            prompt, temperature=temperature, max_tokens=max_tokens, seed=seed, stop=stop
        )

        async def ask() -> Completion:
            answer = await self._model.generate(
                prompt, temperature=temperature, max_tokens=max_tokens, seed=seed, stop=stop
            )
            return Completion.of(answer, model=self.name)

        if not is_repeatable(request):
            return await ask()
        key = key_of({**request, "model": self._identity})
        while True:
            known = self._store.get(key)
            if known is not None:
                with generate_span(self.name, system="cache") as span:
                    stored = Completion.from_dict(known)
                    return span.answered(replace(stored, cached=True, billed_usd=0.0))
            other = self._under_way.get(key)
            if other is None:
                break
            await other.wait()  # then look again: it may have failed or been cancelled
        done = self._under_way[key] = anyio.Event()
        try:
            completion = await ask()
            self._store.put(key, completion.to_short_dict())
            return completion
        finally:
            del self._under_way[key]
            done.set()
