"""One question to an ensemble, in one call."""

from collections.abc import Mapping, Sequence
from typing import Literal

from crucible_ensemble.ensemble import Ensemble
from crucible_ensemble.model import Hedger, Model, Normaliser, Prompt, Vote
from crucible_ensemble.models.hedged import hedged as _hedged
from crucible_ensemble.prediction import Prediction

Votes = Literal["majority", "weighted_majority"]
Normalisers = Literal["exact", "numeric", "text"]


async def predict(
    prompt: Prompt,
    /,
    *,
    models: Sequence[Model | str] = ("local/smollm2",),
    strategy: Votes | Vote = "majority",
    normalise: Normalisers | Normaliser = "text",
    samples: int = 1,
    temperature: float | None = 0.0,
    max_tokens: int = 1000,
    seed: int | None = 0,
    stop: Sequence[str] = (),
) -> Prediction:
    """Ask several models, or one several times, and return the vote.

    Models given by name are opened for this call and closed after it. See `Ensemble` for the
    parameters.
    """
    ensemble = Ensemble(models, vote=strategy, normalise=normalise, samples=samples)
    try:
        return await ensemble.predict(
            prompt, temperature=temperature, max_tokens=max_tokens, seed=seed, stop=stop
        )
    finally:
        for given, opened in zip(models, ensemble.members(), strict=True):
            if isinstance(given, str) and hasattr(opened, "aclose"):
                await opened.aclose()


def predict_sync(
    prompt: Prompt,
    /,
    *,
    models: Sequence[Model | str] = ("local/smollm2",),
    strategy: Votes | Vote = "majority",
    normalise: Normalisers | Normaliser = "text",
    samples: int = 1,
    temperature: float | None = 0.0,
    max_tokens: int = 1000,
    seed: int | None = 0,
    stop: Sequence[str] = (),
) -> Prediction:
    """Do what `predict` does, for scripts and notebooks, also where an event loop runs already."""
    from concurrent.futures import ThreadPoolExecutor

    import anyio

    async def run() -> Prediction:
        return await predict(
            prompt, models=models, strategy=strategy, normalise=normalise, samples=samples,
            temperature=temperature, max_tokens=max_tokens, seed=seed, stop=stop,
        )  # fmt: skip

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(anyio.run, run).result()


def create(
    *,
    adapters: Sequence[Mapping[str, object]],
    models: Mapping[str, Model] | None = None,
    strategy: Votes | Vote = "weighted_majority",
    normalise: Normalisers | Normaliser = "text",
) -> Ensemble:
    """Build an ensemble from named, weighted members.

    Parameters
    ----------
    adapters : sequence of {"name": str, "weight": float}
    models : mapping of name to Model
        Names that it does not hold are opened with `open_model`.

    Raises
    ------
    ValueError
        If a member has no name, an unknown key or a weight that is not a number.
    """
    members: list[Model | str] = []
    weights: list[float] = []
    for entry in adapters:
        unknown = set(entry) - {"name", "weight"}
        name, weight = entry.get("name"), entry.get("weight", 1.0)
        if unknown or not isinstance(name, str) or not isinstance(weight, int | float):
            raise ValueError(f'`adapters` must be {{"name": str, "weight": number}}, got {entry}')
        members.append((models or {}).get(name, name))
        weights.append(float(weight))
    return Ensemble(members, vote=strategy, normalise=normalise, weights=weights)


async def infer(
    ensemble: Ensemble,
    prompt: Prompt,
    /,
    *,
    hedging: Hedger | None = None,
    temperature: float | None = 0.0,
    max_tokens: int = 1000,
    seed: int | None = 0,
) -> Prediction:
    """Ask an ensemble, each member raced against a copy of itself if `hedging` is given."""
    if hedging is not None:
        ensemble = ensemble.with_members(
            [_hedged(member, hedger=hedging) for member in ensemble.members()]
        )
    return await ensemble.predict(prompt, temperature=temperature, max_tokens=max_tokens, seed=seed)
