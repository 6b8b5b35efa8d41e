"""A study on real weights, killed and resumed; and members that race through crucible-hedging."""

import json
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import anyio
import pytest
import trio.testing

from crucible_ensemble import Completion, Ensemble, FunctionModel, LlamaCppModel
from crucible_ensemble.ablation import ablation
from crucible_ensemble.collect import collect
from crucible_ensemble.errors import AllModelsFailedError, AuthenticationError, RateLimitError
from crucible_ensemble.evaluate import Strategy, predictions_of
from crucible_ensemble.matrix import ResponseMatrix
from crucible_ensemble.models.cached import CachedModel
from crucible_ensemble.models.prompted import PromptedModel
from crucible_harness import load_experiment
from crucible_hedging import Hedger

# The part of the study that is killed, in a process of its own.
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from test_ensemble_study import answered
answered(*sys.argv[2:], tell=lambda: print("answered", flush=True))
"""
ASKED = {"max_tokens": 4, "concurrency": 2, "timeout_s": 300.0, "seed": 3}


def variants(model):
    return [
        PromptedModel(model, template="{prompt} Answer with the number only.", name="plain"),
        PromptedModel(model, system="You are a careful calculator.", name="careful"),
        PromptedModel(model, template="{prompt}\nThe answer is", name="open"),
    ]


def questions(file):
    """The 40 shortest of the 1,319 test questions of GSM8K."""
    rows = [json.loads(line) for line in Path(file).read_text(encoding="utf-8").splitlines()]
    short = sorted(range(len(rows)), key=lambda n: (len(rows[n]["question"]), n))[:40]
    prompts = {f"gsm8k/{n}": rows[n]["question"] for n in short}
    labels = {f"gsm8k/{n}": rows[n]["answer"] for n in short}
    return prompts, labels


def answered(file, path, cache, tell=lambda: None):
    """Collect the matrix; return it, and how many calls reached the weights."""
    sent = []

    async def main():
        async with LlamaCppModel() as model:
            ask = model.generate

            async def counted(*prompt, **options):
                sent.append(1)
                answer = await ask(*prompt, **options)
                tell()
                return answer

            model.generate = counted
            cached = CachedModel(model, cache)
            return await collect(variants(cached), questions(file)[0], path=path, **ASKED)

    return anyio.run(main), len(sent)


def lines_of(path):
    """The cells of a file, without what tells a cached answer from a new one."""
    header, *cells = map(json.loads, Path(path).read_text(encoding="utf-8").splitlines())
    for cell in cells:
        for flag in ("cached", "billed_usd"):
            cell["completion"].pop(flag, None)
    return header, cells


def test_a_study_of_40_questions_and_3_prompts_killed_and_resumed_is_the_uninterrupted_one(
    tmp_path, benchmark_data
):
    file = benchmark_data / "gsm8k" / "test.jsonl"
    path, cache = tmp_path / "responses.jsonl", tmp_path / "cache.sqlite"
    words = [str(Path(__file__).parent), str(file), str(path), str(cache)]
    running = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words], stdout=subprocess.PIPE, text=True
    )
    for _ in range(25):  # until a fifth of the answers is there
        assert running.stdout.readline() == "answered\n"
    running.send_signal(signal.SIGKILL)
    running.communicate()
    before = len(path.read_text(encoding="utf-8").splitlines()) - 1
    assert 20 < before < 120

    resumed, sent = answered(file, path, cache)
    # Two calls may have been on their way, and paid, when the process died; nothing else is asked
    # again. An answer that was kept and not yet written down comes from the cache.
    assert 118 <= sent + before <= 120
    with closing(sqlite3.connect(cache)) as stored:
        assert stored.execute("SELECT count(*) FROM completions").fetchone() == (120,)
    assert (len(resumed), resumed.samples) == (120, 1)
    assert path.read_bytes() == saved(resumed, tmp_path / "again.jsonl")

    whole, sent = answered(file, tmp_path / "whole.jsonl", cache)
    assert sent == 0
    assert lines_of(path) == lines_of(tmp_path / "whole.jsonl")

    # The live vote is the vote on record, and every subset can be had from the same responses.
    prompts, labels = questions(file)
    strategy = Strategy(name="vote", normalise="numeric", quorum=1, seed=3)
    on_record = predictions_of(whole, strategy)

    async def live():
        ensemble = Ensemble(
            variants(CachedModel(Forgotten(), cache)), normalise="numeric", quorum=1, seed=3
        )
        return await ensemble.predict_many(prompts, max_tokens=ASKED["max_tokens"])

    voted = anyio.run(live)
    assert [p.answer for p in voted] == [p.answer for p in on_record]
    assert [dict(p.metadata.votes) for p in voted] == [dict(p.metadata.votes) for p in on_record]
    found = ablation(whole, labels=labels, normalise="numeric")
    assert len(found.subsets) == 7
    right = whole.correct(labels, normalise="numeric")[:, :, 0].mean(axis=0)
    assert [s.accuracy for s in found.subsets[:3]] == pytest.approx(list(right))
    assert found.subsets[0].cost_usd == 0.0  # local weights are free


class Forgotten:
    """Stands for the weights, which are not asked again: every answer is in the cache."""

    name = "local/smollm2"

    def fingerprint(self):
        return LlamaCppModel().fingerprint()

    async def generate(self, prompt, /, **options):
        raise AssertionError("asked although the answer is in the cache")


def saved(matrix, path):
    matrix.save(path)
    assert len(ResponseMatrix.load(path)) == len(matrix)
    return path.read_bytes()


def says(text, name, *, after=0.0):
    async def answer(prompt):
        await anyio.sleep(after)
        return Completion(text=text, model=name, cost_usd=0.01, billed_usd=0.01, latency_s=after)

    return FunctionModel(answer, name=name)


def fails(name, error):
    async def answer(prompt):
        raise error

    return FunctionModel(answer, name=name)


def raced(members, delay=1.0, backups=1):
    """Ask members that race through a real hedger, in virtual time."""
    hedger = Hedger(delay, budget=None, max_backups=backups, explore=0.0)
    ensemble = Ensemble(members, execution="hedged", hedger=hedger, normalise="numeric")
    clock = trio.testing.MockClock(autojump_threshold=0)
    prediction = anyio.run(
        ensemble.predict, "6 x 7?", backend="trio", backend_options={"clock": clock}
    )
    return prediction, hedger


@pytest.mark.parametrize(
    ("primary", "winner", "called"),
    [
        (says("42", "a", after=0.5), "a", 1),  # in time
        (says("42", "a", after=9.0), "b", 2),  # late
        (fails("a", RateLimitError("busy", model="a")), "b", 2),  # failed
        (says("no idea", "a"), "b", 2),  # without an answer that can be read
    ],
    ids=["in time", "late", "failed", "invalid"],
)
def test_a_real_hedger_backs_up_a_member_that_is_late_fails_or_has_no_answer(primary, winner, called):  # fmt: skip
    prediction, _ = raced([primary, says("42", "b", after=0.5)])
    facts = prediction.metadata
    assert (prediction.answer, facts.ended, facts.winners) == ("42", "winner", (winner,))
    assert (facts.called, facts.hedged) == (called, called - 1)
    statuses = [r.status for r in prediction.responses]
    assert statuses[1] == ("ok" if called == 2 else "skipped")
    # Of a call that was cancelled nobody knows the price; a finished one is paid once.
    known = sum(r.cost_usd or 0.0 for r in prediction.responses)
    assert facts.known_cost_usd == pytest.approx(known)
    assert (facts.cost_usd is None) == (None in [r.cost_usd for r in prediction.responses])


def test_a_race_that_everybody_loses_names_every_cause():
    members = [fails("a", RateLimitError("busy", model="a")), fails("b", AuthenticationError("no key", model="b"))]  # fmt: skip
    with pytest.raises(AllModelsFailedError) as caught:
        raced(members)
    assert caught.value.failures == {"a": "RateLimitError: busy", "b": "AuthenticationError: no key"}  # fmt: skip


def test_the_ensembles_of_the_guide_are_read_from_a_file(tmp_path):
    guide = (Path(__file__).parent.parent / "docs" / "ensembles.md").read_text(encoding="utf-8")
    (conditions,) = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
    file = tmp_path / "exp.toml"
    file.write_text(
        'name = "guide"\nseed = 1\ndataset = { name = "demo-arithmetic", limit = 3 }\n' + conditions
    )
    experiment, _ = load_experiment(file)
    executions = {c.name: c.model.panel.execution.name for c in experiment.conditions}
    assert executions == {
        "weighted": "parallel", "curtailed": "sequential", "raced": "hedged", "cascade": "cascade",
    }  # fmt: skip
