"""Many predictions in one table."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crucible_ensemble.prediction import Prediction, Response

# A spreadsheet takes a cell that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberSummary:
    """What one member did; None where unknown. `unpriced` counts calls without a known cost."""

    member: str
    called: int
    answered: int
    won: int
    cost_usd: float | None
    known_cost_usd: float
    unpriced: int
    input_tokens: int | None
    output_tokens: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What an ensemble did.

    Attributes
    ----------
    n : int
    success_rate, abstention_rate : float
        Shares of predictions with and without an answer.
    mean_consensus : float or None
    disagreement_rate : float or None
        Share of predictions with two or more different answers, among those with two or more.
    latency_p50, latency_p95, latency_p99, latency_max : float
        Seconds; quantiles of type 7.
    cost_usd, known_cost_usd : float
        None if any part is unknown; a lower bound.
    members : tuple of MemberSummary
    failures : mapping of error class to count
    simulated : bool
    predictions : tuple of Prediction
    """

    n: int
    success_rate: float
    abstention_rate: float
    mean_consensus: float | None
    disagreement_rate: float | None
    latency_p50: float
    latency_p95: float
    latency_p99: float
    latency_max: float
    cost_usd: float | None
    known_cost_usd: float
    members: tuple[MemberSummary, ...]
    failures: Mapping[str, int]
    simulated: bool
    predictions: tuple[Prediction, ...]

    def markdown(self) -> str:
        """Return a table of the whole and one of the members; model output is escaped."""
        note = "\n\nSimulated models: these numbers are not measurements." if self.simulated else ""
        latencies = (self.latency_p50, self.latency_p95, self.latency_p99, self.latency_max)
        rows = [
            ("predictions", self.n),
            ("answered", f"{self.success_rate:.1%}"),
            ("abstained", f"{self.abstention_rate:.1%}"),
            ("mean consensus", _shown(self.mean_consensus, ".3f")),
            ("disagreement", _shown(self.disagreement_rate, ".1%")),
            ("latency p50 / p95 / p99 / max, s", " / ".join(f"{v:.3g}" for v in latencies)),
            ("cost, $", _cost(self.cost_usd, self.known_cost_usd)),
        ]
        lines = ["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows), ""]
        lines += ["| member | called | answered | won | cost, $ | tokens in | tokens out |"]
        lines += ["|---|---|---|---|---|---|---|"]
        for m in self.members:
            cells = (_escaped(m.member), m.called, m.answered, m.won, _cost(m.cost_usd, m.known_cost_usd), _shown(m.input_tokens, "d"), _shown(m.output_tokens, "d"))  # noqa: E501 # fmt: skip
            lines.append("| " + " | ".join(map(str, cells)) + " |")
        if self.failures:
            lines += ["", "Failures: " + ", ".join(f"{_escaped(k)} {v}" for k, v in self.failures.items())]  # noqa: E501 # fmt: skip
        return "\n".join(lines) + note + "\n"

    def csv(self) -> str:
        """Return a row per prediction; a cell that begins like a formula gets a leading quote."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\r\n")
        names = ("item", "answer", "text", "abstained", "reason", "consensus", "support", "called", "valid", "cost_usd", "latency_s", "ended", "simulated")  # noqa: E501 # fmt: skip
        writer.writerow(names)
        for p in self.predictions:
            facts = p.metadata
            row = (p.item, p.answer, p.text, p.abstained, p.reason, facts.consensus, facts.support, facts.called, facts.valid, facts.cost_usd, facts.latency_s, facts.ended, facts.simulated)  # noqa: E501 # fmt: skip
            writer.writerow([_guarded(cell) for cell in row])
        return out.getvalue()


def summarise(predictions: Sequence[Prediction]) -> Summary:
    """Return what predictions have in common.

    Raises
    ------
    ValueError
        If there are none.
    """
    import numpy as np

    if not predictions:
        raise ValueError("`predictions` must not be empty")
    consensus = [p.metadata.consensus for p in predictions if p.metadata.consensus is not None]
    several = [p for p in predictions if p.metadata.valid > 1]
    split = [len({r.key for r in p.responses if r.key is not None}) > 1 for p in several]
    latencies = np.array([p.metadata.latency_s for p in predictions])
    costs = [p.metadata.cost_usd for p in predictions]
    failures: dict[str, int] = {}
    by_member: dict[str, list[Response]] = {}
    for p in predictions:
        for r in p.responses:
            by_member.setdefault(r.member, []).append(r)
            if r.error is not None:
                kind = r.error.partition(":")[0]
                failures[kind] = failures.get(kind, 0) + 1
    won = {m: sum(p.metadata.winners.count(m) for p in predictions) for m in by_member}
    p50, p95, p99 = (float(q) for q in np.quantile(latencies, [0.5, 0.95, 0.99]))
    return Summary(
        n=len(predictions),
        success_rate=sum(not p.abstained for p in predictions) / len(predictions),
        abstention_rate=sum(p.abstained for p in predictions) / len(predictions),
        mean_consensus=sum(consensus) / len(consensus) if consensus else None,
        disagreement_rate=sum(split) / len(split) if split else None,
        latency_p50=p50,
        latency_p95=p95,
        latency_p99=p99,
        latency_max=float(latencies.max()),
        cost_usd=_total(costs),
        known_cost_usd=sum(p.metadata.known_cost_usd for p in predictions),
        members=tuple(_member(name, rs, won[name]) for name, rs in by_member.items()),
        failures=dict(sorted(failures.items(), key=lambda kv: (-kv[1], kv[0]))),
        simulated=any(p.metadata.simulated for p in predictions),
        predictions=tuple(predictions),
    )


def _member(name: str, responses: Sequence[Response], won: int) -> MemberSummary:
    called = [r for r in responses if r.status != "skipped"]
    done = [r.completion for r in called if r.completion is not None]
    return MemberSummary(
        member=name,
        called=len(called),
        answered=len(done),
        won=won,
        cost_usd=_total([r.cost_usd for r in called]),
        known_cost_usd=sum(r.cost_usd or 0.0 for r in called),
        unpriced=sum(r.cost_usd is None for r in called),
        input_tokens=_total([c.input_tokens for c in done]),
        output_tokens=_total([c.output_tokens for c in done]),
    )


def _total(values: Sequence[Any]) -> Any:
    return None if None in values else sum(values)


def _shown(value: float | None, form: str) -> str:
    return "unknown" if value is None else format(value, form)


def _cost(value: float | None, known: float) -> str:
    return f"unknown, at least {known:.6g}" if value is None else f"{value:.6g}"


def _escaped(text: str) -> str:
    for mark in "\\|`*_<>[]":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())


def _guarded(cell: Any) -> Any:
    if isinstance(cell, str) and cell.startswith(_FORMULA):
        return "'" + cell
    return "" if cell is None else cell
