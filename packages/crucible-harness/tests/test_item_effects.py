"""Item effects by maximum likelihood, against published fits, an integral, and known truths."""

import json

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from crucible_bench.simulation import item_scores
from crucible_harness.studies.answer_world import RIDGE, World
from crucible_harness.studies.item_effects import fit_item_effects

# The Law School Admission Test, section 6: how many of 1,000 persons gave each of the 32 patterns
# of five answers, 00000 first. Bock & Lieberman 1970, table 1; also in R's ltm as `LSAT`.
LSAT = (
    3, 6, 2, 11, 1, 1, 3, 4, 1, 8, 0, 16, 0, 3, 2, 15,
    10, 29, 14, 81, 3, 28, 15, 80, 16, 56, 21, 173, 11, 61, 28, 298,
)  # fmt: skip
SOLVERS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")


def test_the_rasch_model_of_the_law_school_test_is_the_published_one():
    patterns = [[int(bit) for bit in f"{k:05b}"] for k in range(32)]
    found = fit_item_effects(np.repeat(patterns, LSAT, axis=0), own_sd=0.0)
    # R, ltm 1.2: rasch(LSAT): discrimination .7551, log-likelihood -2466.938, and difficulties
    # -3.6153, -1.3224, -.3176, -1.7301, -2.7802, which times -.7551 are abilities here.
    assert found.items == 1_000
    assert found.item_sd.value == pytest.approx(0.7551, abs=1e-4)
    assert found.log_likelihood == pytest.approx(-2466.938, abs=1e-3)
    difficulties = (-3.6153, -1.3224, -0.3176, -1.7301, -2.7802)
    assert found.abilities == pytest.approx([-0.7551 * d for d in difficulties], abs=1e-3)


def test_the_likelihood_is_the_integral_that_it_stands_for():
    right = np.array([[1, 1], [1, 0], [0, 0], [0, 1], [1, 1]])
    found = fit_item_effects(right, own_sd=0.7)
    a, sd = found.abilities, found.item_sd.value

    grid = np.linspace(-9, 9, 1_501)  # the trapezoid rule, exact for what falls off like this
    step = grid[1] - grid[0]

    def answer(ability):  # at each b, a voter's own effect integrated out
        at = ability + sd * grid[:, None] + 0.7 * grid[None, :]
        return expit(at) @ norm.pdf(grid) * step

    chances = [answer(ability) for ability in a]

    def pattern(row):
        given = [p if r else 1 - p for p, r in zip(chances, row, strict=True)]
        return float(np.prod(given, axis=0) @ norm.pdf(grid) * step)

    total = sum(np.log(pattern(row)) for row in right)
    assert found.log_likelihood == pytest.approx(total, abs=1e-7)


def test_both_effects_of_a_simulated_world_come_back():
    right = item_scores(
        1_500, [-0.5, 0.5, 1.0], item_sd=1.5, interaction_sd=1.0, repeats=4, rng=3
    )  # fmt: skip
    found = fit_item_effects(np.moveaxis(right, 0, 1))
    assert found.repeats == 4
    for figure, truth in ((found.item_sd, 1.5), (found.own_sd, 1.0)):
        assert figure.low < truth < figure.high
        assert figure.high - figure.low < 0.4
    assert found.abilities == pytest.approx([-0.5, 0.5, 1.0], abs=0.25)
    assert found.base == pytest.approx(1 / 3, abs=0.2)


def test_the_interval_of_the_item_sd_holds_it():
    held = 0
    for seed in range(60):
        right = item_scores(150, [0.0, 0.5, 1.0], item_sd=1.5, rng=seed)[:, :, 0].T
        sd = fit_item_effects(right, own_sd=0.0).item_sd
        held += sd.low <= 1.5 and (sd.high is None or sd.high >= 1.5)
    assert held >= 50  # of 60 at 95 %: fewer in 1 of 10,000


def test_the_default_world_is_the_fit_of_the_graded_solutions(benchmark_data):
    path = benchmark_data / "gsm8k" / "example_model_solutions.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    right = [[json.loads(line)[name]["is_correct"] for name in SOLVERS] for line in lines]
    found = fit_item_effects(np.array(right, dtype=float), own_sd=0.0)
    world = World()
    assert found.items == 1_319
    assert world.item_sd == round(found.item_sd.value, 2)
    assert world.base == round(found.base, 2)
    # What answers at temperature 0 depend on is known well: accuracy, and the correlation.
    assert (found.item_sd.low, found.item_sd.high) == pytest.approx((2.1, 2.5), abs=0.05)
    for other in RIDGE:
        again = fit_item_effects(np.array(right, dtype=float), own_sd=other.own_sd)
        assert other.item_sd == pytest.approx(again.item_sd.value, abs=0.0051)
        assert other.base == round(again.base, 2)
        # One answer each does not tell a voter's own effect from chance.
        assert again.log_likelihood == pytest.approx(found.log_likelihood, abs=0.2)
        assert other.moments() == pytest.approx(world.moments(), abs=0.004)


@pytest.mark.parametrize(
    ("right", "options", "said"),
    [
        ([[1, 0], [0, 1]], {}, "`own_sd` must be given"),
        ([[1, 0], [0, 1]], {"own_sd": -1.0}, "`own_sd` must be in"),
        ([[1, 0], [1, 1]], {"own_sd": 0.0}, "always right"),
        ([[1, 2], [0, 1]], {"own_sd": 0.0}, "0 and 1 only"),
        ([1, 0, 1], {"own_sd": 0.0}, "got shape"),
        ([[1], [0]], {"own_sd": 0.0}, "2 voters at least"),
    ],
)
def test_what_cannot_be_fitted_is_refused(right, options, said):
    with pytest.raises(ValueError, match=said):
        fit_item_effects(right, **options)


def test_answers_that_have_nothing_in_common_have_no_item_effect():
    right = np.random.default_rng(1).integers(0, 2, size=(400, 3))
    sd = fit_item_effects(right, own_sd=0.0).item_sd
    assert sd.low == 0.0
    assert sd.value < 0.5
