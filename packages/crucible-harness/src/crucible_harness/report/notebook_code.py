"""What the notebook of a run executes: its numbers once more, from the files beside it."""

LOAD = """\
import csv, json, math
from collections import Counter
from pathlib import Path

import numpy as np


def table(name):
    with open(name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read(name):
    return json.loads(Path(name).read_text(encoding="utf-8"))


design, analysis = read("design.json"), read("analysis.json")
rows, schedule = table("results.csv"), table("schedule.csv")
print(len(rows), "cells,", len(analysis["hypotheses"]), "hypotheses")"""

DERIVE = """\
from crucible_harness import analyse

again = json.loads(json.dumps(analyse(".").to_dict()))
assert again == analysis, "analysis.json is not what the journal gives"
print("analysis.json follows from the journal")"""

SCORES = """\
layout = design["design"]
within = layout["kind"] != "between" and layout.get("within", True)
metrics = {m["name"]: m for m in reversed(design["metrics"])}
for m in design["metrics"]:
    metrics[m["name"] if m["reducer"] == "mean" else f"{m['name']}:{m['reducer']}"] = m
asked = list(dict.fromkeys(row["item"] for row in schedule))
lines = Path("items.jsonl").read_bytes().split(b"\\n")[:-1]
listed = [json.loads(line.decode("utf-8", "surrogatepass"))["id"] for line in lines]

# Of a run that stopped, the items that count: those before the stop, finished under each condition.
finished = Counter(row["item"] for row in rows)
if analysis["sequential"]:
    counted = set(asked[: analysis["sequential"]["items"]])
elif analysis["items_analysed"] < analysis["items_planned"]:
    every = design["repeats"] * (len(design["conditions"]) if within else 1)
    counted = {item for item in listed if finished[item] == every}
else:
    counted = set(listed)
items = [item for item in listed if item in counted]
assert len(items) == analysis["items_analysed"]
place = {item: n for n, item in enumerate(items)}


def scores(condition, metric):
    \"\"\"Return an array of items x repeats, failures counted; NaN where nothing is known.\"\"\"
    name = metric["name"]
    worst = metric["bounds"] and metric["bounds"][0 if metric["higher_is_better"] else 1]
    found = np.full((len(items), design["repeats"]), np.nan)
    for row in rows:
        if row["condition"] != condition or row["item"] not in counted:
            continue
        value = float(row[name]) if row[name] else math.nan
        if name == "hedged":
            value = float(value > 0)
        if row["status"] != "ok":
            late = name in ("latency_s", "ttft_s")
            value = worst if metric["bounds"] else math.inf if late else value
        found[place[row["item"]], int(row["repeat"])] = value
    return found


def by_item(values):
    \"\"\"Return the mean of each item's repeats.\"\"\"
    present = ~np.isnan(values)
    n = present.sum(axis=1)
    total = np.where(present, values, 0.0).sum(axis=1)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def seen(control, treatment):
    \"\"\"Return what can be compared: items seen under both conditions, or under each.\"\"\"
    if within:
        both = ~np.isnan(control).all(axis=1) & ~np.isnan(treatment).all(axis=1)
        return control[both], treatment[both]
    return [arm[~np.isnan(arm).all(axis=1)] for arm in (control, treatment)]


def finite(control, treatment):
    \"\"\"Leave out items with a value that is no number, such as the latency of a failure.\"\"\"
    control, treatment = seen(control, treatment)
    if within:
        known = ~(np.isinf(control).any(axis=1) | np.isinf(treatment).any(axis=1))
        return control[known], treatment[known]
    return [arm[~np.isinf(arm).any(axis=1)] for arm in (control, treatment)]"""

CONTRASTS = """\
from crucible_bench import bootstrap, compare, compare_paired
from crucible_bench.means import linear_contrast, one_sample_t
from crucible_bench.quantile_contrasts import quantile_difference
from crucible_bench.sequential import confidence_sequence
from crucible_bench.tost import equivalence, non_inferiority
from crucible_harness.claims import read_hypothesis
from crucible_harness.designs import factors_of, read_design
from crucible_harness.factors import weights_of


def ends(interval):
    return None if interval is None else [interval.low, interval.high]


def means(control, treatment):
    found = seen(control, treatment)
    return [by_item(arm) for arm in found]


def again(h, c):
    \"\"\"Return estimate, interval and p of a contrast, computed by crucible_bench.\"\"\"
    metric = metrics[h["metric"]]
    confidence, seed, kind = c["confidence"], design["seed"], c["kind"]
    if kind in ("main_effect", "interaction", "trend"):
        factors = {one["name"]: one["factors"] for one in design["conditions"]}
        weights = weights_of(read_hypothesis(h), factors, factors_of(read_design(layout)))
        used = {name: weight for name, weight in weights.items() if weight}
        arms = [by_item(scores(name, metric)) for name in used]
        if within:
            stack = np.stack(arms)
            stack = stack[:, np.isfinite(stack).all(axis=0)]
            t = one_sample_t(np.asarray(list(used.values())) @ stack, confidence=confidence)
        else:
            groups = [arm[np.isfinite(arm)] for arm in arms]
            t = linear_contrast(groups, tuple(used.values()), confidence=confidence)
        return t.estimate, ends(t.interval), t.p_value
    control, treatment = scores(h["control"], metric), scores(h["treatment"], metric)
    if c["method"].startswith("always-valid"):
        low, high = metric["bounds"]
        order = [place[item] for item in asked if item in place]
        apart = (by_item(treatment) - by_item(control))[order]
        limits = confidence_sequence(
            apart, bounds=(low - high, high - low), confidence=confidence
        )
        return apart.mean(), list(limits[-1]), None
    if kind == "quantile":
        order = [place[item] for item in asked if item in place]
        a, b = means(control[order], treatment[order])
        percentile = 50.0 if metric["reducer"] == "median" else float(metric["reducer"][1:])
        length = round(min(a.size, b.size) ** (1 / 3))
        q = quantile_difference(a, b, percentile, paired=within, block_length=length,
                                n_resamples=9_999, confidence=confidence, rng=seed)
        apart = np.percentile(b, percentile) - np.percentile(a, percentile)
        return apart, ends(q.interval), q.p_value
    if kind == "ratio":
        a, b = means(control, treatment)
        share = lambda a, b, axis=-1: b.mean(axis=axis) / a.mean(axis=axis)
        r = bootstrap(share, a, b, paired=within, method="percentile", n_resamples=9_999,
                      confidence=confidence, rng=seed)
        return share(a, b), ends(r.interval), None
    control, treatment = finite(control, treatment)
    if design["repeats"] == 1:
        a, b = control[:, 0], treatment[:, 0]
    else:
        a, b = control, treatment
    d = (compare_paired if within else compare)(
        a, b, confidence=confidence, labels=(h["control"], h["treatment"])
    )
    p = d.p_value
    if kind == "equivalence":
        p = equivalence(control, treatment, margin=h["sesoi"], paired=within).p_value
    elif kind == "non_inferiority":
        p = non_inferiority(control, treatment, margin=h["sesoi"], paired=within,
                            higher_is_better=h["direction"] == "greater").p_value
    print(h["id"], "-", d.apa())
    return d.difference, ends(d.confidence_interval), p


for result in analysis["hypotheses"] + analysis["exploratory"]:
    h, c = result["hypothesis"], result["contrast"]
    if c["estimate"] is None or c["interval"] is None:
        print(h["id"], "- not computed:", c["reason"])
        continue
    estimate, interval, p = again(h, c)
    assert np.isclose(estimate, c["estimate"], rtol=0, atol=1e-12), h["id"]
    assert np.allclose(interval, c["interval"], rtol=0, atol=1e-9), h["id"]
    if p is not None:
        assert np.isclose(p, c["p_value"], rtol=0, atol=1e-12), h["id"]
    print(h["id"], "- computed again by crucible_bench: the same", c["kind"])"""
