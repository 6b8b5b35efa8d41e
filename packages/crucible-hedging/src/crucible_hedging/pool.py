"""A pool of servers with queues: where backups help, and where they bring the pool down."""

import heapq
import math
from collections import deque
from dataclasses import asdict, dataclass

import numpy as np

from crucible_hedging.budget import HedgeBudget
from crucible_hedging.delays.fixed import check_delay_s
from crucible_hedging.distributions import Distribution, Lognormal


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolReport:
    """What the requests to a pool took, from their arrival.

    Attributes
    ----------
    n : int
        Requests, the first tenth left out.
    p50_s, p95_s, p99_s : float
    extra_ratio : float
        Backups per request.
    utilisation : float
        The share of server time that was used, all requests included.
    """

    n: int
    p50_s: float
    p95_s: float
    p99_s: float
    extra_ratio: float
    utilisation: float

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-ready record."""
        return asdict(self)


def pool(
    *,
    utilisation: float,
    delay: float,
    cancel: bool,
    servers: int = 16,
    budget: float | None = None,
    service: Distribution = Lognormal(1.0),  # noqa: B008  # frozen
    n: int = 60_000,
    seed: int = 0,
) -> PoolReport:
    """Simulate requests to servers with a queue each, and backups to another server.

    Parameters
    ----------
    utilisation : float, in (0, 1)
        Of the pool without backups.
    delay : float, >= 0
        Seconds until the backup; inf: none.
    cancel : bool
        Whether the loser leaves its queue or its server at once; else it is served to its end.
    servers : int, >= 2
    budget : float, in (0, 1], optional
    service : Distribution
    n : int, >= 100
    seed : int

    Notes
    -----
    Poisson arrivals, each to a random server, first come first served (M/G/1). Without cancellation
    and budget, backups lengthen the queues, which makes more requests late, which sends more
    backups: beyond a utilisation the pool does not recover.
    """
    from scipy.special import ndtr

    for name, count, least in (("servers", servers, 2), ("n", n, 100)):
        if isinstance(count, bool) or count != int(count) or count < least:
            raise ValueError(f"`{name}` must be an integer >= {least}, got {count!r}")
    if isinstance(utilisation, bool) or not 0 < utilisation < 1:
        raise ValueError(f"`utilisation` must be in (0, 1), got {utilisation}")
    check_delay_s(delay, name="delay")
    rng = np.random.default_rng(seed)
    times = np.asarray(service.ppf(ndtr(rng.standard_normal((2, n)))), dtype=float)
    mean_s = float(np.mean(np.asarray(service.ppf((np.arange(100_000) + 0.5) / 100_000))))
    gaps = rng.exponential(mean_s / (utilisation * servers), n)
    first = rng.integers(servers, size=n)
    second = (first + rng.integers(1, servers, size=n)) % servers
    bucket = None if budget is None else HedgeBudget(budget)
    run = _Pool(servers, np.cumsum(gaps).tolist(), times.tolist(), cancel, bucket)
    run.play([first.tolist(), second.tolist()], delay)
    latencies = np.array(run.latencies[n // 10 :])
    p50_s, p95_s, p99_s = np.percentile(latencies, [50, 95, 99]).tolist()
    return PoolReport(
        n=latencies.size,
        p50_s=p50_s,
        p95_s=p95_s,
        p99_s=p99_s,
        extra_ratio=run.backups / n,
        utilisation=run.busy_s / (servers * run.now),
    )


_ARRIVES, _LATE, _SERVED = range(3)


class _Pool:
    """The state of a simulation: queues of (request, copy), and a heap of what happens next."""

    def __init__(
        self,
        servers: int,
        arrivals: list[float],
        times: list[list[float]],
        cancel: bool,
        bucket: HedgeBudget | None,
    ) -> None:
        self.arrivals, self.times = arrivals, times
        self.cancel, self.bucket = cancel, bucket
        self.latencies = [math.nan] * len(arrivals)
        self.backups, self.busy_s, self.now = 0, 0.0, 0.0
        self.queues: list[deque[tuple[int, int]]] = [deque() for _ in range(servers)]
        # What a server works on: request, copy and since when.
        self.serving: list[tuple[int, int, float] | None] = [None] * servers
        self.heap: list[tuple[float, int, int, int]] = []

    def play(self, places: list[list[int]], delay: float) -> None:
        """Run until every request and every copy that is not cancelled has been served."""
        for request, at in enumerate(self.arrivals):
            heapq.heappush(self.heap, (at, _ARRIVES, request, 0))
        while self.heap:
            at, what, request, copy = heapq.heappop(self.heap)
            if what == _ARRIVES:
                self.now = at
                if self.bucket is not None:
                    self.bucket.arrive()
                self._enter(places[0][request], request, 0)
                if delay < math.inf:
                    heapq.heappush(self.heap, (at + delay, _LATE, request, 1))
            elif what == _LATE:
                late = math.isnan(self.latencies[request])
                if late and (self.bucket is None or self.bucket.try_spend()):
                    self.now = at
                    self.backups += 1
                    self._enter(places[1][request], request, 1)
            else:
                self._served(at, places, request, copy)

    def _enter(self, server: int, request: int, copy: int) -> None:
        self.queues[server].append((request, copy))
        if self.serving[server] is None:
            self._next(server)

    def _next(self, server: int) -> None:
        queue = self.queues[server]
        self.serving[server] = None
        while queue:
            request, copy = queue.popleft()
            if self.cancel and not math.isnan(self.latencies[request]):
                continue  # it left the queue when the other copy answered
            self.serving[server] = (request, copy, self.now)
            end = self.now + self.times[copy][request]
            heapq.heappush(self.heap, (end, _SERVED, request, copy))
            return

    def _served(self, at: float, places: list[list[int]], request: int, copy: int) -> None:
        server = places[copy][request]
        working = self.serving[server]
        if working is None or working[:2] != (request, copy):
            return  # it was cancelled in the meantime
        self.now = at
        self.busy_s += at - working[2]
        if math.isnan(self.latencies[request]):
            self.latencies[request] = at - self.arrivals[request]
            other = places[1 - copy][request]
            beaten = self.serving[other]
            if self.cancel and beaten is not None and beaten[:2] == (request, 1 - copy):
                self.busy_s += at - beaten[2]
                self._next(other)
        self._next(server)
