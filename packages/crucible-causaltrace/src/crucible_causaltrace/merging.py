"""Join chains into one."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from crucible_causaltrace.chain import Chain
from crucible_causaltrace.errors import DuplicateEventError
from crucible_causaltrace.event import Event, Json

TRACE_ID = "crucible.trace.id"


def merge(
    *chains: Chain,
    task: str | None = None,
    on_conflict: Literal["rename", "error"] = "rename",
) -> Chain:
    """Join chains, in the order given.

    A chain whose id stands in the attribute `crucible.trace.id` of a model call in another chain is
    what that call said: its roots become children of the call.

    Parameters
    ----------
    *chains : Chain, at least one
    task : str, optional
        The first chain's by default.
    on_conflict : {"rename", "error"}
        What to do with an id that an earlier chain has: "rename" makes it `id~2`, in all links too.

    Returns
    -------
    Chain
        New, with a new id. It has no parse report; those of the parts stay with the parts.

    Raises
    ------
    ValueError
        If no chain is given.
    DuplicateEventError
        If two chains share an id and `on_conflict` is "error".
    """
    if not chains:
        raise ValueError("`chains` must hold at least one chain, got none")
    if on_conflict not in ("rename", "error"):
        raise ValueError(f'`on_conflict` must be "rename" or "error", got {on_conflict!r}')
    taken: dict[str, None] = {}
    renamed: list[dict[str, str]] = []
    for chain in chains:
        clashes = [event.id for event in chain if event.id in taken]
        if clashes and on_conflict == "error":
            raise DuplicateEventError(clashes[0])
        own = {event.id: event.id for event in chain if event.id not in taken}
        taken |= dict.fromkeys(own)
        for id in clashes:
            own[id] = _free(id, taken)
            taken[own[id]] = None
        renamed.append(own)
    hosts = _hosts(chains, renamed)
    metadata: dict[str, Json] = {}
    for chain in reversed(chains):
        metadata |= chain.metadata
    merged = Chain(
        chains[0].task if task is None else task,
        metadata=metadata,
        text="\n\n".join(chain.text for chain in chains if chain.text.strip()),
        code_blocks=[block for chain in chains for block in chain.code_blocks],
    )
    merged.extend(
        _moved(event, own, hosts.get(chain.id))
        for chain, own in zip(chains, renamed, strict=True)
        for event in chain
    )
    return merged


def _free(id: str, taken: Mapping[str, None]) -> str:
    number = 2
    while f"{id}~{number}" in taken:
        number += 1
    return f"{id}~{number}"


def _hosts(chains: tuple[Chain, ...], renamed: list[dict[str, str]]) -> dict[str, str]:
    """Find the model calls that name a chain: chain id -> the call's id in the merged chain."""
    hosts: dict[str, str] = {}
    for chain, own in zip(chains, renamed, strict=True):
        for event in chain:
            attributes = event.metadata.get("attributes")
            named = attributes.get(TRACE_ID) if isinstance(attributes, Mapping) else None
            if (
                isinstance(named, str)
                and named != chain.id
                and event.type in ("system:model_call", "system:retry")
            ):
                hosts.setdefault(named, own[event.id])
    return hosts


def _moved(event: Event, own: Mapping[str, str], host: str | None) -> Event:
    parent = None if event.parent is None else own[event.parent]
    if not event.supports():
        parent = host
    return replace(
        event,
        id=own[event.id],
        parent=parent,
        depends_on=tuple(own[id] for id in event.depends_on),
        contradicts=tuple(own[id] for id in event.contradicts),
    )
