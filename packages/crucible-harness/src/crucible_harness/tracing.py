"""The run's spans: captured while it runs, drawn as decisions when it has ended."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from crucible_harness.cell_spans import mark_spans
from crucible_harness.experiment import Experiment
from crucible_harness.files import replace_file
from crucible_harness.folder import Folder

if TYPE_CHECKING:
    from crucible_causaltrace import Chain


@contextmanager
def captured(experiment: Experiment, folder: Folder, *, enabled: bool) -> Iterator[None]:
    """Store every span that starts inside in the folder's `telemetry.sqlite`, without loss."""
    if not enabled:
        yield
        return
    from crucible_telemetry import SQLiteStore, start_experiment

    store = SQLiteStore(folder.telemetry)
    try:
        capture = start_experiment(
            name=experiment.name,
            condition="all",
            seed=experiment.seed,
            metadata={"digest": experiment.digest, "package": "crucible-harness"},
            store=store,
        )
        try:
            mark_spans()
            yield
        finally:
            capture.stop()
    finally:
        store.close()


@contextmanager
def run_span(experiment: Experiment) -> Iterator[Callable[..., None]]:
    """Trace the run; what is yielded adds facts to its span."""
    with trace.get_tracer("crucible_harness").start_as_current_span(
        "crucible.harness.run", attributes={"crucible.harness.digest": experiment.digest}
    ) as span:

        def record(**facts: str | int) -> None:
            for name, value in facts.items():
                span.set_attribute(f"crucible.harness.{name}", value)

        yield record


def write_trace(folder: Folder) -> None:
    """Draw the run's decisions as `trace.html`, with `trace.json` beside it."""
    from crucible_causaltrace import export_chain, render_html

    chain = run_chain(folder)
    title = f"Decisions of {folder.manifest()['name']}"
    replace_file(folder.path / "trace.html", render_html(chain, title=title))
    replace_file(folder.path / "trace.json", export_chain(chain, "json"))


def run_chain(folder: Folder) -> "Chain":
    """Return what the system decided in a run, from its recorded spans."""
    from crucible_causaltrace import chain_from_events

    manifest = folder.manifest()
    return chain_from_events(
        _events(folder), task=str(manifest["name"]), id=str(manifest["digest"])
    )


def _events(folder: Folder) -> Iterator[Mapping[str, Any]]:
    """Yield what every process that worked on the run has recorded, in order of time.

    Spans hold no answers; what a vote decided is taken from the journal.
    """
    from crucible_telemetry import SQLiteStore
    from crucible_telemetry.query import events, experiments

    store = SQLiteStore(folder.telemetry)
    journal = folder.open_journal()
    try:
        cells = journal.cells()
        for experiment in experiments(store):
            spans = [event.to_dict() for event in events(store, experiment.id)]
            by_id = {span["span_id"]: span for span in spans}
            for span in spans:
                if span["name"] == "crucible.ensemble.vote":
                    span["attributes"] = {**span["attributes"], **_decided(span, by_id, cells)}
                yield span
    finally:
        journal.close()
        store.close()


def _decided(
    vote: Mapping[str, Any],
    spans: Mapping[str, Mapping[str, Any]],
    cells: Mapping[tuple[str, str, int], tuple[str, Mapping[str, Any]]],
) -> dict[str, Any]:
    """Return winner and counts of the vote that answered a cell; nothing for votes inside votes."""
    predict = spans.get(vote["parent_span_id"], {})
    cell = spans.get(predict.get("parent_span_id", ""), {})
    if cell.get("name") != "crucible.harness.cell":
        return {}
    key = cell["attributes"].get("crucible.condition"), cell["item_id"], cell["repeat"] or 0
    _, record = cells.get(key, ("", {}))
    found = {"answer": record.get("winner"), "votes": record.get("votes")}
    return {f"crucible.ensemble.{name}": v for name, v in found.items() if v is not None}
