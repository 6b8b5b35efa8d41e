"""Base models and their tokenizers, by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crucible_lora.config import LoraConfig, sha256_json
from crucible_lora.errors import BaseModelNotFoundError, UnsupportedOptionError
from crucible_lora.files import sha256_file
from crucible_lora.ports import Message, Tokenizer
from crucible_lora.tokenizers import RoleTokenizer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Base:
    """A model to adapt. `folder` is where its weights are, if anywhere."""

    name: str
    model: Any
    tokenizer: Tokenizer
    device: torch.device
    dtype: torch.dtype
    folder: Path | None

    @property
    def context(self) -> int | None:
        """The longest sequence it takes."""
        limit = getattr(self.model.config, "max_position_embeddings", None)
        return None if limit is None else int(limit)

    def fingerprint(self) -> str:
        """Return what identifies the weights."""
        if self.folder is None:
            return f"{self.name}/1" if self.name == "tiny" else self.name
        files = [p for p in sorted(self.folder.iterdir()) if p.suffix in (".safetensors", ".bin")]
        files.append(self.folder / "config.json")
        return sha256_json({p.name: sha256_file(p) for p in files})


def choose_device(device: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    """Return the device and the type of the base's numbers.

    Raises
    ------
    UnsupportedOptionError
        If this machine has no such device, or the device no such type.
    """
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise UnsupportedOptionError("device", "cuda", "peft", "torch finds no CUDA device")
    kind = "cuda" if there and device != "cpu" else "cpu"
    if dtype == "auto":
        fast = kind == "cuda" and torch.cuda.is_bf16_supported()
        return torch.device(kind), torch.bfloat16 if fast else torch.float32
    if dtype == "bfloat16" and kind == "cuda" and not torch.cuda.is_bf16_supported():
        raise UnsupportedOptionError("dtype", "bfloat16", "peft", "the device has no bfloat16")
    return torch.device(kind), torch.bfloat16 if dtype == "bfloat16" else torch.float32


def load_base(
    config: LoraConfig, *, device: torch.device, dtype: torch.dtype, attention: str
) -> Base:
    """Return the base model of a configuration.

    Raises
    ------
    BaseModelNotFoundError
        If the name is no folder with a model, and is not to be downloaded.
    """
    name = config.base_model
    implementation = "sdpa" if attention == "auto" else attention
    if name == "tiny":
        model, tokenizer = _tiny(implementation), RoleTokenizer()
        return Base(
            name=name,
            model=model.to(device=device, dtype=dtype),
            tokenizer=tokenizer,
            device=device,
            dtype=dtype,
            folder=None,
        )
    folder = Path(name)
    local = (folder / "config.json").is_file()
    if not local and not config.allow_download:
        raise BaseModelNotFoundError(
            name,
            [
                '"tiny" and "reference" by name',
                f"a folder {name!r} with config.json",
                "the Hugging Face hub: not without allow_download=True",
            ],
        )
    import transformers

    options = {"local_files_only": local}
    model = transformers.AutoModelForCausalLM.from_pretrained(
        name, dtype=dtype, attn_implementation=implementation, **options
    )
    found = transformers.AutoTokenizer.from_pretrained(name, **options)
    return Base(
        name=name,
        model=model.to(device),
        tokenizer=HFTokenizer(found, _ends(model, found)),
        device=device,
        dtype=dtype,
        folder=folder if local else None,
    )


class HFTokenizer:
    """A tokenizer of transformers, with its chat template."""

    def __init__(self, tokenizer: Any, ends: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self.ends = tuple(ends)
        first = tokenizer("a")["input_ids"][:1]
        self.begin = tuple(first) if first == [tokenizer.bos_token_id] else ()

    def encode(self, text: str, /) -> list[int]:
        """Return the tokens of a text, without special ones around it."""
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, ids: Sequence[int], /) -> str:
        """Return the text of tokens, without special ones."""
        text: str = self._tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def chat(self, messages: Sequence[Message], /, *, generation_prompt: bool) -> list[int]:
        """Return messages in the model's template.

        Raises
        ------
        ValueError
            If the model has none.
        """
        if self._tokenizer.chat_template is None:
            raise ValueError("`format` must be PlainFormat(): the model has no chat template")
        return list(
            self._tokenizer.apply_chat_template(
                [dict(m) for m in messages],
                add_generation_prompt=generation_prompt,
                tokenize=True,
                return_dict=False,
            )
        )


def _ends(model: Any, tokenizer: Any) -> list[int]:
    ends = [tokenizer.eos_token_id]
    configured = getattr(model.generation_config, "eos_token_id", None)
    ends += configured if isinstance(configured, list) else [configured]
    known = list(dict.fromkeys(end for end in ends if end is not None))
    if not known:
        raise ValueError("`base_model` must have an end token: its tokenizer names none")
    return known


def _tiny(attention: str) -> Any:
    """Return a random Llama of two layers; no global generator decides its weights."""
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=260,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=256,
        attn_implementation=attention,
    )
    with torch.random.fork_rng(devices=[]):
        model = transformers.LlamaForCausalLM(config)
    rng = np.random.default_rng(0)
    for _, parameter in sorted(model.named_parameters()):
        if parameter.dim() > 1:  # the rest are norms, which stay at 1
            drawn = rng.standard_normal(tuple(parameter.shape)) * config.initializer_range
            parameter.data.copy_(torch.from_numpy(drawn))
    return model
