"""One optimiser step of an adapter, with less memory if there is too little."""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from crucible_lora.adamw import clip_factor
from crucible_lora.backends.adapted import Adapted
from crucible_lora.backends.recompute import is_out_of_memory, recomputing
from crucible_lora.backends.torch_losses import loss_in_torch
from crucible_lora.composite import Term, terms_of
from crucible_lora.errors import UnsupportedOptionError
from crucible_lora.ports import Example, StepResult, Update


class Updating:
    """Updates of one adapter.

    Parameters
    ----------
    adapted : Adapted
    gradient_checkpointing : "auto" or bool
        "auto" switches it on when memory runs out.

    Attributes
    ----------
    optimizer : torch.optim.AdamW
    notes : list of str
        What a report should say about how it was computed.

    Raises
    ------
    UnsupportedOptionError
        If layers are to compute twice and cannot be told.
    """

    def __init__(
        self, adapted: Adapted, *, gradient_checkpointing: bool | Literal["auto"] = "auto"
    ) -> None:
        self._adapted = adapted
        self.optimizer = torch.optim.AdamW(adapted.parameters.values())
        self.notes: list[str] = []
        self._recompute = gradient_checkpointing is True
        self._may_recompute = gradient_checkpointing == "auto" and bool(adapted.layers)
        if self._recompute and not adapted.layers:
            reason = "the model's layers cannot be told"
            raise UnsupportedOptionError("gradient_checkpointing", True, "peft", reason)

    def step(self, batch: Sequence[Example], update: Update) -> StepResult:
        """Make one optimiser step; a loss or gradient that is not finite changes nothing."""
        terms = terms_of(update.loss)
        values, targets = self._compute(batch, terms, update)
        total = math.fsum(t.coefficient * v for t, v in zip(terms, values, strict=True))
        parameters = self._adapted.parameters
        named = {n: p.grad for n, p in parameters.items() if p.grad is not None}
        shown = {n: _numbers(g) for n, g in named.items()} if update.gradients else None
        gradients = list(named.values())
        norm = math.sqrt(sum(float(g.double().square().sum()) for g in gradients))
        if not (math.isfinite(total) and math.isfinite(norm)):
            self.optimizer.zero_grad(set_to_none=True)
            what = "gradient" if math.isfinite(total) else "loss"
            return StepResult.not_finite(what, target_tokens=targets, gradients=shown)
        factor = clip_factor(norm, update.max_grad_norm)
        for gradient in gradients:
            gradient.mul_(factor)
        for group in self.optimizer.param_groups:
            group.update(
                lr=update.learning_rate,
                betas=update.betas,
                eps=update.eps,
                weight_decay=update.weight_decay,
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return StepResult(
            loss=total,
            components={t.name: v for t, v in zip(terms, values, strict=True)},
            target_tokens=targets,
            grad_norm=norm,
            gradients=shown,
        )

    def _compute(
        self, batch: Sequence[Example], terms: Sequence[Term], update: Update
    ) -> tuple[list[float], int]:
        """Do what `_backward` does, and once more with less memory if there is too little."""
        drawn = self._adapted.generator.get_state()
        try:
            return self._backward(batch, terms, update)
        except Exception as error:
            if not (self._may_recompute and is_out_of_memory(error)):
                raise
        # Outside the handler, where the error no longer holds on to what was computed.
        self._recompute, self._may_recompute = True, False
        self.notes.append("gradient checkpointing was switched on: memory ran out without it")
        self._adapted.generator.set_state(drawn)
        return self._backward(batch, terms, update)

    def _backward(
        self, batch: Sequence[Example], terms: Sequence[Term], update: Update
    ) -> tuple[list[float], int]:
        """Leave the gradients of a batch with the parameters; return its losses and targets."""
        adapted = self._adapted
        wholes = [term.total(batch) for term in terms]
        values, targets = [0.0] * len(terms), 0
        self.optimizer.zero_grad(set_to_none=True)
        with ExitStack() as stack:
            for dropout in adapted.dropouts:
                dropout.train()
                stack.callback(dropout.eval)
            stack.enter_context(adapted.compiled())
            if self._recompute:
                stack.enter_context(recomputing(adapted.layers, adapted.generator))
            for start in range(0, len(batch), update.micro_batch):
                part = batch[start : start + update.micro_batch]
                rows = adapted.rows(part, pack_to=update.pack_to)
                wanted = np.concatenate([e.tokens[e.targets()] for e in part])
                teacher = None
                if any(term.wants_teacher for term in terms):
                    with torch.no_grad(), adapted.without():
                        teacher = adapted.logits(rows)
                logits, parts = adapted.logits(rows), []
                for i, term in enumerate(terms):
                    weights = term.weights(part)
                    value = loss_in_torch(term, logits, wanted, weights, teacher)
                    value = value * (float(weights.sum()) / wholes[i])
                    values[i] += float(value.detach())
                    parts.append(term.coefficient * value)
                sum(parts[1:], parts[0]).backward()
                targets += len(wanted)
        return values, targets


def _numbers(tensor: torch.Tensor) -> NDArray[np.floating[Any]]:
    return np.asarray(tensor.detach().float().cpu().numpy().copy())
