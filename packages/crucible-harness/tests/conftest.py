"""Experiments that need no weights."""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from crucible_ensemble import Ensemble
from crucible_harness import Condition, Experiment, Hypothesis, RunOptions, run_sync
from crucible_harness.options import ErrorPolicy

sys.path.insert(0, str(Path(__file__).parent))
from killing import Forks
from programs import require
from worlds import Replay, simulated, sums

# Neither the speed of the machine nor what else it does decides a test.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def vote() -> Callable[..., Experiment]:
    """Return a maker of: one sample against a vote of five of the same model."""

    def make(n: int = 12, **model: object) -> Experiment:
        asked = simulated(**model)
        return Experiment(
            "vote",
            dataset=sums(n),
            conditions=[
                Condition(name="single", model=asked, temperature=0.7),
                Condition(
                    name="vote-5",
                    model=Ensemble([asked], samples=5, normalise="numeric", name="vote-5"),
                    temperature=0.7,
                ),
            ],
            metrics=("accuracy", "cost_usd"),
            seed=7,
            hypotheses=[
                Hypothesis(
                    id="h1", metric="accuracy", treatment="vote-5", control="single", sesoi=0.05
                )
            ],
        )

    return make


@pytest.fixture
def options(tmp_path: Path) -> RunOptions:
    """Return options that leave telemetry out, for tests that are not about it."""
    return RunOptions(directory=tmp_path / "runs", telemetry=False, progress="none")


@pytest.fixture
def replayed() -> Callable[..., Experiment]:
    """Return a maker of experiments whose outcomes are given: one string of 0, 1, ! a condition."""

    def make(outcomes: Mapping[str, str], **design: object) -> Experiment:
        n = len(next(iter(outcomes.values())))
        data = sums(n)
        return Experiment(
            "replayed",
            dataset=data,
            conditions=[
                Condition(
                    name=name,
                    model=Replay(name, {i.input: o for i, o in zip(data, row, strict=True)}),
                )
                for name, row in outcomes.items()
            ],
            **{"metrics": ("accuracy",), "seed": 1, **design},
        )

    return make


@pytest.fixture(scope="session")
def forks(tmp_path_factory) -> Iterator[Forks]:
    """Return a program that forks runs, for tests that kill them."""
    made = Forks(tmp_path_factory.mktemp("program"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    chromium = require("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """Return a page that collects what must not happen: requests, errors, policy violations."""
    page = browser.new_page()
    page.trouble = []
    page.on("request", lambda request: page.trouble.append(request.url))
    page.on("console", lambda message: page.trouble.append(message.text))
    page.on("pageerror", lambda error: page.trouble.append(str(error)))
    yield page
    page.close()


@pytest.fixture
def finished(replayed, options):
    """Return the folder of a run with a verdict, failures and a correction."""
    rows = {"a": "11011!0100" * 3, "b": "1111110111" * 3, "c": "0101110010" * 3}
    claims = [
        Hypothesis(id=f"h{t}", metric="accuracy", treatment=t, control="a", sesoi=0.05)
        for t in "bc"
    ]
    experiment = replayed(
        rows, hypotheses=claims, metrics=("accuracy", "latency_s:p95", "cost_usd")
    )
    return run_sync(
        experiment, options=replace(options, errors=ErrorPolicy(max_failure_rate=1.0))
    ).path
