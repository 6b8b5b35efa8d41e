import json
import os
import subprocess
import sys
import textwrap

import anyio
import numpy as np
import pytest
from trio.testing import MockClock

from crucible_lora import (
    Gate,
    InProcessBackend,
    LoraConfig,
    create_experiment,
    resume,
    resume_sync,
    train,
    train_sync,
)
from crucible_lora.demo import demo_findings, findings_schema
from crucible_lora.errors import (
    CheckpointNotFoundError,
    DivergedError,
    NoTargetTokensError,
    ResumeMismatchError,
    TruncationError,
    UnsupportedOptionError,
)
from crucible_lora.formats import ChatFormat, PlainFormat
from crucible_lora.loss_registry import LossRegistry, composite
from crucible_lora.losses import CrossEntropy
from crucible_lora.options import EarlyStopping, gate_on
from crucible_lora.results import TrainingReport
from crucible_lora.schemas import CLAIM_LINES, JsonSchema

pytestmark = pytest.mark.anyio
CONFIG = {"base_model": "reference", "rank": 4, "lr": 1e-2, "lora_dropout": 0.05}
SCHEMA = JsonSchema(findings_schema())


@pytest.fixture
def make(tmp_path):
    def make(name="demo", config=CONFIG, folder="lora", **options):
        return create_experiment(name, config, directory=tmp_path / folder, **options)

    return make


def losses(report):
    return [row.loss for row in report.history]


async def test_training_learns_and_says_what_it_did(make):
    experiment = make()
    report = await train(experiment, demo_findings(40), epochs=2, batch_size=8, checkpoint_every=4)
    assert (report.steps, report.epochs_completed, report.examples) == (10, 2, 80)
    assert report.stopped == "completed"
    assert report.backend == "in-process"
    assert report.loss_first == report.history[0].loss
    assert report.loss_final == pytest.approx(np.mean(losses(report)[-10:]))
    assert report.loss_reduction == pytest.approx(1 - report.loss_final / report.loss_first)
    assert report.tokens == 2 * report.mask.tokens
    assert [c.step for c in report.checkpoints] == [4, 8, 10]
    assert report.best == report.checkpoints[-1]
    assert report.quality is None
    assert report.cost_usd is None
    assert report.history[0].learning_rate == 1e-2  # 5 % of 10 is no warm-up
    assert experiment.history() == report.history
    assert TrainingReport.from_dict(report.to_dict()) == report
    json.dumps(report.to_dict(), allow_nan=False)


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_equal_seeds_give_equal_bytes_and_others_do_not(make):
    reports = [
        await train(make(folder=f, seed=s), demo_findings(20), epochs=1, checkpoint_every=2)
        for f, s in (("a", 0), ("b", 0), ("c", 1))
    ]
    one, two, three = ([c.sha256 for c in r.checkpoints] for r in reports)
    assert one == two != three


async def test_the_order_of_the_items_does_not_matter(make):
    items = demo_findings(20)
    reports = [
        await train(make(folder=f), d, epochs=1) for f, d in (("a", items), ("b", items[::-1]))
    ]
    assert losses(reports[0]) == losses(reports[1])
    assert reports[0].dataset_fingerprint == reports[1].dataset_fingerprint


def test_two_processes_write_the_same_first_checkpoint(tmp_path):
    script = textwrap.dedent(
        """
        import sys
        from crucible_lora import create_experiment, train_sync
        from crucible_lora.demo import demo_findings
        experiment = create_experiment(
            "demo", {"base_model": "reference", "rank": 4}, directory=sys.argv[1]
        )
        report = train_sync(experiment, demo_findings(8), epochs=1)
        print({p.name: p.read_bytes() for p in sorted(report.checkpoints[0].path.iterdir())})
        """
    )
    outputs = []
    for name, hashing in (("a", "1"), ("b", "2")):
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / name)],
            capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": hashing, "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]


class Killed(BaseException):
    pass


def kill_at(step):
    def on_step(row):
        if row.step == step:
            raise Killed

    return on_step


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(make):
    options = {"epochs": 4, "checkpoint_every": 5, "evaluate_every": 3, "validation": demo_findings(10, held_out=True)}  # fmt: skip
    whole = await train(make(folder="a"), demo_findings(40), **options)
    assert whole.steps == 20
    cut = make(folder="b")
    with pytest.raises(Killed):
        await train(cut, demo_findings(40), on_step=kill_at(12), **options)
    assert cut.checkpoints().get("latest").step == 12
    assert len(cut.history()) == 12
    went_on = await resume(cut)
    assert losses(went_on) == losses(whole)
    assert [r.validation for r in went_on.history] == [r.validation for r in whole.history]
    assert went_on.checkpoints[-1].sha256 == whole.checkpoints[-1].sha256
    assert went_on.checkpoints[-1].parent == "step-000012"
    assert (went_on.tokens, went_on.examples) == (whole.tokens, whole.examples)
    assert whole.checkpoints[-1].parent is None


async def test_leaving_the_optimiser_out_would_be_seen(make, monkeypatch):
    whole = await train(make(folder="a"), demo_findings(40), epochs=4)
    cut = make(folder="b")
    with pytest.raises(Killed):
        await train(cut, demo_findings(40), epochs=4, on_step=kill_at(10))
    monkeypatch.setattr("crucible_lora.adamw.AdamW.load", lambda *_: None)
    went_on = await resume(cut)
    assert went_on.checkpoints[-1].sha256 != whole.checkpoints[-1].sha256


def test_a_process_killed_without_warning_goes_on_from_its_last_checkpoint(make, tmp_path):
    whole = train_sync(make(folder="a"), demo_findings(40), epochs=4)
    script = textwrap.dedent(
        """
        import json, os, signal, sys
        from crucible_lora import create_experiment, train_sync
        from crucible_lora.demo import demo_findings
        experiment = create_experiment("demo", json.loads(sys.argv[2]), directory=sys.argv[1])

        def die(row):
            if row.step == 13:
                os.kill(os.getpid(), signal.SIGKILL)

        train_sync(experiment, demo_findings(40), epochs=4, checkpoint_every=10, on_step=die)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "b"), json.dumps(CONFIG)],
        check=False, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == -9
    cut = make(folder="b")
    assert cut.checkpoints().get("latest").step == 10
    went_on = resume_sync(cut.directory)
    assert losses(went_on) == losses(whole)
    assert went_on.checkpoints[-1].sha256 == whole.checkpoints[-1].sha256


async def test_a_run_is_resumed_from_a_named_checkpoint(make):
    experiment = make()
    whole = await train(experiment, demo_findings(40), epochs=2, checkpoint_every=4)
    again = await resume(experiment, checkpoint="step-000004")
    assert again.checkpoints[-1].sha256 == whole.checkpoints[-1].sha256


async def test_resuming_something_else_is_refused(make):
    experiment = make()
    with pytest.raises(CheckpointNotFoundError, match="nothing was trained yet"):
        await resume(experiment)
    await train(experiment, demo_findings(20), epochs=1)
    with pytest.raises(ResumeMismatchError, match="another dataset_fingerprint") as caught:
        await resume(experiment, demo_findings(20, seed=1))
    assert caught.value.fields == ("dataset_fingerprint",)
    report = await resume(experiment, demo_findings(20))
    assert report.steps == 3

    class Renamed(InProcessBackend):
        name = "renamed"

    with pytest.raises(ResumeMismatchError, match="backend"):
        type(experiment).open(experiment.directory, backend=Renamed())


async def test_a_schema_that_is_not_stored_must_be_given_again(make):
    class Anything:
        def parse(self, text, /):
            return SCHEMA.parse(text)

    experiment = make()
    options = {"epochs": 1, "schema": Anything(), "quality_targets": {"schema_compliance": 0.5}, "holdout": 0.5}  # fmt: skip
    await train(experiment, demo_findings(60), **options)
    with pytest.raises(ValueError, match="`schema` must be given again"):
        await resume(experiment)
    assert (await resume(experiment, schema=Anything())).quality is not None


async def test_accumulation_is_one_batch(make):
    items = demo_findings(24)
    one = await train(make(folder="a", config={**CONFIG, "lora_dropout": 0}), items, batch_size=8)
    four = await train(make(folder="b", config={**CONFIG, "lora_dropout": 0}), items, batch_size=2, accumulate=4)  # fmt: skip
    np.testing.assert_allclose(losses(one), losses(four), atol=1e-6)
    assert one.steps == four.steps == 9


async def test_every_run_has_a_folder_of_its_own(make):
    experiment = make()
    first = await train(experiment, demo_findings(8), epochs=1)
    second = await train(experiment, demo_findings(8), epochs=2)
    assert (first.run_id, second.run_id) == ("run-001", "run-002")
    assert experiment.checkpoints().get("latest").step == 2
    assert first.checkpoints[0].path.is_dir()


async def test_max_steps_ends_the_schedule_too(make):
    report = await train(make(), demo_findings(40), epochs=9, max_steps=4)
    assert (report.steps, report.stopped) == (4, "max_steps")
    assert report.history[-1].learning_rate == pytest.approx(1e-2 / 4)  # linear, T = 4, no warm-up


async def test_early_stopping_counts_looks_without_improvement(make):
    rule = EarlyStopping(patience=2, min_delta=100.0)
    report = await train(make(), demo_findings(40), epochs=4, early_stopping=rule, evaluate_every=2)
    # The first look is the best so far, the two after it are no better by 100 nats.
    assert (report.steps, report.stopped) == (6, "early_stopping")
    assert [r.step for r in report.history if r.validation] == [2, 4, 6]


@pytest.mark.parametrize("anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})])
async def test_a_deadline_ends_training_at_the_next_update(make, anyio_backend):
    clock = anyio_backend[1]["clock"]
    experiment = make()
    report = await train(
        experiment, demo_findings(40), on_step=lambda _: clock.jump(1.0), deadline_s=2.5
    )
    assert (report.steps, report.stopped) == (3, "deadline")
    assert experiment.checkpoints().get("latest").step == 3
    went_on = await resume(experiment)
    assert (went_on.steps, went_on.stopped) == (15, "completed")


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_cancellation_finishes_the_update_and_leaves_a_checkpoint(make):
    experiment = make()
    with anyio.CancelScope() as scope:
        await train(
            experiment, demo_findings(40), on_step=lambda row: row.step == 3 and scope.cancel()
        )
    assert scope.cancelled_caught
    assert experiment.checkpoints().get("latest").step == 3


async def test_the_native_cancellation_of_asyncio_leaves_a_checkpoint_too(make):
    import asyncio

    experiment = make()
    task = asyncio.current_task()

    def on_step(row):
        if row.step == 2:
            # Arrives while the third update is being computed.
            asyncio.get_running_loop().call_soon(lambda: asyncio.get_running_loop().call_soon(inner.cancel))  # fmt: skip

    inner = asyncio.ensure_future(train(experiment, demo_findings(40), on_step=on_step))
    with pytest.raises(asyncio.CancelledError):
        await inner
    assert task is not None
    assert not task.cancelled()
    step = experiment.checkpoints().get("latest").step
    assert step in (2, 3)
    whole = await train(make(folder="other"), demo_findings(40))
    assert losses(await resume(experiment)) == losses(whole)


def test_an_interrupt_of_the_synchronous_form_leaves_a_checkpoint(tmp_path):
    script = textwrap.dedent(
        """
        import os, signal, sys
        from crucible_lora import create_experiment, train_sync
        from crucible_lora.demo import demo_findings
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
        experiment = create_experiment("demo", {"base_model": "reference"}, directory=sys.argv[1])

        def interrupt(row):
            if row.step == 2:
                os.kill(os.getpid(), signal.SIGINT)

        try:
            train_sync(experiment, demo_findings(80), epochs=900, on_step=interrupt)
        except KeyboardInterrupt:
            print(experiment.checkpoints().get("latest").step)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True, text=True, check=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert 2 <= int(done.stdout) < 9000


class Poisoned(CrossEntropy):
    """NaN at some of its calls."""

    @property
    def name(self):
        return "poisoned"


def poisoned(bad):
    calls = iter(range(10_000))

    class Loss:
        name = "poisoned"

        def __call__(self, logits, targets, weights, /):
            value, gradient = CrossEntropy()(logits, targets, weights)
            return (float("nan") if next(calls) in bad else value), gradient

    return Loss()


async def test_one_update_that_is_no_number_is_skipped_and_told(make):
    report = await train(make(), demo_findings(40), loss=poisoned({3}))
    assert [r.step for r in report.history if r.skipped] == [4]
    assert report.history[3].loss is None
    assert report.warnings == ("1 of 15 updates were skipped: no finite loss or gradient",)


async def test_three_in_a_row_end_the_run_with_the_last_good_checkpoint(make):
    experiment = make()
    with pytest.raises(DivergedError, match="up to step 7; the last is step-000004") as caught:
        await train(experiment, demo_findings(40), loss=poisoned({4, 5, 6}), checkpoint_every=2)
    assert (caught.value.step, caught.value.checkpoint) == (7, "step-000004")
    assert experiment.checkpoints().get("latest").step == 4


async def test_quality_targets_are_judged_on_items_that_were_held_out(make):
    experiment = make(config={"base_model": "reference", "lr": 1e-2})
    report = await train(
        experiment, demo_findings(300), epochs=4, batch_size=16, schema=SCHEMA,
        quality_targets={"schema_compliance": 0.90, "exact_match": 0.05},
    )  # fmt: skip
    assert report.mask.n_examples == 270
    assert report.quality.n_expected == 30
    first, second = report.quality.gates
    assert first.n == 30
    assert first.verdict == "pass"
    # 30 of 30: .05 ** (1 / 30), the closed form of the bound
    assert (first.observed, first.bound_low) == (1.0, pytest.approx(0.05 ** (1 / 30)))
    assert second.metric == "exact_match"
    assert report.quality.checkpoint == "step-000068"
    assert (
        "| schema_compliance ≥ 0.9 | 1.000 | 0.905 to 1.000 | 30 | pass |  |" in report.markdown()
    )


async def test_global_generators_are_left_as_found(make):
    # Not `random`: where an OpenTelemetry SDK is installed, it draws the ids of spans from it.
    np.random.seed(1)
    before = np.random.get_state()[1].tolist()
    experiment = make()
    await train(experiment, demo_findings(8), epochs=1)
    await experiment.sampler("latest").generate("hello", temperature=1.0, seed=1, max_tokens=4)
    assert np.random.get_state()[1].tolist() == before


async def test_an_adapter_answers_in_the_form_it_learned(make):
    for format, system, plain in ((ChatFormat(system="Be brief."), "Be brief.", False), (PlainFormat(), None, True)):  # fmt: skip
        experiment = make(folder=str(plain), config={"base_model": "reference", "lr": 1e-2})
        items = [{"input": "say it ", "expected": "hello"}, {"input": "go on ", "expected": "bye"}]
        await train(experiment, items, epochs=60, batch_size=2, format=format)
        sampler = experiment.sampler()
        answer = await sampler.generate("say it ")
        assert answer.text == "hello"
        prompt = "say it " if plain else "<system>\nBe brief.|<user>\nsay it |<assistant>\n"
        assert answer.input_tokens == len(prompt)
        found = sampler.fingerprint()
        assert (found["system"], found["plain"]) == (system, plain)
        assert found["model"] == "lora/demo/step-000060"
    assert (await experiment.sampler("base").generate("say it ", max_tokens=5)).text != "hello"


def test_the_synchronous_form_works_within_a_loop(make):
    async def notebook():
        return train_sync(make(), demo_findings(8), epochs=1)

    assert anyio.run(notebook).steps == 1


GOOD = [{"id": str(i), "input": f"q{i}", "expected": "a"} for i in range(40)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "`epochs` must be >= 1, got 0"),
        ({"batch_size": 0}, "`batch_size` must be >= 1, got 0"),
        ({"accumulate": 0}, "`accumulate` must be >= 1, got 0"),
        ({"checkpoint_every": 0}, "`checkpoint_every` must be >= 1"),
        ({"keep": 0}, "`keep` must be >= 1"),
        ({"max_steps": 0}, "`max_steps` must be >= 1"),
        ({"deadline_s": 0}, "`deadline_s` must be > 0"),
        ({"holdout": 1.0}, r"`holdout` must be in \(0, 1\)"),
        ({"truncation": "right"}, "`truncation` must be error, drop or left"),
        (
            {"loss": "kld"},
            "`loss` must be one of citation_weighted, cross_entropy, kl, mse, got 'kld'",
        ),
        ({"dataset": []}, "`dataset` must not be empty"),
        ({"quality_targets": {"schema_compliance": 0.9}}, "needs a `schema`"),
        (
            {"quality_targets": {"citation_accuracy": 0.9}, "schema": SCHEMA},
            "'citation_accuracy' needs a `schema` with citations: give one",
        ),
        (
            {"quality_targets": {"mean_entailment": 0.5}, "schema": CLAIM_LINES},
            "needs an `entailment`, which `evaluate` takes",
        ),
        ({"quality_targets": {"compliance": 0.9}}, "metric 'compliance' must be one of"),
        ({"quality_targets": {"nll": 0.9}}, "metric 'nll' must be one of"),
        ({"quality_targets": {"exact_match": 1.0}}, "exactly 1"),
        ({"quality_targets": {"exact_match": 0.9}}, "at least 30 held-out items, got 4"),
        (
            {"quality_targets": [Gate("exact_match", 0.9)], "validation": GOOD[:1]},
            "got 1: give more",
        ),
        ({"validation": GOOD[:3]}, r"the prompts of 3 are: 0, 1, 2"),
        ({"evaluate_every": 1, "holdout": 0.001}, "`holdout` must leave items"),
    ],
)
async def test_bad_arguments_are_named_before_anything_is_made(make, options, message):
    experiment = make()
    arguments = {"dataset": GOOD, **options}
    with pytest.raises(ValueError, match=message):
        await train(experiment, arguments.pop("dataset"), **arguments)
    assert [p.name for p in experiment.directory.iterdir()] == ["experiment.json"]


async def test_items_that_cannot_be_learned_are_named_before_anything_is_made(make):
    experiment = make()
    with pytest.raises(TruncationError, match="40 items are longer than 5 tokens"):
        await train(experiment, GOOD, max_length=5)
    with pytest.raises(NoTargetTokensError, match="1 items have no target token: x"):
        await train(experiment, [{"id": "x", "input": "q", "expected": ""}])
    with pytest.raises(ValueError, match="`warmup_steps` must be < the 15 updates"):
        await train(make(config={"base_model": "reference", "warmup_steps": 15}), GOOD)
    assert [p.name for p in experiment.directory.iterdir()] == ["experiment.json"]


async def test_a_backend_without_ones_own_losses_says_so(make):
    class Narrow(InProcessBackend):
        @property
        def capabilities(self):
            from dataclasses import replace

            return replace(InProcessBackend.capabilities, losses=frozenset({"cross_entropy"}))

    registry = LossRegistry()
    registry.register("mine", lambda: poisoned(set()))
    with pytest.raises(UnsupportedOptionError, match="loss='poisoned'"):
        await train(make(backend=Narrow()), GOOD, loss="mine", losses=registry)


def test_an_experiment_is_found_again_by_what_it_is(make):
    one = make(description="first")
    assert make().id == one.id
    assert make(seed=1).id != one.id
    assert make(config={**CONFIG, "rank": 8}).id != one.id
    opened = type(one).open(one.directory)
    assert (opened.id, opened.config, opened.seed) == (one.id, one.config, one.seed)
    assert one.backend_name == "in-process"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"base_model": "reference", "lora_rnak": 8},
            "no key 'lora_rnak'; the nearest is 'lora_rank'",
        ),
        ({"base_model": "reference", "rank": 8, "lora_rank": 8}, "name 'rank' once"),
        ({"rank": 8}, "must name a base_model"),
        ({"base_model": ""}, "`base_model` must be a non-empty text"),
        ({"base_model": "reference", "rank": 0}, "`rank` must be >= 1, got 0"),
        ({"base_model": "reference", "alpha": 0}, "`alpha` must be > 0, got 0"),
        ({"base_model": "reference", "lr": float("nan")}, "`learning_rate` must be > 0, got nan"),
        ({"base_model": "reference", "lr": -1}, "`learning_rate` must be > 0, got -1"),
        ({"base_model": "reference", "dropout": 1.0}, r"`dropout` must be in \[0, 1\), got 1.0"),
        (
            {"base_model": "reference", "schedule": "wave"},
            "`schedule` must be one of linear, cosine",
        ),
        ({"base_model": "reference", "betas": (0.9,)}, "`betas` must be two numbers"),
        ({"base_model": "reference", "target_modules": "all"}, "`target_modules` must be one of"),
    ],
)
def test_a_bad_configuration_names_what_is_wrong(make, config, message):
    with pytest.raises(ValueError, match=message):
        make(config=config)


def test_a_configuration_survives_storage_and_knows_its_aliases():
    config = LoraConfig.from_mapping(
        {"base_model": "reference", "lora_rank": 8, "lora_alpha": 4.0, "lr": 1e-3, "target_modules": ["q_proj"]}
    )  # fmt: skip
    assert (config.rank, config.alpha, config.learning_rate) == (8, 4.0, 1e-3)
    assert LoraConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.scale == 0.5
    assert LoraConfig(base_model="reference").scale == 2.0
    assert LoraConfig(base_model="reference", rank=16, alpha=16, rslora=True).scale == 4.0
    with pytest.raises(ValueError, match="`name` must not be empty"):
        create_experiment(" ", config)
    with pytest.raises(ValueError, match="`seed` must be >= 0"):
        create_experiment("x", config, seed=-1)


class Cited:
    """Marks the source of a finding as a citation."""

    def __call__(self, item, /):
        from crucible_lora.formats import Conversation

        at = item.expected.index('"source": ') + len('"source": ')
        message = {"role": "user", "content": item.input}
        return Conversation(messages=(message,), completion=item.expected, spans=((at, at + 1),))


async def test_each_part_of_a_sum_of_losses_is_told_and_the_sum_is_what_is_minimised(make):
    loss = composite({"cross_entropy": 1.0, "kl": 0.1, "citation_weighted": 0.5})
    experiment = make(config={**CONFIG, "lora_dropout": 0})
    report = await train(experiment, demo_findings(16), epochs=4, loss=loss, format=Cited())
    first, *_, last = report.history
    assert set(first.components) == {"cross_entropy", "kl", "citation_weighted"}
    assert first.components["kl"] == pytest.approx(0.0, abs=1e-12)  # B = 0: still the base
    assert last.components["kl"] > 0
    for row in report.history:
        parts = row.components
        total = parts["cross_entropy"] + 0.1 * parts["kl"] + 0.5 * parts["citation_weighted"]
        assert row.loss == pytest.approx(total, abs=1e-12)
    again = await resume(experiment, checkpoint=report.checkpoints[-1].name)
    assert losses(again) == losses(report)


async def test_accumulation_is_one_batch_for_every_part_of_a_sum(make):
    loss = composite({"cross_entropy": 1.0, "kl": 0.1, "mse": 0.1, "citation_weighted": 0.5})
    config = {**CONFIG, "lora_dropout": 0}
    one, four = [
        await train(make(folder=f, config=config), demo_findings(24), epochs=1, batch_size=b, accumulate=a, loss=loss, format=Cited())
        for f, b, a in (("a", 8, 1), ("b", 2, 4))
    ]  # fmt: skip
    for ours, theirs in zip(one.history, four.history, strict=True):
        assert ours.components == pytest.approx(dict(theirs.components), abs=1e-6)


async def test_citations_that_nobody_marked_are_not_weighed(make):
    with pytest.raises(ValueError, match="citation_weighted must find marked spans"):
        await train(make(), GOOD, loss="citation_weighted")


async def test_a_span_beyond_the_answer_is_refused(make):
    from crucible_lora.formats import Conversation

    def format(item):
        message = {"role": "user", "content": item.input}
        return Conversation(messages=(message,), completion="a", spans=((0, 2),))

    with pytest.raises(
        ValueError, match=r"within the 1 characters of the completion, got \(0, 2\)"
    ):
        await train(make(), GOOD, format=format)


async def test_early_stopping_looks_at_the_metric_it_was_told(make):
    rule = EarlyStopping(metric="token_accuracy", direction="max", patience=2, min_delta=2.0)
    report = await train(make(), demo_findings(40), epochs=4, early_stopping=rule, evaluate_every=2)
    # No accuracy is better than another by 2: the two looks after the first bring nothing.
    assert (report.steps, report.stopped) == (6, "early_stopping")
    looks = [row.validation for row in report.history if row.validation]
    assert all(0 <= look["token_accuracy"] <= 1 for look in looks)
    assert looks[-1]["token_accuracy"] > looks[0]["token_accuracy"]
    with pytest.raises(ValueError, match="`direction` must be max for token_accuracy"):
        EarlyStopping(metric="token_accuracy")
    with pytest.raises(ValueError, match="`metric` must be one of nll, perplexity, token_accuracy"):
        EarlyStopping(metric="loss")


async def test_a_backend_that_cannot_tell_the_likeliest_token_says_so(make):
    class Narrow(InProcessBackend):
        @property
        def capabilities(self):
            from dataclasses import replace

            return replace(InProcessBackend.capabilities, predictions=False)

    rule = EarlyStopping(metric="token_accuracy", direction="max")
    with pytest.raises(UnsupportedOptionError, match="early_stopping"):
        await train(make(backend=Narrow()), GOOD, early_stopping=rule)


def test_targets_become_gates_in_the_direction_of_their_metric():
    targets = {
        "schema_compliance": 0.95,
        "citation_invalid_rate": 0.05,
        "entailment_pass_rate": 0.45,
        "similarity_pass_rate": 0.35,
        "overall_pass_rate": 0.45,
    }
    gates = [gate_on(metric, target) for metric, target in targets.items()]
    assert [g.direction for g in gates] == ["min", "max", "min", "min", "min"]
    assert [g.primary for g in gates] == [True, True, False, False, True]


async def test_a_run_that_had_stopped_early_stops_where_it_did_when_resumed(make):
    rule = EarlyStopping(patience=2, min_delta=100.0)
    options = {"epochs": 4, "early_stopping": rule, "evaluate_every": 2}
    experiment = make()
    report = await train(experiment, demo_findings(40), **options)
    again = await resume(experiment)
    assert (again.steps, again.stopped) == (report.steps, "early_stopping")
    assert again.checkpoints == report.checkpoints
