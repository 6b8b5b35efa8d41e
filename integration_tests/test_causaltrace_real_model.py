"""Traces as a real model writes them: read without a crash, and accounted for (acceptance 14)."""

import anyio

from crucible_causaltrace import build_causal_prompt, parse
from crucible_ensemble import LlamaCppModel


def test_twenty_answers_of_smollm2_are_accounted_for_character_by_character(capsys):
    prompts = [build_causal_prompt(f"How much is {n} times {n + 3}?") for n in range(20)]

    async def answers():
        said = {}

        async def ask(model, number):
            done = await model.generate(prompts[number], temperature=0.0, max_tokens=32)
            said[number] = done.text

        async with LlamaCppModel(parallel=2) as model, anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(ask, model, number)
        return [said[number] for number in range(20)]

    texts = anyio.run(answers)
    reports = [parse(text) for text in texts]
    for text, report in zip(texts, reports, strict=True):
        assert "".join(text[span.start : span.end] for span in report.spans) == text
    readable = sum(bool(report.events) for report in reports)
    sound = sum(bool(report.events) and report.ok for report in reports)
    # Printed and not asserted: a model of 135 million parameters is bad at it.
    with capsys.disabled():
        print(  # noqa: T201
            f"\nSmolLM2-135M: of 20 answers {readable} hold an event, {sound} without an error"
        )
