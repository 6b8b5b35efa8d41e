"""Conformance checks for implementations of the ports: an AssertionError names the promise."""

from collections.abc import Mapping
from pathlib import Path

from crucible_datasets.items import Item
from crucible_datasets.metrics.metric import Metric
from crucible_datasets.registry import Loader
from crucible_datasets.results import Prediction
from crucible_datasets.sandbox import Sandbox


def _holds(condition: bool, promise: str) -> None:
    if not condition:
        raise AssertionError(promise)


def check_loader(
    loader: Loader, files: Mapping[str, Path], *, split: str | None, subset: str | None = None
) -> tuple[Item, ...]:
    """Check a loader on the files of a split; return the items.

    Raises
    ------
    AssertionError
        If two readings differ, ids repeat, or an item is not valid JSON.
    """
    _holds(isinstance(loader.version, int), "`version` is an integer")
    items = tuple(loader.parse(files, split=split, subset=subset))
    _holds(bool(items), "a split has items")
    again = tuple(loader.parse(files, split=split, subset=subset))
    _holds(items == again, "reading twice gives the same items")
    _holds(len({item.id for item in items}) == len(items), "ids are unique")
    for item in items:
        _holds(isinstance(item, Item), "items are Item")
        _holds(bool(item.id and item.input), f"{item.id or 'an item'} has an id and an input")
        _holds(item.to_dict()["id"] == item.id, "items can be stored")
    return items


def check_metric(metric: Metric, item: Item, *, right: str, wrong: str) -> None:
    """Check a metric on an item with an answer that is right and one that is wrong.

    Raises
    ------
    AssertionError
        If a score is neither a finite number nor None, differs when asked again, or the right
        answer does not score at least as well.
    """

    def score(output: str) -> float | None:
        prediction = Prediction(item_id=item.id, output=output)
        first, second = metric(prediction, item), metric(prediction, item)
        _holds(first == second, "the same answer has the same score")
        _holds(first is None or abs(float(first)) < float("inf"), "scores are finite, or None")
        return first

    good, bad = score(right), score(wrong)
    _holds(good is not None, "a right answer has a score")
    _holds(bad is None or good is None or good >= bad, "the right answer scores at least as well")


async def check_sandbox(sandbox: Sandbox) -> None:
    """Check a sandbox: how programs end, and that they get neither network nor environment.

    Raises
    ------
    AssertionError
        Naming the promise that does not hold.
    """

    async def outcome(program: str, *, timeout_s: float = 10.0) -> str:
        result = await sandbox.run(program, timeout_s=timeout_s, memory_bytes=2**29)
        _holds(result.duration_s >= 0, "durations are not negative")
        return result.outcome

    _holds(await outcome("x = 1") == "passed", "a program that reaches its end passes")
    _holds(await outcome("raise ValueError") == "failed", "an exception is a failure")
    for leave in ("import sys; sys.exit(0)", "import os; os._exit(0)"):
        _holds(await outcome(leave) == "failed", "leaving early is a failure, whatever the code")
    _holds(await outcome("while True: pass", timeout_s=1.0) == "timeout", "deadlines are kept")
    _holds(await outcome("bytearray(2**31)") == "memory", "memory is limited, and said to be it")
    connect = "import socket; socket.create_connection(('127.0.0.1', 9), timeout=1)"
    _holds(await outcome(connect) != "passed", "there is no network")
    secret = "import os\nassert not {'HOME', 'USER', 'PATH'} & set(os.environ)"
    _holds(await outcome(secret) == "passed", "the environment of the caller is not there")
    _holds(await outcome("import sys; assert sys.stdin.read() == ''") == "passed", "stdin is empty")
