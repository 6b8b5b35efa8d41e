"""Simulated scores have the structure they claim, and the analyses rank as they should on them."""

import math

import numpy as np
import pytest
from scipy import special

from crucible_bench.simulation import item_scores


def test_the_shape_and_the_seed():
    first = item_scores(50, [0.0, 1.0, 2.0], item_sd=1.0, repeats=4, rng=1)
    assert first.shape == (3, 50, 4)
    assert set(np.unique(first)) == {0.0, 1.0}
    assert (first == item_scores(50, [0.0, 1.0, 2.0], item_sd=1.0, repeats=4, rng=1)).all()


def test_without_item_variance_the_rates_are_the_logistic_of_ability():
    scores = item_scores(20_000, [-1.0, 0.5], item_sd=0.0, base=0.3, rng=2)
    # standard error at most .0036
    assert scores.mean(axis=(1, 2)) == pytest.approx(special.expit([-0.7, 0.8]), abs=0.011)


def test_items_make_the_models_correlate_and_interactions_undo_it():
    shared = item_scores(5_000, [0.0, 0.0], item_sd=2.0, rng=3)[:, :, 0]
    own = item_scores(5_000, [0.0, 0.0], item_sd=0.0, interaction_sd=2.0, rng=3)[:, :, 0]
    assert np.corrcoef(shared)[0, 1] > 0.3
    assert abs(np.corrcoef(own)[0, 1]) < 0.05


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_items": 0}, "`n_items` must be >= 1, got 0"),
        ({"repeats": 0}, "`repeats` must be >= 1, got 0"),
        ({"item_sd": -1}, "`item_sd` must be >= 0, got -1"),
        ({"interaction_sd": math.inf}, "`interaction_sd` must be >= 0"),
        ({"base": math.nan}, "`base` must be finite"),
        ({"abilities": []}, "`abilities` must have at least 1"),
        ({"abilities": [math.inf]}, "infinity"),
    ],
)
def test_bad_input_is_named(changes, words):
    arguments = {"n_items": 5, "abilities": [0.0], "item_sd": 1.0, "rng": 0, **changes}
    with pytest.raises(ValueError, match=words):
        item_scores(arguments.pop("n_items"), arguments.pop("abilities"), **arguments)
