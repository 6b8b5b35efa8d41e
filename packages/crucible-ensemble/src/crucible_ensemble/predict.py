"""One question to an ensemble, in one call; ensembles by name; the synchronous twins."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

from crucible_ensemble.choices import MostOptions, RarerOptions
from crucible_ensemble.ensemble import Ensemble
from crucible_ensemble.executions import ExecutionName
from crucible_ensemble.executions.machine import Execution
from crucible_ensemble.member import Member
from crucible_ensemble.model import Hedger, Model, Normaliser, Prompt, Vote
from crucible_ensemble.models.hedged import hedged as _hedged
from crucible_ensemble.normalise import NormaliserName
from crucible_ensemble.prediction import Prediction
from crucible_ensemble.sync import run_sync
from crucible_ensemble.votes import VoteName

Models = Sequence[Model | str | Member]


async def predict(
    prompt: Prompt,
    /,
    *,
    models: Models = ("local/smollm2",),
    strategy: VoteName | Vote = "majority",
    execution: ExecutionName | Execution = "parallel",
    normalise: NormaliserName | Normaliser = "text",
    samples: int = 1,
    seed: int = 0,
    temperature: float | None = 0.0,
    max_tokens: int = 1000,
    stop: Sequence[str] = (),
    item: str | None = None,
    **options: Unpack[RarerOptions],
) -> Prediction:
    """Ask several models, or one several times, and return the vote.

    Parameters
    ----------
    **options
        The others of `Ensemble`: equivalence, quorum, timeout_s, deadline_s, tie, confidence,
        hedger, unsupported, weights, name.

    Notes
    -----
    Models given by name are opened for this call and closed after it.
    """
    ensemble = Ensemble(
        models, vote=strategy, execution=execution, normalise=normalise, samples=samples, seed=seed,
        **options,
    )  # fmt: skip
    try:
        return await ensemble.predict(
            prompt, temperature=temperature, max_tokens=max_tokens, stop=stop, item=item
        )
    finally:
        await _close_named(models, ensemble)


def predict_sync(
    prompt: Prompt,
    /,
    *,
    models: Models = ("local/smollm2",),
    strategy: VoteName | Vote = "majority",
    execution: ExecutionName | Execution = "parallel",
    normalise: NormaliserName | Normaliser = "text",
    samples: int = 1,
    seed: int = 0,
    temperature: float | None = 0.0,
    max_tokens: int = 1000,
    stop: Sequence[str] = (),
    item: str | None = None,
    **options: Unpack[RarerOptions],
) -> Prediction:
    """Do what `predict` does, for scripts and notebooks, also where an event loop runs already."""

    async def run() -> Prediction:
        return await predict(
            prompt, models=models, strategy=strategy, execution=execution, normalise=normalise,
            samples=samples, seed=seed, temperature=temperature, max_tokens=max_tokens, stop=stop,
            item=item, **options,
        )  # fmt: skip

    return run_sync(run)


def predict_many_sync(
    prompts: Mapping[str, Prompt] | Sequence[Prompt],
    *,
    models: Models = ("local/smollm2",),
    strategy: VoteName | Vote = "majority",
    execution: ExecutionName | Execution = "parallel",
    normalise: NormaliserName | Normaliser = "text",
    samples: int = 1,
    seed: int = 0,
    concurrency: int = 10,
    on_result: Callable[[Prediction], None] | None = None,
    temperature: float | None = 0.0,
    max_tokens: int = 1000,
    stop: Sequence[str] = (),
    **options: Unpack[RarerOptions],
) -> list[Prediction]:
    """Do what `Ensemble.predict_many` does, for scripts and notebooks."""

    async def run() -> list[Prediction]:
        ensemble = Ensemble(
            models, vote=strategy, execution=execution, normalise=normalise, samples=samples,
            seed=seed, **options,
        )  # fmt: skip
        try:
            return await ensemble.predict_many(
                prompts, concurrency=concurrency, on_result=on_result, temperature=temperature,
                max_tokens=max_tokens, stop=stop,
            )  # fmt: skip
        finally:
            await _close_named(models, ensemble)

    return run_sync(run)


def create(
    *,
    adapters: Sequence[Mapping[str, object] | Member],
    models: Mapping[str, Model] | None = None,
    strategy: VoteName | Vote = "weighted_majority",
    **options: Unpack[MostOptions],
) -> Ensemble:
    """Build an ensemble from named, weighted members.

    Parameters
    ----------
    adapters : sequence of {"name": str, "weight": float} or Member
        Also "accuracy", "family", "price_rank" and "calibrator", as in `Member`.
    models : mapping of name to Model
        Names that it does not hold are opened with `open_model`.
    strategy : name or Vote
    **options
        The others of `Ensemble`.

    Raises
    ------
    ValueError
        If a member has no name, an unknown key or a weight that is not a number.
    """
    known = {"name", "weight", "accuracy", "family", "price_rank", "calibrator"}
    members: list[Member] = []
    for entry in adapters:
        if isinstance(entry, Member):
            members.append(entry)
            continue
        facts: dict[str, Any] = dict(entry)
        name, weight = facts.pop("name", None), facts.get("weight", 1.0)
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if set(entry) - known or not isinstance(name, str) or not number:
            raise ValueError(f'`adapters` must be {{"name": str, "weight": number}}, got {entry}')
        members.append(Member((models or {}).get(name, name), name=name, **facts))
    return Ensemble(members, vote=strategy, **options)


async def infer(
    ensemble: Ensemble,
    prompt: Prompt,
    /,
    *,
    hedging: Hedger | None = None,
    timeout_s: float | None = None,
    temperature: float | None = 0.0,
    max_tokens: int = 1000,
    seed: int | None = None,
    stop: Sequence[str] = (),
    item: str | None = None,
) -> Prediction:
    """Ask an ensemble, each member raced against a copy of itself if `hedging` is given.

    Parameters
    ----------
    hedging : Hedger, optional
        An object with `race`; `crucible_hedging.Hedger("percentile_75")` fits.
    timeout_s : float, > 0, optional
        For the whole question; open calls are then cancelled and the rest votes.

    Raises
    ------
    TypeError
        If `hedging` is a string.
    """
    if timeout_s is not None:
        ensemble = ensemble.with_options(deadline_s=timeout_s)
    if hedging is not None:
        ensemble = ensemble.with_members(
            [_hedged(member, hedger=hedging) for member in ensemble.members()]
        )
    return await ensemble.predict(
        prompt, temperature=temperature, max_tokens=max_tokens, seed=seed, stop=stop, item=item
    )


def infer_sync(
    ensemble: Ensemble,
    prompt: Prompt,
    /,
    *,
    hedging: Hedger | None = None,
    timeout_s: float | None = None,
    temperature: float | None = 0.0,
    max_tokens: int = 1000,
    seed: int | None = None,
    stop: Sequence[str] = (),
    item: str | None = None,
) -> Prediction:
    """Do what `infer` does, for scripts and notebooks."""

    async def run() -> Prediction:
        return await infer(
            ensemble, prompt, hedging=hedging, timeout_s=timeout_s, temperature=temperature,
            max_tokens=max_tokens, seed=seed, stop=stop, item=item,
        )  # fmt: skip

    return run_sync(run)


async def _close_named(models: Models, ensemble: Ensemble) -> None:
    for given, opened in zip(models, ensemble.members(), strict=True):
        name = given.model if isinstance(given, Member) else given
        if isinstance(name, str) and hasattr(opened, "aclose"):
            await opened.aclose()
