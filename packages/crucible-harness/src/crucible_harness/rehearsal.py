"""Which calls an experiment will make: every cell carried out with models that only listen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crucible_ensemble import Completion, Model
from crucible_ensemble.model import Prompt
from crucible_ensemble.prompts import to_messages
from crucible_ensemble.seeds import derive
from crucible_harness.experiment import Experiment, canonical
from crucible_harness.fingerprints import structure
from crucible_harness.ledger import Prices, name_of

CHARACTERS_PER_TOKEN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One call that will be made, once: its model, size, and price between its bounds.

    `low_usd` supposes an answer of one token, `high_usd` the longest; None where the price is not
    known.
    """

    model: str
    prompt_tokens: int
    max_tokens: int
    low_usd: float | None
    high_usd: float | None


@dataclass(slots=True)
class Rehearsed:
    """The calls of an experiment, by key, and those that each condition uses."""

    calls: dict[str, Asked] = field(default_factory=dict)
    by_condition: dict[str, set[str]] = field(default_factory=dict)
    unpriced: set[str] = field(default_factory=set)


async def rehearse(experiment: Experiment, *, prices: Prices) -> Rehearsed:
    """Carry out every cell without asking anyone, and write down what would be asked.

    Notes
    -----
    Equal calls are one, as in the run. What depends on answers cannot be known: a cascade is taken
    to stop at its first stage, a race to have no backups, a loop of tools to end at once. Functions
    of an item are one call each, of unknown price.
    """
    heard = Rehearsed()
    items = {item.id: item for item in experiment.dataset}
    conditions = {condition.name: condition for condition in experiment.conditions}
    for cell in experiment.schedule():
        condition, item = conditions[cell.condition], items[cell.item]
        mine = heard.by_condition.setdefault(cell.condition, set())

        def hear(key: str, call: Asked, mine: set[str] = mine) -> None:
            mine.add(key)
            heard.calls[key] = call
            if call.high_usd is None:
                heard.unpriced.add(call.model)

        scope: dict[str, Any] = {"repeat": cell.repeat}
        if not experiment.share_responses:
            scope["condition"] = cell.condition
        model = _listening(condition.answering(item), prices, hear, scope)
        try:
            await model.generate(
                experiment.prompt_of(condition).messages(item),
                temperature=condition.temperature,
                max_tokens=condition.max_tokens,
                seed=derive(experiment.seed, item.id, cell.repeat),
                stop=condition.stop,
            )
        except Exception:  # noqa: BLE001 - an empty answer may be no answer: calls are heard
            continue
    return heard


class _Listener:
    """Has a model's identity, notes what it is asked, and answers nothing."""

    def __init__(
        self,
        model: Model,
        prices: Prices,
        hear: Callable[[str, Asked], None],
        scope: Mapping[str, Any],
    ) -> None:
        self._model, self._prices, self._hear, self._scope = model, prices, hear, scope
        self._identity = structure(model)
        self.name = name_of(model)

    def fingerprint(self) -> Mapping[str, Any]:
        return self._identity

    async def generate(
        self,
        prompt: Prompt,
        /,
        *,
        temperature: float | None = 0.0,
        max_tokens: int = 1000,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> Completion:
        messages = to_messages(prompt)
        key = canonical(
            [self._identity, messages, temperature, max_tokens, seed, list(stop), self._scope]
        )
        characters = sum(len(message["content"]) for message in messages)
        free = is_free(self._model, self._identity)
        self._hear(
            key,
            Asked(
                model=self.name,
                prompt_tokens=-(-characters // CHARACTERS_PER_TOKEN),
                max_tokens=max_tokens,
                low_usd=0.0 if free else self._prices.worst_usd(self._model, characters, 1),
                high_usd=0.0
                if free
                else self._prices.worst_usd(self._model, characters, max_tokens),
            ),
        )
        return Completion(text="", model=self.name, input_tokens=0, output_tokens=0)


def _listening(
    model: Model,
    prices: Prices,
    hear: Callable[[str, Asked], None],
    scope: Mapping[str, Any],
) -> Model:
    members = getattr(model, "members", None)
    if members is None:
        return _Listener(model, prices, hear, scope)
    inner = [_listening(member, prices, hear, scope) for member in members()]
    if getattr(model, "races", False):
        return inner[0]
    return model.with_members(inner)  # type: ignore[attr-defined, no-any-return]


def is_free(model: Model, identity: Mapping[str, Any]) -> bool:
    """Say whether nobody sends a bill: recorded answers, and servers on this machine.

    A proxy on this machine that asks a paid provider is not seen.
    """
    from urllib.parse import urlsplit

    if identity.get("cassette") and getattr(model, "mode", None) == "replay":
        return True
    address = identity.get("base_url")
    host = urlsplit(str(address)).hostname if address else None
    return host in ("localhost", "127.0.0.1", "::1")
