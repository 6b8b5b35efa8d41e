"""Find out whether everything is there that an experiment needs."""

import importlib.util
import os
import platform
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from crucible_harness.folder import KEYS, PACKAGES, package_version


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding. "missing" is optional; "failed" is not."""

    name: str
    state: Literal["ok", "missing", "failed"]
    detail: str

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return asdict(self)


def examine() -> list[Check]:
    """Check the installation; the local model is asked for one word."""
    return [*_installation(), _disk(), _clock(), *_extras(), *_keys(), _local_model()]


def _installation() -> Iterator[Check]:
    yield Check(
        name="Python", state="ok", detail=f"{platform.python_version()}, {platform.platform()}"
    )
    versions = {name: package_version(f"crucible-{name}") for name in PACKAGES}
    missing = [name for name, version in versions.items() if version is None]
    yield Check(
        name="packages",
        state="failed" if missing else "ok",
        detail=f"not installed: {', '.join(missing)}"
        if missing
        else ", ".join(f"{name} {version}" for name, version in versions.items()),
    )


def _disk() -> Check:
    try:
        with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".crucible-doctor-") as folder:
            database = sqlite3.connect(Path(folder) / "probe.sqlite", isolation_level=None)
            mode = database.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            database.execute("CREATE TABLE probe (x)")
            began, n = time.perf_counter(), 200
            for number in range(n):
                database.execute("INSERT INTO probe VALUES (?)", (number,))
            rate = n / (time.perf_counter() - began)
            database.close()
    except (OSError, sqlite3.Error) as error:
        return Check(name="disk", state="failed", detail=f"no journal can be written here: {error}")
    if mode != "wal":
        return Check(
            name="disk", state="failed", detail=f"SQLite refuses a write-ahead log: {mode}"
        )
    return Check(name="disk", state="ok", detail=f"{rate:,.0f} durable rows a second here")


def _clock() -> Check:
    resolution = time.get_clock_info("monotonic").resolution
    state: Literal["ok", "failed"] = "ok" if resolution <= 0.001 else "failed"
    return Check(name="clock", state=state, detail=f"monotonic, resolution {resolution:g} s")


def _extras() -> Iterator[Check]:
    for extra, modules, use in (
        ("parquet", ("pyarrow",), "results.parquet"),
        ("notebook", ("nbclient", "ipykernel"), "executing the notebook"),
        ("postgres", ("sqlalchemy", "psycopg"), "a journal in PostgreSQL"),
        ("ray", ("ray",), "calls made on several machines"),
    ):
        absent = [m for m in modules if importlib.util.find_spec(m) is None]
        yield Check(
            name=f"extra {extra}",
            state="missing" if absent else "ok",
            detail=f"{use}: {'not installed: ' + ', '.join(absent) if absent else 'installed'}",
        )


def _keys() -> Iterator[Check]:
    found = [name for name in KEYS if os.environ.get(name)]
    yield Check(
        name="keys",
        state="ok" if found else "missing",
        detail=f"set: {', '.join(found)}" if found else "none set; local models need none",
    )


def _local_model() -> Check:
    from crucible_ensemble import LlamaCppModel, ModelError, ModelNotAvailableError

    async def ask() -> tuple[str, float]:
        async with LlamaCppModel() as model:
            answer = await model.generate(
                "What is the capital of France? Answer with one word.", max_tokens=16
            )
        return answer.text, answer.latency_s or 0.0

    import anyio

    try:
        text, latency_s = anyio.run(ask)
    except ModelNotAvailableError as error:
        return Check(name="local model", state="missing", detail=str(error))
    except ModelError as error:
        return Check(name="local model", state="failed", detail=str(error))
    return Check(name="local model", state="ok", detail=f"{text!r} in {latency_s:.1f} s")
