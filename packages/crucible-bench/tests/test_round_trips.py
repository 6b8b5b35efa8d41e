"""Records go through JSON and come back equal, without a NaN on the way."""

import json

import numpy as np
import pytest

from crucible_bench import (
    ab_test,
    ablation,
    bootstrap,
    compare_multiple,
    correct,
    describe,
    equivalence,
    sweep,
)
from crucible_bench.bayes import compare_paired_counts, compare_proportions
from crucible_bench.budget import plan_budget
from crucible_bench.calibration import (
    auroc,
    brier,
    expected_calibration_error,
    log_loss,
    maximum_calibration_error,
    reliability_curve,
)
from crucible_bench.clusters import cluster_mean, variance_components
from crucible_bench.diagnostics import check_assumptions
from crucible_bench.effects import cohens_d
from crucible_bench.fairness import demographic_parity, equalized_odds, four_fifths, group_rates
from crucible_bench.judges import cohens_kappa, krippendorff_alpha, prediction_powered_mean
from crucible_bench.meta import meta_analysis
from crucible_bench.models import adjusted_difference, mixed_difference
from crucible_bench.power import Clustered, PairedT, TwoSampleT, sample_size
from crucible_bench.quantiles import quantile, quantile_difference
from crucible_bench.sequential import SequentialComparison
from crucible_bench.simulated_power import simulate_power
from crucible_bench.studies import pareto_front
from crucible_bench.tost import non_inferiority

CONFIDENCE, CORRECT = [0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0]
SELECTED, GROUP = [1, 0, 1, 1, 0, 0] * 10, ["a", "b", "b"] * 20
DATA = {"condition": [0, 1] * 10, "cluster": [i // 2 for i in range(20)]}
CLUSTERED = np.random.default_rng(0).normal(size=20)

RECORDS = {
    "power": lambda: sample_size(Clustered(TwoSampleT(ratio=2.0), 4, 0.1), effect=0.5),
    "budget": lambda: plan_budget(PairedT(), effect=0.2, budget_usd=0.01, cost_per_unit_usd=0.05),
    "simulated power": lambda: simulate_power(lambda g: g.random(), lambda x: x < 0.5, n_simulations=9, rng=0),
    "quantile": lambda: quantile(range(100), 99),
    "quantile difference": lambda: quantile_difference(np.arange(20.0), np.arange(20.0), 50, paired=True, cluster=np.arange(20) // 2, rng=0),
    "sequential": lambda: SequentialComparison(outcome="bounded").update(0.2, 0.9),
    "posterior": lambda: compare_proportions((1, 4), (3, 4)),
    "paired posterior": lambda: compare_paired_counts(1, 4, pairs=9, rope=0.1),
    "brier": lambda: brier(CONFIDENCE, CORRECT, rng=0),
    "log loss": lambda: log_loss([1.0, 0.5], [0, 1]),
    "ece": lambda: expected_calibration_error(CONFIDENCE, CORRECT, norm="l2"),
    "mce": lambda: maximum_calibration_error(CONFIDENCE, CORRECT),
    "reliability": lambda: reliability_curve(CONFIDENCE, CORRECT, bins=2)[0],
    "auroc": lambda: auroc(CONFIDENCE, CORRECT),
    "auroc of one class": lambda: auroc(CONFIDENCE, [1, 1, 1, 1]),
    "parity": lambda: demographic_parity(SELECTED, GROUP),
    "odds": lambda: equalized_odds(SELECTED, SELECTED[::-1], GROUP),
    "four fifths": lambda: four_fifths(SELECTED, GROUP),
    "kappa": lambda: cohens_kappa(["x", "y", "x"], ["x", "y", "y"]),
    "alpha": lambda: krippendorff_alpha([[1, 2, None], [1, 1, 2]], rng=0),
    "ppi": lambda: prediction_powered_mean([1, 0, 1], [1, 0, 0], [1, 1]),
    "meta": lambda: meta_analysis([0.1, 0.4], [0.01, 0.02]),
    "one study": lambda: meta_analysis([0.1], [0.01]),
    "description": lambda: describe([1.0, 2.0, 4.0, 4.0]),
    "correction": lambda: correct([0.01, 0.2], family="two"),
    "bootstrap": lambda: bootstrap("median", [1.0, 2.0, 5.0], n_resamples=50, keep=True, rng=0),
    "equivalence": lambda: equivalence(CONFIDENCE, CONFIDENCE[::-1], margin=1, paired=False),
    "non-inferiority": lambda: non_inferiority(CONFIDENCE, CONFIDENCE, margin=1, paired=True),
    "cluster mean": lambda: cluster_mean([1.0, 2.0, 4.0, 4.0], [1, 1, 2, 2]),
    "variance components": lambda: variance_components([[1.0, 2.0], [4.0, 4.0]]),
    "study": lambda: ab_test(CONFIDENCE, CONFIDENCE[::-1], name="x", paired=True, sesoi=0.1),
    "ablation": lambda: ablation(CONFIDENCE, {"part": CONFIDENCE[::-1]}),
    "sweep": lambda: sweep({"a": CONFIDENCE, "b": CONFIDENCE[::-1]}, n_resamples=9, rng=0),
    "pareto": lambda: pareto_front([[1.0, 2.0]], [[0.0, 1.0]], names=["only"], n_resamples=9, rng=0)[0],
    "several": lambda: compare_multiple({"a": CONFIDENCE, "b": CORRECT, "c": CONFIDENCE[::-1]}, paired=True, rng=0),
    "assumption": lambda: check_assumptions(CONFIDENCE, CORRECT, paired=False)[0],
    "group rate": lambda: group_rates(SELECTED, GROUP)[0],
    "effect": lambda: cohens_d([1.0, 1.0], [2.0, 2.0]),
    "gee": lambda: adjusted_difference(CLUSTERED, family="gaussian", **DATA),
    "mixed": lambda: mixed_difference(CLUSTERED, **DATA),
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_survives_json(name):
    record = RECORDS[name]()
    text = json.dumps(record.to_dict(), allow_nan=False)
    assert type(record).from_dict(json.loads(text)) == record
    assert json.loads(text)["schema"].startswith("crucible.bench.")
