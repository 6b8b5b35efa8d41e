"""Calls made by actors of a local Ray."""

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from worlds import simulated, sums

from crucible_ensemble import Completion, Ensemble
from crucible_harness import Condition, Experiment, run, run_sync
from crucible_harness.errors import NotPicklableError
from crucible_harness.executors.ray import RayExecutor
from crucible_harness.options import ErrorPolicy

FILES = ("results.csv", "results.parquet", "analysis.json", "dead_letters.jsonl", "schedule.csv")


@pytest.fixture(scope="module")
def ray() -> Iterator[object]:
    """Start Ray once; a RayExecutor uses the one that runs."""
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    import ray

    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # where the actors find `worlds`
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()
    os.environ.pop("PYTHONPATH")
    if before is not None:
        os.environ["PYTHONPATH"] = before


def asking(model: object, n: int = 12) -> Experiment:
    return Experiment(
        "far", dataset=sums(n), seed=2, metrics=("accuracy", "cost_usd"),
        conditions=[
            Condition(name="single", model=model, temperature=0.7),
            Condition(name="vote-3", temperature=0.7,
                      model=Ensemble([model], samples=3, normalise="numeric", name="vote-3")),
        ],
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_on_actors_the_bytes_are_those_of_a_local_run(ray, options, tmp_path):
    lenient = replace(options, errors=ErrorPolicy(max_failure_rate=1.0))
    model = simulated(failure_rate=0.1)
    local = run_sync(asking(model), options=lenient)
    assert local.failed > 0
    for backend in ("asyncio", "trio"):
        far = replace(
            lenient, directory=tmp_path / backend,
            executor=RayExecutor(actors=2, concurrency_per_actor=5),
        )  # fmt: skip

        async def main(far=far) -> Path:
            return (await run(asking(model), options=far)).path

        path = anyio.run(main, backend=backend)
        for name in FILES:
            assert (path / name).read_bytes() == (local.path / name).read_bytes(), name


class Deadly:
    """Ends the process that it runs in at its first call; a file remembers that it did."""

    name = "deadly/m"

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def fingerprint(self) -> dict[str, object]:
        return {"model": self.name}

    async def generate(self, prompt, /, **options):
        try:
            self._mark.touch(exist_ok=False)
        except FileExistsError:
            return Completion(text="1", model=self.name, cost_usd=0.01, latency_s=0.1)
        os._exit(1)


def test_a_call_that_its_actor_took_with_it_is_possibly_billed_and_sent_again(
    ray, options, tmp_path
):
    experiment = Experiment(
        "lost", dataset=sums(6), seed=1, metrics=("accuracy",),
        conditions=[Condition(name="a", model=Deadly(tmp_path / "mark"))],
    )  # fmt: skip
    far = replace(options, concurrency=1, executor=RayExecutor(actors=1))
    result = run_sync(experiment, options=far)
    assert (result.status, result.failed, result.calls_sent) == ("complete", 0, 7)
    (lost,) = result.possibly_billed
    assert lost.condition == "a"


def test_a_model_that_cannot_travel_is_refused_before_the_first_call(ray, options):
    class Stuck(Deadly):
        def __init__(self) -> None:
            self._lock = threading.Lock()

    with pytest.raises(NotPicklableError, match="deadly/m"):
        run_sync(
            Experiment(
                "stuck", dataset=sums(2), seed=1, conditions=[Condition(name="a", model=Stuck())]
            ),
            options=replace(options, executor=RayExecutor(actors=1)),
        )


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="`actors` must be >= 1, got 0"):
        RayExecutor(actors=0)
    with pytest.raises(ValueError, match="`concurrency_per_actor`"):
        RayExecutor(actors=1, concurrency_per_actor=0)
