from __future__ import annotations

import random

import pytest

from engine.simulator import RateAnswer, Simulator, SimulatorSettings
from engine.simulator.calls import DOORS, Gateway
from tests.numbers import mobile, mobiles
from tests.simulator.client import LOGIN, TEXT, Client

DOOR = DOORS["/sms.aspx"]
FORM = {"action": "send", **LOGIN, "mobile": mobile(), "content": TEXT}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def guarded(clock: Clock, **settings: object) -> Gateway:
    return Gateway(SimulatorSettings(**{"rate_limit": 5, **settings}), wall=clock, monotonic=clock)


def knock(gateway: Gateway) -> bool:
    """Send; whether it was taken."""
    plan = gateway.arrive(DOOR, FORM)
    gateway.decide(plan)
    return plan.record.taken > 0


@pytest.mark.parametrize(("rate", "window_s"), [(1, 1.0), (5, 1.0), (20, 1.0), (3, 0.5)])
def test_no_window_ever_lets_more_through(rate: int, window_s: float) -> None:
    clock, dice = Clock(), random.Random(rate)
    gateway = guarded(clock, rate_limit=rate, rate_window_s=window_s)
    through = []
    for _ in range(3000):
        clock.now += dice.choice([0.0, 0.001, 0.02, 0.3]) * dice.random()
        if knock(gateway):
            through.append(clock.now)

    assert len(through) > 20
    for first, after in zip(through, through[rate:], strict=False):
        assert after - first >= window_s


def test_a_sender_at_exactly_the_limit_is_never_refused() -> None:
    clock = Clock()
    gateway = guarded(clock)
    for _ in range(100):
        assert knock(gateway)
        clock.now += 0.25


def test_knocking_too_early_does_not_prolong_the_wait() -> None:
    clock = Clock()
    gateway = guarded(clock, rate_limit=1)
    taken = []
    for _ in range(9):
        taken.append(knock(gateway))
        clock.now += 0.25

    assert taken == [True, False, False, False, True, False, False, False, True]


def test_a_refused_knock_is_no_attempt_for_the_faults() -> None:
    clock = Clock()
    faults = {"drop_answer": 0.5}
    calm, hasty = guarded(clock, rate_limit=1, faults=faults), guarded(clock, rate_limit=1, faults=faults)
    drawn = []
    for _ in range(40):
        drawn.append((calm.arrive(DOOR, FORM).drawn, hasty.arrive(DOOR, FORM).drawn))
        hasty.arrive(DOOR, FORM)
        clock.now += 1.0

    assert all(one == two for one, two in drawn)
    assert {one.fault for one, _ in drawn} == {None, "drop_answer"}


def test_the_peaks_are_the_fullest_window_of_arrivals() -> None:
    clock = Clock()
    gateway = guarded(clock, rate_limit=0)
    for step in (0.0, 0.5, 0.4, 0.2, 0.2, 0.2, 5.0):
        clock.now += step
        knock(gateway)

    truth = gateway.books.truth()
    assert (truth["peak_requests"], truth["peak_numbers"]) == (4, 4)  # at 0.5, 0.9, 1.1 and 1.3, and again from 0.9


@pytest.mark.parametrize("settings", [{"rate_limit": 2, "rate_window_s": 60.0}], indirect=True)
async def test_too_fast_is_http_429(sim: Simulator, client: Client) -> None:
    for _ in range(2):
        assert (await client.send(mobiles(1))).value("returnstatus") == "Success"

    got = await client.send(mobiles(3))

    assert got.status == 429
    assert 59 <= int(got.headers["Retry-After"]) <= 60
    assert "returnsms" not in got.text
    assert sim.truth()["accepted_numbers"] == 2
    assert [send["result"] for send in sim.truth()["sends"]] == ["accepted", "accepted", "rate_limited"]
    assert (await client.overage()).value("returnstatus") == "Sucess"


@pytest.mark.parametrize(
    "settings", [{"rate_limit": 1, "rate_window_s": 60.0, "rate_answer": RateAnswer.FAILD}], indirect=True
)
async def test_too_fast_may_be_an_application_answer(sim: Simulator, client: Client) -> None:
    await client.send(mobiles(1))

    got = await client.send(mobiles(1))

    assert (got.status, got.value("returnstatus"), got.value("message")) == (200, "Faild", "提交过于频繁，请稍后再试")
    assert sim.truth()["accepted_numbers"] == 1
