"""The local backend: transformers and PEFT on this machine."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import anyio

from crucible_lora.backends.sharing import SharedBases
from crucible_lora.capabilities import require_options
from crucible_lora.config import LoraConfig
from crucible_lora.errors import MissingExtraError, UnsupportedOptionError
from crucible_lora.ports import Capabilities

if TYPE_CHECKING:
    from crucible_lora.backends.peft_session import PeftSession
    from crucible_lora.backends.sharing import SharedBases

Device = Literal["auto", "cpu", "cuda"]
Dtype = Literal["auto", "float32", "bfloat16"]
Attention = Literal["auto", "sdpa", "eager", "flash_attention_2"]


class PeftBackend:
    """Trains any causal language model that transformers loads, with PEFT.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"}
        "auto" is CUDA where there is one.
    dtype : {"auto", "float32", "bfloat16"}
        Of the base; adapter and optimiser are float32. "auto" is bfloat16 on CUDA, else float32.
    attention : {"auto", "sdpa", "eager", "flash_attention_2"}
        "auto" is flash attention on CUDA where its package is installed, else SDPA.
    gradient_checkpointing : "auto" or bool
        Layers keep their input alone and compute again on the way back: same numbers, less memory,
        more time. "auto" switches it on, and repeats the update once, when memory runs out.
    threads : int, >= 1, optional
        Of torch, while this backend computes. Equal bits need an equal number.
    deterministic : bool
        Torch may run deterministic algorithms alone, while this backend computes. Bits on a CPU are
        equal without it.
    compile : bool
        Torch compiles the layers when they are first used, for any length: the same losses but for
        rounding, after a minute or so of compiling. It pays on a GPU and in long runs; answers are
        written without it. Not with dropout.

    Raises
    ------
    MissingExtraError
        If the extra "peft" is not installed.

    Notes
    -----
    Sessions of one backend share the weights of their base in memory, whatever their adapters.
    Logits are computed at target positions alone: same loss, less time and memory. The dropout of
    the base is off; that of the adapter draws from a generator of the session's own, so the global
    generators of torch and numpy are left as they are found.
    """

    name = "peft"
    capabilities = Capabilities(
        options=frozenset(
            {
                "alpha",
                "dropout",
                "rslora",
                "target_modules",
                "unembed",
                "modules_to_save",
                "allow_download",
            }
        ),
        losses=frozenset(
            {"cross_entropy", "citation_weighted", "kl", "mse", "label_smoothing", "custom"}
        ),
        logprobs=True,
        deterministic=True,
        local=True,
        gradients=True,
        predictions=True,
        packing=True,
    )

    def __init__(
        self,
        *,
        device: Device = "auto",
        dtype: Dtype = "auto",
        attention: Attention = "auto",
        gradient_checkpointing: bool | Literal["auto"] = "auto",
        threads: int | None = None,
        deterministic: bool = False,
        compile: bool = False,
    ) -> None:
        for name, value, known in (
            ("device", device, ("auto", "cpu", "cuda")),
            ("dtype", dtype, ("auto", "float32", "bfloat16")),
            ("attention", attention, get_args(Attention)),
            ("gradient_checkpointing", gradient_checkpointing, ("auto", True, False)),
            ("compile", compile, (True, False)),
        ):
            if value not in known:
                listed = ", ".join(map(str, known))
                raise ValueError(f"`{name}` must be one of {listed}, got {value!r}")
        if threads is not None and threads < 1:
            raise ValueError(f"`threads` must be >= 1, got {threads}")
        for library in ("torch", "transformers", "peft", "safetensors", "platformdirs"):
            if importlib.util.find_spec(library) is None:
                raise MissingExtraError("peft", library)
        self._device, self._dtype, self._attention = device, dtype, attention
        self._gradient_checkpointing = gradient_checkpointing
        self._threads, self._deterministic = threads, deterministic
        self._compile = compile
        self._bases = SharedBases()

    async def create(self, config: LoraConfig, /, *, seed: int) -> "PeftSession":
        """Return a session with a fresh adapter; see `Backend`."""
        self._check(config)
        return await anyio.to_thread.run_sync(lambda: self._open(config, seed=seed, path=None))

    async def resume(self, config: LoraConfig, path: Path, /) -> "PeftSession":
        """Return a session as `save` left it; see `Backend`."""
        self._check(config)
        return await anyio.to_thread.run_sync(lambda: self._open(config, seed=0, path=path))

    async def close(self) -> None:
        """Free nothing: sessions hold all there is."""

    def _open(self, config: LoraConfig, *, seed: int, path: Path | None) -> "PeftSession":
        from crucible_lora.backends.bases import choose_attention, choose_device, load_base
        from crucible_lora.backends.compiling import require_compiler
        from crucible_lora.backends.peft_session import PeftSession
        from crucible_lora.backends.torch_state import TorchSettings

        settings = TorchSettings(threads=self._threads, deterministic=self._deterministic)
        with settings.held():
            device, dtype = choose_device(self._device, self._dtype)
            settings.check(device)
            if self._compile:
                require_compiler(device)
            attention = choose_attention(self._attention, device)
            base = self._bases.open(
                (config.base_model, config.allow_download, device, dtype, attention),
                lambda: load_base(config, device=device, dtype=dtype, attention=attention),
            )
            session = PeftSession(
                base,
                config,
                seed=seed,
                settings=settings,
                gradient_checkpointing=self._gradient_checkpointing,
                compile=self._compile,
            )
            if path is not None:
                session.load(path)
        return session

    def _check(self, config: LoraConfig) -> None:
        require_options(config, backend=self.name, capabilities=self.capabilities)
        if self._compile and config.dropout:
            reason = "the adapter's dropout draws from a generator of its own: set dropout=0"
            raise UnsupportedOptionError("compile", True, self.name, reason)
        if config.base_model == "reference":
            raise UnsupportedOptionError(
                "base_model", "reference", self.name, "that is the in-process backend's"
            )
        if config.base_model == "tiny" and "lm_head" not in config.modules_to_save:
            raise UnsupportedOptionError(
                "modules_to_save",
                config.modules_to_save,
                self.name,
                'the base "tiny" is random and does not learn with a frozen head: set '
                'modules_to_save=("lm_head",)',
            )
