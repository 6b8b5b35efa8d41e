"""How an item becomes the messages that a model is sent. Item text is never interpreted."""

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from crucible_datasets import render
from crucible_harness.dataset_ref import DatasetRef
from crucible_harness.errors import ContaminationError

if TYPE_CHECKING:
    from crucible_datasets.items import Item, Task

Style = Literal["plain", "mmlu", "chat"]

_PLACE = re.compile(r"\{\{([A-Za-z_][\w.]*)\}\}|\{([A-Za-z_][\w.]*)\}")
_STEP_BY_STEP = "Let's think step by step."


class ItemLike(Protocol):
    """What a prompt reads of an item; `crucible_datasets.Item` fits."""

    @property
    def id(self) -> str:
        """Return the identity."""
        ...

    @property
    def input(self) -> str:
        """Return the question."""
        ...

    @property
    def expected(self) -> Any:
        """Return the reference answer."""
        ...

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Return what else is known."""
        ...


@dataclass(frozen=True, slots=True)
class FewShot:
    """Worked examples in front of each question, as turns of the conversation.

    Parameters
    ----------
    n : int, >= 1
    pool : sequence of items, or DatasetRef
        Usually another split. An example that is also asked is refused when the experiment is made.
        A reference is loaded, and can be written in a file.
    seed : int
        Examples are the first `n` of the pool in an order drawn from it.
    stratify_by : str, optional
        Metadata field; its values take turns among the examples.

    Raises
    ------
    ValueError
        If the pool is smaller than `n`.
    """

    n: int
    pool: Sequence[ItemLike] | DatasetRef
    seed: int
    stratify_by: str | None = None
    _items: Sequence[ItemLike] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        loaded = self.pool.load() if isinstance(self.pool, DatasetRef) else self.pool
        object.__setattr__(self, "_items", loaded)
        if not 1 <= self.n <= len(self._items):
            raise ValueError(f"`n` must be in [1, {len(self._items)}] (the pool), got {self.n}")

    def examples(self) -> list[ItemLike]:
        """Return the chosen items, in the order in which they are shown."""
        drawn = sorted(self._items, key=lambda item: _rank(self.seed, item.id))
        if self.stratify_by is None:
            return drawn[: self.n]
        turns: dict[str, int] = defaultdict(int)
        places = {}
        for item in drawn:
            stratum = str(item.metadata.get(self.stratify_by))
            places[item.id] = turns[stratum]
            turns[stratum] += 1
        return sorted(drawn, key=lambda item: places[item.id])[: self.n]

    def refuse_overlap(self, items: Iterable[ItemLike]) -> None:
        """Refuse examples that are asked as well.

        Raises
        ------
        ContaminationError
            If an example's text, folded, is that of an item.
        """
        asked = {_folded(item.input): item.id for item in items}
        shared = [asked[text] for e in self.examples() if (text := _folded(e.input)) in asked]
        if shared:
            raise ContaminationError(tuple(shared))

    def to_dict(self) -> dict[str, Any]:
        """Return what is hashed: the examples themselves, by id and text."""
        return {
            "n": self.n,
            "seed": self.seed,
            "stratify_by": self.stratify_by,
            "examples": [
                {"id": e.id, "input": e.input, "expected": e.expected} for e in self.examples()
            ],
        }


@dataclass(frozen=True, slots=True)
class Prompt:
    """A template, and what stands around it.

    Parameters
    ----------
    template : str
        `{input}`, `{choices}`, `{context}` and `{metadata.<field>}` are replaced in one pass, so
        that braces inside an item stay text; `{{input}}` is a literal `{input}`.
    system : str, optional
    style : {"plain", "mmlu", "chat"}, optional
        In place of a template: `crucible_datasets.render`, as the benchmark's authors ask.
    few_shot : FewShot, optional
    chain_of_thought : bool
        Ask for steps; the answer is read from their end.
    answer_hint : str, optional
        A line behind the question, such as "Answer with the number only."

    Raises
    ------
    ValueError
        If the template lacks `{input}` or names an unknown placeholder.
    """

    template: str = "{input}"
    _: KW_ONLY
    system: str | None = None
    style: Style | None = None
    few_shot: FewShot | None = None
    chain_of_thought: bool = False
    answer_hint: str | None = None

    def __post_init__(self) -> None:
        names = [found[1] for found in _PLACE.findall(self.template) if found[1]]
        for name in names:
            field = name.removeprefix("metadata.")
            if name not in ("input", "choices", "context") and (field == name or "." in field):
                raise ValueError(
                    "`template` may hold {input}, {choices}, {context} and {metadata.<field>} "
                    f"(a literal brace pair is doubled), got {{{name}}}"
                )
        if "input" not in names:
            raise ValueError("`template` must contain {input}")
        if self.style is not None and self.template != "{input}":
            raise ValueError("`template` and `style` must not both be given")
        if self.style not in (None, "plain", "mmlu", "chat"):
            raise ValueError(f'`style` must be "plain", "mmlu" or "chat", got {self.style!r}')

    def messages(self, item: ItemLike, *, task: str | None = None) -> list[dict[str, str]]:
        """Return the messages for an item; `task` is the data set's, for its own styles.

        Raises
        ------
        ValueError
            If the item lacks what the template asks for.
        """
        turns = [] if self.system is None else [{"role": "system", "content": self.system}]
        if self.few_shot is not None:
            for example in self.few_shot.examples():
                turns.append({"role": "user", "content": self._question(example, task)})
                turns.append({"role": "assistant", "content": self._answer(example)})
        return [*turns, {"role": "user", "content": self._question(item, task)}]

    def to_dict(self) -> dict[str, Any]:
        """Return what is hashed."""
        return {
            "template": self.template,
            "system": self.system,
            "style": self.style,
            "few_shot": None if self.few_shot is None else self.few_shot.to_dict(),
            "chain_of_thought": self.chain_of_thought,
            "answer_hint": self.answer_hint,
        }

    def _question(self, item: ItemLike, task: str | None) -> str:
        if self.style is None:
            text = _PLACE.sub(lambda found: _replaced(found, item), self.template)
        else:
            text = render(cast("Item", item), style=self.style, task=cast("Task | None", task))
        if self.answer_hint is not None:
            text = f"{text}\n{self.answer_hint}"
        return f"{text}\n{_STEP_BY_STEP}" if self.chain_of_thought else text

    def _answer(self, example: ItemLike) -> str:
        choices = getattr(example, "choices", None)
        expected = example.expected
        if choices is not None and isinstance(expected, int):
            return _letter(expected)
        rationale = example.metadata.get("rationale")
        if self.chain_of_thought and rationale:
            return f"{rationale}\n#### {expected}"
        return str(expected)


def _replaced(found: "re.Match[str]", item: ItemLike) -> str:
    if found[1]:
        return f"{{{found[1]}}}"
    name = found[2]
    if name == "input":
        return item.input
    if name == "choices":
        choices = getattr(item, "choices", None)
        if not choices:
            raise ValueError(f"`template` asks for {{choices}}, but item {item.id!r} has none")
        return "\n".join(f"{_letter(n)}. {text}" for n, text in enumerate(choices))
    if name == "context":
        context = getattr(item, "context", None)
        if context is None:
            raise ValueError(f"`template` asks for {{context}}, but item {item.id!r} has none")
        return str(context)
    field = name.removeprefix("metadata.")
    if field not in item.metadata:
        raise ValueError(f"`template` asks for {{{name}}}, but item {item.id!r} lacks it")
    return str(item.metadata[field])


def _letter(place: int) -> str:
    return chr(ord("A") + place)


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _rank(seed: int, text: str) -> bytes:
    return hashlib.blake2b(f"few-shot\x1f{seed}\x1f{text}".encode(), digest_size=16).digest()
