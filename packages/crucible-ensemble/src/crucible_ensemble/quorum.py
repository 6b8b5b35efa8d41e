"""Whether enough members answered."""

from dataclasses import replace

from crucible_ensemble.errors import QuorumNotReachedError
from crucible_ensemble.prediction import Prediction


def _needed(prediction: Prediction, quorum: int | None) -> int:
    """Return the valid answers that are needed; a vote that ended early had enough."""
    facts = prediction.metadata
    if facts.execution in ("hedged", "cascade"):
        return quorum or 1
    if quorum is not None:
        return quorum
    return -(-facts.asked // 2) if facts.ended in ("all", "deadline") else 1


def below_quorum(prediction: Prediction, quorum: int | None) -> tuple[Prediction, int | None]:
    """Return the prediction, as an abstention if the quorum was not reached, and the quorum."""
    needed = _needed(prediction, quorum)
    valid = prediction.metadata.valid
    if valid >= needed:
        return prediction, None
    metadata = replace(prediction.metadata, winners=(), consensus=None, support=None,
                       confidence=None, confidence_source=None)  # fmt: skip
    reason = f"{valid} valid answers, {needed} needed"
    return replace(
        prediction, answer=None, text=None, abstained=True, reason=reason, metadata=metadata
    ), needed


def checked(prediction: Prediction, quorum: int | None) -> Prediction:
    """Return the prediction, or raise `QuorumNotReachedError`."""
    prediction, needed = below_quorum(prediction, quorum)
    if needed is not None:
        facts = prediction.metadata
        raise QuorumNotReachedError(facts.valid, needed, facts.failures, prediction.responses)
    return prediction
