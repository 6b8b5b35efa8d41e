"""Tokenizers over bytes, for the models of this package that are made of numbers alone."""

from collections.abc import Sequence

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
