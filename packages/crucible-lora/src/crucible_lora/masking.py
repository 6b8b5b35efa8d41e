"""Which tokens are learned: the answer and its end, never the prompt. Checked for each item."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from crucible_lora.errors import MaskError, NoTargetTokensError, TruncationError
from crucible_lora.formats import Conversation
from crucible_lora.ports import Example, Tokenizer
from crucible_lora.records import Record
from crucible_lora.spans import check_spans, marked_tokens

Truncation = Literal["error", "drop", "left"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskReport(Record):
    """What of a data set is learned. In `preview`, targets stand between ⟦ and ⟧."""

    n_examples: int
    n_dropped: int
    n_truncated: int
    tokens: int
    target_tokens: int
    target_fraction: float
    min_target_tokens: int
    preview: tuple[str, ...]


def prompt_tokens(conversation: Conversation, tokenizer: Tokenizer) -> list[int]:
    """Return what the model is given before it answers."""
    if conversation.plain:
        text = "".join(message["content"] for message in conversation.messages)
        return [*tokenizer.begin, *tokenizer.encode(text)]
    return tokenizer.chat(conversation.messages, generation_prompt=True)


def lay_out(item_id: str, conversation: Conversation, tokenizer: Tokenizer) -> Example:
    """Return a conversation as tokens with the weights of its targets.

    Targets are the tokens behind the prompt as generation starts from it, up to and with the end of
    the turn; template text behind that is cut off, since nothing learns from it.

    Raises
    ------
    MaskError
        If the prompt's text is no longer there once the answer follows.
    NoTargetTokensError
        If the answer is empty or weighs nothing.
    """
    prompt = prompt_tokens(conversation, tokenizer)
    if not prompt:
        raise MaskError(item_id, "no token stands before the completion")
    if not conversation.completion or not conversation.weight > 0:
        raise NoTargetTokensError([item_id])
    answer = _answer_tokens(item_id, conversation, prompt, tokenizer)
    ends = [i for i, token in enumerate(answer) if token in tokenizer.ends]
    if ends:
        answer = answer[: ends[-1] + 1]
    else:
        answer = [*answer, tokenizer.ends[0]]
    if len(answer) < 2:
        raise NoTargetTokensError([item_id])
    tokens = np.array([*prompt, *answer], dtype=np.int64)
    weights = np.zeros(len(tokens), dtype=np.float32)
    weights[len(prompt) :] = conversation.weight
    marked = None
    if conversation.spans:
        check_spans(conversation.spans, length=len(conversation.completion), item_id=item_id)
        marked = np.zeros(len(tokens), dtype=np.bool_)
        marked[len(prompt) :] = marked_tokens(answer, conversation.spans, tokenizer)
    return Example(item_id=item_id, tokens=tokens, weights=weights, marked=marked)


def _answer_tokens(
    item_id: str, conversation: Conversation, prompt: list[int], tokenizer: Tokenizer
) -> list[int]:
    if conversation.plain:
        text = "".join(message["content"] for message in conversation.messages)
        whole = [*tokenizer.begin, *tokenizer.encode(text + conversation.completion)]
    else:
        turn = {"role": "assistant", "content": conversation.completion}
        whole = tokenizer.chat([*conversation.messages, turn], generation_prompt=False)
    if whole[: len(prompt)] == prompt:
        return whole[len(prompt) :]
    # The completion merged with the prompt's last token. Generation starts from the prompt's own
    # tokens, so the border is where its characters end.
    before, everything = tokenizer.decode(prompt), tokenizer.decode(whole)
    if not everything.startswith(before):
        raise MaskError(item_id, "the template changes the prompt once the answer follows")
    rest = tokenizer.encode(everything[len(before) :])
    if tokenizer.decode([*prompt, *rest]) != everything:
        raise MaskError(item_id, "prompt and completion share a token that cannot be split")
    return rest


def lay_out_all(
    conversations: Mapping[str, Conversation],
    tokenizer: Tokenizer,
    *,
    max_length: int,
    truncation: Truncation,
) -> tuple[dict[str, Example], MaskReport]:
    """Return the examples of a data set and what of them is learned.

    Raises
    ------
    MaskError, NoTargetTokensError
    TruncationError
        With `truncation="error"`, for items above `max_length`; with "left", for those whose
        targets alone are: targets are never cut.
    ValueError
        If every item was dropped.
    """
    examples: dict[str, Example] = {}
    empty: list[str] = []
    for item_id, conversation in conversations.items():
        try:
            examples[item_id] = lay_out(item_id, conversation, tokenizer)
        except NoTargetTokensError:
            empty.append(item_id)
    if empty:
        raise NoTargetTokensError(empty)
    long = {k: len(e.tokens) for k, e in examples.items() if len(e.tokens) > max_length}
    if truncation == "error" and long:
        remedy = 'raise `max_length`, or set `truncation` to "drop" or "left"'
        raise TruncationError(max_length, long, remedy)
    if truncation == "left":
        # One token of the prompt must stay: there is no prediction without a token before it.
        stuck = {k: n for k, n in long.items() if len(examples[k].targets()) >= max_length}
        if stuck:
            raise TruncationError(max_length, stuck, "their targets alone, which are never cut")
        for item_id in long:
            examples[item_id] = _cut(examples[item_id], max_length)
    else:
        examples = {k: e for k, e in examples.items() if k not in long}
    if not examples:
        raise ValueError(f"`max_length` must leave some items, got {max_length}: all are longer")
    dropped = len(long) if truncation == "drop" else 0
    return examples, _report(
        list(examples.values()), tokenizer, dropped=dropped, truncated=len(long) - dropped
    )


def _cut(example: Example, limit: int) -> Example:
    return Example(
        item_id=example.item_id,
        tokens=example.tokens[-limit:],
        weights=example.weights[-limit:],
        marked=None if example.marked is None else example.marked[-limit:],
    )


def _report(
    examples: Sequence[Example], tokenizer: Tokenizer, *, dropped: int, truncated: int
) -> MaskReport:
    counts = [len(e.targets()) for e in examples]
    tokens, targets = sum(len(e.tokens) for e in examples), sum(counts)
    return MaskReport(
        n_examples=len(examples),
        n_dropped=dropped,
        n_truncated=truncated,
        tokens=tokens,
        target_tokens=targets,
        target_fraction=targets / tokens,
        min_target_tokens=min(counts),
        preview=tuple(_preview(e, tokenizer) for e in examples[:3]),
    )


def _preview(example: Example, tokenizer: Tokenizer) -> str:
    start = int(example.targets()[0])
    tokens = example.tokens.tolist()
    return f"{tokenizer.decode(tokens[:start])}⟦{tokenizer.decode(tokens[start:])}⟧"
