"""A directory with one JSON file per chain."""

import os
import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from crucible_causaltrace.chain import Chain
from crucible_causaltrace.errors import (
    ChainExistsError,
    ChainNotFoundError,
    CorruptChainError,
    SchemaVersionError,
)
from crucible_causaltrace.event import Json
from crucible_causaltrace.exports.json_text import to_json
from crucible_causaltrace.queries import matches_text
from crucible_causaltrace.stores.archives import write_archive
from crucible_causaltrace.stores.content import ID, check_id, check_types, info_of, read_chain
from crucible_causaltrace.stores.port import ChainInfo, CorruptChainWarning
from crucible_causaltrace.tracing import span


class JSONStore:
    """Keeps each chain in `<directory>/<id>.json`.

    A file is written beside its place and then put there in one step: whatever happens, the place
    holds the old chain or the new one, and of two writers without `overwrite` one fails.

    Parameters
    ----------
    directory : path
        Made when the first chain is saved.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)

    def save(self, chain: Chain, *, overwrite: bool = False) -> str:
        """Keep a chain; see `ChainStore.save`."""
        place = self._place(chain.id)
        with span("save") as current:
            current.set_attribute("crucible.causaltrace.events", len(chain))
            content = to_json(chain).encode("ascii")
            self.directory.mkdir(parents=True, exist_ok=True)
            temporary = self.directory / f".{chain.id}.{os.urandom(8).hex()}.tmp"
            try:
                with temporary.open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                if overwrite:
                    temporary.replace(place)
                else:
                    os.link(temporary, place)  # fails where the place is taken, unlike a rename
            except FileExistsError:
                raise ChainExistsError(chain.id) from None
            finally:
                temporary.unlink(missing_ok=True)
            _sync(self.directory)
        return chain.id

    def load(self, id: str) -> Chain:
        """Return a chain; see `ChainStore.load`."""
        place = self._place(id)
        try:
            content = place.read_bytes()
        except FileNotFoundError:
            raise ChainNotFoundError(id) from None
        return read_chain(content, where=str(place), id=id)

    def delete(self, id: str) -> None:
        """Forget a chain; see `ChainStore.delete`."""
        try:
            self._place(id).unlink()
        except FileNotFoundError:
            raise ChainNotFoundError(id) from None

    def list(self) -> Iterator[ChainInfo]:
        """Go through all chains; see `ChainStore.list`."""
        return (info for info, _ in self._all())

    def search(
        self,
        *,
        text: str | None = None,
        task: str | None = None,
        types: Collection[str] | None = None,
        created_after_s: float | None = None,
        created_before_s: float | None = None,
        min_events: int | None = None,
        max_events: int | None = None,
        metadata: Mapping[str, Json] | None = None,
    ) -> Iterator[ChainInfo]:
        """Go through the chains that satisfy every condition given; see `ChainStore.search`."""
        check_types(types)
        for info, chain in self._all():
            if (
                (task is None or task.casefold() in info.task.casefold())
                and (types is None or set(types) <= set(info.types))
                and (created_after_s is None or info.saved_s >= created_after_s)
                and (created_before_s is None or info.saved_s < created_before_s)
                and (min_events is None or info.n_events >= min_events)
                and (max_events is None or info.n_events <= max_events)
                and (text is None or any(matches_text(event, text) for event in chain))
                and all(
                    key in info.metadata and info.metadata[key] == value
                    for key, value in (metadata or {}).items()
                )
            ):
                yield info

    def archive(self, *, before_s: float, path: str | os.PathLike[str]) -> int:
        """Move chains saved before a time into a new zip file; see `ChainStore.archive`.

        The zip holds the files and `manifest.json` with the SHA-256 of each. It is read back and
        compared before anything is deleted.

        Returns
        -------
        int
            How many chains were moved; with none, no file is made.
        """
        places = [
            place
            for place in self._places()
            if place.stat().st_mtime < before_s and self._readable(place)
        ]
        if not places:
            return 0
        contents = {place.stem: place.read_bytes() for place in places}
        write_archive(path, contents)
        for place in places:
            if place.read_bytes() == contents[place.stem]:
                place.unlink()
        return len(places)

    def _place(self, id: str) -> Path:
        return self.directory / f"{check_id(id)}.json"

    def _places(self) -> Iterator[Path]:
        if self.directory.is_dir():
            for place in sorted(self.directory.glob("*.json")):
                if ID.fullmatch(place.stem):
                    yield place

    def _all(self) -> Iterator[tuple[ChainInfo, Chain]]:
        for place in self._places():
            chain = self._readable(place)
            if chain is not None:
                yield info_of(chain, place.stat().st_mtime), chain

    def _readable(self, place: Path) -> Chain | None:
        try:
            return self.load(place.stem)
        except (CorruptChainError, SchemaVersionError) as error:
            warnings.warn(str(error), CorruptChainWarning, stacklevel=4)
        except ChainNotFoundError:
            pass  # deleted by someone else meanwhile
        return None


def _sync(directory: Path) -> None:
    """Make the new name durable, where directories can be synced."""
    try:
        handle = os.open(directory, os.O_RDONLY)
    except OSError:
        return  # Windows opens no directories; its file system logs names by itself
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
