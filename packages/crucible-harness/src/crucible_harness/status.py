"""Where a run stands: counted from its journal, also while another process works on it."""

import csv
import json
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crucible_harness.folder import Folder

if TYPE_CHECKING:
    from crucible_harness.journal import Journal

_LAST = 100  # cells and calls from which the rate is taken


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionStatus:
    """Cells of one condition; failed ones are among the finished."""

    planned: int
    finished: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """Counts of a run. What its conditions achieved is not looked at before it has ended.

    Attributes
    ----------
    status : str
        "running" while a process works on it, else as it ended; "interrupted" where a process died.
    planned, finished, failed, not_run : int
        Cells.
    surplus : int or None
        Finished cells beyond the item at which a sequential design stopped; None where that is not
        known yet.
    in_flight : int
        Calls that were sent and have not ended, while a process works on the run.
    possibly_billed : int
        Calls whose end a crash hid.
    known_cost_usd : float
        Bills that are known; `unknown_calls` answered calls have none.
    rate_per_s, eta_s : float or None
        Cells per second over the last hundred, and the seconds that the rest takes at that rate;
        None while nothing runs.
    last_error : str or None
        Class and message of the last call or cell that failed.
    """

    run_id: str
    path: Path
    status: str
    planned: int
    finished: int
    failed: int
    not_run: int
    surplus: int | None
    in_flight: int
    possibly_billed: int
    known_cost_usd: float
    unknown_calls: int
    per_condition: Mapping[str, ConditionStatus]
    rate_per_s: float | None
    eta_s: float | None
    last_error: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        parts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            "schema": "crucible-harness/run-status/1",
            **parts,
            "path": str(self.path),
            "per_condition": {name: asdict(c) for name, c in self.per_condition.items()},
        }


def status(path: Path | str) -> RunStatus:
    """Say where a run stands.

    Parameters
    ----------
    path : run folder

    Raises
    ------
    NotARunError
        If the folder holds no run.

    Notes
    -----
    Nothing is locked and nothing is written: the process that works on the run does not notice.
    Differences between conditions are never computed here, since looking at them while a run of
    fixed size goes on, and stopping by them, makes its p-values wrong.
    """
    folder = Folder(Path(path))
    manifest = folder.manifest()
    journal = folder.open_journal()
    try:
        states = journal.states()
        open_calls = len(journal.possibly_billed())
        stopping = json.loads(journal.meta("design")).get("stopping") or {}
        calls = _Calls.read(journal)
    finally:
        journal.close()
    running = _is_running(folder, manifest)
    planned = _planned(folder)
    finished = Counter(condition for condition, _, _ in states)
    failed = Counter(condition for (condition, _, _), state in states.items() if state != "ok")
    left = planned.total() - finished.total()
    rate = calls.rate(len(states)) if running else None
    return RunStatus(
        run_id=str(manifest["run_id"]),
        path=folder.path,
        status=_status(manifest, running=running, left=left),
        planned=planned.total(),
        finished=finished.total(),
        failed=failed.total(),
        not_run=left,
        surplus=_surplus(folder) if stopping.get("kind") == "always_valid" else 0,
        in_flight=open_calls if running else 0,
        possibly_billed=0 if running else open_calls,
        known_cost_usd=calls.known_usd,
        unknown_calls=calls.unknown,
        per_condition={
            name: ConditionStatus(planned=count, finished=finished[name], failed=failed[name])
            for name, count in planned.items()
        },
        rate_per_s=rate,
        eta_s=None if not rate else left / rate,
        last_error=calls.last_error,
    )


def _surplus(folder: Folder) -> int | None:
    """Return what the analysis of a run says that was to stop early."""
    try:
        analysis = json.loads((folder.path / "analysis.json").read_text(encoding="utf-8"))
        return int(analysis["sequential"]["surplus_cells"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _planned(folder: Folder) -> Counter[str]:
    from crucible_harness.errors import NotARunError

    try:
        with (folder.path / "schedule.csv").open(encoding="utf-8", newline="") as file:
            return Counter(row["condition"] for row in csv.DictReader(file))
    except (OSError, KeyError) as error:
        raise NotARunError(f"{str(folder.path)!r} has no schedule: {error}") from error


def _is_running(folder: Folder, manifest: Mapping[str, Any]) -> bool:
    """Say whether a process holds the run; of a database only the manifest can tell."""
    import fcntl

    if manifest.get("journal") is not None:
        return manifest.get("status") == "running"
    try:
        with folder.journal.with_suffix(".lock").open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


@dataclass(slots=True)
class _Calls:
    """What the calls of a run say about its pace and its price."""

    n: int = 0
    known_usd: float = 0.0
    unknown: int = 0
    last_error: str | None = None
    ends: deque[float] | None = None

    @classmethod
    def read(cls, journal: "Journal") -> "_Calls":
        found = cls(ends=deque(maxlen=_LAST))
        for call in journal.calls():
            found.n += 1
            bill = call["billed_usd"] if call["billed_usd"] is not None else call["cost_usd"]
            if bill is not None:
                found.known_usd += bill
            elif call["status"] in ("ok", "filtered"):
                found.unknown += 1
            if call["error_class"] is not None:
                found.last_error = f"{call['error_class']}: {call['error_message']}"
            assert found.ends is not None
            found.ends.append(call["started_ns"] / 1e9 + (call["latency_s"] or 0.0))
        return found

    def rate(self, cells: int) -> float | None:
        """Return cells per second: that of the last calls, and the cells that a call makes."""
        assert self.ends is not None
        if len(self.ends) < 2 or not self.n:
            return None
        seconds = max(self.ends) - min(self.ends)
        return None if seconds <= 0 else (len(self.ends) - 1) / seconds * cells / self.n


def _status(manifest: Mapping[str, Any], *, running: bool, left: int) -> str:
    if running:
        return "running"
    ended = str(manifest.get("status"))
    if ended in ("running", "complete") and left:
        return "interrupted"
    return "complete" if ended == "running" else ended
