"""What is compared: a model, an ensemble, or any function of an item."""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from itertools import product
from typing import Any

import anyio
import anyio.to_thread

from crucible_ensemble import Completion, Model, open_model
from crucible_ensemble.model import Prompt as ModelPrompt
from crucible_harness.designs import Level
from crucible_harness.fingerprints import of_function, structure
from crucible_harness.prompts import ItemLike, Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a function made of an item; None = unknown.

    `metrics` are numbers under names of your own, to be named in the experiment's metrics.
    """

    text: str
    cost_usd: float | None = None
    latency_s: float | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


Call = Callable[
    [Any], str | Mapping[str, Any] | Output | Awaitable[str | Mapping[str, Any] | Output]
]


@dataclass(frozen=True, slots=True)
class Condition:
    """One of the things that are compared.

    Parameters
    ----------
    name : str
    model : Model or str, optional
        A name, such as "openai/gpt-4o-mini", is opened by `crucible_ensemble.open_model`.
    call : function of an item, optional
        In place of a model: your own pipeline. It returns text, an `Output`, or a mapping with the
        fields of one; it may be async, else it runs in a worker thread. Its finished calls are
        journaled like those of a model.
    prompt : Prompt, optional
        In place of the experiment's.
    temperature : float, >= 0, or None
        None does not send one.
    max_tokens : int, >= 1
    stop : sequence of str
    factors : mapping of factor to level
        Place of the condition in a factorial or dose-response design.
    fingerprint : str, optional
        Identity in the design's hash, for models and functions that cannot give one.

    Raises
    ------
    ValueError
        If not exactly one of `model` and `call` is given, or an option is out of range.
    FingerprintError
        If the function's source cannot be hashed and no `fingerprint` is given.
    """

    name: str
    model: Model | str | None = None
    _: KW_ONLY
    call: Call | None = None
    prompt: Prompt | None = None
    temperature: float | None = 0.0
    max_tokens: int = 1000
    stop: tuple[str, ...] = ()
    factors: Mapping[str, Level] = field(default_factory=dict)
    fingerprint: str | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("`name` must not be empty")
        if (self.model is None) == (self.call is None):
            raise ValueError(f"condition {self.name!r} must have `model` or `call`, and not both")
        if self.temperature is not None and not self.temperature >= 0:
            raise ValueError(f"`temperature` must be >= 0, got {self.temperature}")
        if self.max_tokens < 1:
            raise ValueError(f"`max_tokens` must be >= 1, got {self.max_tokens}")
        if isinstance(self.model, str):
            object.__setattr__(self, "model", open_model(self.model))
        object.__setattr__(self, "stop", tuple(self.stop))

    @classmethod
    def grid(
        cls,
        name: str,
        factory: Callable[[Mapping[str, Level]], Model],
        *,
        levels: Mapping[str, Sequence[Level]],
        **options: Any,
    ) -> "list[Condition]":
        """Return one condition for each combination of levels.

        Parameters
        ----------
        name : str
            With a placeholder for each factor, such as "vote-{n}".
        factory : function of a mapping of factor to level
            Returns the model.
        levels : mapping of factor to its levels
        **options
            Of `Condition`, the same for all.

        Raises
        ------
        ValueError
            If two combinations would have the same name.

        Examples
        --------
        >>> from crucible_ensemble import Ensemble, SimulatedModel
        >>> model = SimulatedModel("m", accuracy=0.7, answer_of=str, wrong_of=lambda text: ["?"])
        >>> votes = Condition.grid(
        ...     "vote-{n}", lambda at: Ensemble([model], samples=at["n"]), levels={"n": [1, 3, 5]}
        ... )
        >>> [condition.name for condition in votes]
        ['vote-1', 'vote-3', 'vote-5']
        """
        made = []
        for values in product(*levels.values()):
            at = dict(zip(levels, values, strict=True))
            called = name
            for factor, level in at.items():
                called = called.replace(f"{{{factor}}}", str(level))
            made.append(cls(called, factory(at), factors=at, **options))
        names = [condition.name for condition in made]
        if len(set(names)) < len(names):
            raise ValueError(f"`name` must hold each factor as {{factor}}, got {name!r}")
        return made

    def identity(self) -> dict[str, Any]:
        """Return what answers, for the design's hash."""
        if self.fingerprint is not None:
            return {"fingerprint": self.fingerprint}
        return of_function(self.call) if self.call is not None else structure(self.model)

    def to_dict(self) -> dict[str, Any]:
        """Return what is hashed."""
        return {
            "name": self.name,
            "model": self.identity(),
            "prompt": None if self.prompt is None else self.prompt.to_dict(),
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "stop": list(self.stop),
            "factors": dict(self.factors),
        }

    def answering(self, item: ItemLike) -> Model:
        """Return what answers an item: the model, or the function bound to the item."""
        if self.call is None:
            assert self.model is not None
            assert not isinstance(self.model, str)
            if self.fingerprint is not None and not hasattr(self.model, "fingerprint"):
                return _Named(self.model, self.fingerprint)
            return self.model
        return _ItemCall(self, item)


class _Named:
    """A model without an identity of its own, under the one that its condition gives it."""

    def __init__(self, model: Model, fingerprint: str) -> None:
        self._model, self._fingerprint = model, fingerprint
        self.name = str(getattr(model, "name", type(model).__name__))
        self.generate = model.generate

    def fingerprint(self) -> dict[str, Any]:
        """Return the identity that was given."""
        return {"fingerprint": self._fingerprint}


class _ItemCall:
    """A function and the item that it is called with, as a model; the prompt is not used."""

    def __init__(self, condition: Condition, item: ItemLike) -> None:
        self.name = f"function/{condition.name}"
        self._condition, self._item = condition, item

    def fingerprint(self) -> dict[str, Any]:
        """Return the function's identity and the item's."""
        return {**self._condition.identity(), "item": self._item.id}

    async def generate(
        self,
        prompt: ModelPrompt,
        /,
        *,
        temperature: float | None = 0.0,
        max_tokens: int = 1000,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> Completion:
        """Call the function."""
        call = self._condition.call
        assert call is not None
        started = anyio.current_time()
        if inspect.iscoroutinefunction(call):
            answer = await call(self._item)
        else:
            answer = await anyio.to_thread.run_sync(call, self._item, abandon_on_cancel=True)
            if inspect.isawaitable(answer):
                answer = await answer
        output = _output(answer, self.name)
        latency_s = output.latency_s
        return Completion(
            text=output.text,
            model=self.name,
            cost_usd=output.cost_usd,
            billed_usd=output.cost_usd,
            latency_s=anyio.current_time() - started if latency_s is None else latency_s,
            finish="stop",
            extra={"metrics": dict(output.metrics), "metadata": dict(output.metadata)},
        )


def _output(answer: object, name: str) -> Output:
    if isinstance(answer, Output):
        return answer
    if isinstance(answer, str):
        return Output(text=answer)
    if isinstance(answer, Mapping):
        return Output(**answer)
    raise TypeError(
        f"{name} must return text, a mapping with `text`, or an Output, got {type(answer).__name__}"
    )
