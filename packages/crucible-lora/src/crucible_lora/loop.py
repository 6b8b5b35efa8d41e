"""Update after update, with looks at held-out items and checkpoints to go on from."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel

from crucible_lora import tracing
from crucible_lora.batching import BatchPlan
from crucible_lora.checkpoints import CheckpointStore
from crucible_lora.config import LoraConfig
from crucible_lora.errors import DivergedError
from crucible_lora.likelihood import mean_accuracy, mean_nll, perplexity
from crucible_lora.options import TrainOptions
from crucible_lora.ports import Example, LossFunction, Session, Update
from crucible_lora.results import StepRow, Stopped
from crucible_lora.schedule import learning_rate, warmup_updates
from crucible_lora.sealed import Checkpoint
from crucible_lora.watching import Watch
from crucible_lora.working import to_the_end

_GIVE_UP = 3  # updates in a row without a finite loss
_RECENT = 10  # updates whose mean loss a checkpoint and a report show


@dataclass(slots=True, kw_only=True)
class LoopState:
    """Where a run is. Everything here is stored with a checkpoint, but no clock."""

    history: list[StepRow] = field(default_factory=list)
    examples: int = 0
    tokens: int = 0
    target_tokens: int = 0
    skipped_in_row: int = 0
    best: float | None = None
    without_improvement: int = 0

    @property
    def step(self) -> int:
        """Updates made."""
        return len(self.history)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping that `from_dict` reads."""
        rows = [{**row.to_dict(), "duration_s": None} for row in self.history]
        return {
            "history": rows,
            "examples": self.examples,
            "tokens": self.tokens,
            "target_tokens": self.target_tokens,
            "skipped_in_row": self.skipped_in_row,
            "best": self.best,
            "without_improvement": self.without_improvement,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "LoopState":
        """Read what `to_dict` wrote, among other things."""
        rows = [StepRow.from_dict(row) for row in data["history"]]
        names = ("examples", "tokens", "target_tokens", "skipped_in_row", "best")
        values = {name: data[name] for name in (*names, "without_improvement")}
        return cls(history=rows, **values)

    def recent_loss(self) -> float | None:
        """Return the mean loss of the last updates that had one."""
        losses = [row.loss for row in self.history[-_RECENT:] if row.loss is not None]
        return math.fsum(losses) / len(losses) if losses else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """One run in this process."""

    config: LoraConfig
    options: TrainOptions
    plan: BatchPlan
    session: Session
    examples: Mapping[str, Example]
    held_out: Sequence[Example]
    loss: LossFunction
    store: CheckpointStore
    state: LoopState
    watch: Watch
    facts: Mapping[str, Any]  # stored with each checkpoint
    parent: str | None
    on_step: Callable[[StepRow], None] | None
    deadline_s: float | None
    stop: Callable[[], bool] | None = None
    until: int | None = None

    async def run(self) -> Stopped:
        """Train to the end and return why it ended.

        Cancellation, and an error of `on_step`, leave a checkpoint of the last update behind.
        """
        began = anyio.current_time()
        total = self.plan.total
        warmup = warmup_updates(self.config, total=total)
        if self.state.step and self._stalled():  # resumed behind its end
            return await self._end("early_stopping")
        last = total if self.until is None else min(total, self.until)
        while self.state.step < last:
            before = self.state.step
            try:
                row = await to_the_end(partial(self._update, warmup))
                if self.on_step is not None:
                    self.on_step(row)
                await anyio.lowlevel.checkpoint()
            except BaseException:
                # A failed update leaves none: its weights may be ahead of its history.
                if self.state.step > before:
                    await self._end("cancelled")
                raise
            if self.stop is not None and self.stop():
                return await self._end("cancelled")
            if self._stalled():
                return await self._end("early_stopping")
            late = anyio.current_time() - began >= (self.deadline_s or math.inf)
            if late and self.state.step < total:
                return await self._end("deadline")
        capped = last < self.plan.per_epoch * self.plan.epochs
        return await self._end("max_steps" if capped else "completed")

    async def _end(self, why: Stopped) -> Stopped:
        await to_the_end(self._checkpoint)
        return why

    async def _update(self, warmup: int) -> StepRow:
        state, number = self.state, self.state.step
        epoch, _ = self.plan.place(number)
        batch = [self.examples[i] for i in self.plan.at(number)]
        rate = learning_rate(
            number,
            total=self.plan.total,
            warmup=warmup,
            peak=self.config.learning_rate,
            schedule=self.config.schedule,
            min_ratio=self.config.min_lr_ratio,
        )
        update = Update(
            learning_rate=rate,
            betas=self.config.betas,
            eps=self.config.eps,
            weight_decay=self.config.weight_decay,
            max_grad_norm=self.config.max_grad_norm,
            loss=self.loss,
            micro_batch=self.options.batch_size,
            gradients=self.watch.due(number + 1),
            pack_to=self.options.max_length if self.options.packing else None,
        )
        with tracing.span("step", step=number + 1, epoch=epoch, learning_rate=rate) as span:
            began = time.perf_counter()
            result = await self.session.train_step(batch, update=update)
            took = time.perf_counter() - began
            tracing.note(
                span,
                loss=result.loss,
                grad_norm=result.grad_norm,
                target_tokens=result.target_tokens,
                skipped=result.skipped,
            )
        tokens = sum(len(e.tokens) for e in batch)
        state.examples += len(batch)
        state.tokens += tokens
        state.target_tokens += result.target_tokens
        state.skipped_in_row = state.skipped_in_row + 1 if result.skipped else 0
        if state.skipped_in_row >= _GIVE_UP:
            there = self.store.list()
            raise DivergedError(number + 1, there[-1].name if there else None)
        validation = None
        if self.held_out and self._due(number + 1):
            validation = await self._look()
            self._note(validation)
        row = StepRow(
            step=number + 1,
            epoch=epoch,
            loss=result.loss,
            components=result.components,
            learning_rate=rate,
            grad_norm=result.grad_norm,
            tokens=tokens,
            duration_s=took,
            validation=validation,
            skipped=result.reason if result.skipped else None,
            gradients=None if result.gradients is None else self.watch.look(result.gradients),
        )
        state.history.append(row)
        # No checkpoint of a step that changed nothing: what comes next may never be finite.
        if (number + 1) % self.options.checkpoint_every == 0 and not result.skipped:
            await self._checkpoint()
        return row

    def _due(self, step: int) -> bool:
        every = self.options.evaluate_every
        at_checkpoint = step % self.options.checkpoint_every == 0 or step == self.plan.total
        return at_checkpoint or (every is not None and step % every == 0)

    async def _look(self) -> dict[str, float]:
        """Return the metrics of the held-out items that the options ask for."""
        size, rule = self.options.batch_size, self.options.early_stopping
        found = {"nll": await mean_nll(self.session, self.held_out, batch_size=size)}
        if rule is not None and rule.metric == "perplexity":
            found["perplexity"] = perplexity(found["nll"])
        if rule is not None and rule.metric == "token_accuracy":
            found["token_accuracy"] = await mean_accuracy(
                self.session, self.held_out, batch_size=size
            )
        return found

    def _note(self, found: Mapping[str, float]) -> None:
        rule, state = self.options.early_stopping, self.state
        if rule is None:
            return
        value = found[rule.metric]
        gain = math.inf if state.best is None else state.best - value
        if state.best is not None and rule.direction == "max":
            gain = -gain
        if gain > rule.min_delta:
            state.best, state.without_improvement = value, 0
        else:
            state.without_improvement += 1

    def _stalled(self) -> bool:
        rule = self.options.early_stopping
        return rule is not None and self.state.without_improvement >= rule.patience

    async def _checkpoint(self) -> Checkpoint | None:
        state = self.state
        if state.step == 0 or any(c.step == state.step for c in self.store.list()):
            return None
        metrics = {"loss": state.recent_loss(), **(state.history[-1].validation or {})}
        epoch, position = self.plan.place(state.step)
        with tracing.span("checkpoint", step=state.step) as span:
            saved = await self.store.save(
                self.session,
                step=state.step,
                epoch=epoch,
                position=position,
                metrics={k: v for k, v in metrics.items() if v is not None and math.isfinite(v)},
                state={**self.facts, **state.to_dict(), "hooks": self.watch.state()},
                parent=self.parent,
            )
            size = sum(p.stat().st_size for p in saved.path.iterdir())
            tracing.note(span, name=saved.name, bytes=size)
        self.store.prune()
        return saved
