"""Whether the rows of a journal are those that were written: each carries the hash of the last."""

from crucible_harness.journal_store import Store
from crucible_harness.tables import TABLES, chained


def broken_row(store: Store, design: str) -> str | None:
    """Return the first row whose hash does not follow from those before it, such as "calls row 3".

    Parameters
    ----------
    store : Store
    design : str
        Digest of the run, since several may share a database.
    """
    for table, columns in TABLES.items():
        last = ""
        rows = store.rows(
            f"SELECT n, row_hash, {', '.join(columns)} FROM {table} WHERE design = :d ORDER BY n",
            d=design,
        )
        for place, (n, stored, *values) in enumerate(rows, 1):
            if n != place or chained(last, tuple(values)) != stored:
                return f"{table} row {place}"
            last = stored
    return None
