"""Models that are not providers: caches, cassettes, functions, simulations, prompt variants."""

import json
import threading

import anyio
import pytest
from recorded_shapes import OPENAI
from wire_server import Script, reply

from crucible_ensemble import (
    CassetteModel,
    Completion,
    Ensemble,
    FunctionModel,
    SimulatedModel,
    hedged,
    open_model,
)
from crucible_ensemble.aliases import aliases
from crucible_ensemble.errors import (
    AuthenticationError,
    CassetteMissError,
    ModelNotFoundError,
    ServerError,
)
from crucible_ensemble.limits import Limiter
from crucible_ensemble.models.cached import CachedModel
from crucible_ensemble.models.prompted import PromptedModel
from crucible_ensemble.models.simulated import Fixed, Lognormal, Overconfident, Stragglers
from crucible_ensemble.open_model import open_models
from crucible_ensemble.prices import PriceBook

pytestmark = pytest.mark.anyio
FREE = PriceBook({"vllm/a": (0.0, 0.0), "vllm/b": (0.0, 0.0)})


class Counting:
    """Counts what it is asked, and may be slow or broken."""

    name = "test/counting"

    def __init__(self, *, broken=0, wait=None):
        self.asked, self.broken, self.wait = [], broken, wait

    async def generate(self, prompt, /, *, temperature=0.0, max_tokens=1000, seed=None, stop=()):
        self.asked.append(seed)
        if self.wait is not None:
            await self.wait.wait()
        if len(self.asked) <= self.broken:
            raise ServerError("no", model=self.name)
        return Completion(text=f"{prompt} {len(self.asked)}", model=self.name, cost_usd=0.5, billed_usd=0.5, latency_s=2.0)  # fmt: skip


@pytest.mark.parametrize("kind", ["memory", "file"])
async def test_a_cache_pays_once_and_keeps_cost_and_latency(tmp_path, kind):
    store = None if kind == "memory" else tmp_path / "cache.sqlite"
    model = Counting()
    cached = CachedModel(model, store)
    first, second = await cached.generate("q", seed=1), await cached.generate("q", seed=1)
    assert (first.text, first.cached, first.billed_usd) == ("q 1", False, 0.5)
    assert (second.text, second.cached, second.billed_usd) == ("q 1", True, 0.0)
    assert (second.cost_usd, second.latency_s) == (0.5, 2.0)
    for other in ({"seed": 2}, {"seed": 1, "max_tokens": 5}, {"seed": 1, "stop": ["x"]}, {}):
        await cached.generate("q", **other)
    assert len(model.asked) == 5
    await cached.aclose()
    if kind == "file":
        again = CachedModel(Counting(), store)
        assert (await again.generate("q", seed=1)).text == "q 1"
        await again.aclose()


async def test_new_draws_go_past_the_cache():
    model = Counting()
    cached = CachedModel(model)
    for temperature in (0.7, 0.7, None, None):
        await cached.generate("q", temperature=temperature)
    assert len(model.asked) == 4
    await cached.generate("q", temperature=0.7, seed=1)
    await cached.generate("q", temperature=0.7, seed=1)
    assert len(model.asked) == 5


async def test_equal_requests_under_way_share_one_call_and_failures_are_not_kept():
    gate = anyio.Event()
    model = Counting(wait=gate)
    cached = CachedModel(model)
    answers = []

    async def ask():
        answers.append((await cached.generate("q")).text)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        gate.set()
    assert (len(model.asked), set(answers)) == (1, {"q 1"})
    flaky = CachedModel(Counting(broken=1))
    with pytest.raises(ServerError):
        await flaky.generate("q")
    assert (await flaky.generate("q")).text == "q 2"


async def test_a_cancelled_call_leaves_those_that_wait_for_it_to_ask_themselves():
    gate = anyio.Event()
    model = Counting(wait=gate)
    cached = CachedModel(model)
    done = []

    async def ask():
        done.append(await cached.generate("q"))

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as first:
            async with anyio.create_task_group() as inner:
                inner.start_soon(cached.generate, "q")
                await anyio.wait_all_tasks_blocked()
                group.start_soon(ask)
                await anyio.wait_all_tasks_blocked()
                first.cancel()
        gate.set()
    assert len(done) == 1
    assert len(model.asked) == 2


async def test_a_cassette_numbers_unseeded_draws_and_names_the_nearest_request(tmp_path):
    path = tmp_path / "tape.jsonl"
    recorder = CassetteModel(Counting(), path, mode="record")
    for _ in range(2):
        await recorder.generate("What is the capital of France?", temperature=0.7)
    player = CassetteModel(None, path)
    texts = [(await player.generate("What is the capital of France?", temperature=0.7)).text for _ in range(2)]  # fmt: skip
    assert texts == ["What is the capital of France? 1", "What is the capital of France? 2"]
    with pytest.raises(CassetteMissError, match="not as often"):
        await player.generate("What is the capital of France?", temperature=0.7)
    with pytest.raises(CassetteMissError, match=r"the nearest differs: temperature is 0.7 there"):
        await player.generate("What is the capital of France?", temperature=0.8)
    with pytest.raises(CassetteMissError, match="its prompt is 'What is the capital of France\\?'"):
        await player.generate("What is the capital of Italy?", temperature=0.7)
    assert "authorization" not in path.read_text().casefold()
    auto = CassetteModel(Counting(), path, mode="auto")
    assert (await auto.generate("new", seed=1)).cached is False
    assert (await auto.generate("new", seed=1)).cached is True


class Seedless(Counting):
    """Has no seeds, as Anthropic's models have none."""

    name, supports = "test/seedless", frozenset({"temperature", "stop"})


async def test_an_ensemble_asks_a_recording_for_what_it_asked_the_model(tmp_path):
    tape = tmp_path / "tape.jsonl"
    recorder = CassetteModel(Seedless(), tape, mode="record")
    asked = {"temperature": 0.7}
    live = await Ensemble([recorder], samples=3, normalise="exact").predict("q", **asked)
    assert recorder._model.asked == [None] * 3
    player = CassetteModel(None, tape)
    assert player.supports == {"temperature", "stop"}
    again = await Ensemble([player], samples=3, normalise="exact").predict("q", **asked)
    assert [r.key for r in again.responses] == [r.key for r in live.responses]
    assert again.responses[0].completion.dropped == ("seed",)


def test_what_wraps_a_model_takes_what_the_model_takes():
    class Never:
        async def race(self, calls, /, *, key=None):
            raise NotImplementedError

    seedless = Seedless()
    assert "seed" not in hedged(seedless, hedger=Never()).supports
    assert "seed" not in hedged(simulated(), hedger=Never(), backups=[seedless]).supports
    assert not hasattr(hedged(Counting(), hedger=Never()), "supports")
    assert CachedModel(seedless).supports == seedless.supports


async def test_one_tape_holds_one_model(tmp_path):
    tape = tmp_path / "tape.jsonl"
    await CassetteModel(Counting(), tape, mode="record").generate("q")
    with pytest.raises(ValueError, match="must be a tape of 'test/seedless'"):
        CassetteModel(Seedless(), tape, mode="auto")
    assert CassetteModel(None, tape).mode == "replay"
    # Under another name it is still the same recording.
    assert (await CassetteModel(None, tape, name="mine").generate("q")).text == "q 1"


async def test_closing_a_cassette_closes_what_it_records(tmp_path):
    closed = []

    class Closing(Counting):
        async def aclose(self):
            closed.append(True)

    await CassetteModel(Closing(), tmp_path / "t", mode="record").aclose()
    assert closed == [True]


def test_cassettes_need_a_mode_a_model_and_a_file(tmp_path):
    with pytest.raises(ValueError, match="`mode` must be"):
        CassetteModel(None, tmp_path / "x", mode="rewind")
    with pytest.raises(ValueError, match="`model` must be given"):
        CassetteModel(None, tmp_path / "x", mode="record")
    with pytest.raises(FileNotFoundError):
        CassetteModel(None, tmp_path / "x")
    (tmp_path / "x").write_text('{"schema": "other"}\n')
    with pytest.raises(ValueError, match="schema"):
        CassetteModel(None, tmp_path / "x")


async def test_functions_may_be_sync_async_or_objects():
    seen = []

    def sync(prompt):
        seen.append(threading.current_thread() is threading.main_thread())
        return "1"

    class Object:
        async def __call__(self, prompt):
            return Completion(text="2", model="o", cost_usd=0.1)

    assert (await FunctionModel(sync).generate("?")).text == "1"
    assert seen == [False]  # a sync function does not hold up the event loop
    assert (await FunctionModel(Object(), name="o").generate("?")).cost_usd == 0.1
    with pytest.raises(TypeError, match="must return str or Completion"):
        await FunctionModel(lambda prompt: 7).generate("?")


def simulated(**options):
    return SimulatedModel("s", accuracy=0.7, answer_of=lambda q: "1", wrong_of=lambda q: ["2"], **options)  # fmt: skip


async def test_simulations_state_confidence_and_take_time_as_told(in_virtual_time):
    assert (await simulated().generate("?")).confidence is None
    assert (await simulated(confidence="calibrated").generate("?")).confidence == 0.7
    boast = await simulated(confidence=Overconfident(logit=3.0)).generate("?")
    odds = 0.7 / 0.3 * 2.718281828459045**3
    assert boast.confidence == pytest.approx(odds / (1 + odds))
    assert boast.simulated
    assert boast.cost_usd is None  # no price was given
    priced = await simulated(price=(1.0, 2.0), tokens=(1000, 500)).generate("?")
    assert priced.cost_usd == pytest.approx(0.002)


def test_simulated_latencies_follow_their_distribution(in_virtual_time):
    async def latencies(latency):
        model = simulated(latency=latency)
        return [(await model.generate(f"q {i}")).latency_s for i in range(2000)]

    assert set(in_virtual_time(latencies, Fixed(0.5))) == {0.5}
    late = in_virtual_time(latencies, Stragglers(usual=1.0, late=9.0, share=0.1))
    assert set(late) == {1.0, 9.0}
    assert late.count(9.0) / 2000 == pytest.approx(0.1, abs=0.02)
    drawn = sorted(in_virtual_time(latencies, Lognormal(median=2.0, sigma=0.5)))
    assert drawn[1000] == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize(
    "options",
    [
        {"correlation": 1.5}, {"failure_rate": -1}, {"latency_s": -1}, {"price": (-1, 0)},
        {"tokens": (-1, 0)}, {"confidence": "high"}, {"latency_s": 1.0, "latency": Fixed(1)},
    ],
)  # fmt: skip
def test_impossible_simulations_are_refused(options):
    with pytest.raises(ValueError, match="must be"):
        simulated(**options)


async def test_prompt_variants_change_the_words_and_not_the_model():
    seen = []

    async def echo(prompt):
        seen.append(prompt)
        return "1"

    model = FunctionModel(echo, name="m")
    variant = PromptedModel(model, template="Q: {prompt}\nA:", system="Be brief.", name="v")
    await variant.generate([{"role": "user", "content": "{prompt}?"}])
    assert seen[0] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Q: {prompt}?\nA:"},
    ]
    with pytest.raises(ValueError, match="`template` must contain"):
        PromptedModel(model, template="hello")
    ensemble = Ensemble([variant, PromptedModel(model, name="w")])
    assert "2 of family 'm'" in ensemble.panel.warning


def test_names_open_the_right_client():
    opened = {
        "openai/gpt-4o-mini": "OpenAIModel", "anthropic/claude-haiku-4-5": "AnthropicModel",
        "gemini/gemini-2.5-flash": "GeminiModel", "ollama/llama3.2": "OpenAIModel", "vllm/x": "OpenAIModel",
    }  # fmt: skip
    for name, kind in opened.items():
        model = open_model(name)
        assert (type(model).__name__, model.name) == (kind, name)
    for alias, name in aliases().items():
        if not name.startswith("local/"):
            assert open_model(alias).name == name
    assert open_model("azure/d", base_url="https://r.openai.azure.com").name == "azure/d"
    for name in ("azure/d", "openai-compatible/m"):
        with pytest.raises(ValueError, match="`base_url` must be given"):
            open_model(name)
    with pytest.raises(ModelNotFoundError, match="did you mean"):
        open_model("claud")
    with pytest.raises(ModelNotFoundError, match="build a SimulatedModel"):
        open_model("simulated/x")
    with pytest.raises(ValueError, match="did you mean `logprobs`"):
        open_model("openai/gpt-4o", logprob=True)
    with pytest.raises(ValueError, match="`api_key` must not be given"):
        open_model("smollm2", api_key="x")


def test_models_of_one_provider_share_a_limiter():
    a, b, c = open_models(["gpt4", "gpt4_mini", "claude"])
    assert a._limiter is b._limiter is not c._limiter
    assert a._transport._connections is b._transport._connections
    assert a._transport._connections is not c._transport._connections
    shared = Limiter(3)
    assert all(m._limiter is shared for m in open_models(["gpt4", "claude"], limiter=shared))


async def test_shared_connections_are_closed_with_the_last_model_that_holds_them():
    with Script(reply(200, OPENAI)) as server:
        a, b = open_models(["vllm/a", "vllm/b"], base_url=f"{server.url}/v1", prices=FREE)
        for model in (a, b):
            await model.generate("?")
        client = a._transport._client()
        assert b._transport._client() is client
        await a.aclose()
        await b.generate("?")
        assert not client.is_closed
        await b.aclose()
        await b.aclose()
        assert client.is_closed
        await a.generate("?")  # a closed model may be used again
        await a.aclose()


def test_a_limiter_lets_so_many_a_minute_through(in_virtual_time):
    async def main(**rates):
        limiter, at = Limiter(100, **rates), []

        async def call():
            async with limiter.slot(100) as slot:
                at.append(anyio.current_time())
                slot.used = 100

        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(call)
        return [t - at[0] for t in at]

    # 60 a minute: a burst of one second is one request, then one each second.
    assert in_virtual_time(lambda: main(requests_per_minute=60)) == pytest.approx(
        [0, 1, 2, 3, 4, 5]
    )
    # 600 tokens a minute are ten a second: a call of 100 waits until the debt of the last is paid.
    spread = in_virtual_time(lambda: main(tokens_per_minute=600))
    assert spread[5] - spread[1] == pytest.approx(40.0)


def test_a_pause_holds_everybody_and_waiting_is_first_in_first_out(in_virtual_time):
    async def main():
        limiter, order = Limiter(1), []

        async def call(n):
            async with limiter.slot():
                order.append((n, anyio.current_time() - began))
                await anyio.sleep(1)

        began = anyio.current_time()
        limiter.pause(10)
        async with anyio.create_task_group() as group:
            for n in range(4):
                group.start_soon(call, n)
                await anyio.sleep(0.01)
        return order

    assert in_virtual_time(main) == [(n, pytest.approx(10.0 + n)) for n in range(4)]


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"requests_per_minute": 0}, {"tokens_per_minute": -1}])  # fmt: skip
def test_impossible_limits_are_refused(options):
    with pytest.raises(ValueError, match="must be"):
        Limiter(**options)


async def test_a_key_is_read_late_and_its_absence_names_the_variable():
    with pytest.raises(AuthenticationError, match="ANTHROPIC_API_KEY"):
        await open_model("claude", unsupported="record").generate("?")


def test_a_cassette_is_json_lines_with_a_header(tmp_path):
    path = tmp_path / "t.jsonl"
    anyio.run(CassetteModel(Counting(), path, mode="record").generate, "q")
    header, line = (json.loads(row) for row in path.read_text().splitlines())
    assert header == {"schema": "crucible-ensemble/cassette/1", "model": "test/counting"}
    assert set(line) == {"key", "request", "completion"}
