"""Real process exits at each fault point, and kills at random: acceptance 13 of the specification."""

import random

import pytest
from killing import ALL, FILES, Forks, Killed, kill_at_random


@pytest.fixture(scope="module")
def whole(forks: Forks, tmp_path_factory) -> Killed:
    """Return the run that nothing interrupted."""
    run = Killed(forks, tmp_path_factory.mktemp("whole"), REPORT=ALL)
    assert run.finish() == ("complete", 24, 0)
    assert len(run.bytes()) == len(FILES)
    return run


@pytest.mark.parametrize(
    ("point", "asked_again", "billed"),
    [
        ("before intent:5", 0, 0),  # (a)
        ("after intent:5", 0, 1),  # (b): not sent yet, but nobody can know; sent once after all
        ("before row:5", 1, 1),  # (c): answered, and its answer lost
        ("after row:5", 0, 0),  # (d)
        ("before cell:5", 0, 0),  # (e)
        ("report:3", 0, 0),  # (f)
    ],
)
def test_after_an_exit_at_a_fault_point_the_bytes_are_the_same(
    tmp_path, forks, whole, point, asked_again, billed
):
    # Reports depend on the other files alone; where those are cut off, all of them are compared.
    run = Killed(forks, tmp_path / "run", REPORT=ALL if point.startswith("report") else "markdown")
    run.begin(FAULT=point)
    assert run.end() == 9
    status, _, possibly = run.finish()
    assert (status, possibly) == ("complete", billed)
    assert (run.said().total(), len(run.said())) == (24 + asked_again, 24)
    files = run.bytes()
    assert "report.md" in files
    assert files == {name: whole.bytes()[name] for name in files}
    manifest = run.manifest()
    assert len(manifest["possibly_billed"]) == billed
    if billed:
        assert manifest["possibly_billed"][0]["leaf_key"]


def test_twenty_kills_at_random_repeat_no_call_that_was_written_down(tmp_path, forks):
    """400 calls of 50 ms, 20 at a time, kill -9 twenty times: section 6 of the specification."""
    about = {"ITEMS": "100", "SAMPLES": "4", "CONCURRENCY": "20", "REPORT": "markdown"}
    run = Killed(forks, tmp_path / "run", TAKES_S="0.05", **about)
    kill_at_random(run, random.Random(13), times=20)
    status, _, billed = run.finish()
    assert status == "complete"
    asked, answered = run.said(), run.said("answered")
    assert len(asked) == 400
    # What was asked again is listed as possibly billed, once for each time, and nothing else was.
    assert asked.total() - 400 <= billed <= 20 * 20
    # An answer and its row are one step of the event loop, so a kill can come between them for one
    # call at most; how rarely it does is measured by scripts/bench_harness.py.
    assert answered.total() - 400 <= 20
    whole = Killed(forks, tmp_path / "whole", **about)
    assert whole.finish() == ("complete", 400, 0)
    # The model says that a call took 0 s in both, so even latencies are the same bytes.
    assert run.bytes() == whole.bytes()
