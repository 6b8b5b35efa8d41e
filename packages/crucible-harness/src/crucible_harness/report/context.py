"""What a reader needs around the numbers: plan, deviations, method, limits, sources."""

from collections.abc import Mapping

from crucible_harness import wording
from crucible_harness.analysis import Analysis
from crucible_harness.recorded import RecordedRun, dataset_name
from crucible_harness.report.model import (
    Block,
    Bullets,
    Code,
    Column,
    Paragraph,
    Section,
    Table,
    Text,
)
from crucible_harness.report.values import count, fixed


def planning(analysis: Analysis) -> Section | None:
    """Say what this many items can show, and how many the question needs."""
    results = [
        r
        for r in (*analysis.hypotheses, *analysis.exploratory)
        if r.detectable is not None or r.n_needed is not None
    ]
    if not results:
        return None
    table = Table(
        id="planning",
        caption="What this many items can show, and how many the question needs",
        columns=(
            Column(title="", numeric=False),
            Column(title="items now"),
            Column(title="detectable difference"),
            Column(title="smallest effect of interest"),
            Column(title="items for that"),
        ),
        rows=tuple(
            (
                (r.hypothesis.id,),
                (count(f"{r.hypothesis.id}.n", r.contrast.n),),
                (fixed(f"{r.hypothesis.id}.detectable", r.detectable, unit=r.unit),),
                (fixed(f"{r.hypothesis.id}.sesoi", r.hypothesis.sesoi, digits=2, unit=r.unit),),
                (count(f"{r.hypothesis.id}.n_needed", r.n_needed),),
            )
            for r in results
        ),
        note=(
            "Two-sided, 80 % power, at the disagreement between conditions seen in this run. A "
            "pilot's disagreement is itself uncertain: plan with some reserve.",
        ),
    )
    return Section(id="planning", title="Planning the next run", blocks=(table,))


def deviations(analysis: Analysis) -> Section:
    """List how the run differs from its design."""
    if not analysis.deviations:
        block: Block = Paragraph(text=("None found by comparing the run with its design.",))
    else:
        block = Bullets(items=tuple((text,) for text in analysis.deviations))
    return Section(id="deviations", title="Deviations from the design", blocks=(block,))


def method(run: RecordedRun, analysis: Analysis) -> Section:
    """Describe what was done, as a paper would."""
    return Section(id="method", title="Method", blocks=(Paragraph(text=(methods(run, analysis),)),))


def methods(run: RecordedRun, analysis: Analysis) -> str:
    """Write the methods paragraph of a paper, from what was done."""
    tests = sorted(
        {
            wording.test_name(r.contrast.method)
            for r in (*analysis.hypotheses, *analysis.exploratory)
        }
    )
    text = _asked(run, analysis)
    if tests:
        text += f" ({'; '.join(tests)})"
    text += ". Failed and unreadable answers counted as wrong (intention to treat)."
    if len(analysis.hypotheses) > 1:
        text += (
            f" The {len(analysis.hypotheses)} planned p-values were corrected by Holm's method; "
            "verdicts rest on Bonferroni-simultaneous intervals."
        )
    if analysis.hypotheses:
        text += (
            " A hypothesis was called supported only if its whole interval lay beyond the "
            "smallest effect of interest declared before the first call."
        )
    if analysis.sequential is not None:
        seen = analysis.sequential
        text += (
            f" {seen.hypothesis} was looked at while the run went on, and the run was to end once "
            "it was decided: its interval and its p-value hold at whatever item one stops."
        )
    return text


def _asked(run: RecordedRun, analysis: Analysis) -> str:
    """Say who answered what, in which order, up to how conditions were compared."""
    items = f"{analysis.items_analysed:,} items of {dataset_name(run)}"
    conditions = f"{len(run.conditions)} conditions ({', '.join(run.conditions)})"
    repeats = int(str(run.design.get("repeats", 1)))
    times = f"{repeats} time{'s' if repeats > 1 else ''} each"
    if run.imported is not None:
        tools = ", ".join(sorted({str(log["tool"]) for log in run.imported["logs"]}))
        return (
            f"Each of {items} had been answered under {conditions}, {times}, as the logs of "
            f"{tools} have it; in which order is not known here. Conditions were compared within "
            "items"
        )
    order = "in an interleaved order drawn from the seed"
    if not run.layout.within:
        return (
            f"Each of {items} was answered under one of {conditions}, drawn in equal shares, "
            f"{times}, {order}. Conditions were compared across items"
        )
    return (
        f"Each of {items} was answered under {conditions}, {times}, {order}. Conditions were "
        "compared within items"
    )


def limits(run: RecordedRun, analysis: Analysis) -> Section:
    """List what the numbers do not cover, from the facts of the run."""
    n = analysis.items_analysed
    limits: list[Text] = [
        (
            f"One data set ({dataset_name(run)}), one set of prompts, one time window: the "
            "intervals cover the sampling of items and not these choices.",
        )
    ]
    if n < 100:
        limits.append(
            (
                "Only ",
                count("limits.items", n),
                " items: intervals are wide, and a missing difference is not shown to be absent.",
            )
        )
    if n < 563:
        limits.append(("P99 latency cannot be bounded on both sides below 563 items.",))
    served = sorted({name for cell in run.cells for name in cell.served_by})
    if len(served) == 1:
        limits.append((f"One model answered everything: {served[0]}.",))
    return Section(
        id="limits", title="Limits of this study", blocks=(Bullets(items=tuple(limits)),)
    )


def reproduction(run: RecordedRun) -> Section:
    """Name design, versions and commands."""
    manifest = run.manifest
    versions = manifest.get("versions")
    packages = (
        ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
        if isinstance(versions, Mapping)
        else "not recorded"
    )
    facts: list[Text] = [
        (f"Design digest: {run.digest}",),
        (f"Versions: {packages}",),
        (f"Python {manifest.get('python', 'not recorded')}, {manifest.get('platform', '')}",),
    ]
    folder = run.path.name
    commands = f"crucible verify {folder}\ncrucible report {folder}"
    return Section(
        id="reproduction",
        title="Reproduction",
        blocks=(
            Bullets(items=tuple(facts)),
            Paragraph(text=("Every number here is computed again from the journal by:",)),
            Code(text=commands),
        ),
    )


_SOURCES = {
    "mcnemar": "M. W. Fagerland, S. Lydersen, P. Laake, BMC Med Res Methodol 13:91, 2013.",
    "tango": "T. Tango, Statistics in Medicine 17, 891-908, 1998 (paired difference).",
    "wilson": "E. B. Wilson, JASA 22(158), 209-212, 1927 (interval of a proportion).",
    "holm": "S. Holm, Scand J Statist 6(2), 65-70, 1979 (correction).",
    "miller": "E. Miller, Adding Error Bars to Evals, arXiv:2411.00640, 2024 (items as clusters).",
}


def references(analysis: Analysis) -> Section:
    """List the sources of the methods that were used."""
    used = ["wilson", "miller"]
    if any("mcnemar" in r.contrast.method for r in (*analysis.hypotheses, *analysis.exploratory)):
        used += ["mcnemar", "tango"]
    if len(analysis.hypotheses) > 1:
        used.append("holm")
    return Section(
        id="references",
        title="References",
        blocks=(Bullets(items=tuple((_SOURCES[key],) for key in sorted(used))),),
    )
