"""Checks for those who implement a port of this package. Each raises `AssertionError`."""

import math
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from crucible_lora.composite import terms_of
from crucible_lora.config import LoraConfig
from crucible_lora.errors import LoraError
from crucible_lora.loss_registry import composite
from crucible_lora.losses import CrossEntropy
from crucible_lora.ports import (
    Backend,
    Example,
    Floats,
    LossFunction,
    Predicting,
    Session,
    Update,
)
from crucible_lora.schemas import OutputSchema


async def check_backend(make: Callable[[], Backend], *, config: LoraConfig) -> None:
    """Check that a backend keeps its promises.

    Parameters
    ----------
    make : callable
        Returns a fresh backend.
    config : LoraConfig
        One that it honours.
    """
    backend = make()
    _require(bool(backend.name), "a backend has a name")
    session = await backend.create(config, seed=0)
    twin = await make().create(config, seed=0)
    other = await make().create(config, seed=1)
    try:
        await check_session(session)
        await _check_seeds(session, twin, other, equal=backend.capabilities.deterministic)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder)
            await session.save(path)
            again = await backend.resume(config, path)
            await _check_resumed(session, again)
            await _check_sampler(session, path)
            await again.close()
        await _check_capabilities(backend, session)
    finally:
        for one in (session, twin, other):
            await one.close()
    try:
        await session.forward(_batch(session))
    except LoraError:
        pass
    else:
        raise AssertionError("a closed session raises LoraError")
    await backend.close()


async def check_session(session: Session) -> None:
    """Check that a fresh session learns, and that its tokenizer and likelihoods are sound."""
    tokenizer = session.tokenizer
    text = 'Ünï {"a": [1, 2]}\n'
    _require(tokenizer.decode(tokenizer.encode(text)) == text, "decode undoes encode")
    _require(len(tokenizer.ends) > 0, "some token ends an answer")
    batch = _batch(session)
    before = await session.forward(batch)
    for example, logprobs in zip(batch, before, strict=True):
        _require(len(logprobs) == len(example.targets()), "forward returns one per target")
        _require(bool((np.asarray(logprobs) <= 0).all()), "log-probabilities are <= 0")
    alone = await session.forward(batch[:1])
    _require(bool(np.allclose(alone[0], before[0], atol=1e-4)), "neighbours change nothing")
    first = await session.train_step(batch, update=_update())
    expected = -float(np.concatenate(before).mean())
    _require(
        first.loss is not None and abs(first.loss - expected) <= 1e-4 * max(1.0, expected),
        "the loss is the mean over the target tokens of the whole batch",
    )
    for _ in range(9):
        await session.train_step(batch, update=_update())
    after = await session.forward(batch)
    _require(
        float(np.concatenate(after).mean()) > float(np.concatenate(before).mean()),
        "ten updates make the targets likelier",
    )


def check_loss(loss: LossFunction, *, seed: int = 0) -> None:
    """Check a loss: its gradient by central differences, and that it is a weighted mean.

    A loss of this package that compares with the base model, alone or in a sum, gets logits of one.
    """
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((5, 4))
    targets = np.array([0, 3, 1, 1, 2], dtype=np.int64)
    weights = np.array([1.0, 0.5, 2.0, 1.0, 3.0])
    base, terms = rng.standard_normal((5, 4)), terms_of(loss)

    def compute(x: Floats, rows: slice = slice(None)) -> tuple[float, Floats]:
        value, slope = 0.0, np.zeros_like(x)
        if len(terms) == 1 and not terms[0].wants_teacher:
            return loss(x, targets[rows], weights[rows])
        for term in terms:
            part, one = term(x, targets[rows], weights[rows], teacher_logits=base[rows])
            value, slope = value + term.coefficient * part, slope + term.coefficient * one
        return value, slope

    value, gradient = compute(logits)
    _require(gradient.shape == logits.shape, "the gradient has the shape of the logits")
    step = 1e-6
    for index in np.ndindex(logits.shape):
        moved = logits.copy()
        moved[index] += step
        up, _ = compute(moved)
        moved[index] -= 2 * step
        down, _ = compute(moved)
        slope = (up - down) / (2 * step)
        close = bool(abs(slope - gradient[index]) <= 1e-6 * max(1.0, abs(slope)))
        _require(close, f"the gradient at {index} is {slope:.8f}, got {gradient[index]:.8f}")
    one, _ = compute(logits[:2], slice(None, 2))
    two, _ = compute(logits[2:], slice(2, None))
    parts = (one * weights[:2].sum() + two * weights[2:].sum()) / weights.sum()
    _require(abs(parts - value) <= 1e-9 * max(1.0, abs(value)), "the loss is a weighted mean")


def check_schema(schema: OutputSchema, *, good: str, bad: str) -> None:
    """Check a schema on a text that has its form and on one that does not."""
    _require(schema.parse(good).ok, "the good text is accepted")
    refused = schema.parse(bad)
    _require(not refused.ok and len(refused.errors) > 0, "the bad text is refused with a reason")
    for text in ("", "\x00", "[" * 100_000, "1" * 10_000, "\ud800"):
        schema.parse(text)  # no text makes it raise


async def _check_seeds(session: Session, twin: Session, other: Session, *, equal: bool) -> None:
    batch = _batch(session)
    base = await other.sampler().generate("say a", max_tokens=8)
    for one in (twin, other):
        for _ in range(10):
            await one.train_step(batch, update=_update())
    found = [np.concatenate(await one.forward(batch)) for one in (session, twin, other)]
    if equal:
        _require(np.array_equal(found[0], found[1]), "equal seeds give equal adapters")
    _require(not np.array_equal(found[0], found[2]), "other seeds give other adapters")
    for one in (session, other):
        answer = await one.sampler().generate("say a", max_tokens=8)
        _require(answer.logprobs == base.logprobs, "training leaves the base as it is")


async def _check_capabilities(backend: Backend, session: Session) -> None:
    batch = _batch(session)
    if backend.capabilities.predictions:
        _require(isinstance(session, Predicting), "a session that predicts has `predict`")
    if isinstance(session, Predicting):
        for chosen, example in zip(await session.predict(batch), batch, strict=True):
            _require(len(chosen) == len(example.targets()), "predict returns one per target")
    if backend.capabilities.gradients:
        result = await session.train_step(batch, update=replace(_update(), gradients=True))
        found = [np.asarray(g, dtype=np.float64) for g in (result.gradients or {}).values()]
        _require(len(found) > 0, "a step returns its gradients where they are asked for")
        norm = math.sqrt(sum(float((g * g).sum()) for g in found))
        close = result.grad_norm is None or math.isclose(norm, result.grad_norm, rel_tol=1e-4)
        _require(close, "the gradients are those before clipping")
    if {"kl", "cross_entropy"} <= backend.capabilities.losses:
        both = composite({"cross_entropy": 1.0, "kl": 0.5})
        result = await session.train_step(batch, update=replace(_update(), loss=both))
        parts = result.components
        _require(set(parts) == {"cross_entropy", "kl"}, "a step tells each part of a sum")
        total = parts["cross_entropy"] + 0.5 * parts["kl"]
        close = result.loss is not None and math.isclose(result.loss, total, rel_tol=1e-5)
        _require(close, "the loss is the sum of its parts by their coefficients")


async def _check_resumed(session: Session, again: Session) -> None:
    batch = _batch(session)
    for one in (session, again):
        await one.train_step(batch, update=_update())
    ours, theirs = await session.forward(batch), await again.forward(batch)
    equal = all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    _require(equal, "a resumed session goes on as the one that was saved")


async def _check_sampler(session: Session, path: Path) -> None:
    for sampler in (session.sampler(path), session.sampler()):
        _require(bool(sampler.name), "a sampler has a name")
        _require(isinstance(sampler.fingerprint(), dict), "a sampler says what it is")
        answers = [
            await sampler.generate("say a", temperature=0.8, max_tokens=8, seed=1) for _ in range(2)
        ]
        _require(answers[0].text == answers[1].text, "equal requests get equal answers")
        _require(answers[0].output_tokens <= 8, "an answer ends at max_tokens")
    one, other = session.sampler(path).fingerprint(), session.sampler().fingerprint()
    _require(one != other, "an adapter and its base are told apart")


def _batch(session: Session) -> list[Example]:
    """Return two examples of different length."""
    tokenizer, batch = session.tokenizer, []
    for name, question, answer in (("one", "say a", "aaaa"), ("two", "say b, please", "bb")):
        message = {"role": "user", "content": question}
        prompt = tokenizer.chat([message], generation_prompt=True)
        tokens = [*prompt, *tokenizer.encode(answer), tokenizer.ends[0]]
        weights = np.zeros(len(tokens), dtype=np.float32)
        weights[len(prompt) :] = 1.0
        array = np.array(tokens, dtype=np.int64)
        batch.append(Example(item_id=name, tokens=array, weights=weights))
    return batch


def _update() -> Update:
    return Update(
        learning_rate=1e-2,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.0,
        max_grad_norm=1.0,
        loss=CrossEntropy(),
        micro_batch=1,
    )


def _require(ok: bool, sentence: str) -> None:
    if not ok:
        raise AssertionError(sentence)
