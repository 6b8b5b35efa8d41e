"""HumanEval: a prompt to continue, its canonical solution, and a `check` function."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from crucible_datasets.errors import ParseError
from crucible_datasets.items import Item
from crucible_datasets.loaders.files import rows


@dataclass(frozen=True, slots=True)
class HumanEval:
    """The official JSON Lines, plain or gzipped, or the hub's Parquet."""

    version: int = 1

    def parse(
        self, files: Mapping[str, Path], *, split: str | None, subset: str | None
    ) -> Iterator[Item]:
        """Yield one item per problem, under its own task id."""
        for name, path in files.items():
            for number, row in rows(path, name=name):
                try:
                    yield Item(
                        id=str(row["task_id"]),
                        input=str(row["prompt"]),
                        expected=str(row["canonical_solution"]),
                        metadata={
                            "entry_point": str(row["entry_point"]),
                            "test": str(row["test"]),
                        },
                    )
                except KeyError as missing:
                    raise ParseError(name, number, f"no field {missing}") from None
