"""The write-ahead log is folded into its database beside the run, not in the midst of it."""

import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path
from queue import SimpleQueue


class Checkpoints:
    """A thread that copies the log of a SQLite file into the file, whenever it is told to.

    A writer that does it itself waits for the disk, about 15 ms each time; every call in flight
    waits with it. Begun elsewhere it is passive: neither side waits for the other, and what it
    leaves in the log is copied the next time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._asked: SimpleQueue[bool] = SimpleQueue()
        self._thread = threading.Thread(
            target=self._work, name="crucible-journal-checkpoints", daemon=True
        )
        self._thread.start()

    def begin(self) -> None:
        """Have it done soon."""
        self._asked.put(True)

    def end(self) -> None:
        """Wait until what was begun is done, and do no more."""
        self._asked.put(False)
        self._thread.join()

    def _work(self) -> None:
        with closing(sqlite3.connect(self._path, isolation_level=None)) as db:
            while self._asked.get():
                # Where the disk fails, the log holds every row still, and the writer meets it too.
                with suppress(sqlite3.DatabaseError):
                    db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
