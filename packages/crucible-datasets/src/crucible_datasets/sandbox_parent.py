"""The warm parent inside a sandbox: run as a script, it forks one walled-in child per program.

It imports nothing of this package. Read requests from stdin and write answers to stdout, each as a
4-byte length and JSON. See `sandbox.py` for what the walls are, and what they are not.
"""

import contextlib
import ctypes
import json
import math
import os
import resource
import select
import signal
import struct
import sys
import time
import traceback
from typing import Any

# Imported before the first program, since most programs want them.
import bisect, collections, copy, functools, hashlib, heapq, itertools, re, string, typing  # noqa: E401, F401 # isort: skip # fmt: skip

NEWNS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND = 1, 2, 4, 8, 32, 4096
MS_REC, MS_PRIVATE = 16384, 1 << 18
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 24, 36, 38
KEPT = 65536  # bytes of stdout and of stderr
FILE_BYTES = 16 * 2**20

libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: Any) -> None:
    """Call a function of the C library; raise what it reports."""
    if getattr(libc, name)(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def mount(
    source: str | None, target: str, kind: str | None, flags: int, data: str | None = None
) -> None:
    """Mount, with texts instead of bytes."""
    texts = [None if t is None else t.encode() for t in (source, target, kind)]
    call("mount", *texts, ctypes.c_ulong(flags), None if data is None else data.encode())


class Walls:
    """What holds, and what could not be had."""

    def __init__(self) -> None:
        self.up: list[str] = []
        self.missing: list[str] = []
        self.reason = ""

    @contextlib.contextmanager
    def building(self, *names: str) -> Any:
        """Note the walls as up, or as missing with the first reason."""
        try:
            yield
            self.up += names
        except (OSError, AttributeError) as error:
            self.missing += names
            self.reason = self.reason or str(error)


def outer_walls(folder: str) -> Walls:
    """Leave the machine's users, network and writable files, once for all programs."""
    walls = Walls()
    uid, gid = os.getuid(), os.getgid()
    with walls.building("user"):
        call("unshare", NEWUSER)
        with contextlib.suppress(OSError), open("/proc/self/setgroups", "w") as file:
            file.write("deny")
        for name, id in (("uid_map", uid), ("gid_map", gid)):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(f"65534 {id} 1")
    with walls.building("network"):
        call("unshare", NEWNET)
    with walls.building("mount"):
        call("unshare", NEWNS)
        mount("none", "/", None, MS_REC | MS_PRIVATE)
        read_only()
        mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, f"size={FILE_BYTES},mode=700")
        call("umount2", folder.encode(), 2)
    return walls


def read_only() -> None:
    """Make every mount read-only: in one call where the kernel has it, else one by one."""
    attributes = struct.pack("QQQQ", 1, 0, 0, 0)
    if libc.syscall(442, -100, b"/", 0x8000, attributes, len(attributes)) == 0:
        return
    keep = {"nosuid": MS_NOSUID, "nodev": MS_NODEV, "noexec": MS_NOEXEC,
            "noatime": 1024, "nodiratime": 2048, "relatime": 1 << 21}  # fmt: skip
    with open("/proc/self/mountinfo") as file:
        lines = [line.split() for line in file]
    for fields in lines:
        place = fields[4].encode().decode("unicode_escape")
        flags = sum(keep.get(option, 0) for option in fields[5].split(","))
        mount(None, place, None, MS_REMOUNT | MS_BIND | MS_RDONLY | flags)


def inner_walls(folder: str, walls: Walls) -> None:
    """Give the next child processes, messages and mounts of their own."""
    for name, flag in (("pid", NEWPID), ("ipc", NEWIPC)):
        with walls.building(name):
            call("unshare", flag)
    if "mount" in walls.up:
        call("unshare", NEWNS)
        mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, f"size={FILE_BYTES},mode=700")


def limits(timeout_s: float, memory_bytes: int) -> None:
    """Set what the kernel counts for each process."""
    seconds = math.ceil(timeout_s) + 1
    for name, value in (
        ("AS", memory_bytes), ("CPU", seconds), ("FSIZE", FILE_BYTES), ("NOFILE", 64),
        ("NPROC", 64), ("CORE", 0),
    ):  # fmt: skip
        which = getattr(resource, f"RLIMIT_{name}", None)
        if which is not None:
            hard = resource.getrlimit(which)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(which, (value, value))


def powerless() -> None:
    """Give up every capability, and the way to new ones."""
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break
    header, data = struct.pack("Ii", 0x20080522, 0), bytes(24)
    call("capset", header, data)


def no_sockets(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook for machines without network namespaces."""
    if event.startswith("socket.") and event != "socket.gethostname":
        raise PermissionError(f"{event} is not allowed here")


def program_process(
    request: dict[str, Any],
    walls: Walls,
    folder: str,
    nonce: bytes,
    out: int,
    err: int,
    result: int,
) -> None:
    """Be the first process of the namespace: wall in, run the program, tell how it ended."""
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    result = os.dup2(result, 60)
    os.closerange(3, 60)
    os.closerange(61, 4096)
    if sys.platform == "linux":
        call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if "pid" in walls.up and "mount" in walls.up:
            with walls.building("proc"):
                mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        else:
            walls.missing.append("proc")
        powerless()
    os.chdir(folder)
    limits(request["timeout_s"], request["memory_bytes"])
    walls.up.append("rlimits")
    if "network" not in walls.up:
        sys.addaudithook(no_sockets)
        walls.up.append("audit_hook")
    walls.missing = [name for name in walls.missing if name not in walls.up]
    told = {"up": walls.up, "missing": walls.missing, "reason": walls.reason}
    os.write(result, json.dumps(told).encode() + b"\n")
    if request["strict"] and walls.missing:
        os._exit(3)
    for name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    ending = b"failed"
    try:
        code = compile(request["program"], "<program>", "exec")
        exec(code, {"__name__": "__main__", "__builtins__": __builtins__})
        ending = nonce
    except MemoryError:
        ending = b"memory"
    except BaseException:  # noqa: BLE001 - whatever a program raises is its failure
        with contextlib.suppress(BaseException):
            traceback.print_exc()
    with contextlib.suppress(BaseException):
        sys.stdout.flush()
        sys.stderr.flush()
    os.write(result, ending)
    os._exit(0 if ending == nonce else 1)


def keeper_process(
    request: dict[str, Any],
    outer: Walls,
    folder: str,
    nonce: bytes,
    pipes: tuple[int, int, int],
    life: int,
) -> None:
    """Build the walls around the child, wait for its end, and leave nothing of it behind."""
    if sys.platform == "linux":
        call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    walls = Walls()
    walls.up, walls.missing, walls.reason = [*outer.up], [*outer.missing], outer.reason
    if sys.platform == "linux":
        inner_walls(folder, walls)
    child = os.fork()
    if child == 0:
        os.close(life)
        try:
            program_process(request, walls, folder, nonce, *pipes)
        except BaseException as error:  # noqa: BLE001 - this process has no caller to tell
            with contextlib.suppress(BaseException):
                os.write(2, f"the sandbox could not be built: {error!r}\n".encode())
        finally:
            os._exit(4)
    os.write(life, f"{child}\n".encode())
    for end in pipes:
        os.close(end)
    _, status = os.waitpid(child, 0)
    kill_descendants()
    os.write(life, f"{status}\n".encode())
    os._exit(0)


def kill_descendants() -> None:
    """Kill whatever the program left running; with a PID namespace there is nothing left."""
    for _ in range(200):
        try:
            with open(f"/proc/self/task/{os.getpid()}/children") as file:
                left = [int(pid) for pid in file.read().split()]
        except OSError:
            return
        if not left:
            return
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        for pid in left:
            with contextlib.suppress(OSError):
                os.waitpid(pid, 0)


def run(request: dict[str, Any], outer: Walls, folder: str) -> dict[str, Any]:
    """Run one program and return what is known about its end."""
    started = time.monotonic()
    nonce = os.urandom(16).hex().encode()
    (out_r, out_w), (err_r, err_w), (res_r, res_w), (life_r, life_w) = (os.pipe() for _ in range(4))
    keeper = os.fork()
    if keeper == 0:
        for end in (out_r, err_r, res_r, life_r):
            os.close(end)
        try:
            keeper_process(request, outer, folder, nonce, (out_w, err_w, res_w), life_w)
        finally:
            os._exit(5)
    for end in (out_w, err_w, res_w, life_w):
        os.close(end)
    heard = {out_r: bytearray(), err_r: bytearray(), res_r: bytearray(), life_r: bytearray()}
    open_, killed = set(heard), False
    deadline = started + request["timeout_s"]
    while life_r in open_:
        wait = max(0.0, deadline - time.monotonic()) if not killed else 1.0
        ready, _, _ = select.select(list(open_), [], [], wait)
        for end in ready:
            data = os.read(end, 65536)
            if not data:
                open_.discard(end)
            elif len(heard[end]) < KEPT:
                heard[end] += data[: KEPT - len(heard[end])]
        if not ready and not killed and time.monotonic() >= deadline:
            killed = True
            pid = bytes(heard[life_r]).split(b"\n")[0]
            for victim in ([int(pid)] if pid else []) + ([] if pid else [keeper]):
                with contextlib.suppress(OSError):
                    os.kill(victim, signal.SIGKILL)  # the namespace dies with its first process
        elif not ready and killed:
            with contextlib.suppress(OSError):
                os.kill(keeper, signal.SIGKILL)
    for end in (out_r, err_r, res_r):  # what is still in the pipes
        while len(heard[end]) < KEPT and select.select([end], [], [], 0)[0]:
            data = os.read(end, 65536)
            if not data:
                break
            heard[end] += data[: KEPT - len(heard[end])]
    os.waitpid(keeper, 0)
    for end in heard:
        os.close(end)
    return answer(
        request, nonce, killed, started, *(bytes(heard[e]) for e in (out_r, err_r, res_r, life_r))
    )


def answer(
    request: dict[str, Any],
    nonce: bytes,
    killed: bool,
    started: float,
    out: bytes,
    err: bytes,
    result: bytes,
    life: bytes,
) -> dict[str, Any]:
    """Put together what was heard."""
    head, _, ending = result.partition(b"\n")
    told = json.loads(head) if head.startswith(b"{") else {"up": [], "missing": [], "reason": ""}
    lines = life.split(b"\n")
    status = int(lines[1]) if len(lines) > 2 else None
    code = None if status is None else os.waitstatus_to_exitcode(status)
    if request["strict"] and told["missing"]:
        return {"missing": told["missing"], "reason": told["reason"]}
    if ending == nonce:
        outcome = "passed"
    elif killed or code in (-signal.SIGXCPU,):
        outcome = "timeout"
    elif ending == b"memory":
        outcome = "memory"
    else:
        outcome = "failed" if head else "error"
    return {
        "outcome": outcome, "exit_code": code, "duration_s": time.monotonic() - started,
        "stdout": out.decode("utf-8", "replace"), "stderr": err.decode("utf-8", "replace"),
        "isolation": told["up"],
    }  # fmt: skip


def main(folder: str) -> None:
    """Serve requests until stdin ends."""
    os.environ.clear()  # the interpreter itself may have put a locale there
    asked, told = os.dup(0), os.dup(1)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    outer = outer_walls(folder) if sys.platform == "linux" else Walls()
    if sys.platform != "linux":
        outer.missing, outer.reason = ["user", "network", "mount", "pid", "ipc"], "no namespaces"

    def exactly(n: int) -> bytes:
        data = b""
        while len(data) < n:
            more = os.read(asked, n - len(data))
            if not more:
                os._exit(0)
            data += more
        return data

    while True:
        request = json.loads(exactly(struct.unpack(">I", exactly(4))[0]))
        reply = json.dumps(run(request, outer, folder)).encode()
        data = struct.pack(">I", len(reply)) + reply
        while data:
            data = data[os.write(told, data) :]


if __name__ == "__main__":
    main(sys.argv[1])
