"""The answer that most ballots name."""

from collections.abc import Sequence

from crucible_ensemble.prediction import Ballot, Tally


def majority(ballots: Sequence[Ballot], /) -> Tally:
    """Count one vote per ballot with an answer (plurality)."""
    return _count([(ballot.key, 1.0) for ballot in ballots])


def weighted_majority(ballots: Sequence[Ballot], /) -> Tally:
    """Add the static weights of the members, which must be >= 0.

    Raises
    ------
    ValueError
        If every weight is 0.
    """
    if ballots and not any(ballot.weight > 0 for ballot in ballots):
        raise ValueError("`weight` must be > 0 for at least one member")
    return _count([(ballot.key, ballot.weight) for ballot in ballots])


def _count(votes: Sequence[tuple[str | None, float]]) -> Tally:
    scores: dict[str, float] = {}
    for key, weight in votes:
        if key is not None:
            scores[key] = scores.get(key, 0.0) + weight
    best = max(scores.values(), default=0.0)
    return Tally(
        scores=dict(sorted(scores.items())),
        winners=tuple(sorted(key for key, score in scores.items() if score == best)),
    )
