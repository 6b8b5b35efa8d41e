"""The experiment as data: frozen, and hashed before the first call."""

import hashlib
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from crucible_datasets import Dataset, Item
from crucible_datasets.items import Provenance
from crucible_ensemble import CassetteModel, LlamaCppModel, SimulatedModel
from crucible_harness.claims import OVER_FACTORS, Hypothesis
from crucible_harness.conditions import Condition
from crucible_harness.dataset_ref import DatasetRef
from crucible_harness.designs import Design, Within, check_factors, factors_of
from crucible_harness.errors import RedundantRepeatsWarning
from crucible_harness.metrics import Metric, metric
from crucible_harness.prompts import ItemLike, Prompt
from crucible_harness.schedule import Cell, schedule
from crucible_harness.stopping import FixedN, Stopping, check_stopping

if TYPE_CHECKING:
    from crucible_harness.options import RunOptions

SCHEMA = "crucible-harness/design/1"


class Experiment:
    """Conditions compared on the same items.

    Parameters
    ----------
    name : str
    dataset : Dataset, DatasetRef, or sequence of items
        A reference is loaded. Items have `id`, `input`, `expected` and `metadata`; without a
        Dataset their task is "text".
    conditions : sequence of Condition
        Names must be unique.
    metrics : sequence of Metric or str
        The first one is the main outcome.
    seed : int
        Of the schedule and of every call.
    hypotheses : sequence of Hypothesis
    baseline : str, optional
        The condition that the others are compared with where no hypothesis says otherwise.
    prompt : Prompt
        Of every condition that has none of its own.
    repeats : int, >= 1
    design : Within, Between, Factorial or DoseResponse
        Who answers what; `Within()` by default.
    stopping : FixedN or AlwaysValid
        When enough is known; `FixedN()` by default: when every cell is finished.
    share_responses : bool
        Equal calls are paid once, whichever conditions need them. False asks anew for each.
    description : str
    authors, tags : sequence of str
    origin : mapping, optional
        What `load_experiment` read, so that a run can be resumed from its folder alone.

    Attributes
    ----------
    frozen : mapping
        Everything that is hashed: JSON-safe.
    digest : str
        SHA-256 of it.

    Raises
    ------
    ValueError
        If a hypothesis names an unknown condition or metric, an item lacks what a prompt asks for,
        or an argument is out of range.
    ContaminationError
        If a worked example of a prompt is one of the items.
    FingerprintError
        If it cannot be said what a model or function is.

    Warns
    -----
    RedundantRepeatsWarning
        If repeats can only give the same answers again.
    """

    def __init__(
        self,
        name: str,
        *,
        dataset: Dataset | DatasetRef | Sequence[ItemLike],
        conditions: Sequence[Condition],
        metrics: Sequence[Metric | str] = ("accuracy",),
        seed: int,
        hypotheses: Sequence[Hypothesis] = (),
        baseline: str | None = None,
        prompt: Prompt | None = None,
        repeats: int = 1,
        design: Design | None = None,
        stopping: Stopping | None = None,
        share_responses: bool = True,
        description: str = "",
        authors: Sequence[str] = (),
        tags: Sequence[str] = (),
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        self.name, self.seed = name, seed
        self.dataset_ref = dataset if isinstance(dataset, DatasetRef) else None
        if isinstance(dataset, DatasetRef):
            dataset = dataset.load()
        self.dataset = dataset if isinstance(dataset, Dataset) else _as_dataset(dataset)
        self.conditions = tuple(conditions)
        self.metrics = tuple(metric(m) if isinstance(m, str) else m for m in metrics)
        self.hypotheses = tuple(hypotheses)
        self.baseline, self.prompt, self.repeats = baseline, prompt or Prompt(), repeats
        self.design, self.stopping = design or Within(), stopping or FixedN()
        self.share_responses, self.description = share_responses, description
        self.authors, self.tags = tuple(authors), tuple(tags)
        self.origin = origin
        self._check()
        self.frozen = self._freeze()
        self.digest = hashlib.sha256(canonical(self.frozen).encode()).hexdigest()
        _warn_of_redundant_repeats(self)

    def schedule(self) -> list[Cell]:
        """Return every cell in the order in which it is started."""
        return schedule(
            self.dataset.ids,
            [condition.name for condition in self.conditions],
            repeats=self.repeats,
            seed=self.seed,
            design=self.design,
            blocks=blocks_of(self.design, self.dataset),
        )

    def to_toml(self, *, options: "RunOptions | None" = None) -> str:
        """Return the experiment as a file that `load_experiment` reads as the same design.

        Parameters
        ----------
        options : RunOptions, optional
            To be written as well: budget, limits, objectives and how the run is carried out.

        Raises
        ------
        ValueError
            If a file cannot say it, such as items that are no `DatasetRef`, a scorer of your own, a
            simulated model or a hook; the message names what.

        Notes
        -----
        How a model is reached is no part of a design: of a model made in Python the file has name
        and address, and neither its key nor its time-out.
        """
        from crucible_harness.as_toml import as_toml

        return as_toml(self, options)

    def prompt_of(self, condition: Condition) -> Prompt:
        """Return the prompt that a condition is asked with."""
        return condition.prompt or self.prompt

    def _check(self) -> None:
        names = [condition.name for condition in self.conditions]
        if not self.name:
            raise ValueError("`name` must not be empty")
        if not names:
            raise ValueError("`conditions` must not be empty")
        if len(set(names)) < len(names):
            raise ValueError(f"`conditions` must have unique names, got {names}")
        if not self.metrics:
            raise ValueError("`metrics` must not be empty")
        if self.repeats < 1:
            raise ValueError(f"`repeats` must be >= 1, got {self.repeats}")
        if not len(self.dataset):
            raise ValueError("`dataset` must hold at least one item")
        if self.baseline is not None and self.baseline not in names:
            raise ValueError(
                f"`baseline` must be a condition ({', '.join(names)}), got {self.baseline!r}"
            )
        check_factors(self.design, {c.name: c.factors for c in self.conditions})
        blocks_of(self.design, self.dataset)
        self._check_items()
        ids = [h.id for h in self.hypotheses]
        if len(set(ids)) < len(ids):
            raise ValueError(f"`hypotheses` must have unique ids, got {ids}")
        for h in self.hypotheses:
            self._check_hypothesis(h)
        check_stopping(
            self.stopping,
            hypotheses=self.hypotheses,
            metrics=self.metrics,
            within=self.design.within,
        )

    def _check_items(self) -> None:
        if any(m.name == "accuracy" for m in self.metrics):
            unmarked = [item.id for item in self.dataset if item.expected is None]
            if unmarked:
                raise ValueError(
                    f"`dataset` has {len(unmarked)} items without an expected answer, which "
                    f"accuracy needs: {', '.join(unmarked[:5])}"
                )
        for prompt in {id(p): p for c in self.conditions if (p := self.prompt_of(c))}.values():
            if prompt.few_shot is not None:
                prompt.few_shot.refuse_overlap(self.dataset)
            for item in self.dataset:
                prompt.messages(item, task=self.dataset.task)

    def _check_hypothesis(self, h: Hypothesis) -> None:
        known = {text for m in self.metrics for text in (m.name, m.label)}
        names = [condition.name for condition in self.conditions]

        def unfit(role: str, allowed: Sequence[object], got: object) -> ValueError:
            listed = ", ".join(map(str, allowed))
            return ValueError(f"hypothesis {h.id!r}: `{role}` must be one of {listed}, got {got!r}")

        for role, wanted in (("metric", h.metric), *(("criteria", c.metric) for c in h.criteria)):
            if wanted not in known:
                raise unfit(role, sorted(known), wanted)
        for criterion in h.criteria:
            if criterion.condition not in names:
                raise unfit("criteria", names, criterion.condition)
        factors = factors_of(self.design)
        for factor in h.factors:
            if factor not in factors:
                raise unfit("factors", list(factors) or ["(the design has none)"], factor)
        if h.contrast in OVER_FACTORS:
            self._check_levels(h, {factor: factors[factor] for factor in h.factors})
            return
        for role, value in (("treatment", h.treatment), ("control", h.control)):
            if value not in names:
                raise unfit(role, names, value)

    def _check_levels(self, h: Hypothesis, factors: Mapping[str, Sequence[object]]) -> None:
        where = f"hypothesis {h.id!r}: "
        for factor, levels in factors.items():
            shown = [str(level) for level in levels]
            if h.contrast == "interaction":
                self._check_interaction(h, factor, shown)
            if h.contrast == "trend" and not all(isinstance(x, int | float) for x in levels):
                raise ValueError(f"{where}`factors` must be of numbers, {factor!r} has {shown}")
            if h.contrast == "main_effect" and not {h.treatment, h.control} <= set(shown):
                raise ValueError(
                    f"{where}`treatment` and `control` must be levels of {factor!r} "
                    f"({', '.join(shown)}), got {h.treatment!r} and {h.control!r}"
                )

    def _check_interaction(self, h: Hypothesis, factor: str, shown: Sequence[str]) -> None:
        if not h.levels and len(shown) == 2:
            return
        wanted = f"hypothesis {h.id!r}: `levels` must name one of {factor!r} beside the first"
        if not h.levels:
            raise ValueError(f"{wanted} ({', '.join(shown[1:])}), got none")
        level = str(h.levels[h.factors.index(factor)])
        if level not in shown[1:]:
            raise ValueError(f"{wanted} ({', '.join(shown[1:])}), got {level!r}")

    def _freeze(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "name": self.name,
            "description": self.description,
            "authors": list(self.authors),
            "tags": list(self.tags),
            "dataset": {
                "name": self.dataset.name,
                "split": self.dataset.split,
                "task": self.dataset.task,
                "fingerprint": self.dataset.fingerprint(),
                "items": len(self.dataset),
                "provenance": self.dataset.provenance.to_dict(),
            },
            "prompt": self.prompt.to_dict(),
            "conditions": [condition.to_dict() for condition in self.conditions],
            "metrics": [m.to_dict() for m in self.metrics],
            "hypotheses": [h.to_dict() for h in self.hypotheses],
            "repeats": self.repeats,
            "baseline": self.baseline,
            "design": self.design.to_dict(),
            "stopping": self.stopping.to_dict(),
            "share_responses": self.share_responses,
            "seed": self.seed,
        }


def blocks_of(design: Design, items: Iterable[ItemLike]) -> dict[str, str]:
    """Return the block of each item; empty where the design has no blocks.

    Raises
    ------
    ValueError
        If an item lacks the field that makes the blocks.
    """
    field = design.block_by
    if field is None:
        return {}
    blocks = {}
    for item in items:
        if field not in item.metadata:
            raise ValueError(f"`block_by` {field!r} is missing in the metadata of {item.id!r}")
        blocks[item.id] = str(item.metadata[field])
    return blocks


def canonical(value: object) -> str:
    """Return JSON with sorted keys and no blanks: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _as_dataset(items: Sequence[ItemLike]) -> Dataset:
    known = [
        item
        if isinstance(item, Item)
        else Item(id=item.id, input=item.input, expected=item.expected, metadata=item.metadata)
        for item in items
    ]
    return Dataset(known, name="items", task="text", provenance=Provenance(kind="memory"))


def _warn_of_redundant_repeats(experiment: Experiment) -> None:
    if experiment.repeats == 1:
        return
    same = [
        condition.name
        for condition in experiment.conditions
        if condition.temperature == 0
        and condition.model is not None
        and all(map(_deterministic, _leaves(condition.model)))
    ]
    if same:
        warnings.warn(
            f"{experiment.repeats} repeats at temperature 0 are the same answer "
            f"{experiment.repeats} times under {', '.join(same)}: cost without information",
            RedundantRepeatsWarning,
            stacklevel=3,
        )


def _leaves(model: Any) -> Iterator[Any]:
    members = getattr(model, "members", None)
    if members is None:
        yield model
        return
    for member in members():
        yield from _leaves(member)


def _deterministic(model: Any) -> bool:
    """Say whether equal requests at temperature 0 are known to give equal answers."""
    return isinstance(model, SimulatedModel | LlamaCppModel | CassetteModel)
