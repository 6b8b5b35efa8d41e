"""h5: when confidence weights beat counting."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, get_args

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
from crucible_harness.studies.over_items import bootstrap_figure, ends, mean_figure
from crucible_harness.studies.responses import Responses
from crucible_harness.studies.result import Cell, Figure, StudyResult, StudyTable
from crucible_harness.verdicts import judge

if TYPE_CHECKING:
    from crucible_datasets import Dataset
    from crucible_ensemble import Model

Source = Literal["reported", "logprobs", "verbalised", "accuracy"]
Rule = Literal["log-odds", "sum", "stacked"]
RULES: tuple[Rule, ...] = get_args(Rule)
_FOLDS = 5
_FEWEST = 30  # confidences of a voter that crucible_ensemble calibrates
_EDGE = 1e-3  # the clip of crucible_ensemble's log-odds


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsPlan:
    """What h5 fixes beforehand.

    Attributes
    ----------
    sesoi : float, in (0, 1)
        Smallest gain in accuracy of log-odds weights over counting that matters.
    source : {"reported", "logprobs", "verbalised", "accuracy"}
        Where confidences come from; "accuracy" gives every answer of a voter the voter's accuracy
        on the other folds.
    shift : float
        Logits that the weakest voter overstates itself by, in the interaction.
    classes : float, > 1, or None
        Possible answers; None takes what wrong answers coincide like.
    resamples : int, >= 100
    seed : int
        Of folds and bootstrap.
    """

    sesoi: float = 0.05
    source: Source = "logprobs"
    shift: float = 3.0
    classes: float | None = None
    resamples: int = 2_000
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.sesoi < 1:
            raise ValueError(f"`sesoi` must be in (0, 1), got {self.sesoi}")
        if self.source not in get_args(Source):
            raise ValueError(
                f"`source` must be one of {', '.join(get_args(Source))}, got {self.source!r}"
            )
        if self.classes is not None and not self.classes > 1:
            raise ValueError(f"`classes` must be > 1, got {self.classes}")
        if self.resamples < 100:
            raise ValueError(f"`resamples` must be >= 100, got {self.resamples}")

    def check(self, *, items: int, voters: int) -> None:
        """Refuse what could not be analysed once it was answered.

        Raises
        ------
        ValueError
            If there are fewer than two voters, or too few items to fit weights on other folds.
        """
        check_voters(voters)
        least = _FOLDS if self.source == "accuracy" else _FEWEST
        if items < least:
            raise ValueError(
                f"`items` must be >= {least} to fit weights of source {self.source!r}, got {items}"
            )

    def analyse(self, responses: Responses) -> StudyResult:
        """Count and weigh the same answers.

        Raises
        ------
        ValueError
            If there are fewer than two voters, or a voter has fewer than 30 confidences, or is
            always right or always wrong.
        """
        source = None if self.source == "accuracy" else self.source
        ballots = ballots_of(responses, confidence=source)
        return self.judge(ballots, simulated=responses.simulated)

    def judge(
        self, ballots: Ballots, *, simulated: bool, rules: Sequence[Rule] = RULES
    ) -> StudyResult:
        """Do the same for ballots, under some of the rules; "log-odds" must be among them."""
        classes = self.classes or _classes(ballots)
        p = self._calibrated(ballots)
        counted = chance_right(ballots.answers)
        weighed: dict[tuple[Rule, str], Floats] = {}
        moves = self._moves(ballots, p)
        for rule in rules:
            for name, moved in moves.items():
                weighed[rule, name] = _weighed(ballots, moved, rule, classes, self.seed)
        log_odds = weighed["log-odds", "calibrated"]
        gain = mean_figure("gain", log_odds - counted, unit="share",
                           method="log-odds - counting, t over items")  # fmt: skip
        inner = mean_figure("gain", log_odds - counted, confidence=0.90)
        verdict = judge(ends(gain), equivalence=ends(inner), sesoi=self.sesoi, direction="greater")
        worst = f"weakest +{self.shift:g} logits"
        interaction = bootstrap_figure(
            "interaction", log_odds - weighed["log-odds", worst], resamples=self.resamples,
            seed=self.seed, unit="share",
            method=f"what '{worst}' costs log-odds beyond counting, item bootstrap",
        )  # fmt: skip
        card = STUDIES["h5"]
        return StudyResult(
            study=card.id,
            question=card.question,
            n=len(ballots.answers),
            unit="items",
            simulated=simulated,
            outcome=verdict.outcome,
            sentence=(
                f"Calibrated log-odds are more accurate than counting by more than "
                f"{self.sesoi:g}: {verdict.outcome} ({verdict.finding}), difference {gain}. If the "
                f"weakest voter overstates itself by {self.shift:g} logits, they lose "
                f"{interaction}."
            ),
            figures=(
                gain,
                interaction,
                mean_figure("counting", counted, unit="share", method="ties at their expectation"),
                mean_figure("log-odds", log_odds, unit="share"),
                Figure(name="K", value=classes, unit="answers"),
            ),
            tables=(_rules(weighed, counted), *self._brier(ballots, p)),
            plan={"study": "h5", **asdict(self)},
            limits=card.limits,
        )

    def _calibrated(self, ballots: Ballots) -> Floats:
        """Return the probability of each answer, fitted on the other folds."""
        from crucible_ensemble.calibration import crossfit

        right = ballots.right
        found = np.full(right.shape, np.nan)
        if self.source == "accuracy":
            fold = _fold(len(right), self.seed)
            for k in range(_FOLDS):
                found[fold == k] = right[fold != k].mean(axis=0)
            return found
        for m, voter in enumerate(ballots.voters):
            there = ~np.isnan(ballots.confidence[:, m])
            try:
                fitted = crossfit(
                    ballots.confidence[there, m], right[there, m], method="platt", folds=_FOLDS,
                    seed=self.seed,
                )  # fmt: skip
            except ValueError as error:
                raise ValueError(
                    f"`source` {self.source!r} does not do for {voter!r}: {error}"
                ) from error
            found[there, m] = fitted.calibrated
            # An answer without a confidence is as likely as the voter is.
            found[~there, m] = right[there, m].mean()
        return found

    def _moves(self, ballots: Ballots, p: Floats) -> dict[str, Floats]:
        """Return the calibrated confidences, and the same after known transforms of their logit."""
        z = np.log(np.clip(p, 1e-6, 1 - 1e-6) / np.clip(1 - p, 1e-6, 1))
        weakest = np.zeros(p.shape)
        weakest[:, int(ballots.right.mean(axis=0).argmin())] = self.shift
        moved = {
            "calibrated": p,
            "all sharper, logit x 2": _expit(2 * z),
            "all flatter, logit / 2": _expit(z / 2),
            "all +2 logits": _expit(z + 2),
            f"weakest +{self.shift:g} logits": _expit(z + weakest),
        }
        if self.source != "accuracy":
            stated = ballots.confidence
            moved["as stated"] = np.where(np.isnan(stated), p, stated)
        return moved

    def _brier(self, ballots: Ballots, p: Floats) -> tuple[StudyTable, ...]:
        from crucible_bench.calibration import brier

        rows: list[tuple[Cell, ...]] = []
        for m, voter in enumerate(ballots.voters):
            kinds = {"calibrated": p[:, m]}
            if self.source != "accuracy":
                kinds = {"stated": ballots.confidence[:, m], **kinds}
            for kind, confidence in kinds.items():
                there = ~np.isnan(confidence)
                score = brier(confidence[there], ballots.right[there, m])
                rows.append(
                    (voter, kind, score.value, score.reliability, score.resolution,
                     score.uncertainty)
                )  # fmt: skip
        return (
            StudyTable(
                title="Brier scores",
                columns=("voter", "confidence", "Brier", "reliability", "resolution",
                         "uncertainty"),
                rows=tuple(rows),
            ),
        )  # fmt: skip


def confidence_weights(
    models: "Sequence[Model | str] | Mapping[str, Model | str]",
    *,
    dataset: "Dataset | Sequence[ItemLike]",
    sesoi: float = 0.05,
    source: Source = "logprobs",
    shift: float = 3.0,
    prompts: Mapping[str, Prompt] | None = None,
    seed: int = 1,
    temperature: float | None = 0.0,
    max_tokens: int = 256,
    name: str | None = None,
) -> Experiment:
    """Return the experiment of h5: every voter alone, on the same items.

    Parameters
    ----------
    models : sequence of Model or name, or mapping of name to Model or name
        They must state a confidence, or be opened with `logprobs=True`, unless `source` is
        "accuracy".
    dataset : Dataset, or sequence of items
        With expected answers.
    sesoi, source, shift
        See `WeightsPlan`.
    prompts : mapping of name to Prompt, optional
        Ways of asking; with more than one, every model votes once for each.
    seed : int
        Of schedule and calls.
    temperature : float, >= 0, or None
    max_tokens : int, >= 1
    name : str, optional

    Notes
    -----
    Every rule is applied to the recorded answers by `studies.analyse`, which costs nothing.
    """
    plan = WeightsPlan(sesoi=sesoi, source=source, shift=shift, seed=seed)
    asked = ask_voters(
        "h5", models, dataset=dataset, plan=asdict(plan), prompts=prompts, seed=seed,
        temperature=temperature, max_tokens=max_tokens, name=name,
    )  # fmt: skip
    plan.check(items=len(asked.dataset), voters=len(asked.conditions))
    return asked


def _weighed(ballots: Ballots, p: Floats, rule: Rule, classes: float, seed: int) -> Floats:
    answers = ballots.answers
    if rule == "sum":
        return chance_right(answers, support=p)
    if rule == "log-odds":
        safe = np.clip(p, _EDGE, 1 - _EDGE)
        return chance_right(answers, support=np.log((classes - 1) * safe / (1 - safe)))
    given = answers != NONE
    share = np.where(given, _pool(ballots, p, classes, seed), 0.0)
    share = share / np.maximum(share.sum(axis=1, keepdims=True), 1e-300)
    named = np.array([len(set(row[row != NONE].tolist())) for row in answers])
    rest = np.maximum(classes - 1, named - 1)[:, None]
    return chance_right(answers, support=share * p, doubt=share * (1 - p) / rest)


def _pool(ballots: Ballots, p: Floats, classes: float, seed: int) -> Floats:
    """Return the weights of a linear pool for each item, fitted on the other folds."""
    from crucible_ensemble.stacking import pool_weights

    to_right = np.where(ballots.right == 1, p, (1 - p) / (classes - 1))
    fold = _fold(len(p), seed)
    found = np.empty(p.shape)
    for k in range(_FOLDS):
        found[fold == k] = pool_weights(np.clip(to_right[fold != k], 1e-6, 1.0)).weights
    return found


def _rules(weighed: Mapping[tuple[Rule, str], Floats], counted: Floats) -> StudyTable:
    rows: list[tuple[Cell, ...]] = []
    for (rule, move), right in weighed.items():
        gain = mean_figure("gain", right - counted)
        lost = mean_figure("lost", weighed[rule, "calibrated"] - right)
        rows.append(
            (rule, move, float(right.mean()), gain.value, gain.low, gain.high, lost.value, lost.low,
             lost.high)
        )  # fmt: skip
    return StudyTable(
        title="Rules and calibration",
        columns=("rule", "confidences", "accuracy", "over counting", "low", "high", "lost by it",
                 "lost low", "lost high"),
        rows=tuple(rows),
    )  # fmt: skip


def _classes(ballots: Ballots) -> float:
    """Return the effective number of answers, from how often two wrong ones are equal."""
    from crucible_ensemble.votes.weighted import classes_from

    wrong = ballots.answers != 0
    n = wrong.sum(axis=1)
    pairs = int((n * (n - 1) // 2).sum())
    a = ballots.answers
    same = (a[:, :, None] == a[:, None, :]) & (a > 0)[:, :, None]
    equal = int((same.sum(axis=(1, 2)) - (a > 0).sum(axis=1)).sum() // 2)
    return classes_from(equal, pairs)


def _fold(n: int, seed: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    fold: np.ndarray[tuple[int], np.dtype[np.int64]] = (
        np.random.default_rng(seed).permutation(n) % _FOLDS
    )
    return fold


def _expit(z: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-z))
    return found
