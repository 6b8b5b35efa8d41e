"""The run folder: what is written before the first call, and the manifest beside it."""

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import secrets
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from crucible_harness.clock import Clock, SystemClock, utc
from crucible_harness.errors import JournalWriteError, NotARunError
from crucible_harness.experiment import Experiment, canonical
from crucible_harness.files import replace_file
from crucible_harness.journal import Journal
from crucible_harness.journal_sqlite import Durability

PACKAGES = ("bench", "causaltrace", "datasets", "ensemble", "harness", "hedging", "lora",
            "telemetry")  # fmt: skip
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "TINKER_API_KEY")


@dataclass(frozen=True, slots=True)
class Folder:
    """Paths of one run."""

    path: Path
    clock: Clock = field(default_factory=SystemClock, compare=False)

    @property
    def journal(self) -> Path:
        """Return the path of the journal."""
        return self.path / "journal.sqlite"

    @property
    def telemetry(self) -> Path:
        """Return the path of the recorded spans."""
        return self.path / "telemetry.sqlite"

    def manifest(self) -> dict[str, Any]:
        """Read the manifest.

        Raises
        ------
        NotARunError
            If there is none, or it is not JSON.
        """
        try:
            found: dict[str, Any] = json.loads(
                (self.path / "manifest.json").read_text(encoding="utf-8")
            )
        except (OSError, ValueError) as error:
            raise NotARunError(f"{str(self.path)!r} holds no run: {error}") from error
        return found

    def now(self) -> str:
        """Return the time in UTC, for the manifest."""
        return utc(self.clock)

    def update(self, **facts: Any) -> None:
        """Add facts to the manifest."""
        self._write("manifest.json", _pretty({**self.manifest(), **facts}))

    def open_journal(
        self,
        *,
        design: Mapping[str, Any] | None = None,
        url: str | None = None,
        durability: Durability = "process",
    ) -> Journal:
        """Open the run's journal, in the file or database where it was begun.

        Parameters
        ----------
        design : mapping, optional
            Creates the journal, or checks that it is of this design.
        url : str, optional
            Of a database, with what the manifest does not keep, such as a password.

        Raises
        ------
        As `Journal`; NotARunError if the folder holds no run.
        """
        begun = self.manifest()
        kept = begun.get("journal")
        if kept is None:
            return Journal(self.journal, design=design, durability=durability)
        return Journal(url or kept, design=design, digest=begun["digest"], folder=self.path)

    def prepare(
        self, experiment: Experiment, *, journal: str | None = None, allow_dirty: bool = True
    ) -> None:
        """Write what is known before the first call, or note that the run is taken up again.

        Raises
        ------
        JournalWriteError
            If the folder cannot be written.
        ValueError
            If the run's journal is elsewhere, or there are uncommitted changes and these are not
            allowed.
        """
        if not allow_dirty and git_state()[1] is not False:
            raise ValueError("`allow_dirty` is False, and the working tree has uncommitted changes")
        shown = None if journal is None else without_password(journal)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if (self.path / "manifest.json").is_file():
                manifest = self.manifest()
                kept = manifest.get("journal")
                if journal is not None and kept != shown:
                    raise ValueError(
                        f"`journal` must be where the run was begun "
                        f"({kept or self.journal.name}), got {shown}"
                    )
                resumes = [*manifest["resumes"], self.now()]
                self.update(resumes=resumes, ended=None, status="running")
                return
            self._write("items.jsonl", items_file(experiment))
            self._write("design.json", _pretty(experiment.frozen))
            self._write("schedule.csv", _schedule(experiment))
            file = _file_of(experiment)
            if file is not None:
                self._write("design.toml", file)
            manifest = _manifest(experiment, journal=shown, started=self.now())
            self._write("manifest.json", _pretty(manifest))
        except OSError as error:
            raise JournalWriteError(f"cannot write {str(self.path)!r}: {error}") from error

    def _write(self, name: str, text: str | bytes) -> None:
        replace_file(self.path / name, text)


def folder_of(
    experiment: Experiment, directory: Path | str, *, clock: Clock | None = None
) -> Folder:
    """Return the folder of an experiment: its name, and the first digits of its digest."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", experiment.name).strip(".-") or "experiment"
    path = Path(directory) / f"{name[:80]}-{experiment.digest[:8]}"
    return Folder(path, clock or SystemClock())


def items_file(experiment: Experiment) -> bytes:
    """Return the items as JSON Lines; the SHA-256 of it is the data set's fingerprint."""
    text = "".join(
        json.dumps(item.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
        for item in experiment.dataset
    )
    return text.encode("utf-8", "surrogatepass")


def _file_of(experiment: Experiment) -> str | None:
    """Return the experiment as a file: the one that it came from, or one that says as much."""
    if experiment.origin is not None:
        return str(experiment.origin["toml"])
    try:
        return experiment.to_toml()
    except ValueError:
        return None  # design.json says it all, also what no file can


def _schedule(experiment: Experiment) -> str:
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("position", "condition", "item", "repeat"))
    for cell in experiment.schedule():
        writer.writerow((cell.position, cell.condition, cell.item, cell.repeat))
    return text.getvalue()


def _manifest(experiment: Experiment, *, journal: str | None, started: str) -> dict[str, Any]:
    commit, dirty = git_state()
    origin = experiment.origin
    return {
        "schema": "crucible-harness/manifest/1",
        "name": experiment.name,
        "run_id": secrets.token_hex(8),
        "digest": experiment.digest,
        "journal": journal,
        "seed": experiment.seed,
        "status": "running",
        "started": started,
        "resumes": [],
        "ended": None,
        "versions": {f"crucible-{name}": package_version(f"crucible-{name}") for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "git_commit": commit,
        "git_dirty": dirty,
        "git_diff_sha256": git_diff_sha256() if dirty else None,
        "dataset": experiment.frozen["dataset"],
        "models": {c["name"]: c["model"] for c in experiment.frozen["conditions"]},
        "keys_set": [name for name in KEYS if os.environ.get(name)],
        "origin": None
        if origin is None
        else {name: value for name, value in origin.items() if name != "toml"},
    }


def without_password(url: str) -> str:
    """Return a database's URL as it may be written down."""
    parts = urlsplit(url)
    user, at, place = parts.netloc.rpartition("@")
    query = urlencode([(k, v) for k, v in parse_qsl(parts.query) if k != "password"])
    return urlunsplit((parts.scheme, f"{user.partition(':')[0]}{at}{place}", parts.path, query, ""))


def package_version(distribution: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def git_state() -> tuple[str | None, bool | None]:
    """Return commit and whether there are uncommitted changes, where this runs in a checkout."""
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no") if commit else None
    return (
        commit.decode().strip() if commit else None,
        None if changes is None else bool(changes.strip()),
    )


def git_diff_sha256() -> str | None:
    """Return the SHA-256 of the uncommitted changes to tracked files; None outside of a checkout.

    With the same commit and the same hash, two runs had the same code.
    """
    changes = _git("diff", "HEAD", "--binary")
    return None if changes is None else hashlib.sha256(changes).hexdigest()


def _git(*words: str) -> bytes | None:
    try:
        done = subprocess.run(["git", *words], capture_output=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def now() -> str:
    """Return this machine's time in UTC, for a manifest that no run writes."""
    return utc(SystemClock())


def _pretty(value: Mapping[str, Any]) -> str:
    return json.dumps(json.loads(canonical(value)), indent=1, sort_keys=True) + "\n"
