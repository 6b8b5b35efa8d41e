"""An experiment as the text of a file; what a file cannot say is refused, never left out."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from crucible_harness.conditions import Condition
from crucible_harness.errors import ConfigError
from crucible_harness.stopping import AlwaysValid

if TYPE_CHECKING:
    from crucible_harness.experiment import Experiment

_DELAY = re.compile(r"(?:percentile\((?P<p>[\d.]+)\)|fixed\((?P<s>[\d.]+) s\)), "
                    r"(?:no budget|budget (?P<budget>[\d.]+))")  # fmt: skip


def as_toml(experiment: "Experiment") -> str:
    """Return a file that `load_experiment` reads as the same design.

    Raises
    ------
    ValueError
        If a file cannot say it: it names what.
    """
    from crucible_harness.config import read_experiment

    written = _Written(experiment)
    text = written.text()
    origin = {"toml": text, "directory": ".", "overrides": {}}
    try:
        again, _ = read_experiment(
            text, origin=origin, name="to_toml()", dataset=experiment.dataset,
            open_model=written.opened.__getitem__,
        )  # fmt: skip
    except ConfigError as error:
        raise ValueError(f"a file cannot say this: {error}") from error
    if again.digest != experiment.digest:
        different = [k for k, v in experiment.frozen.items() if again.frozen[k] != v]
        raise ValueError(f"a file cannot say all of: {', '.join(different)}")
    return text


class _Written:
    """The tables of a file; `opened` has the models by the names that the file gives them."""

    def __init__(self, experiment: "Experiment") -> None:
        self.opened: dict[str, Any] = {}
        self._models: dict[str, dict[str, Any]] = {}
        self._top = dict(_top(experiment))
        self._conditions = [dict(self._condition(c)) for c in experiment.conditions]
        self._hypotheses = [_changed(h.to_dict(), _HYPOTHESIS) for h in experiment.hypotheses]

    def text(self) -> str:
        """Return the file."""
        lines = [f"{key} = {_value(value)}" for key, value in self._top.items()]
        for name, table in self._models.items():
            lines += ["", f"[models.{_value(name)}]", *_lines(table)]
        for kind, tables in (("conditions", self._conditions), ("hypotheses", self._hypotheses)):
            for table in tables:
                lines += ["", f"[[{kind}]]", *_lines(table)]
        return "\n".join(lines) + "\n"

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
        table = {"models": [one["model"] for one in inner]}
        table |= {k: about[k] for k in ("vote", "normalise", "samples", "tie")}
        if any(weight != 1.0 for weight in about["weights"]):
            table["weights"] = list(about["weights"])
        return {"ensemble": table, **({"hedge": hedges[0]} if hedges[0] else {})}

    def _named(self, model: Any, condition: str) -> str:
        """Return the name of a model, with a table of its own where that does not say all."""
        from crucible_ensemble import open_model

        name = str(getattr(model, "name", ""))
        if getattr(model, "members", None) is not None or "/" not in name:
            raise ValueError(f"condition {condition!r}: {name!r} cannot be opened from a file")
        about = dict(model.fingerprint())
        try:
            plain = open_model(name).fingerprint() == about  # type: ignore[attr-defined]
        except Exception:  # noqa: BLE001 - whatever keeps it from being opened, it is not the same
            plain = False
        if not plain:
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
    if prompt.few_shot is not None:
        raise ValueError("`few_shot` of a prompt that was made in Python cannot be said in a file")
    return _changed(prompt.to_dict(), _PROMPT)


def _hedge(about: Mapping[str, Any]) -> dict[str, Any]:
    found = _DELAY.fullmatch(str(about["policy"]))
    if found is None:
        raise ValueError(f"`hedge` in a file cannot say {about['policy']!r}")
    delay = f"p{found['p']}" if found["p"] else float(found["s"])
    if found["budget"] is None:
        raise ValueError("`hedge` in a file must have a budget")
    return {"delay": delay, "budget": float(found["budget"])}


def _changed(table: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in table.items() if k not in defaults or v != defaults[k]}
    for criterion in kept.get("criteria", ()):
        for bound in ("at_least", "at_most"):
            if criterion[bound] is None:
                del criterion[bound]
    return {k: v for k, v in kept.items() if v is not None}


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in table.items()]


def _value(value: Any) -> str:
    """Return a value as TOML: its basic strings are those of JSON, but for one character."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)
