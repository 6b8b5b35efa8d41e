"""A model of transformers that writes several answers at once, with a key-value cache."""

from collections.abc import Sequence
from inspect import signature
from typing import Any

import numpy as np
import torch

from crucible_lora.ports import Floats


class CachedDecoder:
    """See `decoding.Decoder`.

    Prompts of a batch end together: the shorter begin with padding that nothing looks at.

    Parameters
    ----------
    model : module
        A decoder whose last hidden states `head` makes logits of; without `head`, a whole model.
    head : callable, optional
    device : torch.device
    """

    def __init__(self, model: Any, head: Any | None, device: torch.device) -> None:
        self._model, self._head, self._device = model, head, device
        self._cache: Any = None
        self._seen: torch.Tensor | None = None  # (rows, read): 0 is padding; None, if there is none
        # Newer versions of transformers have renamed the argument.
        known = signature(model.forward).parameters
        self._named = "cache" if "cache" in known else "past_key_values"

    def start(self, prompts: Sequence[Sequence[int]], /) -> Floats:
        """Read prompts and return the logits of each one's next token."""
        width = max(map(len, prompts))
        ids = np.zeros((len(prompts), width), dtype=np.int64)
        seen = np.zeros_like(ids)
        for i, prompt in enumerate(prompts):
            ids[i, width - len(prompt) :] = prompt
            seen[i, width - len(prompt) :] = 1
        if not seen.all():
            self._seen = torch.from_numpy(seen).to(self._device)
        return self._read(torch.from_numpy(ids).to(self._device))

    def advance(self, rows: Sequence[int], tokens: Sequence[int], /) -> Floats:
        """Read one more token for some rows, and forget the others."""
        ids = torch.tensor(tokens, device=self._device)[:, None]
        if len(rows) < self._rows:
            kept = torch.tensor(rows, device=self._device)
            self._cache.batch_select_indices(kept)
            self._seen = None if self._seen is None else self._seen[kept]
        if self._seen is not None:
            self._seen = torch.cat([self._seen, torch.ones_like(ids)], dim=1)
        return self._read(ids)

    def _read(self, ids: torch.Tensor) -> Floats:
        extra: dict[str, Any] = {self._named: self._cache}
        if self._seen is not None:
            positions = (self._seen.cumsum(1) - 1).clamp(min=0)
            extra |= {
                "attention_mask": self._seen,
                "position_ids": positions[:, -ids.shape[1] :],
            }
        out = self._model(input_ids=ids, use_cache=True, **extra)
        self._cache, self._rows = out[self._named], len(ids)
        if self._head is None:
            logits = out.logits[:, -1]
        else:
            logits = self._head(out.last_hidden_state[:, -1])
        return np.asarray(logits.float().cpu().numpy())
