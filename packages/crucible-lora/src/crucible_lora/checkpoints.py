"""Checkpoints that are there whole or not at all, and prove that they are what was written."""

import math
import os
import re
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import anyio

from crucible_lora.errors import (
    CheckpointCorruptError,
    CheckpointNotFoundError,
    CheckpointWriteError,
)
from crucible_lora.gates import Direction
from crucible_lora.metrics import direction_of
from crucible_lora.sealed import (
    Checkpoint,
    MetricValue,
    commit,
    read_checkpoint,
    read_content,
    verify_checkpoint,
)

_FOLDER = re.compile(r"step-\d{6,}")
# What "best" means, by the first of these that was recorded.
_PREFERRED = ("nll", "loss")


class Saveable(Protocol):
    """What can be written into a folder; every session can."""

    async def save(self, path: Path, /) -> None:
        """Write everything that is needed to go on."""
        ...


class CheckpointStore:
    """The checkpoints of one run, in a folder each.

    Parameters
    ----------
    directory : Path
    keep : int, >= 1
        What `prune` keeps by default, beside the best.

    Notes
    -----
    A checkpoint is written beside its place, flushed to the disk with the SHA-256 of every file,
    and moved there by one rename. A crash at any point leaves the earlier ones as they were.
    """

    def __init__(self, directory: Path | str, *, keep: int = 5) -> None:
        if keep < 1:
            raise ValueError(f"`keep` must be >= 1, got {keep}")
        self.directory, self.keep = Path(directory), keep

    def __repr__(self) -> str:
        return f"CheckpointStore({str(self.directory)!r})"

    async def save(
        self,
        session: Saveable,
        /,
        *,
        step: int,
        epoch: int,
        position: int,
        metrics: Mapping[str, float],
        state: Mapping[str, Any],
        parent: str | None = None,
    ) -> Checkpoint:
        """Write a checkpoint.

        Parameters
        ----------
        session : Saveable
        step, epoch, position : int, >= 0
        metrics : mapping of name to number
            Their direction follows from their name; an unknown one is better when larger.
        state : mapping, JSON-safe
            What the loop needs to go on.

        Raises
        ------
        CheckpointWriteError
            If the disk refuses.
        ValueError
            If there is a checkpoint of that step, or a metric is not finite.
        """
        name = f"step-{step:06d}"
        if (self.directory / name).exists():
            raise ValueError(f"`step` must be new, got {step}: {name} exists")
        bad = [k for k, v in metrics.items() if not math.isfinite(v)]
        if bad:
            raise ValueError(f"`metrics` must be finite, got {metrics[bad[0]]} for {bad[0]!r}")
        named = {k: MetricValue(value=v, direction=direction_of(k)) for k, v in metrics.items()}
        content = {
            "schema": "crucible-lora/checkpoint/1",
            "step": step,
            "epoch": epoch,
            "position": position,
            "metrics": {k: {"value": m.value, "direction": m.direction} for k, m in named.items()},
            "parent": parent,
            "state": dict(state),
        }
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            draft = self._draft()
            try:
                await session.save(draft)
                await anyio.to_thread.run_sync(commit, draft, self.directory / name, content)
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)
                raise
        except OSError as error:
            raise CheckpointWriteError(name, error.strerror or str(error)) from error
        return read_checkpoint(self.directory / name)

    def list(self) -> Sequence[Checkpoint]:
        """Return the checkpoints in the order of their steps; what is torn is left out."""
        found = []
        for name in self._names():
            try:
                found.append(read_checkpoint(self.directory / name))
            except CheckpointCorruptError as error:
                warnings.warn(f"skipped {name}: {error}", RuntimeWarning, stacklevel=2)
        return tuple(found)

    def get(self, name: str = "latest") -> Checkpoint:
        """Return a checkpoint by its name, or the "latest" or "best".

        The latest that is not torn is returned, with a warning for any that is. The best is that
        with the smallest "nll" on held-out items, or else the smallest training "loss".

        Raises
        ------
        CheckpointNotFoundError
            If there is none of that name, or no metric tells the best.
        CheckpointCorruptError
            If the one named is damaged.
        """
        if name == "latest":
            return self._latest()
        if name == "best":
            recorded = {m for c in self.list() for m in c.metrics}
            for metric in _PREFERRED:
                if metric in recorded:
                    return self.best(metric)
            raise CheckpointNotFoundError(
                "best", self._names(), "no metric was recorded that tells the best"
            )
        if name not in self._names():
            raise CheckpointNotFoundError(name, self._names())
        checkpoint = read_checkpoint(self.directory / name)
        verify_checkpoint(checkpoint)
        return checkpoint

    def best(self, metric: str, direction: Direction | None = None) -> Checkpoint:
        """Return the checkpoint with the best value of a metric, the earliest of equals.

        Parameters
        ----------
        metric : str
        direction : {"min", "max"}, optional
            By default the metric's own: the best "loss" is the smallest.

        Raises
        ------
        CheckpointNotFoundError
            If no checkpoint has that metric.
        CheckpointCorruptError
            If the best one is damaged.
        """
        having = [c for c in self.list() if metric in c.metrics]
        if not having:
            raise CheckpointNotFoundError("best", self._names(), f"no checkpoint has a {metric!r}")
        best = _best(having, metric, direction)
        verify_checkpoint(best)
        return best

    def state(self, name: str) -> Mapping[str, Any]:
        """Return what the loop stored with a checkpoint."""
        state: Mapping[str, Any] = read_content(self.directory / name)["state"]
        return state

    def verify(self) -> Mapping[str, CheckpointCorruptError]:
        """Read every file again and return what is damaged, by name of checkpoint."""
        damaged = {}
        for name in self._names():
            try:
                verify_checkpoint(read_checkpoint(self.directory / name))
            except CheckpointCorruptError as error:
                damaged[name] = error
        return damaged

    def prune(
        self,
        keep: int | None = None,
        *,
        metric: str | None = None,
        direction: Direction | None = None,
    ) -> tuple[str, ...]:
        """Delete the oldest checkpoints and return their names; never the best or the latest.

        Parameters
        ----------
        keep : int, >= 1, optional
            How many of the newest stay.
        metric, direction : optional
            What the best is best by; otherwise as `get("best")` has it.
        """
        keep = self.keep if keep is None else keep
        if keep < 1:
            raise ValueError(f"`keep` must be >= 1, got {keep}")
        there = self.list()
        safe = {c.name for c in there[-keep:]}
        names = _PREFERRED if metric is None else (metric,)
        for name in names:
            having = [c for c in there if name in c.metrics]
            if having:
                safe.add(_best(having, name, direction).name)
                break
        gone = tuple(c.name for c in there if c.name not in safe)
        for name in gone:
            self.delete(name)
        return gone

    def delete(self, name: str) -> None:
        """Delete a checkpoint.

        Raises
        ------
        CheckpointNotFoundError
            If there is none of that name.
        """
        if name not in self._names():
            raise CheckpointNotFoundError(name, self._names())
        # Renamed first: a folder half deleted must not look like a checkpoint.
        draft = self._draft()
        (self.directory / name).replace(draft / name)
        shutil.rmtree(draft)

    def _names(self) -> Sequence[str]:
        if not self.directory.is_dir():
            return []
        names = [p.name for p in self.directory.iterdir() if _FOLDER.fullmatch(p.name)]
        return sorted(names, key=lambda n: int(n.removeprefix("step-")))

    def _draft(self) -> Path:
        for number in range(1_000_000):
            draft = self.directory / f".tmp-{os.getpid()}-{number}"
            try:
                draft.mkdir()
            except FileExistsError:
                continue
            return draft
        raise FileExistsError(str(self.directory))

    def _latest(self) -> Checkpoint:
        for name in reversed(self._names()):
            try:
                checkpoint = read_checkpoint(self.directory / name)
                verify_checkpoint(checkpoint)
            except CheckpointCorruptError as error:
                warnings.warn(f"skipped {name}: {error}", RuntimeWarning, stacklevel=3)
            else:
                return checkpoint
        raise CheckpointNotFoundError("latest", self._names())


def _best(
    checkpoints: Sequence[Checkpoint], metric: str, direction: Direction | None
) -> Checkpoint:
    way = direction or checkpoints[0].metrics[metric].direction
    sign = 1.0 if way == "min" else -1.0
    return min(checkpoints, key=lambda c: (sign * c.metrics[metric].value, c.step))
