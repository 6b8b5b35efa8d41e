"""A model that is asked in other words: prompt variants as members of an ensemble."""

from collections.abc import Sequence

from crucible_ensemble.model import CompletionLike, Model, Prompt
from crucible_ensemble.prompts import to_messages


class PromptedModel:
    """Wraps what the user says into a template before the model sees it.

    Parameters
    ----------
    model : Model
    template : str
        Must contain "{prompt}", where the last user message goes.
    system : str, optional
        A system message put before everything.
    name : str
        By default that of the model, which two variants in one ensemble would share.

    Examples
    --------
    >>> steps = PromptedModel(model, template="{prompt} Think aloud.")  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Model,
        *,
        template: str = "{prompt}",
        system: str | None = None,
        name: str | None = None,
    ) -> None:
        if "{prompt}" not in template:
            raise ValueError(f'`template` must contain "{{prompt}}", got {template!r}')
        self._model, self._template, self._system = model, template, system
        self.name = name or str(getattr(model, "name", type(model).__name__))
        self.family = str(getattr(model, "family", getattr(model, "name", self.name)))
        supports = getattr(model, "supports", None)
        if supports is not None:
            self.supports = supports - {"stream"}

    def members(self) -> Sequence[Model]:
        """Return the model that is asked."""
        return (self._model,)

    def with_members(self, models: Sequence[Model]) -> "PromptedModel":
        """Return the same words for another model."""
        return PromptedModel(
            models[0], template=self._template, system=self._system, name=self.name
        )

    def fingerprint(self) -> dict[str, object]:
        """Return what identifies the structure in an experiment's design."""
        return {"prompted": self.name, "template": self._template, "system": self._system}

    async def aclose(self) -> None:
        """Close the model."""
        close = getattr(self._model, "aclose", None)
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
        """Ask the model in these words."""
        messages = to_messages(prompt)
        last = max((n for n, m in enumerate(messages) if m["role"] == "user"), default=None)
        if last is not None:
            said = self._template.replace("{prompt}", messages[last]["content"])
            messages[last] = {"role": "user", "content": said}
        if self._system is not None:
            messages.insert(0, {"role": "system", "content": self._system})
        return await self._model.generate(
            messages, temperature=temperature, max_tokens=max_tokens, seed=seed, stop=stop
        )
