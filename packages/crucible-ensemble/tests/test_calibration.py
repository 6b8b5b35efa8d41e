import anyio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_ensemble import Ensemble, FunctionModel
from crucible_ensemble.calibration import (
    brier,
    crossfit,
    fit_calibrator,
    fit_calibrators,
    log_loss,
    risk_coverage,
)
from crucible_ensemble.cascades import fit_cascade
from crucible_ensemble.completion import Completion
from crucible_ensemble.confidence import (
    confidence_of,
    logprob_confidence,
    option_confidence,
    verbalised_confidence,
)
from crucible_ensemble.matrix import Cell, ResponseMatrix
from crucible_ensemble.stacking import fit_stacking, pool_weights
from crucible_ensemble.votes import BestConfidence

# Specification, section 7, number 8.
STATED = [0.95, 0.9, 0.85, 0.8, 0.75, 0.6, 0.55, 0.7, 0.65, 0.5]
OUTCOMES = [1, 1, 0, 1, 1, 0, 1, 0, 1, 0]


def test_temperature_of_the_worked_example():
    found = fit_calibrator(STATED, OUTCOMES, min_pairs=10)
    assert found.temperature == pytest.approx(1.6688, abs=5e-5)
    assert log_loss(STATED, OUTCOMES) == pytest.approx(0.640663, abs=5e-7)
    after = [found(p) for p in STATED]
    assert log_loss(after, OUTCOMES) == pytest.approx(0.617034, abs=5e-7)
    assert brier(STATED, OUTCOMES) == pytest.approx(0.22625, abs=5e-7)


@pytest.mark.parametrize("method", ["temperature", "platt", "beta", "isotonic"])
def test_calibrators_undo_a_known_distortion(method):
    rng = np.random.default_rng(1)
    p = rng.beta(3, 1.5, 6000)
    y = (rng.random(6000) < p).astype(float)
    logit = np.log(p / (1 - p))
    boast = 1 / (1 + np.exp(-2.5 * logit))  # a temperature of 0.4
    found = crossfit(boast, y, method=method)
    assert found.log_loss_after < found.log_loss_before
    assert found.brier_after < found.brier_before
    assert np.abs(found.calibrated - p).mean() < 0.03
    if method == "temperature":
        assert fit_calibrator(boast, y).temperature == pytest.approx(2.5, abs=0.1)


def test_platt_is_where_the_likelihood_is_largest():
    # The score equations of logistic regression: residuals sum to 0, alone and times the logit.
    rng = np.random.default_rng(2)
    p = rng.beta(5, 2, 400)
    y = (rng.random(400) < p**2).astype(float)
    found = fit_calibrator(p, y, method="platt")
    residuals = np.array([found(q) for q in p]) - y
    assert residuals.mean() == pytest.approx(0, abs=1e-8)
    assert (residuals * np.log(p / (1 - p))).mean() == pytest.approx(0, abs=1e-8)


FITTED = {
    method: fit_calibrator(STATED, OUTCOMES, method=method, min_pairs=10)
    for method in ("temperature", "platt", "beta", "isotonic")
}


@pytest.mark.parametrize("method", ["temperature", "platt", "beta", "isotonic"])
@given(st.floats(0, 1), st.floats(0, 1))
def test_calibrators_stay_in_range_and_keep_the_order(method, a, b):
    low, high = sorted((a, b))
    assert 0 <= FITTED[method](low) <= FITTED[method](high) + 1e-12 <= 1 + 2e-12


def test_too_few_pairs_and_one_sided_outcomes_are_refused():
    with pytest.raises(ValueError, match="at least 30 pairs, got 10"):
        fit_calibrator(STATED, OUTCOMES)
    with pytest.raises(ValueError, match="both 0 and 1"):
        fit_calibrator([0.5] * 40, [1] * 40)
    with pytest.raises(ValueError, match="`method` must be"):
        fit_calibrator(STATED, OUTCOMES, method="magic", min_pairs=2)


def test_pool_weights_of_the_worked_example():
    p = [[0.9, 0.6], [0.8, 0.3], [0.7, 0.9], [0.2, 0.6], [0.95, 0.5], [0.4, 0.8]]
    found = pool_weights(p)
    assert found.weights == pytest.approx((0.504554, 0.495446), abs=2e-6)
    assert found.log_loss == pytest.approx(0.476222, abs=5e-7)


def test_a_useless_member_gets_no_weight():
    assert pool_weights([[0.9, 0.1], [0.8, 0.2]]).weights == pytest.approx((1.0, 0.0), abs=1e-6)


def test_risk_and_coverage_of_the_worked_example():
    found = risk_coverage([0.9, 0.8, 0.7, 0.6], [1, 1, 0, 1])
    assert found.aurc == pytest.approx(0.145833, abs=5e-7)
    assert found.risk == pytest.approx((0, 0, 1 / 3, 1 / 4))


@given(st.permutations(list(range(6))))
def test_the_order_of_equally_sure_answers_plays_no_part(order):
    confidence, right = [0.9, 0.5, 0.5, 0.5, 0.2, 0.2], [1, 1, 0, 0, 1, 0]
    shuffled = risk_coverage([confidence[i] for i in order], [right[i] for i in order])
    assert shuffled.aurc == pytest.approx(risk_coverage(confidence, right).aurc)


@pytest.mark.parametrize(
    ("text", "p"),
    [
        ("The answer is 7. Confidence: 85%", 0.85),
        ("Confidence: 85/100", 0.85),
        ("confidence = 0.85", 0.85),
        ("My confidence is 85 percent.", 0.85),
        ('{"answer": 7, "confidence": 0.85}', 0.85),
        ('{"answer": 7, "confidence": "85%"}', 0.85),
        ("Confidence: 9/10", 0.9),
        ("85%", 0.85),
        ("Confidence: 85", None),
        ("Confidence: 850%", None),
        ("I am sure.", None),
        ("", None),
        ("confidence 20%, no: confidence 80%", 0.8),
    ],
)
def test_stated_confidence_is_read_or_unknown(text, p):
    assert verbalised_confidence(text) == p


@given(st.text())
def test_no_text_makes_the_reader_of_confidence_fail(text):
    p = verbalised_confidence(text)
    assert p is None or 0 <= p <= 1


def test_confidence_from_tokens():
    sure = Completion(text="B", model="m", logprobs=[-0.1, -0.3])
    assert logprob_confidence(sure) == pytest.approx(np.exp(-0.2))
    assert logprob_confidence(Completion(text="B", model="m")) is None
    mcq = Completion(
        text="Answer: B", model="m",
        top_logprobs=[{"Answer": -0.1}, {":": 0.0}, {" B": np.log(0.6), " A": np.log(0.2), "b": np.log(0.1), "the": -3}],
    )  # fmt: skip
    assert option_confidence(mcq, "ABCD") == pytest.approx({"A": 2 / 9, "B": 7 / 9, "C": 0, "D": 0})
    assert option_confidence(sure, "ABCD") is None
    assert confidence_of(sure, "logprobs") == pytest.approx(np.exp(-0.2))
    assert confidence_of(sure, lambda c: 0.25) == 0.25


@pytest.fixture
def confident():
    """Two models on 600 items: a cheap one that knows when it is right, and a dear one."""
    rng = np.random.default_rng(2)
    rows, labels = [], {}
    for i in range(600):
        item = f"i{i}"
        labels[item] = "right"
        p = rng.beta(2, 1)
        for model, accuracy, stated, cost in (("cheap", p, p**0.5, 0.001), ("strong", 0.9, 0.9, 0.01)):  # fmt: skip
            text = "right" if rng.random() < accuracy else f"wrong {rng.integers(0, 9)}"
            said = Completion(text=text, model=model, confidence=float(stated), cost_usd=cost)
            rows.append(Cell(item=item, model=model, completion=said, cost_usd=cost))
    return ResponseMatrix(rows, labels=labels)


def test_a_cascade_s_threshold_reaches_its_target_for_less(confident):
    fit = fit_cascade(confident, cheap="cheap", strong="strong", target_accuracy=0.85)
    assert fit.accuracy >= 0.82  # chosen without the items that judge it
    assert 0.001 < fit.cost_usd < 0.011
    assert fit.curve[0].escalated == 0.0
    assert fit.curve[-1].escalated == 1.0
    assert fit.curve[-1].cost_usd == pytest.approx(0.011)
    costs = [point.cost_usd for point in fit.curve]
    assert costs == sorted(costs)
    assert all(p.accuracy_low <= p.accuracy <= p.accuracy_high for p in fit.curve)
    assert fit.execution.threshold == fit.threshold
    thrifty = fit_cascade(confident, cheap="cheap", strong="strong", budget_usd=0.003)
    assert thrifty.cost_usd < fit.cost_usd


def test_a_target_that_no_threshold_reaches_is_refused(confident):
    with pytest.raises(ValueError, match="the best of any threshold"):
        fit_cascade(confident, cheap="cheap", strong="strong", target_accuracy=0.999)
    with pytest.raises(ValueError, match="one of them"):
        fit_cascade(confident, cheap="cheap", strong="strong")


def test_calibrators_and_stacking_come_from_a_matrix(confident):
    cheap = confident.subset(models=("cheap",))
    assert fit_calibrators(cheap)["cheap"](0.9) < 0.9  # it states sqrt(p)
    vote = fit_stacking(confident)
    assert set(vote.weights) == {"cheap", "strong"}
    assert sum(vote.weights.values()) == pytest.approx(1.0)


def test_the_confidence_of_a_letter_is_its_share_among_the_letters():
    # At the answer's token B has 0.7 of 0.9 that went to letters: 7/9.
    place = {"B": np.log(0.7), "A": np.log(0.2), "Well": np.log(0.1)}

    async def answer(prompt):
        return Completion(
            text="B", model="m", logprobs=[np.log(0.7)], top_logprobs=[place],
            confidence=0.7, confidence_source="logprobs",
        )  # fmt: skip

    async def vote(normalise):
        members = [FunctionModel(answer, name="m")]
        ensemble = Ensemble(
            members, normalise=normalise, confidence="logprobs",
            vote=BestConfidence(calibration="assume"),
        )  # fmt: skip
        return (await ensemble.predict("Which?")).metadata.confidence

    assert anyio.run(vote, "mcq") == pytest.approx(7 / 9)
    assert anyio.run(vote, "exact") == pytest.approx(0.7)
