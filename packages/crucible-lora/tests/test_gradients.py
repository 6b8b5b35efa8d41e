import math

import numpy as np
import pytest

from crucible_lora import InProcessBackend, create_experiment, resume, train
from crucible_lora.demo import demo_findings
from crucible_lora.errors import ResumeMismatchError, UnsupportedOptionError
from crucible_lora.gradients import (
    GradDistribution,
    GradFlow,
    GradHealth,
    GradNorm,
    hook_from_dict,
    hook_to_dict,
)

pytestmark = pytest.mark.anyio
CONFIG = {"base_model": "reference", "rank": 4, "lr": 1e-2, "lora_dropout": 0.05}
HOOKS = (GradNorm(), GradDistribution(), GradFlow(), GradHealth(warmup=2))


@pytest.fixture
def make(tmp_path):
    def make(folder="lora", **options):
        return create_experiment("demo", CONFIG, directory=tmp_path / folder, **options)

    return make


def test_norms_are_those_of_pythagoras():
    found = GradNorm()({"a": np.array([3.0, 4.0]), "b": np.array([[12.0]])})
    assert found == {"tensors": {"a": 5.0, "b": 12.0}, "global": 13.0}
    broken = GradNorm()({"a": np.array([np.nan]), "b": np.array([1.0])})
    assert broken == {"tensors": {"a": None, "b": 1.0}, "global": None}


def test_a_distribution_is_told_by_its_moments():
    found = GradDistribution()({"a": np.array([1.0, 2.0, 0.0, 1e-13]), "b": np.array([2.0])})
    # mean 3/4; squares 1, 4, 0: (5 - 4 (3/4)^2) / 3 = 11/12
    assert found["a"]["mean"] == pytest.approx(0.75)
    assert found["a"]["sd"] == pytest.approx(math.sqrt(11 / 12))
    assert (found["a"]["min"], found["a"]["max"], found["a"]["tiny"]) == (0.0, 2.0, 0.5)
    assert found["b"]["sd"] is None


def test_layers_come_in_the_order_of_their_numbers():
    names = ("m.layers.10.x", "m.layers.2.y", "m.layers.2.z", "m.head")
    found = GradFlow()(dict(zip(names, map(np.array, ([8.0], [3.0], [4.0], [1.0])), strict=True)))
    assert found["layers"] == [["m.head", 1.0], ["m.layers.2", 5.0], ["m.layers.10", 8.0]]
    assert found["ratio"] == 8 / 5
    assert GradFlow()({"a": np.zeros(1), "b": np.ones(1)})["ratio"] is None


def judge(health, *norms):
    """Return what is told of a tensor with these norms, one after the other."""
    told = []
    for norm in norms:
        found = health({"a": np.array([norm])})
        told.append("".join(name for name, tensors in found.items() if tensors))
    return told


def test_health_is_judged_against_a_tensors_own_past():
    # A constant norm has no spread, so the limit is one decade either way.
    assert judge(GradHealth(warmup=3), 1, 1, 1, 11) == ["", "", "", "exploding"]
    assert judge(GradHealth(warmup=3), 1, 1, 1, 9) == [""] * 4
    assert judge(GradHealth(warmup=3), 1e-9, 1e-9, 1e-9, 0.9e-10) == ["", "", "", "vanishing"]
    assert judge(GradHealth(warmup=4), 1, 1, 1, 11) == [""] * 4
    assert judge(GradHealth(), math.nan, math.inf) == ["not_finite"] * 2


def test_a_wild_past_allows_a_wild_present():
    calm, wild = [1.0] * 8, [1.0, 1e3] * 4
    assert judge(GradHealth(warmup=8), *calm, 1e4)[-1] == "exploding"
    assert judge(GradHealth(warmup=8), *wild, 1e4)[-1] == ""


def test_ten_zeros_in_a_row_are_dead_and_one_is_not():
    assert judge(GradHealth(), *[0.0] * 10) == [""] * 9 + ["dead"]
    assert judge(GradHealth(), *[0.0] * 9, 1.0, *[0.0] * 9) == [""] * 19


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.name)
def test_hooks_survive_storage(hook):
    again = hook_from_dict(hook_to_dict(hook))
    assert type(again) is type(hook)
    gradients = {"a": np.array([1.0, 2.0])}
    assert again(gradients) == hook(gradients)
    with pytest.raises(ValueError, match="`z` must be > 0"):
        GradHealth(z=0)
    with pytest.raises(ValueError, match="`warmup` must be >= 0"):
        GradHealth(warmup=-1)


async def test_findings_land_in_the_history_in_order(make):
    report = await train(
        make(), demo_findings(40), epochs=2, gradient_hooks=HOOKS, hook_every=3, batch_size=8
    )
    seen = {row.step: row.gradients for row in report.history if row.gradients is not None}
    assert list(seen) == [1, 3, 6, 9]
    assert list(seen[1]) == ["norm", "distribution", "flow", "health"]
    # The same gradients give the same norm as the optimiser's own.
    for step, found in seen.items():
        norm = report.history[step - 1].grad_norm
        assert found["norm"]["global"] == pytest.approx(norm, rel=1e-12)
    # B = 0: nothing reaches A at the first update, and that is no illness.
    assert seen[1]["norm"]["tensors"]["layers.0.lora_A"] == 0.0
    assert seen[1]["norm"]["tensors"]["layers.0.lora_B"] > 0
    assert seen[1]["health"] == {"exploding": [], "vanishing": [], "dead": [], "not_finite": []}
    assert [name for name, _ in seen[3]["flow"]["layers"]] == ["layers.0", "layers.1"]


async def test_a_resumed_run_remembers_what_its_hooks_saw(make):
    options = {"epochs": 2, "batch_size": 8, "gradient_hooks": HOOKS, "hook_every": 2}
    whole = await train(make("a"), demo_findings(40), checkpoint_every=5, **options)
    cut = make("b")
    await train(cut, demo_findings(40), checkpoint_every=5, **options)
    again = await resume(cut, checkpoint="step-000005")
    assert [r.gradients for r in again.history] == [r.gradients for r in whole.history]
    assert again.checkpoints[-1].sha256 == whole.checkpoints[-1].sha256
    state = cut.checkpoints().state("step-000010")["hooks"]["memory"]["health"]
    assert state["layers.0.lora_B"]["count"] == 6  # updates 1, 2, 4, 6, 8, 10


class Broken:
    name = "broken"

    def __call__(self, gradients):
        raise ZeroDivisionError("oops")


async def test_a_hook_that_raises_is_disabled_and_training_goes_on(make):
    experiment = make()
    with pytest.warns(RuntimeWarning, match="hook 'broken' is disabled: ZeroDivisionError: oops"):
        report = await train(
            experiment, demo_findings(40), epochs=1, hook_every=1,
            gradient_hooks=[Broken(), GradNorm()],
        )  # fmt: skip
    assert report.steps == 5
    assert all(list(row.gradients) == ["norm"] for row in report.history)
    assert "hook 'broken' failed: ZeroDivisionError: oops" in report.warnings
    with pytest.raises(ValueError, match="`gradient_hooks` must be given again: 'broken'"):
        await resume(experiment)
    with pytest.raises(ResumeMismatchError, match="gradient_hooks"):
        await resume(experiment, gradient_hooks=[GradNorm()])
    assert (await resume(experiment, gradient_hooks=[Broken(), GradNorm()])).steps == 5


async def test_hooks_that_cannot_be_told_apart_or_served_are_refused(make):
    with pytest.raises(ValueError, match="different names, got 'norm' again"):
        await train(make(), demo_findings(8), gradient_hooks=[GradNorm(), GradNorm()])
    with pytest.raises(ValueError, match="`hook_every` must be >= 1, got 0"):
        await train(make(), demo_findings(8), hook_every=0)

    class Silent(InProcessBackend):
        @property
        def capabilities(self):
            from dataclasses import replace

            return replace(InProcessBackend.capabilities, gradients=False)

    with pytest.raises(UnsupportedOptionError, match="gradient_hooks"):
        await train(make("silent", backend=Silent()), demo_findings(8), gradient_hooks=[GradNorm()])
