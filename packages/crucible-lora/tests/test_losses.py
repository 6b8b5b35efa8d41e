import math

import numpy as np
import pytest
import torch

from crucible_lora import LoraConfig
from crucible_lora.adamw import AdamW, clip_factor, global_norm
from crucible_lora.backends.torch_losses import loss_in_torch
from crucible_lora.composite import Composite, terms_of
from crucible_lora.loss_registry import LossRegistry, composite, loss_from_dict, loss_to_dict
from crucible_lora.losses import KL, MSE, CitationWeighted, CrossEntropy
from crucible_lora.ports import Example, Update
from crucible_lora.schedule import learning_rate, warmup_updates
from crucible_lora.testing import check_loss

LOGITS = np.array([[2.0, 0, 0], [0, 1.0, 0], [0, 0, 3.0]])
TARGETS = np.array([0, 2, 2])


BASE = np.array([[1.0, 1.0, 0], [0, 0, 2.0], [1.0, 0, 0]])
WEIGHTS = np.array([1.0, 2.0, 0.0])


def each(loss, **options):
    rows = [slice(i, i + 1) for i in range(3)]
    options = {name: [value[r] for r in rows] for name, value in options.items()}
    return [
        loss(LOGITS[r], TARGETS[r], np.ones(1), **{k: v[i] for k, v in options.items()})[0]
        for i, r in enumerate(rows)
    ]


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


def test_the_distance_from_the_base_is_that_of_kullback_and_leibler():
    # sum q (ln q - ln p) with the softmax of BASE and LOGITS, to nine digits
    forward, reverse = KL(), KL(direction="reverse")
    assert each(forward, teacher_logits=BASE) == pytest.approx(
        [0.377549962, 0.779365053, 1.483770454], abs=5e-10
    )
    assert each(reverse, teacher_logits=BASE) == pytest.approx(
        [0.302929101, 0.840333822, 1.139572252], abs=5e-10
    )
    weighted, _ = forward(LOGITS, TARGETS, WEIGHTS, teacher_logits=BASE)
    assert weighted == pytest.approx(0.645426689, abs=5e-10)


def test_a_temperature_is_that_of_both_distributions():
    warm, _ = KL(temperature=2.0)(LOGITS, TARGETS, WEIGHTS, teacher_logits=BASE)
    cold, _ = KL()(LOGITS / 2, TARGETS, WEIGHTS, teacher_logits=BASE / 2)
    assert warm == pytest.approx(cold, abs=1e-15)


def test_the_squared_distance_of_logits_is_a_mean_over_the_vocabulary():
    # (1 + 1 + 0) / 3, (0 + 1 + 4) / 3, weights 1 and 2: (2 + 10) / 9
    weighted, _ = MSE()(LOGITS, TARGETS, WEIGHTS, teacher_logits=BASE)
    assert weighted == pytest.approx(4 / 3, abs=1e-15)


def marked_example():
    return Example(
        item_id="x",
        tokens=np.array([5, 0, 2, 2], dtype=np.int64),
        weights=np.array([0, 1, 1, 1], dtype=np.float32),
        marked=np.array([False, False, True, False]),
    )


def test_citations_count_for_more():
    loss = CitationWeighted(weight=2.0)
    weights = loss.weigh(marked_example())
    assert weights.tolist() == [1, 2, 1]
    # (.239544766 + 2 * 1.551444714 + .094922956) / 4
    value, _ = loss(LOGITS, TARGETS, weights)
    assert value == pytest.approx(0.859339288, abs=5e-10)


def test_a_sum_of_losses_is_the_sum_of_its_parts():
    loss = composite({"cross_entropy": 1.0, "kl": 0.1, "mse": 0.5})
    value, gradient = loss(LOGITS, TARGETS, WEIGHTS, teacher_logits=BASE)
    parts = [
        CrossEntropy()(LOGITS, TARGETS, WEIGHTS),
        KL()(LOGITS, TARGETS, WEIGHTS, teacher_logits=BASE),
        MSE()(LOGITS, TARGETS, WEIGHTS, teacher_logits=BASE),
    ]
    assert value == pytest.approx(1.114144731 + 0.1 * 0.645426689 + 0.5 * 4 / 3, abs=5e-9)
    expected = sum(c * g for c, (_, g) in zip((1.0, 0.1, 0.5), parts, strict=True))
    np.testing.assert_allclose(gradient, expected, atol=1e-15)
    assert [t.name for t in terms_of(loss)] == ["cross_entropy", "kl", "mse"]


def test_sums_of_losses_refuse_what_is_no_sum():
    for parts, message in (
        ({}, "must not be empty"),
        ({"kl": 0.0}, "numbers > 0, got 0.0 for 'kl'"),
        ({"cross": 1.0}, "must be one of citation_weighted, cross_entropy, kl, mse"),
    ):
        with pytest.raises(ValueError, match=message):
            composite(parts)
    with pytest.raises(ValueError, match="must be no sums themselves"):
        Composite(parts={"a": (1.0, composite({"kl": 1.0}))})
    with pytest.raises(ValueError, match="`teacher_logits` must be given to the loss 'kl'"):
        KL()(LOGITS, TARGETS, WEIGHTS)
    for wrong in (lambda: KL(direction="up"), lambda: KL(temperature=0), lambda: KL(teacher="me"), lambda: MSE(teacher="me"), lambda: CitationWeighted(weight=0)):  # fmt: skip
        with pytest.raises(ValueError, match="must be"):
            wrong()


LOSSES = [
    CrossEntropy(label_smoothing=0.1),
    CitationWeighted(weight=3.0),
    KL(),
    KL(direction="reverse", temperature=2.0),
    MSE(),
    composite({"cross_entropy": 1.0, "kl": 0.1, "citation_weighted": 2.0}),
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_every_gradient_is_that_of_finite_differences(loss):
    check_loss(loss)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_every_loss_survives_storage(loss):
    assert loss_from_dict(loss_to_dict(loss)) == loss


def test_a_stored_sum_says_where_a_part_is_not_ours():
    class Mine(CrossEntropy):
        pass

    assert loss_to_dict(Composite(parts={"mine": (1.0, Mine())}))["custom"] is True


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_every_loss_in_numpy_and_in_torch_agree(loss):
    rng = np.random.default_rng(0)
    logits, base = rng.standard_normal((2, 7, 11))
    targets, weights = rng.integers(0, 11, 7), rng.random(7)
    for term in terms_of(loss):
        ours, gradient = term(logits, targets, weights, teacher_logits=base)
        x = torch.tensor(logits, requires_grad=True)
        theirs = loss_in_torch(term, x, targets, weights, torch.tensor(base))
        theirs.backward()
        assert ours == pytest.approx(theirs.item(), abs=1e-6)
        np.testing.assert_allclose(gradient, x.grad.numpy(), atol=1e-6)


def test_a_loss_of_ones_own_is_bridged_into_torch():
    class Doubled(CrossEntropy):
        def __call__(self, logits, targets, weights, /):
            value, gradient = CrossEntropy()(logits, targets, weights)
            return 2 * value, 2 * gradient

    (term,) = terms_of(Doubled())
    x = torch.tensor(LOGITS, requires_grad=True)
    value = loss_in_torch(term, x, TARGETS, WEIGHTS, None)
    value.backward()
    assert value.item() == pytest.approx(2 * 1.114144731, abs=1e-8)
    np.testing.assert_allclose(x.grad.numpy(), Doubled()(LOGITS, TARGETS, WEIGHTS)[1], atol=1e-12)


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
    with pytest.raises(
        ValueError,
        match=r"one of citation_weighted, cross_entropy, kl, mse, got 'crossentropy'.*did you mean",
    ):
        registry.get("crossentropy")
    registry.register("smooth", lambda: CrossEntropy(label_smoothing=0.1))
    assert registry.names() == ("citation_weighted", "cross_entropy", "kl", "mse", "smooth")
    assert registry.get("smooth").label_smoothing == 0.1
    with pytest.raises(ValueError, match="must be new"):
        registry.register("smooth", CrossEntropy)
    assert "smooth" not in LossRegistry().names()  # nothing is shared between registries


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
