"""What the attempts at one answer cost, in money and time."""

import math
import time
from typing import Any

from crucible_ensemble.completion import Completion
from crucible_ensemble.errors import ContentFilteredError, ModelError
from crucible_ensemble.limits import Slot
from crucible_ensemble.models.options import Options
from crucible_ensemble.models.wire import Answer
from crucible_ensemble.prices import PriceBook


class Ledger:
    """Adds up attempts, of which each may have been billed.

    Parameters
    ----------
    model : str
        "provider/model".
    prices : PriceBook
    """

    __slots__ = ("_costs", "_model", "_prices", "_slot", "_started", "attempts", "queued_s")

    def __init__(self, model: str, prices: PriceBook) -> None:
        self._model, self._prices = model, prices
        self.attempts, self.queued_s = 0, 0.0
        self._costs: list[float | None] = []
        self._started: float | None = None
        self._slot: Slot | None = None

    def began(self, slot: Slot) -> None:
        """Note that an attempt was admitted."""
        self._slot = slot
        self.queued_s += slot.queued_s
        if self._started is None:
            self._started = time.monotonic() - self.queued_s

    def since(self) -> float:
        """Return the seconds since the first attempt, without those in a queue."""
        started = time.monotonic() if self._started is None else self._started
        return max(0.0, time.monotonic() - started - self.queued_s)

    def failed(self, error: ModelError, *, begun: bool = False) -> None:
        """Note what an attempt may have cost, and tell the error of all so far.

        Parameters
        ----------
        begun : bool
            The answer was under way: whatever the class of the error, it may be billed.
        """
        free = not any(self._prices.price(self._model) or (1.0,))
        self._costs.append(0.0 if free else None if begun else error.cost_usd)
        error.cost_usd, error.attempts = self.cost(), self.attempts

    def cost(self, last: float | None = 0.0) -> float | None:
        """Return what all attempts cost together; None if that of any is unknown."""
        costs = [*self._costs, last]
        return None if None in costs else math.fsum(c for c in costs if c is not None)

    def completion(
        self,
        answer: Answer,
        options: Options,
        dropped: tuple[str, ...],
        ttft_s: float | None = None,
    ) -> Completion:
        """Return an answer with its price and its time.

        Raises
        ------
        ContentFilteredError
            For a filtered answer, where `raise_filtered` says so.
        """
        latency_s = self.since()
        price = self._prices.cost_usd(
            self._model, answer.input_tokens, answer.output_tokens, answer.cached_tokens
        )
        if self._slot is not None and answer.input_tokens is not None:
            self._slot.used = answer.input_tokens + (answer.output_tokens or 0)
        if answer.finish == "filtered" and options.raise_filtered:
            raise ContentFilteredError(
                f"{self._model} filtered or refused: {answer.text[:200]!r}",
                model=self._model,
                cost_usd=price,
                request_id=answer.request_id,
            )
        cost = self.cost(price)
        extra: dict[str, Any] = {}
        if self.queued_s > 0:
            extra["queued_s"] = self.queued_s
        if cost is None and price is not None:
            extra["known_cost_usd"] = price  # an earlier attempt may have been billed too
        named = self._prices.priced_as(self._model)
        if named not in (None, self._model):
            extra["priced_as"] = named  # a dated snapshot at the price of its base name
        logprobs = answer.logprobs or None
        return Completion(
            text=answer.text,
            model=self._model,
            served_by=answer.served_by,
            input_tokens=answer.input_tokens,
            output_tokens=answer.output_tokens,
            cached_tokens=answer.cached_tokens,
            reasoning_tokens=answer.reasoning_tokens,
            cost_usd=cost,
            billed_usd=cost,
            confidence=math.exp(math.fsum(logprobs) / len(logprobs)) if logprobs else None,
            confidence_source="logprobs" if logprobs else None,
            logprobs=logprobs,
            top_logprobs=answer.top_logprobs or None,
            latency_s=latency_s,
            ttft_s=ttft_s,
            finish=answer.finish,
            request_id=answer.request_id,
            attempts=self.attempts,
            dropped=dropped,
            extra=extra,
        )
