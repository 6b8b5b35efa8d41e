"""The question, fixed in a file before the first call, and what was done otherwise."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crucible_harness.claims import Hypothesis
from crucible_harness.clock import Clock, SystemClock, utc
from crucible_harness.errors import PreregistrationError
from crucible_harness.experiment import Experiment, canonical
from crucible_harness.files import replace_file
from crucible_harness.folder import Folder, git_state
from crucible_harness.metrics import metric_of

if TYPE_CHECKING:
    from crucible_bench import Preregistration as Question
    from crucible_harness.hypotheses import HypothesisResult
    from crucible_harness.metrics import Metric
    from crucible_harness.recorded import RecordedRun

SCHEMA = "crucible-harness/preregistration/1"
FILE = "preregistration.json"
# They say nothing about what is measured or decided.
_FREE = ("schema", "name", "description", "authors", "tags", "dataset.provenance")
# A comparison of the harness knows neither; the verdict and the correction are made around it.
_NOT_IN_COMPARISON = ("sesoi", "correction", "alternative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preregistration:
    """What is asked, of what, and how it will be decided, as it stood at `registered`.

    Attributes
    ----------
    design_digest : str
        SHA-256 of the design, the digest that names the run folder.
    design : mapping
        The whole design: items' fingerprint, conditions, metrics, hypotheses, stopping, seed.
    questions : tuple of crucible_bench.Preregistration
        One for each confirmatory hypothesis.
    analysis_plan : str
    n_planned : int
        Items.
    stopping_rule : str
    exclusions : tuple of str
    git_commit : str or None
        None outside of a checkout.
    git_dirty : bool or None
        Whether there were changes that no commit holds.
    registered : str
        UTC time.
    """

    design_digest: str
    design: Mapping[str, Any]
    questions: "tuple[Question, ...]"
    analysis_plan: str
    n_planned: int
    stopping_rule: str
    exclusions: tuple[str, ...]
    git_commit: str | None
    git_dirty: bool | None
    registered: str

    @property
    def digest(self) -> str:
        """SHA-256 of the plan as canonical JSON: what to publish."""
        return hashlib.sha256(canonical(self._plan()).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping, with the digest."""
        return {**self._plan(), "digest": self.digest}

    def _plan(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "design_digest": self.design_digest,
            "design": dict(self.design),
            "questions": [question.to_dict() for question in self.questions],
            "analysis_plan": self.analysis_plan,
            "n_planned": self.n_planned,
            "stopping_rule": self.stopping_rule,
            "exclusions": list(self.exclusions),
            "git_commit": self.git_commit,
            "git_dirty": self.git_dirty,
            "registered": self.registered,
        }


def preregister(
    experiment: Experiment, path: Path | str, *, clock: Clock | None = None
) -> Preregistration:
    """Write down what an experiment will ask and how it will be decided.

    Parameters
    ----------
    experiment : Experiment
        With at least one confirmatory hypothesis and two items.
    path : path of the JSON file to write
        It must not exist: a plan that can be written over is none.
    clock : Clock, optional
        Says when it was registered; the machine's by default.

    Raises
    ------
    ValueError
        If there is no confirmatory hypothesis, or the file exists.

    Notes
    -----
    Publish the file, or its `digest`, before the first call; `RunOptions(prereg=path)` then refuses
    an experiment that asks something else, and the report lists what was done otherwise.
    """
    file = Path(path)
    confirmatory = [h for h in experiment.hypotheses if h.kind == "confirmatory"]
    if not confirmatory:
        raise ValueError("`experiment` must have a confirmatory hypothesis to preregister")
    if file.exists():
        raise ValueError(f"`path` must not exist, got {str(file)!r}: a plan is not written over")
    commit, dirty = git_state()
    plan = Preregistration(
        design_digest=experiment.digest,
        design=json.loads(canonical(experiment.frozen)),
        questions=tuple(_question(h, experiment) for h in confirmatory),
        analysis_plan=analysis_plan(experiment),
        n_planned=len(experiment.dataset),
        stopping_rule=stopping_rule(experiment.frozen),
        exclusions=(),
        git_commit=commit,
        git_dirty=dirty,
        registered=utc(clock or SystemClock()),
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_file(file, json.dumps(plan.to_dict(), indent=1, sort_keys=True) + "\n")
    return plan


def read_preregistration(path: Path | str) -> Preregistration:
    """Read a plan that `preregister` wrote.

    Raises
    ------
    PreregistrationError
        If the file is no plan, or was changed: its digest is not that of its content.
    """
    from crucible_bench import Preregistration as Question

    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        stored = data.pop("digest")
        if data.pop("schema") != SCHEMA:
            raise ValueError(f"it is not of schema {SCHEMA}")
        plan = Preregistration(
            **{
                **data,
                "questions": tuple(Question.from_dict(q) for q in data["questions"]),
                "exclusions": tuple(data["exclusions"]),
            }
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise PreregistrationError(str(path), ("file",), f"it cannot be read: {error}") from error
    if plan.digest != stored:
        raise PreregistrationError(str(path), ("digest",), "it was changed after it was written")
    return plan


def check(experiment: Experiment, path: Path | str | None) -> None:
    """Refuse an experiment that does not ask what was preregistered, before the first call.

    Raises
    ------
    PreregistrationError
        `fields` names what differs, such as "hypotheses.h1.sesoi". Added metrics, conditions and
        exploratory hypotheses are let through and stand in the report as deviations.
    """
    if path is None:
        return
    plan = read_preregistration(path)
    refused = tuple(name for name, kind in _changes(plan.design, experiment.frozen) if kind == "!")
    if refused:
        raise PreregistrationError(str(path), refused)


def keep(folder: Folder, path: Path | str | None, *, finished: int) -> None:
    """Keep the plan in the run folder; `finished` cells were there before it was.

    Raises
    ------
    PreregistrationError
        If the run was started with another plan.
    """
    if path is None:
        return
    plan = read_preregistration(path)
    known = folder.manifest().get("preregistration")
    if known == plan.digest:
        return
    if known is not None:
        raise PreregistrationError(
            str(path), ("digest",), f"the run was started with another plan, {known[:8]}"
        )
    replace_file(folder.path / FILE, Path(path).read_bytes())
    folder.update(preregistration=plan.digest, cells_before_preregistration=finished)


def preregistered(folder: Path, manifest: Mapping[str, Any]) -> Preregistration | None:
    """Return the plan that a run was started with; None without one, or if it was tampered with."""
    if manifest.get("preregistration") is None:
        return None
    try:
        plan = read_preregistration(folder / FILE)
    except PreregistrationError:
        return None
    return plan if plan.digest == manifest["preregistration"] else None


def deviations(run: "RecordedRun", results: "Sequence[HypothesisResult]") -> tuple[str, ...]:
    """Say what was done otherwise than preregistered, found by comparison; () without a plan."""
    claimed = run.manifest.get("preregistration")
    plan = preregistered(run.path, run.manifest)
    if plan is None:
        return () if claimed is None else (
            "The run was started with a preregistration that is missing or was changed since.",
        )  # fmt: skip
    found = [_said(name, kind) for name, kind in _changes(plan.design, run.design)]
    before = int(run.manifest.get("cells_before_preregistration") or 0)
    if before:
        found.append(
            f"{before:,} cells were finished before the plan was registered with the run (a pilot)."
        )
    ids = [h["id"] for h in plan.design["hypotheses"] if h["kind"] == "confirmatory"]
    questions = dict(zip(ids, plan.questions, strict=True))
    for result in results:
        h, comparison = result.hypothesis, result.contrast.comparison
        question = questions.get(h.id)
        if question is None or comparison is None:
            continue
        found += [
            f"{h.id}: `{d.field}` was planned as {d.planned}, and is {d.actual}."
            for d in question.deviations(comparison)
            if d.field not in _NOT_IN_COMPARISON
        ]
        if result.contrast.left_out:
            found.append(
                f"{h.id}: {result.contrast.left_out:,} items were left out of the comparison; the "
                "plan excludes none."
            )
    return (*found, *_other_models(run))


def stopping_rule(design: Mapping[str, Any]) -> str:
    """Say when the run ends."""
    stopping = design.get("stopping")
    if not isinstance(stopping, Mapping) or stopping.get("kind") in (None, "FixedN", "fixed_n"):
        return "fixed n: every item is answered under every condition"
    rest = ", ".join(f"{k} {v}" for k, v in sorted(stopping.items()) if k != "kind")
    return f"{stopping['kind']}: {rest}" if rest else str(stopping["kind"])


def _question(h: Hypothesis, experiment: Experiment) -> "Question":
    from crucible_bench import Preregistration as Question

    metric = _metric(experiment.metrics, h.metric)
    family = [o for o in experiment.hypotheses if (o.kind, o.family) == (h.kind, h.family)]
    return Question(
        hypothesis=h.text
        or f"{h.id}: {h.metric} of {h.treatment} is {h.direction} than {h.control}",
        metric=h.metric,
        unit=metric.unit,
        control=h.control or "",
        treatment=h.treatment or h.label,
        higher_is_better=metric.higher_is_better,
        design="paired" if experiment.design.within else "independent",
        test="default",
        alternative="two-sided",
        alpha=h.alpha,
        confidence=1 - h.alpha,
        sesoi=h.sesoi,
        n_planned=len(experiment.dataset),
        correction="holm" if len(family) > 1 else "none",
        family=h.family,
        stopping_rule=stopping_rule(experiment.frozen),
    )


def _metric(metrics: "Iterable[Metric]", label: str) -> "Metric":
    found = metric_of(metrics, label)
    assert found is not None
    return found


def analysis_plan(experiment: Experiment) -> str:
    """Say how the confirmatory hypotheses will be decided."""
    claims = "; ".join(
        f"{h.id}: {h.contrast} in {h.metric}, {h.label}, {h.direction}, "
        f"smallest effect of interest {h.sesoi:g}, alpha {h.alpha:g}"
        for h in experiment.hypotheses
        if h.kind == "confirmatory"
    )
    across = "within" if experiment.design.within else "across"
    return (
        f"The item is the unit of analysis; conditions are compared {across} items and repeats are "
        "nested in them. Failed and unreadable answers count as wrong (intention to treat), "
        "complete cases stand beside. p-values are corrected by Holm's method within a family, "
        "verdicts rest on Bonferroni-simultaneous intervals against the smallest effect of "
        f"interest. {claims}."
    )


def _changes(planned: Mapping[str, Any], actual: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what differs: its place, and "!" for changed or removed, "+" for added."""
    planned, actual = json.loads(canonical(planned)), json.loads(canonical(actual))
    found: list[tuple[str, str]] = []
    for key in dict.fromkeys((*planned, *actual)):
        if key in _FREE:
            continue
        one, other = planned.get(key), actual.get(key)
        if key in ("conditions", "metrics", "hypotheses"):
            found += _by_name(key, one or [], other or [])
        else:
            found += [(place, "!") for place in _differing(key, one, other)]
    return found


def _by_name(key: str, planned: Sequence[Any], actual: Sequence[Any]) -> list[tuple[str, str]]:
    def name(entry: Mapping[str, Any]) -> str:
        if key == "metrics":
            return f"{entry['name']}:{entry['reducer']}"
        return str(entry["id" if key == "hypotheses" else "name"])

    one, other = {name(e): e for e in planned}, {name(e): e for e in actual}
    found: list[tuple[str, str]] = []
    for which in dict.fromkeys((*one, *other)):
        place = f"{key}.{which}"
        if which not in other:
            found.append((place, "!"))
        elif which not in one:
            # A confirmatory hypothesis that was not registered would pass for one that was.
            new = key == "hypotheses" and other[which]["kind"] == "confirmatory"
            found.append((place, "!" if new else "+"))
        else:
            found += [(p, "!") for p in _differing(place, one[which], other[which])]
    return found


def _differing(place: str, one: object, other: object) -> list[str]:
    if one == other or place in _FREE:
        return []
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = dict.fromkeys((*one, *other))
        return [p for k in keys for p in _differing(f"{place}.{k}", one.get(k), other.get(k))]
    return [place]


def _said(place: str, kind: str) -> str:
    if kind == "+":
        return f"`{place}` was added after the plan was registered."
    return f"`{place}` is not what was registered."


def _other_models(run: "RecordedRun") -> tuple[str, ...]:
    """Name what answered without being a version of a planned model."""
    planned = [
        name.rpartition("/")[2] for c in run.design["conditions"] for name in _leaves(c["model"])
    ]
    served = sorted({name for cell in run.cells for name in cell.served_by})
    strange = [s for s in served if not any(_version(s, name) for name in planned)]
    return tuple(f"{name} answered, and is no version of a planned model." for name in strange)


def _leaves(model: Any) -> list[str]:
    if not isinstance(model, Mapping):
        return []
    members = model.get("members")
    if members:
        return [name for member in members for name in _leaves(member)]
    return [str(model["model"])] if "model" in model else []


def _version(served: str, name: str) -> bool:
    return served.rpartition("/")[2].lower().startswith(name.lower())
