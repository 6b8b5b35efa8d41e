"""What a run may spend: every call reserves its worst case before it is sent."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import anyio

from crucible_ensemble import Model, PriceBook
from crucible_harness.fingerprints import structure

PICO = 1_000_000_000_000  # picodollars in a dollar: prices per token stay whole numbers
_CHARACTERS_PER_TOKEN = 3
_CALLS_SEEN = 20  # from here on, twice the dearest call seen is reserved

Scope = Literal["total", "condition", "item"]
# US dollars per million tokens, (input, output), or US dollars per call.
Price = tuple[float, float] | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a run may spend, in US dollars.

    Attributes
    ----------
    total_usd : float, > 0
    per_condition_usd, per_item_usd : float, > 0, optional
        Caps on what one condition, or one item under all conditions, may spend. Where a cap is
        reached, only that condition or item ends.
    warn_at : float, in (0, 1]
        Share of the total at which an event is noted.
    on_exceed : {"stop", "raise"}
        Whether a run that reaches the total ends with status "budget" or raises
        `BudgetExceededError`.
    assume_price : mapping of model or provider to its price, optional
        For models whose price is not known: (input, output) in dollars per million tokens, or
        dollars per call.
    """

    total_usd: float
    per_condition_usd: float | None = None
    per_item_usd: float | None = None
    warn_at: float = 0.8
    on_exceed: Literal["stop", "raise"] = "stop"
    assume_price: Mapping[str, Price] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("total_usd", "per_condition_usd", "per_item_usd"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"`{name}` must be > 0 and finite, got {value}")
        if not 0 < self.warn_at <= 1:
            raise ValueError(f"`warn_at` must be in (0, 1], got {self.warn_at}")
        if self.on_exceed not in ("stop", "raise"):
            raise ValueError(f'`on_exceed` must be "stop" or "raise", got {self.on_exceed!r}')
        for name, price in self.assume_price.items():
            if min(price if isinstance(price, tuple) else (price,)) < 0:
                raise ValueError(f"`assume_price` must be >= 0, got {price} for {name!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CostSummary:
    """What a run cost so far, in US dollars, over every process that worked on it.

    Attributes
    ----------
    settled_usd : float
        Everything that counts against the budget: known bills, and what is assumed for the others.
    known_usd : float
        What the models reported.
    unknown_calls : int
        Answered calls whose price is not known.
    assumed_usd : float
        For calls without a bill: cancelled, timed out, or cut off by a crash.
    budget_usd : float or None
    """

    settled_usd: float
    known_usd: float
    unknown_calls: int
    assumed_usd: float
    budget_usd: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return {name: getattr(self, name) for name in self.__slots__}


class Refused(Exception):
    """The next call does not fit, and nothing in flight could make room."""

    def __init__(self, scope: Scope, name: str | None) -> None:
        self.scope, self.name = scope, name
        super().__init__(f"the {scope} budget is spent")


@dataclass(slots=True)
class Hold:
    """A reservation, in picodollars, until the call is settled."""

    condition: str
    item: str
    model: str
    amount: int

    @property
    def usd(self) -> float:
        """Return the reservation in dollars."""
        return self.amount / PICO


@dataclass(slots=True)
class _Account:
    """One budget or cap: `settled + held <= limit` always."""

    limit: int | None
    settled: int = 0
    held: int = 0
    in_flight: int = 0

    def fits(self, amount: int) -> bool:
        return self.limit is None or self.settled + self.held + amount <= self.limit

    def hopeless(self, amount: int) -> bool:
        """Say that the amount does not fit and that no call in flight could make room."""
        return not self.fits(amount) and self.in_flight == 0


class Ledger:
    """Holds and settles the cost of calls, in whole picodollars.

    Parameters
    ----------
    budget : Budget, optional
        Without one nothing is refused, and costs are counted all the same.
    """

    def __init__(self, budget: Budget | None) -> None:
        self.budget = budget
        self._warned = False
        self._total = _Account(None if budget is None else pico(budget.total_usd))
        self._parts: dict[tuple[Scope, str], _Account] = {}
        self._waiting: deque[tuple[Hold, anyio.Event]] = deque()
        self._dearest: dict[str, tuple[int, int]] = {}
        self._known = self._assumed = self._unknown = 0

    @property
    def settled_usd(self) -> float:
        """Return what counts against the budget so far."""
        return self._total.settled / PICO

    def summary(self) -> CostSummary:
        """Return what was spent."""
        return CostSummary(
            settled_usd=self._total.settled / PICO,
            known_usd=self._known / PICO,
            unknown_calls=self._unknown,
            assumed_usd=self._assumed / PICO,
            budget_usd=None if self.budget is None else self.budget.total_usd,
        )

    def warning(self) -> dict[str, float] | None:
        """Return the dollars settled and the total, once, when `warn_at` of it is reached."""
        budget = self.budget
        if budget is None or self._warned:
            return None
        if self._total.settled < pico(budget.total_usd * budget.warn_at):
            return None
        self._warned = True
        return {"settled_usd": self.settled_usd, "total_usd": budget.total_usd}

    def hold_at_once(
        self, *, condition: str, item: str, model: str, worst_usd: float | None
    ) -> Hold | None:
        """Do what `hold` does if that needs no waiting; None if it does."""
        hold = Hold(condition, item, model, self._reservation(model, worst_usd))
        return hold if self._held(hold) else None

    async def hold(self, *, condition: str, item: str, model: str, worst_usd: float | None) -> Hold:
        """Wait until a call fits, and reserve its worst case.

        Parameters
        ----------
        worst_usd : float or None
            None where the price is not known; then nothing is reserved.

        Raises
        ------
        Refused
            If it does not fit and nothing in flight could make room.
        """
        hold = Hold(condition, item, model, self._reservation(model, worst_usd))
        while not self._held(hold):
            changed = anyio.Event()
            waiter = (hold, changed)
            self._waiting.append(waiter)
            try:
                await changed.wait()
            finally:
                if waiter in self._waiting:
                    self._waiting.remove(waiter)
        return hold

    def settle(self, hold: Hold, *, status: str, bill_usd: float | None) -> float | None:
        """Replace a reservation by what the call cost; return that, None where it is unknown.

        Parameters
        ----------
        status : as in the journal
            A call that failed is not billed unless its error says so; for every other without a
            known bill, what was reserved is assumed.
        bill_usd : float or None
        """
        amount = _amount(status, bill_usd, hold.amount)
        self._let_go(hold)
        self._charge(hold, amount, status=status, known=bill_usd is not None)
        self._wake()
        return bill_usd if bill_usd is not None else (amount / PICO if amount else None)

    def release(self, hold: Hold) -> None:
        """Give back the reservation of a call that was not sent."""
        self._let_go(hold)
        self._wake()

    def recall(
        self, *, condition: str, item: str, model: str, status: str, bill_usd: float | None,
        reserved_usd: float | None,
    ) -> None:  # fmt: skip
        """Take a call of an earlier process into account; status "lost" if it has no row."""
        hold = Hold(condition, item, model, 0)
        reserved = 0 if reserved_usd is None else pico(reserved_usd)
        amount = _amount(status, bill_usd, reserved)
        self._charge(hold, amount, status=status, known=bill_usd is not None)

    def _held(self, hold: Hold) -> bool:
        """Take the reservation if it fits; say whether it did."""
        accounts = self._accounts(hold)
        for scope, name, account in accounts:
            if account.hopeless(hold.amount):
                raise Refused(scope, name)
        if not all(account.fits(hold.amount) for _, _, account in accounts):
            return False
        for _, _, account in accounts:
            account.held += hold.amount
            account.in_flight += 1
        return True

    def _let_go(self, hold: Hold) -> None:
        for _, _, account in self._accounts(hold):
            account.held -= hold.amount
            account.in_flight -= 1

    def _wake(self) -> None:
        for _, changed in self._waiting:
            changed.set()
        self._waiting.clear()

    def _charge(self, hold: Hold, amount: int, *, status: str, known: bool) -> None:
        for _, _, account in self._accounts(hold):
            account.settled += amount
        answered = status in ("ok", "filtered")
        if known and status not in ("cancelled", "timeout"):
            self._known += amount
        else:
            self._assumed += amount
        if answered and known:
            seen, most = self._dearest.get(hold.model, (0, 0))
            self._dearest[hold.model] = (seen + 1, max(most, amount))
        self._unknown += answered and not known

    def _reservation(self, model: str, worst_usd: float | None) -> int:
        if worst_usd is None:
            return 0
        bound = pico(worst_usd)
        seen, most = self._dearest.get(model, (0, 0))
        return min(bound, 2 * most) if seen >= _CALLS_SEEN else bound

    def _accounts(self, hold: Hold) -> list[tuple[Scope, str | None, _Account]]:
        accounts: list[tuple[Scope, str | None, _Account]] = [("total", None, self._total)]
        budget = self.budget
        if budget is not None and budget.per_condition_usd is not None:
            account = self._part("condition", hold.condition, budget.per_condition_usd)
            accounts.append(("condition", hold.condition, account))
        if budget is not None and budget.per_item_usd is not None:
            account = self._part("item", hold.item, budget.per_item_usd)
            accounts.append(("item", hold.item, account))
        return accounts

    def _part(self, scope: Scope, name: str, limit_usd: float) -> _Account:
        key = (scope, name)
        if key not in self._parts:
            self._parts[key] = _Account(pico(limit_usd))
        return self._parts[key]


class Prices:
    """What calls cost at worst, before they are sent.

    Parameters
    ----------
    assume : mapping of model or provider to its price
        For models that the price book does not know.
    """

    def __init__(self, assume: Mapping[str, Price]) -> None:
        self._assume = assume
        self._book = PriceBook.default()
        self._found: dict[int, Price | None] = {}
        self._kept: list[Model] = []  # an id may be used again once its object is gone

    def of(self, model: Model) -> Price | None:
        """Return the price of a leaf model; None where it is not known."""
        if id(model) not in self._found:
            self._kept.append(model)
            self._found[id(model)] = self._price(model)
        return self._found[id(model)]

    def worst_usd(self, model: Model, characters: int, max_tokens: int) -> float | None:
        """Return the price of a prompt of that many characters with the longest answer."""
        price = self.of(model)
        if price is None or isinstance(price, float | int):
            return price
        tokens = -(-characters // _CHARACTERS_PER_TOKEN)
        return (price[0] * tokens + price[1] * max_tokens) / 1_000_000

    def unknown(self, models: Iterator[Model]) -> list[str]:
        """Return the names of leaf models without a price."""
        return sorted({name_of(model) for model in models if self.of(model) is None})

    def _price(self, model: Model) -> Price | None:
        name = name_of(model)
        for known in (name, name.partition("/")[0]):
            if known in self._assume:
                return self._assume[known]
        row = self._book.price(name)
        if row is not None:
            return row[0], row[1]
        declared = structure(model).get("price")  # a simulated model says its price
        return None if declared is None else (float(declared[0]), float(declared[1]))


def _amount(status: str, bill_usd: float | None, reserved: int) -> int:
    if bill_usd is not None:
        return pico(bill_usd)
    return 0 if status == "error" else reserved


def leaves(model: Model) -> Iterator[Model]:
    """Yield the models that answer, below everything that is made of models."""
    members = getattr(model, "members", None)
    if members is None:
        yield model
    else:
        for member in members():
            yield from leaves(member)


def name_of(model: object) -> str:
    """Return a model's name, "provider/model"."""
    return str(getattr(model, "name", type(model).__name__))


def pico(usd: float) -> int:
    """Return dollars as whole picodollars."""
    return round(usd * PICO)
