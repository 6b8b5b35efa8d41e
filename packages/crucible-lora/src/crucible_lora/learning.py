"""Train an adapter."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from crucible_lora.experiment import LoraExperiment
from crucible_lora.formats import Formatter
from crucible_lora.gates import Gate
from crucible_lora.gradients import GradientHook
from crucible_lora.loss_registry import LossRegistry
from crucible_lora.masking import Truncation
from crucible_lora.options import EarlyStopping
from crucible_lora.ports import LossFunction
from crucible_lora.request import Request
from crucible_lora.results import StepRow, TrainingReport
from crucible_lora.schemas import OutputSchema
from crucible_lora.sync import synchronous
from crucible_lora.training import Operation


async def train(
    experiment: LoraExperiment,
    dataset: Iterable[Any],
    *,
    epochs: int = 3,
    batch_size: int = 8,
    checkpoint_every: int = 100,
    quality_targets: Mapping[str, float] | Sequence[Gate] | None = None,
    validation: Iterable[Any] | None = None,
    holdout: float = 0.1,
    evaluate_every: int | None = None,
    max_steps: int | None = None,
    accumulate: int = 1,
    format: Formatter | None = None,
    schema: OutputSchema | None = None,
    max_length: int = 1024,
    truncation: Truncation = "error",
    packing: bool = False,
    loss: str | LossFunction = "cross_entropy",
    losses: LossRegistry | None = None,
    gradient_hooks: Sequence[GradientHook] = (),
    hook_every: int = 10,
    early_stopping: EarlyStopping | None = None,
    keep: int = 5,
    on_step: Callable[[StepRow], None] | None = None,
    progress: bool | None = None,
    deadline_s: float | None = None,
) -> TrainingReport:
    """Train a fresh adapter, and judge it on items that it never saw.

    Parameters
    ----------
    experiment : LoraExperiment
    dataset : iterable of items
        Records or mappings with `id, input, expected` (perhaps `context, metadata`), or `prompt,
        completion`, or `messages` that end with the assistant's.
    epochs, batch_size, accumulate : int, >= 1
        An update sees batch_size * accumulate items, and its loss is the weighted mean over the
        target tokens of all of them.
    checkpoint_every : int, >= 1
        Updates. The last update always gets a checkpoint.
    quality_targets : mapping of metric to target, or sequence of Gate, optional
        Judged after training, on held-out items, with the last checkpoint: no held-out item had
        a part in choosing that one.
    validation : iterable of items, optional
        Items to hold out. Without, where something needs them, `holdout` of the data set, chosen
        by the hash of their ids, is held out and not learned.
    holdout : float, in (0, 1)
    evaluate_every : int, >= 1, optional
        Updates between looks at the held-out items' nll, beside those at checkpoints.
    max_steps : int, >= 1, optional
        The schedule ends here too.
    format : Formatter, optional
        `ChatFormat()` by default.
    schema : OutputSchema, optional
        For the target "schema_compliance".
    max_length : int, >= 1
        Tokens. What `truncation` does to longer items: "error" raises before training, "drop"
        leaves them out and counts them, "left" cuts their prompts. Targets are never cut.
    packing : bool
        Put several items of a batch into one row of at most `max_length` tokens, none of which sees
        another: the same updates with less padding.
    loss : str or LossFunction
        A name is looked up in `losses`: "cross_entropy", "citation_weighted", "kl", "mse", or one
        that was registered. `loss_registry.composite` adds some up.
    losses : LossRegistry, optional
    gradient_hooks : sequence of GradientHook
        Called in order with the gradients of the first update and of each `hook_every`-th; what
        they return is in the history. One that raises is disabled with a warning. Those of
        `crucible_lora.gradients` start afresh with each run.
    hook_every : int, >= 1
    early_stopping : EarlyStopping, optional
    keep : int, >= 1
        Checkpoints to keep, beside the best.
    on_step : callable, optional
        Called with each update.
    progress : bool, optional
        A bar on the terminal; by default where there is one.
    deadline_s : float, > 0, optional
        Training ends at the first update beyond.

    Raises
    ------
    ValueError
        If an argument is out of range, items are malformed, a held-out prompt is learned too, or
        too few items are held out for the quality targets: all before training.
    UnsupportedOptionError
        If the backend cannot do what is asked: before training.
    MaskError, NoTargetTokensError, TruncationError
        For items that cannot be learned: before training.
    DivergedError
        After three updates in a row without a finite loss and gradient.
    CheckpointWriteError
        If the disk refuses.
    """
    request = Request.read(
        experiment,
        dataset,
        epochs=epochs,
        batch_size=batch_size,
        checkpoint_every=checkpoint_every,
        quality_targets=quality_targets,
        validation=validation,
        holdout=holdout,
        evaluate_every=evaluate_every,
        max_steps=max_steps,
        accumulate=accumulate,
        format=format,
        schema=schema,
        max_length=max_length,
        truncation=truncation,
        packing=packing,
        loss=loss,
        losses=losses,
        gradient_hooks=gradient_hooks,
        hook_every=hook_every,
        early_stopping=early_stopping,
        operation=Operation(keep=keep, on_step=on_step, progress=progress, deadline_s=deadline_s),
    )
    return await request.run()


train_sync = synchronous(train)
