"""From what a user gives to a panel: members opened and named, options checked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from crucible_ensemble.executions.machine import Execution, Seat, Table
from crucible_ensemble.member import Member, family_warning, labels
from crucible_ensemble.model import Model
from crucible_ensemble.panel import Panel


def panel_of(
    models: Sequence[Model | str | Member],
    *,
    weights: Sequence[float] | None,
    samples: int,
    execution: Execution,
    tie: Any,
    quorum: int | None,
    timeout_s: float,
    deadline_s: float | None,
    **rest: Any,
) -> Panel:
    """Return the panel of an ensemble.

    Raises
    ------
    ValueError
        For an argument that is out of range, or an execution that cannot serve vote or members.
    """
    if not models or isinstance(models, str):
        raise ValueError("`models` must not be empty" if not models else f"`models` must be a sequence, got {models!r}")  # fmt: skip # noqa: E501
    if samples < 1:
        raise ValueError(f"`samples` must be >= 1, got {samples}")
    for label, seconds in (("timeout_s", timeout_s), ("deadline_s", deadline_s)):
        if seconds is not None and not seconds > 0:
            raise ValueError(f"`{label}` must be > 0, got {seconds}")
    if tie not in ("seeded", "priority", "abstain"):
        raise ValueError(f'`tie` must be "seeded", "priority" or "abstain", got {tie!r}')
    asked = len(models) * samples
    if quorum is not None and not 1 <= quorum <= asked:
        raise ValueError(f"`quorum` must be in [1, {asked}], the answers asked for, got {quorum}")
    members = tuple(_member(m).opened() for m in models)
    if weights is not None:
        members = _weighted(members, weights)
    names = labels(members)
    ranks = [_rank(m) for m in members]
    seats: list[Seat] = []
    place_of: list[int] = []
    for n, member in enumerate(members):
        for sample in range(samples):
            place_of.append(n)
            seats.append(
                Seat(
                    place=len(seats), member=names[n], sample=sample,
                    weight=member.weight / samples, accuracy=member.accuracy, rank=ranks[n],
                )
            )  # fmt: skip
    panel = Panel(
        members=members, seats=tuple(seats), place_of=tuple(place_of), execution=execution,
        tie=tie, quorum=quorum, timeout_s=timeout_s, deadline_s=deadline_s,
        warning=family_warning(members), **rest,
    )  # fmt: skip
    table: Table = panel.table()
    execution.check(table)
    return panel


def chosen(
    label: str, choice: "str | Callable[..., Any] | Any", known: Mapping[str, Any]
) -> tuple[str, Any]:
    """Return the name and the object of a choice by name or object.

    Raises
    ------
    ValueError
        For an unknown name; the known ones are listed.
    """
    if isinstance(choice, str):
        if choice not in known:
            raise ValueError(f"`{label}` must be one of {', '.join(known)}, got {choice!r}")
        return choice, known[choice]
    if choice is None:
        raise ValueError(f"`{label}` must be one of {', '.join(known)} or an object, got None")
    name = next((n for n, value in known.items() if value is choice), None)
    if name is None:
        name = getattr(choice, "name", None) or "custom"
    return str(name), choice


def _member(model: Model | str | Member) -> Member:
    return model if isinstance(model, Member) else Member(model)


def _weighted(members: tuple[Member, ...], weights: Sequence[float]) -> tuple[Member, ...]:
    if len(weights) != len(members) or not all(w >= 0 for w in weights):
        raise ValueError(f"`weights` must be one number >= 0 per model, got {list(weights)}")
    return tuple(replace(m, weight=w) for m, w in zip(members, weights, strict=True))


def _rank(member: Member) -> float | None:
    """Return what orders by price: the rank given, else input plus output price, if known."""
    if member.price_rank is not None:
        return member.price_rank
    from crucible_ensemble.prices import PriceBook

    row = PriceBook.default().price(str(getattr(member.model, "name", "")))
    return None if row is None else row[0] + row[1]
