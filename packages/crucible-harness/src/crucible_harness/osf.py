"""The OSF's preregistration form, filled with what the design says."""

from typing import Any

from crucible_harness.experiment import Experiment

_FORM = """\
# {name}

## Study information

**Description.** {description}

**Hypotheses.**

{claims}

## Design plan

**Study type.** Experiment: each condition is assigned by the design.

**Blinding.** Scores are computed from the answers by code. [by hand: confirm]

**Study design.** Conditions {conditions}, on {items} items, {repeats} each, in an interleaved order
drawn from seed {seed}. Design digest {digest}.

## Sampling plan

**Existing data.** [by hand: say whether any of these answers have been seen, such as a pilot]

**Data collection procedures.** {dataset}, fingerprint {fingerprint}.

**Sample size.** {items} items.

**Sample size rationale.** [by hand: `crucible plan` gives n, power and the detectable effect]

**Stopping rule.** {stopping}.

## Variables

**Manipulated variables.** Condition ({conditions}).

**Measured variables.**

{metrics}

## Analysis plan

**Statistical models.** {plan}

**Inference criteria.** A hypothesis is supported only if its whole simultaneous interval lies
beyond the smallest effect of interest.

**Data exclusion.** None. **Missing data.** Failed and unreadable answers count as wrong.

**Exploratory analysis.** {exploratory}.
"""


def osf_template(experiment: Experiment) -> str:
    """Return answers for the OSF's standard preregistration form, as Markdown to be completed.

    Parameters
    ----------
    experiment : Experiment

    Notes
    -----
    What the design says is filled in; what only its authors know is marked `[by hand]`.
    """
    from crucible_harness.prereg import analysis_plan, stopping_rule
    from crucible_harness.report.markdown import escape

    confirmatory = [h for h in experiment.hypotheses if h.kind == "confirmatory"]
    exploratory = [h for h in experiment.hypotheses if h.kind == "exploratory"]
    conditions = ", ".join(escape(c.name) for c in experiment.conditions)
    metrics = "\n".join(
        f"- {escape(m.label)}: {escape(m.unit) or 'no unit'}, "
        f"{'higher' if m.higher_is_better else 'lower'} is better"
        for m in experiment.metrics
    )
    claims = "\n".join(
        f"- **{escape(h.id)}**: {escape(h.text) or _claim(h)} (smallest effect of interest "
        f"{h.sesoi:g}, alpha {h.alpha:g})"
        for h in confirmatory
    )
    about = experiment.frozen["dataset"]
    answers = {
        "name": escape(experiment.name),
        "description": escape(experiment.description) or "[by hand]",
        "claims": claims or "None is confirmatory.",
        "conditions": conditions,
        "items": f"{len(experiment.dataset):,}",
        "repeats": f"{experiment.repeats} answer{'s' if experiment.repeats > 1 else ''}",
        "seed": experiment.seed,
        "digest": experiment.digest,
        "dataset": escape(str(about["name"])),
        "fingerprint": about["fingerprint"],
        "stopping": stopping_rule(experiment.frozen),
        "metrics": metrics,
        "plan": escape(analysis_plan(experiment)),
        "exploratory": ", ".join(escape(h.id) for h in exploratory)
        or "Every comparison that no hypothesis names",
    }
    return _FORM.format_map(answers)


def _claim(h: Any) -> str:
    how = {"greater": "is higher than", "less": "is lower than"}.get(h.direction, "differs from")
    return f"{h.metric} of {h.treatment} {how} that of {h.control}"
