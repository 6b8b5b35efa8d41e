"""Entailment and similarity by models of transformers, from files on this machine alone."""

import importlib.util
from pathlib import Path
from typing import Any

from crucible_lora.errors import BaseModelNotFoundError, MissingExtraError
from crucible_lora.scorers import Pairs


class HFEntailment:
    """A classifier of premise and hypothesis, such as one trained on MNLI.

    Parameters
    ----------
    path : path
        A folder in the Hugging Face layout; nothing is downloaded.
    batch_size : int, >= 1

    Raises
    ------
    MissingExtraError
        If the extra "peft" is not installed.
    BaseModelNotFoundError
        If the folder holds no model.
    ValueError
        If no label of the model is called "entailment".
    """

    proxy = False

    def __init__(self, path: Path | str, *, batch_size: int = 16) -> None:
        self._model, self._tokenizer = _load(path, "AutoModelForSequenceClassification")
        labels = {str(v).lower(): int(k) for k, v in self._model.config.id2label.items()}
        if "entailment" not in labels:
            raise ValueError(
                f"`path` must be a model with a label 'entailment', got {sorted(labels)}"
            )
        self._label, self._batch = labels["entailment"], _positive(batch_size)
        self.name = f"entailment/{Path(path).name}"

    def entailment(self, pairs: Pairs, /) -> list[float]:
        """Return for each (premise, hypothesis) the probability that the premise entails it."""
        import torch

        found: list[float] = []
        for start in range(0, len(pairs), self._batch):
            part = pairs[start : start + self._batch]
            inputs = self._tokenizer(
                [premise for premise, _ in part],
                [hypothesis for _, hypothesis in part],
                padding=True,
                truncation="only_first",
                return_tensors="pt",
            )
            with torch.inference_mode():
                chances = torch.softmax(self._model(**inputs).logits.double(), dim=-1)
            found += chances[:, self._label].tolist()
        return found


class HFSimilarity:
    """The cosine of two texts' mean token vectors, as sentence encoders are used.

    Parameters
    ----------
    path : path
        A folder in the Hugging Face layout; nothing is downloaded.
    batch_size : int, >= 1

    Raises
    ------
    MissingExtraError
        If the extra "peft" is not installed.
    BaseModelNotFoundError
        If the folder holds no model.
    """

    proxy = False

    def __init__(self, path: Path | str, *, batch_size: int = 16) -> None:
        self._model, self._tokenizer = _load(path, "AutoModel")
        self._batch = _positive(batch_size)
        self.name = f"similarity/{Path(path).name}"

    def similarity(self, pairs: Pairs, /) -> list[float]:
        """Return for each pair the cosine of their vectors, in [-1, 1]."""
        import torch

        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        vectors: dict[str, Any] = {}
        for start in range(0, len(texts), self._batch):
            part = texts[start : start + self._batch]
            inputs = self._tokenizer(part, padding=True, truncation=True, return_tensors="pt")
            with torch.inference_mode():
                hidden = self._model(**inputs).last_hidden_state.double()
            there = inputs["attention_mask"][:, :, None].double()
            vectors |= zip(part, (hidden * there).sum(1) / there.sum(1), strict=True)
        return [
            float(torch.cosine_similarity(vectors[one], vectors[other], dim=0))
            for one, other in pairs
        ]


def _load(path: Path | str, kind: str) -> tuple[Any, Any]:
    for library in ("torch", "transformers"):
        if importlib.util.find_spec(library) is None:
            raise MissingExtraError("peft", library)
    if not (Path(path) / "config.json").is_file():
        raise BaseModelNotFoundError(str(path), [f"a folder {str(path)!r} with config.json"])
    import transformers

    model = getattr(transformers, kind).from_pretrained(str(path), local_files_only=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(path), local_files_only=True)
    return model.eval(), tokenizer


def _positive(batch_size: int) -> int:
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be >= 1, got {batch_size}")
    return batch_size
