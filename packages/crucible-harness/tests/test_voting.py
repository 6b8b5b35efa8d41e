"""The `ensemble` of a condition in a file: every vote, execution and normaliser of the package."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from virtual import virtually
from worlds import right, sums, wrong

from crucible_ensemble import Completion, Ensemble, SimulatedModel
from crucible_ensemble.errors import UnsupportedOptionError
from crucible_ensemble.executions import (
    Cascade,
    FixedHedge,
    Parallel,
    Posterior,
    Quorum,
    Sequential,
    Sprt,
)
from crucible_ensemble.normalise import NORMALISERS
from crucible_ensemble.votes import (
    BestConfidence,
    ConfidenceSum,
    Majority,
    Unanimous,
    Weighted,
    WeightedMajority,
)
from crucible_harness import Condition, Experiment
from crucible_harness.config import read_experiment
from crucible_harness.errors import ConfigError, ProviderRefusedError

FILE = """
name = "votes"
seed = 1
[dataset]
name = "sums"
[[conditions]]
name = "vote"
temperature = 0.7
ensemble = { models = ["a", "b", "c"], normalise = "numeric"%s }
%s
"""


def simulated(name):
    accuracies = {"a": 1.0, "b": 0.6, "c": 0.7}
    return SimulatedModel(
        name, accuracy=accuracies[name], answer_of=right, wrong_of=wrong, price=(1.0, 2.0),
        latency_s=0.5, confidence="calibrated",
    )  # fmt: skip


def read(options="", more=""):
    return parsed(FILE % (f", {options}" if options else "", more))


def parsed(text):
    origin = {"toml": text, "directory": ".", "overrides": {"items": None, "data": None}}
    return read_experiment(
        text, origin=origin, name="votes.toml", dataset=sums(6), open_model=simulated
    )[0]


def panel(options="", more=""):
    return read(options, more).conditions[0].model.panel


def finished(experiment, options):
    return virtually(experiment, options)[0]


@pytest.mark.parametrize(
    ("words", "vote"),
    [
        ("", Majority()),
        ('vote = "unanimous"', Unanimous()),
        ('vote = "weighted_majority"', WeightedMajority()),
        ('vote = { name = "majority", threshold = "absolute" }', Majority("absolute")),
        ('vote = { name = "unanimous", scope = "answered" }', Unanimous("answered")),
        ('vote = { name = "weighted", by = "accuracy", classes = 4 }, accuracies = [0.9, 0.6, 0.7]',
         Weighted(by="accuracy", classes=4)),
        ('vote = { name = "weighted", calibration = "assume", missing = "drop" }',
         Weighted(calibration="assume", missing="drop")),
        ('vote = { name = "confidence_sum", calibration = "assume" }',
         ConfidenceSum(calibration="assume")),
        ('vote = { name = "best_confidence", calibration = "assume" }',
         BestConfidence(calibration="assume")),
    ],
)  # fmt: skip
def test_every_vote_can_be_chosen_with_its_options(words, vote):
    assert panel(words).vote == vote


@pytest.mark.parametrize(
    ("words", "execution"),
    [
        ("", Parallel()),
        ('execution = "quorum"', Quorum()),
        ('execution = "sequential"', Sequential()),
        ('execution = { name = "sequential", stop = { name = "posterior", target = 0.9 } }, '
         "accuracies = [0.9, 0.6, 0.7]", Sequential(stop=Posterior(0.9))),
        ('execution = { name = "sequential", order = "cheapest", stop = "sprt" }, '
         "accuracies = [0.9, 0.6, 0.7], price_ranks = [3, 1, 2]",
         Sequential(order="cheapest", stop=Sprt())),
        ('execution = { name = "hedged", delay_s = 0.2, max_backups = 1 }',
         FixedHedge(delay_s=0.2, max_backups=1)),
        ('execution = { name = "cascade", threshold = [0.95, 0.8], calibration = "assume" }',
         Cascade(threshold=(0.95, 0.8), calibration="assume", order="given")),
    ],
)  # fmt: skip
def test_every_execution_can_be_chosen_with_its_options(words, execution):
    assert panel(words).execution == execution


def test_the_other_options_reach_the_ensemble():
    found = panel(
        'quorum = 2, tie = "abstain", confidence = "logprobs", deadline_s = 9.0, timeout_s = 5.0, '
        "weights = [1, 2, 3]"
    )
    assert (found.quorum, found.tie, found.confidence) == (2, "abstain", "logprobs")
    assert (found.deadline_s, found.timeout_s) == (9.0, 5.0)
    assert [m.weight for m in found.members] == [1, 2, 3]
    for name in NORMALISERS:
        chosen = read().conditions[0].model.with_options(normalise=name).panel.normalise
        text = FILE.replace('normalise = "numeric"', f'normalise = "{name}"') % ("", "")
        assert parsed(text).conditions[0].model.panel.normalise is chosen


@pytest.mark.parametrize(
    ("words", "more", "says"),
    [
        ('vote = "loudest"', "", "`conditions.0.ensemble.vote.name`"),
        ('vote = { name = "majority", classes = 4 }', "", "`classes` is no option of 'majority'"),
        ('execution = { name = "quorum", delay_s = 1.0 }', "", "`delay_s` is no option of 'quorum'; it has none"),
        ('execution = { name = "hedged", delay = 1.0 }', "", "did you mean `delay_s`?"),
        ('vote = "weighted"', "", "a file cannot hold calibrators"),
        ('execution = "cascade"', "", "a file cannot hold calibrators"),
        ("weights = [1]", "", "`weights` must be 3 numbers, got 1"),
        ('vote = { name = "weighted", by = "accuracy" }, execution = "quorum"', "", "`vote` must be majority"),
        ('execution = { name = "sequential", stop = "posterior" }', "", "`accuracies` must hold"),
        ('execution = { name = "hedged", delay_s = 2.0 }', "hedge = {}", "must be left out where there is a `hedge`"),
        ('execution = "hedged", samples = 2', "hedge = {}", "a `hedge` races models, not `samples`"),
        ("quorum = 4", "", "`quorum` must be in [1, 3]"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_named(words, more, says):
    with pytest.raises(ConfigError) as caught:
        read(words, more)
    assert says in str(caught.value)


def test_a_hedge_races_the_members_of_a_hedged_ensemble_and_copies_of_the_others():
    raced = read('execution = "hedged"', "hedge = { delay = 0.2 }").conditions[0].model
    assert raced.panel.execution.name == "hedged"
    assert not any(hasattr(m, "races") for m in raced.members())
    copies = read("", "hedge = { delay = 0.2 }").conditions[0].model
    assert all(m.races for m in copies.members())


def test_a_run_of_a_cascade_and_of_a_race_asks_only_whom_it_must(options):
    cascade = read(
        'execution = { name = "cascade", threshold = 0.8, calibration = "assume" }'
    )  # a is always right, and sure of it
    assert finished(cascade, options).calls_sent == 6
    raced = read('execution = "hedged"', "hedge = { delay = 9.0 }")
    assert finished(raced, replace(options, directory=options.directory / "raced")).calls_sent == 6


class Claude:
    """Takes no seed and no temperature above 1, as Anthropic's models do."""

    name, supports = "anthropic/claude", frozenset({"temperature", "stop"})

    def __init__(self):
        self.asked = []

    def fingerprint(self):
        return {"model": self.name}

    async def generate(self, prompt, /, *, temperature=0.0, max_tokens=1000, seed=None, stop=()):
        self.asked.append(seed)
        if seed is not None or temperature > 1:
            raise UnsupportedOptionError("claude takes no such `temperature`", option="temperature")
        return Completion(text="1", model=self.name, cost_usd=0.0)


def asking(model, temperature):
    return Experiment(
        "options", dataset=sums(4), seed=1,
        conditions=[Condition("c", model, temperature=temperature)],
    )  # fmt: skip


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_model_without_seeds_is_not_sent_one_and_its_answers_say_so(options, wrapped):
    model = Claude()
    asked = Ensemble([model], samples=3, normalise="numeric") if wrapped else model
    result = finished(asking(asked, 0.7), options)
    assert (result.failed, set(model.asked)) == (0, {None})
    assert len(model.asked) == (12 if wrapped else 4)  # three draws are three calls
    recorded = sqlite3.connect(result.path / "journal.sqlite")
    with closing(recorded):
        rows = [json.loads(r[0]) for r in recorded.execute("SELECT response FROM calls")]
    assert {tuple(row["dropped"]) for row in rows} == {("seed",)}


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_option_that_a_model_lacks_ends_the_run_with_one_sentence(options, wrapped):
    model = Claude()
    asked = Ensemble([model], normalise="numeric") if wrapped else model
    with pytest.raises(ProviderRefusedError, match="claude takes no such `temperature`"):
        finished(asking(asked, 1.5), replace(options, concurrency=1))
    assert len(model.asked) == 1


def test_an_option_that_a_member_never_takes_ends_the_run_before_any_call(options):
    class NoStop(Claude):
        supports = frozenset({"temperature", "seed"})

    model = NoStop()
    experiment = Experiment(
        "options", dataset=sums(4), seed=1,
        conditions=[Condition("c", Ensemble([model]), stop=("\n",))],
    )  # fmt: skip
    with pytest.raises(ProviderRefusedError, match="takes no `stop`"):
        finished(experiment, options)
    assert model.asked == []
