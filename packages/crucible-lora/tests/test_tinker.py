"""The contract with the real SDK: it talks to a service on loopback, and nothing leaves this machine."""

import gc
import logging
import sys

import anyio
import numpy as np
import pytest

from crucible_lora import (
    LoraConfig,
    TinkerBackend,
    create_experiment,
    resume_sync,
    train,
    train_sync,
)
from crucible_lora.backends.tinker_calls import translated
from crucible_lora.composite import Composite
from crucible_lora.demo import demo_findings
from crucible_lora.errors import (
    BackendAuthError,
    BackendBillingError,
    BackendError,
    BackendRequestError,
    BackendTimeoutError,
    BackendUnavailableError,
    MissingExtraError,
    SessionClosedError,
    UnsupportedOptionError,
)
from crucible_lora.export import export_adapter
from crucible_lora.formats import Conversation
from crucible_lora.loopback import LoopbackService
from crucible_lora.losses import CitationWeighted, CrossEntropy
from crucible_lora.masking import lay_out
from crucible_lora.ports import Update
from crucible_lora.tokenizers import ByteTokenizer

# The SDK never closes the connection over which it first asks for its settings.
pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")]
KEY = "tml-of-the-test"


@pytest.fixture(scope="module", autouse=True)
def swept():
    """Let what the SDK left open be collected here, where the filter above holds."""
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Keep the SDK from asking the environment for anything, and its loggers from the output."""
    for name in ("TINKER_API_KEY", "TINKER_BASE_URL", "TINKER_CREDENTIAL_CMD", "TINKER_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(logging.getLogger("tinker"), "disabled", True)


@pytest.fixture
def service():
    with LoopbackService() as running:
        yield running


def backend(service, **options):
    values = {"base_url": service.url, "api_key": KEY, "tokenizer": ByteTokenizer(), "deadline_s": 60.0}  # fmt: skip
    return TinkerBackend(**{**values, **options})


def config(**changes):
    return LoraConfig(base_model="org/model", learning_rate=0.1, **changes)


def update(**changes):
    values = {
        "learning_rate": 0.1,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "loss": CrossEntropy(),
        "micro_batch": 8,
    }
    return Update(**{**values, **changes})


def example(answer="aaab", name="x", **options):
    message = {"role": "user", "content": "say it"}
    talk = Conversation(messages=(message,), completion=answer, **options)
    return lay_out(name, talk, ByteTokenizer())


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_the_loss_falls_and_each_step_is_two_requests_at_once(service):
    session = await backend(service).create(config(), seed=3)
    batch = [example(), example("aab", name="y")]
    steps = [await session.train_step(batch, update=update()) for _ in range(30)]
    assert steps[0].loss == pytest.approx(np.log(257))  # every token as likely as any other
    assert steps[-1].loss < steps[0].loss / 2
    assert service.seen.most_in_flight == 2
    assert service.seen.calls["forward_backward"] == service.seen.calls["optim_step"] == 30
    assert steps[0].target_tokens == 9
    assert steps[0].components == {"cross_entropy": steps[0].loss}
    lora = service.seen.created[0]["lora_config"]
    assert (lora["rank"], lora["seed"]) == (16, 3)
    assert (lora["train_attn"], lora["train_mlp"], lora["train_unembed"]) == (True, True, False)
    await session.close()


async def test_the_optimiser_gets_all_of_its_parameters(service):
    session = await backend(service).create(config(), seed=0)
    wanted = {"learning_rate": 0.05, "betas": (0.8, 0.98), "eps": 1e-6, "weight_decay": 0.2}
    await session.train_step([example()], update=update(**wanted, max_grad_norm=0.5))
    await session.train_step([example()], update=update(max_grad_norm=None))
    first, second = service.seen.adam
    assert first == {
        "learning_rate": 0.05, "beta1": 0.8, "beta2": 0.98, "eps": 1e-6, "weight_decay": 0.2,
        "grad_clip_norm": 0.5,
    }  # fmt: skip
    assert second["grad_clip_norm"] == 0.0
    assert second["beta2"] == 0.999  # not the service's own .95
    await session.close()


async def test_the_loss_is_a_mean_over_targets_so_that_clipping_keeps_its_meaning(service):
    session = await backend(service).create(config(), seed=0)
    one, four = example(), [example(name=str(i)) for i in range(4)]
    await session.train_step([one], update=update())
    (model,) = service._models.values()
    alone = model.logits.copy()
    twin = await backend(service).create(config(), seed=0)
    await twin.train_step(four, update=update())
    np.testing.assert_allclose(list(service._models.values())[1].logits, alone, atol=1e-6)
    await session.close()
    await twin.close()


async def test_likelihoods_are_those_of_the_targets_and_change_nothing(service):
    session = await backend(service).create(config(), seed=0)
    found = await session.forward([example("ab"), example("abc")])
    assert [len(row) for row in found] == [3, 4]
    np.testing.assert_allclose(np.concatenate(found), -np.log(257), rtol=1e-6)
    await session.train_step([example("aaaa")], update=update(max_grad_norm=None))
    after = await session.forward([example("a")])
    assert after[0][0] > -np.log(257)
    (model,) = service._models.values()
    assert not model.gradient.any()  # the forward pass left none behind
    await session.close()


async def test_citations_and_sums_of_losses_are_weights(service):
    session = await backend(service).create(config(), seed=0)
    marked = example("ab", spans=((1, 2),))
    loss = Composite(
        parts={"cross_entropy": (0.5, CrossEntropy()), "citation_weighted": (2.0, CitationWeighted(weight=3.0))}
    )  # fmt: skip
    step = await session.train_step([marked], update=update(loss=loss))
    uniform = np.log(257)
    assert step.components == pytest.approx(
        {"cross_entropy": uniform, "citation_weighted": uniform}
    )
    assert step.loss == pytest.approx(2.5 * uniform)
    with pytest.raises(UnsupportedOptionError, match="label_smoothing"):
        await session.train_step([marked], update=update(loss=CrossEntropy(label_smoothing=0.1)))
    await session.close()


async def test_a_saved_state_goes_on_as_if_nothing_had_happened(service, tmp_path):
    session = await backend(service).create(config(), seed=0)
    batch = [example()]
    for _ in range(3):
        await session.train_step(batch, update=update())
    await session.save(tmp_path)
    again = await backend(service).resume(config(), tmp_path)
    assert service.seen.calls["load_weights"] == 1
    for one in (session, again):
        for _ in range(3):
            await one.train_step(batch, update=update())
    whole, resumed = service._models.values()
    np.testing.assert_array_equal(whole.logits, resumed.logits)  # moments and count of steps too
    await session.close()
    await again.close()


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_adapter_and_base_answer(service, tmp_path):
    session = await backend(service).create(config(), seed=0)
    for _ in range(20):
        await session.train_step([example("aaaa")], update=update())
    await session.save(tmp_path)
    adapter = session.sampler(tmp_path)
    answer = await adapter.generate("say it", max_tokens=5)
    assert (answer.text, answer.finish, answer.output_tokens) == ("aaaaa", "length", 5)
    assert answer.cost_usd is None
    base = await session.sampler().generate("say it", max_tokens=5)
    assert base.logprobs == pytest.approx([-np.log(257)] * 5)
    for name in (1, 1):
        drawn = await adapter.generate("say it", temperature=1.5, max_tokens=40, seed=name)
        assert drawn.output_tokens <= 40
    sent = service.seen.sampled[-1]["sampling_params"]
    assert (sent["seed"], sent["temperature"], sent["top_k"], sent["top_p"]) == (1, 1.5, -1, 1.0)
    assert sent["stop"] == [256]
    assert adapter.fingerprint()["backend"] == "tinker"
    assert adapter.fingerprint() != session.sampler().fingerprint()
    await session.close()


async def test_an_answer_ends_before_a_stop_text_and_behind_its_end_token(service, tmp_path):
    session = await backend(service).create(config(), seed=0)
    for _ in range(30):
        await session.train_step([example("aaaa")], update=update())
    await session.save(tmp_path)
    model = session.sampler(tmp_path)
    stopped = await model.generate("say it", max_tokens=8, stop=["aaa"])
    assert (stopped.text, stopped.finish) == ("", "stop")
    drawn = await model.generate("say it", temperature=1.0, max_tokens=500, seed=1)
    assert drawn.finish == "stop"  # the end token was drawn, and is no text
    assert "\ufffd" not in drawn.text
    await session.close()


def test_a_run_is_trained_judged_and_resumed_as_on_any_backend(tmp_path):
    with LoopbackService(polls=1) as service:
        experiment = create_experiment(
            "remote", config(), backend=backend(service), directory=tmp_path
        )
        report = train_sync(
            experiment, demo_findings(32), epochs=2, batch_size=8, checkpoint_every=4
        )
        assert (report.backend, report.steps, report.device) == ("tinker", 8, "service")
        assert report.loss_final < report.loss_first
        again = resume_sync(experiment, checkpoint="step-000004")
        assert [row.loss for row in again.history] == [row.loss for row in report.history]


async def test_an_answer_that_is_not_ready_is_asked_for_again():
    with LoopbackService(polls=3) as service:
        session = await backend(service).create(config(), seed=0)
        step = await session.train_step([example()], update=update())
        assert step.loss == pytest.approx(np.log(257))
        await session.close()


@pytest.mark.parametrize("status", [429, 503])
async def test_what_passes_is_tried_again(service, status):
    session = await backend(service).create(config(), seed=0)
    service.fail("optim_step", status)
    step = await session.train_step([example()], update=update())
    assert step.loss == pytest.approx(np.log(257))
    assert service.seen.calls["optim_step"] == 2
    await session.close()


async def test_a_request_that_the_service_refuses_is_not_tried_again(service):
    session = await backend(service).create(config(), seed=0)
    service.fail("forward_backward", 0, message="a token beyond the vocabulary")
    with pytest.raises(BackendRequestError, match="a token beyond the vocabulary") as caught:
        await session.train_step([example()], update=update())
    assert caught.value.retryable is False
    assert caught.value.request_id.startswith("request-")
    assert service.seen.calls["forward_backward"] == 1
    await session.close()


@pytest.mark.parametrize("endpoint", ["create_session", "create_model", "forward_backward", "save_weights"])  # fmt: skip
async def test_an_account_to_be_paid_is_told_at_once(service, endpoint, tmp_path):
    # The SDK alone sleeps and tries again for an hour.
    service.fail(endpoint, 402, times=1000, message="please pay")

    async def work():
        session = await backend(service).create(config(), seed=0)
        await session.train_step([example()], update=update())
        await session.save(tmp_path)

    with pytest.raises(BackendBillingError, match="please pay") as caught:
        await work()
    assert caught.value.retryable is False


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, BackendAuthError), (403, BackendAuthError), (404, BackendRequestError)],
)
async def test_what_the_service_says_has_an_error_of_its_own(service, status, error):
    service.fail("create_model", status)
    with pytest.raises(error, match="create") as caught:
        await backend(service).create(config(), seed=0)
    assert isinstance(caught.value, BackendError)
    assert (caught.value.backend, caught.value.retryable) == ("tinker", False)


async def test_a_service_that_never_answers_meets_our_deadline():
    with LoopbackService(polls=10**9) as service:
        with pytest.raises(BackendTimeoutError, match=r"create: no answer within 1.5 s") as caught:
            await backend(service, deadline_s=1.5).create(config(), seed=0)
        assert caught.value.retryable is True


async def test_a_service_that_is_not_there_meets_our_deadline():
    with LoopbackService() as gone:
        pass
    with pytest.raises(BackendTimeoutError, match="log in: no answer"):
        await backend(gone, deadline_s=1.5).create(config(), seed=0)


async def test_a_service_that_cannot_say_goodbye_takes_no_result_away(service, tmp_path):
    service.fail("sessions", 404)
    experiment = create_experiment("x", config(), backend=backend(service), directory=tmp_path)
    report = await train(experiment, demo_findings(8), epochs=1)
    assert report.stopped == "completed"
    assert service.seen.calls["sessions"] == 1


def test_errors_of_the_server_may_pass(service):
    import httpx
    import tinker

    request = httpx.Request("POST", "http://127.0.0.1/x")
    response = httpx.Response(500, request=request, headers={"x-request-id": "r-1"})
    gone = ValueError("while fetching")
    gone.__cause__ = tinker.InternalServerError("down", response=response, body=None)
    found = translated("update", gone)
    assert isinstance(found, BackendUnavailableError)
    assert (found.retryable, found.request_id) == (True, "r-1")
    lost = translated("update", tinker.APIConnectionError(request=request))
    assert isinstance(lost, BackendUnavailableError)
    assert lost.retryable
    assert translated("update", RuntimeError("who knows")).retryable is False


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"alpha": 8.0}, "alpha"),
        ({"dropout": 0.1}, "dropout"),
        ({"rslora": True}, "rslora"),
        ({"target_modules": ("q_proj",)}, "target_modules"),
        ({"modules_to_save": ("lm_head",)}, "modules_to_save"),
    ],
)
async def test_options_that_the_service_has_not_are_refused_before_any_request(
    service, changes, option
):
    with pytest.raises(UnsupportedOptionError, match=f"'tinker' cannot honour {option}"):
        await backend(service).create(config(**changes), seed=0)
    assert not service.seen.calls


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"loss": "kl"}, "loss='kl'"),
        ({"packing": True}, "packing=True"),
    ],
)
async def test_training_options_are_refused_before_any_request(service, tmp_path, options, match):
    experiment = create_experiment("x", config(), backend=backend(service), directory=tmp_path)
    with pytest.raises(UnsupportedOptionError, match=f"'tinker' cannot honour {match}"):
        await train(experiment, demo_findings(8), **options)
    assert not service.seen.calls


async def test_no_tokenizer_is_downloaded_unless_that_is_allowed(service, monkeypatch):
    with pytest.raises(UnsupportedOptionError, match="allow_download=True"):
        await backend(service, tokenizer=None).create(config(), seed=0)
    assert not service.seen.calls
    from tinker.lib.public_interfaces import training_client

    asked = []

    def load(*arguments):
        asked.append(arguments)
        raise OSError("no hub here")

    monkeypatch.setattr(training_client, "_load_tokenizer_from_model_info", load)
    session = await backend(service).create(config(), seed=0)
    assert not asked
    with pytest.raises(OSError, match="no hub here"):
        await backend(service, tokenizer=None).create(config(allow_download=True), seed=0)
    await session.close()


@pytest.mark.parametrize(("key", "match"), [(None, "set TINKER_API_KEY"), ("sk-123", "a key starts with tml- or eyJ")])  # fmt: skip
async def test_a_key_that_is_missing_or_malformed_is_told_and_never_shown(service, key, match):
    with pytest.raises(BackendAuthError, match=match) as caught:
        await backend(service, api_key=key).create(config(), seed=0)
    assert "123" not in str(caught.value)
    assert not service.seen.calls


async def test_key_and_address_come_from_the_environment_too(service, monkeypatch):
    monkeypatch.setenv("TINKER_API_KEY", KEY)
    monkeypatch.setenv("TINKER_BASE_URL", service.url)
    session = await TinkerBackend(tokenizer=ByteTokenizer()).create(config(), seed=0)
    assert service.seen.calls["create_model"] == 1
    await session.close()
    with pytest.raises(SessionClosedError):
        await session.forward([example()])


def test_a_missing_extra_and_a_bad_deadline_are_told_at_once(monkeypatch):
    with pytest.raises(ValueError, match="`deadline_s` must be > 0, got 0"):
        TinkerBackend(deadline_s=0)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"crucible-lora\[tinker\]"):
        TinkerBackend()


async def test_cancelling_an_answer_does_not_wait_for_the_service():
    with LoopbackService(polls=10**9) as service:
        with anyio.move_on_after(1.0) as scope:
            await backend(service).create(config(), seed=0)
        assert scope.cancelled_caught


async def test_a_failed_run_names_the_checkpoint_that_is_left(service, tmp_path):
    experiment = create_experiment("x", config(), backend=backend(service), directory=tmp_path)

    def fail_later(row):
        if row.step == 3:
            service.fail("forward_backward", 0, message="no more")

    with pytest.raises(BackendRequestError, match=r"no more.*the last checkpoint is step-000002"):
        await train(
            experiment, demo_findings(32), batch_size=4, checkpoint_every=2, on_step=fail_later
        )
    assert experiment.checkpoints().get("latest").step == 2


def test_the_package_does_not_load_the_sdk_by_itself():
    import subprocess

    code = (
        "import sys, crucible_lora; crucible_lora.TinkerBackend(); print('tinker' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_service_keeps_its_weights(service, tmp_path):
    experiment = create_experiment("x", config(), backend=backend(service), directory=tmp_path)
    train_sync(experiment, demo_findings(8), epochs=1)
    with pytest.raises(UnsupportedOptionError, match="never leave the service"):
        export_adapter(experiment, path=tmp_path / "x")
