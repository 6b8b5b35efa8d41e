import asyncio
import selectors

import anyio
import pytest
import trio.testing

import crucible_hedging
from crucible_hedging import Hedger


class JumpingSelector(selectors.DefaultSelector):
    """Never waits while a timer is set: the loop's clock jumps to it instead."""

    loop = None

    def select(self, timeout=None):
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        events = super().select(0)
        if not events:
            self.loop.now = max(self.loop.now, self.loop._scheduled[0]._when)
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio in virtual time, what trio's autojumping MockClock is to trio."""

    def __init__(self):
        self.now = 0.0
        selector = JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self):
        return self.now


BACKENDS = {
    "trio": lambda: ("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}),
    "asyncio": lambda: ("asyncio", {"loop_factory": VirtualLoop}),
}


@pytest.fixture(params=list(BACKENDS))
def anyio_backend(request):
    return BACKENDS[request.param]()


@pytest.fixture(params=list(BACKENDS))
def run(request):
    """Run an async function from its start to its end in virtual time, on both back ends."""

    def run(main, *args):
        backend, options = BACKENDS[request.param]()
        return anyio.run(main, *args, backend=backend, backend_options=options)

    return run


class Stage:
    """Makes calls that follow a script, and sees that none is left when the test ends."""

    def __init__(self):
        self.running = 0
        self.started = []  # (time, result) of each call that began
        self.ended = []  # results of calls that have stopped, in that order

    def call(self, *script):
        """Return one call; its n-th use sleeps and answers, or raises, as the n-th pair says."""
        left = iter(script)

        async def call():
            seconds, result = next(left)
            self.started.append((anyio.current_time(), result))
            self.running += 1
            try:
                await anyio.sleep(seconds)
                if isinstance(result, BaseException):
                    raise result
                return result
            finally:
                self.running -= 1
                self.ended.append(result)

        return call


@pytest.fixture
def stage():
    made = Stage()
    yield made
    assert made.running == 0, "an attempt outlived its request"


def _raced_by(entered):
    async def hedge(call, *, delay, backups=(), idempotent=True, budget=None, **options):
        hedger = Hedger(delay, budget=budget, explore=0.0, **options)
        if not entered:
            return await hedger(call, backups=backups, idempotent=idempotent)
        async with hedger:
            return await hedger(call, backups=backups, idempotent=idempotent)

    return hedge


RACERS = {
    "hedge()": crucible_hedging.hedge,
    "a hedger": _raced_by(False),
    "an entered hedger": _raced_by(True),
}


@pytest.fixture(params=list(RACERS))
def hedge(request):
    """Race one call, by each of the three ways that share one state machine."""
    return RACERS[request.param]
