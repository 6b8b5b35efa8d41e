import json

import pytest

from crucible_telemetry import MemoryStore, calculate_metrics, export, query, start_experiment
from crucible_telemetry.errors import ExperimentStateError, ExportError, StoreUnavailableError
from crucible_telemetry.exports import import_events


def stopped(store, **options):
    with start_experiment(name="a", store=store, capture_spans=False, **options) as experiment:
        for n in range(10):
            experiment.record("call", n=n, duration_s=1.0, outcome="ok")
    return experiment


def test_events_move_to_a_file_and_come_back(every_store, tmp_path):
    experiment, other = stopped(every_store), stopped(every_store)
    before = [event.to_dict() for event in experiment.events()]
    path = experiment.archive(tmp_path / "a.jsonl")
    assert experiment.state == "archived"
    record = query.experiment(every_store, experiment.id)
    assert record.state == "archived"
    assert [state for state, _ in record.transitions] == ["running", "stopped", "archived"]
    manifest = json.loads(path.with_name("a.jsonl.manifest.json").read_text())
    assert manifest["experiment"]["state"] == "stopped"
    assert len(list(other.events())) == 10  # nobody else's are touched

    for read in (
        lambda: list(experiment.events()),
        lambda: calculate_metrics(experiment),
        lambda: export(experiment, "csv", path=tmp_path / "x.csv"),
    ):
        # Empty metrics would look like an experiment in which nothing happened.
        with pytest.raises(
            ExperimentStateError, match="cannot read events: the experiment is arch"
        ):
            read()

    assert import_events(path, every_store) == 10
    again = list(query.events(every_store, experiment.id))
    assert [event.to_dict() for event in again] == before


def test_only_a_stopped_experiment_can_be_archived_and_only_once(tmp_path):
    store = MemoryStore()
    with (
        start_experiment(name="a", store=store, capture_spans=False) as experiment,
        pytest.raises(ExperimentStateError, match="cannot archive: the experiment is running"),
    ):
        experiment.archive(tmp_path / "a.jsonl")
    experiment.archive(tmp_path / "a.jsonl")
    with pytest.raises(ExperimentStateError, match="cannot archive: the experiment is archived"):
        experiment.archive(tmp_path / "b.jsonl")
    with pytest.raises(ExperimentStateError, match="cannot record: the experiment is archived"):
        experiment.record("late")
    assert experiment.stop().state == "archived"


def test_a_file_that_came_out_wrong_deletes_nothing(tmp_path, monkeypatch):
    experiment = stopped(MemoryStore())

    def damaged(*arguments, **options):
        path = export(*arguments, **options)
        path.write_text(path.read_text().replace('"n":3', '"n":4'))
        return path

    monkeypatch.setattr("crucible_telemetry.archive.export", damaged)
    with pytest.raises(ExportError, match="not the file that its manifest describes"):
        experiment.archive(tmp_path / "a.jsonl")
    assert experiment.state == "stopped"
    assert len(list(experiment.events())) == 10


def test_a_store_that_cannot_erase_is_named(tmp_path):
    class Keeps(MemoryStore):
        erase = None

    experiment = stopped(Keeps())
    with pytest.raises(StoreUnavailableError, match="has no method `erase`"):
        experiment.archive(tmp_path / "a.jsonl")


def test_a_store_opened_by_its_path_is_released_again(tmp_path):
    experiment = stopped(tmp_path / "t.sqlite")
    experiment.archive(tmp_path / "a.jsonl")
    assert [path.name for path in tmp_path.glob("t.sqlite-*")] == []
