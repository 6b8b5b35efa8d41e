"""MMLU: 57 subjects of four-way multiple choice, in four groups."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crucible_datasets.errors import ParseError
from crucible_datasets.items import Item
from crucible_datasets.loaders.files import csv_lines, format_of, rows

_GROUPS = {
    "stem": (
        "abstract_algebra astronomy college_biology college_chemistry college_computer_science "
        "college_mathematics college_physics computer_security conceptual_physics "
        "electrical_engineering elementary_mathematics high_school_biology high_school_chemistry "
        "high_school_computer_science high_school_mathematics high_school_physics "
        "high_school_statistics machine_learning"
    ),
    "humanities": (
        "formal_logic high_school_european_history high_school_us_history "
        "high_school_world_history international_law jurisprudence logical_fallacies "
        "moral_disputes moral_scenarios philosophy prehistory professional_law "
        "world_religions"
    ),
    "social_sciences": (
        "econometrics high_school_geography high_school_government_and_politics "
        "high_school_macroeconomics high_school_microeconomics high_school_psychology "
        "human_sexuality professional_psychology public_relations security_studies sociology "
        "us_foreign_policy"
    ),
    "other": (
        "anatomy business_ethics clinical_knowledge college_medicine global_facts human_aging "
        "management marketing medical_genetics miscellaneous nutrition professional_accounting "
        "professional_medicine virology"
    ),
}
GROUPS: Mapping[str, tuple[str, ...]] = {
    name: tuple(subjects.split()) for name, subjects in _GROUPS.items()
}
SUBJECTS: tuple[str, ...] = tuple(sorted(s for group in GROUPS.values() for s in group))
_HEADER = ["question", "choice0", "choice1", "choice2", "choice3", "answer"]
_SHORT = {"validation": "val"}


def file_of(subject: str, split: str) -> str:
    """Return the official file name of a subject, e.g. "anatomy_val.csv"."""
    return f"{subject}_{_SHORT.get(split, split)}.csv"


@dataclass(frozen=True, slots=True)
class Mmlu:
    """The official CSV without header, one per subject; CSV with header; or Parquet."""

    subjects: tuple[str, ...] = SUBJECTS
    version: int = 1

    def parse(
        self, files: Mapping[str, Path], *, split: str | None, subset: str | None
    ) -> Iterator[Item]:
        """Yield the items, subjects in alphabetical order, rows in the order of their file."""
        wanted = self.subjects if subset is None else (subset,)
        found: dict[str, list[Item]] = {subject: [] for subject in wanted}
        for name, path in files.items():
            read = _headless if _is_headless(path, name) else _headed
            for number, subject, question, choices, answer in read(path, name, subset):
                if subject not in SUBJECTS:
                    raise ParseError(name, number, f"unknown subject {subject!r}")
                if subject not in found:
                    continue
                items = found[subject]
                items.append(
                    Item(
                        id=f"mmlu/{split}/{subject}/{len(items)}",
                        input=question,
                        expected=_answer(answer, name, number),
                        choices=tuple(choices),
                        metadata={"subject": subject},
                    )
                )
        for subject in sorted(found):
            yield from found[subject]


_Found = Iterator[tuple[int, str, str, Sequence[str], Any]]


def _is_headless(path: Path, name: str) -> bool:
    if format_of(name) != "csv":
        return False
    _, first = next(csv_lines(path, name), (0, []))
    return not {"question", "answer"} <= {cell.strip().lower() for cell in first}


def _headless(path: Path, name: str, subset: str | None) -> _Found:
    subject = _subject_of(name, subset)
    for number, cells in csv_lines(path, name):
        if len(cells) != 6:
            raise ParseError(name, number, f"{len(cells)} cells instead of question, A-D, letter")
        yield number, subject, cells[0], cells[1:5], cells[5]


def _headed(path: Path, name: str, subset: str | None) -> _Found:
    for number, row in rows(path, name=name):
        try:
            choices = row["choices"] if "choices" in row else [row[key] for key in _HEADER[1:5]]
            question, answer = row["question"], row["answer"]
        except KeyError as missing:
            raise ParseError(name, number, f"no field {missing}") from None
        if not isinstance(choices, list) or len(choices) != 4:
            raise ParseError(name, number, f"the choices are not a list of four: {choices!r}")
        subject = row.get("subject") or _subject_of(name, subset)
        yield number, str(subject), str(question), [str(c) for c in choices], answer


def _subject_of(name: str, subset: str | None) -> str:
    stem = Path(name).name.partition(".")[0]
    for ending in ("_test", "_val", "_dev", "_validation"):
        stem = stem.removesuffix(ending)
    if stem in SUBJECTS:
        return stem
    if subset is not None:
        return subset
    raise ParseError(
        name, None, "neither file name nor a `subject` column says which subject it is; "
        "pass `subset`"
    )  # fmt: skip


def _answer(answer: Any, name: str, number: int) -> int:
    text = str(answer).strip()
    place = "ABCD".find(text) if len(text) == 1 else -1
    if place < 0 and text in ("0", "1", "2", "3"):
        place = int(text)
    if place < 0:
        raise ParseError(name, number, f"the answer must be A-D or 0-3, got {answer!r}")
    return place
