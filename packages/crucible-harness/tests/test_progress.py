"""What is seen of a run while it goes on."""

import io
from dataclasses import replace

import anyio
import pytest
from rich.console import Console
from virtual import Clocked, in_virtual_time
from worlds import sums

from crucible_harness import Condition, Experiment, run
from crucible_harness.hooks import Hooks
from crucible_harness.ledger import Budget, Ledger
from crucible_harness.limits import Providers
from crucible_harness.options import Limits
from crucible_harness.progress import Tally, bars, display


def seen(tally: Tally, width: int = 80) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(bars(tally))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_each_condition_has_a_bar_and_the_run_a_line():
    ledger = Ledger(Budget(total_usd=2.0))
    tally = Tally({"single": 4, "vote-5": 4}, finished={"single": 1}, ledger=ledger)
    tally.add("vote-5", failed=False)
    tally.add("single", failed=True)
    single, vote, facts = seen(tally)
    assert single.split()[0] == "single"
    assert (single.split()[-1], vote.split()[-1]) == ("2/4", "1/4")
    assert single.count("━") == 15  # half of thirty
    assert "1 failed" in facts
    assert "$0.00 of $2.00" in facts
    assert "left" in facts
    assert (tally.finished, tally.planned) == (3, 8)


def test_a_long_name_does_not_push_the_bar_out_of_a_narrow_screen():
    tally = Tally({"a" * 60: 1_000}, finished={})
    line = seen(tally, width=70)[0]
    assert len(line) <= 70
    assert line.endswith("0/1,000")


def test_markup_in_a_name_is_text():
    assert "[bold]x" in seen(Tally({"[bold]x": 1}, finished={}))[0]


def test_calls_that_wait_for_a_rate_are_named_while_they_wait(options):
    model = Clocked(takes_s=0.5)
    limits = {"clocked": Limits(requests_per_minute=60, concurrency=5)}
    shown: list[dict[str, int]] = []

    def look(cell: object, outcome: object) -> None:
        shown.append({name: limit.limiter.waiting for name, limit in limits.items()})

    experiment = Experiment(
        "waits", dataset=sums(6), seed=1,
        conditions=[Condition("c", model, max_tokens=10)],
    )  # fmt: skip
    in_virtual_time(
        lambda: run(
            experiment,
            options=replace(options, per_provider=limits, hooks=Hooks(after_cell=look)),
        )
    )
    # One a second: while the first is answered four wait, and at the end nobody.
    assert shown[0] == {"clocked": 4}
    assert shown[-1] == {"clocked": 0}


@pytest.mark.anyio
async def test_who_waits_is_said_in_the_line_and_below_the_bars():
    providers = Providers({"openai": Limits(requests_per_minute=60)}, concurrency=3)
    tally = Tally({"c": 2}, finished={"c": 1}, providers=providers)
    limiter = providers.of("openai/x")
    assert tally.line() == "1 of 2 cells (50%)"
    limiter.pause(3600)
    async with anyio.create_task_group() as group:
        group.start_soon(limiter.turn, 1)
        await anyio.wait_all_tasks_blocked()
        assert tally.line() == "1 of 2 cells (50%), 1 waiting on limits of openai"
        assert "1 waiting on limits of openai" in seen(tally)[-1]
        group.cancel_scope.cancel()
    assert tally.waiting() == ""


def test_bars_are_drawn_where_there_is_a_terminal(monkeypatch, capsys):
    import sys

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    tally = Tally({"c": 2}, finished={})
    with display(tally, "bar"):
        tally.add("c", failed=False)
    assert "1/2" in capsys.readouterr().err
