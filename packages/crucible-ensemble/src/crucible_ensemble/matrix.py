"""The response matrix: item x model x sample, paid once and evaluated as often as you like."""

import json
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from crucible_ensemble.completion import Completion
from crucible_ensemble.errors import MatrixFormatError
from crucible_ensemble.model import Model, Normaliser
from crucible_ensemble.normalise import NORMALISERS, NormaliserName
from crucible_ensemble.seating import chosen

if TYPE_CHECKING:
    import numpy as np

    from crucible_ensemble.evaluate import Evaluation, Strategy
    from crucible_ensemble.prices import PriceBook

SCHEMA = "crucible-ensemble/matrix/1"
Labels = Mapping[str, str] | Sequence[str]
Scorer = Callable[[str, str], bool | float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One response, or the failure in its place.

    `status` is "ok", "error" or "timeout"; `completion` is None unless it is "ok".
    """

    item: str
    model: str
    sample: int = 0
    status: Literal["ok", "error", "timeout"] = "ok"
    completion: Completion | None = None
    error: str | None = None
    latency_s: float | None = None
    cost_usd: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping without what has its default value."""
        data: dict[str, Any] = {"item": self.item, "model": self.model, "sample": self.sample}
        if self.status != "ok":
            data |= {"status": self.status, "error": self.error}
            data |= {
                k: v
                for k, v in (("latency_s", self.latency_s), ("cost_usd", self.cost_usd))
                if v is not None
            }
        if self.completion is not None:
            data["completion"] = self.completion.to_short_dict()
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Cell":
        """Read what `to_dict` wrote."""
        said = data.get("completion")
        if said is None:
            return cls(
                item=data["item"], model=data["model"], sample=data["sample"],
                status=data["status"], error=data.get("error"), latency_s=data.get("latency_s"),
                cost_usd=data.get("cost_usd"),
            )  # fmt: skip
        completion = Completion.from_dict(said)
        return cls(
            item=data["item"], model=data["model"], sample=data["sample"], completion=completion,
            latency_s=completion.latency_s, cost_usd=completion.cost_usd,
        )  # fmt: skip


class ResponseMatrix:
    """Responses of several models to the same items.

    Parameters
    ----------
    rows : iterable of Cell
    items, models : sequence of str, optional
        In their order; by default as they first occur.
    labels : mapping of item to answer, optional
        Right answers, where they are known with the responses.
    header : mapping, optional
        More that is saved in the first line: call options, seed, versions.

    Raises
    ------
    ValueError
        If a cell occurs twice.
    """

    def __init__(
        self,
        rows: Iterable[Cell],
        *,
        items: Sequence[str] | None = None,
        models: Sequence[str] | None = None,
        labels: Mapping[str, str] | None = None,
        header: Mapping[str, Any] | None = None,
    ) -> None:
        self._cells: dict[tuple[str, str, int], Cell] = {}
        for cell in rows:
            place = cell.item, cell.model, cell.sample
            if place in self._cells:
                raise ValueError(f"`rows` must hold each cell once, got {place} twice")
            self._cells[place] = cell
        seen_items = dict.fromkeys(item for item, _, _ in self._cells)
        seen_models = dict.fromkeys(model for _, model, _ in self._cells)
        self.items = tuple(dict.fromkeys([*(items or ()), *seen_items]))
        self.models = tuple(dict.fromkeys([*(models or ()), *seen_models]))
        self.samples = max((s for _, _, s in self._cells), default=0) + 1
        self.labels = None if labels is None else dict(labels)
        self.header = dict(header or {})
        self._keys: dict[int, tuple[Normaliser, Any]] = {}

    def __repr__(self) -> str:
        return f"ResponseMatrix({len(self.items)} items x {len(self.models)} models x {self.samples} samples)"  # noqa: E501 # fmt: skip

    def __len__(self) -> int:
        return len(self._cells)

    def __iter__(self) -> Iterator[Cell]:
        """Yield the cells in the order of items, models and samples."""
        for item in self.items:
            for model in self.models:
                for sample in range(self.samples):
                    cell = self._cells.get((item, model, sample))
                    if cell is not None:
                        yield cell

    def cell(self, item: str, model: str, sample: int = 0) -> Cell | None:
        """Return a cell; None if it was not asked."""
        return self._cells.get((item, model, sample))

    @classmethod
    def from_correctness(
        cls,
        correct: Any,
        *,
        items: Sequence[str] | None = None,
        models: Sequence[str] | None = None,
    ) -> "ResponseMatrix":
        """Return a matrix that knows only right and wrong.

        Parameters
        ----------
        correct : array of shape (items, models) or (items, models, samples)
            1 is right, 0 wrong, nan not asked. All wrong answers to an item are the same one.
        """
        import numpy as np

        table = np.asarray(correct, dtype=float)
        if table.ndim == 2:
            table = table[:, :, None]
        if table.ndim != 3 or not np.isin(table[~np.isnan(table)], (0.0, 1.0)).all():
            raise ValueError(f"`correct` must be 0, 1 or nan of shape (items, models[, samples]), got shape {table.shape}")  # noqa: E501 # fmt: skip
        items = items or [f"item-{i + 1}" for i in range(table.shape[0])]
        models = models or [f"model-{m + 1}" for m in range(table.shape[1])]
        said = {
            (m, v): Completion(text="right" if v else "wrong", model=m)
            for m in models
            for v in (0.0, 1.0)
        }
        rows = [
            Cell(item=item, model=model, sample=s, completion=said[model, value])
            for i, item in enumerate(items)
            for m, model in enumerate(models)
            for s, value in enumerate(table[i, m].tolist())
            if not math.isnan(value)
        ]
        return cls(rows, items=items, models=models, labels=dict.fromkeys(items, "right"))

    def subset(
        self, *, models: Sequence[str] | None = None, items: Sequence[str] | None = None
    ) -> "ResponseMatrix":
        """Return the matrix of some models, some items, or both.

        Raises
        ------
        ValueError
            For a model or item that is not in it.
        """
        models, items = models or self.models, items or self.items
        for label, wanted, known in (("models", models, self.models), ("items", items, self.items)):
            for name in wanted:
                if name not in known:
                    raise ValueError(f"`{label}` must be in the matrix, got {name!r}")
        wanted_items, wanted_models = set(items), set(models)
        rows = [c for c in self._cells.values() if c.item in wanted_items and c.model in wanted_models]  # noqa: E501 # fmt: skip
        return ResponseMatrix(rows, items=items, models=models, labels=self.labels, header=self.header)  # noqa: E501 # fmt: skip

    def keys(self, normaliser: NormaliserName | Normaliser = "text") -> "np.ndarray[Any, Any]":
        """Return the answers read, shape (items, models, samples); None where there is none."""
        import numpy as np

        _, read = chosen("normaliser", normaliser, NORMALISERS)
        if id(read) in self._keys:
            return self._keys[id(read)][1]  # type: ignore[no-any-return]
        found = np.full((len(self.items), len(self.models), self.samples), None, dtype=object)
        for (i, m, s), cell in self._placed():
            if cell.completion is not None and cell.completion.finish != "filtered":
                with noted(f"while reading the answer of {cell.model} to item {cell.item}"):
                    found[i, m, s] = key_of(cell.completion, read)
        # The normaliser is kept beside its keys: an id may be used again once it is gone.
        self._keys[id(read)] = read, found
        return found

    def correct(
        self,
        labels: Labels | None = None,
        *,
        scorer: Scorer | None = None,
        normalise: NormaliserName | Normaliser = "text",
        complete_case: bool = False,
    ) -> "np.ndarray[Any, Any]":
        """Return what is right, shape (items, models, samples).

        Parameters
        ----------
        labels : mapping of item to right answer, or one per item
            Read by the normaliser too.
        scorer : callable, instead of labels
            From item and text to right or wrong, or a score in [0, 1].
        complete_case : bool
            Leave failures out (nan) instead of counting them as wrong: another question, which
            flatters models that fail on hard items.

        Returns
        -------
        float array
            1 right, 0 wrong, failed or unreadable (intention to treat), nan not asked.
        """
        import numpy as np

        found = np.full((len(self.items), len(self.models), self.samples), np.nan)
        keys, truth = None, ()  # type: Any, tuple[str | None, ...]
        if scorer is None:
            keys, truth = self.keys(normalise), self.truth(labels, normalise)
        elif labels is not None:
            raise ValueError("`scorer` must be None where labels are given")
        for (i, m, s), cell in self._placed():
            if cell.completion is None:
                found[i, m, s] = np.nan if complete_case else 0.0
            elif scorer is not None:
                with noted(f"while scoring the answer of {cell.model} to item {cell.item}"):
                    found[i, m, s] = float(scorer(cell.item, cell.completion.text))
            elif keys is not None:
                found[i, m, s] = float(keys[i, m, s] is not None and keys[i, m, s] == truth[i])
        return found

    def truth(
        self, labels: Labels | None, normalise: NormaliserName | Normaliser
    ) -> tuple[str | None, ...]:
        """Return the right key of each item.

        Raises
        ------
        ValueError
            If an item has no label, or one that the normaliser cannot read.
        """
        given = self.labels if labels is None else labels
        if given is None:
            raise ValueError("`labels` must be given: the matrix holds none")
        if not isinstance(given, Mapping):
            if isinstance(given, str) or len(given) != len(self.items):
                raise ValueError(
                    f"`labels` must be one per item, {len(self.items)}, got {len(given)}"
                )
            given = dict(zip(self.items, given, strict=True))
        _, read = chosen("normalise", normalise, NORMALISERS)
        found = []
        for item in self.items:
            if item not in given:
                raise ValueError(f"`labels` must hold every item, got none for {item!r}")
            key = read(str(given[item]))
            if key is None:
                raise ValueError(f"`labels` must be readable, got {given[item]!r} for {item!r}")
            found.append(key)
        return tuple(found)

    def costs(self, prices: "PriceBook | None" = None) -> "np.ndarray[Any, Any]":
        """Return US dollars, shape (items, models, samples); nan where unknown or not asked.

        With `prices`, what the same tokens would cost by that book.
        """
        import numpy as np

        found = np.full((len(self.items), len(self.models), self.samples), np.nan)
        for (i, m, s), cell in self._placed():
            cost = cost_of(cell, prices)
            found[i, m, s] = np.nan if cost is None else cost
        return found

    def latencies(self) -> "np.ndarray[Any, Any]":
        """Return seconds, shape (items, models, samples); nan where unknown or not asked."""
        import numpy as np

        found = np.full((len(self.items), len(self.models), self.samples), np.nan)
        for (i, m, s), cell in self._placed():
            if cell.latency_s is not None:
                found[i, m, s] = cell.latency_s
        return found

    def evaluate(
        self,
        strategies: "Sequence[Strategy]",
        *,
        labels: Labels | None = None,
        scorer: Scorer | None = None,
        prices: "PriceBook | None" = None,
    ) -> "list[Evaluation]":
        """Return what each strategy would have answered, on the same responses; see `evaluate`."""
        from crucible_ensemble.evaluate import evaluate

        return evaluate(self, strategies, labels=labels, scorer=scorer, prices=prices)

    def replay(self, model: str) -> Model:
        """Return a Model that answers as it did; prompts are item names.

        Raises
        ------
        ValueError
            For a model that is not in the matrix.
        """
        if model not in self.models:
            raise ValueError(f"`model` must be one of {', '.join(self.models)}, got {model!r}")
        from crucible_ensemble.models.recorded import RecordedModel

        return RecordedModel(self, model)

    def save(self, path: Path | str) -> None:
        """Write JSON Lines, or Parquet where the name ends in .parquet.

        The same matrix is the same bytes, whatever the order in which it came to be.
        """
        path = Path(path)
        if path.suffix == ".parquet":
            from crucible_ensemble.parquet import write_parquet

            write_parquet(self, path)
            return
        part = path.with_name(path.name + ".part")
        with part.open("w", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(self.first_line(), sort_keys=True) + "\n")
            for cell in self:
                file.write(json.dumps(cell.to_dict(), sort_keys=True) + "\n")
        part.replace(path)

    def first_line(self) -> dict[str, Any]:
        """Return the header of a file."""
        line = {**self.header, "schema": SCHEMA, "models": list(self.models), "items": list(self.items)}  # noqa: E501 # fmt: skip
        if self.labels is not None:
            line["labels"] = self.labels
        return line

    @classmethod
    def load(cls, path: Path | str) -> "ResponseMatrix":
        """Read what `save` or `collect` wrote.

        Raises
        ------
        MatrixFormatError
            If it is something else, or broken before its last line.

        Warns
        -----
        UserWarning
            If the last line is torn: a crash while it was written; it is left out.
        """
        path = Path(path)
        if path.suffix == ".parquet":
            from crucible_ensemble.parquet import read_parquet

            return read_parquet(path)
        return cls.from_parts(*read_lines(path))

    @classmethod
    def from_parts(cls, header: Mapping[str, Any], cells: Iterable[Cell]) -> "ResponseMatrix":
        """Build a matrix from a file's header and cells."""
        rest = {k: v for k, v in header.items() if k not in ("schema", "models", "items", "labels")}
        return cls(
            cells, items=header.get("items"), models=header.get("models"),
            labels=header.get("labels"), header=rest,
        )  # fmt: skip

    def _placed(self) -> Iterator[tuple[tuple[int, int, int], Cell]]:
        items = {item: i for i, item in enumerate(self.items)}
        models = {model: m for m, model in enumerate(self.models)}
        for (item, model, sample), cell in self._cells.items():
            yield (items[item], models[model], sample), cell


@contextmanager
def noted(what: str) -> Iterator[None]:
    """Say in an error of the user's own code what it was about."""
    try:
        yield
    except Exception as error:
        error.add_note(what)
        raise


def key_of(completion: Completion, read: Normaliser) -> str | None:
    """Return the answer of a completion; None for an ensemble that abstained."""
    if "votes" in completion.extra and completion.extra.get("answer") is None:
        return None
    return read(completion.text)


def cost_of(cell: Cell, prices: "PriceBook | None") -> float | None:
    """Return what a cell cost, or would cost by another price book."""
    if prices is None or cell.completion is None:
        return cell.cost_usd
    said = cell.completion
    return prices.cost_usd(said.model, said.input_tokens, said.output_tokens, said.cached_tokens)


def read_lines(path: Path) -> tuple[dict[str, Any], list[Cell]]:
    """Return header and cells of a JSON Lines file; see `ResponseMatrix.load`."""
    cells: list[Cell] = []
    header: dict[str, Any] | None = None
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            torn = not line.endswith(b"\n")
            try:
                row = json.loads(line)
                if header is None:
                    header = _header(row, path)
                else:
                    cells.append(Cell.from_dict(row))
            except (ValueError, KeyError, TypeError) as error:
                if torn and header is not None:
                    warnings.warn(f"{path.name}: the last line is torn and was left out", UserWarning, stacklevel=3)  # noqa: E501 # fmt: skip
                    break
                raise MatrixFormatError(f"{path}, line {number}: {error}") from None
    if header is None:
        raise MatrixFormatError(f"{path}: empty, a header line is missing")
    return header, cells


def _header(row: Any, path: Path) -> dict[str, Any]:
    if not isinstance(row, dict) or row.get("schema") != SCHEMA:
        found = row.get("schema") if isinstance(row, dict) else row
        raise MatrixFormatError(f"{path}: schema {found!r}, expected {SCHEMA!r}")
    return row
