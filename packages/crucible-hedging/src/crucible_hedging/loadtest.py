"""Load that does not wait for answers, as real users do not."""

import math
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import anyio

from crucible_hedging.statistics import order_statistic

Arrivals = Literal["poisson", "uniform"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What came of a load.

    Attributes
    ----------
    latencies_s : tuple of float
        Of the answered requests, in order of arrival, each from the time at which it was meant to
        be sent.
    failures : int
        Requests that raised.
    offered_per_s : float
        The rate that was asked for.
    sent_per_s : float or None
        The rate at which requests were sent; lower, if the process did not keep up.
    lag_s : float
        The most by which a request was sent late.
    inflight : int
        The most requests that ran at once.
    duration_s : float
        From the first arrival to the last answer.
    p50_s, p95_s, p99_s, p999_s : float or None
        Order statistics x_(k) with k = ceil(p (n + 1)); None while k > n.
    """

    latencies_s: tuple[float, ...]
    failures: int
    offered_per_s: float
    sent_per_s: float | None
    lag_s: float
    inflight: int
    duration_s: float
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    p999_s: float | None

    def to_dict(self) -> dict[str, object]:
        """Return a JSON-ready record."""
        return {**asdict(self), "latencies_s": list(self.latencies_s)}


async def open_loop(
    call: Callable[[], Awaitable[Any]],
    *,
    rate_per_s: float,
    requests: int,
    arrivals: Arrivals = "poisson",
    seed: int = 0,
) -> LoadReport:
    """Send requests at a rate, whether earlier ones have been answered or not.

    A loop of workers that each wait for an answer sends less while the server is slow, and so
    misses the latencies that matter ("coordinated omission"). Here the times of arrival are drawn
    beforehand, and a latency counts from the arrival, also where the request was sent late.

    Parameters
    ----------
    call : callable
        Returns an awaitable; called once per request, for example `lambda: hedger(fetch)`.
    rate_per_s : float, > 0
    requests : int, >= 1
    arrivals : {"poisson", "uniform"}
        Exponential gaps, or equal ones.
    seed : int
        Of the gaps.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or `call` does not return an awaitable.

    Notes
    -----
    An `Exception` of a call is counted and its latency left out. Cancelling this cancels every
    request under way.
    """
    import numpy as np

    if not callable(call):
        raise TypeError(f"`call` must be callable, got {type(call).__name__}")
    if isinstance(rate_per_s, bool) or not 0 < rate_per_s < math.inf:
        raise ValueError(f"`rate_per_s` must be a finite number > 0, got {rate_per_s}")
    if isinstance(requests, bool) or not isinstance(requests, int):
        raise TypeError(f"`requests` must be an integer >= 1, got {requests!r}")
    if requests < 1:
        raise ValueError(f"`requests` must be >= 1, got {requests}")
    if arrivals not in ("poisson", "uniform"):
        raise ValueError(f'`arrivals` must be "poisson" or "uniform", got {arrivals!r}')
    gaps = np.full(requests, 1 / rate_per_s)
    if arrivals == "poisson":
        gaps = np.random.default_rng(seed).exponential(1 / rate_per_s, requests)
    gaps[0] = 0.0
    latencies: list[float | None] = [None] * requests
    failures = running = inflight = 0
    lag_s = 0.0
    began = anyio.current_time()
    last_sent = began

    async def one(number: int, arrival: float) -> None:
        nonlocal failures, running, inflight
        running += 1
        inflight = max(inflight, running)
        try:
            awaitable: Any = call()
            if not hasattr(awaitable, "__await__"):
                mistakes.append(
                    TypeError(f"`call` must return an awaitable, got {type(awaitable).__name__}")
                )
                group.cancel_scope.cancel()
                return
            await awaitable
            latencies[number] = anyio.current_time() - arrival
        except Exception:  # noqa: BLE001  # counted
            failures += 1
        finally:
            running -= 1

    mistakes: list[TypeError] = []
    async with anyio.create_task_group() as group:
        for number, offset in enumerate(np.cumsum(gaps).tolist()):
            await anyio.sleep_until(began + offset)
            last_sent = anyio.current_time()
            lag_s = max(lag_s, last_sent - (began + offset))
            group.start_soon(one, number, began + offset)
    if mistakes:
        raise mistakes[0]
    answered = tuple(latency for latency in latencies if latency is not None)
    ordered = sorted(answered)
    took = last_sent - began
    return LoadReport(
        latencies_s=answered,
        failures=failures,
        offered_per_s=float(rate_per_s),
        sent_per_s=(requests - 1) / took if took > 0 else None,
        lag_s=lag_s,
        inflight=inflight,
        duration_s=anyio.current_time() - began,
        p50_s=order_statistic(ordered, "0.5"),
        p95_s=order_statistic(ordered, "0.95"),
        p99_s=order_statistic(ordered, "0.99"),
        p999_s=order_statistic(ordered, "0.999"),
    )
