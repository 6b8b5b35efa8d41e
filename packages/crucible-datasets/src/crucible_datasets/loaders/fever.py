"""FEVER: claims against Wikipedia, with sets of evidence lines."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crucible_datasets.errors import ParseError
from crucible_datasets.items import Item
from crucible_datasets.loaders.files import rows

LABELS = ("SUPPORTS", "REFUTES", "NOT ENOUGH INFO")


@dataclass(frozen=True, slots=True)
class Fever:
    """The official JSON Lines, or the hub's rows, one per claim and evidence line."""

    version: int = 1

    def parse(
        self, files: Mapping[str, Path], *, split: str | None, subset: str | None
    ) -> Iterator[Item]:
        """Yield one item per claim; metadata.evidence is a list of sets of [page, line]."""
        for name, path in files.items():
            flat = False
            hub: dict[str, dict[str, Any]] = {}
            for number, row in rows(path, name=name):
                flat = "evidence_annotation_id" in row
                try:
                    if flat:
                        _gather(hub, row)
                        continue
                    sets = row.get("evidence")
                    lines = None if sets is None else [[(e[2], e[3]) for e in s] for s in sets]
                    yield _item(split, str(row["id"]), row["claim"], row.get("label"), lines)
                except (KeyError, TypeError, IndexError, ValueError) as error:
                    raise ParseError(name, number, f"not a claim ({error!r})") from None
            for id, claim in hub.items():
                lines = list(claim["sets"].values())
                yield _item(split, id, claim["claim"], claim["label"], lines)


def _gather(hub: dict[str, dict[str, Any]], row: Mapping[str, Any]) -> None:
    id = str(row["id"])
    label = row["label"]
    if isinstance(label, int):  # a class label of the hub; -1 = none
        label = (*LABELS, None)[label]
    claim = hub.setdefault(id, {"claim": row["claim"], "label": label or None, "sets": {}})
    lines = claim["sets"].setdefault(row["evidence_annotation_id"], [])
    page, line = row["evidence_wiki_url"], row["evidence_sentence_id"]
    if page not in (None, "") and line not in (None, "") and int(line) >= 0:
        lines.append((page, int(line)))


def _item(split: str | None, id: str, claim: Any, label: Any, sets: Any) -> Item:
    if label is not None and label not in LABELS:
        raise ValueError(f"unknown label {label!r}")
    metadata: dict[str, Any] = {}
    if sets is not None:
        kept = [
            [[p, int(n)] for p, n in lines if p is not None and n is not None] for lines in sets
        ]
        metadata["evidence"] = [lines for lines in kept if lines]
    return Item(id=f"fever/{split}/{id}", input=str(claim), expected=label, metadata=metadata)
