"""How many items a hypothesis needs, before they are paid for."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crucible_harness.claims import Hypothesis
from crucible_harness.estimates import percentile_of
from crucible_harness.experiment import Experiment
from crucible_harness.metrics import Metric, metric_of

if TYPE_CHECKING:
    from crucible_bench.designs import Design as PowerDesign
    from crucible_harness.observations import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class PilotRates:
    """What is supposed about the variation, where no pilot was run.

    Attributes
    ----------
    treatment_only, control_only : float, in [0, 1], optional
        Of a 0/1 score: shares of items that only the treatment, and only the control, gets right.
    item_sd : float, > 0, optional
        Of any other metric: standard deviation over items of the true difference, in its unit.
    within_sd : (float, float), each >= 0
        Beside `item_sd`: standard deviation of one answer of control and of treatment around its
        item's mean.
    """

    treatment_only: float | None = None
    control_only: float | None = None
    item_sd: float | None = None
    within_sd: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        shares = self.treatment_only, self.control_only
        if (self.item_sd is None) == (None in shares):
            raise ValueError(
                "`treatment_only` and `control_only`, or `item_sd`, must be given, and not both"
            )
        for name, share in zip(("treatment_only", "control_only"), shares, strict=True):
            if share is not None and not 0 <= share <= 1:
                raise ValueError(f"`{name}` must be in [0, 1], got {share}")
        if self.item_sd is not None and not 0 < self.item_sd < math.inf:
            raise ValueError(f"`item_sd` must be > 0, got {self.item_sd}")
        if min(self.within_sd) < 0:
            raise ValueError(f"`within_sd` must be >= 0, got {self.within_sd}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a hypothesis needs, and what the data set at hand can show.

    Attributes
    ----------
    n : int or None
        Items (in `unit`) at which a true difference of the smallest effect of interest is told
        from zero with the power that was asked for; None where no number of items is enough.
    unit : str
    power : float or None
        The power that the data set's size reaches for that difference.
    detectable_effect : float or None
        The difference that the data set's size finds with the power that was asked for.
    enough : bool
        Whether the data set is large enough.
    inputs : mapping
        Everything that the numbers rest on.
    sentence : str
    """

    hypothesis: str
    n: int | None
    unit: str
    power: float | None
    detectable_effect: float | None
    enough: bool
    inputs: Mapping[str, Any]
    sentence: str
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        parts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            "schema": "crucible-harness/plan/1",
            **parts,
            "inputs": dict(self.inputs),
            "notes": list(self.notes),
        }


def plan(
    experiment: Experiment,
    hypothesis: str,
    *,
    pilot: "Path | str | PilotRates",
    power: float = 0.80,
) -> Plan:
    """Say how many items a hypothesis needs, and what the experiment's data set can show.

    Parameters
    ----------
    experiment : Experiment
    hypothesis : str
        Its id.
    pilot : path of a run folder, or PilotRates
        A run in which both conditions answered the same items, under the same names; or what is
        supposed about the variation.
    power : float, in (0, 1)

    Raises
    ------
    ValueError
        If there is no such hypothesis, the pilot does not hold its conditions and metric, or its
        contrast is one that is not planned here.
    NotARunError
        If the pilot is no run.

    Notes
    -----
    Planned is the difference that was declared to matter (`sesoi`), never the one that the pilot
    happened to show; only the variation is taken from the pilot. 0/1 scores: McNemar's mid-p test
    by exact enumeration, from the share of discordant items. Other means, and repeats: the variance
    of item differences [1]_. Percentiles: simulated from the control's pilot values for two
    independent groups, which is more than paired items need. Alpha is divided by the number of
    confirmatory hypotheses in the family, as the verdict's intervals are. To be called "supported",
    the whole interval must lie beyond the smallest effect: that takes a true difference larger than
    it.

    References
    ----------
    .. [1] E. Miller, Adding Error Bars to Evals, arXiv:2411.00640, 2024, section on planning.
    """
    h = _hypothesis(experiment, hypothesis)
    metric = metric_of(experiment.metrics, h.metric)
    assert metric is not None
    if h.contrast != "difference":
        raise ValueError(f"`hypothesis` must claim a difference to be planned, {h.id!r} claims a "
                         f"{h.contrast}")  # fmt: skip
    if not experiment.design.within:
        raise ValueError(
            "`experiment` must compare its conditions within items to be planned; across items, "
            "crucible_bench.power has TwoProportions and TwoSampleT"
        )
    if not 0 < power < 1:
        raise ValueError(f"`power` must be in (0, 1), got {power}")
    family = [
        o
        for o in experiment.hypotheses
        if h.kind == o.kind == "confirmatory" and o.family == h.family
    ]
    alpha = h.alpha / max(1, len(family))
    design, inputs = _design(experiment, h, metric, pilot)
    n_items = len(experiment.dataset)
    inputs = {
        **inputs, "sesoi": h.sesoi, "alpha": alpha, "family": max(1, len(family)),
        "target_power": power, "dataset_items": n_items, "repeats": experiment.repeats,
        "alternative": "two-sided",
    }  # fmt: skip
    return _planned(h, metric, design, inputs, power=power, alpha=alpha, n_items=n_items)


def _planned(
    h: Hypothesis,
    metric: Metric,
    design: "PowerDesign | None",
    inputs: Mapping[str, Any],
    *,
    power: float,
    alpha: float,
    n_items: int,
) -> Plan:
    from crucible_bench import achieved_power, detectable_effect, sample_size

    unit = f" {metric.unit}" if metric.unit and metric.unit != "share" else ""
    if design is None:
        return Plan(
            hypothesis=h.id, n=None, unit="items", power=None, detectable_effect=None,
            enough=False, inputs=inputs, sentence=_no_design(h, inputs),
        )  # fmt: skip
    needed = sample_size(design, effect=h.sesoi, power=power, alpha=alpha)
    reached = found = None
    if n_items >= 2:
        reached = achieved_power(design, planned_effect=h.sesoi, n=n_items, alpha=alpha).power
        try:
            found = detectable_effect(design, n=n_items, power=power, alpha=alpha).effect
        except ValueError:  # with so few items no difference, however large, could be found
            found = None
    enough = n_items >= needed.n
    what = "items" if design.unit in ("pairs", "items") else f"items {design.unit}"
    text = (
        f"{h.id}: {needed.n:,} {what} tell a true difference of {h.sesoi:g}{unit} in {h.metric} "
        f"from zero with {power:.0%} power (two-sided, alpha {alpha:g}"
        f"{', Bonferroni-divided' if inputs['family'] > 1 else ''})."
    )
    if reached is not None:
        text += f" The data set's {n_items:,} {what} reach {reached:.0%}"
        text += (
            f" and find a difference of {found:.3g}{unit} with {power:.0%} power."
            if found is not None
            else f"; no difference, however large, would be found with {power:.0%} power."
        )
    return Plan(
        hypothesis=h.id, n=needed.n, unit=what, power=reached, detectable_effect=found,
        enough=enough, inputs=inputs, sentence=text, notes=tuple(needed.notes),
    )  # fmt: skip


def _no_design(h: Hypothesis, inputs: Mapping[str, Any]) -> str:
    return (
        f"{h.id}: a difference of {h.sesoi:g} cannot be there where the two conditions differ on "
        f"only {inputs['discordance']:.3g} of the items: the pilot, or the smallest effect of "
        "interest, must be another."
    )


def _hypothesis(experiment: Experiment, id: str) -> Hypothesis:
    for h in experiment.hypotheses:
        if h.id == id:
            return h
    known = ", ".join(h.id for h in experiment.hypotheses) or "none"
    raise ValueError(f"`hypothesis` must be one of {known}, got {id!r}")


def _design(
    experiment: Experiment, h: Hypothesis, metric: Metric, pilot: "Path | str | PilotRates"
) -> "tuple[PowerDesign | None, dict[str, Any]]":
    from crucible_bench.designs import PairedItems
    from crucible_bench.power import McNemar

    if not isinstance(pilot, PilotRates):
        percentile = percentile_of(h.metric.partition(":")[2] or metric.reducer)
        control, treatment = _pilot_scores(Path(pilot), h, metric)
        if percentile is not None:
            return _quantile(control, percentile, seed=experiment.seed)
        rates = _rates(control, treatment, metric)
        source = {"pilot": Path(pilot).name, "pilot_items": len(control)}
    else:
        rates, source = pilot, {"pilot": "supposed rates"}
    if rates.item_sd is None:
        assert rates.treatment_only is not None
        assert rates.control_only is not None
        discordance = rates.treatment_only + rates.control_only
        if experiment.repeats == 1:
            known = {**source, "discordance": discordance, "test": "McNemar mid-p",
                     "treatment_only": rates.treatment_only,
                     "control_only": rates.control_only}  # fmt: skip
            return (McNemar(discordance) if discordance >= h.sesoi > 0 else None), known
        # Differences of 0/1 scores are -1, 0, 1: their variance at the planned effect.
        rates = PilotRates(item_sd=math.sqrt(max(discordance - h.sesoi**2, 1e-12)))
    assert rates.item_sd is not None
    repeats = experiment.repeats
    design = PairedItems(
        item_sd=rates.item_sd, within_sd=rates.within_sd, repeats=(repeats, repeats)
    )
    return design, {**source, "item_sd": rates.item_sd, "within_sd": list(rates.within_sd),
                    "test": "paired over items"}  # fmt: skip


def _quantile(
    control: "Array", percentile: float, *, seed: int
) -> "tuple[PowerDesign, dict[str, Any]]":
    from crucible_bench.simulated_power import QuantileDifference
    from crucible_harness.observations import by_item

    values = by_item(control)
    values = values[np.isfinite(values)]
    if values.size < 20:
        raise ValueError(f"`pilot` must have at least 20 values to plan a percentile, got "
                         f"{values.size}")  # fmt: skip
    return QuantileDifference(percentile, values, rng=seed), {
        "pilot_items": int(values.size), "percentile": percentile, "test": "quantile difference",
    }  # fmt: skip


def _pilot_scores(path: Path, h: Hypothesis, metric: Metric) -> "tuple[Array, Array]":
    from crucible_harness.observations import observe, paired
    from crucible_harness.recorded import load_run

    run = load_run(path)
    if metric.name not in {m.name for m in run.metrics}:
        raise ValueError(f"`pilot` must have the metric {metric.name!r}, {path.name!r} has not")
    for name in (h.treatment, h.control):
        if name not in run.conditions:
            raise ValueError(
                f"`pilot` must have the condition {name!r}, {path.name!r} has "
                f"{', '.join(run.conditions)}"
            )
    answered = {cell.item for cell in run.cells}
    run = replace(run, items=tuple(item for item in run.items if item.id in answered))
    data = observe(run, metric).counted
    control, treatment = paired(data[str(h.control)], data[str(h.treatment)])
    if len(control) < 2:
        raise ValueError(f"`pilot` must have at least 2 items under both conditions, got "
                         f"{len(control)}")  # fmt: skip
    return control, treatment


def _rates(control: "Array", treatment: "Array", metric: Metric) -> PilotRates:
    from crucible_harness.observations import by_item

    flat = control.shape[1] == 1
    if flat and metric.bounds == (0.0, 1.0) and np.isin([control, treatment], (0.0, 1.0)).all():
        c, t = control[:, 0], treatment[:, 0]
        return PilotRates(
            treatment_only=float(((t == 1) & (c == 0)).mean()),
            control_only=float(((c == 1) & (t == 0)).mean()),
        )
    differences = by_item(treatment) - by_item(control)
    differences = differences[np.isfinite(differences)]
    if differences.size < 2:
        raise ValueError("`pilot` must have at least 2 items with known values")
    variance = float(differences.var(ddof=1))
    within = (0.0, 0.0)
    if not flat:
        noise = [float(np.nanmean(np.nanvar(a, axis=1, ddof=1))) for a in (control, treatment)]
        within = (math.sqrt(noise[0]), math.sqrt(noise[1]))
        variance = max(variance - sum(noise) / control.shape[1], 0.0)
    return PilotRates(item_sd=math.sqrt(max(variance, 1e-24)), within_sd=within)
