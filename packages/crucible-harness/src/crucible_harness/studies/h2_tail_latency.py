"""h2: whether hedging cuts a percentile of latency, for at most so much extra load."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from crucible_harness.studies.catalogue import STUDIES
from crucible_harness.studies.rare_events import rate_figure
from crucible_harness.studies.result import Cell, Figure, StudyResult, StudyTable
from crucible_harness.verdicts import Outcome, combine

if TYPE_CHECKING:
    from crucible_ensemble import Model
    from crucible_hedging.shadow import ShadowLog, ShadowRecord

_FEWEST_BEYOND = 10  # calls beyond the percentile, in the part that judges
_WINDOWS = 4
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

        Notes
        -----
        A pair of which a copy fails is written down and counted; it has no place in the analysis.
        """
        from crucible_hedging import Hedger
        from crucible_hedging.errors import AllAttemptsFailedError
        from crucible_hedging.shadow import ShadowLog

        asked = list(prompts.values()) if isinstance(prompts, Mapping) else list(prompts)
        if not asked:
            raise ValueError("`prompts` must not be empty")
        if concurrency < 1:
            raise ValueError(f"`concurrency` must be >= 1, got {concurrency}")
        log = ShadowLog(path)
        todo = iter(range(len(log), self.pairs))
        supports = getattr(model, "supports", None)
        seeded = supports is None or "seed" in supports
        hedger = Hedger("off", budget=None, shadow=log, shadow_rate=1.0, drain_s=120.0)

        async def work() -> None:
            for n in todo:
                prompt = asked[n % len(asked)]

                ended = [anyio.Event(), anyio.Event()]

                def copy(which: int, n: int = n, prompt: Any = prompt, ended: Any = ended) -> Any:
                    # Another seed for the copy: with the same one a seeded model is no copy at
                    # all, but the same call twice.
                    seed = (self.seed * 1_000_003 + 2 * n + which) % 2**31 if seeded else None

                    async def call() -> Any:
                        try:
                            return await model.generate(
                                prompt, temperature=temperature, max_tokens=max_tokens, seed=seed
                            )
                        finally:
                            ended[which].set()

                    return call

                try:
                    await hedger(copy(0), backups=[copy(1)])
                    for one in ended:  # the next pair must not find this one's copy still at work
                        await one.wait()
                except AllAttemptsFailedError:
                    continue

        async with hedger, anyio.create_task_group() as group:
            for _ in range(concurrency):
                group.start_soon(work)
        return log

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
