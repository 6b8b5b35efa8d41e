"""h3: how accuracy grows with the number of voters, and per dollar."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from crucible_harness.experiment import Experiment
from crucible_harness.prompts import ItemLike, Prompt
from crucible_harness.studies.asking import ask_voters
from crucible_harness.studies.ballots import Ballots, Floats, ballots_of, check_voters, of_some
from crucible_harness.studies.catalogue import STUDIES
from crucible_harness.studies.correlated_voters import VoterModel, fit_voters
from crucible_harness.studies.over_items import ends, mean_figure, ratio_figure
from crucible_harness.studies.responses import Responses
from crucible_harness.studies.result import Cell, StudyResult, StudyTable
from crucible_harness.verdicts import judge

if TYPE_CHECKING:
    from crucible_datasets import Dataset
    from crucible_ensemble import Model

_MOST_VOTERS = 12  # 4,095 subsets


@dataclass(frozen=True, slots=True, kw_only=True)
class SizePlan:
    """What h3 fixes beforehand.

    Attributes
    ----------
    sesoi : float, in (0, 1)
        Smallest gain in accuracy of all voters over one that matters.
    resamples : int, >= 100
        Of items, where an interval is a bootstrap.
    seed : int
    """

    sesoi: float = 0.05
    resamples: int = 2_000
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.sesoi < 1:
            raise ValueError(f"`sesoi` must be in (0, 1), got {self.sesoi}")
        if self.resamples < 100:
            raise ValueError(f"`resamples` must be >= 100, got {self.resamples}")

    def check(self, *, items: int, voters: int) -> None:
        """Refuse what could not be analysed once it was answered.

        Raises
        ------
        ValueError
            If there are fewer than two or more than twelve voters, or fewer than two items.
        """
        check_voters(voters, most=_MOST_VOTERS)
        if items < 2:
            raise ValueError(f"`items` must be >= 2, got {items}")

    def analyse(self, responses: Responses) -> StudyResult:
        """Evaluate every subset of the voters.

        Raises
        ------
        ValueError
            If there are fewer than two or more than twelve voters.
        """
        return self.judge(ballots_of(responses), simulated=responses.simulated)

    def judge(self, ballots: Ballots, *, simulated: bool) -> StudyResult:
        """Do the same for ballots."""
        m = len(ballots.voters)
        self.check(items=len(ballots.answers), voters=m)
        votes = every_subset(ballots)
        sizes = [
            np.mean([votes[frozenset(s)] for s in combinations(range(m), k)], axis=0)
            for k in range(1, m + 1)
        ]
        gain = mean_figure("gain", sizes[-1] - sizes[0], unit="share",
                           method=f"vote of {m} - mean of one, t over items")  # fmt: skip
        inner = mean_figure("gain", sizes[-1] - sizes[0], confidence=0.90)
        verdict = judge(ends(gain), equivalence=ends(inner), sesoi=self.sesoi, direction="greater")
        model = fit_voters(ballots.right.sum(axis=1).astype(int), m)
        card = STUDIES["h3"]
        return StudyResult(
            study=card.id,
            question=card.question,
            n=len(ballots.answers),
            unit="items",
            simulated=simulated,
            outcome=verdict.outcome,
            sentence=(
                f"A vote of {m} is more accurate than one voter by more than {self.sesoi:g}: "
                f"{verdict.outcome} ({verdict.finding}), difference {gain}."
            ),
            figures=(gain, *model.figures()),
            tables=(
                self._sizes(ballots, sizes, model),
                self._shapley(ballots, votes),
                _subsets(ballots, votes),
                model.table(ballots.right.sum(axis=1).astype(int)),
            ),
            plan={"study": "h3", **asdict(self)},
            warnings=_warnings(ballots),
            limits=card.limits,
        )

    def _sizes(self, ballots: Ballots, sizes: list[Floats], model: VoterModel) -> StudyTable:
        m = len(ballots.voters)
        one = ballots.cost_usd.sum(axis=1) / m  # an average voter's price for each item
        rows: list[tuple[Cell, ...]] = []
        for k, accuracy in enumerate(sizes, 1):
            found = mean_figure("accuracy", accuracy)
            row: list[Cell] = [k, math.comb(m, k), found.value, found.low, found.high]
            cost = float(one.mean() * k)
            row.append(None if math.isnan(cost) else cost)
            if k == 1:
                row += [None] * 6
            else:
                more = accuracy - sizes[k - 2]
                step = mean_figure("marginal", more)
                paid = ratio_figure("per dollar", more, one, resamples=self.resamples,
                                    seed=self.seed)  # fmt: skip
                row += [step.value, step.low, step.high, paid.value, paid.low, paid.high]
            row.append(model.accuracy(k))
            rows.append(tuple(row))
        return StudyTable(
            title="Sizes",
            columns=("voters", "subsets", "accuracy", "low", "high", "cost, USD per item",
                     "marginal gain", "gain low", "gain high", "gain per USD", "per USD low",
                     "per USD high", "model's majority"),
            rows=tuple(rows),
        )  # fmt: skip

    def _shapley(self, ballots: Ballots, votes: "Mapping[frozenset[int], Floats]") -> StudyTable:
        rows: list[tuple[Cell, ...]] = []
        for name, value in zip(ballots.voters, shapley_of(votes, len(ballots.voters)), strict=True):
            found = mean_figure("shapley", value)
            rows.append((name, found.value, found.low, found.high))
        return StudyTable(
            title="Shapley values", columns=("voter", "value", "low", "high"), rows=tuple(rows)
        )


def every_subset(ballots: Ballots) -> dict[frozenset[int], Floats]:
    """Return for each subset of voters the chance that its count is right; (items,) each."""
    m = len(ballots.voters)
    found = {frozenset[int](): np.zeros(len(ballots.answers))}
    for k in range(1, m + 1):
        for members in combinations(range(m), k):
            found[frozenset(members)] = of_some(ballots.answers, members)
    return found


def shapley_of(votes: "Mapping[frozenset[int], Floats]", m: int) -> list[Floats]:
    """Return each voter's Shapley value for each item, the empty vote never being right.

    References
    ----------
    .. [1] L. S. Shapley, Contributions to the Theory of Games II, 307-317, 1953.
    """
    values = []
    for voter in range(m):
        others = [o for o in range(m) if o != voter]
        value = np.zeros(len(votes[frozenset()]))
        for k in range(m):
            weight = math.factorial(k) * math.factorial(m - k - 1) / math.factorial(m)
            for members in combinations(others, k):
                before = frozenset(members)
                value += weight * (votes[before | {voter}] - votes[before])
        values.append(value)
    return values


def ensemble_size(
    models: "Sequence[Model | str] | Mapping[str, Model | str]",
    *,
    dataset: "Dataset | Sequence[ItemLike]",
    sesoi: float = 0.05,
    prompts: Mapping[str, Prompt] | None = None,
    seed: int = 1,
    temperature: float | None = 0.0,
    max_tokens: int = 256,
    name: str | None = None,
) -> Experiment:
    """Return the experiment of h3: every voter alone, on the same items.

    Parameters
    ----------
    models : sequence of Model or name, or mapping of name to Model or name
        At most twelve voters, with the ways of asking.
    dataset : Dataset, or sequence of items
        With expected answers.
    sesoi : float, in (0, 1)
        Smallest gain of all voters over one that matters.
    prompts : mapping of name to Prompt, optional
        Ways of asking; with more than one, every model votes once for each.
    seed : int
        Of schedule and calls.
    temperature : float, >= 0, or None
    max_tokens : int, >= 1
    name : str, optional

    Notes
    -----
    Every subset is counted on the recorded answers by `studies.analyse`, which costs nothing.
    """
    plan = SizePlan(sesoi=sesoi, seed=seed)
    asked = ask_voters(
        "h3", models, dataset=dataset, plan=asdict(plan), prompts=prompts, seed=seed,
        temperature=temperature, max_tokens=max_tokens, name=name,
    )  # fmt: skip
    plan.check(items=len(asked.dataset), voters=len(asked.conditions))
    return asked


def _subsets(ballots: Ballots, votes: "Mapping[frozenset[int], Floats]") -> StudyTable:
    """Name the best subset of each size, which luck has chosen among its equals."""
    m = len(ballots.voters)
    rows: list[tuple[Cell, ...]] = []
    for k in range(1, m + 1):
        best = max(
            combinations(range(m), k), key=lambda members: float(votes[frozenset(members)].mean())
        )
        names = ", ".join(ballots.voters[i] for i in best)
        rows.append((k, names, float(votes[frozenset(best)].mean())))
    return StudyTable(
        title="Best on these items", columns=("voters", "who", "accuracy (naive)"), rows=tuple(rows)
    )


def _warnings(ballots: Ballots) -> tuple[str, ...]:
    if np.isnan(ballots.cost_usd).any():
        return ("Some prices are not known, and so is every figure per dollar.",)
    if not ballots.cost_usd.any():
        return ("These answers cost nothing: there is no gain per dollar.",)
    return ()
