"""An experiment as a TOML file, with every mistake in it named."""

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crucible_harness.adapters import open_adapter
from crucible_harness.claims import Criterion, Hypothesis
from crucible_harness.conditions import Condition
from crucible_harness.dataset_ref import DatasetRef
from crucible_harness.designs import Design, read_design
from crucible_harness.errors import ConfigError, Problem
from crucible_harness.experiment import Experiment
from crucible_harness.options import Budget, ErrorPolicy, Limits, Retries, RunOptions
from crucible_harness.prompts import FewShot, Prompt
from crucible_harness.slo import LatencySLO, check_slo
from crucible_harness.stopping import AlwaysValid, FixedN, Stopping

if TYPE_CHECKING:
    from crucible_datasets import Dataset
    from crucible_ensemble import Model
    from crucible_ensemble.model import Hedger
    from crucible_harness.schema import (
        BudgetTable,
        ConditionTable,
        DatasetTable,
        DesignTable,
        ExperimentTable,
        ModelTable,
        PromptTable,
        StoppingTable,
    )


def load_experiment(
    path: Path | str, *, items: int | None = None, data: Path | str | None = None
) -> tuple[Experiment, RunOptions]:
    """Read an experiment from a TOML file.

    Parameters
    ----------
    path : path of the file
        Paths in it are relative to its folder.
    items : int, optional
        Use that many items instead of the `limit` or `sample_size` in the file.
    data : path, optional
        The data set's file, instead of the `path` in the file.

    Raises
    ------
    ConfigError
        If the file cannot be read, has unknown keys (the nearest known one is named) or wrong
        values. All problems are in one message, with their lines where these are known.
    DatasetsError, ModelNotFoundError, ModelNotAvailableError
        If the data set or a model cannot be opened.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(str(path), (reason,)) from error
    overrides = {"items": items, "data": None if data is None else str(Path(data).resolve())}
    origin = {"toml": text, "directory": str(file.resolve().parent), "overrides": overrides}
    return read_experiment(text, origin=origin, name=str(path))


def reload_experiment(folder: Path, manifest: Mapping[str, Any]) -> tuple[Experiment, RunOptions]:
    """Read the experiment of a run again from the copy of its file in the run folder.

    Raises
    ------
    NotARunError
        If the run did not come from a file.
    """
    from crucible_harness.errors import NotARunError

    file = folder / "design.toml"
    if manifest.get("origin") is None or not file.is_file():
        raise NotARunError(
            f"the experiment of {str(folder)!r} was built in Python: "
            "call resume() with `experiment`"
        )
    text = file.read_text(encoding="utf-8")
    return read_experiment(text, origin={**manifest["origin"], "toml": text}, name=str(file))


def read_experiment(
    text: str,
    *,
    origin: Mapping[str, Any],
    name: str,
    dataset: "Dataset | None" = None,
    open_model: "Callable[[str], Model] | None" = None,
) -> tuple[Experiment, RunOptions]:
    """Build an experiment from the text of a file; `name` is the file's in messages.

    `dataset` and `open_model` stand in for the data set and the models that the file names.
    """
    table = _validated(text, name)
    base = Path(origin["directory"])
    overrides = origin["overrides"]
    try:
        reference = None if dataset is not None else _dataset(table.dataset, base, overrides)
        items = dataset if reference is None else reference.load()
        assert items is not None
        models = _Models(table, base, table.seed, open_model)
        experiment = Experiment(
            table.name,
            dataset=items,
            conditions=[_condition(c, models, base) for c in table.conditions],
            metrics=table.metrics,
            seed=table.seed,
            hypotheses=[
                Hypothesis(
                    **{
                        **h.model_dump(exclude={"criteria"}),
                        "criteria": tuple(Criterion(**c.model_dump()) for c in h.criteria),
                    }
                )
                for h in table.hypotheses
            ],
            prompt=_prompt(table.prompt, base),
            design=_design(table.design),
            stopping=_stopping(table.stopping),
            share_responses=table.share_responses,
            authors=table.authors,
            tags=table.tags,
            repeats=table.repeats,
            baseline=table.baseline,
            description=table.description,
            origin=origin,
        )
        experiment.dataset_ref = reference
    except (ValueError, FileNotFoundError) as error:
        raise ConfigError(name, (str(error),)) from error
    options = RunOptions(
        concurrency=table.options.concurrency,
        timeout_s=table.options.timeout_s,
        deadline_s=table.options.deadline_s,
        durability=table.options.durability,
        retries=Retries(**table.options.retries.model_dump()),
        errors=ErrorPolicy(
            **{**table.options.errors.model_dump(), "fatal": tuple(table.options.errors.fatal)}
        ),
        budget=_budget(table.budget),
        per_provider={p: Limits(**at.model_dump()) for p, at in table.limits.items()},
        trace=table.options.trace,
        slo=tuple(LatencySLO(**at.model_dump()) for at in table.slo),
    )
    try:
        check_slo(options.slo, [condition.name for condition in experiment.conditions])
    except ValueError as error:
        raise ConfigError(name, (str(error),)) from error
    return experiment, options


def _budget(at: "BudgetTable | None") -> Budget | None:
    if at is None:
        return None
    prices = {
        name: (price[0], price[1]) if isinstance(price, list) else price
        for name, price in at.assume_price.items()
    }
    return Budget(**{**at.model_dump(), "assume_price": prices})


def _stopping(at: "StoppingTable | None") -> Stopping:
    return FixedN() if at is None else AlwaysValid(**at.model_dump())


class _Models:
    """Opens each model of a file once, however many conditions use it."""

    def __init__(
        self,
        table: "ExperimentTable",
        base: Path,
        seed: int,
        open_model: "Callable[[str], Model] | None" = None,
    ) -> None:
        self._tables, self._base, self._seed = table.models, base, seed
        self._stand_in = open_model
        self._open: dict[str, Model] = {}
        self._hedgers: dict[str, Hedger] = {}

    def of(self, condition: Any) -> "Model":
        """Return the model of a condition: one model, or an ensemble of hedged or plain members."""
        from crucible_ensemble import Ensemble
        from crucible_harness.voting import ensemble_of

        if condition.ensemble is None:
            asked = condition.model
            one = self.named(asked) if asked is not None else self._adapter(condition.adapter)
            model = self._hedged(one, condition)
            if condition.samples is None:
                return model
            return Ensemble([model], samples=condition.samples, name=condition.name)
        e = condition.ensemble
        members = [self.named(m) for m in e.models]
        if e.races():  # its members are each other's backups
            return ensemble_of(e, members, name=condition.name, hedger=self._hedger(condition))
        members = [self._hedged(m, condition) for m in members]
        return ensemble_of(e, members, name=condition.name, hedger=None)

    def named(self, name: str) -> "Model":
        """Return a model of the `[models]` table, or one opened by its name."""
        if name not in self._open:
            self._open[name] = self._make(name)
        return self._open[name]

    def _adapter(self, place: str) -> "Model":
        """Return an adapter that was trained by `crucible_lora`, opened once."""
        name = f"adapter {place}"
        if name not in self._open:
            self._open[name] = (
                open_adapter(place, base=self._base)
                if self._stand_in is None
                else self._stand_in(name)
            )
        return self._open[name]

    def _make(self, name: str) -> "Model":
        if self._stand_in is not None:
            return self._stand_in(name)
        from crucible_ensemble import CassetteModel, open_model

        at = self._tables.get(name)
        if at is None:
            return open_model(name)
        recorded = None if at.cassette is None else self._base / at.cassette
        model = None
        if recorded is None or at.cassette_mode != "replay":
            model = open_model(at.model, **self._provider_options(at))
        if recorded is None:
            assert model is not None
            return model
        return CassetteModel(model, recorded, mode=at.cassette_mode, name=at.model)

    def _provider_options(self, at: "ModelTable") -> dict[str, Any]:
        options = at.model_dump(
            exclude={"model", "cassette", "cassette_mode", "api_key_env"}, exclude_none=True
        )
        if at.api_key_env is not None:
            key = os.environ.get(at.api_key_env)
            if not key:
                raise ValueError(f"the environment variable {at.api_key_env} is not set")
            options["api_key"] = key
        return options

    def _hedged(self, model: "Model", condition: Any) -> "Model":
        from crucible_ensemble import hedged

        hedger = self._hedger(condition)
        return model if hedger is None else hedged(model, hedger=hedger)

    def _hedger(self, condition: Any) -> "Hedger | None":
        """Return the one hedger of a condition: it learns from all its calls, on one budget."""
        if condition.hedge is None:
            return None
        from crucible_hedging import Hedger

        if condition.name not in self._hedgers:
            h, e = condition.hedge, condition.ensemble
            backups = len(e.models) - 1 if e is not None and e.races() else 1
            self._hedgers[condition.name] = Hedger(h.delay, budget=h.budget, max_backups=backups)
        return self._hedgers[condition.name]


def _condition(at: "ConditionTable", models: _Models, base: Path) -> Condition:
    return Condition(
        at.name,
        None if at.call is not None else models.of(at),
        call=None if at.call is None else _function(at.call, base),
        prompt=None if at.prompt is None else _prompt(at.prompt, base),
        temperature=at.temperature,
        max_tokens=at.max_tokens,
        stop=tuple(at.stop),
        factors=at.factors,
        fingerprint=at.fingerprint,
    )


def _function(name: str, base: Path) -> Any:
    """Return "module:function", from a module beside the file or from an installed one."""
    import importlib
    from importlib.util import module_from_spec, spec_from_file_location

    module, _, function = name.partition(":")
    beside = base / f"{module.replace('.', '/')}.py"
    try:
        if beside.is_file():
            spec = spec_from_file_location(module, beside)
            assert spec is not None
            assert spec.loader is not None
            loaded = module_from_spec(spec)
            spec.loader.exec_module(loaded)
        else:
            loaded = importlib.import_module(module)
    except Exception as error:
        raise ValueError(
            f"`call` {name!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    found = getattr(loaded, function, None)
    if not callable(found):
        raise ValueError(f"`call` {name!r}: {module!r} has no function {function!r}")
    return found


def _prompt(at: "PromptTable", base: Path) -> Prompt:
    shots = at.few_shot
    return Prompt(
        at.template,
        system=at.system,
        style=at.style,
        few_shot=None
        if shots is None
        else FewShot(
            shots.n, _dataset(shots.dataset, base, {}), shots.seed, stratify_by=shots.stratify_by
        ),
        chain_of_thought=at.chain_of_thought,
        answer_hint=at.answer_hint,
    )


def _design(at: "DesignTable") -> Design:
    return read_design({"kind": at.kind, **at.model_dump(include=at.model_fields_set - {"kind"})})


def _dataset(at: "DatasetTable", base: Path, overrides: Mapping[str, Any]) -> DatasetRef:
    from crucible_datasets.loaders.tabular import FieldMap

    if at.limit is not None and at.sample_size is not None:
        raise ValueError("dataset: `limit` and `sample_size` must not both be given")
    wanted, f = overrides.get("items"), at.fields
    return DatasetRef(
        name=at.name,
        split=at.split,
        path=overrides.get("data") or (None if at.path is None else str(base / at.path)),
        limit=wanted if wanted is not None and at.sample_size is None else at.limit,
        sample_size=wanted if wanted is not None and at.sample_size is not None else at.sample_size,
        seed=at.seed,
        fields=None if f is None else FieldMap(f.input, f.expected, f.id, tuple(f.metadata)),
        task=at.task,
        check_counts=at.check_counts,
    )


def _validated(text: str, name: str) -> "ExperimentTable":
    from pydantic import ValidationError

    from crucible_harness.grids import expand
    from crucible_harness.schema import ExperimentTable

    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(name, (f"not TOML: {error}",)) from error
    try:
        return ExperimentTable.model_validate(expand(data))
    except ValidationError as error:
        raise ConfigError(name, tuple(_problems(error, text))) from error


def _problems(error: Any, text: str) -> Iterator[Problem]:
    from crucible_harness.schema import known_keys

    for found in error.errors():
        place = ".".join(str(part) for part in found["loc"] if part != "__root__")
        line = _line(text, found["loc"])
        where = f"line {line}: " if line else ""
        value = found["input"]
        if found["type"] == "extra_forbidden":
            known = known_keys(found["loc"][:-1])
            near = difflib.get_close_matches(str(found["loc"][-1]), known, n=1, cutoff=0.5)
            rule = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(sorted(known))}"
            said = f"unknown key `{place}`; {rule}"
        elif found["type"] == "missing":
            rule, value = "must be given", None
            said = f"`{place}` is missing"
        else:
            rule = str(found["msg"]).removeprefix("Value error, ")
            got = "" if isinstance(value, dict | list) else f", got {value!r}"
            said = f"`{place}`: {rule}{got}" if place else rule
        yield Problem(text=f"{where}{said}", line=line, key=place or None, rule=rule, value=value)


def _line(text: str, place: tuple[Any, ...]) -> int | None:
    """Return the line that sets the last key of a place, if only one does."""
    names = [part for part in place if isinstance(part, str)]
    if not names:
        return None
    pattern = re.compile(rf'(?:^|[{{,\[.])\s*"?{re.escape(names[-1])}"?\s*(?:=|\])')
    lines = [n for n, line in enumerate(text.splitlines(), 1) if pattern.search(line)]
    if len(names) == 1 and lines:  # keys of the file itself stand before every table
        return lines[0]
    return lines[0] if len(lines) == 1 else None
