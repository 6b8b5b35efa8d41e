"""Latency objectives, and what hedging did to the tail."""

from crucible_harness import wording
from crucible_harness.analysis import Analysis
from crucible_harness.report.model import Block, Column, Table, Text
from crucible_harness.report.values import count, dollars, fixed, seconds


def objectives(analysis: Analysis) -> list[Block]:
    """Show each latency objective and whether it is met."""
    if not analysis.slo:
        return []
    rows: list[tuple[Text, ...]] = []
    for number, result in enumerate(analysis.slo, 1):
        id, slo = f"slo.{number}", result.slo
        limits: Text = ("none",)
        if (result.low, result.high) != (None, None):
            limits = wording.interval(f"{id}.ci", (result.low, result.high), signed=False)
        rows.append(
            (
                (slo.condition,),
                (f"P{slo.percentile:g} at most ", seconds(f"{id}.threshold", slo.threshold_s)),
                (fixed(f"{id}.share", result.share),),
                limits,
                (count(f"{id}.items", result.items),),
                (result.outcome,),
            )
        )
    return [
        Table(
            id="slo",
            caption="Latency objectives",
            columns=(
                Column(title="condition", numeric=False),
                Column(title="objective", numeric=False),
                Column(title="within"),
                Column(title="limits"),
                Column(title="items"),
                Column(title="outcome", numeric=False),
            ),
            rows=tuple(rows),
            note=(
                "Within: share of items answered in that time; failed ones are not. Each limit is "
                "one-sided at 95 %: an objective is met where the lower one reaches the "
                "percentile, missed where the upper one does not.",
            ),
        )
    ]


def hedging(analysis: Analysis) -> list[Block]:
    """Show what was raced, what it cost, and the effect on percentiles."""
    if not analysis.hedging:
        return []
    rows: list[tuple[Text, ...]] = []
    percentiles = [effect.percentile for effect in next(iter(analysis.hedging.values())).effects]
    reasons: dict[str, None] = {}
    for name, found in analysis.hedging.items():
        id = f"{name}.hedging"
        row: list[Text] = [
            (name,),
            (count(f"{id}.requests", found.requests),),
            (count(f"{id}.backups", found.backups),),
            (fixed(f"{id}.extra", found.extra_ratio),),
            (count(f"{id}.wins", found.wins),),
            (seconds(f"{id}.wasted_s", found.wasted_s),),
            (dollars(f"{id}.extra_cost_usd", found.extra_cost_usd),),
        ]
        for effect in found.effects:
            at = f"{id}.p{effect.percentile:g}"
            if effect.ratio is None:
                row.append(("none",))
                reasons[f"P{effect.percentile:g} of {name}: {effect.reason}. "] = None
            else:
                ends = wording.interval(f"{at}.ci", (effect.low, effect.high), signed=False)
                row.append((fixed(f"{at}.ratio", effect.ratio), " ", *ends))
        rows.append(tuple(row))
    return [
        Table(
            id="hedging",
            caption="Hedging: backups sent, and percentiles with them as a ratio of those without",
            columns=(
                Column(title="condition", numeric=False),
                Column(title="calls"),
                Column(title="backups"),
                Column(title="per call"),
                Column(title="wins"),
                Column(title="wasted"),
                Column(title="extra cost"),
                *(Column(title=f"P{p:g} ratio, 95 % CI") for p in percentiles),
            ),
            rows=tuple(rows),
            note=(
                "Below 1 hedging shortens the percentile. Without backups: the Kaplan-Meier curve "
                "of the first calls, some of which ran on after they were beaten. ",
                *reasons,
            ),
        )
    ]
