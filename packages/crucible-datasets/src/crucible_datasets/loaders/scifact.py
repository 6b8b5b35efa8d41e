"""SciFact: claims against cited abstracts, with sentence-level rationales."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from crucible_datasets.errors import ParseError
from crucible_datasets.items import Item
from crucible_datasets.loaders.files import format_of, rows

Context = Literal["none", "evidence", "abstracts"]
LABELS = {"SUPPORT": "SUPPORTS", "CONTRADICT": "REFUTES", "REFUTE": "REFUTES"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Abstract:
    """One document of the corpus; `sentences` is its abstract, in order."""

    doc_id: str
    title: str
    sentences: tuple[str, ...]


def read_corpus(path: Path | str, *, name: str | None = None) -> dict[str, Abstract]:
    """Read `corpus.jsonl[.gz]`: doc id -> abstract.

    Raises
    ------
    ParseError
        If a line is not a document, or an id is there twice.
    """
    path = Path(path)
    name = name or path.name
    corpus: dict[str, Abstract] = {}
    for number, row in rows(path, name=name):
        try:
            doc = str(row["doc_id"])
            found = Abstract(
                doc_id=doc, title=str(row["title"]), sentences=tuple(map(str, row["abstract"]))
            )
        except KeyError as missing:
            raise ParseError(name, number, f"no field {missing}") from None
        if doc in corpus:
            raise ParseError(name, number, f"document {doc} is there twice")
        corpus[doc] = found
    return corpus


@dataclass(frozen=True, slots=True)
class SciFact:
    """The official JSON Lines, or the hub's rows, one per claim and rationale."""

    context: Context = "none"
    version: int = 1

    def parse(
        self, files: Mapping[str, Path], *, split: str | None, subset: str | None
    ) -> Iterator[Item]:
        """Yield one item per claim, in the order of the file."""
        claims = {name: path for name, path in files.items() if "corpus" not in Path(name).name}
        corpus: dict[str, Abstract] = {}
        if self.context != "none":
            for name in files.keys() - claims.keys():
                corpus |= read_corpus(files[name], name=name)
        for name, path in claims.items():
            read = _official if format_of(name) in ("jsonl", "json") else _regrouped
            for number, id, claim, evidence, cited in read(path, name):
                label = _label(evidence, name, number)
                context = self._context(evidence, cited, corpus, name, number)
                metadata: dict[str, Any] = {"cited_doc_ids": cited}
                if evidence is not None:
                    metadata["evidence"] = evidence
                yield Item(
                    id=f"scifact/{split}/{id}", input=claim, expected=label, context=context,
                    metadata=metadata,
                )  # fmt: skip

    def _context(
        self,
        evidence: dict[str, list[Any]] | None,
        cited: list[str],
        corpus: Mapping[str, Abstract],
        name: str,
        number: int,
    ) -> str | None:
        if self.context == "none":
            return None
        texts = []
        for doc in cited if self.context == "abstracts" else (evidence or {}):
            if doc not in corpus:
                raise ParseError(name, number, f"document {doc} is not in the corpus")
            sentences = corpus[doc].sentences
            if self.context == "abstracts":
                texts.append(" ".join((corpus[doc].title, *sentences)))
            else:
                chosen = sorted({n for e in (evidence or {})[doc] for n in e["sentences"]})
                if chosen and chosen[-1] >= len(sentences):
                    raise ParseError(name, number, f"document {doc} has no sentence {chosen[-1]}")
                texts.append(" ".join(sentences[n].strip() for n in chosen))
        return "\n".join(texts) or None


_Claim = tuple[int, str, str, dict[str, list[Any]] | None, list[str]]


def _official(path: Path, name: str) -> Iterator[_Claim]:
    for number, row in rows(path, name=name):
        try:
            evidence = row.get("evidence")
            if evidence is not None:
                evidence = {
                    str(doc): [
                        {"sentences": list(e["sentences"]), "label": str(e["label"])} for e in sets
                    ]
                    for doc, sets in evidence.items()
                }
            cited = [str(doc) for doc in row.get("cited_doc_ids", ())]
            yield number, str(row["id"]), str(row["claim"]), evidence, cited
        except (KeyError, TypeError, AttributeError) as error:
            raise ParseError(name, number, f"not a claim ({error!r})") from None


def _regrouped(path: Path, name: str) -> Iterator[_Claim]:
    """Gather the hub's rows by claim; rationales keep the order of their rows."""
    found: dict[str, _Claim] = {}
    for number, row in rows(path, name=name):
        try:
            id, doc = str(row["id"]), str(row["evidence_doc_id"] or "")
            if id not in found:
                cited = [str(n) for n in _numbers(row["cited_doc_ids"])]
                found[id] = number, id, str(row["claim"]), {}, cited
            if doc:
                one = {
                    "sentences": _numbers(row["evidence_sentences"]),
                    "label": str(row["evidence_label"]),
                }
                evidence = found[id][3]
                if evidence is not None:
                    evidence.setdefault(doc, []).append(one)
        except KeyError as missing:
            raise ParseError(name, number, f"no field {missing}") from None
    yield from found.values()


def _numbers(cell: Any) -> list[int]:
    if isinstance(cell, str):
        return [int(n) for n in re.findall(r"\d+", cell)]
    return [int(n) for n in cell or ()]


def _label(evidence: dict[str, list[Any]] | None, name: str, number: int) -> str | None:
    """Return the claim's label; None where the split has none (the test split)."""
    if evidence is None:
        return None
    spelled = {e["label"] for sets in evidence.values() for e in sets}
    if not spelled:
        return "NOT ENOUGH INFO"
    unknown = spelled - LABELS.keys()
    if unknown:
        raise ParseError(name, number, f"unknown label {sorted(unknown)[0]!r}")
    labels = {LABELS[label] for label in spelled}
    if len(labels) > 1:
        raise ParseError(name, number, "evidence both supports and refutes the claim")
    return labels.pop()
