import math

import numpy as np
import pytest
import torch

from crucible_lora import LoraConfig
from crucible_lora.adamw import AdamW, clip_factor, global_norm
from crucible_lora.losses import CrossEntropy, LossRegistry
from crucible_lora.ports import Update
from crucible_lora.schedule import learning_rate, warmup_updates
from crucible_lora.testing import check_loss

LOGITS = np.array([[2.0, 0, 0], [0, 1.0, 0], [0, 0, 3.0]])
TARGETS = np.array([0, 2, 2])


def each(loss):
    return [loss(LOGITS[i : i + 1], TARGETS[i : i + 1], np.ones(1))[0] for i in range(3)]


def test_cross_entropy_is_the_logarithm_of_the_targets_share():
    # ln(e^2 + 2) - 2, ln(e + 2), ln(e^3 + 2) - 3
    assert each(CrossEntropy()) == pytest.approx([0.239544766, 1.551444714, 0.094922956], abs=5e-10)
    weighted, _ = CrossEntropy()(LOGITS, TARGETS, np.array([1.0, 2.0, 0.0]))
    assert weighted == pytest.approx(1.114144731, abs=5e-10)


def test_label_smoothing_shares_with_every_token():
    smooth = CrossEntropy(label_smoothing=0.1)
    assert each(smooth) == pytest.approx([0.372878100, 1.518111381, 0.294922956], abs=5e-10)
    weighted, _ = smooth(LOGITS, TARGETS, np.array([1.0, 2.0, 0.0]))
    assert weighted == pytest.approx(1.136366954, abs=5e-10)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_the_gradient_is_that_of_finite_differences(smoothing):
    check_loss(CrossEntropy(label_smoothing=smoothing))


def test_the_check_of_losses_finds_a_wrong_gradient_and_a_wrong_mean():
    class Doubled(CrossEntropy):
        def __call__(self, logits, targets, weights, /):
            value, gradient = CrossEntropy()(logits, targets, weights)
            return value, 2 * gradient

    class Summed(CrossEntropy):
        def __call__(self, logits, targets, weights, /):
            value, gradient = CrossEntropy()(logits, targets, weights)
            return value * weights.sum(), gradient * weights.sum()

    with pytest.raises(AssertionError, match="the gradient at"):
        check_loss(Doubled())
    with pytest.raises(AssertionError, match="weighted mean"):
        check_loss(Summed())


def test_numpy_and_torch_agree():
    rng = np.random.default_rng(0)
    logits, targets = rng.standard_normal((7, 11)), rng.integers(0, 11, 7)
    weights = rng.random(7)
    for smoothing in (0.0, 0.2):
        ours, gradient = CrossEntropy(label_smoothing=smoothing)(logits, targets, weights)
        x = torch.tensor(logits, requires_grad=True)
        losses = torch.nn.functional.cross_entropy(
            x, torch.tensor(targets), reduction="none", label_smoothing=smoothing
        )
        w = torch.tensor(weights)
        theirs = (losses * w).sum() / w.sum()
        theirs.backward()
        assert ours == pytest.approx(theirs.item(), abs=1e-6)
        np.testing.assert_allclose(gradient, x.grad.numpy(), atol=1e-6)


def test_an_unknown_loss_lists_the_known_ones():
    registry = LossRegistry()
    with pytest.raises(ValueError, match=r"one of cross_entropy, got 'crossentropy'.*did you mean"):
        registry.get("crossentropy")
    registry.register("smooth", lambda: CrossEntropy(label_smoothing=0.1))
    assert registry.names() == ("cross_entropy", "smooth")
    assert registry.get("smooth").label_smoothing == 0.1
    with pytest.raises(ValueError, match="must be new"):
        registry.register("smooth", CrossEntropy)
    assert LossRegistry().names() == ("cross_entropy",)  # nothing is shared between registries


def rates(schedule, min_ratio=0.0):
    return [
        learning_rate(k, total=10, warmup=2, peak=1e-3, schedule=schedule, min_ratio=min_ratio)
        for k in range(10)
    ]


def test_the_rate_rises_through_the_warm_up_and_falls_after():
    # T = 10, W = 2, by hand: 1e-3 (k + 1) / 2, then 1e-3 (1 - (k - 2) / 8)
    expected = [5e-4, 1e-3, 1e-3, *(1e-3 * (1 - (k - 2) / 8) for k in range(3, 10))]
    assert rates("linear") == pytest.approx(expected, abs=1e-15)
    assert rates("linear")[3] == pytest.approx(8.75e-4)
    assert rates("linear")[9] == pytest.approx(1.25e-4)
    assert rates("constant") == pytest.approx([5e-4, *[1e-3] * 9])


def test_a_cosine_falls_to_its_minimum():
    cosine = rates("cosine")
    # 1e-3 (1 + cos(pi (k - 2) / 8)) / 2
    assert cosine[3] == pytest.approx(9.619397663e-4, abs=1e-12)
    assert cosine[6] == pytest.approx(5e-4, abs=1e-12)
    assert cosine[9] == pytest.approx(3.806023374e-5, abs=1e-13)
    # 1e-3 (.1 + .9 (1 + cos(7 pi / 8)) / 2)
    assert rates("cosine", 0.1)[9] == pytest.approx(1.342542104e-4, abs=1e-13)


def test_a_warm_up_that_leaves_nothing_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match=r"< the 10 updates of this run, got 10"):
        warmup_updates(LoraConfig(base_model="reference", warmup_steps=10), total=10)
    assert warmup_updates(LoraConfig(base_model="reference"), total=200) == 10
    assert warmup_updates(LoraConfig(base_model="reference", warmup_ratio=0.29), total=100) == 29
    assert warmup_updates(LoraConfig(base_model="reference"), total=1) == 0


def update(**changes):
    values = {
        "learning_rate": 0.1,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0.01,
        "max_grad_norm": None,
        "loss": CrossEntropy(),
        "micro_batch": 1,
    }
    return Update(**{**values, **changes})


def test_clipping_uses_the_norm_over_all_gradients():
    gradients = {"a": np.array([3.0, 4.0]), "b": np.array([12.0])}
    assert global_norm(gradients) == 13.0
    assert clip_factor(13.0, 1.0) == 1 / 13
    assert clip_factor(0.5, 1.0) == 1.0
    assert clip_factor(13.0, None) == 1.0


def test_the_first_step_of_adamw_is_the_one_by_hand():
    parameters = {"w": np.array([1.0])}
    AdamW(parameters).step({"w": np.array([0.5])}, update())
    # 1 (1 - .1 * .01) - .1 * .5 / (.5 + 1e-8)
    assert parameters["w"][0] == pytest.approx(0.899000002, abs=1e-12)


def test_adamw_walks_with_torch():
    rng = np.random.default_rng(1)
    start = rng.standard_normal(6)
    parameters = {"w": start.copy()}
    theirs = torch.tensor(start, requires_grad=True)
    ours = AdamW(parameters)
    peer = torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.01)
    for _ in range(20):
        gradient = rng.standard_normal(6)
        ours.step({"w": gradient}, update())
        theirs.grad = torch.tensor(gradient)
        peer.step()
    np.testing.assert_allclose(parameters["w"], theirs.detach().numpy(), rtol=1e-10)
    count, moments = ours.state()
    assert count == 20
    assert set(moments) == {"first.w", "second.w"}
    assert math.isfinite(float(moments["second.w"].sum()))
