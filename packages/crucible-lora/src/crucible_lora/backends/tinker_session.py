"""A model of a Tinker service with one adapter in training."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import tinker
from numpy.typing import NDArray
from tinker import types

from crucible_lora.backends.tinker_calls import Service
from crucible_lora.capabilities import require_loss
from crucible_lora.composite import Term, terms_of
from crucible_lora.config import LoraConfig
from crucible_lora.decoding import cut_at
from crucible_lora.errors import BackendUnavailableError, SessionClosedError
from crucible_lora.files import sha256_file
from crucible_lora.ports import Continuation, Example, StepResult, Tokenizer, Update
from crucible_lora.sampler import Sampler
from crucible_lora.tokenizers import HFTokenizer

STATE = "tinker.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Saved:
    """Where the service keeps a checkpoint: adapter with optimiser, and adapter to sample from."""

    state: str
    sampler: str
    sha256: str

    @classmethod
    def read(cls, path: Path) -> "_Saved":
        data = json.loads((path / STATE).read_text(encoding="utf-8"))
        digest = sha256_file(path / STATE)
        return cls(state=data["state"], sampler=data["sampler"], sha256=digest)


class TinkerSession:
    """See `Session`. Where the service computes, and in which numbers, it does not tell."""

    device = "service"
    dtype = "unknown"
    context: int | None = None
    peak_memory_bytes: int | None = None
    remote = True  # its answers are calls to somebody else
    notes: Sequence[str] = ()

    def __init__(
        self, service: Service, training: Any, config: LoraConfig, tokenizer: Tokenizer
    ) -> None:
        self.tokenizer = tokenizer
        self._service, self._training, self._config = service, training, config
        self._samplers: dict[Path | None, Any] = {}
        self._known: dict[Path, _Saved] = {}  # a checkpoint may be pruned while it answers
        self._saves = 0
        self._closed = False

    @classmethod
    async def open(
        cls,
        service: Service,
        config: LoraConfig,
        *,
        seed: int | None,
        path: Path | None,
        tokenizer: Tokenizer | None,
    ) -> "TinkerSession":
        """Log in and return a session with a fresh adapter, or with the one saved at a path."""
        try:
            await service.open()
            training = await _training(service, config, seed=seed, path=path)
            if tokenizer is None:
                found = await anyio.to_thread.run_sync(training.get_tokenizer)
                tokenizer = HFTokenizer(found, [found.eos_token_id])
        except BaseException:
            service.abandon()
            raise
        session = cls(service, training, config, tokenizer)
        if path is not None:
            session._find(path)
        return session

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions of the libraries that computed."""
        return {"tinker": metadata.version("tinker")}

    async def train_step(self, batch: Sequence[Example], /, *, update: Update) -> StepResult:
        """Make one optimiser step; see `Session`."""
        from crucible_lora.backends.tinker import TinkerBackend

        require_loss(update.loss, backend="tinker", capabilities=TinkerBackend.capabilities)
        self._check_open()
        terms = terms_of(update.loss)
        each = [_shares(term, batch) for term in terms]
        data = []
        for i, example in enumerate(batch):
            parts = [t.coefficient * w[i] for t, w in zip(terms, each, strict=True)]
            data.append(_datum(example, sum(parts[1:], parts[0])))
        adam = types.AdamParams(
            learning_rate=update.learning_rate,
            beta1=update.betas[0],
            beta2=update.betas[1],
            eps=update.eps,
            weight_decay=update.weight_decay,
            grad_clip_norm=update.max_grad_norm or 0.0,  # 0 is no clipping
        )
        found, _ = await self._service.wait(
            "update",
            lambda: [
                self._training.forward_backward(data, "cross_entropy"),
                self._training.optim_step(adam),
            ],
        )
        logprobs = _logprobs(found, batch)
        values = [
            -math.fsum(float(w @ p) for w, p in zip(weights, logprobs, strict=True))
            for weights in each
        ]
        total = math.fsum(t.coefficient * v for t, v in zip(terms, values, strict=True))
        targets = sum(map(len, each[0]))
        if not math.isfinite(total):
            return StepResult(
                loss=None,
                components={},
                target_tokens=targets,
                skipped=True,
                reason="the loss was not finite, after the service had made its step",
            )
        return StepResult(
            loss=total,
            components={t.name: v for t, v in zip(terms, values, strict=True)},
            target_tokens=targets,
        )

    async def forward(self, batch: Sequence[Example], /) -> Sequence[NDArray[np.float64]]:
        """Return the log-probability of each target token; see `Session`."""
        self._check_open()
        data = [_datum(e, e.target_weights()) for e in batch]
        (found,) = await self._service.wait(
            "forward", lambda: [self._training.forward(data, "cross_entropy")]
        )
        return _logprobs(found, batch)

    async def complete(
        self,
        prompts: Sequence[Sequence[int]],
        /,
        *,
        adapter: Path | None,
        max_tokens: int,
        temperature: float,
        top_p: float,
        top_k: int | None,
        seeds: Sequence[int | None],
        stop: Sequence[str],
    ) -> Sequence[Continuation]:
        """Continue prompts; see `Sampling`.

        Answers are cut at stop texts here, at their first occurrence, as on every backend; the
        service is told the tokens that end an answer alone.
        """
        self._check_open()
        client = await self._sampling(adapter)
        params = [
            types.SamplingParams(
                max_tokens=max_tokens,
                temperature=temperature,
                top_p=top_p,
                top_k=-1 if top_k is None else top_k,
                seed=seed,
                stop=list(self.tokenizer.ends),
            )
            for seed in seeds
        ]
        read = [types.ModelInput.from_ints(list(prompt)) for prompt in prompts]
        found = await self._service.wait(
            "sample",
            lambda: [
                client.sample(prompt, num_samples=1, sampling_params=how)
                for prompt, how in zip(read, params, strict=True)
            ],
        )
        return [self._continuation(answer.sequences[0], stop) for answer in found]

    async def save(self, path: Path, /) -> None:
        """Let the service keep adapter and optimiser, and write down where; see `Session`."""
        self._check_open()
        self._saves += 1
        name = f"save-{self._saves:06d}"
        kept, answering = await self._service.wait(
            "save",
            lambda: [
                self._training.save_state(name),
                self._training.save_weights_for_sampler(name),
            ],
        )
        facts = {
            "base_model": self._config.base_model,
            "sampler": answering.path,
            "state": kept.path,
        }
        (path / STATE).write_text(json.dumps(facts, sort_keys=True, indent=2), encoding="utf-8")

    def sampler(self, path: Path | None = None, /) -> Sampler:
        """Return a saved adapter, or the base, as a model; see `Session`."""
        label = "base" if path is None else path.name
        name = self._config.base_model.rpartition("/")[2]
        return Sampler(self, path, name=f"lora/{name}/{label}")

    def identity(self, adapter: Path | None, /) -> dict[str, object]:
        """Return what identifies the weights that answer; see `Sampling`.

        The weights themselves never leave the service: the SHA-256 is that of their address there.
        """
        return {
            "backend": "tinker",
            "base": self._config.base_model,
            "adapter_sha256": None if adapter is None else self._find(adapter).sha256,
        }

    async def close(self) -> None:
        """Finish the service's session."""
        if not self._closed:
            self._closed = True
            await self._service.close()

    async def _sampling(self, adapter: Path | None) -> Any:
        if adapter not in self._samplers:
            which: dict[str, str] = {"base_model": self._config.base_model}
            if adapter is not None:
                which = {"model_path": self._find(adapter).sampler}
            self._samplers[adapter] = await self._service.call(
                "open sampler", lambda client: client.create_sampling_client(**which)
            )
        return self._samplers[adapter]

    def _find(self, path: Path) -> _Saved:
        if path not in self._known:
            self._known[path] = _Saved.read(path)
        return self._known[path]

    def _continuation(self, sequence: Any, stop: Sequence[str]) -> Continuation:
        tokens, logprobs = list(sequence.tokens), sequence.logprobs
        if logprobs is None or not tokens:
            raise BackendUnavailableError(
                "sample: the service returned no log-probabilities",
                backend="tinker",
                retryable=False,
            )
        text = self.tokenizer.decode(tokens)
        short = cut_at(text, stop)
        ended = short is not None or sequence.stop_reason == "stop"
        return Continuation(
            tokens=tuple(tokens),
            logprobs=tuple(logprobs),
            text=text if short is None else short,
            finish="stop" if ended else "length",
        )

    def _check_open(self) -> None:
        if self._closed:
            raise SessionClosedError


async def _training(
    service: Service, config: LoraConfig, *, seed: int | None, path: Path | None
) -> Any:
    if path is not None:
        state = _Saved.read(path).state
        return await service.call(
            "resume",
            lambda client: client.create_training_client_from_state_with_optimizer(state),
        )
    return await service.call(
        "create",
        lambda client: client.create_lora_training_client(
            config.base_model,
            rank=config.rank,
            seed=seed,
            train_mlp=config.target_modules in ("all-linear", "mlp"),
            train_attn=config.target_modules in ("all-linear", "attention"),
            train_unembed=config.unembed,
        ),
    )


def _shares(term: Term, batch: Sequence[Example]) -> list[NDArray[np.float64]]:
    """Return each example's weights of its targets as shares of those of the whole batch."""
    each = [term.weights([example]) for example in batch]
    whole = math.fsum(w for part in each for w in part.tolist())
    return [part / whole for part in each]


def _datum(example: Example, weights: NDArray[np.float64]) -> tinker.Datum:
    """Return an example as the service has it: inputs, and what each one should be followed by."""
    whole = np.zeros(len(example.tokens) - 1, dtype=np.float32)
    whole[example.targets() - 1] = weights
    inputs = {
        "target_tokens": types.TensorData(
            data=example.tokens[1:].copy(), dtype="int64", shape=[len(whole)]
        ),
        "weights": types.TensorData(data=whole, dtype="float32", shape=[len(whole)]),
    }
    tokens = types.ModelInput.from_ints(example.tokens[:-1].tolist())
    return tinker.Datum(model_input=tokens, loss_fn_inputs=inputs)


def _logprobs(found: Any, batch: Sequence[Example]) -> list[NDArray[np.float64]]:
    """Return the log-probabilities of the targets of each example."""
    rows = [output.get("logprobs") for output in found.loss_fn_outputs]
    if len(rows) != len(batch) or any(row is None for row in rows):
        raise BackendUnavailableError(
            "the service returned no log-probabilities", backend="tinker", retryable=False
        )
    whole = [np.asarray(row.data, dtype=np.float64) for row in rows]
    return [row[e.targets() - 1] for row, e in zip(whole, batch, strict=True)]
