import json
import subprocess
import sys
import textwrap

import anyio
import pytest

from crucible_lora import CheckpointStore
from crucible_lora.errors import (
    CheckpointCorruptError,
    CheckpointNotFoundError,
    CheckpointWriteError,
)
from crucible_lora.sealed import Checkpoint

pytestmark = pytest.mark.anyio


class Writes:
    def __init__(self, content="weights"):
        self.content = content

    async def save(self, path, /):
        (path / "adapter.bin").write_text(self.content)
        (path / "optimizer.bin").write_text("moments")


async def add(store, step, content=None, **metrics):
    return await store.save(
        Writes(content or f"weights {step}"),
        step=step,
        epoch=0,
        position=step,
        metrics=metrics,
        state={"anything": step},
    )


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path / "checkpoints", keep=2)


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_what_was_saved_comes_back(store):
    saved = await add(store, 10, loss=0.5)
    assert saved.name == "step-000010"
    assert store.get("latest") == store.get("step-000010") == saved
    assert Checkpoint.from_dict(saved.to_dict()) == saved
    assert store.state(saved.name) == {"anything": 10}
    assert (saved.path / "adapter.bin").read_text() == "weights 10"
    assert sorted(p.name for p in store.directory.iterdir()) == ["step-000010"]


async def test_the_hash_is_that_of_the_content_alone(tmp_path):
    one = await add(CheckpointStore(tmp_path / "a"), 1, "same", loss=0.1)
    two = await add(CheckpointStore(tmp_path / "b"), 1, "same", loss=0.2)
    three = await add(CheckpointStore(tmp_path / "c"), 1, "other", loss=0.1)
    assert one.sha256 == two.sha256 != three.sha256


async def test_best_knows_which_way_is_better(store):
    for step, loss, right in ((1, 0.5, 0.7), (2, 0.2, 0.6), (3, 0.9, 0.9), (4, 0.2, 0.9)):
        await add(store, step, loss=loss, exact_match=right)
    assert store.best("loss").step == 2  # the smallest, the earlier of equals
    assert store.best("exact_match").step == 3  # the largest
    assert store.best("loss", "max").step == 3
    assert store.get("best").step == 2


async def test_held_out_likelihood_beats_training_loss_as_best(store):
    await add(store, 1, loss=0.5, nll=0.4)
    await add(store, 2, loss=0.1, nll=0.6)
    assert store.get("best").step == 1


async def test_pruning_keeps_the_best_and_the_latest(store):
    for step, loss, right in (
        (1, 0.1, 0.5),
        (2, 0.5, 0.9),
        (3, 0.6, 0.4),
        (4, 0.7, 0.3),
        (5, 0.8, 0.2),
    ):
        await add(store, step, loss=loss, exact_match=right)
    assert store.prune(1, metric="exact_match") == ("step-000001", "step-000003", "step-000004")
    assert [c.step for c in store.list()] == [2, 5]
    await add(store, 6, loss=0.05)
    assert store.prune() == ("step-000002",)  # 5 and 6 are the newest two, 6 the best
    with pytest.raises(ValueError, match="`keep` must be >= 1, got 0"):
        store.prune(0)


async def test_what_is_not_there_is_named_with_what_is(store):
    with pytest.raises(CheckpointNotFoundError, match="no checkpoint 'latest'; there are: none"):
        store.get("latest")
    await add(store, 1)
    with pytest.raises(CheckpointNotFoundError, match="there are: step-000001") as caught:
        store.get("step-000009")
    assert caught.value.available == ("step-000001",)
    with pytest.raises(CheckpointNotFoundError, match="no metric was recorded"):
        store.get("best")
    with pytest.raises(CheckpointNotFoundError, match="no checkpoint has a 'nll'"):
        store.best("nll")


async def test_a_flipped_bit_is_found(store):
    await add(store, 1)
    saved = await add(store, 2)
    data = bytearray((saved.path / "adapter.bin").read_bytes())
    data[3] ^= 1
    (saved.path / "adapter.bin").write_bytes(data)
    with pytest.raises(CheckpointCorruptError, match="step-000002/adapter.bin") as caught:
        store.get("step-000002")
    assert caught.value.expected != caught.value.found
    assert list(store.verify()) == ["step-000002"]
    with pytest.warns(RuntimeWarning, match="skipped step-000002"):
        assert store.get("latest").step == 1


async def test_an_edited_state_and_a_missing_file_are_found(store):
    for step in (1, 2, 3):
        await add(store, step, loss=0.5)
    state = store.directory / "step-000001" / "state.json"
    state.write_text(state.read_text().replace("0.5", "0.1"))
    (store.directory / "step-000002" / "adapter.bin").unlink()
    (store.directory / "step-000003" / "state.json").write_text("{")
    assert sorted(store.verify()) == ["step-000001", "step-000002", "step-000003"]


async def test_a_full_disk_leaves_the_earlier_ones(store):
    await add(store, 1)

    class Full:
        async def save(self, path, /):
            (path / "adapter.bin").write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointWriteError, match="No space left on device"):
        await store.save(Full(), step=2, epoch=0, position=0, metrics={}, state={})
    assert store.get("latest").step == 1
    assert [p.name for p in store.directory.iterdir()] == ["step-000001"]


async def test_a_step_is_saved_once(store):
    await add(store, 1)
    with pytest.raises(ValueError, match="step-000001 exists"):
        await add(store, 1)
    with pytest.raises(ValueError, match="`metrics` must be finite, got nan"):
        await add(store, 2, loss=float("nan"))


def test_killed_anywhere_within_save_the_earlier_checkpoint_is_whole(tmp_path):
    # A process of its own forks a child per point; the child dies at the n-th file operation.
    script = textwrap.dedent(
        """
        import os, sys
        from pathlib import Path
        import anyio
        from crucible_lora import CheckpointStore

        class Writes:
            async def save(self, path):
                (path / "adapter.bin").write_text("x" * 10_000)
                (path / "optimizer.bin").write_text("y" * 10_000)

        async def add(store, step):
            await store.save(Writes(), step=step, epoch=0, position=0, metrics={}, state={})

        store = CheckpointStore(Path(sys.argv[1]))
        anyio.run(add, store, 1)
        died = 0
        for point in range(1, 200):
            child = os.fork()
            if child == 0:
                left = point

                def hook(event, arguments):
                    global left
                    if event in ("open", "os.rename", "os.mkdir", "os.listdir", "os.scandir"):
                        left -= 1
                        if left == 0:
                            os._exit(9)

                sys.addaudithook(hook)
                anyio.run(add, store, 2)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            names = sorted(p.name for p in store.directory.iterdir() if p.name[0] != ".")
            assert not store.verify(), (point, store.verify())
            assert store.get("step-000001").step == 1
            if os.waitstatus_to_exitcode(status) == 0:
                break
            died += 1
            if "step-000002" in names:  # renamed already: whole, as verified above
                store.delete("step-000002")
        print(died, store.get("latest").step)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "store")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    died, latest = map(int, done.stdout.split())
    assert died >= 12
    assert latest == 2


async def test_no_name_holds_a_clock_and_the_state_is_readable(store):
    saved = await add(store, 1, loss=0.5)
    content = json.loads((saved.path / "state.json").read_text())
    assert content["step"] == 1
    assert content["metrics"] == {"loss": {"value": 0.5, "direction": "min"}}
    assert set(content["files"]) == {"adapter.bin", "optimizer.bin"}


async def test_two_writers_do_not_share_a_draft(tmp_path):
    store = CheckpointStore(tmp_path)
    async with anyio.create_task_group() as group:
        for step in range(1, 9):
            group.start_soon(add, store, step)
    assert [c.step for c in store.list()] == list(range(1, 9))
    assert not store.verify()
