"""An experiment as the text of a file; what a file cannot say is refused, never left out."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from crucible_ensemble import CassetteModel, Ensemble, open_model
from crucible_harness.conditions import Condition
from crucible_harness.dataset_ref import DatasetRef
from crucible_harness.errors import ConfigError
from crucible_harness.options_toml import options_tables
from crucible_harness.stopping import AlwaysValid
from crucible_harness.voting import table_of
from crucible_hedging import Hedger

if TYPE_CHECKING:
    from crucible_harness.experiment import Experiment
    from crucible_harness.options import RunOptions

_POLICY = re.compile(
    r"(?P<delay>.+?), (?:no budget|budget (?P<budget>[^,]+))(?:, (?P<backups>\d+) backups)?"
)
_WORDS = ("adaptive", "exponential_backoff", "workload_aware", "off", "fixed")


def as_toml(experiment: "Experiment", options: "RunOptions | None" = None) -> str:
    """Return a file that `load_experiment` reads as the same design, and the same options.

    Raises
    ------
    ValueError
        If a file cannot say it: it names what.
    """
    from crucible_harness.config import read_experiment

    if experiment.origin is not None:
        return _changed_file(experiment, options)
    written = _Written(experiment)
    text = written.text(options)
    origin = {"toml": text, "directory": ".", "overrides": {}}
    try:
        again, read_options = read_experiment(
            text, origin=origin, name="to_toml()", dataset=experiment.dataset,
            open_model=written.opened.__getitem__,
        )  # fmt: skip
    except ConfigError as error:
        raise ValueError(f"a file cannot say this: {error}") from error
    if again.digest != experiment.digest:
        different = [k for k, v in experiment.frozen.items() if again.frozen[k] != v]
        raise ValueError(f"a file cannot say all of: {', '.join(different)}")
    for made, read in zip(experiment.conditions, again.conditions, strict=True):
        if _beside_the_digest(made.model) != _beside_the_digest(read.model):
            raise ValueError(
                f"condition {made.name!r}: a file cannot say names, families and ranks of members"
            )
    if options is not None and read_options != replace(options, slo=tuple(options.slo)):
        raise ValueError("a file cannot say all of `options`: they are read back as others")
    return text


def _beside_the_digest(model: Any) -> list[object]:
    """Return what an ensemble does otherwise without being another one in the design."""
    if not isinstance(model, Ensemble):
        return []
    panel = model.panel
    members = [(m.name, m.family, m.price_rank) for m in panel.members]
    return [panel.timeout_s, members, *map(_beside_the_digest, model.members())]


def _changed_file(experiment: "Experiment", options: "RunOptions | None") -> str:
    """Return the file that an experiment came from, with what was said beside it."""
    assert experiment.origin is not None
    text, overrides = str(experiment.origin["toml"]), experiment.origin["overrides"]
    if options is None and not any(overrides.values()):
        return text
    table = tomllib.loads(text)
    if any(overrides.values()):
        assert experiment.dataset_ref is not None
        table["dataset"] = experiment.dataset_ref.to_dict()
    if options is not None:
        for name in ("options", "budget", "limits", "slo"):
            table.pop(name, None)
        table |= options_tables(options)
    return _text(table)


def _text(document: Mapping[str, Any]) -> str:
    import tomli_w

    return tomli_w.dumps(_said(document))


def _said(value: Any) -> Any:
    """Return a value without None, which TOML does not have."""
    if isinstance(value, Mapping):
        return {name: _said(one) for name, one in value.items() if one is not None}
    if isinstance(value, list | tuple):
        return [_said(one) for one in value]
    return value


class _Written:
    """The tables of a file; `opened` has the models by the names that the file gives them."""

    def __init__(self, experiment: "Experiment") -> None:
        self.opened: dict[str, Any] = {}
        self._models: dict[str, dict[str, Any]] = {}
        self._top = dict(_top(experiment))
        self._conditions = [dict(self._condition(c)) for c in experiment.conditions]
        self._hypotheses = [_changed(h.to_dict(), _HYPOTHESIS) for h in experiment.hypotheses]

    def text(self, options: "RunOptions | None") -> str:
        """Return the file."""
        tables = {
            "models": self._models,
            "conditions": self._conditions,
            "hypotheses": self._hypotheses,
        }
        said = {} if options is None else options_tables(options)
        return _text(self._top | {name: table for name, table in tables.items() if table} | said)

    def _condition(self, condition: Condition) -> Iterator[tuple[str, Any]]:
        yield "name", condition.name
        if condition.call is not None:
            module, name = condition.call.__module__, condition.call.__qualname__
            if module == "__main__" or not name.isidentifier():
                raise ValueError(
                    f"condition {condition.name!r}: `call` must be a function of a module to be "
                    f"named in a file, got {module}.{name}"
                )
            yield "call", f"{module}:{name}"
        else:
            yield from self._answers(condition.model, condition.name).items()
        if condition.prompt is not None:
            yield "prompt", _prompt(condition.prompt)
        if condition.temperature is None:
            raise ValueError(
                f"condition {condition.name!r}: `temperature` None cannot be said in a file"
            )
        defaults = {"temperature": 0.0, "max_tokens": 1000, "stop": (), "factors": {},
                    "fingerprint": None}  # fmt: skip
        for name, default in defaults.items():
            if getattr(condition, name) != default:
                yield name, getattr(condition, name)

    def _answers(self, model: Any, condition: str) -> dict[str, Any]:
        """Return the keys that say what answers."""
        about = dict(model.fingerprint())
        members = getattr(model, "members", None)
        if members is None:
            return {"model": self._named(model, condition)}
        if about.get("hedged"):
            return {"model": self._named(members()[0], condition), "hedge": _hedge(about)}
        if "ensemble" not in about or about["ensemble"] != condition:
            raise ValueError(
                f"condition {condition!r}: an ensemble in a file has the condition's name, and "
                f"nothing else has members; got {getattr(model, 'name', model)!r}"
            )
        inner = [self._answers(member, condition) for member in members()]
        hedges = [one.get("hedge") for one in inner]
        if any(hedge != hedges[0] for hedge in hedges) or any("ensemble" in one for one in inner):
            raise ValueError(
                f"condition {condition!r}: the members of an ensemble in a file are models, all "
                "hedged alike or none"
            )
        try:
            options = table_of(model)
        except ValueError as error:
            raise ValueError(f"condition {condition!r}: {error}") from error
        hedge = _hedge({"policy": about["hedger"]}) if "hedger" in about else hedges[0]
        table = {"models": [one["model"] for one in inner], **options}
        return {"ensemble": table, **({"hedge": hedge} if hedge else {})}

    def _named(self, model: Any, condition: str) -> str:
        """Return the name of a model, with a table of its own where that does not say all."""
        name = str(getattr(model, "name", ""))
        if getattr(model, "members", None) is not None or "/" not in name:
            raise ValueError(f"condition {condition!r}: {name!r} cannot be opened from a file")
        about = dict(model.fingerprint())
        try:
            plain = open_model(name).fingerprint() == about  # type: ignore[attr-defined]
        except Exception:  # noqa: BLE001 - whatever keeps it from being opened, it is not the same
            plain = False
        if isinstance(model, CassetteModel) and model.mode == "replay":
            tape = str(model.path.absolute())
            self._models[name] = {"model": name, "cassette": tape, "cassette_mode": "replay"}
        elif not plain:
            if "base_url" not in about:
                raise ValueError(
                    f"condition {condition!r}: a {type(model).__name__} cannot be opened from a "
                    "file"
                )
            self._models[name] = {"model": name, "base_url": about["base_url"]}
        if self.opened.setdefault(name, model).fingerprint() != about:
            raise ValueError(f"condition {condition!r}: {name!r} names more than one model")
        return name


def _top(experiment: "Experiment") -> Iterator[tuple[str, Any]]:
    if experiment.dataset_ref is None:
        raise ValueError(
            "`dataset` must be a DatasetRef to be named in a file, got items that are loaded"
        )
    yield "name", experiment.name
    if experiment.description:
        yield "description", experiment.description
    yield "seed", experiment.seed
    for name, default in (("repeats", 1), ("baseline", None), ("share_responses", True),
                          ("authors", ()), ("tags", ())):  # fmt: skip
        if getattr(experiment, name) != default:
            yield name, getattr(experiment, name)
    yield "dataset", experiment.dataset_ref.to_dict()
    if experiment.prompt.to_dict() != {**experiment.prompt.to_dict(), **_PROMPT}:
        yield "prompt", _prompt(experiment.prompt)
    yield "metrics", [m.label for m in experiment.metrics]
    design = experiment.design.to_dict()
    if isinstance(design.get("factors"), list):
        design["factors"] = dict(design["factors"])
    yield "design", _changed(design, _DESIGN)
    if isinstance(experiment.stopping, AlwaysValid):
        yield "stopping", _changed(experiment.stopping.to_dict(), {"kind": "always_valid"})


_PROMPT = {"template": "{input}", "system": None, "style": None, "few_shot": None,
           "chain_of_thought": False, "answer_hint": None}  # fmt: skip
_DESIGN = {"block_by": None}
_HYPOTHESIS: dict[str, Any] = {
    "treatment": None, "control": None, "contrast": "difference", "factors": [], "alpha": 0.05,
    "family": "confirmatory", "kind": "confirmatory", "criteria": [], "text": "",
}  # fmt: skip


def _prompt(prompt: Any) -> dict[str, Any]:
    said = _changed(prompt.to_dict(), _PROMPT)
    shots = prompt.few_shot
    if shots is not None:
        if not isinstance(shots.pool, DatasetRef):
            raise ValueError(
                "`pool` of worked examples must be a DatasetRef to be named in a file, got items "
                "that are loaded"
            )
        said["few_shot"] = {
            "n": shots.n, "dataset": shots.pool.to_dict(), "seed": shots.seed,
            "stratify_by": shots.stratify_by,
        }  # fmt: skip
    return said


def _hedge(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the words of a file that make a hedger with this name."""
    policy = str(about["policy"])
    found = _POLICY.fullmatch(policy)
    try:
        budget = float(found["budget"]) if found and found["budget"] else None
    except ValueError:
        budget = None
    if found is None:
        raise ValueError(f"`hedge` in a file cannot say {policy!r}")
    if budget is None:
        raise ValueError(f"`hedge` in a file must have a budget that is a share, got {policy!r}")
    for delay in _delays(found["delay"]):
        try:
            named = Hedger(delay, budget=budget, max_backups=int(found["backups"] or 1)).name
        except ValueError:
            continue
        if named == policy:
            return {"delay": delay, "budget": budget}
    raise ValueError(f"`hedge` in a file cannot say {policy!r}")


def _delays(name: str) -> Iterator[str | float]:
    """Yield the words and numbers that a policy of this name may come from."""
    number = re.search(r"\(([\d.e+-]+)", name)
    if name.startswith("percentile(") and number:
        yield f"p{number[1]}"
    elif name.startswith("fixed(") and number:
        yield float(number[1])
    yield from _WORDS


def _changed(table: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in table.items() if k not in defaults or v != defaults[k]}
    for criterion in kept.get("criteria", ()):
        for bound in ("at_least", "at_most"):
            if criterion[bound] is None:
                del criterion[bound]
    return {k: v for k, v in kept.items() if v is not None}
