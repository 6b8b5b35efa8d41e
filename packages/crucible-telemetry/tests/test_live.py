import io

import pytest
from rich.console import Console

from crucible_telemetry import MemoryStore, start_experiment
from crucible_telemetry.errors import MissingExtraError
from crucible_telemetry.live import watch


def work(experiment):
    for _ in range(5):
        experiment.record("old", duration_s=9.0)
    for n in range(8):
        outcome = "ok" if n else "timeout"
        experiment.record("call [red]", duration_s=n / 10, outcome=outcome, cost_usd=0.25)
    experiment.flush()


def test_without_a_terminal_it_is_plain_text_of_the_latest_events():
    console = Console(file=io.StringIO(), width=120)
    with start_experiment(name="watched", store=MemoryStore(), capture_spans=False) as experiment:
        with watch(experiment, last_n=8, console=console):
            work(experiment)
        assert len(experiment.capture.channel.observers) == 1  # only its own statistics are left
    text = console.file.getvalue()
    assert "\x1b" not in text
    assert "watched · default · running" in text
    assert "last 8" in text
    assert "call [red]" in text  # a name is text, not markup
    assert "old" not in text  # not among the latest
    assert "13 stored, 0 waiting, cost 2 USD" in " ".join(text.split())


def test_on_a_terminal_it_renders_to_a_recorded_console():
    console = Console(file=io.StringIO(), width=120, force_terminal=True, record=True)
    with (
        start_experiment(name="watched", store=MemoryStore(), capture_spans=False) as experiment,
        watch(experiment, refresh_s=60, console=console),
    ):
        work(experiment)
    assert "\x1b" in console.file.getvalue()
    assert "call [red]" in console.export_text()


def test_nothing_yet_is_unknown():
    console = Console(file=io.StringIO(), width=120)
    with (
        start_experiment(name="empty", store=MemoryStore(), capture_spans=False) as experiment,
        watch(experiment, console=console),
    ):
        pass
    assert "cost unknown" in console.file.getvalue()


def test_bad_arguments_and_a_missing_extra(monkeypatch):
    with start_experiment(name="x", store=MemoryStore(), capture_spans=False) as experiment:
        for options, match in (({"last_n": 0}, "`last_n`"), ({"refresh_s": 0}, "`refresh_s`")):
            with pytest.raises(ValueError, match=match), watch(experiment, **options):
                pass
        monkeypatch.setattr("crucible_telemetry.extras.find_spec", lambda name: None)
        with pytest.raises(MissingExtraError, match="live"), watch(experiment):
            pass
