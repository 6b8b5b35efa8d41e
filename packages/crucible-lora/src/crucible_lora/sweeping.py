"""Many configurations, each trained with several seeds; a killed sweep goes on where it was."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import anyio
import anyio.to_thread
import numpy as np

from crucible_lora import tracing
from crucible_lora.capabilities import require_options
from crucible_lora.config import LoraConfig, sha256_json
from crucible_lora.corpus import Corpus, read_entries
from crucible_lora.evaluating import evaluate
from crucible_lora.evaluation import EvaluationReport
from crucible_lora.experiment import choose_backend
from crucible_lora.files import write_whole
from crucible_lora.formats import ChatFormat, Formatter, format_to_dict
from crucible_lora.gates import Direction
from crucible_lora.loss_registry import LossRegistry, loss_to_dict
from crucible_lora.masking import Truncation
from crucible_lora.options import EarlyStopping
from crucible_lora.ports import Backend, LossFunction
from crucible_lora.progress import Meter
from crucible_lora.records import plain
from crucible_lora.schemas import OutputSchema, schema_to_dict
from crucible_lora.scorers import Entailment, Similarity
from crucible_lora.scoring import Scorer, Scoring
from crucible_lora.space import (
    Space,
    check_space,
    draw,
    grid,
)
from crucible_lora.sweep_plan import (
    Method,
    check_apart,
    check_method,
    check_metric,
    rounds_of,
    trials_of,
)
from crucible_lora.sweep_report import (
    Rung,
    SweepReport,
    SweepRun,
    as_good,
    estimate_optimism,
    rank,
)
from crucible_lora.sync import synchronous
from crucible_lora.training import Operation
from crucible_lora.trials import Trial, TrialResult, Trials


async def sweep(
    name: str,
    config: LoraConfig,
    *,
    space: Space,
    method: Method = "grid",
    n: int | None = None,
    replications: int = 3,
    dataset: Iterable[Any],
    validation: Iterable[Any],
    metric: str,
    direction: Direction,
    test: Iterable[Any] | None = None,
    eta: int = 3,
    min_steps: int | None = None,
    max_steps: int | None = None,
    concurrency: int = 1,
    seed: int = 0,
    backend: Backend | Literal["auto"] = "auto",
    directory: Path | str = ".crucible/lora",
    epochs: int = 3,
    batch_size: int = 8,
    checkpoint_every: int = 100,
    evaluate_every: int | None = None,
    accumulate: int = 1,
    format: Formatter | None = None,
    schema: OutputSchema | None = None,
    scorers: Mapping[str, Scorer] | None = None,
    entailment: Entailment | None = None,
    similarity: Similarity | None = None,
    max_tokens: int = 256,
    max_length: int = 1024,
    truncation: Truncation = "error",
    packing: bool = False,
    loss: str | LossFunction = "cross_entropy",
    losses: LossRegistry | None = None,
    early_stopping: EarlyStopping | None = None,
    progress: bool | None = None,
) -> SweepReport:
    """Train configurations and rank them by a metric on validation items.

    Parameters
    ----------
    name : str
    config : LoraConfig
        What the space does not vary.
    space : mapping of name to sequence, `space.Uniform` or `space.LogUniform`
        Fields of `LoraConfig`, and "epochs", "batch_size", "accumulate".
    method : {"grid", "random", "halving"}
        "grid" is every combination, "random" draws `n` of them by hash, "halving" draws `n` and
        gives the best of each round, one in `eta`, `eta` times the updates.
    n : int, >= 1, optional
        For "random" and "halving".
    replications : int, >= 1
        Training seeds for each configuration.
    dataset, validation, test : iterables of items
        Learned; chosen by; looked at once, by the winner alone. No prompt may be in two of them.
    metric : str
        "nll", "token_accuracy", a metric of outputs, or a scorer's name.
    direction : {"min", "max"}
        Which way it is better.
    eta : int, >= 2
    min_steps, max_steps : int, >= 1, optional
        For "halving" both: the updates of the first round, and those that the schedules of all
        rounds are laid out for. `max_steps` caps runs of the other methods too.
    concurrency : int, >= 1
        Runs at a time. Neither it nor their order changes any result.
    seed : int, >= 0
    backend, directory : as for `create_experiment`
    epochs, batch_size, ... : as for `train`
    scorers, entailment, similarity, max_tokens : as for `evaluate`

    Raises
    ------
    ValueError, UnsupportedOptionError
        For bad arguments and items, before anything is trained.

    Notes
    -----
    A run's name is a hash of sweep, parameters and replication, and its seed one of that name and
    the sweep's seed. What is finished is stored and never done again: call `sweep` with the same
    arguments after a crash. Code of your own (scorers, judges, formats, schemas, losses) cannot be
    compared with what it was: once it has changed, give the sweep another name.

    A run that diverges is a failure, and its configuration ranks last. The last checkpoint of a run
    is scored, with one greedy answer per item; choosing a checkpoint by the validation items too
    would flatter it further.
    """
    chosen = choose_backend(config, backend)
    found = check_space(space, method=method)
    check_method(
        name, method, n, replications, eta, min_steps, max_steps, concurrency, seed, early_stopping
    )
    scoring = Scoring(
        schema=schema, scorers=dict(scorers or {}), entailment=entailment, similarity=similarity
    )
    check_metric(metric, direction, scoring, backend=chosen)
    format = ChatFormat() if format is None else format
    function = (losses or LossRegistry()).get(loss) if isinstance(loss, str) else loss
    learned, chosen_by = list(dataset), list(validation)
    looked_at = None if test is None else list(test)
    parts = {"validation": read_entries(chosen_by, format=format, name="validation")}
    if looked_at is not None:
        parts["test"] = read_entries(looked_at, format=format, name="test")
    corpus = Corpus(train=read_entries(learned, format=format), held_out=parts["validation"])
    check_apart(corpus, parts)
    configs = grid(found) if method == "grid" else draw(found, n or 1, seed=seed, name=name)
    identity = {
        "schema": "crucible-lora/sweep/1",
        "name": name,
        "config": config.to_dict(),
        "space": {k: plain(v) for k, v in found.items()},
        "method": [method, n, eta, min_steps, max_steps],
        "metric": [metric, direction, max_tokens],
        "judges": [sorted(scoring.scorers), *(j and j.name for j in (entailment, similarity))],
        "seed": seed,
        "backend": chosen.name,
        "options": [epochs, batch_size, accumulate, checkpoint_every, evaluate_every],
        "items": [max_length, truncation, packing, format_to_dict(format), corpus.fingerprint()],
        "test": [e.item.id for e in parts.get("test", ())],
        "schema_of_outputs": schema_to_dict(schema),
        "loss": loss_to_dict(function),
        "early_stopping": plain(early_stopping),
    }
    trials = Trials(
        name=name,
        folder=Path(directory) / f"sweep-{sha256_json(identity)[:12]}",
        config=config,
        backend=chosen,
        dataset=learned,
        validation=parts["validation"],
        held_out=chosen_by if early_stopping or evaluate_every else None,
        metric=metric,
        scoring=scoring,
        max_tokens=max_tokens,
        epochs=epochs,
        batch_size=batch_size,
        accumulate=accumulate,
        checkpoint_every=checkpoint_every,
        evaluate_every=evaluate_every,
        max_steps=max_steps,
        format=format,
        schema=schema,
        max_length=max_length,
        truncation=truncation,
        packing=packing,
        loss=function,
        early_stopping=early_stopping,
    )
    todo = [trials_of(name, params, replications, seed) for params in configs]
    for group in todo:
        one = trials.config_of(group[0].params)
        require_options(one, backend=chosen.name, capabilities=chosen.capabilities)
        operation = Operation(keep=1, on_step=None, progress=None, deadline_s=None)
        trials.request(trials.experiment(group[0]), group[0].params, operation)
    rounds = rounds_of(len(configs), method, eta, min_steps, max_steps)
    results: dict[str, TrialResult] = {}
    reached: dict[str, int] = {}
    rungs: list[Rung] = []
    total = sum(count * replications for _, count in rounds)
    with (
        tracing.span("sweep", name=name, method=method, configs=len(configs), metric=metric),
        Meter("sweep", total, wanted=progress) as meter,
    ):
        alive = todo
        for number, (until, count) in enumerate(rounds):
            if number:
                ranked = rank(_runs(alive, results, reached), direction=direction)
                kept = {c.run_ids[0] for c in ranked[:count] if c.mean is not None}
                alive = [group for group in alive if group[0].run_id in kept]
            if until is not None:
                rungs.append(Rung(steps=until, configs=len(alive)))
            flat = [trial for group in alive for trial in group]
            results |= await _run_all(trials, flat, until, concurrency, meter)
            reached |= {trial.run_id: number for trial in flat}
        runs = _runs(todo, results, reached)
        ranking = rank(runs, direction=direction)
        best = ranking[0] if ranking[0].mean is not None else None
        winner = None if best is None else best.run_ids[0]
        report = None
        if looked_at is not None and winner is not None:
            trial = next(t for group in todo for t in group if t.run_id == winner)
            report = await _test(trials, trial, looked_at, scoring, max_tokens)
    optimism, why = _optimism(ranking, results, direction, seed, halving=method == "halving")
    return SweepReport(
        name=name,
        method=method,
        metric=metric,
        direction=direction,
        backend=chosen.name,
        runs=runs,
        ranking=ranking,
        best=best,
        indistinguishable_from_best=() if best is None else as_good(ranking, runs),
        optimism=optimism,
        optimism_reason=why,
        rungs=tuple(rungs),
        updates=sum(results[run.run_id].steps for run in runs),
        test=report,
    )


sweep_sync = synchronous(sweep)


async def _run_all(
    trials: Trials, todo: Sequence[Trial], until: int | None, concurrency: int, meter: Meter
) -> dict[str, TrialResult]:
    found: dict[str, TrialResult] = {}
    limit = anyio.CapacityLimiter(concurrency)

    async def one(trial: Trial) -> None:
        async with limit:
            found[trial.run_id] = await trials.run(trial, until=until)
        meter.advance(1)

    errors: list[Exception] = []

    async def guarded(trial: Trial) -> None:
        try:
            await one(trial)
        except Exception as error:  # noqa: BLE001 - raised below, not in a group
            errors.append(error)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for trial in todo:
            group.start_soon(guarded, trial)
    if errors:
        raise errors[0]
    return found


async def _test(
    trials: Trials, trial: Trial, items: Sequence[Any], scoring: Scoring, max_tokens: int
) -> EvaluationReport:
    """Evaluate the winner on the test items, once: the report is stored and read again."""
    file = trials.folder / "test.json"
    if file.is_file():
        return EvaluationReport.from_dict(json.loads(file.read_text(encoding="utf-8")))
    report = await evaluate(
        trials.experiment(trial),
        items,
        checkpoint="latest",
        schema=scoring.schema,
        scorers=scoring.scorers,
        entailment=scoring.entailment,
        similarity=scoring.similarity,
        max_tokens=max_tokens,
        format=trials.format,
        progress=False,
    )
    text = json.dumps(report.to_dict(), sort_keys=True, ensure_ascii=True, allow_nan=False)
    await anyio.to_thread.run_sync(write_whole, file, text)
    return report


def _runs(
    groups: Sequence[list[Trial]],
    results: Mapping[str, TrialResult],
    reached: Mapping[str, int],
) -> tuple[SweepRun, ...]:
    return tuple(
        SweepRun(
            run_id=trial.run_id,
            experiment_id=results[trial.run_id].experiment_id,
            params=trial.params,
            replication=trial.replication,
            seed=trial.seed,
            round=reached[trial.run_id],
            steps=results[trial.run_id].steps,
            value=results[trial.run_id].value,
            reason=results[trial.run_id].reason,
        )
        for group in groups
        for trial in group
    )


def _optimism(
    ranking: Sequence[Any],
    results: Mapping[str, TrialResult],
    direction: Direction,
    seed: int,
    *,
    halving: bool,
) -> tuple[float | None, str | None]:
    if halving:
        return None, "the rounds chose among adapters of different training; `test` tells"
    whole = [config for config in ranking if config.mean is not None]
    if not whole:
        return None, "every configuration failed"
    if len(results[whole[0].run_ids[0]].above) < 2:
        return None, "one item cannot be drawn again"
    above = np.array([np.mean([results[r].above for r in c.run_ids], axis=0) for c in whole])
    below = np.array([np.mean([results[r].below for r in c.run_ids], axis=0) for c in whole])
    return estimate_optimism(above, below, direction=direction, seed=seed), None
