"""The studies there are: what each asks, what it needs, what it can and cannot show."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal

Needs = Literal["models", "one model", "nothing", "people"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """The card of a study.

    Attributes
    ----------
    id, title, question : str
    design : str
        How it is answered.
    needs : {"models", "one model", "nothing", "people"}
        "nothing" is a simulation of its own.
    shows : str
        What a clear outcome means.
    limits : tuple of str
        What it cannot show.
    """

    id: str
    title: str
    question: str
    design: str
    needs: Needs
    shows: str
    limits: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return {"schema": "crucible-harness/study/1", **asdict(self), "limits": list(self.limits)}


_OFFLINE = "Votes are counted on recorded answers: nothing is said about the latency of a vote."
_ITEMS = "Items are taken as a random sample: other benchmarks, prompts or months may differ."
_CARDS = (
    Study(
        id="h1",
        title="reliability",
        question="Does a vote beat the best single model, and is it reliable?",
        design=(
            "All voters on the same items; the best one is chosen on a part of the items, and the "
            "vote is compared with it on the rest. Two claims must hold: better by more than the "
            "smallest effect of interest, and a one-sided 95 % bound of its accuracy above the "
            "reliability that is claimed. Error correlation, N_eff and ceiling beside it."
        ),
        needs="models",
        shows="whether these voters, counted this way, are worth their price on such items",
        limits=(
            "A share of .99 or more needs 299 items without a single error to be proved.",
            "The choice on a part may miss the best model; the difference is from the one chosen.",
            _ITEMS,
            _OFFLINE,
        ),
    ),
    Study(
        id="h2",
        title="tail latency",
        question="Does hedging cut the 99th percentile of latency for a bounded extra load?",
        design=(
            "Shadow mode: both copies of a call run to their end. The delay is chosen on the first "
            "half of the log and judged on the second; circular block bootstrap of the "
            "percentile's ratio; extra load with its own upper bound, waste beside it. The "
            "number of pairs comes from the quantile planner: thousands, not hundreds."
        ),
        needs="one model",
        shows="what a chosen delay does to the tail of this service at this time, and its price",
        limits=(
            "One window of time, one client, one place: a tail is a property of an hour.",
            "Copies that share a machine slow each other down, and shadowing doubles the load.",
            "A copy is sent with another seed, so copies may answer at different length.",
        ),
    ),
    Study(
        id="h3",
        title="ensemble size",
        question="How does accuracy grow with the number of voters, and per dollar?",
        design=(
            "One response matrix, every subset of the voters offline and exactly, ties at their "
            "expectation. A beta-binomial model of correlated voters by maximum likelihood; the "
            "marginal gain of each further voter, also per dollar, and the Shapley value of each "
            "voter, all with intervals over items."
        ),
        needs="models",
        shows="where further voters stop paying, and which voter earns its place",
        limits=(
            "Sizes beyond the number of voters are the model's extrapolation to more of the like.",
            "The model knows right and wrong only; real votes also split over wrong answers.",
            _ITEMS,
            _OFFLINE,
        ),
    ),
    Study(
        id="h4",
        title="adaptive hedging",
        question="Does an adaptive delay pay when latency changes?",
        design=(
            "Simulated traces (regimes that switch, days, incidents), at least 30 seeds each; the "
            "same policy objects as live, the same budget for all. Regret of a percentile against "
            "the delay that an oracle would have chosen, knowing the latency's distribution at "
            "every moment and this trace to its end; seeds are the unit."
        ),
        needs="nothing",
        shows="whether a policy follows changes of a known kind and speed",
        limits=(
            "All traces are simulated, with independent copies: yours may be correlated.",
            "The oracle is the best of six plans in hindsight, which is a little lucky.",
            "The fixed delay was set for the first regime: who retunes it daily is another policy.",
        ),
    ),
    Study(
        id="h5",
        title="weights and calibration",
        question="When do confidence weights beat counting?",
        design=(
            "The same responses under counting, log-odds, sums and a stacked pool. Confidences are "
            "calibrated out of fold, then moved by known transforms; what a transform costs a "
            "weighted vote is an interaction, with its interval over items. Brier scores and their "
            "decomposition for each voter."
        ),
        needs="models",
        shows="whether these confidences carry weight, and how wrong they may be before they harm",
        limits=(
            "Weights are fitted on other folds of the same benchmark, not on another one.",
            "Log-odds are optimal for independent voters; correlated ones are overcounted.",
            _ITEMS,
            _OFFLINE,
        ),
    ),
    Study(
        id="h6",
        title="trust",
        question="Do traces help people rely on a model when they should?",
        design=(
            "Protocol only: needs people and an ethics board. Every participant accepts or "
            "overrides answers of a model that is right on a known half of the items, with its "
            "trace and without; sensitivity (d') per participant and condition; paired comparison "
            "over participants. Instrument, randomisation list and power simulation are here."
        ),
        needs="people",
        shows="nothing before people took part",
        limits=(
            "Protocol only: needs people and an ethics board.",
            "Half of the answers are wrong by design, which real models are not; people adapt.",
            "Accepting is not understanding, and a laboratory is not a day at work.",
        ),
    ),
    Study(
        id="rq6",
        title="methods",
        question="Which analyses keep their promise on answers of language models?",
        design=(
            "Simulated experiments with a known truth over item effects, repeats and correlation: "
            "false findings, power, and coverage of the interval, for analyses by item and for "
            "those that take every answer as a new one."
        ),
        needs="nothing",
        shows="how often each analysis errs in worlds like these",
        limits=(
            "Simulated throughout; real items are no random sample of anything.",
            "Two models and one benchmark: leaderboards have further problems.",
        ),
    ),
)
STUDIES: Mapping[str, Study] = MappingProxyType({card.id: card for card in _CARDS})


def card_of(study: str) -> Study:
    """Return the card of a study.

    Raises
    ------
    ValueError
        If there is none of that id; the known ones are listed.
    """
    if study not in STUDIES:
        raise ValueError(f"`study` must be one of {', '.join(STUDIES)}, got {study!r}")
    return STUDIES[study]
