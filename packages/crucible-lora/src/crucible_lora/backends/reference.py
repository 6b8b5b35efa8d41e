"""A byte-level language model in numpy, small enough to train in seconds and labelled reference."""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from crucible_lora.config import LoraConfig
from crucible_lora.ports import Example
from crucible_lora.tokenizers import END

Array = NDArray[np.float64]
VOCABULARY, WIDTH, WINDOW, BUCKETS, BAG, HIDDEN = 257, 32, 16, 4096, 128, 256
INPUT = WINDOW * WIDTH + BAG
_SEED = 0  # of the frozen base: one base for everybody


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Positions of a batch at which something is predicted."""

    inputs: Array  # (N, INPUT)
    targets: NDArray[np.int64]  # (N,)
    weights: Array  # (N,)


class ReferenceModel:
    """The frozen base with an adapter on both its layers.

    Notes
    -----
    The input x of a prediction is the embeddings (257 x 32) of the last 16 bytes, one after the
    other, and a bag of the prompt's words: rows of a 4096 x 128 matrix at crc32(word) mod 4096,
    summed and divided by the root of their number. Then h = tanh((W1 + s B1 A1) x) with 256 units,
    and the logits are (W2 + s B2 A2) h. Everything frozen is drawn once for all: N(0, 1)
    embeddings and N(0, 1 / fan-in) weights. The prompt is what stands before the first target.
    """

    def __init__(self) -> None:
        rng = np.random.default_rng(_SEED)
        self.embeddings = rng.standard_normal((VOCABULARY, WIDTH))
        self.words = rng.standard_normal((BUCKETS, BAG))
        self.first = rng.standard_normal((HIDDEN, INPUT)) / np.sqrt(INPUT)
        self.second = rng.standard_normal((VOCABULARY, HIDDEN)) / np.sqrt(HIDDEN)

    def bag(self, prompt: Iterable[int]) -> Array:
        """Return the features of a prompt's words, shape (BAG,)."""
        words = bytes(32 if token == END else token for token in prompt).split()
        if not words:
            return np.zeros(BAG)
        rows = self.words[[zlib.crc32(word) % BUCKETS for word in words]]
        total: Array = rows.sum(axis=0) / np.sqrt(len(words))
        return total

    def rows(self, batch: Sequence[Example]) -> Rows:
        """Return the inputs, targets and weights of a batch's predictions."""
        inputs, targets, weights = [], [], []
        for example in batch:
            at = example.targets()
            inputs.append(self.inputs(example.tokens, at, self.bag(example.tokens[: at[0]])))
            targets.append(example.tokens[at])
            weights.append(example.weights[at].astype(np.float64))
        return Rows(np.concatenate(inputs), np.concatenate(targets), np.concatenate(weights))

    def inputs(self, tokens: NDArray[np.int64], at: NDArray[np.intp], bag: Array) -> Array:
        """Return the inputs that predict the tokens at some positions, shape (len(at), INPUT)."""
        padded = np.concatenate([np.full(WINDOW, END, dtype=np.int64), tokens])
        windows = sliding_window_view(padded, WINDOW)[at]  # tokens t-16 .. t-1
        near = self.embeddings[windows].reshape(len(at), WINDOW * WIDTH)
        return np.hstack([near, np.broadcast_to(bag, (len(at), BAG))])

    def forward(
        self, x: Array, adapter: "Adapter", masks: "Masks | None" = None
    ) -> tuple[Array, "Trace"]:
        """Return logits, shape (N, VOCABULARY), and what `backward` needs."""
        s = adapter.scale
        one = x if masks is None else x * masks.first
        low_one = one @ adapter.a1.T
        h = np.tanh(x @ self.first.T + s * low_one @ adapter.b1.T)
        two = h if masks is None else h * masks.second
        low_two = two @ adapter.a2.T
        logits = h @ self.second.T + s * low_two @ adapter.b2.T
        return logits, Trace(one, low_one, h, two, low_two, masks)

    def base_logits(self, x: Array) -> Array:
        """Return the logits of the model without adapter."""
        logits: Array = np.tanh(x @ self.first.T) @ self.second.T
        return logits

    def backward(self, slope: Array, adapter: "Adapter", trace: "Trace") -> dict[str, Array]:
        """Return the adapter's gradients from that of the logits."""
        s = adapter.scale
        back_two = s * slope @ adapter.b2
        through = back_two @ adapter.a2
        if trace.masks is not None:
            through *= trace.masks.second
        bent = (slope @ self.second + through) * (1 - trace.h * trace.h)
        back_one = s * bent @ adapter.b1
        return {
            "a1": back_one.T @ trace.one,
            "b1": s * bent.T @ trace.low_one,
            "a2": back_two.T @ trace.two,
            "b2": s * slope.T @ trace.low_two,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """Dropout of the adapter's inputs: 0, or 1 / (1 - p)."""

    first: Array
    second: Array

    @classmethod
    def draw(cls, n: int, share: float, rng: np.random.Generator) -> "Masks":
        """Return fresh masks for n rows."""

        def mask(width: int) -> Array:
            return (rng.random((n, width)) >= share) / (1 - share)

        return cls(mask(INPUT), mask(HIDDEN))


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """What a forward pass leaves for the way back."""

    one: Array
    low_one: Array
    h: Array
    two: Array
    low_two: Array
    masks: Masks | None


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """Two pairs of low-rank matrices; with B at zero it changes nothing."""

    a1: Array
    b1: Array
    a2: Array
    b2: Array
    scale: float

    @classmethod
    def fresh(cls, config: LoraConfig, rng: np.random.Generator) -> "Adapter":
        """Return an adapter before training: A uniform within 1/sqrt(fan-in), B zero."""

        def uniform(fan_in: int) -> Array:
            bound = 1 / np.sqrt(fan_in)
            return rng.uniform(-bound, bound, (config.rank, fan_in))

        return cls(
            a1=uniform(INPUT),
            b1=np.zeros((HIDDEN, config.rank)),
            a2=uniform(HIDDEN),
            b2=np.zeros((VOCABULARY, config.rank)),
            scale=config.scale,
        )

    def arrays(self) -> dict[str, Array]:
        """Return the trained arrays by name."""
        return {"a1": self.a1, "b1": self.b1, "a2": self.a2, "b2": self.b2}


class ReferenceDecoder:
    """The model, reading along; each row by itself, so that a neighbour changes no bit."""

    def __init__(self, model: ReferenceModel, adapter: Adapter | None) -> None:
        self._model, self._adapter = model, adapter
        self._windows: list[NDArray[np.int64]] = []
        self._bags: list[Array] = []

    def start(self, prompts: Sequence[Sequence[int]], /) -> Array:
        """Read prompts and return the logits of each one's next token."""
        before = np.full(WINDOW, END, dtype=np.int64)
        self._bags = [self._model.bag(p) for p in prompts]
        self._windows = [
            np.concatenate([before, np.asarray(p, dtype=np.int64)])[-WINDOW:] for p in prompts
        ]
        return self._logits()

    def advance(self, rows: Sequence[int], tokens: Sequence[int], /) -> Array:
        """Read one more token for some rows, and forget the others."""
        self._bags = [self._bags[i] for i in rows]
        self._windows = [
            np.append(self._windows[i][1:], token) for i, token in zip(rows, tokens, strict=True)
        ]
        return self._logits()

    def _logits(self) -> Array:
        return np.stack([self._row(w, b) for w, b in zip(self._windows, self._bags, strict=True)])

    def _row(self, window: NDArray[np.int64], bag: Array) -> Array:
        x = np.concatenate([self._model.embeddings[window].ravel(), bag])
        if self._adapter is None:
            h = np.tanh(self._model.first @ x)
            return np.asarray(self._model.second @ h)
        a = self._adapter
        h = np.tanh(self._model.first @ x + a.scale * (a.b1 @ (a.a1 @ x)))
        return np.asarray(self._model.second @ h + a.scale * (a.b2 @ (a.a2 @ h)))
