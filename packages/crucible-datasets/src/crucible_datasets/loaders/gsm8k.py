"""GSM8K: `question`, and `answer` that ends in `#### N`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from crucible_datasets.errors import ParseError
from crucible_datasets.items import Item
from crucible_datasets.loaders.files import rows


@dataclass(frozen=True, slots=True)
class Gsm8k:
    """The official JSON Lines, or the hub's Parquet."""

    version: int = 1

    def parse(
        self, files: Mapping[str, Path], *, split: str | None, subset: str | None
    ) -> Iterator[Item]:
        """Yield the items of a split; `expected` is the final number without commas."""
        position = 0
        for name, path in files.items():
            for number, row in rows(path, name=name):
                try:
                    question, solution = row["question"], row["answer"]
                except KeyError as missing:
                    raise ParseError(name, number, f"no field {missing}") from None
                rationale, mark, answer = str(solution).rpartition("####")
                if not mark or not answer.strip():
                    raise ParseError(name, number, "the answer does not end in '#### N'")
                yield Item(
                    id=f"gsm8k/{split}/{position}",
                    input=str(question),
                    expected=answer.strip().replace(",", ""),
                    metadata={"rationale": rationale.rstrip()},
                )
                position += 1
