"""Calls of which both copies are made, within a budget: what h2 rests on."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from crucible_harness.errors import FingerprintError
from crucible_harness.ledger import Budget, Ledger, Price, Prices, Refused, leaves, name_of

if TYPE_CHECKING:
    from crucible_ensemble import Model
    from crucible_hedging.shadow import ShadowLog, ShadowRecord

_DRAIN_S = 120.0


class PairMaker:
    """Asks a model everything twice, the copies at once, each to its end.

    Parameters
    ----------
    model : Model
    prompts : sequence of str or of lists of messages
        Asked in turn.
    temperature : float, >= 0, or None
    max_tokens : int, >= 1
    seed : int
        The copies get seeds of their own: with the same one a seeded model is no copy at all, but
        the same call twice.
    assume_price : mapping of model or provider to its price
        Where the price book knows none.
    """

    def __init__(
        self,
        model: "Model",
        prompts: Sequence[Any],
        *,
        temperature: float | None,
        max_tokens: int,
        seed: int,
        assume_price: Mapping[str, Price],
    ) -> None:
        if not prompts:
            raise ValueError("`prompts` must not be empty")
        self._model, self._prompts, self._seed = model, prompts, seed
        self._temperature, self._max_tokens = temperature, max_tokens
        self._prices, self._assumed = Prices(assume_price), assume_price
        supports = getattr(model, "supports", None)
        self._seeded = supports is None or "seed" in supports

    def cost_at_most(self, start: int, stop: int) -> float | None:
        """Return what some pairs cost at worst, in US dollars; None where no price is known."""
        worst = [self._worst(n) for n in range(start, stop)]
        known = [usd for usd in worst if usd is not None]
        return None if len(known) < len(worst) else math.fsum(known)

    async def make(
        self, pairs: int, log: "ShadowLog", *, concurrency: int, max_cost_usd: float | None
    ) -> None:
        """Add pairs to a log until it holds that many, or the next one does not fit the budget.

        Raises
        ------
        ValueError
            If there is a budget, and the model's price is not known or it is made of models.
        """
        from crucible_hedging import Hedger
        from crucible_hedging.errors import AllAttemptsFailedError

        if concurrency < 1:
            raise ValueError(f"`concurrency` must be >= 1, got {concurrency}")
        ledger = self._ledger(log, max_cost_usd)
        todo = iter(range(len(log), pairs))
        hedger = Hedger(
            "off", budget=None, shadow=log, shadow_rate=1.0, drain_s=_DRAIN_S, cost=_bill
        )

        async def work() -> None:
            for n in todo:
                try:
                    hold = await ledger.hold(
                        condition="pair", item=str(n), model=name_of(self._model),
                        worst_usd=None if max_cost_usd is None else self._worst(n),
                    )  # fmt: skip
                except Refused:
                    return
                pair, status = _Pair(self, n), "cancelled"
                try:
                    await hedger(pair.copy(0), backups=[pair.copy(1)])
                    await pair.ended()  # the next pair must not find this one's copy still at work
                    status = "ok"
                except AllAttemptsFailedError:
                    status = "error"
                finally:
                    bill = None if status == "cancelled" else pair.bill()
                    ledger.settle(hold, status=status, bill_usd=bill)

        async with hedger, anyio.create_task_group() as group:
            for _ in range(concurrency):
                group.start_soon(work)

    async def ask(self, n: int, which: int) -> Any:
        """Make one copy of a call."""
        seed = (self._seed * 1_000_003 + 2 * n + which) % 2**31 if self._seeded else None
        return await self._model.generate(
            self._prompts[n % len(self._prompts)], temperature=self._temperature,
            max_tokens=self._max_tokens, seed=seed,
        )  # fmt: skip

    def _worst(self, n: int) -> float | None:
        prompt = self._prompts[n % len(self._prompts)]
        messages = [{"content": prompt}] if isinstance(prompt, str) else prompt
        characters = sum(len(message["content"]) for message in messages)
        try:
            usd = self._prices.worst_usd(self._model, characters, self._max_tokens)
        except FingerprintError:  # a model of one's own that does not say what it is, nor its price
            return None
        return None if usd is None else 2 * usd

    def _ledger(self, log: "ShadowLog", max_cost_usd: float | None) -> Ledger:
        """Open the books, with the pairs of earlier processes in them."""
        if max_cost_usd is None:
            return Ledger(None)
        if not 0 < max_cost_usd < math.inf:
            raise ValueError(f"`max_cost_usd` must be > 0 and finite, got {max_cost_usd}")
        if next(leaves(self._model)) is not self._model:
            raise ValueError("`max_cost_usd` must not be given for a model that is made of models")
        if self._worst(0) is None:
            raise ValueError(
                "`max_cost_usd` needs a price in `assume_price` for a model whose price is not "
                f"known: {name_of(self._model)}"
            )
        ledger = Ledger(Budget(total_usd=max_cost_usd, assume_price=self._assumed))
        for n, record in enumerate(log):
            ledger.recall(
                condition="pair", item=str(n), model=name_of(self._model), status="ok",
                bill_usd=_billed(record), reserved_usd=self._worst(n),
            )  # fmt: skip
        return ledger


async def make_pairs(
    maker: PairMaker,
    pairs: int,
    *,
    path: Path | str | None,
    concurrency: int,
    max_cost_usd: float | None,
) -> "ShadowLog":
    """Return a log with that many pairs; those that its file holds already are not made again."""
    from crucible_hedging.shadow import ShadowLog

    log = ShadowLog(path)
    await maker.make(pairs, log, concurrency=concurrency, max_cost_usd=max_cost_usd)
    return log


def spent_usd(log: "ShadowLog") -> float | None:
    """Return what the pairs of a log cost; None where the price of an answer is not known."""
    bills = [_billed(record) for record in log]
    known = [usd for usd in bills if usd is not None]
    return None if len(known) < len(bills) else math.fsum(known)


class _Pair:
    """Both copies of one call, and what they cost."""

    def __init__(self, maker: PairMaker, n: int) -> None:
        self._maker, self._n = maker, n
        self._done = (anyio.Event(), anyio.Event())
        self._bills: list[float | None] = []

    def copy(self, which: int) -> Any:
        """Return the call of one copy."""

        async def call() -> Any:
            try:
                answer = await self._maker.ask(self._n, which)
                self._bills.append(_bill(answer))
                return answer
            except Exception as error:
                self._bills.append(getattr(error, "cost_usd", None) or 0.0)
                raise
            finally:
                self._done[which].set()

        return call

    async def ended(self) -> None:
        """Wait for both."""
        for one in self._done:
            await one.wait()

    def bill(self) -> float | None:
        """Return what both cost; a failure is free unless it says otherwise."""
        known = [usd for usd in self._bills if usd is not None]
        return None if len(known) < len(self._bills) else math.fsum(known)


def _bill(answer: Any) -> float | None:
    billed = getattr(answer, "billed_usd", None)
    usd: float | None = getattr(answer, "cost_usd", None) if billed is None else billed
    return usd


def _billed(record: "ShadowRecord") -> float | None:
    copies = (
        (record.primary_ok, record.primary_cost_usd),
        (record.backup_ok, record.backup_cost_usd),
    )
    bills = [usd if answered else usd or 0.0 for answered, usd in copies]
    known = [usd for usd in bills if usd is not None]
    return None if len(known) < len(bills) else math.fsum(known)
