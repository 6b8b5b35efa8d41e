"""A real model over a demo set: what it says is read, scored and given an interval."""

import anyio

from crucible_datasets import evaluate, load, render
from crucible_ensemble import LlamaCppModel, OpenAIModel, PriceBook


def test_smollm2_gets_some_of_fifty_sums_right_over_http():
    sums = load("demo-arithmetic", sample_size=50)
    free = PriceBook({"openai/smollm2": (0.0, 0.0)})

    async def answers():
        said = {}

        async def ask(model, item):
            done = await model.generate(render(item), temperature=0.0, max_tokens=16)
            said[item.id] = done.text

        async with (
            LlamaCppModel(parallel=2) as server,
            OpenAIModel("smollm2", base_url=server.base_url, prices=free, timeout_s=240) as model,
            anyio.create_task_group() as tasks,
        ):
            for item in sums:
                tasks.start_soon(ask, model, item)
        return said

    result = evaluate(anyio.run(answers), sums, model="SmolLM2-135M-Instruct")
    assert (result.n_items, result.n_missing, result.n_failed) == (50, 0, 0)
    # Acceptance 24 of the specification: neither hopeless nor perfect, and nearly always readable.
    assert 0.15 <= result.accuracy <= 0.85
    assert result.n_unextracted / result.n_items < 0.3
    low, high = result.accuracy_interval
    assert low < result.accuracy < high
    # The items alone decide the score: what extraction found is what was compared.
    right = [one.extracted == str(sums.by_id(one.item_id).expected) for one in result.items]
    assert sum(right) / 50 == result.accuracy
