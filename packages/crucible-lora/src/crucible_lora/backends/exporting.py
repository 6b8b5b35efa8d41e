"""An adapter of PEFT, and what it makes of its base, written for others and read back."""

import json
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers
from safetensors.torch import load_file, save_file

from crucible_lora.backends.adapted import Adapted
from crucible_lora.backends.adapter_files import ADAPTER, ADAPTER_CONFIG, save_adapter
from crucible_lora.backends.bases import load_base
from crucible_lora.backends.gguf import quiet
from crucible_lora.config import LoraConfig
from crucible_lora.errors import ExportMismatchError, UnsupportedOptionError
from crucible_lora.export import LIMIT, ExportDtype, ExportFormat
from crucible_lora.tokenizers import HFTokenizer


def export(
    adapted: Adapted, config: LoraConfig, path: Path, *, format: ExportFormat, dtype: ExportDtype
) -> tuple[float, float]:
    """Write an adapter for others, and return the largest difference, and logit, of what it says.

    Raises
    ------
    ExportMismatchError
        If what was written says something else; the folder is empty then.
    """
    base, model = adapted.base, adapted.model.get_base_model()

    def fresh() -> Any:
        attention = base.model.config._attn_implementation
        cpu = torch.device("cpu")
        loaded = load_base(config, device=cpu, dtype=torch.float32, attention=attention)
        return loaded.model.eval()

    try:
        with tempfile.TemporaryDirectory() as folder:
            draft = Path(folder)
            save_adapter(draft, adapted)
            if format == "merged":
                live = _probe(model)
                found = _write_merged(draft, path, dtype=dtype, base=fresh, live=live)
                if isinstance(base.tokenizer, HFTokenizer):
                    base.tokenizer.save(path)
            else:
                narrow = getattr(torch, dtype)
                rounded = {n: p.data.to(narrow).float() for n, p in adapted.parameters.items()}
                with adapted.holding(rounded):
                    live = _probe(model)
                found = _write_adapter(draft, path, dtype=dtype, base=fresh, folder=base.folder)
        return _check(live, found)
    except BaseException:
        _empty(path)
        raise


def require_exact(dtype: torch.dtype, format: ExportFormat) -> None:
    """Raise `UnsupportedOptionError` for a base whose numbers are too coarse for a comparison."""
    if dtype != torch.float32:
        reason = 'the comparison needs a base in float32: use PeftBackend(dtype="float32")'
        raise UnsupportedOptionError("export", format, "peft", reason)


def _probe(model: Any) -> torch.Tensor:
    """Return logits on 8 prompts of 16 tokens, the same for every model of one vocabulary."""
    size = model.config.vocab_size
    ids = np.random.default_rng(0).integers(0, size, (8, 16))
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=torch.from_numpy(ids).to(model.device)).logits
    return logits.double().cpu()


def _write_adapter(
    saved: Path, path: Path, *, dtype: ExportDtype, base: Callable[[], Any], folder: Path | None
) -> torch.Tensor:
    """Write a saved adapter for PEFT, and return the logits that it has when PEFT reads it.

    Parameters
    ----------
    saved, path : Path
    dtype : str
    base : callable
        Returns a fresh base in float32.
    folder : Path, optional
        The base on disk, to be named as such.
    """
    tensors = load_file(saved / ADAPTER)
    narrow = {k: t.to(getattr(torch, dtype)).contiguous() for k, t in tensors.items()}
    save_file(narrow, path / ADAPTER, metadata={"format": "pt"})
    facts = json.loads((saved / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    if folder is not None:
        facts["base_model_name_or_path"] = str(folder)
    text = json.dumps(facts, sort_keys=True, indent=2)
    (path / ADAPTER_CONFIG).write_text(text, encoding="utf-8")
    return _probe(_adapted(base(), path))


def _write_merged(
    saved: Path, path: Path, *, dtype: ExportDtype, base: Callable[[], Any], live: torch.Tensor
) -> torch.Tensor:
    """Write base and adapter as one model; return the logits of what is merged, in float32.

    Raises
    ------
    ExportMismatchError
        If what was written is not what was merged.
    """
    merged = _adapted(base(), saved).merge_and_unload()
    found = _probe(merged)
    _check(live, found)
    for parameter in merged.parameters():
        parameter.data = parameter.data.to(getattr(torch, dtype)).float()
    rounded = _probe(merged)
    with quiet():
        merged.to(getattr(torch, dtype)).save_pretrained(path)
        again = transformers.AutoModelForCausalLM.from_pretrained(
            path, dtype="float32", local_files_only=True
        )
    _check(rounded, _probe(again))
    return found


def _check(live: torch.Tensor, found: torch.Tensor) -> tuple[float, float]:
    """Return the largest difference, and logit.

    Raises
    ------
    ExportMismatchError
        If they differ by more than 1e-4 of the largest.
    """
    difference = float((live - found).abs().max())
    largest = float(live.abs().max())
    if not difference <= LIMIT * largest:
        raise ExportMismatchError(difference, largest, LIMIT)
    return difference, largest


def _empty(path: Path) -> None:
    """Take away what was written into a folder."""
    for entry in path.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _adapted(base: Any, adapter: Path) -> Any:
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # PEFT's, on names that transformers has changed
        return peft.PeftModel.from_pretrained(base, str(adapter)).eval()
