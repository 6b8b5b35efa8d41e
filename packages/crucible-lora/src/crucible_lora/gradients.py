"""What can be read off an adapter's gradients while it trains.

A hook is called with the gradients before clipping, every `hook_every` updates, and what it returns
lands in `StepRow.gradients` under its name.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Gradients = Mapping[str, NDArray[np.floating[Any]]]
_TINY = 1e-12
_DEAD = 10  # exact zeros in a row


class GradientHook(Protocol):
    """Looks at gradients."""

    @property
    def name(self) -> str:
        """Return the name under which its findings are reported."""
        ...

    def __call__(self, gradients: Gradients, /) -> Mapping[str, Any]:
        """Return what was found, JSON-safe; one that raises is disabled with a warning."""
        ...


@runtime_checkable
class StatefulHook(Protocol):
    """A hook that remembers; its memory is stored with a checkpoint."""

    def state(self) -> Mapping[str, Any]:
        """Return what it remembers, JSON-safe."""
        ...

    def load(self, state: Mapping[str, Any], /) -> None:
        """Remember what `state` returned."""
        ...


@dataclass(frozen=True, slots=True)
class GradNorm:
    """The L2 norm of each tensor and of all of them together."""

    name: str = field(default="norm", init=False)

    def __call__(self, gradients: Gradients, /) -> Mapping[str, Any]:
        """Return `tensors`, by name, and `global`; None is not finite."""
        norms = {name: norm_of(g) for name, g in gradients.items()}
        return {
            "tensors": {name: _finite(n) for name, n in norms.items()},
            "global": _finite(math.hypot(*norms.values())),
        }


@dataclass(frozen=True, slots=True)
class GradDistribution:
    """Mean, sd, least, most and the share of values that are next to nothing, per tensor.

    The sd divides by n - 1 and is None for a single value; next to nothing is |g| < 1e-12.
    """

    name: str = field(default="distribution", init=False)

    def __call__(self, gradients: Gradients, /) -> Mapping[str, Any]:
        """Return by tensor `mean`, `sd`, `min`, `max`, `tiny`; None is not finite."""
        found = {}
        for name, gradient in gradients.items():
            g = np.asarray(gradient, dtype=np.float64)
            with np.errstate(invalid="ignore", over="ignore"):
                found[name] = {
                    "mean": _finite(float(g.mean())),
                    "sd": _finite(float(g.std(ddof=1))) if g.size > 1 else None,
                    "min": _finite(float(g.min())),
                    "max": _finite(float(g.max())),
                    "tiny": float((np.abs(g) < _TINY).mean()),
                }
        return found


@dataclass(frozen=True, slots=True)
class GradFlow:
    """The norm of each layer in their order, and that of the last numbered one over the first's.

    A layer is the number in a tensor's name, `layers.3` of `model.layers.3.mlp.up_proj`; tensors
    without one are layers of their own, by name.
    """

    name: str = field(default="flow", init=False)

    def __call__(self, gradients: Gradients, /) -> Mapping[str, Any]:
        """Return `layers`, [name, norm] in order, and `ratio`, None if the first has norm 0."""
        squares: dict[str, float] = {}
        for name, gradient in gradients.items():
            layer = layer_of(name)
            squares[layer] = squares.get(layer, 0.0) + norm_of(gradient) ** 2
        order = sorted(squares, key=_by_number)
        norms = {name: _finite(math.sqrt(squares[name])) for name in order}
        between = [n for n in order if _digits(n) is not None] or order
        first, last = norms[between[0]], norms[between[-1]]
        ratio = last / first if first and last is not None else None
        return {"layers": [[name, norm] for name, norm in norms.items()], "ratio": ratio}


class GradHealth:
    """Tells gradients that explode, vanish, are dead or no numbers, per tensor.

    Parameters
    ----------
    warmup : int, >= 0
        Norms of a tensor to learn from before any is called exploding or vanishing.
    z : float, > 0
        How many standard deviations are too many.

    Notes
    -----
    log10 of a tensor's norm is held against its own exponential average (decay .9): above it by
    more than max(1, z sd) it explodes, below it by as much it vanishes. The limits are relative,
    since what is large depends on the model. A norm that is not finite is always told, and one that
    is exactly 0 ten times in a row is dead. A single 0 is neither: the gradient of `lora_A` is 0 at
    the first update, because B is.
    """

    name = "health"

    def __init__(self, *, warmup: int = 20, z: float = 6.0) -> None:
        if warmup < 0:
            raise ValueError(f"`warmup` must be >= 0, got {warmup}")
        if not (math.isfinite(z) and z > 0):
            raise ValueError(f"`z` must be > 0, got {z}")
        self.warmup, self.z = warmup, z
        self._seen: dict[str, dict[str, float]] = {}

    def __repr__(self) -> str:
        return f"GradHealth(warmup={self.warmup}, z={self.z})"

    def __call__(self, gradients: Gradients, /) -> Mapping[str, Any]:
        """Return names of tensors under `exploding`, `vanishing`, `dead` and `not_finite`."""
        found: dict[str, list[str]] = {
            "exploding": [],
            "vanishing": [],
            "dead": [],
            "not_finite": [],
        }
        for name, gradient in gradients.items():
            verdict = self._judge(name, norm_of(gradient))
            if verdict is not None:
                found[verdict].append(name)
        return found

    def state(self) -> Mapping[str, Any]:
        """Return the averages by tensor."""
        return {name: dict(values) for name, values in self._seen.items()}

    def load(self, state: Mapping[str, Any], /) -> None:
        """Go on from averages."""
        self._seen = {name: dict(values) for name, values in state.items()}

    def _judge(self, name: str, norm: float) -> str | None:
        if not math.isfinite(norm):
            return "not_finite"
        start = {"count": 0.0, "mean": 0.0, "variance": 0.0, "zeros": 0.0}
        seen = self._seen.setdefault(name, start)
        if norm == 0:
            seen["zeros"] += 1
            return "dead" if seen["zeros"] >= _DEAD else None
        seen["zeros"] = 0
        size = math.log10(norm)
        away = size - seen["mean"] if seen["count"] else 0.0
        limit = max(1.0, self.z * math.sqrt(seen["variance"]))
        known = seen["count"] >= max(self.warmup, 1)
        seen["mean"] = seen["mean"] + 0.1 * away if seen["count"] else size
        seen["variance"] = 0.9 * (seen["variance"] + 0.1 * away * away)
        seen["count"] += 1
        if known and away > limit:
            return "exploding"
        return "vanishing" if known and away < -limit else None


def norm_of(gradient: NDArray[np.floating[Any]]) -> float:
    """Return the L2 norm of a tensor; inf where it holds a value that is no number."""
    flat = np.asarray(gradient, dtype=np.float64).ravel()
    norm = float(np.sqrt(flat @ flat)) if np.isfinite(flat).all() else math.inf
    return norm


def layer_of(name: str) -> str:
    """Return the layer of a tensor: its name up to the first number, or else the whole name."""
    parts = name.split(".")
    for position, part in enumerate(parts):
        if part.isdecimal():
            return ".".join(parts[: position + 1])
    return name


def _digits(layer: str) -> int | None:
    last = layer.rpartition(".")[2]
    return int(last) if last.isdecimal() else None


def _by_number(layer: str) -> tuple[str, int, str]:
    number = _digits(layer)
    if number is None:
        return layer, -1, ""
    return layer.rpartition(".")[0], number, ""


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


_STORED: dict[str, type[GradNorm | GradDistribution | GradFlow | GradHealth]] = {
    "norm": GradNorm,
    "distribution": GradDistribution,
    "flow": GradFlow,
    "health": GradHealth,
}


def hook_to_dict(hook: GradientHook) -> dict[str, Any]:
    """Return a hook as a mapping; one that is not of this package leaves its name alone."""
    if type(hook) is GradHealth:
        return {"name": hook.name, "warmup": hook.warmup, "z": hook.z}
    ours = type(hook) in _STORED.values()
    return {"name": hook.name} if ours else {"name": hook.name, "custom": True}


def fresh_hook(hook: GradientHook) -> GradientHook:
    """Return a hook of this package without its memory; any other is returned as it is."""
    stored = hook_to_dict(hook)
    return hook if "custom" in stored else hook_from_dict(stored)


def hook_from_dict(data: Mapping[str, Any]) -> GradientHook:
    """Read what `hook_to_dict` wrote of a hook of this package."""
    if data["name"] == "health":
        return GradHealth(warmup=data["warmup"], z=data["z"])
    hook: GradientHook = _STORED[data["name"]]()
    return hook
