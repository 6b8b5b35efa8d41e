import csv
import json
import math

import numpy as np
import pyarrow.parquet
import pytest
from scipy import stats

from crucible_lora import InProcessBackend, LoraConfig, sweep
from crucible_lora.demo import demo_findings, findings_schema
from crucible_lora.schemas import JsonSchema
from crucible_lora.space import LogUniform, Uniform, check_space, draw, grid, run_id, run_seed
from crucible_lora.sweep_report import SweepReport, SweepRun, as_good, estimate_optimism, rank

pytestmark = pytest.mark.anyio
CONFIG = LoraConfig(base_model="reference", rank=2, learning_rate=1e-2)
SCHEMA = JsonSchema(findings_schema())
OPTIONS = {
    "metric": "nll",
    "direction": "min",
    "dataset": demo_findings(16),
    "validation": demo_findings(10, held_out=True),
    "epochs": 1,
    "progress": False,
}


class Counting(InProcessBackend):
    """Counts the updates that were really made."""

    def __init__(self):
        self.updates = self.opened = 0

    def _counted(self, session):
        self.opened += 1
        step = session.train_step

        async def counting(batch, /, *, update):
            self.updates += 1
            return await step(batch, update=update)

        session.train_step = counting
        return session

    async def create(self, config, /, *, seed):
        return self._counted(await super().create(config, seed=seed))

    async def resume(self, config, path, /):
        return self._counted(await super().resume(config, path))


def test_names_and_seeds_of_runs_are_hashes_of_what_they_are():
    import hashlib

    text = '{"params":{"learning_rate":0.01},"replication":2,"sweep":"rates"}'
    name = run_id("rates", {"learning_rate": 0.01}, 2)
    assert name == hashlib.sha256(text.encode()).hexdigest()[:12]
    digest = hashlib.sha256(f"7\x1f{name}".encode()).digest()
    assert run_seed(7, name) == int.from_bytes(digest[:8], "big") % 2**63


def test_a_grid_is_every_combination():
    assert grid({"rank": [2, 4], "dropout": [0.0, 0.1]}) == [
        {"rank": 2, "dropout": 0.0},
        {"rank": 2, "dropout": 0.1},
        {"rank": 4, "dropout": 0.0},
        {"rank": 4, "dropout": 0.1},
    ]


def test_draws_are_different_and_spread_over_their_range():
    space = {"learning_rate": LogUniform(1e-4, 1e-1), "dropout": Uniform(0.0, 0.5)}
    found = draw(space, 300, seed=0, name="x")
    assert found == draw(space, 300, seed=0, name="x")
    assert found != draw(space, 300, seed=1, name="x")
    assert found[:20] == draw(space, 20, seed=0, name="x")
    logs = [math.log10(p["learning_rate"]) for p in found]
    # Uniform in the logarithm: Kolmogorov and Smirnov see nothing else.
    assert stats.kstest(logs, stats.uniform(-4, 3).cdf).pvalue > 0.01
    assert stats.kstest([p["dropout"] for p in found], stats.uniform(0, 0.5).cdf).pvalue > 0.01
    every = draw({"rank": [1, 2, 3]}, 3, seed=0, name="x")
    assert sorted(p["rank"] for p in every) == [1, 2, 3]
    with pytest.raises(ValueError, match="`n` must be <= the 3 combinations of `space`, got 4"):
        draw({"rank": [1, 2, 3]}, 4, seed=0, name="x")


def test_numbers_of_numpy_are_numbers():
    found = check_space({"rank": list(np.array([2, 4]))}, method="grid")
    assert [type(v) for v in found["rank"]] == [int, int]
    assert len(run_id("x", {"rank": found["rank"][0]}, 0)) == 12


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "must not be empty"),
        ({"rank": 8}, "sequences or ranges, got 8 for 'rank'"),
        ({"schedule": "linear"}, "sequences or ranges, got 'linear'"),
        ({"rank": []}, "must hold choices"),
        ({"rnak": [1]}, "must name fields of LoraConfig or epochs, batch_size, accumulate"),
        ({"lr": [1], "learning_rate": [1]}, "name 'learning_rate' once"),
        ({"lr": Uniform(0, 1)}, "must list values in a grid"),
    ],
)
def test_a_space_that_is_none_is_refused(space, message):
    with pytest.raises(ValueError, match=message):
        check_space(space, method="grid")
    with pytest.raises(ValueError, match="`low` must be"):
        Uniform(1, 1)
    with pytest.raises(ValueError, match="`low` must be > 0"):
        LogUniform(0, 1)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    import anyio

    backend = Counting()

    async def run():
        return await sweep(
            "rates", CONFIG, space={"lr": [1e-4, 3e-2], "batch_size": [4, 8]}, replications=2,
            test=demo_findings(12, seed=3, held_out=True)[:6], directory=tmp_path_factory.mktemp("lora"),
            backend=backend, **{**OPTIONS, "validation": demo_findings(10, seed=9, held_out=True)},
        )  # fmt: skip

    return anyio.run(run), backend


def test_every_combination_is_trained_with_every_seed(swept):
    report, backend = swept
    assert len(report.runs) == 8
    assert [c.n for c in report.ranking] == [2] * 4
    assert report.updates == backend.updates == 2 * (4 + 2) * 2
    assert {run.seed for run in report.runs} == {run_seed(0, run.run_id) for run in report.runs}
    assert report.best.params["learning_rate"] == 3e-2
    best = report.ranking[0]
    values = [run.value for run in report.runs if run.run_id in best.run_ids]
    assert best.mean == pytest.approx(np.mean(values))
    expected = stats.t.interval(0.95, 1, np.mean(values), stats.sem(values))
    assert (best.low, best.high) == pytest.approx(expected)
    means = [config.mean for config in report.ranking]
    assert means == sorted(means)


def test_the_winner_is_looked_at_on_the_test_items(swept):
    report, _ = swept
    assert report.test.n_items == 6
    winner = next(run for run in report.runs if run.run_id == report.best.run_ids[0])
    assert report.test.experiment_id == winner.experiment_id
    assert "On 6 test items, looked at once" in report.markdown()


def test_a_sweep_is_told_in_every_form(swept, tmp_path):
    report, _ = swept
    assert SweepReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    report.to_csv(tmp_path / "runs.csv")
    report.to_json(tmp_path / "runs.json")
    report.to_parquet(tmp_path / "runs.parquet")
    with (tmp_path / "runs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["nll"]) for row in rows] == [run.value for run in report.runs]
    table = pyarrow.parquet.read_table(tmp_path / "runs.parquet").to_pylist()
    assert table == json.loads((tmp_path / "runs.json").read_text(encoding="utf-8"))
    assert {row["params.batch_size"] for row in table} == {4, 8}


async def test_neither_concurrency_nor_order_changes_a_result(tmp_path):
    one, four = [
        await sweep(
            "rates", CONFIG, space={"lr": rates}, concurrency=c, directory=tmp_path / str(c),
            replications=2, **OPTIONS,
        )
        for c, rates in ((1, [1e-3, 1e-2]), (4, [1e-2, 1e-3]))
    ]  # fmt: skip
    by_name = [{run.run_id: run.value for run in report.runs} for report in (one, four)]
    assert by_name[0] == by_name[1]
    assert one.ranking == four.ranking
    assert one.optimism == pytest.approx(four.optimism, abs=0.05)


async def test_a_killed_sweep_goes_on_and_repeats_nothing(tmp_path):
    class Killed(BaseException):
        pass

    class Dying(Counting):
        async def create(self, config, /, *, seed):
            session = await super().create(config, seed=seed)
            step = session.train_step

            async def dying(batch, /, *, update):
                if self.updates == 9:
                    raise Killed
                return await step(batch, update=update)

            session.train_step = dying
            return session

    options = {
        **OPTIONS, "space": {"lr": [1e-3, 1e-2]}, "replications": 2, "epochs": 2, "batch_size": 4,
        "checkpoint_every": 2, "test": demo_findings(4, seed=5, held_out=True),
        "validation": demo_findings(10, seed=9, held_out=True),
    }  # fmt: skip
    whole = await sweep("s", CONFIG, directory=tmp_path / "a", backend=Counting(), **options)
    dying = Dying()
    with pytest.raises(BaseExceptionGroup) as caught:
        await sweep("s", CONFIG, directory=tmp_path / "b", backend=dying, **options)
    assert caught.group_contains(Killed)
    assert dying.updates == 9  # one whole run of 8, and one more update
    second = Counting()
    resumed = await sweep("s", CONFIG, directory=tmp_path / "b", backend=second, **options)
    assert resumed.ranking == whole.ranking
    assert second.updates == 4 * 8 - 8 - 1 + 1  # the ninth was behind no checkpoint
    third = Counting()
    again = await sweep("s", CONFIG, directory=tmp_path / "b", backend=third, **options)
    assert (third.updates, third.opened) == (0, 0)  # nothing was even scored again
    assert again.to_dict() == resumed.to_dict()  # the test items were not asked again


async def test_halving_goes_on_from_checkpoints_under_one_schedule(tmp_path):
    # 27 x 10, 9 x 30, 3 x 90, 1 x 270: 270 + 9 (30 - 10) + 3 (90 - 30) + (270 - 90) = 810
    backend = Counting()
    report = await sweep(
        "halves", CONFIG, space={"lr": LogUniform(1e-4, 3e-2)}, method="halving", n=27, eta=3,
        min_steps=10, max_steps=270, replications=1, directory=tmp_path, backend=backend,
        **{**OPTIONS, "dataset": demo_findings(2), "epochs": 300, "batch_size": 2},
    )  # fmt: skip
    assert [(r.configs, r.steps) for r in report.rungs] == [(27, 10), (9, 30), (3, 90), (1, 270)]
    assert backend.updates == report.updates == 810
    assert report.best.steps == 270
    assert sorted({c.steps for c in report.ranking}) == [10, 30, 90, 270]
    assert report.optimism is None
    assert "`test` tells" in report.optimism_reason
    for now, later in ((10, 30), (30, 90), (90, 270)):  # those that went on were the best
        files = {
            p.stem.partition("-")[0]: p for p in tmp_path.glob(f"sweep-*/results/*-{now}.json")
        }
        values = {run: json.loads(p.read_text())["value"] for run, p in files.items()}
        went_on = {
            p.stem.partition("-")[0] for p in tmp_path.glob(f"sweep-*/results/*-{later}.json")
        }
        assert went_on == set(sorted(values, key=lambda r: (values[r], r))[: len(went_on)])
    # The schedule is that of 270 updates all along: the winner's rate falls to nothing at its end.
    winner = next(run for run in report.runs if run.run_id == report.best.run_ids[0])
    from crucible_lora import LoraExperiment

    history = LoraExperiment.open(
        next(tmp_path.glob(f"sweep-*/runs/{winner.experiment_id}"))
    ).history()
    rate = winner.params["learning_rate"]
    # 13 updates of warm-up (5 % of 270), then linear
    assert history[9].learning_rate == pytest.approx(rate * 10 / 13)
    assert history[269].learning_rate == pytest.approx(rate * (1 - 256 / 257))


async def test_a_run_that_diverges_ranks_last_and_is_told(tmp_path):
    from crucible_lora.losses import CrossEntropy

    class Bursting(CrossEntropy):
        @property
        def name(self):
            return "bursting"

        def __call__(self, logits, targets, weights, /):
            value, gradient = CrossEntropy()(logits, targets, weights)
            return (math.nan if np.abs(logits).max() > 30 else value), gradient

    report = await sweep(
        "burst", CONFIG, space={"lr": [1e-3, 1e3]}, replications=1, directory=tmp_path,
        loss=Bursting(), **{**OPTIONS, "epochs": 8, "batch_size": 4},
    )  # fmt: skip
    assert report.ranking[-1].params == {"learning_rate": 1e3}
    assert report.ranking[-1].mean is None
    assert "not finite three times" in next(r.reason for r in report.runs if r.value is None)
    assert report.best.params == {"learning_rate": 1e-3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "nil"}, "metric 'nil' must be one of"),
        ({"metric": "perplexity"}, "metric 'perplexity' must be one of"),
        ({"direction": "max"}, "`direction` must be min for nll"),
        ({"metric": "schema_compliance", "direction": "max"}, "needs a `schema`: give one"),
        ({"method": "random"}, "`n` must be >= 1 for random, got None"),
        ({"n": 3}, "`n` must be None for a grid"),
        ({"method": "halving", "n": 3}, r"`min_steps` must be in \[1, `max_steps`\]"),
        ({"min_steps": 3}, "`min_steps` must be None for grid"),
        ({"method": "best"}, "`method` must be grid, random or halving"),
        ({"replications": 0}, "`replications` must be >= 1"),
        ({"concurrency": 0}, "`concurrency` must be >= 1"),
        ({"eta": 1}, "`eta` must be >= 2"),
        ({"seed": -1}, "`seed` must be >= 0"),
        ({"space": {"lr": [-1.0]}}, "`learning_rate` must be > 0, got -1.0"),
        ({"space": {"epochs": [0]}}, "`epochs` must be >= 1, got 0"),
        ({"validation": demo_findings(3)}, "`validation` must hold no prompt that was learned"),
        ({"test": demo_findings(3, held_out=True)}, "`test` must hold no prompt"),
    ],
)
async def test_bad_arguments_are_named_before_anything_is_trained(tmp_path, options, message):
    backend = Counting()
    arguments = {"space": {"lr": [1e-2]}, **OPTIONS, **options}
    with pytest.raises(ValueError, match=message):
        await sweep("bad", CONFIG, directory=tmp_path, backend=backend, **arguments)
    assert backend.updates == 0


def run(config, replication, value, steps=10):
    return SweepRun(
        run_id=f"{config}{replication}", experiment_id="e", params={"rank": config},
        replication=replication, seed=0, round=0, steps=steps, value=value,
    )  # fmt: skip


def test_configurations_that_may_be_as_good_are_named():
    values = {1: (0.80, 0.82, 0.81), 2: (0.79, 0.83, 0.80), 3: (0.50, 0.52, 0.49)}
    runs = [run(c, i, v) for c, vs in values.items() for i, v in enumerate(vs)]
    ranking = rank(runs, direction="max")
    assert [c.params["rank"] for c in ranking] == [1, 2, 3]
    # differences of 2 to 1: -.01 +.01 -.01, t interval holds 0; of 3: -.30 -.30 -.32, it does not
    assert [c.params["rank"] for c in as_good(ranking, runs)] == [2]
    assert [c.params["rank"] for c in rank(runs, direction="min")] == [3, 2, 1]
    alone = [run(1, 0, 0.8), run(2, 0, 0.1)]
    ranking = rank(alone, direction="max")
    assert len(as_good(ranking, alone)) == 1  # one seed cannot tell any two apart


def test_equal_means_go_to_the_lower_run_id():
    runs = [run(2, 0, 0.5), run(1, 0, 0.5)]
    assert [c.params["rank"] for c in rank(runs, direction="max")] == [1, 2]


def test_the_optimism_of_equals_is_what_choosing_among_noise_brings():
    # 20 configurations, all right with .7 on 100 items: the best of them looks better than .7. What
    # it is flattered by is known here, and the estimate agrees on average over data sets.
    rng = np.random.default_rng(0)
    flattered, estimated = [], []
    for _ in range(40):
        scores = (rng.random((20, 100)) < 0.7).astype(float)
        flattered.append(scores.mean(axis=1).max() - 0.7)
        estimated.append(estimate_optimism(scores, np.ones((20, 100)), direction="max", seed=1))
    assert np.mean(flattered) > 0.05
    # The mean over 40 data sets has a standard error of about .004.
    assert np.mean(estimated) == pytest.approx(np.mean(flattered), abs=0.012)
    clear = np.array([[1.0] * 100, [0.0] * 100])
    assert estimate_optimism(clear, np.ones((2, 100)), direction="max", seed=0) == 0.0
