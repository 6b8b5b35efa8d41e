"""Characters of an answer as tokens: what a loss may weigh differently, such as citations."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crucible_lora.ports import Tokenizer


def check_spans(spans: Sequence[tuple[int, int]], *, length: int, item_id: str) -> None:
    """Raise `ValueError` for spans that are not characters of the completion."""
    for start, end in spans:
        if not 0 <= start < end <= length:
            raise ValueError(
                f"`spans` must lie within the {length} characters of the completion, got "
                f"({start}, {end}) for item {item_id!r}"
            )


def marked_tokens(
    answer: Sequence[int], spans: Sequence[tuple[int, int]], tokenizer: Tokenizer
) -> NDArray[np.bool_]:
    """Return which tokens of an answer hold a character of a span.

    A token's characters are those by which the decoded text grows with it.
    """
    ends = [len(tokenizer.decode(answer[: i + 1])) for i in range(len(answer))]
    starts = [0, *ends[:-1]]
    marked = np.zeros(len(answer), dtype=np.bool_)
    for first, last in spans:
        marked |= np.array([s < last and e > first for s, e in zip(starts, ends, strict=True)])
    return marked
