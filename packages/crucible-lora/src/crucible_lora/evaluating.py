"""An adapter against its base, on items that it never saw."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from crucible_lora import tracing
from crucible_lora.corpus import Entry, find_leaks, read_entries
from crucible_lora.estimates import compare, estimate_all
from crucible_lora.evaluation import EvaluationReport
from crucible_lora.experiment import LoraExperiment
from crucible_lora.formats import Formatter
from crucible_lora.gates import Gate
from crucible_lora.judging import judge_all
from crucible_lora.measure import Measured, measure
from crucible_lora.metrics import METRICS, find_metric
from crucible_lora.options import check_gate
from crucible_lora.ports import Session
from crucible_lora.progress import Meter
from crucible_lora.schemas import OutputSchema
from crucible_lora.scorers import Entailment, Similarity
from crucible_lora.scoring import Scorer, Scoring
from crucible_lora.sync import synchronous


async def evaluate(
    experiment: LoraExperiment,
    dataset: Iterable[Any],
    *,
    checkpoint: str = "best",
    compare_to: str | None = "base",
    schema: OutputSchema | None = None,
    gates: Sequence[Gate] = (),
    scorers: Mapping[str, Scorer] | None = None,
    entailment: Entailment | None = None,
    similarity: Similarity | None = None,
    max_tokens: int = 256,
    temperature: float = 0.0,
    samples: int = 1,
    batch_size: int = 16,
    seed: int = 0,
    format: Formatter | None = None,
    progress: bool | None = None,
) -> EvaluationReport:
    """Let an adapter answer held-out items, and compare it with its base on the same ones.

    Parameters
    ----------
    experiment : LoraExperiment
    dataset : iterable of items
        As for `train`.
    checkpoint : str
        "best", "latest" or the name of one.
    compare_to : str, optional
        "base", or another checkpoint; None compares with nothing.
    schema : OutputSchema, optional
        For "schema_compliance"; with citations also for the metrics of these.
    gates : sequence of Gate
        On any metric of outputs, or a scorer's name.
    scorers : mapping of name to callable, optional
        `fn(text, item)` returns a score, larger being better, or None where it cannot. A failed
        output scores 0 without being asked about.
    entailment, similarity : optional
        Judges of claims, such as `hf_scorers.HFEntailment`. Without them the metrics of meaning are
        not computed. With `scorers.LexicalEntailment`, a stand-in, whatever passes does so "by word
        overlap" in every report.
    max_tokens : int, >= 1
        An output that reaches it is cut off and counts as wrong.
    temperature : float, >= 0
    samples : int, >= 1
        Outputs per item; more than one needs a temperature.
    batch_size : int, >= 1
        Items whose likelihood is computed at a time.
    seed : int
        Each output draws with a seed of this, its item and its sample.
    format : Formatter, optional
        By default the one that the adapter was trained with.

    Raises
    ------
    ValueError
        If an argument is out of range, a gate is on an unknown metric, or gates are to be judged on
        items whose prompts were learned.
    CheckpointNotFoundError, CheckpointCorruptError

    Notes
    -----
    The denominator is what was asked for: outputs that are missing, empty or cut off are wrong.
    Rates with one sample get Wilson's interval, other means that of t over the items, and "nll",
    the sum over target tokens by their number, the delta method's. Differences are paired by item;
    where they have no spread, Hoeffding's interval stands in for that of t.
    """
    scorers = dict(scorers or {})
    scoring = Scoring(schema=schema, scorers=scorers, entailment=entailment, similarity=similarity)
    _check(
        scorers,
        gates,
        max_tokens=max_tokens,
        temperature=temperature,
        samples=samples,
        batch_size=batch_size,
    )
    run = experiment.last_run(checkpoint)
    format = format or run.format
    if format is None:
        raise ValueError("`format` must be given: the one of the training run is not stored")
    entries = read_entries(dataset, format=format)
    notes = _leaks(entries, run.corpus().train, gates)
    store = run.store()
    tuned_at = store.get(checkpoint)
    base_at = None if compare_to in (None, "base") else store.get(compare_to or "")
    began = time.perf_counter()
    ask = partial(
        measure,
        scoring=scoring,
        max_tokens=max_tokens,
        temperature=temperature,
        samples=samples,
        batch_size=batch_size,
        seed=seed,
    )
    total = len(entries) * (1 if compare_to is None else 2)
    with (
        tracing.span("evaluate", n_items=len(entries), checkpoint=tuned_at.name) as span,
        Meter("evaluate", total, wanted=progress) as meter,
    ):

        async def answers(path: Path | None) -> Measured:
            session = await _open(experiment, path)
            try:
                return await ask(session, path, entries, on_item=lambda: meter.advance(1))
            finally:
                with anyio.CancelScope(shield=True):
                    await session.close()

        tuned = await answers(tuned_at.path)
        base = None
        if compare_to is not None:
            base = await answers(None if base_at is None else base_at.path)
        metrics = estimate_all(tuned, scoring)
        quality = None
        if gates:
            quality = judge_all(
                gates,
                tuned.scores,
                reasons={m.name: scoring.reason(m.name) or "" for m in METRICS},
                proxies=tuned.proxies,
                n_expected=tuned.n_expected,
                n_produced=tuned.n_produced,
                n_failed=tuned.n_failed,
                checkpoint=tuned_at.name,
            )
        tracing.note(span, **{f"metric.{k}": m.value for k, m in metrics.items()})
        tracing.note(span, verdict=None if quality is None else quality.verdict)
    return EvaluationReport(
        experiment_id=experiment.id,
        backend=experiment.backend_name,
        checkpoint=tuned_at.name,
        checkpoint_sha256=tuned_at.sha256,
        compared_to=compare_to if base_at is None else base_at.name,
        n_items=len(entries),
        samples=samples,
        metrics=metrics,
        quality=quality,
        delta=None if base is None else compare(tuned, base),
        items=tuned.items,
        cost_usd=None,
        duration_s=time.perf_counter() - began,
        notes=notes,
    )


evaluate_sync = synchronous(evaluate)


async def _open(experiment: LoraExperiment, path: Path | None) -> Session:
    """Return a session with a saved adapter, or with a fresh one, which changes nothing."""
    if path is None:
        return await experiment.backend.create(experiment.config, seed=experiment.seed)
    return await experiment.backend.resume(experiment.config, path)


def _leaks(
    entries: Sequence[Entry], train: Sequence[Entry], gates: Sequence[Gate]
) -> tuple[str, ...]:
    leaks = find_leaks(entries, train)
    if not leaks:
        return ()
    text = f"the prompts of {len(leaks)} items were learned: {', '.join(leaks[:5])}"
    if gates:
        raise ValueError(f"gates must be judged on held-out items; {text}")
    return (f"These are not held-out items: {text}.",)


def _check(
    scorers: Mapping[str, Scorer],
    gates: Sequence[Gate],
    *,
    max_tokens: int,
    temperature: float,
    samples: int,
    batch_size: int,
) -> None:
    for name, value in (
        ("max_tokens", max_tokens),
        ("samples", samples),
        ("batch_size", batch_size),
    ):
        if value < 1:
            raise ValueError(f"`{name}` must be >= 1, got {value}")
    if not (math.isfinite(temperature) and temperature >= 0):
        raise ValueError(f"`temperature` must be >= 0, got {temperature}")
    if samples > 1 and temperature == 0:
        raise ValueError(f"`samples` must be 1 at temperature 0, got {samples} equal ones")
    taken = [name for name in scorers if find_metric(name) is not None]
    if taken:
        raise ValueError(f"`scorers` must not be named like a metric, got {taken[0]!r}")
    for gate in gates:
        check_gate(gate, scorers=tuple(scorers))
