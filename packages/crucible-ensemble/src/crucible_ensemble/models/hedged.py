"""A model whose slow calls are raced against copies of themselves."""

import time
from collections.abc import Sequence
from dataclasses import replace

from crucible_ensemble.completion import Completion
from crucible_ensemble.errors import ModelError
from crucible_ensemble.model import CompletionLike, Hedger, Model, Prompt


class HedgedModel:
    """Asks `model`, and through `hedger` also its backups; the first success is the answer.

    Parameters
    ----------
    model : Model
    hedger : Hedger
        An object with `race(calls, key=)`; `crucible_hedging.Hedger` fits.
    backups : sequence of Model
        By default one copy of the model itself. A hedger may allow fewer; one of
        `crucible_hedging` then raises ValueError at the call.

    Notes
    -----
    The answer's latency counts from the first call. Its cost includes every call that was started:
    a cancelled copy of the same model is assumed to cost what the winner did (providers bill what
    they began), and is marked so in `extra["assumed_usd"]`; a cancelled call to another model has
    no known price, and then neither has the answer. `extra["hedged"]` counts the backups.
    """

    # Whoever wraps the members must know that two of them may be the same call, sent twice.
    races = True

    def __init__(self, model: Model, *, hedger: Hedger, backups: Sequence[Model] = ()) -> None:
        if isinstance(hedger, str):
            raise TypeError(
                "`hedger` must be an object with race(), such as "
                f"crucible_hedging.Hedger({hedger!r})"
            )
        self._hedger = hedger
        self._models = (model, *(backups or (model,)))
        self.name = _name(model)
        self.family = str(getattr(model, "family", self.name))
        declared = [getattr(m, "supports", None) for m in self._models]
        known = [frozenset(s) for s in declared if s is not None]
        if known:  # what one of them lacks, the race lacks
            self.supports = frozenset.intersection(*known) - {"stream"}

    @property
    def hedger(self) -> Hedger:
        """What races the calls."""
        return self._hedger

    def with_hedger(self, hedger: Hedger) -> "HedgedModel":
        """Return the same race, carried out by another hedger."""
        copy = HedgedModel(self._models[0], hedger=hedger, backups=self._models[1:])
        copy.name = self.name
        return copy

    def members(self) -> Sequence[Model]:
        """Return the models that are called, the primary first."""
        return self._models

    def with_members(self, models: Sequence[Model]) -> "HedgedModel":
        """Return the same race over other models, in the order of `members`."""
        copy = HedgedModel(models[0], hedger=self._hedger, backups=models[1:])
        copy.name = self.name
        return copy

    def fingerprint(self) -> dict[str, object]:
        """Return what identifies the structure in an experiment's design."""
        return {
            "hedged": True,
            "policy": str(getattr(self._hedger, "name", type(self._hedger).__name__)),
        }

    async def aclose(self) -> None:
        """Close the models that can be closed."""
        for model in self._models:
            close = getattr(model, "aclose", None)
            if close is not None:
                await close()

    async def generate(
        self,
        prompt: Prompt,
        /,
        *,
        temperature: float | None = 0.0,
        max_tokens: int = 1000,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> CompletionLike:
        """Race the calls; which copy answered does not change the text of a seeded model.

        Raises
        ------
        ModelError
            If every copy failed: the first one's reason.
        """
        began = time.monotonic()
        calls = [
            _Call(model, prompt, temperature, max_tokens, seed, stop) for model in self._models
        ]
        try:
            answer, winner = await self._hedger.race(calls, key=self.name)
        except ExceptionGroup as group:  # every copy failed; the primary's reason says most
            for error in group.exceptions:
                if isinstance(error, ModelError):
                    raise error from group
            raise
        return _account(answer, calls, winner, began)


class _Call:
    """One call, ready to be made; remembers when it began and what came back."""

    def __init__(
        self,
        model: Model,
        prompt: Prompt,
        temperature: float | None,
        max_tokens: int,
        seed: int | None,
        stop: Sequence[str],
    ) -> None:
        self.name = _name(model)
        self.began: float | None = None
        self.answer: CompletionLike | None = None
        self._model, self._prompt = model, prompt
        self._temperature, self._max_tokens = temperature, max_tokens
        self._seed, self._stop = seed, stop

    def __eq__(self, other: object) -> bool:
        """Say that two calls to one model are the same call, sent twice."""
        return isinstance(other, _Call) and other.name == self.name

    __hash__ = None  # type: ignore[assignment] # equal by name, and never a key

    async def __call__(self) -> CompletionLike:
        self.began = time.monotonic()
        self.answer = await self._model.generate(
            self._prompt,
            temperature=self._temperature,
            max_tokens=self._max_tokens,
            seed=self._seed,
            stop=self._stop,
        )
        return self.answer


def _account(
    answer: CompletionLike, calls: Sequence[_Call], winner: int, began: float
) -> CompletionLike:
    """Add to the winner's bill and latency what the race cost."""
    started = [call for call in calls if call.began is not None]
    if not isinstance(answer, Completion) or len(started) == 1:
        return answer
    costs: list[float | None] = []
    assumed = 0.0
    for call in started:
        if call.answer is not None:
            costs.append(call.answer.cost_usd)
        elif call.name == calls[winner].name:
            costs.append(answer.cost_usd)
            assumed += answer.cost_usd or 0.0
        else:
            costs.append(None)
    cost = None if None in costs else sum(c for c in costs if c is not None)
    waited = (calls[winner].began or began) - began if winner else 0.0
    return replace(
        answer,
        cost_usd=cost,
        billed_usd=cost if answer.billed_usd != 0.0 else 0.0,
        latency_s=None if answer.latency_s is None else waited + answer.latency_s,
        extra={**answer.extra, "hedged": len(started) - 1, "assumed_usd": assumed},
    )


def _name(model: Model) -> str:
    return str(getattr(model, "name", type(model).__name__))


def hedged(model: Model, *, hedger: Hedger, backups: Sequence[Model] = ()) -> HedgedModel:
    """Return `model` with its slow calls raced against backups; see `HedgedModel`."""
    return HedgedModel(model, hedger=hedger, backups=backups)
