"""A prediction as a completion, and in spans."""

from typing import Any

from crucible_ensemble.completion import Completion
from crucible_ensemble.prediction import Prediction
from crucible_ensemble.spans import named


def completion_of(prediction: Prediction, name: str) -> Completion:
    """Return a prediction as what a model answered; the vote is in `extra`."""
    facts = prediction.metadata
    return Completion(
        text=prediction.text or "",
        model=name,
        served_by=",".join(facts.models_used) or None,
        input_tokens=facts.input_tokens,
        output_tokens=facts.output_tokens,
        cost_usd=facts.cost_usd,
        billed_usd=facts.billed_usd,
        confidence=facts.confidence,
        confidence_source=facts.confidence_source,
        latency_s=facts.latency_s,
        finish="stop",
        simulated=facts.simulated,
        extra={
            "answer": prediction.answer,
            "votes": dict(facts.votes),
            "tied": list(facts.tied),
            "consensus": facts.consensus,
            "support": facts.support,
            "failures": dict(facts.failures),
            **({} if facts.cost_usd is not None else {"known_cost_usd": facts.known_cost_usd}),
        },
    )


def mark_vote(voting: Any, prediction: Prediction) -> None:
    """Note in the span of a vote how it went."""
    facts = prediction.metadata
    marks = {
        "answer_count": len(facts.votes),
        "tied": bool(facts.tied),
        "winner_score": None if prediction.answer is None else facts.votes.get(prediction.answer),
    }
    voting.set_attributes(named(marks))


def mark(current: Any, prediction: Prediction) -> None:
    """Note in the span of a prediction how it went."""
    facts = prediction.metadata
    marks = {
        "called": facts.called,
        "valid": facts.valid,
        "consensus": facts.consensus,
        "support": facts.support,
        "tie": facts.tie,
        "abstained": prediction.abstained,
        "ended": facts.ended,
        "hedged": facts.hedged,
        "crucible.cost_usd": facts.cost_usd,
        "crucible.simulated": facts.simulated or None,
    }
    current.set_attributes(named(marks))
