"""GSM8K in its official format: `question`, and `answer` that ends in `#### N`."""

from collections.abc import Iterator
from pathlib import Path

from crucible_datasets.errors import DatasetFormatError
from crucible_datasets.items import Item
from crucible_datasets.loaders import lines

COUNTS = {"train": 7473, "test": 1319}
LICENSE = "MIT"
CITATION = "K. Cobbe et al., Training Verifiers to Solve Math Word Problems, arXiv:2110.14168, 2021"


def parse(path: Path, split: str) -> Iterator[Item]:
    """Yield the items of a split; `expected` is the final number without commas."""
    for number, row in lines.read(path, required=("question", "answer")):
        rationale, mark, answer = str(row["answer"]).rpartition("####")
        if not mark:
            raise DatasetFormatError(path.name, number, "the answer does not end in '#### N'")
        yield Item(
            id=f"gsm8k/{split}/{number - 1}",
            input=str(row["question"]),
            expected=answer.strip().replace(",", ""),
            metadata={"rationale": rationale.rstrip()},
        )
