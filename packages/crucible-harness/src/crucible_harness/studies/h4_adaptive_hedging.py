"""h4: whether an adaptive delay pays when latency changes."""

import math
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from crucible_harness.studies.catalogue import STUDIES
from crucible_harness.studies.over_items import ends, mean_figure
from crucible_harness.studies.result import StudyResult, StudyTable
from crucible_harness.studies.traces import KINDS, Floats, Kind, Trace, scales
from crucible_harness.verdicts import Outcome, combine, judge

if TYPE_CHECKING:
    from crucible_hedging import DelayPolicy
    from crucible_hedging.simulate import Distribution

Tail = Literal["lognormal", "pareto", "stragglers"]
Policy = Literal["adaptive", "percentile", "fixed", "oracle"]
POLICIES: tuple[Policy, ...] = ("adaptive", "percentile", "fixed", "oracle")
_POWERS = (0.25, 0.5, 0.75, 1.0)  # of `factor`: delays between the two regimes


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveHedging:
    """Policies on simulated traces, each seed one trace, all policies on the same draws.

    Attributes
    ----------
    traces : tuple of {"regimes", "days", "incident", "steady"}
        Each is a claim of its own; all must hold.
    tail : {"lognormal", "pareto", "stragglers"}
        Of latency at a moment, in units of its median.
    policy : {"adaptive", "percentile"}
        What is compared with the fixed delay.
    budget : float, in (0, 1)
        Backups per request, of every policy, by the same bucket.
    percentile : float, in [50, 100)
    sesoi : float, > 0
        Smallest saving of regret that matters; regret is the percentile over the oracle's, less 1.
    seeds : int, >= 30
        Traces of each kind.
    requests : int, >= 1,000
        Of each trace.
    warm_up : int, >= 0
        First requests of a trace, which the percentile leaves out.
    window : int, >= 100
        Attempts that policies remember.
    factor : float, > 0
        How many times longer latency is in the other regime, at noon, during the incident.
    sojourn : int, >= 1
        Requests that this lasts, on average.
    seed : int

    Examples
    --------
    >>> AdaptiveHedging(traces=("incident",)).seeds
    30
    """

    traces: tuple[Kind, ...] = ("regimes", "days", "incident")
    tail: Tail = "lognormal"
    policy: Literal["adaptive", "percentile"] = "adaptive"
    budget: float = 0.05
    percentile: float = 99.0
    sesoi: float = 0.05
    seeds: int = 30
    requests: int = 6_000
    warm_up: int = 500
    window: int = 500
    factor: float = 3.0
    sojourn: int = 1_000
    seed: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "traces", tuple(self.traces))
        if not self.traces or not set(self.traces) <= set(KINDS):
            raise ValueError(f"`traces` must be among {', '.join(KINDS)}, got {self.traces}")
        if self.tail not in ("lognormal", "pareto", "stragglers"):
            raise ValueError(
                f'`tail` must be "lognormal", "pareto" or "stragglers", got {self.tail!r}'
            )
        if self.policy not in ("adaptive", "percentile"):
            raise ValueError(f'`policy` must be "adaptive" or "percentile", got {self.policy!r}')
        if not 0 < self.budget < 1:
            raise ValueError(f"`budget` must be in (0, 1), got {self.budget}")
        if not 50 <= self.percentile < 100:
            raise ValueError(f"`percentile` must be in [50, 100), got {self.percentile}")
        least = {"seeds": 30, "requests": 1_000, "warm_up": 0, "window": 100, "sojourn": 1}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"`{name}` must be >= {bound}, got {getattr(self, name)}")
        for name in ("sesoi", "factor"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"`{name}` must be > 0, got {getattr(self, name)}")
        if self.warm_up >= self.requests:
            raise ValueError(f"`warm_up` must be < `requests`, got {self.warm_up}")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return {"study": "h4", **asdict(self), "traces": list(self.traces)}

    def simulate(self) -> StudyResult:
        """Run every policy on every trace and compare regrets over seeds.

        Notes
        -----
        Paired by seed; t interval over seeds, Bonferroni over kinds of trace.
        """
        runs = {kind: [self.one(kind, seed) for seed in range(self.seeds)] for kind in self.traces}
        return self.judge(runs)

    def judge(self, runs: "Mapping[Kind, list[Mapping[Policy, TraceRun]]]") -> StudyResult:
        """Compare what `one` returned for the seeds of each kind of trace."""
        figures, rows, outcomes = [], [], []
        level = 0.05 / len(runs)
        for kind, seen in runs.items():
            saved = np.array([r["fixed"].regret - r[self.policy].regret for r in seen])
            main = mean_figure(
                f"regret saved: {kind}", saved, confidence=1 - level,
                method=f"fixed - {self.policy}, t over seeds, simultaneous",
            )  # fmt: skip
            inner = mean_figure(kind, saved, confidence=1 - 2 * level)
            verdict = judge(
                ends(main), equivalence=ends(inner), sesoi=self.sesoi, direction="greater"
            )
            figures.append(main)
            outcomes.append(verdict.outcome)
            for policy in POLICIES:
                regret = mean_figure("regret", np.array([r[policy].regret for r in seen]))
                rows.append(
                    (kind, policy, float(np.mean([r[policy].percentile_s for r in seen])),
                     regret.value, regret.low, regret.high,
                     float(np.mean([r[policy].extra for r in seen])))
                )  # fmt: skip
        card = STUDIES["h4"]
        n = min(len(seen) for seen in runs.values())
        outcome: Outcome = combine(tuple(outcomes))
        listed = "; ".join(
            f"{kind}: {said}, {figure}"
            for kind, said, figure in zip(runs, outcomes, figures, strict=True)
        )
        return StudyResult(
            study=card.id,
            question=card.question,
            n=n,
            unit="simulated traces of each kind",
            simulated=True,
            outcome=outcome,
            sentence=(
                f"The {self.policy} delay saves more than {self.sesoi:g} of the regret of a fixed "
                f"one at a budget of {self.budget:g} on every kind of trace: {outcome}. {listed}."
            ),
            figures=tuple(figures),
            tables=(
                StudyTable(
                    title="Policies",
                    columns=("trace", "policy", f"P{self.percentile:g}, medians", "regret",
                             "low", "high", "extra load"),
                    rows=tuple(rows),
                ),
            ),
            plan=self.to_dict(),
            limits=card.limits,
        )  # fmt: skip

    def one(self, kind: Kind, seed: int) -> "Mapping[Policy, TraceRun]":
        """Run every policy on one trace, on the same draws.

        Parameters
        ----------
        kind : {"regimes", "days", "incident", "steady"}
        seed : int, >= 0
            Of the trace and of its latencies.
        """
        from crucible_hedging import AdaptiveDelay, PercentileDelay
        from crucible_hedging.simulate import oracle, requests

        place = [self.seed, KINDS.index(kind), seed]
        scale = scales(
            kind, self.requests, factor=self.factor, sojourn=self.sojourn,
            rng=np.random.default_rng(place),
        )  # fmt: skip
        draws = int(np.random.SeedSequence([*place, 1]).generate_state(1)[0])
        base = self._base()
        plan = oracle(base, budget=self.budget, percentile=self.percentile)
        trace = Trace(base, scale)
        learning: tuple[tuple[Policy, DelayPolicy], ...] = (
            ("adaptive", AdaptiveDelay(budget=self.budget, percentile=self.percentile,
                                       window=self.window, seed=draws)),
            ("percentile", PercentileDelay(100 * (1 - self.budget), window=self.window)),
        )  # fmt: skip

        def run(policy: "DelayPolicy") -> TraceRun:
            report = requests(
                trace, policy, n=self.requests, budget=self.budget, explore=0.1, seed=draws
            )
            reached = float(np.percentile(report.hedged_s[self.warm_up :], self.percentile))
            return TraceRun(percentile_s=reached, regret=0.0, extra=report.extra_ratio)

        def planned(times: Floats) -> TraceRun:
            return run(_Planned(plan.delay_s * times, plan.probability, draws))

        found = {name: run(policy) for name, policy in learning}
        # What is best for the first regime; then what was best, in hindsight, on this very trace:
        # the best plan of each moment, or one delay throughout.
        found["fixed"] = planned(np.ones(len(scale)))
        constant = (planned(np.full(len(scale), self.factor**power)) for power in _POWERS)
        candidates = (found["fixed"], planned(scale), *constant)
        found["oracle"] = min(candidates, key=lambda ran: ran.percentile_s)
        best = found["oracle"].percentile_s
        return {
            name: replace(ran, regret=ran.percentile_s / best - 1) for name, ran in found.items()
        }

    def _base(self) -> "Distribution":
        from crucible_hedging.simulate import Lognormal, Pareto, Stragglers

        tails: Mapping[Tail, Distribution] = {
            "lognormal": Lognormal(), "pareto": Pareto(), "stragglers": Stragglers(),
        }  # fmt: skip
        return tails[self.tail]


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRun:
    """What a policy made of a trace: the percentile, its regret, and backups per request."""

    percentile_s: float
    regret: float
    extra: float


class _Planned:
    """Waits the delay that is given for each request, with a given probability."""

    def __init__(self, delays_s: Floats, probability: float, seed: int) -> None:
        self._delays = iter(delays_s.tolist())
        self._probability, self._coin = probability, random.Random(seed)

    def delay(self) -> float:
        delay = float(next(self._delays))
        return delay if self._coin.random() < self._probability else math.inf

    def observe(self, latency_s: float, *, censored: bool, attempt: int = 0) -> None:
        """Learn nothing."""
