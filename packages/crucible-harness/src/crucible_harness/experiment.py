"""The experiment as data: frozen, and hashed before the first call."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from crucible_datasets import Dataset
from crucible_ensemble import Model
from crucible_harness.metrics import Metric, metric
from crucible_harness.schedule import Cell, schedule

SCHEMA = "crucible-harness/design/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """A bound on one condition that must be proved by a one-sided 95 % limit."""

    metric: str
    condition: str
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("`at_least` or `at_most` must be given, and not both")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """A claim about treatment - control, with the smallest effect of interest (`sesoi`)."""

    id: str
    metric: str
    treatment: str
    control: str
    sesoi: float
    direction: Literal["greater", "less", "two-sided"] = "greater"
    contrast: Literal["difference", "ratio"] = "difference"
    alpha: float = 0.05
    family: str = "confirmatory"
    kind: Literal["confirmatory", "exploratory"] = "confirmatory"
    criteria: tuple[Criterion, ...] = ()
    text: str = ""

    def __post_init__(self) -> None:
        if not self.sesoi > 0:
            raise ValueError(f"`sesoi` must be > 0, got {self.sesoi}")
        if not 0 < self.alpha < 1:
            raise ValueError(f"`alpha` must be in (0, 1), got {self.alpha}")
        if self.treatment == self.control:
            raise ValueError(f"`treatment` and `control` must differ, got {self.control!r} twice")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A model, or an ensemble of models, with the options of its calls."""

    name: str
    model: Model
    temperature: float | None = 0.0
    max_tokens: int = 1000
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A template in which `{input}` is replaced once; item text is never interpreted."""

    template: str = "{input}"
    system: str | None = None

    def __post_init__(self) -> None:
        if "{input}" not in self.template:
            raise ValueError("`template` must contain {input}")

    def messages(self, text: str) -> list[dict[str, str]]:
        """Return the messages for an item."""
        content = self.template.replace("{input}", text, 1)
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*system, {"role": "user", "content": content}]


class Experiment:
    """Conditions compared on the same items.

    Parameters
    ----------
    name : str
    dataset : Dataset
    conditions : sequence of Condition
        Names must be unique.
    metrics : sequence of Metric or str
        The first one is the main outcome.
    seed : int
        Of the schedule and of every call.
    hypotheses : sequence of Hypothesis
    prompt : Prompt
    repeats : int, >= 1
    baseline : str, optional
        The condition that the others are compared with where no hypothesis says otherwise.
    origin : mapping, optional
        What `load_experiment` read, so that a run can be resumed from its folder alone.

    Raises
    ------
    ValueError
        If a hypothesis names an unknown condition or metric, or an argument is out of range.
    """

    def __init__(
        self,
        name: str,
        *,
        dataset: Dataset,
        conditions: Sequence[Condition],
        metrics: Sequence[Metric | str] = ("accuracy",),
        seed: int,
        hypotheses: Sequence[Hypothesis] = (),
        prompt: Prompt | None = None,
        repeats: int = 1,
        baseline: str | None = None,
        description: str = "",
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        self.name, self.dataset, self.seed = name, dataset, seed
        self.conditions = tuple(conditions)
        self.metrics = tuple(metric(m) if isinstance(m, str) else m for m in metrics)
        self.hypotheses = tuple(hypotheses)
        self.prompt = prompt or Prompt()
        self.repeats, self.baseline, self.description = repeats, baseline, description
        self.origin = origin
        self._check()
        self.design = self._design()
        self.digest = hashlib.sha256(canonical(self.design).encode()).hexdigest()

    def schedule(self) -> list[Cell]:
        """Return every cell in the order in which it is started."""
        names = [condition.name for condition in self.conditions]
        return schedule(self.dataset.ids, names, repeats=self.repeats, seed=self.seed)

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
        ids = [h.id for h in self.hypotheses]
        if len(set(ids)) < len(ids):
            raise ValueError(f"`hypotheses` must have unique ids, got {ids}")
        known = {text for m in self.metrics for text in (m.name, m.label)}
        for h in self.hypotheses:
            for role, value in (("treatment", h.treatment), ("control", h.control)):
                if value not in names:
                    raise ValueError(
                        f"hypothesis {h.id!r}: `{role}` must be a condition "
                        f"({', '.join(names)}), got {value!r}"
                    )
            for role, wanted in (
                ("metric", h.metric),
                *(("criteria", c.metric) for c in h.criteria),
            ):
                if wanted not in known:
                    raise ValueError(
                        f"hypothesis {h.id!r}: `{role}` must be one of "
                        f"{', '.join(sorted(known))}, got {wanted!r}"
                    )
            for criterion in h.criteria:
                if criterion.condition not in names:
                    raise ValueError(
                        f"hypothesis {h.id!r}: `criteria` must be about a condition "
                        f"({', '.join(names)}), got {criterion.condition!r}"
                    )

    def _design(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "name": self.name,
            "description": self.description,
            "dataset": {
                "name": self.dataset.name,
                "split": self.dataset.split,
                "task": self.dataset.task,
                "fingerprint": self.dataset.fingerprint(),
                "items": len(self.dataset),
                "provenance": self.dataset.provenance.to_dict(),
            },
            "prompt": asdict(self.prompt),
            "conditions": [
                {
                    "name": c.name,
                    "model": structure(c.model),
                    "temperature": c.temperature,
                    "max_tokens": c.max_tokens,
                    "stop": list(c.stop),
                }
                for c in self.conditions
            ],
            "metrics": [asdict(m) for m in self.metrics],
            "hypotheses": [asdict(h) for h in self.hypotheses],
            "repeats": self.repeats,
            "baseline": self.baseline,
            "seed": self.seed,
        }


def structure(model: Model) -> dict[str, Any]:
    """Return what a model is, for the design: its fingerprint and those of its members."""
    identify = getattr(model, "fingerprint", None)
    if identify is None:
        raise ValueError(
            f"`model` {getattr(model, 'name', model)!r} has no fingerprint(): two runs could not "
            "be told apart"
        )
    found: dict[str, Any] = dict(identify())
    members = getattr(model, "members", None)
    if members is not None:
        found["members"] = [structure(member) for member in members()]
    return found


def canonical(value: object) -> str:
    """Return JSON with sorted keys and no blanks: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def from_design(design: Mapping[str, Any]) -> tuple[tuple[Metric, ...], tuple[Hypothesis, ...]]:
    """Read metrics and hypotheses back from a stored design."""
    metrics = tuple(
        Metric(**{**m, "bounds": None if m["bounds"] is None else tuple(m["bounds"])})
        for m in design["metrics"]
    )
    hypotheses = tuple(
        Hypothesis(**{**h, "criteria": tuple(Criterion(**c) for c in h["criteria"])})
        for h in design["hypotheses"]
    )
    return metrics, hypotheses
