"""Requests that wait for a model at the same time, answered together."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import anyio

K = TypeVar("K")
A = TypeVar("A")


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiting(Generic[K, A]):
    kind: object
    request: K
    answer: list[A] = field(default_factory=list)


class Grouping(Generic[K, A]):
    """Answers up to `size` waiting requests of one kind at once.

    Whoever comes first answers for all that wait by then; a lone request never waits for company.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._turn = anyio.Lock()
        self._waiting: list[_Waiting[K, A]] = []

    async def ask(
        self,
        request: K,
        /,
        *,
        kind: object,
        answer: Callable[[Sequence[K]], Awaitable[Sequence[A]]],
    ) -> A:
        """Return the answer to a request.

        Parameters
        ----------
        request : K
        kind : object
            Only requests of equal kind are answered together.
        answer : callable
            Answers several requests of one kind.
        """
        mine = _Waiting[K, A](kind=kind, request=request)
        self._waiting.append(mine)
        try:
            # One model does one thing at a time, and meanwhile others come to wait here.
            async with self._turn:
                if not mine.answer:
                    await self._answer(mine, answer)
        finally:
            if mine in self._waiting:
                self._waiting.remove(mine)
        return mine.answer[0]

    async def _answer(
        self, mine: _Waiting[K, A], answer: Callable[[Sequence[K]], Awaitable[Sequence[A]]]
    ) -> None:
        others = [
            w for w in self._waiting if w.kind == mine.kind and w is not mine and not w.answer
        ]
        group = [mine, *others[: self._size - 1]]
        # An error or a cancellation leaves the others waiting: the next of them asks again.
        found = await answer([w.request for w in group])
        for one, text in zip(group, found, strict=True):
            one.answer.append(text)
