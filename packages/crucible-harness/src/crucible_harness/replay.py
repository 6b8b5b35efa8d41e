"""Every cell of a run once more, answered from its journal alone."""

import copy
import json
import sqlite3
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from crucible_datasets import Dataset, Item
from crucible_datasets.items import FileHash, Provenance
from crucible_ensemble import Completion, Model
from crucible_ensemble import errors as model_errors
from crucible_ensemble.model import Prompt
from crucible_ensemble.prompts import to_messages
from crucible_harness.conditions import Condition
from crucible_harness.errors import DesignMismatchError, NotARunError
from crucible_harness.experiment import Experiment, canonical
from crucible_harness.fingerprints import structure
from crucible_harness.folder import Folder, folder_of
from crucible_harness.journal import Journal
from crucible_harness.judging import JudgeScorer
from crucible_harness.metrics import Metric
from crucible_harness.offline import no_sockets
from crucible_harness.options import ErrorPolicy, RunOptions
from crucible_harness.prompts import ItemLike
from crucible_harness.recorded import RecordedRun
from crucible_harness.stopping import FixedN
from crucible_harness.sync import blocking
from crucible_harness.tables import TABLES

# What a cell said. Latency and the backups of a race depend on the clock and are not compared.
_OUTPUTS = ("messages", "output", "answer", "unextracted", "scores", "votes", "error_class")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """Number of cells executed again, and those that came out differently."""

    cells: int
    different: tuple[str, ...]


class NotInJournalError(Exception):
    """A cell asks for a call that was never written down."""


def replay(run: RecordedRun, experiment: Experiment) -> Replayed:
    """Execute every finished cell again; only the journal answers, and no socket may be opened.

    Raises
    ------
    HarnessError
        If the experiment cannot be carried out.

    Notes
    -----
    The journal is copied without its cells, and the run is taken up on the copy with models that
    have names and fingerprints but cannot answer. A race is replayed as the copy that was answered.
    """
    journal = Folder(run.path).open_journal()
    try:
        failures, then = _failures(journal), dict(journal.cells())
        answers = [call for call in journal.calls() if call["response"] is not None]
    finally:
        journal.close()
    stand_in = copy.copy(experiment)
    stand_in.conditions = tuple(
        cast("Condition", _Recorded(condition, failures)) for condition in experiment.conditions
    )
    stand_in.metrics = tuple(_unasked(metric, failures) for metric in experiment.metrics)
    with tempfile.TemporaryDirectory(prefix="crucible-replay-") as directory:
        again = folder_of(experiment, directory)
        again.path.mkdir(parents=True)
        _write_answers(again.journal, experiment, answers)
        options = RunOptions(
            directory=directory,
            telemetry=False,
            progress="none",
            errors=ErrorPolicy(max_failure_rate=1.0, fatal=()),
        )

        async def main() -> None:
            from crucible_harness.runner import run as carry_out

            with no_sockets():
                await carry_out(stand_in, options=options)

        blocking(main)
        now = _cells(again)
    # A sequential design stops where it stopped; what ran beyond is not asked for again.
    beyond = set(then) - set(now) if _is_sequential(experiment) else set()
    different = [
        key for key in then if key not in beyond and _said(then[key]) != _said(now.get(key))
    ]
    return Replayed(
        cells=len(then) - len(beyond),
        different=tuple(f"{c} on {i}, repeat {r}" for c, i, r in sorted(different)),
    )


def rebuild(run: RecordedRun) -> Experiment:
    """Build the experiment of a run from its folder, with models that cannot answer.

    Neither data file, weights nor keys are needed: the items are those of the folder, and a model
    is the fingerprint that the design holds.

    Raises
    ------
    NotARunError
        If the experiment was built in Python.
    ConfigError
        If the file in the folder cannot be read, or calls functions that are not here.
    DesignMismatchError
        If it gives another design.
    """
    from crucible_harness.config import read_experiment

    file = run.path / "design.toml"
    origin = run.manifest.get("origin")
    if origin is None or not file.is_file():
        raise NotARunError("the experiment was built in Python")
    text = file.read_text(encoding="utf-8")
    dataset = items_of(run)
    opened: dict[str, _StandIn] = {}

    def open_stand_in(name: str) -> Model:
        return opened.setdefault(name, _StandIn({"model": name}, {}))

    def build() -> Experiment:
        return read_experiment(
            text, origin={**origin, "toml": text}, name=str(file), dataset=dataset,
            open_model=open_stand_in,
        )[0]  # fmt: skip

    # Once to see which model of the file stands where in the design, once with the fingerprints.
    for condition, planned in zip(build().conditions, run.design["conditions"], strict=False):
        if condition.call is None:
            _identify(cast("Model", condition.model), planned["model"])
    experiment = build()
    if experiment.digest != run.digest:
        frozen = json.loads(canonical(experiment.frozen))
        fields = tuple(key for key in run.design if run.design[key] != frozen.get(key))
        raise DesignMismatchError("design.toml", fields)
    return experiment


def items_of(run: RecordedRun) -> Dataset:
    """Return the items of a run as the data set that they were drawn from."""
    about = run.design["dataset"]
    known = {name: value for name, value in about["provenance"].items() if name != "schema"}
    known["files"] = tuple(FileHash(**file) for file in known["files"])
    known["derivations"] = tuple(known["derivations"])
    lines = (run.path / "items.jsonl").read_bytes().split(b"\n")[:-1]
    items = [_item(json.loads(line)) for line in lines]
    return Dataset(
        items, name=about["name"], split=about["split"], subset=about.get("subset"),
        task=about["task"], provenance=Provenance(**known),
    )  # fmt: skip


def _item(stored: dict[str, Any]) -> Item:
    if stored.get("choices") is not None:
        stored["choices"] = tuple(stored["choices"])
    return Item(**stored)


class _Recorded:
    """A condition whose models and function are not asked; in all else it is what it was."""

    def __init__(self, condition: Condition, failures: Mapping[str, tuple[str, str]]) -> None:
        self._condition, self._failures = condition, failures
        self.model = (
            None
            if condition.model is None
            else _without_answers(cast("Model", condition.model), failures)
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._condition, name)

    def answering(self, item: ItemLike) -> Model:
        return _without_answers(self._condition.answering(item), self._failures)


def _unasked(metric: Metric, failures: Mapping[str, tuple[str, str]]) -> Metric:
    """Return a metric whose judge, if it has one, is not asked."""
    if not isinstance(metric.scorer, JudgeScorer):
        return metric
    judge = copy.copy(metric.scorer)
    judge.model = _without_answers(judge.model, failures)
    return replace(metric, scorer=judge)


class _StandIn:
    """Has a model's name and fingerprint; fails as the model did, and otherwise knows nothing."""

    def __init__(self, identity: Mapping[str, Any], failures: Mapping[str, tuple[str, str]]):
        self.identity, self._failures = dict(identity), failures

    @property
    def name(self) -> str:
        return str(self.identity.get("model", "recorded"))

    def fingerprint(self) -> Mapping[str, Any]:
        return self.identity

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
        key = _asked(self.identity, to_messages(prompt), temperature, max_tokens, seed, stop)
        if key not in self._failures:
            raise NotInJournalError(f"{self.name} was not asked this")
        kind, message = self._failures[key]
        raise _error(kind, message)


class _Race:
    """A race that is over: the copy whose answer was written down is the answer."""

    races = True

    def __init__(self, name: str, identity: Mapping[str, Any], copies: Sequence[Model]) -> None:
        self.name, self._identity, self._copies = name, identity, tuple(copies)

    def members(self) -> Sequence[Model]:
        return self._copies

    def with_members(self, models: Sequence[Model]) -> "_Race":
        return _Race(self.name, self._identity, models)

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
        first: Exception | None = None
        for model in self._copies:
            try:
                answer = await model.generate(
                    prompt, temperature=temperature, max_tokens=max_tokens, seed=seed, stop=stop
                )
            except Exception as error:  # noqa: BLE001 - the next copy may have been answered
                first = first or error
            else:
                return Completion.of(answer, model=self.name)
        raise first or NotInJournalError(f"{self.name} has no copies")


def _without_answers(model: Model, failures: Mapping[str, tuple[str, str]]) -> Model:
    members = getattr(model, "members", None)
    if members is None:
        return _StandIn(structure(model), failures)
    inner = [_without_answers(member, failures) for member in members()]
    if getattr(model, "races", False):
        return _Race(model.name, dict(model.fingerprint()), inner)  # type: ignore[attr-defined]
    return model.with_members(inner)  # type: ignore[attr-defined, no-any-return]


def _identify(model: Model, planned: Mapping[str, Any]) -> None:
    """Give the stand-ins inside a model the fingerprints at the same places of the design."""
    if isinstance(model, _StandIn):
        model.identity = dict(planned)
        return
    members = getattr(model, "members", None)
    for member, inside in zip(
        members() if members else (), planned.get("members", ()), strict=False
    ):
        _identify(member, inside)


def _write_answers(to: Path, experiment: Experiment, answers: Sequence[Mapping[str, Any]]) -> None:
    """Write a journal that holds answered calls and no cells, so that each cell is executed."""
    Journal(to, design=experiment.frozen).close()
    columns = (*TABLES["calls"], "row_hash")
    database = sqlite3.connect(to)
    try:
        database.executemany(
            f"INSERT INTO calls ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
            [(*(call[name] for name in TABLES["calls"]), "") for call in answers],
        )
        database.commit()
    finally:
        database.close()


def _is_sequential(experiment: Experiment) -> bool:
    return not isinstance(experiment.stopping, FixedN)


def _cells(folder: Folder) -> dict[tuple[str, str, int], tuple[str, dict[str, Any]]]:
    opened = folder.open_journal()
    try:
        return dict(opened.cells())
    finally:
        opened.close()


def _said(cell: tuple[str, Mapping[str, Any]] | None) -> object:
    return None if cell is None else (cell[0], *(cell[1].get(name) for name in _OUTPUTS))


def _failures(journal: Journal) -> dict[str, tuple[str, str]]:
    """Return how each call that was never answered ended, by what was asked."""
    found: dict[str, tuple[str, str]] = {}
    for call in journal.calls():
        if call["response"] is None:
            r = json.loads(call["request"])
            key = _asked(
                r["model"], r["messages"], r["temperature"], r["max_tokens"], r["seed"], r["stop"]
            )
            found[key] = call["error_class"] or call["status"], call["error_message"] or ""
    return found


def _asked(identity: object, *rest: object) -> str:
    return canonical([identity, *(list(r) if isinstance(r, tuple) else r for r in rest)])


def _error(kind: str, message: str) -> Exception:
    """Return an error of the class that was written down."""
    known = getattr(model_errors, kind, None)
    if isinstance(known, type) and issubclass(known, model_errors.ModelError):
        return known(message)
    error: Exception = type(kind, (Exception,), {})(message)
    return error
