"""How the evidence grew, look by look, in a run that could stop early."""

from crucible_harness.analysis import Analysis
from crucible_harness.report import charts
from crucible_harness.report.model import Block, Chart, Column, Paragraph, Section, Table, Text
from crucible_harness.report.values import Value, count, fixed, p_value
from crucible_harness.sequential import SequentialResult


def stopping_path(analysis: Analysis) -> Section | None:
    """Show every look, where the run stopped, and the interval that stays valid."""
    seen = analysis.sequential
    if seen is None:
        return None
    blocks: list[Block] = [Paragraph(text=_said(seen))]
    if seen.looks:
        blocks += [_chart(seen), _looks(seen)]
    return Section(id="stopping", title="Stopping path", blocks=tuple(blocks))


def _said(seen: SequentialResult) -> Text:
    id = f"{seen.hypothesis}.sequential"
    if seen.decision is not None:
        what: Text = (
            f"Decided after item {seen.stopped_at:,}: {seen.metric} of {seen.treatment} lies "
            f"{'above' if seen.decision == 'superior' else 'below'} that of {seen.control}, ",
        )
    else:
        what = (f"Not decided after {seen.items:,} items, ",)
    ends: Text = (
        ("unknown",)
        if seen.interval is None
        else (
            "[", fixed(f"{id}.low", seen.interval[0], signed=True),
            ", ", fixed(f"{id}.high", seen.interval[1], signed=True), "]",
        )
    )  # fmt: skip
    return (
        *what,
        "e-value ",
        _evidence(f"{id}.e", seen.e_value),
        ", p-value that holds however often one looked ",
        p_value(f"{id}.p", seen.p_value),
        ", difference ",
        fixed(f"{id}.difference", seen.estimate, signed=True),
        f", always-valid {100 * (1 - seen.alpha):g} % interval ",
        *ends,
        ". ",
        count(f"{id}.surplus", seen.surplus_cells),
        " finished cells beyond that item were paid for and are not part of it.",
    )


def _looks(seen: SequentialResult) -> Table:
    id = f"{seen.hypothesis}.look"
    return Table(
        id="looks",
        caption="Looks",
        columns=(Column(title="items"), Column(title="pairs"), Column(title="e-value")),
        rows=tuple(
            (
                (count(f"{id}{n}.items", look.items),),
                (count(f"{id}{n}.pairs", look.pairs),),
                (_evidence(f"{id}{n}.e", look.e_value),),
            )
            for n, look in enumerate(seen.looks)
        ),
        note=(f"Decided at an e-value of {1 / seen.alpha:g} (1 / alpha).",),
    )


def _evidence(id: str, e_value: float | None) -> Value:
    if e_value is None:  # more evidence than a float can hold
        return Value(id=id, number=None, unit="", text="> 1e308")
    return fixed(id, e_value, digits=4)


def _chart(seen: SequentialResult) -> Chart:
    drawn = [look for look in seen.looks if look.e_value is not None and look.e_value > 0]
    found = "decided" if seen.decision is not None else "not decided"
    last = _evidence("", seen.e_value).text
    return Chart(
        id="stopping-path",
        title=f"{seen.hypothesis}: {found} after {seen.items:,} items "
        f"(e-value {last}, threshold {1 / seen.alpha:g})",
        alt=f"e-value at each look against the threshold of {1 / seen.alpha:g}: "
        + "; ".join(f"{look.items} items {look.e_value:.3g}" for look in drawn)
        + ".",
        spec=charts.stopping_path(
            [{"items": look.items, "evidence": look.e_value} for look in drawn],
            threshold=1 / seen.alpha,
        ),
    )
