"""Hostile programs are contained. Everything here runs real processes in real namespaces."""

import os
import socket
from pathlib import Path

import anyio
import pytest

from crucible_datasets import Prediction, SubprocessSandbox, evaluate, load, run_code_sync
from crucible_datasets.errors import ExecutionNotAllowedError, SandboxUnavailableError
from crucible_datasets.execution import run_code
from crucible_datasets.programs import function_of, program_of
from crucible_datasets.results import Execution
from crucible_datasets.sandbox import SandboxResult
from crucible_datasets.testing import check_sandbox

DEMO = load("demo-code")
WALLS = {"user", "network", "mount", "pid", "ipc", "proc", "rlimits"}


def run(program, *, timeout_s=5.0, memory_bytes=2**30, isolation="strict"):
    async def one():
        return await SubprocessSandbox(isolation=isolation).run(
            program, timeout_s=timeout_s, memory_bytes=memory_bytes
        )

    return anyio.run(one)


def processes_with(mark):
    """Return the processes whose command line or environment names a mark."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if "State:\tZ" in (entry / "status").read_text():
                    continue  # dead; only the machine's first process has not buried it yet
                named = (entry / "cmdline").read_bytes() + (entry / "comm").read_bytes()
                if mark.encode() in named:
                    found.append(entry.name)
            except OSError:
                continue
    return found


def test_a_program_that_reaches_its_end_passes():
    result = run("print('hello')")
    assert (result.outcome, result.exit_code, result.stdout) == ("passed", 0, "hello\n")
    assert set(result.isolation) >= WALLS


@pytest.mark.parametrize(
    "program",
    ["raise ValueError", "import sys; sys.exit(0)", "import os; os._exit(0)", "raise SystemExit",
     "def f(:", "exit()", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)\nraise ValueError",
     "import ctypes; ctypes.string_at(0)"],
)  # fmt: skip
def test_leaving_early_is_no_pass(program):
    assert run(program).outcome == "failed"


def rename(mark):
    return f"import ctypes; ctypes.CDLL(None).prctl(15, b'{mark}')\n"  # PR_SET_NAME


def test_an_endless_loop_ends_at_its_deadline_and_leaves_no_process():
    result = run(rename("loop-7391") + "while True: pass", timeout_s=1.0)
    assert result.outcome == "timeout"
    assert result.duration_s < 2.0  # timeout + 1 s, as promised: acceptance 12
    assert not processes_with("loop-7391")


def test_a_sleeping_fork_bomb_leaves_no_child():
    program = rename("bomb-5127") + (
        "import os, time\n"
        "for _ in range(200):\n"
        "    try:\n"
        "        if os.fork() == 0:\n"
        "            os.setsid(); time.sleep(60); os._exit(0)\n"
        "    except OSError:\n"
        "        break\n"
    )
    assert run(program).outcome in ("passed", "failed")
    assert not processes_with("bomb-5127")
    assert run(program + "time.sleep(60)", timeout_s=1.0).outcome == "timeout"
    assert not processes_with("bomb-5127")


def test_too_much_memory_is_said_to_be_that():
    assert run("x = bytearray(2 * 2**30)").outcome == "memory"


def test_nothing_can_be_reached_over_the_network():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0)
        port = server.getsockname()[1]
        program = f"import socket; socket.create_connection(('127.0.0.1', {port}), timeout=2)"
        assert run(program).outcome == "failed"
        with pytest.raises(BlockingIOError):
            server.accept()


def test_no_file_can_be_written_or_deleted_outside(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for program in (
        f"open({str(tmp_path / 'new')!r}, 'w').write('x')",
        "open('/tmp/crucible-sandbox-test', 'w').write('x')",
        f"import os; os.remove({str(victim)!r})",
        f"open({str(victim)!r}, 'a').write('x')",
        "import ctypes\nif ctypes.CDLL(None).mount(None, b'/', None, 0x1020, None) != 0: raise OSError",
    ):
        assert run(program).outcome == "failed"
    assert victim.read_text() == "precious"
    assert not Path("/tmp/crucible-sandbox-test").exists()
    assert not (tmp_path / "new").exists()


def test_there_is_a_small_private_folder_to_work_in():
    assert run("open('x', 'w').write('y'); assert open('x').read() == 'y'").outcome == "passed"
    assert run("open('x', 'wb').write(bytes(17 * 2**20))").outcome == "failed"
    two_files = "open('a','wb').write(bytes(9 * 2**20)); open('b','wb').write(bytes(9 * 2**20))"
    assert run(two_files).outcome == "failed"


def test_the_environment_and_the_processes_of_the_parent_are_hidden(monkeypatch):
    monkeypatch.setenv("API_KEY_OF_A_TEST", "secret-1234")
    result = run(
        "import os\nprint(dict(os.environ))\n"
        "print([p for p in os.listdir('/proc') if p.isdigit()])\n"
        "print(open('/proc/1/environ', 'rb').read())\n"
        f"try: print(open('/proc/{os.getpid()}/environ').read())\nexcept OSError: print('gone')\n"
        "import sys; print(repr(sys.stdin.read()))"
    )
    assert "secret" not in result.stdout
    assert result.stdout.splitlines()[:2] == ["{}", "['1']"]
    assert result.stdout.splitlines()[3:] == ["gone", "''"]


def test_a_flood_of_output_is_cut():
    result = run("print('x' * 2**20)")
    assert result.outcome == "passed"
    assert len(result.stdout) == 65536


def test_capabilities_are_gone():
    assert run(
        "s = open('/proc/self/status').read()\n"
        "for name in ('CapPrm', 'CapEff', 'CapBnd'):\n"
        "    assert int(s.split(name + ':')[1].split()[0], 16) == 0, name"
    ).outcome == "passed"  # fmt: skip


def test_best_isolation_without_namespaces_says_so_and_strict_refuses(monkeypatch, tmp_path):
    # A parent whose unshare always fails, as on machines that forbid user namespaces.
    import crucible_datasets.sandbox as module

    script = Path(module.__file__).with_name("sandbox_parent.py").read_text()
    script = script.replace('if getattr(libc, name)(*arguments) < 0:',
                            'if name == "unshare" or getattr(libc, name)(*arguments) < 0:')  # fmt: skip
    (tmp_path / "sandbox_parent.py").write_text(script)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "sandbox.py"))
    result = run("print(1)", isolation="best")
    assert (result.outcome, set(result.isolation)) == ("passed", {"rlimits", "audit_hook"})
    blocked = run("import socket; socket.create_connection(('127.0.0.1', 9))", isolation="best")
    assert blocked.outcome == "failed"
    assert "PermissionError" in blocked.stderr
    children = (
        rename("best-2741")
        + "import os, time\nfor _ in range(9):\n    if os.fork() == 0: os.setsid(); time.sleep(60)\n"
    )
    assert run(children, isolation="best").outcome == "passed"
    assert not processes_with("best-2741")
    with pytest.raises(SandboxUnavailableError) as caught:
        run("print(1)", isolation="strict")
    assert caught.value.missing == ("user", "network", "mount", "pid", "ipc", "proc")


@pytest.mark.parametrize("isolation", ["strict", "best"])
def test_all_canonical_solutions_of_humaneval_pass(humaneval, isolation):
    said = {item.id: item.expected for item in humaneval}
    executions = run_code_sync(
        humaneval, said, sandbox=SubprocessSandbox(isolation=isolation), allow_execution=True
    )
    assert [e.item_id for e in executions if e.outcome != "passed"] == []
    result = evaluate(said, humaneval, executions=executions)
    assert (result.accuracy, result.metrics["pass@1"].value) == (1.0, 1.0)


@pytest.mark.parametrize(
    "body", ["    pass\n", "    import os; os._exit(0)\n", "    raise SystemExit(0)\n"]
)
def test_no_hollow_body_passes_a_test_of_humaneval(humaneval, body):
    executions = run_code_sync(
        humaneval,
        dict.fromkeys(humaneval.ids, body),
        sandbox=SubprocessSandbox(),
        allow_execution=True,
    )
    assert {e.outcome for e in executions} == {"failed"}


def test_programs_are_put_together_from_chat_answers_and_continuations(humaneval):
    item = humaneval.by_id(
        "HumanEval/32"
    )  # its prompt has an import and a function before the function
    function = "def find_zero" + (item.input + item.expected).split("def find_zero")[1]
    chat = f"Sure!\n```python\n{function}```\nIt works."
    further = f"{item.expected}\ndef another():\n    raise ValueError\nanother()\n"
    for output in (chat, further, f"```\n{item.expected}```"):
        executions = run_code_sync(
            humaneval, {item.id: output}, sandbox=SubprocessSandbox(), allow_execution=True
        )
        assert executions[0].outcome == "passed", executions[0].stderr_tail
    assert "another" not in function_of(item, further)
    assert program_of(item, chat, assemble="chat").startswith("import math")
    assert program_of(item, further, assemble="continuation").startswith(item.input)


def test_execution_must_be_allowed_at_the_call():
    for allowed in (False, 1, "yes"):
        with pytest.raises(ExecutionNotAllowedError, match="allow_execution=True"):
            run_code_sync(DEMO, {}, sandbox=SubprocessSandbox(), allow_execution=allowed)


class Counting:
    """A sandbox that only counts how many run at once."""

    def __init__(self):
        self.now = self.most = 0

    async def run(self, program, /, *, timeout_s, memory_bytes):
        self.now += 1
        self.most = max(self.most, self.now)
        await anyio.sleep(0.01)
        self.now -= 1
        return SandboxResult(
            outcome="passed", exit_code=0, duration_s=0, stdout="", stderr="", isolation=()
        )


async def counted(sandbox, said, concurrency):
    return await run_code(
        DEMO, said, sandbox=sandbox, allow_execution=True, concurrency=concurrency
    )


def test_no_more_programs_run_at_once_than_were_asked_for():
    said = [Prediction(item_id=i.id, output="x", sample=n) for i in DEMO for n in range(3)][:20]
    for concurrency in (1, 4):
        sandbox = Counting()
        executions = anyio.run(counted, sandbox, said, concurrency, backend="trio")
        assert sandbox.most == concurrency
        assert [(e.item_id, e.sample) for e in executions] == [(p.item_id, p.sample) for p in said]


def test_failed_predictions_are_refused_and_count_as_not_passed():
    said = [Prediction(item_id=DEMO[0].id, output=None, error="time-out")]
    executions = run_code_sync(DEMO[:1], said, sandbox=SubprocessSandbox(), allow_execution=True)
    assert executions == (
        Execution(
            item_id=DEMO[0].id, sample=0, outcome="refused", duration_s=0.0, stderr_tail="time-out"
        ),
    )


def test_demo_code_passes_with_its_solutions_and_fails_without():
    sandbox = SubprocessSandbox()
    right = run_code_sync(
        DEMO, {i.id: i.expected for i in DEMO}, sandbox=sandbox, allow_execution=True
    )
    assert {e.outcome for e in right} == {"passed"}
    wrong = run_code_sync(
        DEMO, dict.fromkeys(DEMO.ids, "    return None\n"), sandbox=sandbox, allow_execution=True
    )
    assert {e.outcome for e in wrong} == {"failed"}


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_sandbox_keeps_the_promises_of_its_port(backend):
    anyio.run(check_sandbox, SubprocessSandbox(), backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_cancelled_run_leaves_nothing_behind(backend):
    async def cancelled():
        with anyio.move_on_after(1.0) as scope:
            await SubprocessSandbox().run(
                rename("gone-8812") + "import time; time.sleep(60)",
                timeout_s=60,
                memory_bytes=2**30,
            )
        assert scope.cancelled_caught

    anyio.run(cancelled, backend=backend)
    assert not processes_with("gone-8812")


@pytest.mark.parametrize(
    ("call", "message"),
    [(lambda: SubprocessSandbox(isolation="none"), "`isolation`"), (lambda: run("1", timeout_s=0), "`timeout_s`"),
     (lambda: run("1", memory_bytes=1), "`memory_bytes`"),
     (lambda: run_code_sync(load("demo-choice"), {}, sandbox=Counting(), allow_execution=True), "of task 'code'"),
     (lambda: run_code_sync(DEMO, {}, sandbox=Counting(), allow_execution=True, concurrency=0), "`concurrency`"),
     (lambda: run_code_sync(DEMO, {}, sandbox=Counting(), allow_execution=True, assemble="x"), "`assemble`")],
)  # fmt: skip
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
