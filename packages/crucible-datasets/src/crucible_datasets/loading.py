"""From a name to a data set; nothing is ever invented under a benchmark's name."""

import difflib
import hashlib
from pathlib import Path
from typing import NamedTuple

from crucible_datasets.errors import DatasetUnavailableError, IntegrityError
from crucible_datasets.items import Dataset, Item, Provenance, Task
from crucible_datasets.loaders import demo, gsm8k, lines
from crucible_datasets.sampling import sample

BENCHMARKS = ("demo-arithmetic", "gsm8k")


class FieldMap(NamedTuple):
    """Names of the fields of a custom file; missing ids become "<name>/<line>"."""

    input: str = "input"
    expected: str = "expected"
    id: str | None = None
    metadata: tuple[str, ...] = ()


def load(
    name: str,
    *,
    split: str | None = None,
    path: Path | str | None = None,
    fields: FieldMap | None = None,
    task: Task = "text",
    sample_size: int | None = None,
    seed: int = 0,
    check_counts: bool = True,
) -> Dataset:
    """Load a benchmark, or a JSON Lines file of your own.

    Parameters
    ----------
    name : str
        "demo-arithmetic" (generated here), "gsm8k" (needs `path`), or any name together with
        `path` and `fields`.
    split : str, optional
        Of "gsm8k": "test" by default, or "train".
    path : path of the official file, or of yours
    fields : FieldMap, optional
        For a file of your own.
    task : str
        For a file of your own: how answers are read and compared.
    sample_size : int, optional
        Draw that many items without replacement, by a hash of `seed` and item id.
    check_counts : bool
        Refuse a file with another number of items than was published. If False, such a data set
        is renamed "(unverified)".

    Raises
    ------
    DatasetUnavailableError
        If there is no source; the message says where to get the file.
    DatasetFormatError
        If a line cannot be read, naming file and line.
    IntegrityError
        If the number of items is not the published one.
    ValueError
        If an argument is out of range.
    """
    if name == "demo-arithmetic":
        if path is not None:
            raise ValueError("`path` must not be given for 'demo-arithmetic': it is generated")
        items = list(demo.arithmetic())
        dataset = Dataset(
            items, name=name, task="math", provenance=Provenance(kind="generated", n_total=162)
        )
    elif name == "gsm8k":
        dataset = _gsm8k(split or "test", path, check_counts=check_counts)
    elif path is None:
        near = difflib.get_close_matches(name, BENCHMARKS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise DatasetUnavailableError(
            f"unknown data set {name!r}{hint} (known: {', '.join(BENCHMARKS)}; give `path` and "
            "`fields` for a file of your own)"
        )
    else:
        dataset = _custom(name, Path(path), fields or FieldMap(), split, task)
    return dataset if sample_size is None else sample(dataset, sample_size, seed=seed)


def _gsm8k(split: str, path: Path | str | None, *, check_counts: bool) -> Dataset:
    if split not in gsm8k.COUNTS:
        raise ValueError(f"`split` must be one of {', '.join(gsm8k.COUNTS)}, got {split!r}")
    if path is None:
        raise DatasetUnavailableError(
            "gsm8k needs its official file: download grade_school_math/data/"
            f"{split}.jsonl from OpenAI's repository grade-school-math and call "
            f'load("gsm8k", split="{split}", path="{split}.jsonl")'
        )
    file = _existing(Path(path), f"{split}.jsonl")
    items = list(gsm8k.parse(file, split))
    expected, name = gsm8k.COUNTS[split], "gsm8k"
    if len(items) != expected:
        if check_counts:
            raise IntegrityError(
                f"{file.name} holds {len(items)} items, the published split {split!r} {expected}; "
                "pass check_counts=False to use it as 'gsm8k (unverified)'"
            )
        name = "gsm8k (unverified)"
    provenance = Provenance(
        kind="file", location=file.name, sha256=_sha256(file), license=gsm8k.LICENSE,
        citation=gsm8k.CITATION, n_total=len(items),
    )  # fmt: skip
    return Dataset(items, name=name, split=split, task="math", provenance=provenance)


def _custom(name: str, path: Path, fields: FieldMap, split: str | None, task: Task) -> Dataset:
    file = _existing(path, None)
    required = (fields.input, fields.expected, *(() if fields.id is None else (fields.id,)))
    items = [
        Item(
            id=f"{name}/{number - 1}" if fields.id is None else str(row[fields.id]),
            input=str(row[fields.input]),
            expected=row[fields.expected],
            metadata={key: row.get(key) for key in fields.metadata},
        )
        for number, row in lines.read(file, required=required)
    ]
    provenance = Provenance(
        kind="file", location=file.name, sha256=_sha256(file), n_total=len(items)
    )
    return Dataset(items, name=name, split=split, task=task, provenance=provenance)


def _existing(path: Path, official: str | None) -> Path:
    if path.is_dir() and official is not None:
        path = path / official
    if not path.is_file():
        raise DatasetUnavailableError(f"no file {str(path)!r}")
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
