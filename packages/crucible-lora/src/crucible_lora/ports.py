"""What this package needs of others: backends, their sessions, tokenizers and losses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from crucible_lora.config import LoraConfig

if TYPE_CHECKING:
    from crucible_lora.sampler import Sampler

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Message = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """An item as tokens.

    Parameters
    ----------
    item_id : str
    tokens : int64, shape (T,)
    weights : float32, shape (T,)
        `weights[t]` weighs the prediction of token t in the loss: 0 for the prompt. `weights[0]` is
        0, since nothing stands before it, and the sum is positive.
    marked : bool, shape (T,), optional
        Tokens of the spans that the formatter marked; None where it marked none.
    """

    item_id: str
    tokens: Ints
    weights: NDArray[np.float32]
    marked: NDArray[np.bool_] | None = None

    def targets(self) -> NDArray[np.intp]:
        """Return the positions of the tokens that are learned."""
        return np.flatnonzero(self.weights)

    def target_weights(self) -> NDArray[np.float64]:
        """Return the weights of the tokens that are learned."""
        return self.weights[self.targets()].astype(np.float64)


class LossFunction(Protocol):
    """A loss over the target tokens of a batch."""

    @property
    def name(self) -> str:
        """Return the name under which its value is reported."""
        ...

    def __call__(
        self, logits: Floats, targets: Ints, weights: Floats, /
    ) -> tuple[float, NDArray[np.float64]]:
        """Return the loss and its gradient.

        Parameters
        ----------
        logits : shape (N, V)
        targets : shape (N,), in [0, V)
        weights : shape (N,), >= 0, with a positive sum

        Returns
        -------
        value : float
            A mean over the N rows weighted by `weights`, so that the parts of a batch add up to
            the whole.
        gradient : shape (N, V)
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """How one optimiser step is made.

    The examples of a step are worked off `micro_batch` at a time; the loss is the weighted mean
    over the target tokens of all of them. `crucible_lora.composite.terms_of` takes a loss apart.
    With `gradients`, the result holds them as they were before clipping. With `pack_to`, several
    examples stand in one row of at most so many tokens, none of which sees another.
    """

    learning_rate: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    max_grad_norm: float | None
    loss: LossFunction
    micro_batch: int
    gradients: bool = False
    pack_to: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What one optimiser step did.

    `grad_norm` is the norm before clipping, None where a backend does not tell. A `skipped` step
    changed nothing, for `reason`; `loss` is None then unless it is a number. `gradients` are by
    name, before clipping, where they were asked for.
    """

    loss: float | None
    components: Mapping[str, float]
    target_tokens: int
    grad_norm: float | None = None
    gradients: Mapping[str, NDArray[np.floating[Any]]] | None = None
    skipped: bool = False
    reason: str | None = None

    @classmethod
    def not_finite(
        cls,
        what: str,
        *,
        target_tokens: int,
        gradients: Mapping[str, NDArray[np.floating[Any]]] | None,
    ) -> "StepResult":
        """Return that of a step that was skipped, since its "loss" or "gradient" is no number."""
        return cls(
            loss=None,
            components={},
            target_tokens=target_tokens,
            gradients=gradients,
            skipped=True,
            reason=f"the {what} was not finite",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a backend can do.

    Parameters
    ----------
    options : names of fields of `LoraConfig`
        Those that it honours at other values than the default. Rank, learning rate, schedule and
        optimiser every backend honours.
    losses : names of losses
        With "custom", any `LossFunction`; with "label_smoothing", cross entropy has it.
    logprobs : bool
        Whether `Session.forward` works.
    deterministic : bool
        Whether equal seeds give equal adapters.
    local : bool
        Whether it runs on this machine.
    gradients : bool
        Whether a step can return its gradients, which hooks need.
    predictions : bool
        Whether its sessions are `Predicting`.
    packing : bool
        Whether it can put several examples into one row.
    """

    options: frozenset[str]
    losses: frozenset[str]
    logprobs: bool
    deterministic: bool
    local: bool
    gradients: bool = False
    predictions: bool = False
    packing: bool = False


class Tokenizer(Protocol):
    """Text to tokens and back."""

    @property
    def begin(self) -> tuple[int, ...]:
        """Return the tokens that stand before a text without chat template."""
        ...

    @property
    def ends(self) -> tuple[int, ...]:
        """Return the tokens that end an answer; the first is the one to learn."""
        ...

    def encode(self, text: str, /) -> list[int]:
        """Return the tokens of a text, without special ones around it."""
        ...

    def decode(self, ids: Sequence[int], /) -> str:
        """Return the text of tokens, without special ones."""
        ...

    def chat(self, messages: Sequence[Message], /, *, generation_prompt: bool) -> list[int]:
        """Return messages in the model's template, with the head of an answer if asked."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """Tokens that a model produced, the one that ended the answer included.

    `logprobs` are natural, at temperature 1 and without top-p or top-k.
    """

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    finish: Literal["stop", "length"]


class Sampling(Protocol):
    """What a `Sampler` needs of a session."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Return the model's tokenizer."""
        ...

    @property
    def context(self) -> int | None:
        """Return the longest sequence in tokens; None is no limit."""
        ...

    def identity(self, adapter: Path | None, /) -> dict[str, object]:
        """Return what identifies the weights that answer: backend, base and adapter's SHA-256."""
        ...

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
        """Continue prompts, each with a seed of its own; `adapter=None` is the base model.

        Several may be worked off together, which changes the last bits of a number at most.

        Raises
        ------
        ContextLengthError
            If a prompt leaves no room.
        SessionClosedError
        """
        ...


class Session(Sampling, Protocol):
    """A model with one adapter in training."""

    @property
    def device(self) -> str:
        """Return where it runs."""
        ...

    @property
    def dtype(self) -> str:
        """Return the type of its base's numbers."""
        ...

    @property
    def peak_memory_bytes(self) -> int | None:
        """Return the most memory used so far, where it can be known."""
        ...

    @property
    def versions(self) -> Mapping[str, str]:
        """Return the versions of the libraries that computed."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """Return what a report should say about how it was computed; mostly nothing."""
        ...

    async def train_step(self, batch: Sequence[Example], /, *, update: Update) -> StepResult:
        """Make one optimiser step."""
        ...

    async def forward(self, batch: Sequence[Example], /) -> Sequence[NDArray[np.float64]]:
        """Return the log-probability of each target token, one array per example."""
        ...

    async def save(self, path: Path, /) -> None:
        """Write adapter, optimiser and generator state into a folder that exists."""
        ...

    def sampler(self, path: Path | None = None, /) -> "Sampler":
        """Return the adapter saved at `path` as a model; None is the base model."""
        ...

    async def close(self) -> None:
        """Free the model."""
        ...


@runtime_checkable
class Predicting(Protocol):
    """What a session needs for "token_accuracy"; one that has logits can give it."""

    async def predict(self, batch: Sequence[Example], /) -> Sequence[Ints]:
        """Return the likeliest token at each target, given the targets before, per example."""
        ...


class Backend(Protocol):
    """Makes sessions."""

    @property
    def name(self) -> str:
        """Return the name that every report shows."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """Return what the backend can do."""
        ...

    async def create(self, config: LoraConfig, /, *, seed: int) -> Session:
        """Return a session with a fresh adapter.

        Raises
        ------
        UnsupportedOptionError
            If an option cannot be honoured, before anything is loaded or paid.
        """
        ...

    async def resume(self, config: LoraConfig, path: Path, /) -> Session:
        """Return a session as `Session.save` left it: adapter, optimiser and generators."""
        ...

    async def close(self) -> None:
        """Free what the backend holds."""
        ...
