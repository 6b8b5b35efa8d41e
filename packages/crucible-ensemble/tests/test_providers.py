"""The wire: the three APIs' published shapes, from a server on loopback."""

import gc
import json
import logging
import ssl
from email.utils import format_datetime

import anyio
import anyio.to_thread
import httpx
import pytest
from recorded_shapes import (
    ANTHROPIC,
    ANTHROPIC_LONG,
    ANTHROPIC_OVERLOADED,
    ANTHROPIC_STREAM,
    GEMINI,
    GEMINI_BLOCKED,
    GEMINI_KEY,
    GEMINI_LONG,
    GEMINI_RATE,
    GEMINI_STREAM,
    LLAMACPP_CONTEXT,
    OPENAI,
    OPENAI_CONTEXT,
    OPENAI_QUOTA,
    OPENAI_RATE,
    OPENAI_STREAM,
)
from wire_server import Script, after_release, drip, hang_up, hold, reply, stream

from crucible_ensemble import Ensemble, OpenAIModel
from crucible_ensemble.errors import (
    AllModelsFailedError,
    AuthenticationError,
    CircuitOpenError,
    ConnectionFailedError,
    ContentFilteredError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    ModelTimeoutError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitError,
    ResponseFormatError,
    ServerError,
    UnsupportedOptionError,
)
from crucible_ensemble.limits import Breaker, Limiter
from crucible_ensemble.member import Member
from crucible_ensemble.models.anthropic import AnthropicModel
from crucible_ensemble.models.connections import Connections
from crucible_ensemble.models.gemini import GeminiModel
from crucible_ensemble.retry import Retries

pytestmark = pytest.mark.anyio
KEY = "sk-secret-4711"
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "5 + 5?"},
    {"role": "assistant", "content": "?"},
    {"role": "user", "content": "Well?"},
]


def openai(url, **options):
    once = options.pop("retries", Retries(attempts=1))
    return OpenAIModel("gpt-4o-mini", base_url=f"{url}/v1", api_key=KEY, retries=once, **options)


def anthropic(url, **options):
    once = options.pop("retries", Retries(attempts=1))
    return AnthropicModel("claude-haiku-4-5", base_url=url, api_key=KEY, retries=once, **options)


def gemini(url, **options):
    once = options.pop("retries", Retries(attempts=1))
    return GeminiModel("gemini-2.5-flash", base_url=url, api_key=KEY, retries=once, **options)


CLIENTS = [openai, anthropic, gemini]
ANSWERS = {openai: OPENAI, anthropic: ANTHROPIC, gemini: GEMINI}
STREAMS = {openai: OPENAI_STREAM, anthropic: ANTHROPIC_STREAM, gemini: GEMINI_STREAM}


async def ask(client, *answers, prompt="?", options=None, **call):
    """Return the completion and the requests that were made."""
    with Script(*answers) as server:
        async with client(server.url, **(options or {})) as model:
            return await model.generate(prompt, **call), server.requests


async def failed(client, error, *answers, options=None, **call):
    """Return the error and the requests that were made."""
    with Script(*answers) as server:
        async with client(server.url, **(options or {})) as model:
            with pytest.raises(error) as caught:
                await model.generate("?", **call)
            return caught.value, server.requests


async def read(model):
    """Return every chunk of a stream."""
    async with model.open_stream("?") as chunks:
        return [chunk async for chunk in chunks]


async def test_openai_is_asked_and_read_as_its_reference_says():
    answer, [(path, headers, body)] = await ask(
        openai, reply(200, OPENAI), prompt=MESSAGES, options={"logprobs": True, "top_logprobs": 2},
        temperature=0.5, max_tokens=9, seed=3, stop=["\n"],
    )  # fmt: skip
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert body == {
        "model": "gpt-4o-mini", "messages": MESSAGES, "max_tokens": 9, "temperature": 0.5,
        "seed": 3, "stop": ["\n"], "logprobs": True, "top_logprobs": 2,
    }  # fmt: skip
    assert (answer.text, answer.finish, answer.model) == ("10", "stop", "openai/gpt-4o-mini")
    assert answer.served_by == "gpt-4o-mini-2024-07-18/fp_fc9f1d7035"
    assert (answer.input_tokens, answer.output_tokens) == (1117, 46)
    assert (answer.cached_tokens, answer.reasoning_tokens) == (1000, 12)
    # The price table: 117 fresh, 1,000 cached, 46 out.
    assert answer.cost_usd == pytest.approx((117 * 0.15 + 1000 * 0.075 + 46 * 0.60) / 1e6)
    assert list(answer.logprobs) == [-0.25, -0.75]
    assert answer.confidence == pytest.approx(0.6065306597)  # exp(-0.5)
    assert answer.top_logprobs[0] == {"1": -0.25, "2": -1.5}
    assert answer.request_id.startswith("chatcmpl-")


async def test_reasoning_models_are_sent_the_newer_name_of_the_limit():
    def new(url, **options):
        return OpenAIModel(
            "gpt-5", base_url=url, api_key=KEY, token_parameter="max_completion_tokens"
        )

    _, [(_, _, body)] = await ask(new, reply(200, OPENAI), max_tokens=7, temperature=None)
    assert body["max_completion_tokens"] == 7
    assert not {"max_tokens", "temperature"} & set(body)
    for name in ("o1", "o3-mini", "gpt-5", "gpt-5.4", "gpt-6-sol"):
        assert OpenAIModel(name)._wire._token_parameter == "max_completion_tokens"
    for name in ("gpt-4o", "gpt-4.1-mini"):
        assert OpenAIModel(name)._wire._token_parameter == "max_tokens"


async def test_azure_has_its_own_address_and_header():
    def azure(url, **options):
        return OpenAIModel("my-gpt", base_url=url, api_key=KEY, api_version="2024-10-21")

    with pytest.warns(match="no price for 'azure/my-gpt'"):
        answer, [(path, headers, _)] = await ask(azure, reply(200, OPENAI))
    assert path == "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21"
    assert headers["api-key"] == KEY
    assert headers["authorization"] is None
    assert answer.cost_usd is None


async def test_anthropic_is_asked_and_read_as_its_reference_says():
    answer, [(path, headers, body)] = await ask(
        anthropic, reply(200, ANTHROPIC), prompt=MESSAGES, temperature=1.0, max_tokens=9, stop=["X"]
    )
    assert path == "/v1/messages"
    assert headers["x-api-key"] == KEY
    assert headers["anthropic-version"] == "2023-06-01"
    assert body == {
        "model": "claude-haiku-4-5", "max_tokens": 9, "temperature": 1.0, "system": "Be brief.",
        "messages": MESSAGES[1:], "stop_sequences": ["X"],
    }  # fmt: skip
    assert (answer.text, answer.finish) == ("It is 10.", "stop")
    # Input counts what was written to and read from the provider's cache.
    assert (answer.input_tokens, answer.output_tokens, answer.cached_tokens) == (2200, 503, 100)
    assert answer.cost_usd == pytest.approx((2100 * 1.0 + 100 * 0.1 + 503 * 5.0) / 1e6)
    assert answer.served_by == "claude-haiku-4-5-20251001"


async def test_gemini_is_asked_and_read_as_its_reference_says():
    answer, [(path, headers, body)] = await ask(
        gemini, reply(200, GEMINI), prompt=MESSAGES, options={"logprobs": True, "top_logprobs": 2},
        temperature=1.5, max_tokens=9, seed=3, stop=["X"],
    )  # fmt: skip
    assert path == "/v1beta/models/gemini-2.5-flash:generateContent"
    assert KEY not in path
    assert headers["x-goog-api-key"] == KEY
    assert [c["role"] for c in body["contents"]] == ["user", "model", "user"]
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert body["generationConfig"] == {
        "maxOutputTokens": 9, "temperature": 1.5, "seed": 3, "stopSequences": ["X"],
        "responseLogprobs": True, "logprobs": 2,
    }  # fmt: skip
    assert (answer.text, answer.finish) == ("It is 10.", "stop")  # thoughts are no answer
    assert (answer.input_tokens, answer.output_tokens) == (8, 25)  # thoughts are billed
    assert (answer.cached_tokens, answer.reasoning_tokens) == (4, 20)
    assert answer.cost_usd == pytest.approx((4 * 0.30 + 4 * 0.03 + 25 * 2.50) / 1e6)
    assert list(answer.logprobs) == [-0.5]
    assert answer.top_logprobs[0] == {"It": -0.5, "10": -1.0}


def changed(body, *path, to):
    """Return a copy of a body with one value changed, or left out."""
    copy = json.loads(json.dumps(body))
    at = copy
    for step in path[:-1]:
        at = at[step]
    if to is None:
        del at[path[-1]]
    else:
        at[path[-1]] = to
    return copy


@pytest.mark.parametrize(
    ("client", "body", "finish"),
    [
        (openai, changed(OPENAI, "choices", 0, "finish_reason", to="length"), "length"),
        (openai, changed(OPENAI, "choices", 0, "finish_reason", to="content_filter"), "filtered"),
        (openai, changed(OPENAI, "choices", 0, "message", "refusal", to="I can't"), "filtered"),
        (openai, changed(OPENAI, "choices", 0, "finish_reason", to="tool_calls"), "tool"),
        (openai, changed(OPENAI, "choices", 0, "finish_reason", to="novelty"), "unknown"),
        (anthropic, changed(ANTHROPIC, "stop_reason", to="max_tokens"), "length"),
        (anthropic, changed(ANTHROPIC, "stop_reason", to="stop_sequence"), "stop"),
        (anthropic, changed(ANTHROPIC, "stop_reason", to="refusal"), "filtered"),
        (anthropic, changed(ANTHROPIC, "stop_reason", to="tool_use"), "tool"),
        (gemini, changed(GEMINI, "candidates", 0, "finishReason", to="MAX_TOKENS"), "length"),
        (gemini, changed(GEMINI, "candidates", 0, "finishReason", to="SAFETY"), "filtered"),
        (gemini, changed(GEMINI, "candidates", 0, "finishReason", to="RECITATION"), "filtered"),
        (gemini, GEMINI_BLOCKED, "filtered"),
    ],
)
async def test_why_an_answer_ended_is_one_of_five_words(client, body, finish):
    answer, _ = await ask(client, reply(200, body))
    assert answer.finish == finish
    if finish == "filtered":
        await failed(client, ContentFilteredError, reply(200, body), options={"raise_filtered": True})  # fmt: skip


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("every_byte", [True, False])
async def test_a_stream_is_read_wherever_it_is_split(client, every_byte):
    with Script(stream(STREAMS[client], every_byte=every_byte)) as server:
        async with client(server.url) as model, model.open_stream("?") as chunks:
            seen = [chunk async for chunk in chunks]
    # U+2028 is a line separator to str.splitlines, and a letter to server-sent events.
    assert [chunk.text for chunk in seen] == ["Grüße,", " Welt \u2028", ""]
    answer = seen[-1].completion
    assert answer.text == "Grüße, Welt \u2028"
    assert answer.finish == "stop"
    usage = {openai: (9, 3), anthropic: (25, 15), gemini: (8, 6)}[client]
    assert (answer.input_tokens, answer.output_tokens) == usage
    assert 0 <= answer.ttft_s <= answer.latency_s
    path, _, body = server.requests[0]
    if client is gemini:
        assert path.endswith(":streamGenerateContent?alt=sse")
    else:
        assert body["stream"] is True
    if client is openai:
        assert body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("ending", ["\r\n", "\r"])
async def test_lines_of_a_stream_may_end_in_carriage_returns(client, ending):
    text = STREAMS[client].replace("\n", ending)
    with Script(stream(text, every_byte=True)) as server:
        async with client(server.url) as model, model.open_stream("?") as chunks:
            assert "".join([c.text async for c in chunks]) == "Grüße, Welt \u2028"


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_stream_that_ends_too_early_is_an_error_and_never_a_short_answer(client):
    half = STREAMS[client][: len(STREAMS[client]) // 2]
    for answer in (stream(half), stream(half, stop_after=len(half))):
        with Script(answer) as server:
            async with client(server.url) as model:
                with pytest.raises((ResponseFormatError, ConnectionFailedError)):
                    await read(model)


async def test_an_error_event_in_a_stream_is_that_error():
    begun = ANTHROPIC_STREAM.partition("event: content_block_stop")[0]
    text = begun + f"event: error\ndata: {json.dumps(ANTHROPIC_OVERLOADED)}\n\n"
    with Script(stream(text)) as server:
        async with anthropic(server.url) as model:
            with pytest.raises(OverloadedError, match="Overloaded"):
                await read(model)


async def test_a_stream_is_tried_again_until_it_begins():
    with Script(reply(503, {}), stream(OPENAI_STREAM)) as server:
        async with openai(server.url, retries=Retries(initial_s=0, max_s=0)) as model:
            seen = await read(model)
    assert seen[-1].completion.attempts == 2
    assert seen[-1].completion.cost_usd is None  # nobody knows what the 503 cost


async def test_leaving_a_stream_early_frees_its_connection():
    with Script(stream(OPENAI_STREAM), reply(200, OPENAI)) as server:
        limiter = Limiter(1)
        async with openai(server.url, limiter=limiter) as model:
            async with model.open_stream("?") as chunks:
                assert (await anext(chunks)).text == "Grüße,"
            assert limiter.running == 0
            assert (await model.generate("?")).text == "10"


# One row of section 4 of the specification each: client, status, body, class, retryable.
REFUSALS = [
    (openai, 401, {"error": {"message": "no"}}, AuthenticationError, False),
    (openai, 403, {"error": {"message": "no"}}, PermissionDeniedError, False),
    (openai, 404, {"error": {"message": "no"}}, ModelNotFoundError, False),
    (openai, 400, {"error": {"message": "no"}}, InvalidRequestError, False),
    (openai, 413, {"error": {"message": "no"}}, InvalidRequestError, False),
    (openai, 422, {"error": {"message": "no"}}, InvalidRequestError, False),
    (openai, 400, OPENAI_CONTEXT, ContextLengthError, False),
    (openai, 400, LLAMACPP_CONTEXT, ContextLengthError, False),
    (anthropic, 400, ANTHROPIC_LONG, ContextLengthError, False),
    (openai, 429, OPENAI_RATE, RateLimitError, True),
    (openai, 429, OPENAI_QUOTA, RateLimitError, False),
    (gemini, 429, GEMINI_RATE, RateLimitError, True),
    (gemini, 400, GEMINI_KEY, AuthenticationError, False),
    (anthropic, 529, ANTHROPIC_OVERLOADED, OverloadedError, True),
    (openai, 503, {"error": {"message": "no"}}, OverloadedError, True),
    (openai, 500, b"<html>oops</html>", ServerError, True),
    (openai, 502, b"", ServerError, True),
    (openai, 408, {}, ServerError, True),
    (openai, 409, {}, ServerError, True),
]


@pytest.mark.parametrize(("client", "status", "body", "kind", "retryable"), REFUSALS)
async def test_refusals_have_their_class(client, status, body, kind, retryable):
    error, _ = await failed(client, kind, reply(status, body, {"x-request-id": "req-1"}))
    assert type(error) is kind
    assert (error.status, error.retryable, error.request_id) == (status, retryable, "req-1")
    # A request refused with 4xx is not billed; what a failed server bills, nobody knows.
    assert error.cost_usd == (0.0 if 400 <= status < 500 and status != 408 else None)


@pytest.mark.parametrize(
    ("client", "body", "limit", "tokens"),
    [
        (openai, LLAMACPP_CONTEXT, 2048, 6051),
        (openai, OPENAI_CONTEXT, 128_000, 200_000),
        (anthropic, ANTHROPIC_LONG, 200_000, 210_000),
        (gemini, GEMINI_LONG, 1_048_576, 1_200_000),
        (openai, {"error": {"message": "too long", "code": "context_length_exceeded"}}, None, None),
    ],
)
async def test_a_context_error_says_how_much_too_long(client, body, limit, tokens):
    error, _ = await failed(client, ContextLengthError, reply(400, body))
    assert (error.limit, error.tokens) == (limit, tokens)


@pytest.mark.parametrize(
    ("client", "body", "headers", "low", "high"),
    [
        (openai, OPENAI_RATE, {"retry-after": "7"}, 7, 7),
        (openai, OPENAI_RATE, {"retry-after": "0.5"}, 0.5, 0.5),
        (openai, OPENAI_RATE, {"retry-after-ms": "250", "retry-after": "9"}, 0.25, 0.25),
        (gemini, GEMINI_RATE, {}, 34, 34),
        (anthropic, {}, {"retry-after": "later"}, None, None),
        (anthropic, {}, {"retry-after": "in-a-minute"}, 50, 60),
    ],
)
async def test_how_long_to_wait_is_read_in_every_form(client, body, headers, low, high):
    import datetime

    if headers.get("retry-after") == "in-a-minute":
        then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=60)
        headers = {"retry-after": format_datetime(then, usegmt=True)}
    error, _ = await failed(client, RateLimitError, reply(429, body, headers))
    if low is None:
        assert error.retry_after_s is None
    else:
        assert low <= error.retry_after_s <= high


@pytest.mark.parametrize("client", CLIENTS)
async def test_three_refusals_for_now_and_then_an_answer(client):
    busy = reply(429, {"error": {"message": "slow down"}}, {"retry-after": "0"})
    answer, requests = await ask(
        client, busy, busy, busy, reply(200, ANSWERS[client]),
        options={"retries": Retries(attempts=4)},
    )  # fmt: skip
    assert (answer.attempts, len(requests)) == (4, 4)
    assert answer.cost_usd > 0  # what was refused cost nothing


# Name, what the server does, the error it is, and what that attempt cost: None where nobody knows.
FAULTS = [
    ("429", reply(429, OPENAI_RATE, {"retry-after": "0"}), RateLimitError, 0.0),
    ("500", reply(500, b"<html>oops</html>", content_type="text/html"), ServerError, None),
    ("503", reply(503, {}), OverloadedError, None),
    ("truncated JSON", reply(200, json.dumps(OPENAI).encode()[:-9]), ResponseFormatError, None),
    ("a page", reply(200, b"<html>hi</html>", content_type="text/html"), ResponseFormatError, None),
    ("slow drips", drip(OPENAI), ModelTimeoutError, None),
    ("silence", hold(), ModelTimeoutError, None),
    ("closed before", hang_up(), ConnectionFailedError, None),
    ("closed within", hang_up(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{"), ConnectionFailedError, None),
]  # fmt: skip
PAID = (117 * 0.15 + 1000 * 0.075 + 46 * 0.60) / 1e6  # what OPENAI's usage costs by the price table


@pytest.mark.parametrize(("what", "fault", "kind", "cost"), FAULTS, ids=[f[0] for f in FAULTS])
async def test_a_fault_that_passes_is_survived_and_what_it_may_have_cost_is_not_forgotten(
    what, fault, kind, cost
):
    answer, requests = await ask(
        openai, fault, reply(200, OPENAI),
        options={"retries": Retries(initial_s=0, max_s=0), "timeout_s": 1.0},
    )  # fmt: skip
    assert (answer.text, answer.attempts, len(requests)) == ("10", 2, 2)
    if cost == 0.0:
        assert answer.cost_usd == pytest.approx(PAID)
    else:
        assert answer.cost_usd is None
        assert answer.extra["known_cost_usd"] == pytest.approx(PAID)


@pytest.mark.parametrize(("what", "fault", "kind", "cost"), FAULTS, ids=[f[0] for f in FAULTS])
async def test_a_fault_that_stays_is_one_failed_member_and_the_others_vote(what, fault, kind, cost):
    with Script(fault) as broken, Script(reply(200, OPENAI)) as sound:
        members = [
            Member(openai(broken.url, timeout_s=0.3), name="broken"),
            *(Member(openai(sound.url), name=name) for name in ("b", "c")),
        ]
        async with Ensemble(members) as ensemble:
            prediction = await ensemble.predict("5 + 5?")
            with pytest.raises(AllModelsFailedError) as caught:
                await Ensemble(members[:1]).predict("5 + 5?")
    facts = prediction.metadata
    assert prediction.answer == "10"
    assert set(facts.failures) == {"broken"}
    assert facts.failures["broken"].startswith(f"{kind.__name__}: ")
    assert facts.known_cost_usd == pytest.approx(2 * PAID)
    assert facts.cost_usd == (None if cost is None else pytest.approx(2 * PAID))
    assert facts.unpriced == (("broken",) if cost is None else ())
    assert type(caught.value.exceptions[0]) is kind
    assert caught.value.responses[0].cost_usd == cost


async def test_a_sound_answer_under_a_wrong_content_type_is_an_answer():
    answer, _ = await ask(openai, reply(200, OPENAI, content_type="text/plain"))
    assert answer.text == "10"
    with Script(reply(200, OPENAI)) as server:  # asked for a stream, it sends a whole body
        async with openai(server.url) as model:
            with pytest.raises(ResponseFormatError, match="a stream of application/json"):
                await read(model)


async def test_what_breaks_within_a_stream_may_be_billed_whatever_it_is():
    begun = OPENAI_STREAM.partition("data: [DONE]")[0].splitlines(keepends=True)[:4]
    refusal = f"data: {json.dumps({'error': {'code': 429, 'message': 'slow'}})}\n\n"
    with Script(reply(429, OPENAI_RATE, {"retry-after": "0"}), stream("".join(begun) + refusal)) as server:  # fmt: skip
        async with openai(server.url, retries=Retries(initial_s=0, max_s=0)) as model:
            with pytest.raises(RateLimitError) as caught:
                await read(model)
    assert (caught.value.cost_usd, caught.value.attempts) == (None, 2)


def test_a_stream_that_waits_to_be_tried_again_lets_others_through(in_virtual_time):
    async def main():
        limiter, order = Limiter(1), []

        class Busy(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request):
                order.append(json.loads(request.content)["messages"][0]["content"])
                if order == ["streamed"]:
                    return httpx.Response(503, json={})
                if order[-1] == "streamed":
                    return httpx.Response(200, content=OPENAI_STREAM.encode())
                return httpx.Response(200, json=OPENAI)

        async with httpx.AsyncClient(transport=Busy()) as client:
            model = openai(
                "http://x", client=client, limiter=limiter, retries=Retries(initial_s=9, max_s=9)
            )

            async def streamed():
                async with model.open_stream("streamed") as chunks:
                    return [c async for c in chunks]

            async with anyio.create_task_group() as group:
                group.start_soon(streamed)
                await anyio.sleep(1)
                group.start_soon(model.generate, "whole")
        return order

    assert in_virtual_time(main) == ["streamed", "whole", "streamed"]


async def test_what_may_have_been_billed_twice_has_no_known_price_but_a_lower_bound():
    answer, _ = await ask(
        openai,
        reply(500, {}),
        reply(200, OPENAI),
        options={"retries": Retries(initial_s=0, max_s=0)},
    )
    assert answer.attempts == 2
    assert answer.cost_usd is None
    assert answer.extra["known_cost_usd"] == pytest.approx((117 * 0.15 + 1000 * 0.075 + 46 * 0.60) / 1e6)  # fmt: skip


async def test_attempts_end_and_the_last_error_counts_them():
    error, requests = await failed(
        openai, ServerError, reply(500, {}), options={"retries": Retries(initial_s=0, max_s=0)}
    )
    assert (error.attempts, len(requests)) == (3, 3)


async def test_a_refusal_for_good_is_not_tried_again():
    _, requests = await failed(openai, AuthenticationError, reply(401, {}), options={"retries": Retries()})  # fmt: skip
    assert len(requests) == 1


async def test_a_wait_beyond_the_deadline_is_not_begun():
    with Script(reply(429, OPENAI_RATE, {"retry-after": "3600"})) as server:
        async with openai(server.url, retries=Retries()) as model:
            with pytest.raises(RateLimitError), anyio.fail_after(20):
                await model.generate("?")


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[1]", b"{}", b'{"choices": [{"mes', b'"text"', b"null", b"{\"choices\": []}"]
)  # fmt: skip
async def test_a_useless_body_is_tried_once_more_and_not_more_often(client, body):
    error, requests = await failed(
        client, ResponseFormatError, reply(200, body, content_type="text/html"),
        options={"retries": Retries(attempts=5, initial_s=0, max_s=0)},
    )  # fmt: skip
    assert len(requests) == 2
    assert error.cost_usd is None


@pytest.mark.parametrize("count", ["7", -1, 1.5, True])
async def test_a_token_count_that_is_none_is_not_believed(count):
    await failed(openai, ResponseFormatError, reply(200, changed(OPENAI, "usage", "prompt_tokens", to=count)))  # fmt: skip


async def test_an_error_with_status_200_is_that_error():
    error, _ = await failed(openai, RateLimitError, reply(200, {"error": {"code": 429, "message": "slow"}}))  # fmt: skip
    assert "slow" in str(error)
    await failed(anthropic, OverloadedError, reply(200, ANTHROPIC_OVERLOADED))
    await failed(openai, ResponseFormatError, reply(200, {"error": "something"}))


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_refused(client, status):
    with Script(reply(200, {})) as elsewhere:
        error, _ = await failed(client, InvalidRequestError, reply(status, b"", {"location": elsewhere.url}))  # fmt: skip
        assert "redirect" in str(error)
        assert elsewhere.requests == []


async def test_silence_and_slow_drips_time_out():
    for answer in (hold(), hold(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{"), drip(OPENAI)):
        error, _ = await failed(openai, ModelTimeoutError, answer, options={"timeout_s": 0.2})
        assert isinstance(error, TimeoutError)
        assert error.retryable
        assert error.cost_usd is None


async def test_a_slow_stream_times_out_between_its_chunks():
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    first = OPENAI_STREAM.encode()[:700]
    with Script(hold(head + b"%x\r\n%s\r\n" % (len(first), first))) as server:
        async with openai(server.url, timeout_s=0.3) as model:
            with pytest.raises(ModelTimeoutError):
                await read(model)


async def test_a_connection_that_breaks_is_a_failed_connection():
    for answer in (hang_up(), hang_up(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{")):
        error, _ = await failed(openai, ConnectionFailedError, answer)
        assert error.cost_usd is None  # the answer was on its way: it may be billed


async def test_a_server_that_is_not_there_is_named_and_cost_nothing():
    model = OpenAIModel("x", base_url="http://127.0.0.1:9/v1", retries=Retries(attempts=1))
    with pytest.raises(ConnectionFailedError, match=r"127\.0\.0\.1:9") as caught:
        await model.generate("?")
    assert caught.value.cost_usd == 0.0
    await model.aclose()


@pytest.mark.parametrize("client", CLIENTS)
async def test_the_key_is_in_no_error_no_log_no_span_and_no_representation(client, caplog):
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    caplog.set_level(logging.DEBUG)
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    body = {"error": {"message": f"Incorrect API key provided: {KEY}"}}
    with provider.get_tracer("test").start_as_current_span("outer"):
        error, _ = await failed(client, AuthenticationError, reply(401, body))
    told = (
        f"{error} {error!r} {error.__dict__} {error.__cause__!r} {client('http://127.0.0.1:9')!r}"
    )
    told += str(client("http://127.0.0.1:9").fingerprint())
    told += "".join(span.to_json() for span in spans.get_finished_spans())
    assert KEY not in told + caplog.text
    assert "Incorrect API key provided: ***" in str(error)


async def test_a_dated_snapshot_says_under_which_name_it_was_priced():
    with Script(reply(200, OPENAI)) as server:
        snapshot = OpenAIModel("gpt-4o-2024-11-20", base_url=f"{server.url}/v1", api_key=KEY)
        async with snapshot as model:
            answer = await model.generate("?")
    assert answer.extra["priced_as"] == "openai/gpt-4o"
    assert answer.cost_usd == pytest.approx((117 * 2.5 + 1000 * 1.25 + 46 * 10) / 1e6)
    plain, _ = await ask(openai, reply(200, OPENAI))
    assert "priced_as" not in plain.extra


async def test_a_missing_key_names_the_variable():
    for model, variable in (
        (OpenAIModel("gpt-4o-mini"), "OPENAI_API_KEY"),
        (AnthropicModel("claude-haiku-4-5"), "ANTHROPIC_API_KEY"),
        (GeminiModel("gemini-2.5-flash"), "GEMINI_API_KEY or GOOGLE_API_KEY"),
    ):
        async with model:
            with pytest.raises(AuthenticationError, match=variable):
                await model.generate("?")


async def test_keys_are_read_from_the_environment_at_the_first_call(monkeypatch):
    with Script(reply(200, GEMINI)) as server:
        async with GeminiModel("gemini-2.5-flash", base_url=server.url) as model:
            monkeypatch.setenv("GOOGLE_API_KEY", "from-google")
            await model.generate("?")
            monkeypatch.setenv("GEMINI_API_KEY", "from-gemini")
            await model.generate("?")
    assert [h["x-goog-api-key"] for _, h, _ in server.requests] == ["from-google", "from-gemini"]


@pytest.mark.parametrize(
    ("client", "call", "option"),
    [
        (anthropic, {"seed": 1}, "seed"),
        (anthropic, {"temperature": 1.5}, "temperature"),
        (gemini, {"stop": list("abcdef")}, "stop"),
        (gemini, {"temperature": 2.5}, "temperature"),
    ],
)
async def test_an_option_that_the_provider_lacks_is_refused_before_anything_is_sent(
    client, call, option
):
    error, requests = await failed(client, UnsupportedOptionError, reply(200, {}), **call)
    assert error.option == option
    assert requests == []
    answer, [(_, _, body)] = await ask(client, reply(200, ANSWERS[client]), options={"unsupported": "record"}, **call)  # fmt: skip
    assert answer.dropped == (option,)
    assert option not in json.dumps(body).replace("stop_reason", "")


async def test_openai_itself_takes_four_stops_and_other_servers_more():
    with pytest.raises(UnsupportedOptionError):
        await OpenAIModel("gpt-4o", api_key=KEY).generate("?", stop=list("abcde"))
    answer, _ = await ask(openai, reply(200, OPENAI), stop=list("abcde"))
    assert answer.dropped == ()


@pytest.mark.parametrize("prompt", ["", [], [{"role": "king", "content": "x"}], [{"role": "user"}]])
async def test_prompts_that_servers_answer_with_nonsense_are_refused_here(prompt):
    with pytest.raises(ValueError, match="prompt"):
        await openai("http://127.0.0.1:9").generate(prompt)


@pytest.mark.parametrize(
    "call", [{"max_tokens": 0}, {"temperature": -1}, {"stop": [""]}, {"stop": "ab"}]
)
async def test_options_that_nobody_can_honour_are_refused_here(call):
    with pytest.raises(ValueError, match=f"`{next(iter(call))}` must be"):
        await openai("http://127.0.0.1:9").generate("?", **call)


async def test_at_most_ten_calls_are_under_way():
    with Script(after_release(reply(200, OPENAI))) as server:
        async with openai(server.url) as model, anyio.create_task_group() as group:
            for _ in range(25):
                group.start_soon(model.generate, "?")
            await anyio.to_thread.run_sync(server.wait_for, 10)
            await anyio.wait_all_tasks_blocked()
            server.release()
    assert len(server.requests) == 25
    assert server.most_open == 10


async def test_a_waiting_call_can_be_cancelled_and_was_never_sent():
    with Script(after_release(reply(200, OPENAI))) as server:
        limiter = Limiter(1)
        async with openai(server.url, limiter=limiter) as model, anyio.create_task_group() as group:
            group.start_soon(model.generate, "?")
            await anyio.to_thread.run_sync(server.wait_for, 1)
            with anyio.CancelScope() as scope:
                group.start_soon(cancel_when_idle, scope)
                await model.generate("?")
            assert scope.cancelled_caught
            server.release()
        assert len(server.requests) == 1
        assert limiter.running == 0


async def cancel_when_idle(scope):
    await anyio.wait_all_tasks_blocked()
    scope.cancel()


async def test_a_model_that_is_down_is_left_alone_for_a_while():
    with Script(reply(500, {})) as server:
        breaker = Breaker(2, reset_s=3600)
        async with openai(server.url, breaker=breaker) as model:
            for _ in range(2):
                with pytest.raises(ServerError):
                    await model.generate("?")
            with pytest.raises(CircuitOpenError) as caught:
                await model.generate("?")
        assert len(server.requests) == 2
        assert 3500 < caught.value.retry_in_s <= 3600


async def test_every_attempt_has_a_span_of_its_own():
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from crucible_ensemble import spans as names

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer, names._TRACER = names._TRACER, provider.get_tracer("crucible_ensemble")
    try:
        await ask(
            openai, reply(500, {}), reply(200, OPENAI), prompt="tell nobody", seed=3,
            options={"retries": Retries(initial_s=0, max_s=0)},
        )  # fmt: skip
        first, second = exporter.get_finished_spans()
        assert {first.name, second.name} == {"crucible.ensemble.generate"}
        assert first.kind is trace.SpanKind.CLIENT
        assert (first.attributes["error.type"], first.attributes["crucible.outcome"]) == (
            "ServerError",
            "error",
        )
        assert second.attributes["crucible.outcome"] == "ok"
        assert second.attributes["crucible.ensemble.attempt"] == 1
        assert second.attributes["gen_ai.request.seed"] == 3
        assert second.attributes["gen_ai.usage.input_tokens"] == 1117
        assert second.attributes["server.address"] == "127.0.0.1"
        assert "tell nobody" not in first.to_json() + second.to_json()
        exporter.clear()
        await ask(
            openai, reply(200, OPENAI), prompt="tell everybody", options={"capture_content": True}
        )
        (span,) = exporter.get_finished_spans()
        assert "tell everybody" in span.attributes["gen_ai.input.messages"]
        assert (
            json.loads(span.attributes["gen_ai.output.messages"])[0]["parts"][0]["content"] == "10"
        )
    finally:
        names._TRACER = tracer


async def test_a_connection_is_used_again_and_a_burst_leaves_no_more_than_twenty_open():
    with Script(after_release(reply(200, OPENAI))) as server:
        async with openai(server.url, limiter=Limiter(30)) as model:
            async with anyio.create_task_group() as group:
                for _ in range(30):
                    group.start_soon(model.generate, "?")
                await anyio.to_thread.run_sync(server.wait_for, 30)
                server.release()
            lines = model._transport._client()._transport
            assert (len(lines._idle), len(lines._open)) == (20, 20)
            used = lines._idle[-1]
            for _ in range(3):
                await model.generate("?")
                assert lines._idle[-1] is used
        assert lines._open == set()


async def test_a_line_that_broke_or_was_cancelled_serves_the_next_call():
    with Script(hang_up(), reply(200, OPENAI), hold(), reply(200, OPENAI)) as server:
        async with openai(server.url, timeout_s=0.3) as model:
            for error in (ConnectionFailedError, ModelTimeoutError):
                with pytest.raises(error):
                    await model.generate("?")
                assert (await model.generate("?")).text == "10"
            lines = model._transport._client()._transport
            assert len(lines._open) == 1


def test_an_encrypted_server_is_asked_for_a_certificate_that_this_machine_trusts():
    def trusted(url):
        lines = Connections().client(object(), encrypted=url.startswith("https"))._transport
        return lines._trusted

    async def main():
        return trusted("https://x"), trusted("http://x")

    encrypted, plain = anyio.run(main)
    for context in (encrypted, plain):
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED
    assert encrypted.cert_store_stats()["x509_ca"] > 0
    assert plain.cert_store_stats()["x509_ca"] == 0


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # sockets of a loop that is gone
def test_one_model_object_serves_one_event_loop_after_another():
    with Script(reply(200, OPENAI)) as server:
        model = openai(server.url)
        for backend in ("asyncio", "trio", "asyncio"):
            assert anyio.run(model.generate, "?", backend=backend).text == "10"
        anyio.run(model.aclose)
        del model
        gc.collect()
