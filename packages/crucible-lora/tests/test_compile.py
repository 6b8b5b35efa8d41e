"""Layers that torch compiles. What stands in for its compiler here runs the graph as it is."""

import shutil

import numpy as np
import pytest
import torch

from crucible_lora import LoraConfig, PeftBackend
from crucible_lora.backends import adapted, compiling
from crucible_lora.errors import UnsupportedOptionError
from crucible_lora.formats import Conversation
from crucible_lora.loss_registry import composite
from crucible_lora.losses import CrossEntropy
from crucible_lora.masking import lay_out
from crucible_lora.ports import Update

pytestmark = pytest.mark.anyio
TINY = {"base_model": "tiny", "modules_to_save": ["lm_head"]}


async def open_session(*, dropout=0.0, **options):
    config = LoraConfig.from_mapping({**TINY, "dropout": dropout})
    return await PeftBackend(threads=1, device="cpu", **options).create(config, seed=0)


def batch_for(session, length=1):
    talks = [
        Conversation(
            messages=({"role": "user", "content": "question " * (i + length)},),
            completion="answer" * (1 + i % 3),
        )
        for i in range(4)
    ]
    return [lay_out(str(i), talk, session.tokenizer) for i, talk in enumerate(talks)]


def update(loss=None):
    return Update(
        learning_rate=1e-2,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.01,
        max_grad_norm=1.0,
        loss=CrossEntropy() if loss is None else loss,
        micro_batch=2,
    )


@pytest.fixture
def compilations(monkeypatch):
    """The graphs that were handed to the compiler."""
    graphs = []

    def compiler(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(compiling, "_BY", compiler)
    yield graphs
    torch._dynamo.reset()


async def test_compiled_layers_learn_what_the_others_do_at_any_length(compilations):
    loss = composite({"cross_entropy": 1.0, "kl": 0.1})  # goes through them without adapter too
    before = torch.get_rng_state()
    plain, quick = await open_session(), await open_session(compile=True)
    assert compilations == []  # not before they are used
    for length in (1, 2, 5, 3):
        ours = await quick.train_step(batch_for(quick, length), update=update(loss))
        theirs = await plain.train_step(batch_for(plain, length), update=update(loss))
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-6)
        assert ours.grad_norm == pytest.approx(theirs.grad_norm, rel=1e-5)
        assert ours.components["kl"] == pytest.approx(theirs.components["kl"], abs=1e-6)
        # Other lengths need no other graph, nor does the second layer of a kind.
        assert 1 <= len(compilations) <= 4
    assert "the layers were compiled" in quick.notes[0]
    assert torch.equal(torch.get_rng_state(), before)
    pairs = zip(
        await quick.forward(batch_for(quick)), await plain.forward(batch_for(plain)), strict=True
    )
    for one, other in pairs:
        np.testing.assert_allclose(one, other, atol=1e-6)


async def test_answers_are_written_without_compiling(compilations):
    session = await open_session(compile=True)
    answer = await session.sampler().generate("say it", max_tokens=5)
    assert answer.output_tokens == 5
    assert compilations == []


async def test_compiled_layers_compute_again_where_memory_is_short(compilations):
    found = []
    for again in (False, True):
        session = await open_session(compile=True, gradient_checkpointing=again)
        steps = [await session.train_step(batch_for(session), update=update()) for _ in range(3)]
        found.append([(s.loss, s.grad_norm) for s in steps])
        assert not any("forward" in vars(layer) for layer in session._adapted.layers)
    assert found[0] == found[1]
    assert compilations


async def test_what_torch_cannot_compile_is_refused_and_leaves_the_layers_as_they_were(monkeypatch):
    def broken(graph, inputs):
        raise RuntimeError("no kernel for this")

    torch._dynamo.reset()
    monkeypatch.setattr(compiling, "_BY", broken)
    session = await open_session(compile=True)
    with pytest.raises(UnsupportedOptionError, match="could not compile the layers") as caught:
        await session.train_step(batch_for(session), update=update())
    assert caught.value.option == "compile"
    assert not any("forward" in vars(layer) for layer in session._adapted.layers)
    assert (await session.sampler().generate("say it", max_tokens=2)).output_tokens == 2
    torch._dynamo.reset()


async def test_what_stands_in_the_way_of_compiling_is_told_before_anything_is_loaded(monkeypatch):
    def never(*arguments, **options):
        raise AssertionError("the base was loaded")

    monkeypatch.setattr("crucible_lora.backends.bases.load_base", never)
    with pytest.raises(UnsupportedOptionError, match="dropout draws from a generator of its own"):
        await open_session(compile=True, dropout=0.1)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setenv("CXX", "c++-17")
    with pytest.raises(UnsupportedOptionError, match=r"there is no 'c\+\+-17' here"):
        await open_session(compile=True)
    with pytest.raises(ValueError, match="`compile` must be one of True, False, got 'yes'"):
        PeftBackend(compile="yes")


def test_a_gpu_wants_triton(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/g++")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    compiling.require_compiler(torch.device("cpu"))
    with pytest.raises(UnsupportedOptionError, match="Triton"):
        compiling.require_compiler(torch.device("cuda"))


async def test_a_model_whose_layers_cannot_be_told_is_not_compiled(monkeypatch):
    monkeypatch.setattr(adapted, "layers_of", lambda decoder: ())
    with pytest.raises(UnsupportedOptionError, match="layers cannot be told"):
        await open_session(compile=True)
