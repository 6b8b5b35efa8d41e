"""One copy of a base's weights in memory, however many adapters stand on it."""

import copy
import itertools
from collections.abc import Callable, Hashable
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

if TYPE_CHECKING:  # it loads torch
    from crucible_lora.backends.bases import Base


class _Pristine:
    """A base as it was loaded; it lives as long as a session that stands on it."""

    def __init__(self, base: "Base") -> None:
        self.base = base


class SharedBases:
    """The bases of one backend.

    Each session gets modules of its own around the same tensors: PEFT changes the modules of a
    model, and nobody changes the weights of a base.
    """

    def __init__(self) -> None:
        self._loaded: WeakValueDictionary[Hashable, _Pristine] = WeakValueDictionary()
        self._lock = Lock()

    def open(self, key: Hashable, load: Callable[[], "Base"]) -> "Base":
        """Return the base of a key, loaded only if no session holds it."""
        with self._lock:
            pristine = self._loaded.get(key)
            if pristine is None:
                pristine = _Pristine(load())
                self._loaded[key] = pristine
        base = pristine.base
        tensors = itertools.chain(base.model.parameters(), base.model.buffers())
        model = copy.deepcopy(base.model, {id(tensor): tensor for tensor in tensors})
        return replace(base, model=model, origin=pristine)
