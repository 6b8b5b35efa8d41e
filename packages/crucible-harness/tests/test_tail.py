"""Latency objectives, and what hedging did: judged from the journal alone."""

import math
from dataclasses import replace

import pytest
import trio
from scipy.stats import beta
from virtual import Clocked, in_virtual_time
from worlds import right, simulated, sums

from crucible_ensemble import Completion, hedged
from crucible_harness import Condition, Experiment, analyse, report, run, run_sync
from crucible_harness.hedging import _Race, _sample
from crucible_harness.options import ErrorPolicy, Limits
from crucible_harness.slo import LatencySLO, stated
from crucible_hedging import FixedDelay, Hedger
from crucible_hedging.effect import measure_effect

ANY = ErrorPolicy(max_failure_rate=1.0)


class Slow:
    """Takes a second for each tenth item and a tenth of one for the others, and says so."""

    name = "slow/m"

    def fingerprint(self) -> dict[str, object]:
        return {"model": self.name}

    async def generate(self, prompt, /, **options: object) -> Completion:
        text = right(prompt[-1]["content"])
        took = 1.0 if hash_of(prompt) % 10 == 0 else 0.1
        return Completion(text=text, model=self.name, cost_usd=0.0, latency_s=took)


def hash_of(prompt) -> int:
    return int(prompt[-1]["content"].split()[2])


def slow(n: int = 200, **design: object) -> Experiment:
    return Experiment(
        "slow", dataset=sums(n), seed=1, conditions=[Condition("slow", Slow())], **design
    )


@pytest.mark.parametrize(
    ("percentile", "threshold_s", "outcome"),
    [
        # 180 of 200 within half a second: limits .8580 and .9327
        (80, 0.5, "met"),
        (95, 0.5, "missed"),
        (90, 0.5, "undecided"),
        (99, 1.0, "undecided"),  # all of 200: .05^(1/200) = .9851 is below .99
        (98, 1.0, "met"),
    ],
)
def test_an_objective_is_judged_by_the_share_within_its_threshold(
    options, percentile, threshold_s, outcome
):
    slo = LatencySLO(percentile=percentile, threshold_s=threshold_s, condition="slow")
    result = run_sync(slow(), options=replace(options, slo=[slo]))
    (found,) = result.analysis.slo
    assert (found.outcome, found.items, found.stated_after) == (outcome, 200, 0)
    if threshold_s == 0.5:
        limits = beta.ppf(0.05, 180, 21), beta.ppf(0.95, 181, 20)  # Clopper and Pearson, 1934
        assert (found.share, found.low, found.high) == pytest.approx((0.9, *limits))
    else:
        assert found.low == pytest.approx(0.05 ** (1 / 200))


def test_a_failed_item_is_later_than_any_threshold(options, replayed):
    experiment = replayed({"a": "1" * 90 + "!" * 10})
    slo = LatencySLO(percentile=50, threshold_s=10_000.0, condition="a")
    result = run_sync(experiment, options=replace(options, slo=[slo], errors=ANY))
    assert result.analysis.slo[0].share == pytest.approx(0.9)


def test_an_objective_that_is_stated_late_says_so_and_is_kept(options):
    experiment = slow(20)
    run_sync(experiment, options=options)
    late = LatencySLO(percentile=50, threshold_s=0.5, condition="slow")
    result = run_sync(experiment, options=replace(options, slo=[late]))
    assert result.analysis.slo[0].stated_after == 20
    assert any("stated when 20 cells were finished" in text for text in result.analysis.warnings)
    again = run_sync(experiment, options=options)
    assert again.analysis.slo == result.analysis.slo == analyse(result.path).slo
    text = report(result.path)["markdown"].read_text()
    assert "P50 at most 500 ms" in text
    assert "met" in text
    assert (
        stated([late], [{**late.to_dict(), "stated_after": 0}], finished=9)[0]["stated_after"] == 0
    )


def test_an_objective_of_no_condition_is_refused_before_the_first_call(options):
    slo = LatencySLO(percentile=50, threshold_s=1.0, condition="fast")
    with pytest.raises(ValueError, match=r"`slo` must be about a condition \(slow\), got 'fast'"):
        run_sync(slow(2), options=replace(options, slo=[slo]))
    assert not options.directory.exists()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"percentile": 100}, "`percentile`"), ({"threshold_s": 0.0}, "`threshold_s`"),
     ({"threshold_s": math.inf}, "`threshold_s`")],
)  # fmt: skip
def test_an_objective_out_of_range_is_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        LatencySLO(**{"percentile": 95, "threshold_s": 1.0, "condition": "a", **wrong})


class Tailed(Clocked):
    """Takes a second; each fourth question takes five, unless it is asked a second time."""

    def __init__(self) -> None:
        super().__init__("clocked/tail", costs=0.01, answer=right)
        self.asked: list[str] = []

    async def generate(self, prompt, /, **options: object) -> Completion:
        text = prompt[-1]["content"]
        late = hash_of(prompt) % 4 == 0 and text not in self.asked
        self.asked.append(text)
        self._takes_s = took = 5.0 if late else 1.0
        await trio.sleep(took)
        return Completion(
            text=right(text), model=self.name, cost_usd=0.01, latency_s=took, finish="stop"
        )


# Else backups queue behind the calls that they are to help.
ROOMY = {"clocked": Limits(concurrency=100)}


def hedging(model: object, explore: float, n: int = 40) -> tuple[object, Hedger]:
    hedger = Hedger(FixedDelay(2.0), budget=None, max_inflight=50, explore=explore)
    raced = hedged(model, hedger=hedger)
    return Experiment(
        "hedged", dataset=sums(n), seed=1, conditions=[Condition("hedged", raced)]
    ), hedger


def test_a_run_enters_its_hedgers_so_that_beaten_calls_come_to_their_end(options):
    model = Tailed()
    experiment, hedger = hedging(model, explore=1.0)
    (result,), _ = in_virtual_time(
        lambda: run(experiment, options=replace(options, per_provider=ROOMY))
    )
    found = result.analysis.hedging["hedged"]
    # Ten of forty are late: a backup after 2 s answers at 3 s, and the beaten call ends at 5 s.
    assert (found.requests, found.backups, found.wins) == (40, 10, 10)
    assert found.extra_ratio == pytest.approx(0.25)
    assert found.wasted_s == pytest.approx(10 * 5.0)
    assert found.extra_cost_usd == pytest.approx(10 * 0.01)
    assert len(model.asked) == 50
    median = found.effects[0]
    assert (median.percentile, median.explored, median.reason) == (50, 10, None)
    assert (median.unhedged_s, median.hedged_s) == (1.0, 1.0)
    assert hedger.statistics().backups == 10  # what is entered shares its figures
    assert "P99 of hedged: 40 answered requests; P99 needs 1000." in (
        report(result.path)["markdown"].read_text()
    )
    # It can be run again, although a hedger can be entered only once.
    (again,), _ = in_virtual_time(lambda: run(experiment, options=options))
    assert (again.calls_sent, again.analysis) == (0, result.analysis)


def test_a_beaten_call_that_is_cut_off_is_censored(options):
    experiment, _ = hedging(Tailed(), explore=0.0)
    (result,), _ = in_virtual_time(
        lambda: run(experiment, options=replace(options, per_provider=ROOMY))
    )
    found = result.analysis.hedging["hedged"]
    assert found.wasted_s == pytest.approx(10 * 3.0)  # cut off at 3 s, when the backup answered
    assert found.effects[0].ratio is None
    assert "no beaten primary was seen to its end" in found.effects[0].reason


def test_the_effect_is_that_of_the_hedging_package_on_the_same_races():
    def row(status: str, latency_s: float, started_s: float) -> dict[str, object]:
        ended = started_s + latency_s
        return {
            "status": status, "latency_s": latency_s, "started_ns": int(started_s * 1e9),
            "n": int(ended * 10),
        }  # fmt: skip

    quick = [_Race(row("ok", 1.0, 0.0)) for _ in range(18)]
    explored = _Race(row("ok", 5.0, 0.0), [row("ok", 1.0, 2.0)])
    cut = _Race(row("cancelled", 3.0, 0.0), [row("ok", 1.0, 2.0)])
    effect = measure_effect([_sample(race) for race in [*quick, explored, cut]], percentile=50)
    assert (effect.n, effect.explored, effect.ratio) == (20, 1, 1.0)
    assert [(_sample(r).primary_s, _sample(r).censored, _sample(r).total_s) for r in (explored, cut)] == [
        (5.0, False, pytest.approx(3.0)), (3.0, True, pytest.approx(3.0)),
    ]  # fmt: skip
    failed = _sample(_Race(row("error", 0.2, 0.0), [row("ok", 1.0, 2.0)]))
    assert math.isnan(failed.primary_s)
    assert failed.total_s == pytest.approx(3.0)


def test_answers_that_take_no_time_have_no_effect_to_measure(options):
    raced = hedged(simulated(), hedger=Hedger(60.0))
    experiment = Experiment(
        "instant", dataset=sums(30), seed=1, conditions=[Condition("hedged", raced)]
    )
    effects = run_sync(experiment, options=options).analysis.hedging["hedged"].effects
    assert effects[0].n == 30
    assert effects[0].reason == "that percentile is 0 s without backups"


def test_answers_that_were_shared_are_no_races_and_it_says_so(options):
    model = simulated(latency_s=0.001)
    experiment = Experiment(
        "shared", dataset=sums(12), seed=1,
        conditions=[
            Condition("plain", model), Condition("hedged", hedged(model, hedger=Hedger(60.0)))
        ],
    )  # fmt: skip
    shared = run_sync(experiment, options=options)
    found = shared.analysis.hedging["hedged"]
    assert found.requests + found.elsewhere == 12
    assert found.elsewhere > 0
    assert any("run with `share_responses` off" in text for text in shared.analysis.warnings)
