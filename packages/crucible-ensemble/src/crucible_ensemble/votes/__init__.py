"""Votes: from ballots to winners."""

from crucible_ensemble.votes.majority import majority, weighted_majority

VOTES = {"majority": majority, "weighted_majority": weighted_majority}

__all__ = ["VOTES", "majority", "weighted_majority"]
