"""The hedgers of a run, entered: beaten calls may run to their end, and the effect be measured."""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any


class Hedgers:
    """Hedgers that are entered for as long as a run lasts.

    Notes
    -----
    A hedger of `crucible_hedging` can be entered once, and an experiment be run many times: what is
    entered is a `session()` of it, which shares delays, budget and figures with the hedger itself.
    A hedger that has no sessions is used as it is.
    """

    def __init__(self) -> None:
        self._entered: dict[int, tuple[Any, Any]] = {}

    @asynccontextmanager
    async def of(self, models: Iterable[Any]) -> AsyncIterator[None]:
        """Enter every hedger inside these models; on leaving, beaten calls may end."""
        async with AsyncExitStack() as stack:
            for hedger in _inside(models):
                if id(hedger) in self._entered or not hasattr(hedger, "session"):
                    continue
                mine = await stack.enter_async_context(hedger.session())
                # The hedger is kept beside it: an id may be used again once its object is gone.
                self._entered[id(hedger)] = hedger, mine
            try:
                yield
            finally:
                self._entered.clear()

    def given(self, race: Any) -> Any:
        """Return a model that races, carried out by the entered session of its hedger."""
        if not hasattr(race, "with_hedger"):  # it keeps to itself how it races
            return race
        found = self._entered.get(id(race.hedger))
        return race if found is None else race.with_hedger(found[1])


def _inside(models: Iterable[Any]) -> Iterator[Any]:
    for model in models:
        if getattr(model, "races", False) and hasattr(model, "with_hedger"):
            yield model.hedger
        members = getattr(model, "members", None)
        if members is not None:
            yield from _inside(members())
