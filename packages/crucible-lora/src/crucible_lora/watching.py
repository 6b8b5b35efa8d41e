"""Calls gradient hooks, and goes on without one that fails."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crucible_lora.gradients import GradientHook, Gradients, StatefulHook
from crucible_lora.records import plain


@dataclass(slots=True)
class Watch:
    """The hooks of a run. `failed` maps those that raised to their error."""

    hooks: Sequence[GradientHook] = ()
    every: int = 10
    failed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"`hook_every` must be >= 1, got {self.every}")
        names = [hook.name for hook in self.hooks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"`gradient_hooks` must have different names, got {twice[0]!r} again")

    def due(self, step: int) -> bool:
        """Return whether an update, counted from 1, is looked at: the first, and each `every`."""
        return bool(self.hooks) and (step == 1 or step % self.every == 0)

    def look(self, gradients: Gradients) -> dict[str, Any]:
        """Return what each hook found, in order."""
        found: dict[str, Any] = {}
        for hook in self.hooks:
            if hook.name in self.failed:
                continue
            try:
                found[hook.name] = plain(dict(hook(gradients)))
            except Exception as error:  # noqa: BLE001 - a look must not end hours of training
                self.failed[hook.name] = f"{type(error).__name__}: {error}"
                warnings.warn(
                    f"gradient hook {hook.name!r} is disabled: {self.failed[hook.name]}",
                    RuntimeWarning,
                    stacklevel=2,
                )
        return found

    def state(self) -> dict[str, Any]:
        """Return what the hooks remember, JSON-safe."""
        memory = {h.name: plain(h.state()) for h in self.hooks if isinstance(h, StatefulHook)}
        return {"memory": memory, "failed": dict(self.failed)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Remember what `state` returned."""
        for hook in self.hooks:
            if isinstance(hook, StatefulHook) and hook.name in state["memory"]:
                hook.load(state["memory"][hook.name])
        self.failed = dict(state["failed"])
