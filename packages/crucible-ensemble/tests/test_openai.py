"""The wire: recorded shapes for faults, a real llama.cpp server for the rest."""

import httpx
import pytest

from crucible_ensemble import LlamaCppModel, OpenAIModel
from crucible_ensemble.errors import (
    AuthenticationError,
    BadRequestError,
    ConnectionFailedError,
    MalformedResponseError,
    RateLimitError,
    ServerError,
)
from crucible_ensemble.retry import Retries

pytestmark = pytest.mark.anyio

# The shape of OpenAI's published example of a chat completion.
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-mini-2024-07-18",
    "system_fingerprint": "fp_1",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "10", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22},
}


def client(handler, **options):
    model = OpenAIModel(
        "gpt-4o-mini",
        base_url="http://127.0.0.1:1/v1",
        retries=options.pop("retries", Retries(attempts=1)),
        **options,
    )
    model._client = httpx.AsyncClient(transport=httpx.MockTransport(handler))
    return model


async def test_an_answer_is_read_with_usage_and_price():
    seen = []

    def handler(request):
        seen.append(request)
        return httpx.Response(200, json=ANSWER)

    answer = await client(handler, api_key="secret").generate("?", seed=3, stop=["\n"])
    assert (answer.text, answer.input_tokens, answer.output_tokens) == ("10", 20, 2)
    assert answer.cost_usd == pytest.approx((20 * 0.15 + 2 * 0.60) / 1e6)  # the price table
    assert answer.finish == "stop"
    assert seen[0].headers["authorization"] == "Bearer secret"
    assert b'"seed":3' in seen[0].content.replace(b" ", b"")


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, BadRequestError), (401, AuthenticationError), (429, RateLimitError), (503, ServerError)],
)
async def test_refusals_have_their_class_and_the_providers_words(status, error):
    def handler(request):
        return httpx.Response(
            status, json={"error": {"message": "because so"}}, headers={"retry-after": "7"}
        )

    with pytest.raises(error, match="because so") as caught:
        await client(handler).generate("?")
    assert caught.value.retry_after_s == 7.0
    assert caught.value.status == status


@pytest.mark.parametrize("body", [b"<html>", b'{"choices": []}', b"[1]", b'{"choices": [{"mes'])
async def test_nonsense_with_status_200_is_malformed(body):
    with pytest.raises(MalformedResponseError):
        await client(lambda request: httpx.Response(200, content=body)).generate("?")


async def test_an_error_that_passes_is_tried_again():
    calls = []

    def handler(request):
        calls.append(1)
        if len(calls) < 3:
            return httpx.Response(500, text="busy")
        return httpx.Response(200, json=ANSWER)

    retries = Retries(attempts=3, initial_s=0.0, max_s=0.0)
    answer = await client(handler, retries=retries).generate("?")
    assert (answer.attempts, len(calls)) == (3, 3)


async def test_a_server_that_is_not_there_is_named():
    model = OpenAIModel("x", base_url="http://127.0.0.1:9/v1", retries=Retries(attempts=1))
    with pytest.raises(ConnectionFailedError, match="127.0.0.1:9"):
        await model.generate("?")
    await model.aclose()


async def test_a_missing_key_names_the_variable(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    async with OpenAIModel("gpt-4o-mini", retries=Retries(attempts=1)) as model:
        with pytest.raises(AuthenticationError, match="OPENAI_API_KEY"):
            await model.generate("?")


async def test_a_key_is_never_shown():
    model = OpenAIModel("gpt-4o-mini", api_key="secret-key")
    assert "secret-key" not in repr(model)
    assert "secret-key" not in str(model.fingerprint())


@pytest.mark.parametrize("prompt", ["", [], [{"role": "king", "content": "x"}]])
async def test_prompts_that_servers_answer_with_nonsense_are_refused_here(prompt):
    with pytest.raises(ValueError, match="prompt"):
        await client(lambda request: httpx.Response(200, json=ANSWER)).generate(prompt)


async def test_the_embedded_model_answers_and_repeats_itself():
    async with LlamaCppModel() as model:
        first = await model.generate("What is 3 + 7?", temperature=0.8, seed=5, max_tokens=12)
        await model.generate("Something else", temperature=0.8, seed=6, max_tokens=3)
        again = await model.generate("What is 3 + 7?", temperature=0.8, seed=5, max_tokens=12)
        assert first.text == again.text
        assert first.text
        assert first.output_tokens > 0
        assert first.cost_usd == 0.0
        assert len(model.fingerprint()["weights_sha256"]) == 64
        # The same server over plain HTTP: any OpenAI-compatible address works.
        async with OpenAIModel("smollm2", base_url=model.base_url, logprobs=True) as remote:
            answer = await remote.generate("What is 3 + 7?", max_tokens=5)
            assert answer.logprobs
            assert 0 < answer.confidence <= 1
            assert answer.cost_usd is None  # no price is known for that name
