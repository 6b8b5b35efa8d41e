"""The `ensemble` of a condition in a file: which models vote, how, and who is asked when."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from crucible_ensemble.executions import (
    Cascade,
    Consensus,
    Decided,
    FixedHedge,
    Parallel,
    Posterior,
    Quorum,
    Sequential,
    Sprt,
)
from crucible_ensemble.votes import (
    BestConfidence,
    ConfidenceSum,
    Majority,
    Unanimous,
    Weighted,
    WeightedMajority,
)

if TYPE_CHECKING:
    from crucible_ensemble import Ensemble, Model
    from crucible_ensemble.model import Hedger

_VOTES: Mapping[str, Any] = {
    "best_confidence": BestConfidence, "confidence_sum": ConfidenceSum, "majority": Majority,
    "unanimous": Unanimous, "weighted": Weighted, "weighted_majority": WeightedMajority,
}  # fmt: skip
_EXECUTIONS: Mapping[str, Any] = {
    "cascade": Cascade, "hedged": FixedHedge, "parallel": Parallel, "quorum": Quorum,
    "sequential": Sequential,
}  # fmt: skip
_STOPS: Mapping[str, Any] = {
    "consensus": Consensus, "decided": Decided, "posterior": Posterior, "sprt": Sprt,
}  # fmt: skip
Calibration = Literal["refuse", "assume"]


def _by_name(given: Any) -> Any:
    return {"name": given} if isinstance(given, str) else given


class _Choice(BaseModel):
    """A choice by name, with the options that this choice has."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def options(self) -> dict[str, Any]:
        """Return what was given besides the name."""
        given = {name: getattr(self, name) for name in self.model_fields_set - {"name"}}
        return {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}

    def check(self, kind: Any) -> None:
        """Raise `ValueError` for an option that the chosen kind does not have."""
        known = {f.name for f in fields(kind)}
        for option in sorted(self.model_fields_set - {"name"} - known):
            had = f"its options are {', '.join(sorted(known))}" if known else "it has none"
            raise ValueError(f"`{option}` is no option of {self.name!r}; {had}")  # type: ignore[attr-defined]


class VoteTable(_Choice):
    """How ballots are counted: a name, or `{ name = ..., options }`."""

    name: Literal[
        "best_confidence", "confidence_sum", "majority", "unanimous", "weighted",
        "weighted_majority",
    ]  # fmt: skip
    threshold: Literal["plurality", "absolute"] = "plurality"
    scope: Literal["asked", "answered"] = "asked"
    by: Literal["confidence", "accuracy"] = "confidence"
    classes: float | None = None
    calibration: Calibration = "refuse"
    missing: Literal["refuse", "accuracy", "drop"] = "refuse"

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        self.check(_VOTES[self.name])
        doubts = self.name in ("best_confidence", "confidence_sum") or (
            self.name == "weighted" and self.by == "confidence"
        )
        if doubts and self.calibration == "refuse":
            raise ValueError(
                f"{self.name!r} weighs raw confidences here, since a file cannot hold calibrators: "
                'say so with calibration = "assume", or build the ensemble in Python'
            )
        return self


class StopTable(_Choice):
    """When a sequential vote may stop."""

    name: Literal["consensus", "decided", "posterior", "sprt"]
    threshold: float = 0.7
    min_answers: int = 2
    target: float = 0.95
    alpha: float = 0.05
    beta: float = 0.05
    classes: float = 2.0

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        self.check(_STOPS[self.name])
        return self


class ExecutionTable(_Choice):
    """Who is asked when: a name, or `{ name = ..., options }`."""

    name: Literal["cascade", "hedged", "parallel", "quorum", "sequential"]
    order: Literal["given", "cheapest"] = "given"
    stop: Annotated[StopTable, BeforeValidator(_by_name)] = StopTable(name="decided")
    threshold: float | list[float] = 0.9
    min_models: int = 1
    calibration: Calibration = "refuse"
    delay_s: float = 1.0
    max_backups: int = 2

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        self.check(_EXECUTIONS[self.name])
        if self.name == "cascade" and self.calibration == "refuse":
            raise ValueError(
                "a cascade goes by raw confidences here, since a file cannot hold calibrators: "
                'say so with calibration = "assume", or build the ensemble in Python'
            )
        return self


class EnsembleTable(BaseModel):
    """Models that vote; `weights`, `accuracies` and `price_ranks` hold one number for each."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    models: list[str] = Field(min_length=1)
    vote: Annotated[VoteTable, BeforeValidator(_by_name)] = VoteTable(name="majority")
    execution: Annotated[ExecutionTable, BeforeValidator(_by_name)] = ExecutionTable(
        name="parallel"
    )
    normalise: Literal[
        "boolean", "code", "exact", "json", "lowercase_trim", "mcq", "none", "numeric", "text"
    ] = "text"
    samples: int = Field(default=1, ge=1)
    weights: list[float] | None = None
    accuracies: list[float] | None = None
    price_ranks: list[float] | None = None
    quorum: int | None = Field(default=None, ge=1)
    tie: Literal["seeded", "priority", "abstain"] = "seeded"
    confidence: Literal["reported", "logprobs", "verbalised", "self_consistency"] | None = None
    timeout_s: float = Field(default=120.0, gt=0)
    deadline_s: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_for_each(self) -> Self:
        for name in ("weights", "accuracies", "price_ranks"):
            given = getattr(self, name)
            if given is not None and len(given) != len(self.models):
                raise ValueError(f"`{name}` must be {len(self.models)} numbers, got {len(given)}")
        return self

    def races(self) -> bool:
        """Say whether a `hedge` of the condition races the members, and not copies of each."""
        return self.execution.name == "hedged"


def ensemble_of(
    at: EnsembleTable, models: "Sequence[Model]", *, name: str, hedger: "Hedger | None"
) -> "Ensemble":
    """Return the ensemble of a table.

    Parameters
    ----------
    at : EnsembleTable
    models : sequence of Model
        Those that the table names, opened.
    name : str
    hedger : Hedger, optional
        Decides when execution "hedged" sends a backup.

    Raises
    ------
    ValueError
        For options that no ensemble can serve together.
    """
    from crucible_ensemble import Ensemble
    from crucible_ensemble.member import Member

    several = range(len(models))
    members = [
        Member(
            models[n],
            weight=1.0 if at.weights is None else at.weights[n],
            accuracy=None if at.accuracies is None else at.accuracies[n],
            price_rank=None if at.price_ranks is None else at.price_ranks[n],
        )
        for n in several
    ]
    options = at.execution.options()
    if at.execution.name == "cascade":
        options.setdefault("order", "given")
    if "stop" in options:
        stop = at.execution.stop
        options["stop"] = _STOPS[stop.name](**stop.options())
    if hedger is not None and options:
        raise ValueError("`delay_s` and `max_backups` must be left out where there is a `hedge`")
    return Ensemble(
        members,
        vote=_VOTES[at.vote.name](**at.vote.options()),
        execution=_EXECUTIONS[at.execution.name](**options),
        normalise=at.normalise,
        samples=at.samples,
        quorum=at.quorum,
        tie=at.tie,
        confidence=at.confidence,
        timeout_s=at.timeout_s,
        deadline_s=at.deadline_s,
        hedger=hedger,
        name=name,
    )


def table_of(ensemble: "Ensemble") -> dict[str, Any]:
    """Return what a table says of an ensemble, but for its models; defaults are left out.

    Raises
    ------
    ValueError
        If no table can say it; the message names what.
    """
    panel, about = ensemble.panel, ensemble.fingerprint()
    members = panel.members
    if any(m.calibrator is not None for m in members):
        raise ValueError("an ensemble in a file cannot hold calibrators")
    normalise = str(about["normalise"])
    table: dict[str, Any] = {
        "vote": _said(panel.vote, _VOTES, "vote"),
        "normalise": normalise,
        "samples": about["samples"],
        "tie": panel.tie,
        "quorum": about.get("quorum"),
        "confidence": panel.confidence,
        "timeout_s": panel.timeout_s,
        "deadline_s": panel.deadline_s,
    }
    if "hedger" in about:  # its members are each other's backups, and the hedger says when
        table["execution"] = "hedged"
    elif panel.execution.name != "parallel":
        table["execution"] = _said(panel.execution, _EXECUTIONS, "execution")
    for name, field in (("accuracies", "accuracy"), ("price_ranks", "price_rank")):
        given = [getattr(m, field) for m in members]
        if any(value is not None for value in given):
            table[name] = [_number(value, name) for value in given]
    if any(m.weight != 1.0 for m in members):
        table["weights"] = [m.weight for m in members]
    default = EnsembleTable(models=["a model"])
    return {
        name: value
        for name, value in table.items()
        if name in ("vote", "execution") or value != getattr(default, name)
    }


def _number(value: float | None, name: str) -> float:
    if value is None:
        raise ValueError(f"`{name}` in a file must be given for every member, or for none")
    return value


def _said(choice: Any, known: Mapping[str, Any], role: str) -> Any:
    """Return a choice by its name, with the options that are not those of a file."""
    names = [name for name, kind in known.items() if type(choice) is kind]
    if not names:
        raise ValueError(f"`{role}` in a file cannot be {choice!r}")
    defaults = {"order": "given"} if role == "execution" else {}
    options = {}
    for field in fields(choice):
        value = getattr(choice, field.name)
        if field.name == "stop":
            value = _said(value, _STOPS, "stop")
            if value != "decided":
                options["stop"] = value
        elif value != defaults.get(field.name, field.default):
            options[field.name] = list(value) if isinstance(value, tuple) else value
    return {"name": names[0], **options} if options else names[0]
