"""A real llama.cpp server on loopback with the real weights of SmolLM2-135M-Instruct."""

from contextlib import AsyncExitStack

import anyio
import httpx
import pytest

from crucible_ensemble import CassetteModel, Ensemble, LlamaCppModel, OpenAIModel
from crucible_ensemble.errors import ContextLengthError
from crucible_ensemble.models.prompted import PromptedModel
from crucible_ensemble.prices import PriceBook
from crucible_ensemble.retry import Retries

FRANCE = "What is the capital of France? Answer with one word."


def test_the_real_model_keeps_the_promises_of_its_client(tmp_path):
    # One server for all claims: it takes longest to start.
    async def main():
        async with LlamaCppModel(parallel=2, logprobs=True) as model:
            first = await model.generate(FRANCE, max_tokens=40)
            assert first.text == "The capital of France is Paris."
            assert (first.input_tokens, first.output_tokens) == (42, 8)
            assert first.confidence == pytest.approx(0.844, abs=0.02)
            assert (first.confidence_source, first.cost_usd) == ("logprobs", 0.0)

            # The same seed, the same text, one after another and two at a time.
            texts = []

            async def sample():
                answer = await model.generate(
                    "Tell me a story.", temperature=1.0, seed=7, max_tokens=12
                )
                texts.append(answer.text)

            for _ in range(4):
                await sample()
            async with anyio.create_task_group() as group:
                for _ in range(8):
                    group.start_soon(sample)
            assert len(set(texts)) == 1
            other = await model.generate("Tell me a story.", temperature=1.0, seed=8, max_tokens=12)
            assert other.text != texts[0]

            with pytest.raises(ContextLengthError) as caught:
                await model.generate("word " * 6000)
            assert caught.value.limit is None or caught.value.tokens > caught.value.limit

            # A cancelled call frees its place: the next is answered before 2,000 tokens could be.
            with anyio.move_on_after(0.5):
                await model.generate("Count to a thousand.", max_tokens=2000)
            with anyio.fail_after(60):
                assert (await model.generate(FRANCE, max_tokens=12)).text

            async with model.open_stream(FRANCE, max_tokens=40) as chunks:
                seen = [chunk async for chunk in chunks]
            assert seen[-1].completion.text == "".join(c.text for c in seen) == first.text
            assert seen[-1].completion.output_tokens == 8

            # Over plain HTTP the same server gives the same answer.
            remote = OpenAIModel(
                "smollm2", base_url=model.base_url, retries=Retries(attempts=1), timeout_s=120,
                prices=PriceBook({"openai/smollm2": (1.0, 1.0)}), extra_body={"cache_prompt": False},
            )  # fmt: skip
            async with remote:
                answer = await remote.generate(FRANCE, max_tokens=40)
            assert answer.text == first.text
            assert answer.cost_usd == pytest.approx(50 / 1e6)

            # Recorded, and replayed with the server off.
            tape = tmp_path / "tape.jsonl"
            recorder = CassetteModel(model, tape, mode="record")
            predict = {"temperature": 0.7, "max_tokens": 16}
            live = await vote(recorder).predict("What is 3 + 4?", **predict)
        replayed = await vote(CassetteModel(None, tape)).predict("What is 3 + 4?", **predict)
        assert [r.completion.text for r in replayed.responses] == [r.completion.text for r in live.responses]  # fmt: skip
        again = await vote(CassetteModel(None, tape)).predict("What is 3 + 4?", **predict)
        assert again.to_dict() == replayed.to_dict()
        assert (replayed.answer, replayed.metadata.billed_usd) == (live.answer, 0.0)

    anyio.run(main)


def vote(model):
    members = [
        PromptedModel(model, template=t, name=t) for t in ("{prompt}", "{prompt} Number only.")
    ]
    return Ensemble(members, normalise="numeric", samples=2, quorum=1, timeout_s=120)


def test_the_server_may_run_in_a_process_of_its_own():
    async def main():
        async with LlamaCppModel(server_process=True) as model, AsyncExitStack() as clients:
            answer = await model.generate(FRANCE, max_tokens=40)
            # Connections stay open after their answer; none may keep the next one waiting. A server
            # with a thread per processor needs five seconds for every few of these.
            with anyio.fail_after(20):
                for _ in range(40):
                    client = await clients.enter_async_context(httpx.AsyncClient())
                    assert (await client.get(f"{model.base_url}/models")).status_code == 200
            process = model._server
        return answer.text, process.poll()

    text, ended = anyio.run(main)
    assert text == "The capital of France is Paris."
    assert ended is not None
