"""Items before training: read, split, laid out as tokens and put into batches."""

import sys
from collections.abc import Iterable
from typing import Any

from crucible_lora.batching import BatchPlan
from crucible_lora.capabilities import require_marks
from crucible_lora.config import LoraConfig
from crucible_lora.corpus import Corpus, read_entries
from crucible_lora.experiment import LoraExperiment
from crucible_lora.formats import Formatter
from crucible_lora.masking import lay_out_all
from crucible_lora.options import TrainOptions
from crucible_lora.ports import Example, LossFunction, Session
from crucible_lora.schedule import warmup_updates

_FEWEST = 30  # held-out items for a gate


def read_corpus(
    dataset: Iterable[Any],
    validation: Iterable[Any] | None,
    *,
    options: TrainOptions,
    format: Formatter,
) -> Corpus:
    """Return what a run learns and holds out.

    Raises
    ------
    ValueError
        If items are malformed, too few are held out, or one that is held out is learned too.
    """
    entries = read_entries(dataset, format=format)
    if validation is not None:
        held = read_entries(validation, format=format, name="validation")
        corpus = Corpus(train=entries, held_out=held)
        remedy = "give more items as `validation`"
    elif options.looks:
        corpus = Corpus.split(entries, share=options.holdout)
        remedy = "give more items, a larger `holdout`, or `validation`"
    else:
        return Corpus(train=entries, held_out=())
    if not corpus.train or not corpus.held_out:
        raise ValueError(
            f"`holdout` must leave items to learn and to hold out, got {options.holdout} of "
            f"{len(entries)}"
        )
    if options.gates and len(corpus.held_out) < _FEWEST:
        raise ValueError(
            f"quality targets need at least {_FEWEST} held-out items, got "
            f"{len(corpus.held_out)}: {remedy}"
        )
    leaks = corpus.leaks()
    if leaks:
        raise ValueError(
            f"held-out items must not be learned too; the prompts of {len(leaks)} are: "
            f"{', '.join(leaks[:5])}"
        )
    return corpus


def make_plan(
    ids: Iterable[str], options: TrainOptions, *, config: LoraConfig, seed: int
) -> BatchPlan:
    """Return the batches of a run; a warm-up that leaves nothing of it raises `ValueError`."""
    plan = BatchPlan(
        ids=tuple(ids),
        batch=options.batch_size * options.accumulate,
        epochs=options.epochs,
        seed=seed,
        max_steps=options.max_steps,
    )
    warmup_updates(config, total=plan.total)  # raises where it leaves nothing
    return plan


def lay_out_corpus(
    experiment: LoraExperiment,
    corpus: Corpus,
    options: TrainOptions,
    session: Session,
    *,
    loss: LossFunction,
) -> dict[str, Any]:
    """Return what a job needs of the items, as tokens."""
    context = session.context
    examples, mask = lay_out_all(
        {e.item.id: e.conversation for e in corpus.train},
        session.tokenizer,
        max_length=options.max_length if context is None else min(options.max_length, context),
        truncation=options.truncation,
    )
    held: dict[str, Example] = {}
    if corpus.held_out:
        # Never cut or dropped, whatever happens to the others: that would be another question.
        held, _ = lay_out_all(
            {e.item.id: e.conversation for e in corpus.held_out},
            session.tokenizer,
            max_length=sys.maxsize if context is None else context,
            truncation="error",
        )
    require_marks(loss, examples.values())
    plan = make_plan(examples, options, config=experiment.config, seed=experiment.seed)
    return {"plan": plan, "examples": examples, "held_out": list(held.values()), "mask": mask}
