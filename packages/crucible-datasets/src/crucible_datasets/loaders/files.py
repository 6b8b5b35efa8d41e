"""Rows of a file: JSON Lines, JSON arrays, CSV, TSV and Parquet, each but the last also gzipped."""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, cast

from crucible_datasets.errors import IntegrityError, ParseError
from crucible_datasets.extras import need

Format = Literal["jsonl", "json", "csv", "tsv", "parquet"]
Row = dict[str, Any]

MAX_DECOMPRESSED = 4 * 2**30  # bytes a compressed file may unfold to
_SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv",
    ".parquet": "parquet",
}  # fmt: skip


def format_of(name: str) -> Format | None:
    """Return the format that a file name says, looking through `.gz`."""
    return _SUFFIXES.get(Path(name.removesuffix(".gz")).suffix.lower())


def rows(
    path: Path, *, format: Format | None = None, name: str | None = None
) -> Iterator[tuple[int, Row]]:
    """Yield (line or row number, row) in constant memory.

    Parameters
    ----------
    format : str, optional
        By default what the name says; a `.json` file may hold an array or lines.
    name : str, optional
        What to call the file in errors, where `path` is a blob of the cache.

    Raises
    ------
    ParseError
        If the file is not what the format promises.
    IntegrityError
        If it unfolds to more than 4 GiB.
    """
    name = name or path.name
    format = format or format_of(name)
    if format is None:
        raise ParseError(name, None, f"unknown format; known are {', '.join(sorted(_SUFFIXES))}")
    if format == "parquet":
        yield from _parquet(path, name)
        return
    with opened(path, name) as file:
        if format == "jsonl":
            yield from _json_lines(file, name)
        elif format == "json":
            yield from _json(file, name)
        else:
            yield from _csv(file, name, "," if format == "csv" else "\t")


@contextmanager
def opened(path: Path, name: str) -> Iterator[IO[bytes]]:
    """Open a file for reading bytes, unfolding gzip by its first bytes and up to a limit."""
    with path.open("rb") as raw:
        if raw.peek(2)[:2] != b"\x1f\x8b":
            yield raw
            return
        with gzip.GzipFile(fileobj=raw) as unzipped:
            counted = io.BufferedReader(_Capped(unzipped, name), 2**18)
            try:
                yield counted
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise ParseError(name, None, f"damaged gzip ({error})") from None


class _Capped(io.RawIOBase):
    """Stops reading where a compressed file unfolds to more than anyone sane would send."""

    def __init__(self, inner: gzip.GzipFile, name: str) -> None:
        self._inner, self._name, self._left = inner, name, MAX_DECOMPRESSED

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._inner.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            limit = f"at most {MAX_DECOMPRESSED} bytes unfolded"
            raise IntegrityError(self._name, limit, "more")
        buffer[: len(data)] = data
        return len(data)


def _json_lines(file: IO[bytes], name: str) -> Iterator[tuple[int, Row]]:
    for number, raw in enumerate(file, 1):
        if not raw.strip():
            continue
        try:
            row = json.loads(raw)  # bytes: UTF-8, 16 or 32
        except UnicodeDecodeError:
            raise ParseError(name, number, "not UTF-8") from None
        except (ValueError, RecursionError) as error:
            raise ParseError(name, number, f"not JSON ({error})") from None
        if not isinstance(row, dict):
            raise ParseError(name, number, "not a JSON object")
        yield number, row


def _json(file: IO[bytes], name: str) -> Iterator[tuple[int, Row]]:
    """Yield the objects of an array one by one; without a `[` the file is read as lines."""
    start = cast("io.BufferedReader", file).peek(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start.startswith(b"["):
        yield from _json_lines(file, name)
        return
    text = io.TextIOWrapper(file, encoding="utf-8-sig")
    decoder, number, size = json.JSONDecoder(), 0, 2**16
    try:
        buffer = text.read(size).lstrip()
        buffer = buffer[1:]
        while True:
            buffer = buffer.lstrip(" \t\r\n,")
            if buffer.startswith("]"):
                return
            try:
                row, end = decoder.raw_decode(buffer)
            except ValueError as error:
                more = text.read(size)
                if not more:
                    raise ParseError(name, number + 1, f"not JSON ({error})") from None
                buffer, size = buffer + more, size * 2  # doubling keeps the work linear
                continue
            number += 1
            if not isinstance(row, dict):
                raise ParseError(name, number, "not a JSON object")
            yield number, row
            buffer, size = buffer[end:], 2**16
    except UnicodeDecodeError:
        raise ParseError(name, number + 1, "not UTF-8") from None
    finally:
        text.detach()  # whoever opened the file closes it


def csv_lines(path: Path, name: str, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of a file without a header; quoted cells may span lines."""
    with opened(path, name) as file:
        yield from _cells(file, name, delimiter)


def _cells(file: IO[bytes], name: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, cells
    except UnicodeDecodeError:
        raise ParseError(name, reader.line_num + 1, "not UTF-8") from None
    except csv.Error as error:
        raise ParseError(name, reader.line_num, f"not CSV ({error})") from None
    finally:
        text.detach()  # whoever opened the file closes it


def _csv(file: IO[bytes], name: str, delimiter: str) -> Iterator[tuple[int, Row]]:
    header: list[str] | None = None
    for number, cells in _cells(file, name, delimiter):
        if header is None:
            header = cells
            if len(set(header)) != len(header):
                raise ParseError(name, number, "the header names a column twice")
        elif len(cells) != len(header):
            reason = f"{len(cells)} cells where the header has {len(header)}"
            raise ParseError(name, number, reason)
        else:
            yield number, dict(zip(header, cells, strict=True))


def _parquet(path: Path, name: str) -> Iterator[tuple[int, Row]]:
    parquet = need("pyarrow.parquet", extra="parquet", feature="reading Parquet")
    arrow = need("pyarrow", extra="parquet", feature="reading Parquet")
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=4096):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except arrow.ArrowInvalid as error:
        raise ParseError(name, number + 1, f"not Parquet ({error})") from None
