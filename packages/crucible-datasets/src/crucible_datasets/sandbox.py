"""Running a program that nobody has read: a subprocess behind the walls that the kernel offers.

This is not a boundary against a determined attacker: kernel bugs exist, and the program can read
files that you can read. For hostile code put a container or a virtual machine behind `Sandbox`.
"""

import json
import math
import os
import signal
import struct
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import anyio
from anyio.abc import Process

from crucible_datasets.errors import SandboxUnavailableError

SandboxOutcome = Literal["passed", "failed", "timeout", "memory", "error"]
Isolation = Literal["best", "strict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxResult:
    """How a program ended.

    Parameters
    ----------
    outcome : str
        "passed" = it ran to the end of its text. Leaving early is a failure, whatever the code.
        "error" = the sandbox itself failed.
    exit_code : int, optional
        Negative = killed by that signal; None = unknown.
    stdout, stderr : str
        The first 64 kB of each.
    isolation : tuple of str
        Which walls held: "user", "network", "mount", "pid", "ipc", "proc" (namespaces), "rlimits",
        "audit_hook" (sockets refused inside Python, where there is no network namespace).
    """

    outcome: SandboxOutcome
    exit_code: int | None
    duration_s: float
    stdout: str
    stderr: str
    isolation: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        row = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {"schema": "crucible.datasets.sandbox/1", **row, "isolation": list(self.isolation)}


class Sandbox(Protocol):
    """Runs a program; the port to put a container behind."""

    async def run(self, program: str, /, *, timeout_s: float, memory_bytes: int) -> SandboxResult:
        """Run a program to its end, its deadline or its limit of memory.

        "passed" must mean that the end of the text was reached: `os._exit(0)` is no pass.
        """
        ...


class SubprocessSandbox:
    """A subprocess per program, in Linux namespaces of its own where the machine allows it.

    Each program has an empty environment, no stdin, no network, a read-only file system with a
    private 16 MiB working folder, its own processes and a fresh /proc, no capabilities, and limits:
    address space, CPU time (the timeout and a second), 16 MiB per file, 64 open files, 64
    processes (Linux exempts root), no core dumps. At the deadline all of its processes die.

    Used as `async with SubprocessSandbox() as sandbox`, interpreters are kept warm between
    programs, which is what `run_code` does.

    Parameters
    ----------
    isolation : {"best", "strict"}
        "strict" refuses to run if any namespace cannot be had; "best" goes on with what can, and
        the result says which walls held.

    Raises
    ------
    SandboxUnavailableError
        From `run`: with "strict", if a namespace cannot be had; always where there is no fork.

    Notes
    -----
    Passing is proved by a random number that the child writes to a pipe of its own after the last
    line; a program that looks for it in its own process can find it.
    """

    def __init__(self, *, isolation: Isolation = "best") -> None:
        if isolation not in ("best", "strict"):
            raise ValueError(f"`isolation` must be 'best' or 'strict', got {isolation!r}")
        self.isolation = isolation
        self._warm: list[_Parent] = []
        self._entered = 0

    async def __aenter__(self) -> Self:
        self._entered += 1
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._entered -= 1
        if not self._entered:
            with anyio.CancelScope(shield=True):
                while self._warm:
                    await self._warm.pop().end()

    async def run(self, program: str, /, *, timeout_s: float, memory_bytes: int) -> SandboxResult:
        """Run a program; see the class for what it cannot do."""
        if not 0 < timeout_s < math.inf:
            raise ValueError(f"`timeout_s` must be finite and > 0, got {timeout_s}")
        if memory_bytes < 2**26:
            raise ValueError(f"`memory_bytes` must be >= {2**26} (64 MiB), got {memory_bytes}")
        if not hasattr(os, "fork"):
            raise SandboxUnavailableError(("fork",), "this system cannot fork")
        parent = self._warm.pop() if self._warm else await _Parent.start()
        request = {
            "program": program, "timeout_s": timeout_s, "memory_bytes": memory_bytes,
            "strict": self.isolation == "strict",
        }  # fmt: skip
        reply = None
        try:
            with anyio.move_on_after(timeout_s + 10):
                reply = await parent.ask(request)
        finally:
            if reply is not None and self._entered:
                self._warm.append(parent)
            else:
                with anyio.CancelScope(shield=True):
                    await parent.end()
        if reply is None:
            return SandboxResult(
                outcome="error", exit_code=None, duration_s=timeout_s + 10, stdout="",
                stderr="the sandbox did not answer", isolation=(),
            )  # fmt: skip
        if "missing" in reply:
            raise SandboxUnavailableError(reply["missing"], reply["reason"])
        return SandboxResult(**{**reply, "isolation": tuple(reply["isolation"])})


class _Parent:
    """A warm interpreter that forks a walled-in child for each program."""

    def __init__(self, process: Process, folder: Path) -> None:
        self._process, self._folder = process, folder

    @classmethod
    async def start(cls) -> "_Parent":
        folder = Path(tempfile.mkdtemp(prefix="crucible-sandbox-"))
        script = Path(__file__).with_name("sandbox_parent.py")
        process = await anyio.open_process(
            [sys.executable, "-I", "-S", "-B", str(script), str(folder)],
            env={}, cwd="/", start_new_session=True, stderr=None,
        )  # fmt: skip
        return cls(process, folder)

    async def ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Return the answer, None if the parent is gone."""
        assert self._process.stdin is not None
        data = json.dumps(request).encode()
        try:
            await self._process.stdin.send(struct.pack(">I", len(data)) + data)
            (size,) = struct.unpack(">I", await self._exactly(4))
            reply: dict[str, Any] = json.loads(await self._exactly(size))
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return None
        return reply

    async def _exactly(self, n: int) -> bytes:
        assert self._process.stdout is not None
        data = b""
        while len(data) < n:
            data += await self._process.stdout.receive(n - len(data))
        return data

    async def end(self) -> None:
        """Kill it with everything it started, and see it gone."""
        group = self._process.pid
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        await self._process.aclose()
        with suppress(ProcessLookupError, PermissionError):
            for _ in range(100):  # a second at most: where nobody reaps orphans, they stay
                os.killpg(group, 0)
                await anyio.sleep(0.01)
        with suppress(OSError):
            self._folder.rmdir()
