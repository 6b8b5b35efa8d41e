"""Tokenizers: over bytes, for the models made of numbers alone, and those of transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crucible_lora.ports import Message

END = 256


class ByteTokenizer:
    """Bytes 0-255 and 256 for the end of a turn; roles are written as text.

    The vocabulary of the reference model, 257 tokens.
    """

    begin: tuple[int, ...] = ()
    ends: tuple[int, ...] = (END,)

    def encode(self, text: str, /) -> list[int]:
        """Return the bytes of a text in UTF-8."""
        return list(text.encode("utf-8", "surrogatepass"))

    def decode(self, ids: Sequence[int], /) -> str:
        """Return the text; bytes that are no UTF-8 become U+FFFD."""
        return bytes(i for i in ids if i < END).decode("utf-8", "replace")

    def chat(self, messages: Sequence[Message], /, *, generation_prompt: bool) -> list[int]:
        """Return each turn as `<role>`, a line feed, its content and the end."""
        tokens: list[int] = []
        for message in messages:
            tokens += self._head(message["role"])
            tokens += [*self.encode(message["content"]), END]
        return tokens + self._head("assistant") if generation_prompt else tokens

    def _head(self, role: str) -> list[int]:
        return self.encode(f"<{role}>\n")


class RoleTokenizer(ByteTokenizer):
    """Bytes, the end, and one token per role: the vocabulary of the tiny model, 260 tokens."""

    _ROLES = ("system", "user", "assistant")

    def _head(self, role: str) -> list[int]:
        return [END + 1 + self._ROLES.index(role)]


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

    def save(self, path: Path, /) -> None:
        """Write it as transformers reads it."""
        self._tokenizer.save_pretrained(path)

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
