"""h1: whether a vote beats the best single model, and is reliable."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from crucible_harness.experiment import Experiment
from crucible_harness.prompts import ItemLike, Prompt
from crucible_harness.studies.asking import ask_voters
from crucible_harness.studies.ballots import (
    NONE,
    Ballots,
    Floats,
    ballots_of,
    chance_right,
    check_voters,
)
from crucible_harness.studies.catalogue import STUDIES
from crucible_harness.studies.responses import Responses
from crucible_harness.studies.result import Cell, Figure, StudyResult, StudyTable
from crucible_harness.verdicts import Outcome, combine, judge

if TYPE_CHECKING:
    from crucible_datasets import Dataset
    from crucible_ensemble import Model
    from crucible_ensemble.correlation import ErrorCorrelation


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityPlan:
    """What h1 fixes beforehand.

    Attributes
    ----------
    sesoi : float, in (0, 1)
        Smallest gain in accuracy over the best single voter that matters.
    at_least : float, in (0, 1)
        Accuracy of the vote that is claimed.
    choose : float, in (0, 1)
        Share of the items that chooses the best single voter.
    seed : int
        Of the split, and of ties.
    """

    sesoi: float = 0.05
    at_least: float = 0.99
    choose: float = 1 / 3
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("sesoi", "at_least", "choose"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be in (0, 1), got {getattr(self, name)}")

    def check(self, *, items: int, voters: int) -> None:
        """Refuse what could not be analysed once it was answered.

        Raises
        ------
        ValueError
            If there are fewer than two voters, or too few items to split.
        """
        check_voters(voters)
        chosen = round(items * self.choose)
        if chosen < 1 or items - chosen < 2:
            raise ValueError(
                f"`choose` must leave 1 item to choose by and 2 to compare on, got {chosen} and "
                f"{items - chosen} of {items} items"
            )

    def analyse(self, responses: Responses) -> StudyResult:
        """Choose the best voter on one part of the items and compare the vote with it on the rest.

        Raises
        ------
        ValueError
            If there are fewer than two voters, or too few items to split.
        """
        from crucible_datasets.sampling import order
        from crucible_ensemble.ablation import best_single
        from crucible_ensemble.correlation import error_correlation
        from crucible_ensemble.evaluate import Strategy

        matrix = responses.matrix
        ballots = ballots_of(responses)
        n_choosing = round(len(matrix.items) * self.choose)
        choosing = np.zeros(len(matrix.items), dtype=bool)
        choosing[order(matrix.items, seed=self.seed)[:n_choosing]] = True
        chosen_on = ballots.right[choosing].mean(axis=0)
        ranked = [matrix.models[m] for m in np.argsort(-chosen_on, kind="stable")]
        common: dict[str, Any] = {"samples": 1, "normalise": responses.normalise, "seed": self.seed}
        vote, first, stopped = matrix.evaluate(
            [
                Strategy(name="vote", **common),
                Strategy(name="best first", models=ranked, tie="priority", **common),
                Strategy(name="curtailed", models=ranked, execution="sequential", **common),
            ],
            labels=responses.labels,
            scorer=responses.scorer,
        )
        errors = error_correlation(matrix, **responses.known, seed=self.seed)
        crossed = best_single(matrix, **responses.known, seed=self.seed)
        return self.judge(
            ballots,
            vote.correct,
            choosing,
            simulated=responses.simulated,
            more=(
                Figure(
                    name="best single, cross-fitted",
                    value=crossed.accuracy,
                    low=crossed.low,
                    high=crossed.high,
                    unit="share",
                    method=f"all items; {crossed.model} looks best with {crossed.naive:.4f}",
                ),
                Figure(name="vote, all items", value=float(chance_right(ballots.answers).mean()),
                       unit="share", method="ties at their expectation"),
                Figure(name="vote, ties to the best", value=first.accuracy, low=first.low,
                       high=first.high, unit="share", method="all items, exploratory"),
                Figure(name="calls, best first", value=float(stopped.calls.mean()),
                       unit="calls per item", method="asked until the answer cannot change"),
                *_dependence(errors),
            ),
        )  # fmt: skip

    def judge(
        self,
        ballots: Ballots,
        vote: Floats,
        choosing: "np.ndarray[Any, Any]",
        *,
        simulated: bool,
        more: tuple[Figure, ...] = (),
    ) -> StudyResult:
        """Judge both claims.

        Parameters
        ----------
        ballots : Ballots
        vote : float array (items,), 0 or 1
            Whether the vote was right.
        choosing : bool array (items,)
            The items that choose.
        """
        from crucible_bench import compare_paired
        from crucible_bench.intervals import proportion_interval

        right, rest = ballots.right, ~choosing
        if choosing.sum() < 1 or rest.sum() < 2:
            raise ValueError(
                f"`choose` must leave 1 item to choose by and 2 to compare on, got "
                f"{int(choosing.sum())} and {int(rest.sum())}"
            )
        best = int(right[choosing].mean(axis=0).argmax())
        control, treatment = right[rest, best], vote[rest]
        main = compare_paired(control, treatment, robustness=False)
        inner = compare_paired(control, treatment, robustness=False, confidence=0.90)
        gain = Figure(
            name="gain",
            value=main.difference,
            low=None if main.confidence_interval is None else main.confidence_interval.low,
            high=None if main.confidence_interval is None else main.confidence_interval.high,
            unit="share",
            method=f"vote - {ballots.voters[best]}, {main.test}, Tango interval",
        )
        n, hits = int(rest.sum()), int(treatment.sum())
        bound = proportion_interval(hits, n, confidence=0.90, method="clopper_pearson")
        accuracy = Figure(
            name="vote", value=hits / n, low=bound.low, high=bound.high, unit="share",
            method="one-sided 95 % bounds, Clopper-Pearson",
        )  # fmt: skip
        better = judge(
            _ends(main.confidence_interval), equivalence=_ends(inner.confidence_interval),
            sesoi=self.sesoi, direction="greater",
        )  # fmt: skip
        reliable: Outcome = "inconclusive"
        if bound.low is not None and bound.low >= self.at_least:
            reliable = "supported"
        elif bound.high is not None and bound.high < self.at_least:
            reliable = "not supported"
        card = STUDIES["h1"]
        return StudyResult(
            study=card.id,
            question=card.question,
            n=n,
            unit="items",
            simulated=simulated,
            outcome=combine((better.outcome, reliable)),
            sentence=(
                f"Better than {ballots.voters[best]}, the best on {int(choosing.sum()):,} other "
                f"items, by more than {self.sesoi:g}: {better.outcome} ({better.finding}), "
                f"difference {gain}. Right at least {self.at_least:g} of the time: {reliable}, "
                f"{accuracy}."
            ),
            figures=(
                gain,
                accuracy,
                Figure(name="best single", value=float(control.mean()), unit="share",
                       method=f"{ballots.voters[best]}, on items that did not choose it"),
                *more,
            ),
            tables=(_voters(ballots), _agreement(ballots)),
            plan={"study": "h1", **asdict(self)},
            warnings=tuple(main.warnings),
            limits=card.limits,
        )  # fmt: skip


def reliability(
    models: "Sequence[Model | str] | Mapping[str, Model | str]",
    *,
    dataset: "Dataset | Sequence[ItemLike]",
    sesoi: float = 0.05,
    at_least: float = 0.99,
    choose: float = 1 / 3,
    prompts: Mapping[str, Prompt] | None = None,
    seed: int = 1,
    temperature: float | None = 0.0,
    max_tokens: int = 256,
    name: str | None = None,
) -> Experiment:
    """Return the experiment of h1: every voter alone, on the same items.

    Parameters
    ----------
    models : sequence of Model or name, or mapping of name to Model or name
    dataset : Dataset, or sequence of items
        With expected answers.
    sesoi, at_least, choose : float
        See `ReliabilityPlan`.
    prompts : mapping of name to Prompt, optional
        Ways of asking; with more than one, every model votes once for each.
    seed : int
        Of schedule and calls.
    temperature : float, >= 0, or None
    max_tokens : int, >= 1
    name : str, optional

    Notes
    -----
    The vote is counted on the recorded answers by `studies.analyse`, which costs nothing.
    """
    plan = ReliabilityPlan(sesoi=sesoi, at_least=at_least, choose=choose, seed=seed)
    asked = ask_voters(
        "h1", models, dataset=dataset, plan=asdict(plan), prompts=prompts, seed=seed,
        temperature=temperature, max_tokens=max_tokens, name=name,
    )  # fmt: skip
    plan.check(items=len(asked.dataset), voters=len(asked.conditions))
    return asked


def _ends(interval: Any) -> tuple[float, float] | None:
    if interval is None or interval.low is None or interval.high is None:
        return None
    return float(interval.low), float(interval.high)


def _dependence(errors: "ErrorCorrelation") -> tuple[Figure, ...]:
    nobody = "a voter is always right, or always wrong"
    return (
        Figure(name="phi", value=errors.mean_phi, low=errors.low, high=errors.high,
               method="mean error correlation of pairs, item bootstrap",
               reason=nobody if errors.mean_phi is None else None),
        Figure(name="N_eff", value=errors.n_eff, unit="independent voters",
               reason="errors do not correlate" if errors.n_eff is None else None),
        Figure(name="ICC", value=errors.icc),
        Figure(name="ceiling", value=errors.ceiling, low=errors.ceiling_low,
               high=errors.ceiling_high, unit="share", method="somebody is right, Wilson"),
        Figure(name="all wrong, if independent", value=errors.independent_all_wrong, unit="share"),
        Figure(name="same wrong answer", value=errors.same_wrong_rate, unit="share",
               reason="no two voters are wrong together"
               if errors.same_wrong_rate is None else None),
        Figure(name="K", value=errors.classes, unit="answers",
               reason="no wrong answer was given twice" if errors.classes is None else None),
    )  # fmt: skip


def _voters(ballots: Ballots) -> StudyTable:
    from crucible_bench.intervals import proportion_interval

    rows: list[tuple[Cell, ...]] = []
    for m, name in enumerate(ballots.voters):
        hits, n = int(ballots.right[:, m].sum()), len(ballots.answers)
        interval = proportion_interval(hits, n)
        rows.append((name, hits / n, interval.low, interval.high))
    return StudyTable(
        title="Voters", columns=("voter", "accuracy", "low", "high"), rows=tuple(rows)
    )


def _agreement(ballots: Ballots) -> StudyTable:
    """Say how far agreement can be trusted: items on which at least k voters give one answer."""
    from crucible_bench.intervals import proportion_interval

    answers = ballots.answers
    same = ((answers[:, :, None] == answers[:, None, :]) & (answers != NONE)[:, None, :]).sum(2)
    most = np.where(answers == NONE, 0, same).max(axis=1)
    unique = np.array([len({a for a, s in zip(row, counts, strict=True) if s == k and a != NONE})
                       for row, counts, k in zip(answers, same, most, strict=True)])  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    for k in range(1, len(ballots.voters) + 1):
        there = (most >= k) & (unique == 1)
        n = int(there.sum())
        if not n:
            rows.append((k, 0, 0, None, None))
            continue
        leader = np.where(same == most[:, None], answers, NONE).max(axis=1)
        hits = int((leader[there] == 0).sum())
        bound = proportion_interval(hits, n, confidence=0.90, method="clopper_pearson").low
        rows.append((k, n, hits, hits / n, bound))
    return StudyTable(
        title="Agreement",
        columns=("voters at least", "items", "right", "accuracy", "one-sided 95 % bound"),
        rows=tuple(rows),
    )
