import json
import shutil
import subprocess
import sys
import textwrap
import warnings

import anyio
import numpy as np
import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file

from crucible_lora import (
    LoraConfig,
    PeftBackend,
    Sampler,
    create_experiment,
    evaluate_sync,
    resume_sync,
    train_sync,
)
from crucible_lora.backends.bases import choose_attention
from crucible_lora.backends.rows import packed
from crucible_lora.backends.torch_decoding import CachedDecoder
from crucible_lora.backends.torch_state import TorchSettings
from crucible_lora.demo import demo_findings, findings_schema
from crucible_lora.errors import (
    BaseModelNotFoundError,
    ContextLengthError,
    UnsupportedOptionError,
)
from crucible_lora.formats import Conversation
from crucible_lora.gradients import GradFlow
from crucible_lora.loss_registry import composite
from crucible_lora.losses import CrossEntropy
from crucible_lora.masking import lay_out, prompt_tokens
from crucible_lora.ports import Example, Update
from crucible_lora.schemas import JsonSchema
from crucible_lora.testing import check_backend

pytestmark = pytest.mark.anyio
TINY = {"base_model": "tiny", "modules_to_save": ["lm_head"], "lr": 1e-2}


def backend(**options):
    return PeftBackend(threads=1, device="cpu", **options)


def config(**changes):
    return LoraConfig.from_mapping({**TINY, **changes})


def chat(question, answer, **options):
    return Conversation(
        messages=({"role": "user", "content": question},), completion=answer, **options
    )


def update(**changes):
    values = {
        "learning_rate": 1e-2,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "loss": CrossEntropy(),
        "micro_batch": 8,
    }
    return Update(**{**values, **changes})


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_the_backend_keeps_the_promises_of_the_port(anyio_backend):
    dropout = 0.05 if anyio_backend == "trio" else 0.0
    await check_backend(backend, config=config(dropout=dropout))


async def test_there_are_as_many_trained_values_as_described():
    session = await backend().create(config(), seed=0)
    # 16 (in + out) of 7 layers in 2 blocks, and the head, 64 x 260
    assert session.trainable == 32_768 + 64 * 260 == 49_408
    attention = await backend().create(config(target_modules="attention"), seed=0)
    assert attention.trainable == 2 * 16 * (128 + 96 + 96 + 128) + 64 * 260
    named = await backend().create(config(target_modules=("q_proj",)), seed=0)
    assert named.trainable == 2 * 16 * 128 + 64 * 260


def test_the_tiny_model_learns_the_demo_task(tmp_path):
    experiment = create_experiment("tiny", TINY, backend=backend(), directory=tmp_path)
    report = train_sync(experiment, demo_findings(400), epochs=8, batch_size=16)
    # Bars: published with the design for 200 updates of 16
    assert (report.backend, report.steps) == ("peft", 200)
    assert (report.device, report.dtype, report.peak_memory_bytes) == ("cpu", "float32", None)
    assert report.loss_first >= 5.4  # ln 260 = 5.561 is uniform
    assert report.loss_final <= 0.05
    assert set(report.versions) >= {"torch", "transformers", "peft"}
    evaluation = evaluate_sync(
        experiment, demo_findings(50, held_out=True), max_tokens=48, batch_size=50,
        schema=JsonSchema(findings_schema()),
    )  # fmt: skip
    assert evaluation.delta["schema_compliance"].base == 0.0
    assert evaluation.metrics["schema_compliance"].value >= 0.9
    assert evaluation.delta["nll"].base >= 5.4


@pytest.mark.parametrize(
    "changes", [{"modules_to_save": ()}, {"modules_to_save": ("embed_tokens",)}]
)
async def test_a_frozen_head_is_refused_since_it_would_not_learn(changes):
    with pytest.raises(UnsupportedOptionError, match="does not learn with a frozen head"):
        await backend().create(config(**changes), seed=0)


def test_a_frozen_head_would_indeed_not_learn(tmp_path, monkeypatch):
    monkeypatch.setattr(PeftBackend, "_check", lambda self, config: None)
    frozen = {**TINY, "modules_to_save": []}
    experiment = create_experiment("frozen", frozen, backend=backend(), directory=tmp_path)
    report = train_sync(experiment, demo_findings(400), epochs=2, batch_size=8)
    assert report.steps == 100
    assert report.loss_final > 4  # the same with a head that learns: below .2


class Killed(BaseException):
    pass


def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(tmp_path):
    def make(folder):
        return create_experiment(
            "tiny", {**TINY, "dropout": 0.05}, backend=backend(), directory=tmp_path / folder
        )

    def on_step(row):
        if row.step == 6:
            raise Killed

    items, options = demo_findings(48), {"epochs": 2, "evaluate_every": 3, "checkpoint_every": 5}
    whole = train_sync(make("a"), items, validation=demo_findings(4, held_out=True), **options)
    assert whole.steps == 12
    cut = make("b")
    with pytest.raises(Killed):
        train_sync(
            cut, items, validation=demo_findings(4, held_out=True), on_step=on_step, **options
        )
    went_on = resume_sync(cut)
    assert [r.loss for r in went_on.history] == [r.loss for r in whole.history]
    assert [r.validation for r in went_on.history] == [r.validation for r in whole.history]
    files = [
        c.path / "adapter_model.safetensors"
        for c in (whole.checkpoints[-1], went_on.checkpoints[-1])
    ]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert whole.checkpoints[-1].sha256 == went_on.checkpoints[-1].sha256


async def test_global_generators_and_threads_are_left_as_found(tmp_path):
    torch.manual_seed(5)
    np.random.seed(5)

    def state():
        return (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), torch.get_num_threads())  # fmt: skip

    before = state()
    session = await backend().create(config(dropout=0.1), seed=3)
    example = lay_out("x", chat("q", "answer"), session.tokenizer)
    await session.train_step([example], update=update())
    await session.save(tmp_path)
    await session.sampler(tmp_path).generate("q", temperature=1.0, seed=1, max_tokens=3)
    assert state() == before


async def test_the_global_generator_decides_nothing():
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        session = await backend().create(config(dropout=0.1), seed=0)
        example = lay_out("x", chat("q", "answer"), session.tokenizer)
        found.append([await session.train_step([example], update=update()) for _ in range(3)])
    assert found[0] == found[1]


async def test_accumulation_is_one_batch_and_padding_changes_nothing():
    pairs = [(f"question {i}", "answer " * (1 + i % 4)) for i in range(8)]
    found = {}
    for micro in (8, 2, 3):
        session = await backend().create(config(), seed=0)
        batch = [lay_out(str(i), chat(q, a), session.tokenizer) for i, (q, a) in enumerate(pairs)]
        steps = [
            await session.train_step(batch, update=update(micro_batch=micro)) for _ in range(3)
        ]
        found[micro] = [(s.loss, s.grad_norm) for s in steps]
    np.testing.assert_allclose(found[2], found[8], atol=1e-5)
    np.testing.assert_allclose(found[3], found[8], atol=1e-5)


async def test_the_loss_and_its_gradient_are_those_of_the_numpy_loss():
    class Numpy:
        name = "numpy"

        def __call__(self, logits, targets, weights, /):
            return CrossEntropy(label_smoothing=0.1)(logits, targets, weights)

    steps = []
    for loss in (CrossEntropy(label_smoothing=0.1), Numpy()):
        session = await backend().create(config(), seed=0)
        batch = [
            lay_out(str(i), chat("q", "answer" * i, weight=i), session.tokenizer) for i in (1, 2)
        ]
        steps.append([await session.train_step(batch, update=update(loss=loss)) for _ in range(3)])
    for ours, theirs in zip(*steps, strict=True):
        assert ours.loss == pytest.approx(theirs.loss, abs=1e-5)
        assert ours.grad_norm == pytest.approx(theirs.grad_norm, rel=1e-4)


async def test_a_loss_that_is_no_number_changes_nothing():
    class Broken:
        name = "broken"

        def __call__(self, logits, targets, weights, /):
            return float("nan"), np.full(logits.shape, np.nan)

    session = await backend().create(config(), seed=0)
    batch = [lay_out("x", chat("q", "answer"), session.tokenizer)]
    before = await session.forward(batch)
    result = await session.train_step(batch, update=update(loss=Broken()))
    assert (result.skipped, result.loss) == (True, None)
    np.testing.assert_array_equal(before[0], (await session.forward(batch))[0])


@pytest.fixture
async def trained(tmp_path):
    session = await backend().create(config(dropout=0.05), seed=0)
    batch = [
        lay_out(q, chat(q, a), session.tokenizer) for q, a in (("say it", "abc"), ("go", "xyz"))
    ]
    for _ in range(40):
        await session.train_step(batch, update=update())
    await session.save(tmp_path)
    return session, tmp_path


async def test_the_log_probabilities_of_an_answer_are_those_of_the_forward_pass(trained):
    session, path = trained
    assert (await session.sampler(path).generate("say it")).text == "abc"
    prompt = prompt_tokens(chat("say it", ""), session.tokenizer)
    for temperature in (0.0, 2.0):  # one token at a time with a cache, and all at once without
        (answer,) = await session.complete(
            [prompt], adapter=path, max_tokens=12, temperature=temperature, top_p=1.0, top_k=None,
            seeds=[4], stop=(),
        )  # fmt: skip
        tokens = np.array([*prompt, *answer.tokens])
        weights = (np.arange(len(tokens)) >= len(prompt)).astype(np.float32)
        example = Example(item_id="x", tokens=tokens, weights=weights)
        (forward,) = await session.forward([example])
        np.testing.assert_allclose(answer.logprobs, forward, atol=1e-4)


async def test_a_saved_adapter_answers_while_another_is_in_training(trained, tmp_path):
    session, path = trained
    batch = [lay_out("x", chat("say it", "def"), session.tokenizer)]
    for _ in range(40):
        await session.train_step(batch, update=update())
    before = await session.forward(batch)
    assert (await session.sampler(path).generate("say it")).text == "abc"
    assert (await session.sampler().generate("say it", max_tokens=5)).text != "abc"
    later = tmp_path / "later"
    later.mkdir()
    await session.save(later)
    assert (await session.sampler(later).generate("say it")).text == "def"
    np.testing.assert_array_equal(before[0], (await session.forward(batch))[0])


async def test_plain_peft_loads_the_adapter_and_gives_the_same_logits(trained):
    session, path = trained
    from crucible_lora.backends.bases import load_base

    model = load_base(
        config(), device=torch.device("cpu"), dtype=torch.float32, attention="sdpa"
    ).model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = peft.PeftModel.from_pretrained(model, str(path))
    example = lay_out("x", chat("say it", "abc"), session.tokenizer)
    with torch.inference_mode():
        logp = torch.log_softmax(
            loaded(torch.from_numpy(example.tokens)[None]).logits[0].double(), -1
        )
    at = example.targets()
    theirs = logp[at - 1, example.tokens[at]].numpy()
    (ours,) = await session.forward([example])
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


async def test_a_prompt_beyond_the_context_is_refused(trained):
    session, path = trained
    with pytest.raises(ContextLengthError, match="do not fit the model's context of 2048"):
        await session.sampler(path).generate("x" * 2048)
    answer = await session.sampler().generate("x" * 2040, max_tokens=1000)
    assert answer.output_tokens <= 2048 - 2042


async def test_bfloat16_trains_with_an_adapter_in_float32():
    session = await backend(dtype="bfloat16").create(config(), seed=0)
    assert session.dtype == "bfloat16"
    assert {p.dtype for p in session._adapted.parameters.values()} == {torch.float32}
    batch = [lay_out("x", chat("say it", "hello"), session.tokenizer)]
    steps = [await session.train_step(batch, update=update()) for _ in range(20)]
    assert steps[-1].loss < steps[0].loss / 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of one layer with tied weights, and a tokenizer with a template, on disk."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    path = tmp_path_factory.mktemp("model")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {c: i for i, c in enumerate(alphabet)}
    vocabulary |= {
        "<|end|>": 256,
        "<|user|>": 257,
        "<|assistant|>": 258,
        "<|system|>": 259,
        "he": 260,
    }
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[("h", "e")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>",
        additional_special_tokens=["<|user|>", "<|assistant|>", "<|system|>"],
    )  # fmt: skip
    fast.chat_template = (
        "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    fast.save_pretrained(path)
    settings = transformers.LlamaConfig(
        vocab_size=261, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=256,
        tie_word_embeddings=True, eos_token_id=256, bos_token_id=None,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.LlamaForCausalLM(settings).save_pretrained(path)
    return path


async def test_a_model_on_disk_is_trained_and_its_template_masked(folder, tmp_path):
    one = LoraConfig(base_model=str(folder), learning_rate=1e-2)
    session = await backend().create(one, seed=0)
    assert session.context == 256
    example = lay_out("x", chat("say it", "hello"), session.tokenizer)
    targets = example.tokens[example.targets()].tolist()
    assert session.tokenizer.decode(targets) == "hello"
    assert targets[0] == 260
    assert targets[-1] == 256  # the line feed that the template adds is not learned
    assert len(targets) == 5  # he l l o <end>
    await session.save(tmp_path)
    found = session.sampler(tmp_path).fingerprint()
    assert len(str(found["base"])) == 64
    assert found != session.sampler().fingerprint()
    steps = [await session.train_step([example], update=update()) for _ in range(3)]
    assert steps[2].loss < steps[0].loss


async def test_a_completion_that_merges_with_a_plain_prompt_is_split(folder):
    session = await backend().create(LoraConfig(base_model=str(folder)), seed=0)
    example = lay_out("x", chat("oh", "ello", plain=True), session.tokenizer)
    start = example.targets()[0]
    assert session.tokenizer.decode(example.tokens[:start].tolist()) == "oh"
    assert session.tokenizer.decode(example.tokens[start:].tolist()) == "ello"


async def test_options_that_the_model_cannot_honour_are_refused(folder):
    for changes, option in (
        ({"unembed": True}, "unembed"),  # its head is its embedding
        ({"target_modules": ("query",)}, "target_modules"),
    ):
        with pytest.raises(UnsupportedOptionError, match=f"cannot honour {option}"):
            await backend().create(LoraConfig(base_model=str(folder), **changes), seed=0)
    with pytest.raises(UnsupportedOptionError, match="that is the in-process backend's"):
        await backend().create(LoraConfig(base_model="reference"), seed=0)


async def test_the_head_can_be_adapted_where_it_is_no_embedding(folder, tmp_path):
    settings = transformers.AutoConfig.from_pretrained(folder)
    settings.tie_word_embeddings = False
    with torch.random.fork_rng():
        transformers.LlamaForCausalLM(settings).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    plain = LoraConfig(base_model=str(tmp_path))
    both = LoraConfig(base_model=str(tmp_path), unembed=True)
    sizes = [(await backend().create(c, seed=0)).trainable for c in (plain, both)]
    assert sizes[1] - sizes[0] == 16 * (32 + 261)


async def test_an_unknown_base_says_what_was_tried():
    with pytest.raises(BaseModelNotFoundError, match="not without allow_download") as caught:
        await backend().create(LoraConfig(base_model="nobody/nothing"), seed=0)
    assert len(caught.value.tried) == 4


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
async def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(UnsupportedOptionError, match="torch finds no CUDA device"):
        await PeftBackend(device="cuda").create(config(), seed=0)


@pytest.mark.parametrize("options", [{"device": "tpu"}, {"dtype": "int8"}, {"attention": "x"}, {"threads": 0}])  # fmt: skip
def test_bad_options_are_named(options):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}` must be"):
        PeftBackend(**options)


async def test_every_loss_trains_the_tiny_model_and_its_parts_add_up():
    loss = composite({"cross_entropy": 1.0, "kl": 0.1, "mse": 0.01, "citation_weighted": 0.5})
    pairs = [("one", "first answer"), ("two words", "b"), ("a third one", "something longer")]
    found = {}
    for micro in (8, 1):
        session = await backend().create(config(), seed=0)
        batch = [
            lay_out(str(i), chat(q, a, spans=((0, 1),)), session.tokenizer)
            for i, (q, a) in enumerate(pairs)
        ]
        found[micro] = [
            await session.train_step(
                batch, update=update(loss=loss, micro_batch=micro, gradients=True)
            )
            for _ in range(3)
        ]
    for one, three in zip(found[8], found[1], strict=True):
        assert dict(one.components) == pytest.approx(dict(three.components), rel=1e-4, abs=1e-6)
        parts = one.components
        total = sum(c * parts[k] for k, (c, _) in loss.parts.items())
        assert one.loss == pytest.approx(total, rel=1e-9)
    first, last = found[8][0], found[8][-1]
    assert first.components["kl"] == pytest.approx(0.0, abs=1e-9)  # B = 0: still the base
    assert last.components["kl"] > 0
    # What the hooks see is what the optimiser saw.
    norm = np.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in first.gradients.values()))
    assert norm == pytest.approx(first.grad_norm, rel=1e-6)
    flow = GradFlow()(first.gradients)
    layers = [name for name, _ in flow["layers"] if "layers" in name]
    assert [name.rpartition("layers.")[2] for name in layers] == ["0", "1"]


async def test_adapters_of_one_backend_share_their_base_in_memory():
    import gc

    shared = backend()
    one = await shared.create(config(rank=4), seed=0)
    other = await shared.create(config(rank=8, target_modules="attention"), seed=1)
    alone = await backend().create(config(rank=4), seed=0)

    def frozen(session):
        named = session._adapted.model.named_parameters()
        return {p.data_ptr() for n, p in named if ".base_layer." in n or "embed_tokens" in n}

    assert frozen(one) & frozen(other)
    assert not frozen(one) & frozen(alone)
    batch = [lay_out("x", chat("one", "first answer"), one.tokenizer)]
    before = await other.forward(batch)
    for _ in range(5):
        await one.train_step(batch, update=update())
        await alone.train_step(batch, update=update())
    after = await other.forward(batch)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    equal = zip(await one.forward(batch), await alone.forward(batch), strict=True)
    assert all(np.array_equal(a, b) for a, b in equal)  # the same as without company
    assert len(shared._bases._loaded) == 1
    del one, other
    gc.collect()
    assert len(shared._bases._loaded) == 0  # and gone with the last of them


async def test_answers_written_together_are_those_written_alone(trained):
    session, path = trained
    prompts = [prompt_tokens(chat(q, ""), session.tokenizer) for q in ("say it", "go", "x" * 30)]
    how = {"adapter": path, "max_tokens": 12, "top_p": 0.9, "top_k": 50, "stop": ()}
    for temperature in (0.0, 0.8):
        together = await session.complete(prompts, temperature=temperature, seeds=[1, 2, 3], **how)
        for i, prompt in enumerate(prompts):
            (alone,) = await session.complete(
                [prompt], temperature=temperature, seeds=[i + 1], **how
            )
            assert together[i].tokens == alone.tokens
            assert together[i].finish == alone.finish
            np.testing.assert_allclose(together[i].logprobs, alone.logprobs, atol=1e-4)


async def test_a_model_that_cannot_read_prompts_together_writes_one_answer_at_a_time(
    trained, monkeypatch
):
    session, path = trained

    def no_mask(decoder, prompts):  # as a layer with a state of its own, which reads the padding
        decoder._seen = None
        return found(decoder, prompts)

    found = CachedDecoder._read
    monkeypatch.setattr(CachedDecoder, "_read", no_mask)
    monkeypatch.setattr(session._adapted, "_together", None)
    prompts = [prompt_tokens(chat(q, ""), session.tokenizer) for q in ("say it", "go on")]
    how = {"adapter": path, "max_tokens": 8, "top_p": 1.0, "top_k": None, "stop": (), "temperature": 0.0}  # fmt: skip
    both = await session.complete(prompts, seeds=[0, 0], **how)
    assert session._adapted._together is False
    for prompt, answer in zip(prompts, both, strict=True):
        assert answer == (await session.complete([prompt], seeds=[0], **how))[0]


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_sampler_answers_together_what_waits_together(trained, monkeypatch):
    session, path = trained
    sizes, real = [], session.complete

    async def counted(prompts, /, **options):
        sizes.append(len(prompts))
        return await real(prompts, **options)

    monkeypatch.setattr(session, "complete", counted)
    one = Sampler(session, path, name="one")
    four = Sampler(session, path, name="four", batch=4)
    answers = {}

    async def ask(model, i):
        text = f"say it {i % 5}"
        found = await model.generate(text, temperature=0.8, max_tokens=6, seed=i)
        answers[model.name, i] = found.text

    for model in (one, four):
        async with anyio.create_task_group() as group:
            for i in range(9):
                group.start_soon(ask, model, i)
    assert [answers["four", i] for i in range(9)] == [answers["one", i] for i in range(9)]
    assert sizes[:9] == [1] * 9
    assert sum(sizes[9:]) == 9
    assert max(sizes[9:]) == 4


async def test_a_request_that_fails_does_not_take_those_beside_it_along(trained):
    session, path = trained
    model, found = Sampler(session, path, name="model", batch=4), []

    async def ask(text):
        try:
            found.append((await model.generate(text, max_tokens=12)).text)
        except ContextLengthError:
            found.append("too long")

    async with anyio.create_task_group() as group:
        for text in ("say it", "x" * 3000, "go"):
            group.start_soon(ask, text)
    assert sorted(found) == ["abc", "too long", "xyz"]


async def test_who_waits_gets_an_answer_though_the_one_who_asked_for_all_is_gone(trained):
    session, path = trained
    model, found = Sampler(session, path, name="model", batch=4), []

    async def ask():
        found.append((await model.generate("say it", max_tokens=12)).text)

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as first:
            async with anyio.create_task_group() as doomed:
                doomed.start_soon(ask)
                await anyio.lowlevel.checkpoint()
                group.start_soon(ask)
                await anyio.lowlevel.checkpoint()
                first.cancel()
    assert "abc" in found
    assert set(found) == {"abc"}


def rows_of(session, batch, *, width):
    return session._adapted.rows(batch, pack_to=width)


def pairs(n=8):
    return [(f"question {i}", "answer " * (1 + i % 4)) for i in range(n)]


async def test_packed_examples_have_the_loss_and_gradient_of_separate_ones():
    found = {}
    for width in (None, 128, 4096):
        session = await backend().create(config(), seed=0)
        batch = [lay_out(str(i), chat(q, a), session.tokenizer) for i, (q, a) in enumerate(pairs())]
        steps = [await session.train_step(batch, update=update(pack_to=width)) for _ in range(3)]
        found[width] = [(s.loss, s.grad_norm) for s in steps]
        if width is not None:
            rows = rows_of(session, batch, width=width)
            assert rows.ids.shape[1] <= width
            assert len(rows.ids) < len(batch)
    np.testing.assert_allclose(found[128], found[None], rtol=1e-5)
    np.testing.assert_allclose(found[4096], found[None], rtol=1e-5)


async def test_positions_without_the_mask_would_let_packed_examples_see_each_other():
    session = await backend().create(config(), seed=0)
    batch = [lay_out(str(i), chat(q, a), session.tokenizer) for i, (q, a) in enumerate(pairs())]
    for _ in range(5):
        await session.train_step(batch, update=update())
    losses = {}
    with torch.inference_mode():
        for mask in (True, False):
            rows = rows_of(session, batch, width=4096)
            if not mask:
                del rows.extra["attention_mask"]
                # As where a cache is made: transformers then no longer looks at the positions.
                rows.extra["position_ids"] = rows.extra["position_ids"]
                rows.extra["attention_mask"] = torch.ones_like(rows.ids)
            logp = torch.log_softmax(session._adapted.logits(rows).double(), -1)
            wanted = np.concatenate([e.tokens[e.targets()] for e in batch])
            losses[mask] = -float(logp[np.arange(len(wanted)), wanted].mean())
    separate = -float(np.concatenate(await session.forward(batch)).mean())
    assert losses[True] == pytest.approx(separate, rel=1e-5)
    assert abs(losses[False] / separate - 1) > 1e-3


async def test_a_model_whose_layers_ignore_the_mask_does_not_pack(monkeypatch):
    session = await backend().create(config(), seed=0)

    def without(*arguments, **options):
        rows = packed(*arguments, **options)
        rows.extra["attention_mask"] = None
        rows.extra["position_ids"] = None
        return rows

    monkeypatch.setattr("crucible_lora.backends.adapted.packed", without)
    batch = [lay_out("x", chat("q", "answer"), session.tokenizer)]
    with pytest.raises(UnsupportedOptionError, match="do not keep packed examples apart"):
        await session.train_step(batch, update=update(pack_to=64))


async def test_flash_attention_is_told_where_packed_examples_begin():
    batch = [
        Example(item_id=str(n), tokens=np.arange(n), weights=(np.arange(n) > 0).astype(np.float32))
        for n in (3, 5)
    ]
    rows = packed(batch, width=4, device=torch.device("cpu"), dtype=torch.float32, varlen=True)
    assert rows.ids.tolist() == [[0, 1, 2, 0, 1, 2, 3, 4]]
    assert rows.extra["position_ids"].tolist() == rows.ids.tolist()
    assert rows.extra["cu_seq_lens_q"].tolist() == rows.extra["cu_seq_lens_k"].tolist() == [0, 3, 8]
    assert rows.extra["max_length_q"] == 5
    assert rows.column.tolist() == [0, 1, 3, 4, 5, 6]


async def test_computing_layers_again_changes_no_bit():
    found = []
    for again in (False, True):
        session = await backend(gradient_checkpointing=again).create(config(dropout=0.1), seed=0)
        batch = [lay_out(str(i), chat(q, a), session.tokenizer) for i, (q, a) in enumerate(pairs())]
        steps = [await session.train_step(batch, update=update(micro_batch=4)) for _ in range(3)]
        found.append([(s.loss, s.grad_norm) for s in steps])
    assert found[0] == found[1]


async def test_layers_compute_again_only_where_asked(monkeypatch):
    session = await backend(gradient_checkpointing=True).create(config(), seed=0)
    calls = count_calls(session, monkeypatch)
    batch = [lay_out("x", chat("q", "answer"), session.tokenizer)]
    await session.train_step(batch, update=update())
    assert calls == [0, 1, 1, 0]
    calls.clear()
    await session.forward(batch)
    assert calls == [0, 1]


def count_calls(session, monkeypatch):
    calls = []
    for i, layer in enumerate(session._adapted.layers):
        real = layer.self_attn.forward

        def counted(*arguments, real=real, i=i, **options):
            calls.append(i)
            return real(*arguments, **options)

        monkeypatch.setattr(layer.self_attn, "forward", counted)
    return calls


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
async def test_a_step_that_runs_out_of_memory_is_repeated_once_with_less(error, monkeypatch):
    lean = await backend(gradient_checkpointing=True).create(config(dropout=0.1), seed=0)
    session = await backend().create(config(dropout=0.1), seed=0)
    batch = [lay_out(str(i), chat(q, a), session.tokenizer) for i, (q, a) in enumerate(pairs())]
    real, tries = session._adapted.logits, []

    def scarce(rows):
        tries.append(session._updating._recompute)
        logits = real(rows)  # which draws a mask of dropout already
        if len(tries) == 2:  # the second half of the first try
            raise error
        return logits

    monkeypatch.setattr(session._adapted, "logits", scarce)
    ours = [await session.train_step(batch, update=update(micro_batch=4)) for _ in range(2)]
    theirs = [await lean.train_step(batch, update=update(micro_batch=4)) for _ in range(2)]
    assert [(s.loss, s.grad_norm) for s in ours] == [(s.loss, s.grad_norm) for s in theirs]
    assert tries == [False, False, True, True, True, True]
    assert session.notes == ("gradient checkpointing was switched on: memory ran out without it",)


def test_a_run_that_runs_out_of_memory_has_the_history_of_one_that_computes_layers_again(
    tmp_path, monkeypatch
):
    class Scarce(PeftBackend):
        """A device on which the first update fits no more, unless layers are computed again."""

        async def create(self, config, /, *, seed):
            session = await super().create(config, seed=seed)
            real = session._adapted.logits

            def scarce(rows):
                logits = real(rows)
                if not session._updating._recompute and torch.is_grad_enabled():
                    raise torch.OutOfMemoryError("CUDA out of memory")
                return logits

            monkeypatch.setattr(session._adapted, "logits", scarce)
            return session

    reports = []
    for one in (
        backend(gradient_checkpointing=True),
        Scarce(threads=1, device="cpu"),
        Scarce(threads=1, device="cpu", gradient_checkpointing=True),
    ):
        experiment = create_experiment(
            "scarce", {**TINY, "dropout": 0.1}, backend=one, directory=tmp_path / f"{len(reports)}"
        )
        reports.append(train_sync(experiment, demo_findings(32), epochs=1, batch_size=4))
    lean, switched, asked = reports
    for report in (switched, asked):
        assert [(r.loss, r.grad_norm) for r in report.history] == [
            (r.loss, r.grad_norm) for r in lean.history
        ]
        assert report.checkpoints[-1].sha256 == lean.checkpoints[-1].sha256
    assert (lean.warnings, asked.warnings) == ((), ())
    assert switched.warnings == (
        "gradient checkpointing was switched on: memory ran out without it",
    )


async def test_out_of_memory_is_told_where_nothing_is_left_to_try(monkeypatch):
    for options in ({"gradient_checkpointing": False}, {"gradient_checkpointing": True}):
        session = await backend(**options).create(config(), seed=0)

        def scarce(rows):
            raise torch.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr(session._adapted, "logits", scarce)
        batch = [lay_out("x", chat("q", "answer"), session.tokenizer)]
        with pytest.raises(torch.OutOfMemoryError):
            await session.train_step(batch, update=update())


async def test_deterministic_holds_while_it_computes_and_not_longer(monkeypatch):
    session = await backend(deterministic=True).create(config(), seed=0)
    seen, real = [], session._adapted.logits

    def watched(rows):
        seen.append(torch.are_deterministic_algorithms_enabled())
        return real(rows)

    monkeypatch.setattr(session._adapted, "logits", watched)
    await session.train_step(
        [lay_out("x", chat("q", "answer"), session.tokenizer)], update=update()
    )
    assert seen == [True]
    assert not torch.are_deterministic_algorithms_enabled()
    cuda = torch.device("cuda")
    with pytest.raises(UnsupportedOptionError, match="CUBLAS_WORKSPACE_CONFIG=:4096:8"):
        TorchSettings(deterministic=True).check(cuda)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    TorchSettings(deterministic=True).check(cuda)


def test_flash_attention_is_for_cuda_and_for_who_has_it(monkeypatch):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert choose_attention("auto", cpu) == "sdpa"
    with pytest.raises(UnsupportedOptionError, match="on a CUDA device alone"):
        choose_attention("flash_attention_2", cpu)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert choose_attention("auto", cuda) == "sdpa"
    with pytest.raises(UnsupportedOptionError, match="flash-attn is not installed"):
        choose_attention("flash_attention_2", cuda)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert choose_attention("auto", cuda) == "flash_attention_2"


def test_packing_trains_the_same_and_is_refused_where_it_cannot(tmp_path):
    histories = []
    for packing in (False, True):
        experiment = create_experiment(f"p{packing}", TINY, backend=backend(), directory=tmp_path)
        report = train_sync(experiment, demo_findings(32), epochs=1, packing=packing)
        histories.append([row.loss for row in report.history])
    np.testing.assert_allclose(histories[0], histories[1], rtol=1e-5)
    plain = create_experiment("plain", {"base_model": "reference"}, directory=tmp_path)
    with pytest.raises(UnsupportedOptionError, match="'in-process' cannot honour packing=True"):
        train_sync(plain, demo_findings(32), packing=True)


def test_a_process_killed_without_warning_goes_on_bit_for_bit(tmp_path, monkeypatch):
    mapping = {**TINY, "dropout": 0.05}
    script = textwrap.dedent(
        """
        import json, os, signal, sys
        from crucible_lora import PeftBackend, create_experiment, train_sync
        from crucible_lora.demo import demo_findings

        experiment = create_experiment(
            "cut", json.loads(sys.argv[2]), backend=PeftBackend(threads=1, device="cpu"), directory=sys.argv[1]
        )

        def die(row):
            if row.step == 13:
                os.kill(os.getpid(), signal.SIGKILL)

        train_sync(experiment, demo_findings(40), epochs=4, checkpoint_every=10, on_step=die)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "b"), json.dumps(mapping)], check=False
    )
    assert done.returncode == -9

    def make(folder):
        return create_experiment("cut", mapping, backend=backend(), directory=tmp_path / folder)

    whole = train_sync(make("a"), demo_findings(40), epochs=4)
    assert whole.steps == 20
    cut = make("b")
    assert cut.checkpoints().get("latest").step == 10
    shutil.copytree(tmp_path / "b", tmp_path / "c")
    went_on = resume_sync(cut)
    assert [row.loss for row in went_on.history] == [row.loss for row in whole.history]
    assert went_on.checkpoints[-1].sha256 == whole.checkpoints[-1].sha256
    # Without the optimiser's state it would be another adapter.
    real = load_file

    def forgetful(path, **options):
        return {} if path.name == "optimizer.safetensors" else real(path, **options)

    monkeypatch.setattr("crucible_lora.backends.adapter_files.load_file", forgetful)
    assert resume_sync(make("c")).checkpoints[-1].sha256 != whole.checkpoints[-1].sha256


async def test_equal_requests_get_equal_texts_at_any_concurrency(trained):
    session, path = trained
    sampler, found = session.sampler(path), []

    async def ask(seed, limit, texts):
        async with limit:
            answer = await sampler.generate("say it", temperature=0.8, max_tokens=8, seed=seed)
            texts[seed] = (answer.text, answer.logprobs)

    for concurrency in (1, 8):
        texts = {}
        limit = anyio.CapacityLimiter(concurrency)
        async with anyio.create_task_group() as group:
            for seed in range(24):
                group.start_soon(ask, seed, limit, texts)
        found.append(texts)
    assert found[0] == found[1]
