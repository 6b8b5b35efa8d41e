"""A model whose slow calls are raced against copies of themselves."""

from collections.abc import Sequence

from crucible_ensemble.model import CompletionLike, Hedger, Model, Prompt


class HedgedModel:
    """Asks `model`, and through `hedger` also its backups; the first success is the answer.

    Parameters
    ----------
    model : Model
    hedger : Hedger
        An object with `race(calls, key=)`; `crucible_hedging.Hedger` fits.
    backups : sequence of Model
        By default one copy of the model itself.
    """

    def __init__(self, model: Model, *, hedger: Hedger, backups: Sequence[Model] = ()) -> None:
        if isinstance(hedger, str):
            raise TypeError(
                "`hedger` must be an object with race(), such as "
                f"crucible_hedging.Hedger({hedger!r})"
            )
        self._model, self._hedger, self._backups = model, hedger, tuple(backups)
        self.name = str(getattr(model, "name", type(model).__name__))

    def members(self) -> Sequence[Model]:
        """Return the models that are called."""
        return (self._model, *self._backups)

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
        """Race the calls; which copy answered does not change the text of a seeded model."""

        def call(model: Model) -> "_Call":
            return _Call(model, prompt, temperature, max_tokens, seed, stop)

        backups = self._backups or (self._model,)
        answer, _ = await self._hedger.race(
            [call(self._model), *(call(backup) for backup in backups)], key=self.name
        )
        return answer


class _Call:
    """One call, ready to be made any number of times."""

    def __init__(
        self,
        model: Model,
        prompt: Prompt,
        temperature: float | None,
        max_tokens: int,
        seed: int | None,
        stop: Sequence[str],
    ) -> None:
        self._model, self._prompt = model, prompt
        self._temperature, self._max_tokens = temperature, max_tokens
        self._seed, self._stop = seed, stop

    async def __call__(self) -> CompletionLike:
        return await self._model.generate(
            self._prompt,
            temperature=self._temperature,
            max_tokens=self._max_tokens,
            seed=self._seed,
            stop=self._stop,
        )


def hedged(model: Model, *, hedger: Hedger, backups: Sequence[Model] = ()) -> HedgedModel:
    """Return `model` with its slow calls raced against backups; see `HedgedModel`."""
    return HedgedModel(model, hedger=hedger, backups=backups)
