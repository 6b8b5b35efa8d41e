"""A causal language model in this process, on torch: exact log-probabilities of every token."""

import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from crucible_ensemble.completion import Completion
from crucible_ensemble.errors import (
    ContextLengthError,
    InvalidRequestError,
    ModelNotAvailableError,
    ModelTimeoutError,
)
from crucible_ensemble.limits import Limiter
from crucible_ensemble.model import Prompt
from crucible_ensemble.models.generation import Made, Wanted, generated
from crucible_ensemble.prompts import check_options, to_messages
from crucible_ensemble.spans import (
    REQUEST_MAX_TOKENS,
    REQUEST_SEED,
    REQUEST_TEMPERATURE,
    generate_span,
)
from crucible_ensemble.threads import in_thread

DType = Literal["auto", "bfloat16", "float16", "float32"]
_HOW = "install it with `pip install crucible-ensemble[transformers]`"


class TransformersModel:
    """A causal language model on torch, from a folder, a GGUF file or the Hugging Face hub.

    Parameters
    ----------
    source : str or path
        A GGUF file, a folder that `save_pretrained` wrote, or the id of a model on the hub.
    name : str, optional
        By default "transformers/" and the id, or the name of the file or folder.
    revision : str, optional
        Branch, tag or commit of a hub model; part of its fingerprint.
    allow_download : bool
        Fetch what is not in the local cache. By default only files on this machine are read.
    device : str
        Of torch, such as "cpu" or "cuda".
    dtype : {"auto", "bfloat16", "float16", "float32"}
        "auto" is that of the weights, float32 for GGUF files.
    context : int, >= 1, optional
        Tokens of prompt and answer together; by default what the model was made for.
    top_logprobs : int, >= 0
        Alternatives to return at each token.
    timeout_s : float, > 0
        For one answer, without its time in the queue.

    Notes
    -----
    Tokens are drawn from the whole distribution, divided by the temperature, with a generator that
    belongs to the call: torch's global one is neither read nor advanced, and the top-k or top-p of
    a model's own generation config play no part. Log-probabilities are the model's own, at
    temperature 1, one for each token made, the end of the text included; `confidence` is exp of
    their mean. One answer is made at a time, in a worker thread; a cancelled one ends before its
    next token, and is awaited.
    """

    supports = frozenset({"logprobs", "seed", "stop", "temperature"})

    def __init__(
        self,
        source: Path | str,
        *,
        name: str | None = None,
        revision: str | None = None,
        allow_download: bool = False,
        device: str = "cpu",
        dtype: DType = "auto",
        context: int | None = None,
        top_logprobs: int = 0,
        timeout_s: float = 120.0,
    ) -> None:
        if not str(source):
            raise ValueError("`source` must not be empty")
        if dtype not in ("auto", "bfloat16", "float16", "float32"):
            raise ValueError(f'`dtype` must be "auto", "bfloat16", "float16" or "float32", got {dtype!r}')  # fmt: skip # noqa: E501
        if context is not None and context < 1:
            raise ValueError(f"`context` must be >= 1, got {context}")
        if top_logprobs < 0:
            raise ValueError(f"`top_logprobs` must be >= 0, got {top_logprobs}")
        if not timeout_s > 0:
            raise ValueError(f"`timeout_s` must be > 0, got {timeout_s}")
        self._source, self._revision = source, revision
        self._path = Path(source) if Path(source).exists() else None
        if self._path is None and (isinstance(source, Path) or source.endswith(".gguf")):
            raise ModelNotAvailableError(f"no model file {Path(source).name!r}")
        self.name = name or f"transformers/{source if self._path is None else self._path.stem}"
        self._allow_download, self._device, self._dtype = allow_download, device, dtype
        self._context, self._top, self._timeout_s = context, top_logprobs, timeout_s
        self._loading = threading.Lock()
        self._loaded: tuple[Any, Any] | None = None  # tokenizer, model
        self._limiter = Limiter(1)
        self._weights: str | None = None

    def __repr__(self) -> str:
        return f"TransformersModel({str(self._source)!r})"

    def fingerprint(self) -> dict[str, object]:
        """Return what identifies the model in an experiment's design: name and weights."""
        if self._path is None:
            return {"model": self.name, "revision": self._revision, "dtype": self._dtype}
        if self._weights is None:
            self._weights = _sha256(self._path)
        return {"model": self.name, "weights_sha256": self._weights, "dtype": self._dtype}

    async def aclose(self) -> None:
        """Forget the weights."""
        self._loaded = None

    async def generate(
        self,
        prompt: Prompt,
        /,
        *,
        temperature: float | None = 0.0,
        max_tokens: int = 1000,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> Completion:
        """Answer a prompt.

        Parameters
        ----------
        temperature : float, >= 0, or None
            None is 1.0, the model's own distribution.

        Raises
        ------
        ValueError
            If the prompt or an option cannot be honoured.
        ModelNotAvailableError
            If torch, transformers or the weights are not on this machine.
        ContextLengthError
            If the prompt leaves no room for an answer.
        InvalidRequestError
            For several messages to a model that has no chat template.
        ModelTimeoutError
            After `timeout_s`.
        """
        import anyio

        check_options(temperature=temperature, max_tokens=max_tokens, stop=stop)
        messages = to_messages(prompt)
        wanted = Wanted(
            temperature=1.0 if temperature is None else temperature, max_tokens=max_tokens,
            seed=seed, stop=tuple(stop), top=self._top,
        )  # fmt: skip
        async with self._limiter.slot() as slot:
            tokenizer, model = await in_thread(lambda halt: self._load())
            facts = {
                REQUEST_TEMPERATURE: temperature, REQUEST_MAX_TOKENS: max_tokens, REQUEST_SEED: seed
            }  # fmt: skip
            with generate_span(self.name, system="transformers", request=facts) as span:
                ids = self._ids(tokenizer, model, messages)
                limit = min(wanted.max_tokens, self._room(model) - len(ids))
                try:
                    with anyio.fail_after(self._timeout_s):
                        made = await in_thread(
                            lambda halt: generated(tokenizer, model, ids, wanted, limit, halt)
                        )
                except TimeoutError as error:
                    said = f"no answer from {self.name} within {self._timeout_s:g} s"
                    raise ModelTimeoutError(said, model=self.name, cost_usd=0.0) from error
                return span.answered(self._completion(made, len(ids), slot.queued_s))

    def _load(self) -> tuple[Any, Any]:
        """Return tokenizer and model, read at the first call."""
        with self._loading:
            if self._loaded is None:
                self._loaded = self._read()
            return self._loaded

    def _read(self) -> tuple[Any, Any]:
        try:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ImportError as error:
            raise ModelNotAvailableError(f"{error.name} is not installed: {_HOW}") from error
        options: dict[str, Any] = {"local_files_only": not self._allow_download}
        source = self._source
        if self._path is not None and self._path.is_file():
            source, options["gguf_file"] = self._path.parent, self._path.name
        if self._revision is not None:
            options["revision"] = self._revision
        gguf = "gguf_file" in options
        named = "float32" if gguf and self._dtype == "auto" else self._dtype
        dtype = "auto" if named == "auto" else getattr(torch, named)
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, **options)
        except ImportError as error:  # reading GGUF needs a package of its own
            raise ModelNotAvailableError(f"{error} ({_HOW})") from error
        except OSError as error:
            raise ModelNotAvailableError(
                f"{self._source} is not on this machine, or not complete: give a folder or a GGUF "
                f"file, or allow_download=True to fetch it from the hub ({error})"
            ) from error
        return tokenizer, model.to(self._device).eval()

    def _ids(self, tokenizer: Any, model: Any, messages: Sequence[dict[str, str]]) -> list[int]:
        if tokenizer.chat_template:
            asked = tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=True, return_dict=True
            )
        elif len(messages) == 1 and messages[0]["role"] == "user":
            asked = tokenizer(messages[0]["content"])
        else:
            raise InvalidRequestError(
                f"{self.name} has no chat template: ask it with one text, not with messages",
                model=self.name,
                cost_usd=0.0,
            )
        ids = [int(i) for i in asked["input_ids"]]
        room = self._room(model)
        if not 0 < len(ids) < room:
            raise ContextLengthError(
                f"{len(ids)} tokens do not fit the context of {self.name}, {room} with the answer",
                model=self.name, limit=room, tokens=len(ids), cost_usd=0.0,
            )  # fmt: skip
        return ids

    def _room(self, model: Any) -> int:
        made_for = getattr(model.config, "max_position_embeddings", None)
        rooms = [n for n in (self._context, made_for) if n is not None]
        return min(rooms) if rooms else 2048

    def _completion(self, made: Made, sent: int, queued_s: float) -> Completion:
        return Completion(
            text=made.text,
            model=self.name,
            served_by=self.name,
            input_tokens=sent,
            output_tokens=len(made.logprobs),
            cost_usd=0.0,
            billed_usd=0.0,
            confidence=math.exp(math.fsum(made.logprobs) / len(made.logprobs)),
            confidence_source="logprobs",
            logprobs=made.logprobs,
            top_logprobs=made.top or None,
            latency_s=made.latency_s,
            ttft_s=made.ttft_s,
            finish=made.finish,
            extra={"queued_s": queued_s} if queued_s > 0 else {},
        )


def _sha256(path: Path) -> str:
    """Return the hash of a file, or of a folder's weights in the order of their names."""
    import hashlib

    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    whole = hashlib.sha256()
    for part in sorted([*path.glob("*.safetensors"), *path.glob("*.bin")]):
        with part.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()
