"""The decisions of a training run: what was started, kept, stopped and measured."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Literal, get_args

from crucible_causaltrace.chain import Chain
from crucible_causaltrace.event import Event, Json

Ending = Literal["completed", "stopped", "failed"]


class TrainingTrace:
    """Adds what a trainer does to a chain, each event resting on the one before.

    Parameters
    ----------
    chain : Chain
        May hold events already; the run begins beside them.
    clock : callable
        Returns Unix time; for tests.

    Examples
    --------
    >>> trace = TrainingTrace(Chain("tune"), clock=lambda: 0.0)
    >>> trace.started(model="smollm2", parameters={"rank": 8}).type
    'training:started'
    >>> trace.epoch(1, metrics={"loss": 0.7}).depends_on
    ('training-1',)
    """

    def __init__(self, chain: Chain, *, clock: Callable[[], float] = time.time) -> None:
        self.chain = chain
        self._clock = clock
        self._last: str | None = None
        self._count = 0
        self._ended = False

    def started(self, *, model: str, parameters: Mapping[str, Json] | None = None) -> Event:
        """Begin: the model that is trained and the parameters that were chosen.

        Raises
        ------
        ValueError
            If the run has begun.
        """
        if self._last is not None:
            raise ValueError("`started` must come first and once, got it again")
        return self._add("started", f"Train {model}", model=model, parameters=parameters)

    def epoch(
        self,
        number: int,
        *,
        metrics: Mapping[str, float | None] | None = None,
        duration_s: float | None = None,
    ) -> Event:
        """Note an epoch, from 1, and what it measured."""
        if number < 1:
            raise ValueError(f"`number` must be >= 1, got {number}")
        return self._add("epoch", None, duration_s=duration_s, epoch=number, metrics=metrics)

    def checkpoint(self, name: str, *, metrics: Mapping[str, float | None] | None = None) -> Event:
        """Note that a state was kept under a name."""
        return self._add("checkpoint", f"Keep {name}", checkpoint=name, metrics=metrics)

    def early_stopped(self, reason: str, *, best: str | None = None) -> Event:
        """Note that the run stops early, by which rule, and the checkpoint it goes back to."""
        return self._add("early_stopped", "Stop early", reasoning=reason, best=best)

    def evaluated(
        self, metrics: Mapping[str, float | None], *, dataset: str | None = None
    ) -> Event:
        """Note a measurement; None is a metric that could not be computed."""
        return self._add("evaluated", None, dataset=dataset, metrics=metrics)

    def finished(self, outcome: Ending, *, reason: str | None = None) -> Event:
        """End the run.

        Parameters
        ----------
        outcome : {"completed", "stopped", "failed"}
        reason : str, optional
        """
        if outcome not in get_args(Ending):
            raise ValueError(
                f'`outcome` must be "completed", "stopped" or "failed", got {outcome!r}'
            )
        event = self._add("finished", None, outcome=outcome, reasoning=reason)
        self._ended = True
        return event

    def _add(
        self,
        name: str,
        decision: str | None,
        *,
        reasoning: str | None = None,
        outcome: str | None = None,
        duration_s: float | None = None,
        **facts: Mapping[str, Json] | Mapping[str, float | None] | str | int | None,
    ) -> Event:
        if self._ended:
            raise ValueError(f"`{name}` must come before `finished`, got it after")
        if self._last is None and name != "started":
            raise ValueError(f"`{name}` must come after `started`, got it before")
        count = self._count + 1
        while f"training-{count}" in self.chain:
            count += 1
        event = self.chain.add(
            Event(
                id=f"training-{count}",
                type=f"training:{name}",
                source="system_observed",
                decision=decision,
                reasoning=reasoning,
                outcome=outcome,
                duration_s=duration_s,
                time_s=self._clock(),
                depends_on=() if self._last is None else (self._last,),
                metadata={k: _sayable(v) for k, v in facts.items() if v is not None},
            )
        )
        self._count, self._last = count, event.id
        return event


def _sayable(value: Json | Mapping[str, float | None]) -> Json:
    """Write a loss that is not finite as a word: JSON has no number for it."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, Mapping):
        return {key: _sayable(inner) for key, inner in value.items()}
    return value
