import anyio
import pytest

from crucible_hedging import Breaker, HedgeBudget, Hedger

pytestmark = pytest.mark.anyio


class Heard(list):
    def __call__(self, event, attributes):
        self.append(
            (event, {k.removeprefix("crucible.hedging."): v for k, v in attributes.items()})
        )

    def names(self):
        names = [event for event, _ in self]
        self.clear()
        return names


def free():
    return HedgeBudget(1.0, burst=100_000, initial=100_000)


async def test_every_step_of_a_request_is_told(stage):
    heard = Heard()
    hedger = Hedger(0.1, budget=free(), on_event=heard, breaker=Breaker(failures=2, reset_s=5.0))
    await hedger(stage.call((1.0, "slow"), (0.05, "quick")), key="k")
    assert heard[0] == ("request.start", {"key": "k", "policy": "fixed(0.1 s)", "delay_s": 0.1})
    assert heard[1] == ("hedge.fired", {"key": "k", "attempt": 1})
    assert heard[2] == ("hedge.won", {"key": "k", "winner": 1})
    name, stop = heard[3]
    assert name == "request.stop"
    assert stop == {
        "key": "k", "latency_s": pytest.approx(0.15), "outcome": "ok", "hedged": True, "backups": 1,
        "winner": 1, "shadow": False, "wasted_s": pytest.approx(0.15),
    }  # fmt: skip
    heard.clear()
    await hedger(stage.call((0.2, "won"), (9.0, "slow")))
    assert heard.names() == ["request.start", "hedge.fired", "hedge.lost", "request.stop"]
    with pytest.raises(ExceptionGroup):
        await hedger(stage.call((0.2, OSError()), (0.2, OSError())))
    failed = [facts for event, facts in heard if event == "attempt.failed"]
    assert failed == [{"attempt": 0, "error": "OSError"}, {"attempt": 1, "error": "OSError"}]
    assert heard[-1][1]["outcome"] == "error"
    assert heard.names() == [
        "request.start", "hedge.fired", "attempt.failed", "attempt.failed", "breaker.open",
        "request.stop",
    ]  # fmt: skip
    await hedger(stage.call((0.2, "slow")))
    assert heard[1] == ("hedge.blocked", {"blocked": "breaker"})
    heard.clear()
    await anyio.sleep(5)
    await hedger(stage.call((0.01, "back")))
    assert heard.names() == ["request.start", "breaker.close", "request.stop"]
    hedger.enabled = False
    await hedger(stage.call((0.01, "x")))
    assert heard.names() == ["request.start", "hedge.blocked", "request.stop"]
    with anyio.move_on_after(0.05):
        await hedger(stage.call((1, "given up")))
    assert heard[-1][1]["outcome"] == "cancelled"


async def test_no_event_carries_a_value(stage):
    heard = Heard()
    hedger = Hedger(0.1, budget=free(), on_event=heard)
    await hedger(stage.call((1.0, OSError("my prompt")), (0.05, "my prompt")))
    assert "prompt" not in str(list(heard))


async def test_an_outlet_that_fails_is_warned_of_once_and_harms_no_request(stage):
    def broken(event, attributes):
        raise LookupError("no disk")

    hedger = Hedger(0.1, budget=free(), on_event=broken)
    with pytest.warns(RuntimeWarning, match="`on_event` raised LookupError: no disk") as caught:
        outcome = await hedger(stage.call((1.0, "slow"), (0.05, "quick")))
    assert outcome.value == "quick"
    assert len(caught) == 1
    await hedger(stage.call((0.01, "next")))  # a second warning would be an error here
