"""Fill a response matrix: every model, every item, every sample, once."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio

from crucible_ensemble.completion import Completion
from crucible_ensemble.errors import MatrixFormatError, UnsupportedOptionError
from crucible_ensemble.matrix import Cell, ResponseMatrix, read_lines
from crucible_ensemble.member import Member, labels
from crucible_ensemble.model import Model, Prompt
from crucible_ensemble.prompts import check_options, lacking, to_messages
from crucible_ensemble.seeds import call_seed
from crucible_ensemble.spans import span


async def collect(
    models: Sequence[Model | str | Member],
    prompts: Mapping[str, Prompt],
    *,
    samples: int = 1,
    seed: int = 0,
    concurrency: int = 10,
    path: Path | str | None = None,
    timeout_s: float = 120.0,
    temperature: float | None = 0.0,
    max_tokens: int = 1000,
    stop: Sequence[str] = (),
) -> ResponseMatrix:
    """Ask every model about every item and keep the answers.

    Parameters
    ----------
    models : sequence of Model, model name or Member
    prompts : mapping of item to prompt
    samples : int, >= 1
        Answers per model and item.
    seed : int
        Of every call: a hash of it, item, model and sample.
    concurrency : int, >= 1
        Calls at a time.
    path : path of a JSON Lines file, optional
        Each answer is appended as it arrives. If the file is there already, what it holds is not
        asked again; failures are. At the end it is in the order of items, models and samples.
    timeout_s : float, > 0
        For one answer.

    Raises
    ------
    ValueError
        If an option is out of range.
    UnsupportedOptionError
        If a model says that it does not take an option; nothing is asked then.
    MatrixFormatError
        If the file was collected under other options.
    """
    members = tuple((m if isinstance(m, Member) else Member(m)).opened() for m in models)
    names = labels(members)
    check_options(temperature=temperature, max_tokens=max_tokens, stop=stop)
    for label, value in (("samples", samples), ("concurrency", concurrency)):
        if value < 1:
            raise ValueError(f"`{label}` must be >= 1, got {value}")
    if not members or not prompts:
        raise ValueError("`models` and `prompts` must not be empty")
    if samples > 1 and temperature == 0:
        raise ValueError(f"`samples` must be 1 at temperature 0, got {samples}")
    for prompt in prompts.values():
        to_messages(prompt)
    for member, name in zip(members, names, strict=True):
        for option in lacking(member.model, temperature=temperature, stop=stop):
            raise UnsupportedOptionError(
                f"{name} takes no `{option}`; leave it out", model=name, option=option, cost_usd=0.0
            )
    options = {"temperature": temperature, "max_tokens": max_tokens, "stop": list(stop)}
    header = {"options": options, "seed": seed, "samples": samples, "versions": _versions()}
    file = _File(None if path is None else Path(path), header, names, tuple(prompts))
    todo = [
        (item, n, sample)
        for item in prompts
        for n in range(len(names))
        for sample in range(samples)
        if (item, names[n], sample) not in file.done
    ]
    places = iter(todo)

    async def work() -> None:
        for item, n, sample in places:
            call = call_seed(seed, item, names[n], sample)
            supports = getattr(members[n].model, "supports", None)
            sent = None if supports is not None and "seed" not in supports else call
            cell = await _cell(
                members[n].model, prompts[item], options | {"seed": sent}, timeout_s,
                item=item, model=names[n], sample=sample,
            )  # fmt: skip
            file.add(cell)

    with span("collect", {"cells": len(prompts) * len(names) * samples, "resumed": len(file.done)}):
        try:
            async with anyio.create_task_group() as group:
                for _ in range(min(concurrency, len(todo))):
                    group.start_soon(work)
        finally:
            file.close()
            for given, member in zip(models, members, strict=True):
                by_name = isinstance(given.model if isinstance(given, Member) else given, str)
                if by_name and hasattr(member.model, "aclose"):
                    with anyio.CancelScope(shield=True):
                        await member.model.aclose()
    matrix = ResponseMatrix(file.cells(), items=tuple(prompts), models=names, header=header)
    if path is not None:
        matrix.save(path)
    return matrix


async def _cell(
    asked: Any, prompt: Prompt, options: Mapping[str, Any], timeout_s: float, **place: Any
) -> Cell:
    began = anyio.current_time()
    try:
        with anyio.fail_after(timeout_s):
            answer = await asked.generate(prompt, **options)
    except Exception as error:  # noqa: BLE001 - a failure is a result
        return Cell(
            status="timeout" if isinstance(error, TimeoutError) else "error",
            error=f"{type(error).__name__}: {error}",
            latency_s=anyio.current_time() - began,
            cost_usd=getattr(error, "cost_usd", None),
            **place,
        )
    completion = Completion.of(answer, model=str(getattr(asked, "name", place["model"])))
    if completion.latency_s is None:
        completion = replace(completion, latency_s=anyio.current_time() - began)
    return Cell(
        completion=completion, latency_s=completion.latency_s, cost_usd=completion.cost_usd, **place
    )


class _File:
    """The cells so far, and the file that they are appended to."""

    def __init__(
        self,
        path: Path | None,
        header: Mapping[str, Any],
        names: Sequence[str],
        items: Sequence[str],
    ) -> None:
        self.done: dict[tuple[str, str, int], Cell] = {}
        self._file: Any = None
        if path is None:
            return
        if path.exists() and path.stat().st_size:
            found, cells = read_lines(path)
            for name in ("options", "seed"):
                if found.get(name) != header[name]:
                    raise MatrixFormatError(
                        f"{path} was collected with {name} {found.get(name)!r}, "
                        f"not {header[name]!r}"
                    )
            known_items, known_models = set(items), set(names)
            for cell in cells:
                if cell.item not in known_items or cell.model not in known_models:
                    raise MatrixFormatError(f"{path} holds {cell.item!r} of {cell.model!r}, which are not asked for now")  # noqa: E501 # fmt: skip
                if cell.status == "ok":
                    self.done[cell.item, cell.model, cell.sample] = cell
        begun = ResponseMatrix(self.done.values(), items=items, models=names, header=header)
        begun.save(path)  # what is torn or failed is left out
        self._file = path.open("a", encoding="utf-8", newline="\n")

    def add(self, cell: Cell) -> None:
        """Keep a cell; it is on its way to the disk when this returns."""
        self.done[cell.item, cell.model, cell.sample] = cell
        if self._file is not None:
            self._file.write(json.dumps(cell.to_dict(), sort_keys=True) + "\n")
            self._file.flush()

    def cells(self) -> list[Cell]:
        """Return every cell."""
        return list(self.done.values())

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return {"crucible-ensemble": version("crucible-ensemble")}
    except PackageNotFoundError:  # run from a copy that was not installed
        return {}
