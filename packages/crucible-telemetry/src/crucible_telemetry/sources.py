"""From an experiment, or its id, to the store that has its events."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crucible_telemetry.experiment import Experiment
from crucible_telemetry.process import PROCESS
from crucible_telemetry.stores.opening import open_store
from crucible_telemetry.stores.port import Store


@contextmanager
def located(
    experiment: Experiment | str, store: Store | str | Path | None
) -> Iterator[tuple[Store, str]]:
    """Yield the store of an experiment and its id, with everything recorded so far durable.

    An id is looked for among this process's experiments; otherwise `store` is opened, by default
    as `open_store` does, and closed again.
    """
    live = experiment if isinstance(experiment, Experiment) else PROCESS.find(experiment)
    id = experiment.id if isinstance(experiment, Experiment) else experiment
    if live is not None:
        live.drain()
    if isinstance(store, Store):
        yield store, id
    elif store is None and live is not None:
        yield live.store, id
    else:
        opened = open_store(store)
        try:
            yield opened, id
        finally:
            opened.close()
