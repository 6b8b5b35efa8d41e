"""The ports of this package: what answers, races calls, reads answers and counts votes."""

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from crucible_ensemble.completion import Chunk
    from crucible_ensemble.prediction import Ballot, Tally

T = TypeVar("T")
Prompt = str | Sequence[Mapping[str, str]]


class CompletionLike(Protocol):
    """What a model returns. Any record with these attributes fits; None means unknown."""

    @property
    def text(self) -> str:
        """Return the answer."""
        ...

    @property
    def input_tokens(self) -> int | None:
        """Return the tokens of the prompt."""
        ...

    @property
    def output_tokens(self) -> int | None:
        """Return the tokens of the answer."""
        ...

    @property
    def cost_usd(self) -> float | None:
        """Return the price in US dollars."""
        ...

    @property
    def confidence(self) -> float | None:
        """Return a probability in [0, 1] that the answer is right, if the model gives one."""
        ...

    @property
    def confidence_source(self) -> str | None:
        """Return where the confidence is from, such as "logprobs"."""
        ...

    @property
    def logprobs(self) -> Sequence[float] | None:
        """Return the natural log-probability of each chosen token."""
        ...

    @property
    def latency_s(self) -> float | None:
        """Return the seconds from request to answer."""
        ...


@runtime_checkable
class Model(Protocol):
    """Everything that answers: a provider's client, a local model, an ensemble, a cassette."""

    async def generate(
        self,
        prompt: Prompt,
        /,
        *,
        temperature: float | None = 0.0,
        max_tokens: int = 1000,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> CompletionLike:
        """Answer a prompt.

        Parameters
        ----------
        prompt : str or sequence of {"role", "content"} messages
        temperature : float, >= 0, or None
            None does not send one.
        max_tokens : int, >= 1
        seed : int, optional
            Equal requests with an equal seed give equal answers, where the model can.
        stop : sequence of str
        """
        ...


class StreamingModel(Model, Protocol):
    """A model that shows its answer while it is made."""

    def open_stream(
        self,
        prompt: Prompt,
        /,
        *,
        temperature: float | None = 0.0,
        max_tokens: int = 1000,
        seed: int | None = None,
        stop: Sequence[str] = (),
    ) -> "AbstractAsyncContextManager[AsyncIterator[Chunk]]":
        """Return a context whose iterator yields pieces; the last carries the Completion."""
        ...


class Hedger(Protocol):
    """Races several copies of a call; `crucible_hedging.Hedger` fits."""

    async def race(
        self, calls: Sequence[Callable[[], Awaitable[T]]], /, *, key: Hashable = None
    ) -> tuple[T, int]:
        """Return the first success and the index of the call that gave it; calls[0] is primary."""
        ...


class Normaliser(Protocol):
    """Reads the answer out of a text."""

    def __call__(self, text: str, /) -> str | None:
        """Return a canonical key, or None where there is no answer; None never wins a vote."""
        ...


class Vote(Protocol):
    """Counts ballots."""

    def __call__(self, ballots: "Sequence[Ballot]", /) -> "Tally":
        """Return scores per key and the winners."""
        ...


class Equivalence(Protocol):
    """Says which keys mean the same."""

    def __call__(self, keys: Sequence[str], /) -> Sequence[int]:
        """Return a cluster number for each key."""
        ...


class Verifier(Protocol):
    """Judges an answer."""

    async def __call__(self, prompt: str, answer: str, /) -> float | None:
        """Return the probability in [0, 1] that the answer is right; None if it cannot say."""
        ...
