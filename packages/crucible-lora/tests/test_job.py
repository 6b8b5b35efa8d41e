import pytest

from crucible_lora import create_experiment, resume, train
from crucible_lora.demo import demo_findings
from crucible_lora.errors import LoraError

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"]),
]


@pytest.fixture
def make(tmp_path):
    def make(folder="lora"):
        config = {"base_model": "reference", "rank": 2, "lr": 1e-2}
        return create_experiment("demo", config, directory=tmp_path / folder)

    return make


async def test_a_job_is_a_run_that_can_be_watched(make):
    job = make().job(demo_findings(16), epochs=3)
    assert job.status().state == "waiting"
    assert job.status().total == 6
    steps, etas = [], []
    async with job:
        async for row in job.events():
            steps.append(row.step)
            etas.append(job.status().eta_s)
    report = await job.result()
    assert steps == [1, 2, 3, 4, 5, 6]
    assert all(eta is None or eta >= 0 for eta in etas)
    status = job.status()
    assert (status.state, status.step, status.total, status.eta_s) == ("completed", 6, 6, None)
    assert status.loss == report.history[-1].loss
    plain = await train(make("other"), demo_findings(16), epochs=3)
    assert report.checkpoints[-1].sha256 == plain.checkpoints[-1].sha256
    assert [row.step async for row in job.events()] == steps  # told again to whoever comes late


async def test_a_cancelled_job_ends_at_its_next_update_and_can_be_resumed(make):
    experiment = make()
    async with experiment.job(demo_findings(40), epochs=9) as job:
        async for row in job.events():
            if row.step == 3:
                job.cancel()
    report = await job.result()
    assert job.status().state == "cancelled"
    assert report.stopped == "cancelled"
    assert 3 <= report.steps < 45
    assert experiment.checkpoints().get("latest").step == report.steps
    assert (await resume(experiment)).steps == 45


async def test_a_job_without_patience_judges_nothing(make):
    items = demo_findings(60)
    options = {"holdout": 0.5, "quality_targets": {"exact_match": 0.5}}
    async with make().job(items, epochs=9, **options) as job:
        job.cancel()
    assert (await job.result()).quality is None


async def test_an_error_of_the_run_is_raised_by_its_result(make):
    def fail(row):
        raise RuntimeError("full")

    async with make().job(demo_findings(8), on_step=fail) as job:
        pass
    assert job.status().state == "failed"
    with pytest.raises(RuntimeError, match="full"):
        await job.result()
    with pytest.raises(LoraError, match="a job runs once"):
        async with job:
            pass


async def test_an_error_of_the_caller_cancels_the_run(make):
    experiment = make()
    job = experiment.job(demo_findings(40), epochs=99)

    async def fail():
        async with job:
            async for _ in job.events():
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert job.status().state == "cancelled"
    with pytest.raises(LoraError, match="cancelled with its caller"):
        await job.result()
    assert experiment.checkpoints().get("latest").step < 495


async def test_two_jobs_train_beside_each_other_as_alone(make):
    async with (
        make("a").job(demo_findings(16), epochs=2) as one,
        make("b").job(demo_findings(16), epochs=2) as two,
    ):
        reports = [await one.result(), await two.result()]
    alone = await train(make("c"), demo_findings(16), epochs=2)
    assert {r.checkpoints[-1].sha256 for r in reports} == {alone.checkpoints[-1].sha256}


async def test_a_bad_argument_is_named_before_the_job_begins(make):
    with pytest.raises(ValueError, match="`epochs` must be >= 1"):
        make().job(demo_findings(8), epochs=0)
    with pytest.raises(ValueError, match="must not be empty"):
        make().job([])
    with pytest.raises(ValueError, match="`loss` must be one of"):
        make().job(demo_findings(8), loss="huber")
