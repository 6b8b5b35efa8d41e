"""Votes that weigh answers by the probability that they are right."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from crucible_ensemble.errors import UncalibratedError
from crucible_ensemble.prediction import Ballot, Tally
from crucible_ensemble.votes.count import added, leaders, tally

Missing = Literal["refuse", "accuracy", "drop"]
Calibration = Literal["refuse", "assume"]

# Rate at which two wrong answers coincide, before anything was seen: the mean of Beta(1, 4).
_PRIOR_EQUAL, _PRIOR_DIFFERENT = 1.0, 4.0


def classes_from(equal: int, pairs: int) -> float:
    """Return the effective number of answers K = 1 + 1/c of an open question.

    Parameters
    ----------
    equal, pairs : int, >= 0
        Pairs of wrong answers to one item that were equal, and such pairs in all; see
        `error_correlation`.

    Returns
    -------
    float, > 1
        With c the posterior mean of the rate of coincidence under a Beta(1, 4) prior: 6 before
        anything was seen.
    """
    if not 0 <= equal <= pairs:
        raise ValueError(f"`equal` must be in [0, pairs], got {equal} of {pairs}")
    c = (_PRIOR_EQUAL + equal) / (_PRIOR_EQUAL + _PRIOR_DIFFERENT + pairs)
    return 1 + 1 / c


def log_odds_weight(p: float, classes: float) -> float:
    """Return log((K-1) p / (1-p)), p clipped to [0.001, 0.999].

    References
    ----------
    .. [1] S. Nitzan and J. Paroush, International Economic Review 23(2), 289-297, 1982.
    """
    p = min(max(p, 0.001), 0.999)
    return math.log((classes - 1) * p / (1 - p))


def posterior(scores: Mapping[str, float], classes: float) -> dict[str, float]:
    """Return the probability of each key from its log-odds score.

    Notes
    -----
    Answers err uniformly over the other K - 1 classes; classes that nobody named keep their share,
    so the probabilities add to less than 1 where K exceeds the number of keys.
    """
    if not scores:
        return {}
    top = max(0.0, *scores.values())
    unseen = max(0.0, classes - len(scores)) * math.exp(-top)
    weights = {key: math.exp(score - top) for key, score in scores.items()}
    whole = math.fsum(weights.values()) + unseen
    return {key: weight / whole for key, weight in weights.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Probabilities:
    """Reads the probability of each ballot, or refuses to."""

    calibration: Calibration
    missing: Missing

    def of(self, ballots: Sequence[Ballot]) -> list[tuple[Ballot, float]]:
        found = []
        for ballot in ballots:
            if ballot.key is None:
                continue
            p = ballot.confidence
            if p is None and self.missing == "accuracy":
                p = ballot.accuracy
                if p is None:
                    raise UncalibratedError(f"{ballot.member} has neither confidence nor accuracy")
            elif p is None and self.missing == "refuse":
                raise UncalibratedError(
                    f'{ballot.member} gave no confidence; choose missing="drop" or "accuracy"'
                )
            elif p is not None and not ballot.calibrated and self.calibration == "refuse":
                raise UncalibratedError(
                    f"the confidence of {ballot.member} is not calibrated: give the member a "
                    'calibrator (see fit_calibrators), or say calibration="assume"'
                )
            if p is not None:
                found.append((ballot, p))
        return found


def _check(calibration: str, missing: str, classes: float | None) -> None:
    if calibration not in ("refuse", "assume"):
        raise ValueError(f'`calibration` must be "refuse" or "assume", got {calibration!r}')
    if missing not in ("refuse", "accuracy", "drop"):
        raise ValueError(f'`missing` must be "refuse", "accuracy" or "drop", got {missing!r}')
    if classes is not None and not classes > 1:
        raise ValueError(f"`classes` must be > 1, got {classes}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted:
    """Each ballot weighs the log-odds of its probability: optimal for independent voters.

    Attributes
    ----------
    by : {"confidence", "accuracy"}
        The probability is the ballot's calibrated confidence or the member's accuracy.
    classes : float, > 1, optional
        Number of possible answers; None is an open question, K = 6 until `classes_from` has seen
        wrong answers. It matters: with K = 2 a model below 0.5 has a negative weight.
    calibration : {"refuse", "assume"}
        What to do with confidences that were not calibrated.
    missing : {"refuse", "accuracy", "drop"}
        What to do with ballots without a confidence.

    References
    ----------
    .. [1] S. Nitzan and J. Paroush, International Economic Review 23(2), 289-297, 1982.
    """

    by: Literal["confidence", "accuracy"] = "confidence"
    classes: float | None = None
    calibration: Calibration = "refuse"
    missing: Missing = "refuse"
    name: ClassVar[str] = "weighted"

    def __post_init__(self) -> None:
        if self.by not in ("confidence", "accuracy"):
            raise ValueError(f'`by` must be "confidence" or "accuracy", got {self.by!r}')
        _check(self.calibration, self.missing, self.classes)

    def __call__(self, ballots: Sequence[Ballot], /) -> Tally:
        """Count.

        Raises
        ------
        UncalibratedError
            If a probability is missing, or not calibrated and not to be assumed so.
        """
        classes = classes_from(0, 0) if self.classes is None else self.classes
        if self.by == "accuracy":
            read = [(b, _accuracy(b)) for b in ballots if b.key is not None]
        else:
            read = _Probabilities(calibration=self.calibration, missing=self.missing).of(ballots)
        scores = added((b.key, log_odds_weight(p, classes)) for b, p in read)
        beliefs = posterior(scores, classes)
        assumed = self.by == "confidence" and any(not b.calibrated for b, _ in read)
        return tally(
            scores,
            confidence=max(beliefs.values(), default=None),
            notes={"classes": classes, "calibration": "assumed" if assumed else self.by},
        )


def _accuracy(ballot: Ballot) -> float:
    if ballot.accuracy is None:
        raise UncalibratedError(f"{ballot.member} has no `accuracy`; give its Member one")
    return ballot.accuracy


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceSum:
    """Probabilities are added. For comparison only.

    Three voters with probabilities of at least one half can never overturn 2 to 1.
    """

    calibration: Calibration = "refuse"
    missing: Missing = "refuse"
    name: ClassVar[str] = "confidence_sum"

    def __post_init__(self) -> None:
        _check(self.calibration, self.missing, None)

    def __call__(self, ballots: Sequence[Ballot], /) -> Tally:
        """Count; see `Weighted`."""
        read = _Probabilities(calibration=self.calibration, missing=self.missing).of(ballots)
        return tally(added((b.key, p) for b, p in read))


@dataclass(frozen=True, slots=True, kw_only=True)
class BestConfidence:
    """The answer with the single highest probability."""

    calibration: Calibration = "refuse"
    missing: Missing = "refuse"
    name: ClassVar[str] = "best_confidence"

    def __post_init__(self) -> None:
        _check(self.calibration, self.missing, None)

    def __call__(self, ballots: Sequence[Ballot], /) -> Tally:
        """Count; see `Weighted`."""
        read = _Probabilities(calibration=self.calibration, missing=self.missing).of(ballots)
        best: dict[str, float] = {}
        for ballot, p in read:
            assert ballot.key is not None
            best[ballot.key] = max(p, best.get(ballot.key, 0.0))
        return tally(dict(sorted(best.items())), confidence=max(best.values(), default=None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stacked:
    """A linear pool: the members' probabilities of each answer, mixed with fitted weights.

    Attributes
    ----------
    weights : mapping of member to weight, >= 0
        From `fit_stacking`; a member that is not in it has weight 0.
    classes : float, > 1, optional
        Possible answers, among which a member's doubt is spread; see `Weighted`.
    """

    weights: Mapping[str, float]
    classes: float | None = None
    calibration: Calibration = "refuse"
    missing: Missing = "refuse"
    name: ClassVar[str] = "stacked"

    def __post_init__(self) -> None:
        _check(self.calibration, self.missing, self.classes)
        if not self.weights or not all(w >= 0 for w in self.weights.values()):
            raise ValueError(f"`weights` must be numbers >= 0, got {dict(self.weights)}")
        if not any(self.weights.values()):
            raise ValueError(f"`weights` must not all be 0, got {dict(self.weights)}")

    def __call__(self, ballots: Sequence[Ballot], /) -> Tally:
        """Count; see `Weighted`."""
        classes = classes_from(0, 0) if self.classes is None else self.classes
        read = _Probabilities(calibration=self.calibration, missing=self.missing).of(ballots)
        keys = {b.key for b, _ in read}
        parts: list[tuple[str | None, float]] = []
        whole = math.fsum(self.weights.get(b.member, 0.0) for b, _ in read)
        for ballot, p in read:
            share = self.weights.get(ballot.member, 0.0) / whole if whole else 0.0
            rest = (1 - p) / max(classes - 1, len(keys) - 1)
            parts += [(key, share * (p if key == ballot.key else rest)) for key in keys]
        scores = added(parts)
        first = leaders(scores)
        return tally(
            scores, confidence=scores[first[0]] if first else None, notes={"classes": classes}
        )
