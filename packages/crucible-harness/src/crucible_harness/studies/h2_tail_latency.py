"""h2: whether hedging cuts a percentile of latency, for at most so much extra load."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from crucible_harness.ledger import Price
from crucible_harness.studies.catalogue import STUDIES
from crucible_harness.studies.rare_events import rate_figure
from crucible_harness.studies.result import Cell, Figure, StudyResult, StudyTable
from crucible_harness.studies.shadowing import PairMaker, make_pairs
from crucible_harness.verdicts import Outcome, combine

if TYPE_CHECKING:
    from crucible_ensemble import Model
    from crucible_hedging.shadow import ShadowLog, ShadowRecord

FEWEST_PAIRS = 20  # of an analysis, of which both copies answered
_FEWEST_BEYOND = 10  # calls beyond the percentile, in the part that judges
_WINDOWS = 4
_NO_PRICES: Mapping[str, Price] = MappingProxyType({})
_NAMED = {50.0: "p50_s", 90.0: "p90_s", 95.0: "p95_s", 99.0: "p99_s", 99.9: "p999_s"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TailLatency:
    """Whether hedging one service pays, from calls of which both copies were made.

    Attributes
    ----------
    pairs : int, >= 40
        Calls of which both copies are made.
    percentile : float, in [50, 100)
    reduction : float, in (0, 1)
        Smallest reduction of the percentile that matters, as a share of it.
    max_extra : float, in (0, 1]
        Backups per request that are allowed.
    aim : float, in (0, 1]
        Share of `max_extra` that the delay is chosen for: a delay that spends all of it on the
        first half spends more on the second in half of the studies.
    fit_share : float, in (0, 1)
        Share of the pairs that chooses the delay.
    alpha : float, in (0, 0.5)
    seed : int

    Examples
    --------
    >>> TailLatency(pairs=6_000, reduction=0.3).max_extra
    0.05
    """

    pairs: int = 8_000
    percentile: float = 99.0
    reduction: float = 0.2
    max_extra: float = 0.05
    aim: float = 0.75
    fit_share: float = 0.5
    alpha: float = 0.05
    seed: int = 1

    def __post_init__(self) -> None:
        if self.pairs < 40:
            raise ValueError(f"`pairs` must be >= 40, got {self.pairs}")
        if not 50 <= self.percentile < 100:
            raise ValueError(f"`percentile` must be in [50, 100), got {self.percentile}")
        for name, bound in (("reduction", 1), ("fit_share", 1), ("alpha", 0.5)):
            if not 0 < getattr(self, name) < bound:
                raise ValueError(f"`{name}` must be in (0, {bound}), got {getattr(self, name)}")
        for name in ("max_extra", "aim"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"`{name}` must be in (0, 1], got {getattr(self, name)}")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-safe mapping."""
        return {"study": "h2", **asdict(self)}

    def pairs_needed(self, pilot_s: Sequence[float], *, power: float = 0.8) -> int:
        """Return the pairs that tell a reduction of the smallest size from none.

        Parameters
        ----------
        pilot_s : sequence of float, at least 20
            Latencies in seconds. With few beyond the percentile the number is a guess.
        power : float, in (0, 1)

        Notes
        -----
        By the quantile planner of crucible_bench, for two independent groups: pairs need fewer. The
        pairs that choose the delay are added.
        """
        import numpy as np

        from crucible_bench import sample_size
        from crucible_bench.simulated_power import QuantileDifference

        design = QuantileDifference(self.percentile, list(pilot_s), rng=self.seed)
        effect = self.reduction * float(np.percentile(pilot_s, self.percentile))
        needed = sample_size(design, effect=effect, power=power, alpha=self.alpha).n
        return math.ceil(needed / (1 - self.fit_share))

    async def collect(
        self,
        model: "Model",
        prompts: Mapping[str, Any] | Sequence[Any],
        *,
        path: Path | str | None = None,
        concurrency: int = 1,
        temperature: float | None = 0.7,
        max_tokens: int = 64,
        max_cost_usd: float | None = None,
        assume_price: Mapping[str, Price] = _NO_PRICES,
    ) -> "ShadowLog":
        """Make the pairs: both copies of each call at once, each to its end.

        Parameters
        ----------
        model : Model
        prompts : sequence, or mapping of name to prompt
            Asked in turn until there are enough pairs.
        path : path of a JSON Lines file, optional
            Each pair is appended; pairs that it holds already are not made again.
        concurrency : int, >= 1
            Pairs in flight.
        temperature : float, >= 0, or None
        max_tokens : int, >= 1
        max_cost_usd : float, > 0, optional
            No pair is started that might cost more than what is left of it; the log is then
            shorter than planned, and the analysis says so. Pairs that `path` holds count.
        assume_price : mapping of model or provider to its price, optional
            As in `Budget`, for models whose price is not known.

        Raises
        ------
        ValueError
            If `prompts` is empty, or there is a budget for a model without a known price, or for
            one that is made of models.

        Notes
        -----
        A pair of which a copy fails is written down and counted; it has no place in the analysis.
        A pair reserves the worst case of both copies before it is sent, and from 20 pairs on twice
        the dearest. What was in flight when a process was killed is not in its file, and not
        counted by the next one.
        """
        maker = self._maker(model, prompts, temperature, max_tokens, assume_price)
        return await make_pairs(
            maker, self.pairs, path=path, concurrency=concurrency, max_cost_usd=max_cost_usd
        )

    def cost_at_most(
        self,
        model: "Model",
        prompts: Mapping[str, Any] | Sequence[Any],
        *,
        made: int = 0,
        max_tokens: int = 64,
        assume_price: Mapping[str, Price] = _NO_PRICES,
    ) -> float | None:
        """Return what `collect` may cost at worst, in US dollars; None where no price is known.

        Parameters
        ----------
        made : int, >= 0
            Pairs that are there already.
        """
        maker = self._maker(model, prompts, None, max_tokens, assume_price)
        return maker.cost_at_most(min(made, self.pairs), self.pairs)

    def _maker(
        self,
        model: "Model",
        prompts: Mapping[str, Any] | Sequence[Any],
        temperature: float | None,
        max_tokens: int,
        assume_price: Mapping[str, Price],
    ) -> PairMaker:
        asked = list(prompts.values()) if isinstance(prompts, Mapping) else list(prompts)
        return PairMaker(
            model, asked, temperature=temperature, max_tokens=max_tokens, seed=self.seed,
            assume_price=assume_price,
        )  # fmt: skip

    def analyse(self, log: "Iterable[ShadowRecord]", *, simulated: bool = False) -> StudyResult:
        """Choose the delay on the first part of the log and judge it on the rest.

        Parameters
        ----------
        log : ShadowLog or iterable of ShadowRecord, in the order of time
        simulated : bool
            Whether a simulation answered; said wherever the numbers stand.

        Raises
        ------
        InsufficientDataError
            If there are fewer than 20 pairs of which both copies answered.

        Notes
        -----
        "Supported" takes both: the interval of the reduction lies above `reduction`, and the
        one-sided bound of the extra load is at most `max_extra`. The interval of the reduction is
        that of a circular block bootstrap over log order; bounds of rates are Clopper-Pearson's
        at the effective number of calls (`rate_figure`). With fewer than 10 calls expected beyond
        the percentile in the second part there is no verdict.
        """
        from crucible_hedging.calibrate import calibrate
        from crucible_hedging.pairs import Pairs

        records = list(log)
        good = [r for r in records if r.primary_ok and r.backup_ok]
        found = calibrate(
            good, budget=self.max_extra * self.aim, percentile=self.percentile,
            fit_share=self.fit_share, confidence=1 - self.alpha, seed=self.seed,
        )  # fmt: skip
        rest = good[found.n_fit :]
        raced = Pairs.of(rest).race(found.delay_s, found.probability)
        rate = partial(rate_figure, times=found.probability, alpha=self.alpha)
        extra = rate("extra load", raced.fired > 0, unit="backups per request")
        wins = rate("wins", raced.won > 0, unit="per request")
        cost = float(raced.usd.mean())
        reduction = Figure(
            name="reduction", value=found.reduction, low=found.low, high=found.high, unit="share",
            method=f"1 - hedged/plain P{self.percentile:g}, circular block bootstrap",
            reason=None if found.reduction is not None else "calls that were cut short decide it",
        )  # fmt: skip
        beyond = found.n_test * (1 - self.percentile / 100)
        outcomes = (self._cut(reduction), self._bounded(extra))
        few = beyond < _FEWEST_BEYOND
        outcome: Outcome = "inconclusive" if few else combine(outcomes)
        card = STUDIES["h2"]
        warnings = []
        if few:
            warnings.append(
                f"Only {beyond:.1f} of {found.n_test:,} calls are expected beyond "
                f"P{self.percentile:g}: nothing is decided on fewer than {_FEWEST_BEYOND}."
            )
        if len(good) < len(records):
            warnings.append(
                f"{len(records) - len(good):,} of {len(records):,} pairs are left out: a copy "
                "failed."
            )
        if len(records) < self.pairs:
            warnings.append(f"{len(records):,} of {self.pairs:,} planned pairs were made.")
        return StudyResult(
            study=card.id,
            question=card.question,
            n=found.n_test,
            unit="pairs of calls",
            simulated=simulated,
            outcome=outcome,
            sentence=(
                f"After {found.delay_s:.3g} s a backup with probability {found.probability:.2f}: "
                f"P{self.percentile:g} falls by {reduction} (smallest of interest "
                f"{self.reduction:g}) for {extra} (allowed {self.max_extra:g})."
            ),
            figures=(
                reduction,
                extra,
                Figure(name="delay", value=found.delay_s, unit="s"),
                Figure(name="probability", value=found.probability),
                Figure(name="plain", value=found.baseline_s, unit="s"),
                wins,
                Figure(name="waste", value=float(raced.wasted.mean()), unit="s per request"),
                Figure(name="cost", value=None if math.isnan(cost) else cost,
                       unit="USD per request",
                       reason="a price is not known" if math.isnan(cost) else None),
            ),
            tables=(self._windows(rest, found.delay_s, found.probability),),
            plan=self.to_dict(),
            warnings=tuple(warnings),
            limits=card.limits,
        )  # fmt: skip

    def _cut(self, reduction: Figure) -> Outcome:
        if reduction.low is None or reduction.high is None:
            return "not computed"
        if reduction.low > self.reduction:
            return "supported"
        return "not supported" if reduction.high < self.reduction else "inconclusive"

    def _bounded(self, extra: Figure) -> Outcome:
        if extra.low is None or extra.high is None:
            return "not computed"
        if extra.high <= self.max_extra:
            return "supported"
        return "not supported" if extra.low > self.max_extra else "inconclusive"

    def _windows(
        self, rest: "Sequence[ShadowRecord]", delay_s: float, probability: float
    ) -> StudyTable:
        """Race the same plan in each quarter of the time that judged it."""
        from crucible_hedging.whatif import what_if

        size = -(-len(rest) // _WINDOWS)
        rows: list[tuple[Cell, ...]] = []
        name = _NAMED.get(self.percentile)
        for start in range(0, len(rest), size):
            part = rest[start : start + size]
            curve = what_if(part, [delay_s], probabilities=[probability], bootstrap=1)
            plain, raced = (
                None if name is None else getattr(row, name).value
                for row in (curve.baseline, curve.rows[0])
            )
            rows.append((len(rows) + 1, len(part), plain, raced, curve.rows[0].extra_ratio.value))
        p = f"P{self.percentile:g}"
        return StudyTable(
            title="Windows of time",
            columns=("window", "pairs", f"plain {p}, s", f"hedged {p}, s", "extra load"),
            rows=tuple(rows),
        )
