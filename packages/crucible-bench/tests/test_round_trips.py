"""Records go through JSON and come back equal, without a NaN on the way."""

import json

import numpy as np
import pytest

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
from crucible_bench.fairness import demographic_parity, equalized_odds, four_fifths
from crucible_bench.judges import cohens_kappa, krippendorff_alpha, prediction_powered_mean
from crucible_bench.meta import meta_analysis
from crucible_bench.models import adjusted_difference, mixed_difference
from crucible_bench.power import Clustered, PairedT, TwoSampleT, sample_size
from crucible_bench.quantiles import quantile, quantile_difference
from crucible_bench.sequential import SequentialComparison
from crucible_bench.simulated_power import simulate_power

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
    "gee": lambda: adjusted_difference(CLUSTERED, family="gaussian", **DATA),
    "mixed": lambda: mixed_difference(CLUSTERED, **DATA),
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_survives_json(name):
    record = RECORDS[name]()
    text = json.dumps(record.to_dict(), allow_nan=False)
    assert type(record).from_dict(json.loads(text)) == record
    assert json.loads(text)["schema"].startswith("crucible.bench.")
