"""Answers as numbers, and how often a vote over them is right; ties at their expectation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crucible_harness.studies.responses import Responses

if TYPE_CHECKING:
    from crucible_ensemble.confidence import ConfidenceSource

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
RIGHT, NONE = 0, -1
_SLACK = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ballots:
    """One answer of each voter to each item.

    Attributes
    ----------
    voters : tuple of str
    answers : int array (items, voters)
        Equal numbers in a row are equal answers; 0 is right, -1 is none.
    confidence : float array (items, voters)
        As stated, nan where nothing was.
    cost_usd : float array (items, voters)
        nan where unknown.
    """

    voters: tuple[str, ...]
    answers: Ints
    confidence: Floats
    cost_usd: Floats

    @property
    def right(self) -> Floats:
        """Return 1 where a voter is right, else 0; (items, voters)."""
        found: Floats = (self.answers == RIGHT).astype(np.float64)
        return found


def ballots_of(responses: Responses, *, confidence: "ConfidenceSource | None" = None) -> Ballots:
    """Return the ballots of a response matrix.

    Raises
    ------
    ValueError
        If a voter was not asked about an item, or there are fewer than two voters or items.
    """
    from crucible_ensemble.confidence import confidence_of

    matrix = responses.matrix
    right = matrix.correct(**responses.known)[:, :, 0]
    if right.shape[0] < 2 or right.shape[1] < 2:
        raise ValueError(f"`matrix` must hold 2 items and 2 voters at least, got {matrix!r}")
    if np.isnan(right).any():
        raise ValueError("`matrix` must hold an answer, or a failure, of every voter to every item")
    keys = matrix.keys(responses.normalise)[:, :, 0]
    answers = np.full(right.shape, NONE, dtype=np.int64)
    stated, cost = np.full(right.shape, np.nan), np.full(right.shape, np.nan)
    for i, item in enumerate(matrix.items):
        wrong: dict[Any, int] = {}
        for m, model in enumerate(matrix.models):
            if right[i, m] == 1:
                answers[i, m] = RIGHT
            elif keys[i, m] is not None:
                answers[i, m] = wrong.setdefault(keys[i, m], len(wrong) + 1)
            cell = matrix.cell(item, model)
            assert cell is not None  # every voter was asked
            if cell.completion is not None:
                value = confidence_of(cell.completion, confidence)
                stated[i, m] = np.nan if value is None else value
            paid = cell.cost_usd if cell.completion is None else cell.completion.cost_usd
            cost[i, m] = np.nan if paid is None else paid
    return Ballots(voters=matrix.models, answers=answers, confidence=stated, cost_usd=cost)


def check_voters(voters: int, *, most: int | None = None) -> None:
    """Refuse a vote of one, or of more than can be counted.

    Raises
    ------
    ValueError
    """
    if voters < 2:
        raise ValueError(f"`models` must be at least 2 voters, got {voters}")
    if most is not None and voters > most:
        raise ValueError(f"`models` must be at most {most} voters, got {voters}")


def chance_right(
    answers: Ints, *, support: Floats | None = None, doubt: Floats | None = None
) -> Floats:
    """Return for each item the chance that the vote's winner is the right answer.

    Parameters
    ----------
    answers : int array (items, voters)
        As in `Ballots`.
    support : float array (items, voters), optional
        What a ballot adds to its own answer; 1 by default, which is counting.
    doubt : float array (items, voters), optional
        What it adds to each other answer that was given.

    Returns
    -------
    float array (items,)
        1 over the number of leaders where the right answer is among them, else 0; 0 where nobody
        answered. That is the accuracy of a vote whose ties are drawn.
    """
    given = answers != NONE
    same = (answers[:, :, None] == answers[:, None, :]) & given[:, None, :]
    weight = np.ones(answers.shape) if support is None else support
    score = np.where(same, weight[:, None, :], 0.0).sum(axis=2)
    if doubt is not None:
        score += np.where(~same & given[:, None, :], doubt[:, None, :], 0.0).sum(axis=2)
    score = np.where(given, score, -np.inf)
    leads = given & (score >= score.max(axis=1, keepdims=True) - _SLACK)
    leaders = (leads / np.maximum(same.sum(axis=2), 1)).sum(axis=1)  # equal answers are one leader
    found: Floats = (leads & (answers == RIGHT)).any(axis=1) / np.maximum(leaders, 1.0)
    return found


def of_some(answers: Ints, members: Sequence[int]) -> Floats:
    """Return the chance that a count over some voters is right; (items,)."""
    return chance_right(answers[:, list(members)])
