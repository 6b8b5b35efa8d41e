"""Base models and their tokenizers, by name."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crucible_lora.backends.gguf import SMOLLM2, as_folder, quiet, smollm2_file
from crucible_lora.config import LoraConfig, sha256_json
from crucible_lora.errors import BaseModelNotFoundError, UnsupportedOptionError
from crucible_lora.files import sha256_file
from crucible_lora.ports import Tokenizer
from crucible_lora.tokenizers import HFTokenizer, RoleTokenizer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Base:
    """A model to adapt.

    `folder` is where its weights are, if anywhere; `gguf_sha256` is set if they were converted from
    a GGUF file.
    """

    name: str
    model: Any
    tokenizer: Tokenizer
    device: torch.device
    dtype: torch.dtype
    folder: Path | None
    origin: object = None  # what keeps shared weights in memory
    gguf_sha256: str | None = None

    @property
    def context(self) -> int | None:
        """The longest sequence it takes."""
        limit = getattr(self.model.config, "max_position_embeddings", None)
        return None if limit is None else int(limit)

    def fingerprint(self) -> str:
        """Return what identifies the weights."""
        if self.gguf_sha256 is not None:
            return self.gguf_sha256
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


def choose_attention(attention: str, device: torch.device) -> str:
    """Return the attention that transformers is asked for.

    Raises
    ------
    UnsupportedOptionError
        For flash attention without a CUDA device or without its package.
    """
    installed = importlib.util.find_spec("flash_attn") is not None
    if attention == "auto":
        return "flash_attention_2" if device.type == "cuda" and installed else "sdpa"
    if attention == "flash_attention_2":
        if device.type != "cuda":
            reason = "it runs on a CUDA device alone"
            raise UnsupportedOptionError("attention", attention, "peft", reason)
        if not installed:
            reason = "the package flash-attn is not installed"
            raise UnsupportedOptionError("attention", attention, "peft", reason)
    return attention


def load_base(
    config: LoraConfig, *, device: torch.device, dtype: torch.dtype, attention: str
) -> Base:
    """Return the base model of a configuration.

    Raises
    ------
    BaseModelNotFoundError
        If there are no weights of that name, and none are to be downloaded.
    """
    name = config.base_model
    if name == "tiny":
        model, tokenizer = _tiny(attention), RoleTokenizer()
        return Base(
            name=name,
            model=model.to(device=device, dtype=dtype),
            tokenizer=tokenizer,
            device=device,
            dtype=dtype,
            folder=None,
        )
    folder, digest = find_weights(config)
    import transformers

    source: Any = name if folder is None else folder
    options = {"local_files_only": folder is not None}
    with quiet():
        model = transformers.AutoModelForCausalLM.from_pretrained(
            source, dtype=dtype, attn_implementation=attention, **options
        )
        found = transformers.AutoTokenizer.from_pretrained(source, **options)
    return Base(
        name=name,
        model=model.to(device),
        tokenizer=HFTokenizer(found, _ends(model, found)),
        device=device,
        dtype=dtype,
        folder=folder,
        gguf_sha256=digest,
    )


def find_weights(config: LoraConfig) -> tuple[Path | None, str | None]:
    """Return the folder of a base's weights, and the SHA-256 of the GGUF file they come from.

    The folder is None for a hub id that is to be downloaded.

    Raises
    ------
    BaseModelNotFoundError
        If the name is no folder with a model and no GGUF file, and is not to be downloaded.
    """
    name = config.base_model
    if name == SMOLLM2:
        return as_folder(smollm2_file())
    path = Path(name)
    if path.suffix == ".gguf" and path.is_file():
        return as_folder(path)
    if (path / "config.json").is_file():
        return path, None
    if config.allow_download and path.suffix != ".gguf":
        return None, None
    raise BaseModelNotFoundError(
        name,
        [
            f'"tiny", "{SMOLLM2}" and "reference" by name',
            f"a file {name!r} in the GGUF format",
            f"a folder {name!r} with config.json",
            "the Hugging Face hub: not without allow_download=True",
        ],
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
