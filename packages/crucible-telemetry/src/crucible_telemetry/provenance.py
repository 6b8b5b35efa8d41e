"""Where a run comes from: the commit, the versions, the process, and whether it still lives."""

import os
import platform
import sys
from functools import cache
from pathlib import Path

from crucible_telemetry.records import WriterRecord

_GIT_LIMIT_S = 2.0
_CLOCK_SLACK_NS = 2_000_000_000
_PACKAGES = (
    "crucible-bench",
    "crucible-causaltrace",
    "crucible-datasets",
    "crucible-ensemble",
    "crucible-harness",
    "crucible-hedging",
    "crucible-lora",
    "crucible-telemetry",
    "opentelemetry-api",
    "opentelemetry-sdk",
)


def git_state() -> tuple[str | None, bool | None]:
    """Return the commit of the working directory and whether tracked files differ from it."""
    import subprocess

    command = ["git", "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=_GIT_LIMIT_S,
            check=True,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None, None
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    heads = [line.split()[-1] for line in lines if line.startswith("# branch.oid ")]
    if not heads or heads[0] == "(initial)":
        return None, None
    return heads[0], any(not line.startswith("#") for line in lines)


@cache
def installed_versions() -> dict[str, str]:
    """Return the versions of this project's packages and of OpenTelemetry, where installed."""
    from importlib import metadata

    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def this_writer(writer_id: str, started_ns: int) -> WriterRecord:
    """Describe this process."""
    return WriterRecord(
        writer_id=writer_id,
        pid=os.getpid(),
        host=platform.node(),
        os=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        argv0=Path(sys.argv[0]).name if sys.argv else "",
        packages=installed_versions(),
        started_ns=started_ns,
    )


def is_gone(writer: WriterRecord) -> bool:
    """Whether the process of a writer has certainly ended; False where that cannot be known."""
    if writer.host != platform.node() or sys.platform == "win32":
        return False
    try:
        os.kill(writer.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    born_ns = _born_ns(writer.pid)
    # The number was given to a younger process.
    return born_ns is not None and born_ns > writer.started_ns + _CLOCK_SLACK_NS


def _born_ns(pid: int) -> int | None:
    """Return when a process started, in Unix nanoseconds (Linux only)."""
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        boot = next(
            int(line.split()[1])
            for line in Path("/proc/stat").read_text().splitlines()
            if line.startswith("btime ")
        )
        return boot * 1_000_000_000 + ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, StopIteration):
        return None
