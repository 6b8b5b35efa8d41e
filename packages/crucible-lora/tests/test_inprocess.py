import threading
from functools import partial

import anyio
import numpy as np
import pytest

from crucible_lora import InProcessBackend, LoraConfig
from crucible_lora.backends.inprocess import ADAPTER, OPTIMIZER
from crucible_lora.backends.reference import Masks, ReferenceDecoder
from crucible_lora.errors import SessionClosedError, UnsupportedOptionError
from crucible_lora.formats import Conversation
from crucible_lora.losses import CrossEntropy
from crucible_lora.masking import lay_out, prompt_tokens
from crucible_lora.ports import Update
from crucible_lora.tensors import read_tensors, write_tensors
from crucible_lora.testing import check_backend

pytestmark = pytest.mark.anyio
CONFIG = LoraConfig(base_model="reference", learning_rate=1e-2)


def chat(question, answer, **options):
    return Conversation(
        messages=({"role": "user", "content": question},), completion=answer, **options
    )


def examples(session, *pairs):
    return [lay_out(str(i), chat(q, a), session.tokenizer) for i, (q, a) in enumerate(pairs)]


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


PAIRS = [("one", "first answer"), ("two words", "b"), ("a third one", "something longer, too")]


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_the_backend_keeps_the_promises_of_the_port():
    await check_backend(InProcessBackend, config=CONFIG)
    await check_backend(
        InProcessBackend,
        config=LoraConfig(base_model="reference", dropout=0.05, rslora=True, alpha=8),
    )


async def test_there_are_as_many_trained_values_as_described():
    session = await InProcessBackend().create(CONFIG, seed=0)
    # 16 (640 + 256) for the first layer, 16 (256 + 257) for the second
    assert sum(a.size for a in session.adapter.arrays().values()) == 22_544
    assert not session.adapter.b1.any()
    assert np.abs(session.adapter.a1).max() <= 640**-0.5


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
async def test_the_gradients_are_those_of_central_differences(dropout, smoothing):
    session = await InProcessBackend().create(CONFIG, seed=0)
    rng = np.random.default_rng(1)
    for array in session.adapter.arrays().values():
        array += rng.normal(0, 0.05, array.shape)  # B = 0 would hide the gradient of A
    rows = session._model.rows(examples(session, *PAIRS))
    weights = rng.random(len(rows.targets)) + 0.1
    masks = Masks.draw(len(rows.targets), dropout, rng) if dropout else None
    loss = CrossEntropy(label_smoothing=smoothing)

    def value():
        return loss(
            session._model.forward(rows.inputs, session.adapter, masks)[0], rows.targets, weights
        )

    logits, trace = session._model.forward(rows.inputs, session.adapter, masks)
    gradients = session._model.backward(value()[1], session.adapter, trace)
    assert logits.shape == (len(rows.targets), 257)
    for name, array in session.adapter.arrays().items():
        # Along a random direction: all entries are in it, and one difference checks them.
        direction = rng.standard_normal(array.shape)
        step = 1e-5
        array += step * direction
        up = value()[0]
        array -= 2 * step * direction
        down = value()[0]
        array += step * direction
        slope = (up - down) / (2 * step)
        assert float((gradients[name] * direction).sum()) == pytest.approx(slope, rel=1e-6), name


async def test_parts_of_a_batch_add_up_to_the_whole():
    pairs = [(f"question {i}", "answer " * (1 + i % 4)) for i in range(8)]
    norms = {}
    for micro in (8, 2, 3):
        session = await InProcessBackend().create(CONFIG, seed=0)
        batch = examples(session, *pairs)
        results = [
            await session.train_step(batch, update=update(micro_batch=micro)) for _ in range(3)
        ]
        norms[micro] = ([r.loss for r in results], [r.grad_norm for r in results], await session.forward(batch))  # fmt: skip
    for micro in (2, 3):
        np.testing.assert_allclose(norms[micro][0], norms[8][0], atol=1e-6)
        np.testing.assert_allclose(norms[micro][1], norms[8][1], atol=1e-6)
        for ours, theirs in zip(norms[micro][2], norms[8][2], strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)
    # The mean of the means of unequal parts is another number: the test can see the difference.
    session = await InProcessBackend().create(CONFIG, seed=0)
    parts = await session.forward(examples(session, *pairs))
    means = [-np.concatenate(parts[i : i + 3]).mean() for i in (0, 3, 6)]
    assert abs(np.mean(means) - norms[8][0][0]) > 1e-4


async def test_weights_weigh():
    session = await InProcessBackend().create(CONFIG, seed=0)
    one = lay_out("a", chat("q", "xx", weight=3.0), session.tokenizer)
    two = lay_out("b", chat("r", "yyyy"), session.tokenizer)
    a, b = (-lp for lp in await session.forward([one, two]))
    result = await session.train_step([one, two], update=update())
    assert result.loss == pytest.approx((3 * a.sum() + b.sum()) / (3 * 3 + 5), abs=1e-12)


async def test_a_loss_of_ones_own_trains():
    class Squared:
        name = "squared"

        def __call__(self, logits, targets, weights, /):
            share = weights / weights.sum()
            gap = 1 - logits[np.arange(len(targets)), targets]
            gradient = np.zeros_like(logits)
            gradient[np.arange(len(targets)), targets] = -2 * share * gap
            return float(share @ gap**2), gradient

    session = await InProcessBackend().create(CONFIG, seed=0)
    batch = examples(session, *PAIRS)
    results = [await session.train_step(batch, update=update(loss=Squared())) for _ in range(20)]
    assert results[-1].loss < results[0].loss / 2
    assert results[0].components == {"squared": results[0].loss}


async def test_a_loss_that_is_no_number_changes_nothing():
    class Broken:
        name = "broken"

        def __call__(self, logits, targets, weights, /):
            return float("nan"), np.full(logits.shape, np.nan)

    session = await InProcessBackend().create(CONFIG, seed=0)
    batch = examples(session, *PAIRS)
    before = await session.forward(batch)
    result = await session.train_step(batch, update=update(loss=Broken()))
    assert (result.skipped, result.loss, result.reason) == (True, None, "the loss was not finite")
    for ours, theirs in zip(before, await session.forward(batch), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture
async def trained(tmp_path):
    session = await InProcessBackend().create(CONFIG, seed=0)
    batch = examples(session, ("say it", "hello there"), ("and again", "good bye"))
    for _ in range(60):
        await session.train_step(batch, update=update())
    await session.save(tmp_path)
    return session, tmp_path


async def test_a_saved_adapter_answers_what_it_learned(trained):
    session, path = trained
    sampler = session.sampler(path)
    answer = await sampler.generate("say it")
    assert (answer.text, answer.finish) == ("hello there", "stop")
    assert answer.output_tokens == len("hello there") + 1  # the end is a token too
    assert answer.input_tokens == len("<user>\nsay it|<assistant>\n")
    assert answer.cost_usd is None
    assert answer.confidence == pytest.approx(np.exp(np.mean(answer.logprobs)))
    base = await session.sampler().generate("say it", max_tokens=12)
    assert base.text != answer.text


async def test_the_log_probabilities_of_an_answer_are_those_of_the_forward_pass(trained):
    session, path = trained
    answer = await session.sampler(path).generate("say it", temperature=0.7, seed=3)
    example = lay_out("x", chat("say it", answer.text), session.tokenizer)
    (forward,) = await session.forward([example])
    assert sum(answer.logprobs) == pytest.approx(forward.sum(), abs=1e-4)


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_equal_requests_get_equal_texts_at_any_concurrency(trained):
    session, path = trained
    sampler = session.sampler(path)

    async def ask(seed, limit, texts):
        async with limit:
            answer = await sampler.generate("say it", temperature=1.5, max_tokens=20, seed=seed)
            texts[seed] = answer.text

    found = []
    for concurrency in (1, 8):
        texts: dict[int, str] = {}
        limit = anyio.CapacityLimiter(concurrency)
        async with anyio.create_task_group() as group:
            for seed in range(24):
                group.start_soon(ask, seed, limit, texts)
        found.append(texts)
    assert found[0] == found[1]
    assert len(set(found[0].values())) > 1


async def test_stop_strings_end_an_answer_across_token_borders(trained):
    session, path = trained
    sampler = session.sampler(path)
    answer = await sampler.generate("say it", stop=["th", "lo th"])
    assert (answer.text, answer.finish) == ("hel", "stop")
    assert (await sampler.generate("say it", max_tokens=3)).finish == "length"


async def test_a_price_makes_a_cost(trained):
    from crucible_lora import Sampler

    session, path = trained
    answer = await Sampler(session, path, name="x", price=(1.0, 2.0)).generate("say it")
    assert answer.cost_usd == pytest.approx((answer.input_tokens + 2 * answer.output_tokens) / 1e6)


async def test_top_k_of_one_is_the_likeliest(trained):
    from crucible_lora import Sampler

    session, path = trained
    for options in ({"top_k": 1}, {"top_p": 1e-9}):
        sampler = Sampler(session, path, name="x", **options)
        answer = await sampler.generate("say it", temperature=5.0, seed=1)
        assert answer.text == "hello there"


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ("", {}, "`prompt` must not be empty"),
        ([], {}, "`prompt` must not be empty"),
        ([{"role": "robot", "content": "x"}], {}, "must have a role"),
        ("x", {"max_tokens": 0}, "`max_tokens` must be >= 1, got 0"),
        ("x", {"temperature": -1}, "`temperature` must be >= 0, got -1"),
        ("x", {"temperature": float("nan")}, "`temperature` must be >= 0"),
        ("x", {"stop": "abc"}, "`stop` must be a sequence"),
        ("x", {"stop": [""]}, "`stop` must be a sequence"),
    ],
)
async def test_a_bad_request_names_what_is_wrong(trained, prompt, options, message):
    session, path = trained
    with pytest.raises(ValueError, match=message):
        await session.sampler(path).generate(prompt, **options)


async def test_a_closed_session_answers_nothing(trained):
    session, path = trained
    sampler = session.sampler(path)
    await session.close()
    with pytest.raises(SessionClosedError):
        await sampler.generate("say it")


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_cancelled_answer_stops_being_computed(trained, monkeypatch):
    session, path = trained
    begun = threading.Event()

    class Endless(ReferenceDecoder):
        def advance(self, rows, tokens, /):
            begun.set()
            return np.zeros((len(rows), 257))  # the likeliest is token 0, and the answer never ends

    with monkeypatch.context() as patch:
        patch.setattr("crucible_lora.backends.inprocess.ReferenceDecoder", Endless)
        async with anyio.create_task_group() as group:
            ask = partial(session.sampler(path).generate, "say it", max_tokens=10**9)
            group.start_soon(ask)
            await anyio.to_thread.run_sync(begun.wait)
            group.cancel_scope.cancel()
    # A session does one thing after the other: this waits until the other has stopped.
    assert (await session.sampler(path).generate("say it")).text == "hello there"


async def test_fingerprints_name_base_and_adapter(trained):
    session, path = trained
    one, base = session.sampler(path).fingerprint(), session.sampler().fingerprint()
    assert one["base"] == base["base"] == "reference/1"
    assert base["adapter_sha256"] is None
    assert len(str(one["adapter_sha256"])) == 64


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"base_model": "tiny"}, "base_model"),
        ({"target_modules": "attention"}, "target_modules"),
        ({"modules_to_save": ("lm_head",)}, "modules_to_save"),
        ({"unembed": True}, "unembed"),
        ({"allow_download": True}, "allow_download"),
    ],
)
async def test_what_it_cannot_honour_is_refused(changes, option):
    config = LoraConfig(**{"base_model": "reference", **changes})
    with pytest.raises(UnsupportedOptionError, match=f"'in-process' cannot honour {option}"):
        await InProcessBackend().create(config, seed=0)


async def test_the_files_are_safetensors_to_others(trained):
    import safetensors.numpy as safetensors

    _, path = trained
    for file in (ADAPTER, OPTIMIZER):
        theirs, (ours, _) = safetensors.load_file(path / file), read_tensors(path / file)
        assert sorted(theirs) == sorted(ours)
        for name, array in theirs.items():
            np.testing.assert_array_equal(array, ours[name])


def test_equal_arrays_give_equal_bytes(tmp_path):
    arrays = {"b": np.arange(6.0).reshape(2, 3), "a": np.ones(3, dtype=np.float32)}
    write_tensors(tmp_path / "one", arrays, metadata={"k": "v"})
    write_tensors(tmp_path / "two", dict(reversed(arrays.items())), metadata={"k": "v"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


async def test_a_prompt_is_seen_as_in_training(trained):
    session, _ = trained
    conversation = chat("say it", "x")
    example = lay_out("x", conversation, session.tokenizer)
    prompt = prompt_tokens(conversation, session.tokenizer)
    assert example.tokens[: len(prompt)].tolist() == prompt
