"""Examples as the rows that a model reads at once: one each and padded, or several packed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from crucible_lora.batching import pack
from crucible_lora.ports import Example


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """A batch as tensors.

    Parameters
    ----------
    ids : int64, shape (R, W)
    extra : mapping
        What the model must be told beside the ids.
    row, column : int64, shape (N,)
        Where the hidden states stand that predict the targets, example after example.
    """

    ids: torch.Tensor
    extra: dict[str, Any]
    row: torch.Tensor
    column: torch.Tensor


def padded(batch: Sequence[Example], *, device: torch.device) -> Rows:
    """Return one row per example.

    Padding stands behind an example, where causal attention never looks, so no mask is needed; nor
    do its own outputs matter, since no target is there.
    """
    return _rows(batch, [[i] for i in range(len(batch))], device=device, extra={})


def packed(
    batch: Sequence[Example], *, width: int, device: torch.device, dtype: torch.dtype, varlen: bool
) -> Rows:
    """Return the examples in as few rows of at most `width` tokens as first-fit decreasing finds.

    Positions start again with each example, and a block-diagonal mask keeps the examples of a row
    apart: positions alone do not.

    Parameters
    ----------
    varlen : bool
        For flash attention: all in one row, with the borders given as cumulated lengths.
    """
    lengths = [len(e.tokens) for e in batch]
    if varlen:
        ends = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32, device=device)
        extra: dict[str, Any] = {
            "position_ids": _positions([lengths], sum(lengths), device),
            "cu_seq_lens_q": ends,
            "cu_seq_lens_k": ends,
            "max_length_q": max(lengths),
            "max_length_k": max(lengths),
        }
        return _rows(batch, [list(range(len(batch)))], device=device, extra=extra)
    bins = pack(lengths, size=width)
    sizes = [[lengths[i] for i in group] for group in bins]
    longest = max(sum(part) for part in sizes)
    extra = {
        "position_ids": _positions(sizes, longest, device),
        "attention_mask": _block_mask(sizes, longest, device, dtype),
    }
    return _rows(batch, bins, device=device, extra=extra)


def _rows(
    batch: Sequence[Example],
    bins: Sequence[Sequence[int]],
    *,
    device: torch.device,
    extra: dict[str, Any],
) -> Rows:
    width = max(sum(len(batch[i].tokens) for i in group) for group in bins)
    ids = np.zeros((len(bins), width), dtype=np.int64)
    place = {}
    for r, group in enumerate(bins):
        start = 0
        for i in group:
            tokens = batch[i].tokens
            ids[r, start : start + len(tokens)] = tokens
            place[i] = (r, start)
            start += len(tokens)
    row, column = [], []
    for i, example in enumerate(batch):
        r, start = place[i]
        at = example.targets() - 1
        row.append(np.full(len(at), r))
        column.append(start + at)
    return Rows(
        ids=torch.from_numpy(ids).to(device),
        extra=extra,
        row=torch.from_numpy(np.concatenate(row)).to(device),
        column=torch.from_numpy(np.concatenate(column)).to(device),
    )


def _positions(sizes: Sequence[Sequence[int]], width: int, device: torch.device) -> torch.Tensor:
    positions = torch.zeros((len(sizes), width), dtype=torch.long)
    for r, part in enumerate(sizes):
        joined = torch.cat([torch.arange(n) for n in part])
        positions[r, : len(joined)] = joined
    return positions.to(device)


def _block_mask(
    sizes: Sequence[Sequence[int]], width: int, device: torch.device, dtype: torch.dtype
) -> torch.Tensor:
    """Return what is added to attention scores, shape (R, 1, W, W)."""
    block = torch.full((len(sizes), width), -1)  # padding sees padding, and nobody sees it
    for r, part in enumerate(sizes):
        joined = torch.repeat_interleave(torch.arange(len(part)), torch.tensor(part))
        block[r, : len(joined)] = joined
    block = block.to(device)
    seen = (block[:, :, None] == block[:, None, :]).tril()
    mask = torch.zeros(seen.shape, dtype=dtype, device=device)
    return mask.masked_fill_(~seen, torch.finfo(dtype).min)[:, None]
