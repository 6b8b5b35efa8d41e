"""One answer from several runs: the same hypothesis on other data, models' versions or days."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crucible_harness.errors import NotComparableError

if TYPE_CHECKING:
    from crucible_bench.meta import MetaAnalysis
    from crucible_harness.hypotheses import HypothesisResult
    from crucible_harness.recorded import RecordedRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One run's effect: treatment - control, with its variance over items.

    `interval` is the run's own, at its own confidence.
    """

    run: str
    digest: str
    n: int
    effect: float
    variance: float
    interval: tuple[float, float] | None
    outcome: str
    preregistered: bool
    simulated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaReport:
    """Several runs of one hypothesis, pooled.

    Attributes
    ----------
    hypothesis, metric, unit, treatment, control : str
    studies : tuple of Study
    pooled : crucible_bench MetaAnalysis
        REML, with the standard error of Hartung, Knapp, Sidik and Jonkman.
    differences : mapping of a part of the design to its value in each run
        Only parts that differ.
    sentence : str
    """

    hypothesis: str
    metric: str
    unit: str
    treatment: str
    control: str
    studies: tuple[Study, ...]
    pooled: "MetaAnalysis"
    differences: Mapping[str, tuple[str, ...]]
    sentence: str
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        from dataclasses import asdict

        return {
            "schema": "crucible-harness/meta-report/1",
            "hypothesis": self.hypothesis,
            "metric": self.metric,
            "unit": self.unit,
            "treatment": self.treatment,
            "control": self.control,
            "studies": [asdict(study) for study in self.studies],
            "pooled": self.pooled.to_dict(),
            "differences": {key: list(values) for key, values in self.differences.items()},
            "sentence": self.sentence,
            "warnings": list(self.warnings),
        }

    def to_report(self) -> dict[str, Any]:
        """Return verdict, forest, runs and how they differ, for `report()`."""
        from crucible_harness.report.charts import forest

        pooled, interval = self.pooled, self.pooled.interval
        rows: list[dict[str, Any]] = [
            {"label": s.run, "value": s.effect, "low": low, "high": high, "weight": 100 * weight}
            for s, weight in zip(self.studies, pooled.weights, strict=True)
            for low, high in [s.interval or (None, None)]
        ]
        total = {
            "label": "pooled", "value": pooled.estimate,
            "low": None if interval is None else interval.low,
            "high": None if interval is None else interval.high,
        }  # fmt: skip
        spoken = "; ".join(f"{row['label']} {row['value']:+.3f}" for row in [*rows, total])
        differing: Sequence[Sequence[object]] = [
            [name, *values] for name, values in self.differences.items()
        ]
        sections = [
            {
                "title": "Answer",
                "text": "\n\n".join((self.sentence, *self.warnings)),
                "chart": forest(rows, total, unit=f"{self.metric}, {self.unit}".rstrip(", ")),
                "alt": f"Differences with 95 % intervals by run, and pooled: {spoken}.",
            },
            {
                "title": "Runs",
                "table": {
                    "columns": ["run", "items", "difference", "low", "high", "variance",
                                "weight in %", "verdict", "preregistered", "simulated"],
                    "rows": [
                        [s.run, s.n, s.effect, row["low"], row["high"], s.variance, row["weight"],
                         s.outcome, s.preregistered, s.simulated]
                        for s, row in zip(self.studies, rows, strict=True)
                    ],
                },
            },
            {
                "title": "Pooled",
                "text": "Random effects by restricted maximum likelihood (Viechtbauer 2005), "
                "standard error of Hartung, Knapp, Sidik and Jonkman (IntHout et al. 2014). "
                + " ".join(f"{reason.capitalize()}." for reason in pooled.reasons),
                "table": {"columns": ["", "value"], "rows": self._pooled_rows()},
            },
            {
                "title": "How the runs differ",
                "text": "" if differing else "In nothing that their designs record.",
                "table": {"columns": ["", *(s.run for s in self.studies)], "rows": differing}
                if differing
                else None,
            },
        ]  # fmt: skip
        return {
            "title": f"{self.treatment} against {self.control}: {len(self.studies)} runs",
            "subtitle": f"Hypothesis {self.hypothesis}, {self.metric}",
            "sections": sections,
        }

    def _pooled_rows(self) -> list[list[object]]:
        p = self.pooled
        bounds = [
            [f"{name}, {end}", getattr(interval, end, None)]
            for name, interval in (
                ("95 % interval", p.interval), ("prediction interval", p.prediction)
            )
            for end in ("low", "high")
        ]  # fmt: skip
        return [
            ["estimate", p.estimate], ["standard error", p.standard_error], *bounds,
            ["p", p.p_value], ["tau²", p.tau2], ["I² in %", p.i2], ["Q", p.q],
            ["p of Q", p.q_p_value],
        ]  # fmt: skip


def compare(paths: Sequence[Path | str], *, hypothesis: str) -> MetaReport:
    """Pool one hypothesis over several runs.

    Parameters
    ----------
    paths : at least two run folders
    hypothesis : str
        Its id, the same in each run.

    Raises
    ------
    NotComparableError
        If the hypothesis is missing in a run, has another metric, direction or conditions there,
        or has no variance to weigh it by; `run` and `field` say where.
    ValueError
        If there are fewer than two runs, or one is given twice.
    NotARunError
        If a folder holds no run.

    Notes
    -----
    The effect of a run is its difference over items with failures counted; its variance is that of
    the mean of item differences. Runs are pooled by `crucible_bench.meta.meta_analysis`. Each run
    answers for items of its own: pooling runs on the same items understates the uncertainty, and
    the report warns of it.
    """
    from crucible_bench.meta import meta_analysis
    from crucible_harness.analysis import analyse_run
    from crucible_harness.recorded import load_run

    folders = [Path(path) for path in paths]
    if len(folders) < 2:
        raise ValueError(f"`paths` must name at least 2 runs, got {len(folders)}")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ValueError("`paths` must name each run once")
    runs = [load_run(folder) for folder in folders]
    results = [_result(run, hypothesis, analyse_run(run)) for run in runs]
    first = results[0]
    for run, result in zip(runs[1:], results[1:], strict=True):
        _same_question(run, result, first)
    studies = tuple(_study(run, result) for run, result in zip(runs, results, strict=True))
    pooled = meta_analysis([s.effect for s in studies], [s.variance for s in studies])
    h = first.hypothesis
    return MetaReport(
        hypothesis=hypothesis,
        metric=first.metric,
        unit=first.unit,
        treatment=str(h.treatment),
        control=str(h.control),
        studies=studies,
        pooled=pooled,
        differences=_differences(runs, results),
        sentence=_sentence(first, studies, pooled),
        warnings=tuple(_warnings(runs, studies)),
    )


def _result(run: "RecordedRun", hypothesis: str, analysis: Any) -> "HypothesisResult":
    for result in (*analysis.hypotheses, *analysis.exploratory):
        if result.hypothesis.id == hypothesis:
            found: HypothesisResult = result
            return found
    known = ", ".join(r.hypothesis.id for r in analysis.hypotheses) or "none"
    raise NotComparableError(run.path.name, "hypothesis", f"has no {hypothesis!r} (it has {known})")


def _same_question(
    run: "RecordedRun", result: "HypothesisResult", first: "HypothesisResult"
) -> None:
    for name in ("metric", "direction", "treatment", "control", "contrast"):
        one, other = getattr(first.hypothesis, name), getattr(result.hypothesis, name)
        if one != other:
            raise NotComparableError(
                run.path.name, name, f"asks about {name} {other!r}, the first run about {one!r}"
            )


def _study(run: "RecordedRun", result: "HypothesisResult") -> Study:
    contrast = result.contrast
    variance = _variance(run, result)
    if contrast.estimate is None or variance is None or not variance > 0:
        reason = contrast.reason or "its items do not vary"
        raise NotComparableError(
            run.path.name, "variance", f"has no variance to weigh it by: {reason}"
        )
    return Study(
        run=run.path.name,
        digest=run.digest,
        n=contrast.n,
        effect=contrast.estimate,
        variance=variance,
        interval=contrast.interval,
        outcome=result.outcome,
        preregistered=run.preregistered,
        simulated=run.simulated,
    )


def _variance(run: "RecordedRun", result: "HypothesisResult") -> float | None:
    """Return the variance of a mean of item differences; None for other contrasts."""
    import numpy as np

    from crucible_harness.criteria import metric_named
    from crucible_harness.observations import by_item, observe, paired

    h = result.hypothesis
    if result.contrast.kind != "difference":
        raise NotComparableError(
            run.path.name, "contrast", f"compares a {result.contrast.kind}; differences are pooled"
        )
    data = observe(run, metric_named(run, h.metric)).counted
    control, treatment = paired(data[str(h.control)], data[str(h.treatment)])
    differences = by_item(treatment) - by_item(control)
    differences = differences[np.isfinite(differences)]
    if differences.size < 2:
        return None
    return float(differences.var(ddof=1) / differences.size)


def _differences(
    runs: "Sequence[RecordedRun]", results: "Sequence[HypothesisResult]"
) -> dict[str, tuple[str, ...]]:
    rows: dict[str, tuple[str, ...]] = {
        "data set": tuple(_dataset(run.design) for run in runs),
        "items": tuple(str(run.design["dataset"].get("items", "unknown")) for run in runs),
        "prompt": tuple(str(run.design["prompt"].get("template", "unknown")) for run in runs),
        "repeats": tuple(str(run.design["repeats"]) for run in runs),
        "seed": tuple(str(run.design["seed"]) for run in runs),
    }
    h = results[0].hypothesis
    for role, name in (("treatment", h.treatment), ("control", h.control)):
        rows[f"model of the {role}"] = tuple(_model(run.design, str(name)) for run in runs)
    rows["smallest effect of interest"] = tuple(f"{r.hypothesis.sesoi:g}" for r in results)
    rows["models served"] = tuple(
        ", ".join(sorted({name for cell in run.cells for name in cell.served_by})) or "not reported"
        for run in runs
    )
    rows["versions"] = tuple(
        str(run.manifest["versions"].get("crucible-harness", "unknown")) for run in runs
    )
    rows["begun"] = tuple(str(run.manifest.get("started", "unknown")) for run in runs)
    return {name: values for name, values in rows.items() if len(set(values)) > 1}


def _warnings(runs: "Sequence[RecordedRun]", studies: Sequence[Study]) -> Iterator[str]:
    prints = [run.design["dataset"].get("fingerprint") for run in runs]
    if len(set(prints)) < len(prints):
        yield (
            "Some runs asked the same items: their effects are not independent, and the interval "
            "is too short for a claim about other items."
        )
    if len(runs) < 5:
        yield f"{len(runs)} runs say little about how much the effect varies between runs."
    simulated = [study.run for study in studies if study.simulated]
    if simulated:
        yield f"Simulated: answers in {', '.join(simulated)} come from simulated models."


def _dataset(design: Mapping[str, Any]) -> str:
    name, split = design["dataset"]["name"], design["dataset"].get("split")
    fingerprint = str(design["dataset"].get("fingerprint", ""))[:8]
    return f"{name} ({split}) {fingerprint}" if split else f"{name} {fingerprint}"


def _model(design: Mapping[str, Any], condition: str) -> str:
    from crucible_harness.experiment import canonical

    for c in design["conditions"]:
        if c["name"] == condition:
            model = c["model"]
            options = f"temperature {c.get('temperature')}, max_tokens {c.get('max_tokens')}"
            named = isinstance(model, Mapping) and (model.get("model") or model.get("ensemble"))
            return f"{named or canonical(model)}; {options}"
    return "unknown"


def _sentence(first: "HypothesisResult", studies: Sequence[Study], pooled: "MetaAnalysis") -> str:
    h, interval = first.hypothesis, pooled.interval
    text = (
        f"Over {len(studies)} runs and {sum(s.n for s in studies):,} items, {h.treatment} minus "
        f"{h.control} in {first.metric} is {pooled.estimate:+.4f}"
    )
    if interval is None or interval.low is None or interval.high is None:
        return f"{text}; there is no interval: {'; '.join(pooled.reasons)}."
    text += f", 95 % CI [{interval.low:+.4f}, {interval.high:+.4f}]"
    inside = interval.low <= 0 <= interval.high
    text += f" (HKSJ); zero is {'not ' if inside else ''}excluded."
    if pooled.i2 is not None and pooled.tau2 is not None:
        text += f" Between the runs tau² is {pooled.tau2:.3g}, I² {pooled.i2:.0f} %."
    return text
