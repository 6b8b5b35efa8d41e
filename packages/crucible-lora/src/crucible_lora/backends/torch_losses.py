"""The losses of this package in torch, and any other through its own gradient."""

from typing import Any

import torch
from numpy.typing import NDArray

from crucible_lora.composite import Term
from crucible_lora.losses import KL, MSE, CitationWeighted, CrossEntropy
from crucible_lora.ports import LossFunction


def loss_in_torch(
    term: Term,
    logits: torch.Tensor,
    targets: NDArray[Any],
    weights: NDArray[Any],
    teacher: torch.Tensor | None,
) -> torch.Tensor:
    """Return a loss of logits (N, V) within their graph, without its coefficient.

    Parameters
    ----------
    targets, weights : arrays, shape (N,)
    teacher : tensor, shape (N, V), optional
        Logits of the model without adapter, for losses that compare with it.
    """
    loss = term.loss
    ours = type(loss) in (CrossEntropy, CitationWeighted, KL, MSE)  # a subclass may differ
    if not ours:
        found: torch.Tensor = _Bridge.apply(logits, loss, targets, weights)
        return found
    w = torch.from_numpy(weights).to(logits)
    if isinstance(loss, KL):
        assert teacher is not None  # `Term.wants_teacher`
        ours = torch.log_softmax(logits / loss.temperature, dim=-1)
        base = torch.log_softmax(teacher / loss.temperature, dim=-1)
        one, other = (base, ours) if loss.direction == "forward" else (ours, base)
        each = (one.exp() * (one - other)).sum(dim=-1)
    elif isinstance(loss, MSE):
        assert teacher is not None
        each = (logits - teacher).square().mean(dim=-1)
    else:
        each = torch.nn.functional.cross_entropy(
            logits,
            torch.from_numpy(targets).to(logits.device),
            reduction="none",
            label_smoothing=loss.label_smoothing if isinstance(loss, CrossEntropy) else 0.0,
        )
    return (each * w).sum() / w.sum()


class _Bridge(torch.autograd.Function):  # type: ignore[misc] # torch is not followed
    """A loss in numpy within the graph of torch."""

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, loss: LossFunction, targets: Any, weights: Any
    ) -> torch.Tensor:
        value, gradient = loss(logits.detach().cpu().double().numpy(), targets, weights)
        ctx.save_for_backward(torch.from_numpy(gradient).to(logits))
        return logits.new_tensor(value)

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[Any, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * slope, None, None, None
