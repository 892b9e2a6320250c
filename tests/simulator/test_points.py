"""Points that come and go without a send: balance that lags, refunds, others on the account, payments."""

from __future__ import annotations

import asyncio
import random

import aiohttp
import pytest

from engine.simulator import Fault, Simulator, SimulatorSettings
from engine.simulator.books import Move
from engine.simulator.calls import DOORS, Gateway
from tests.numbers import mobile, mobiles
from tests.simulator.client import LOGIN, TEXT, Client
from tests.simulator.test_rate import Clock

NUMBERS = mobiles(200)


def adds_up(truth: dict[str, object]) -> bool:
    """The equation of the books, and that of every detail."""
    moved = dict.fromkeys(Move, 0)
    for movement in truth["movements"]:
        moved[movement["kind"]] += movement["points"]
    return (
        truth["opening"] + truth["top_ups"] + truth["refunds"] - truth["charges"] - truth["foreign"]
        == truth["balance"]
        == truth["opening"] - sum(send["charge"] for send in truth["sends"]) + sum(moved.values())
    ) and moved == {"top_up": truth["top_ups"], "refund": truth["refunds"], "foreign": -truth["foreign"]}


def timed(clock: Clock, **settings: object) -> Gateway:
    return Gateway(SimulatorSettings(**settings), wall=clock, monotonic=clock)


def send(gateway: Gateway, numbers: list[str]) -> None:
    form = {"action": "send", **LOGIN, "mobile": ",".join(numbers), "content": TEXT}
    gateway.decide(gateway.arrive(DOORS["/sms.aspx"], form))


def overage(gateway: Gateway) -> int:
    answer = gateway.answer(DOORS["/smsjson.aspx"], {"action": "overage", **LOGIN})
    return int(answer.body.partition(b'"overage":"')[2].partition(b'"')[0])


def test_a_lagging_balance_is_the_one_of_that_time_whatever_moved_it() -> None:
    clock, dice = Clock(), random.Random(3)
    gateway = timed(clock, points=100_000, balance_lag_s=10.0)
    history = [(clock.now, 100_000)]
    for number in mobiles(300):
        clock.now += dice.choice([0.5, 1.0, 4.0])
        match dice.randrange(4):
            case 0:
                gateway.points.top_up(dice.randrange(1, 50))
            case 1:
                gateway.points.spend(dice.randrange(1, 50))
            case _:
                send(gateway, [number])
        history.append((clock.now, gateway.books.balance))
        assert overage(gateway) == [balance for at, balance in history if at <= max(clock.now - 10.0, 1000.0)][-1]


@pytest.mark.parametrize("settings", [{"refunds": True, "undelivered": 0.5, "report_delay_s": 3600.0}], indirect=True)
async def test_points_of_undelivered_numbers_come_back(sim: Simulator, client: Client) -> None:
    for start in (0, 100):
        await client.send(NUMBERS[start : start + 100], content="字" * 71)
    assert (await client.overage()).value("overage") == str(10_000_000 - 400)

    sim.change({"clock_speed": 1e8})  # the reports are due now
    statuses = (await client.reports()).values("status")
    shown = await client.overage()

    truth = sim.truth()
    assert truth["refunds"] == 2 * statuses.count("20") > 100
    assert shown.value("overage") == str(10_000_000 - 400 + truth["refunds"])
    assert shown.value("sendTotal") == "10000000"
    assert [movement["task_id"] for movement in truth["movements"]] == [send["task_id"] for send in truth["sends"]]
    assert adds_up(truth)
    await client.overage()
    assert sim.truth()["refunds"] == truth["refunds"]  # once


@pytest.mark.parametrize(
    "settings", [{"refunds": True, "undelivered": 1.0, "unreported": 0.5, "price": 3}], indirect=True
)
async def test_whoever_is_never_reported_is_never_refunded(sim: Simulator, client: Client) -> None:
    await client.send(NUMBERS)

    told = len((await client.reports()).values("mobile"))
    await client.overage()

    assert 60 < told < 140
    assert sim.truth()["refunds"] == 3 * told


def test_a_refund_waits_for_the_last_failure_of_its_request() -> None:
    clock = Clock()
    gateway = timed(clock, refunds=True, undelivered=1.0, late=0.5, late_s=1000.0, report_delay_s=2.0)
    send(gateway, NUMBERS)
    found = 0
    while not gateway.books.moved[Move.REFUND]:
        clock.now += 1.0
        found += gateway.answer(DOORS["/statusapi.aspx"], {"action": "query", **LOGIN}).body.count(b"<statusbox>")
        overage(gateway)
        assert (found == 200) == (gateway.books.moved[Move.REFUND] == 200)


@pytest.mark.parametrize("settings", [{"foreign_per_s": 2e3}], indirect=True)
async def test_others_spend_from_the_account(sim: Simulator, client: Client) -> None:
    first = int((await client.overage()).value("overage"))
    await asyncio.sleep(0.05)  # about twenty spendings
    second = int((await client.overage()).value("overage"))
    await asyncio.sleep(0.05)
    remains = int((await client.send(NUMBERS[:10])).value("remainpoint"))

    truth = sim.truth()
    assert first > second > remains + 10
    assert truth["balance"] == remains == 10_000_000 - 10 - truth["foreign"]
    assert {movement["kind"] for movement in truth["movements"]} == {"foreign"}
    assert adds_up(truth)


@pytest.mark.parametrize("look_s", [0.1, 3.0, 100.0])
def test_what_others_spend_is_a_matter_of_the_seed_not_of_who_looks(look_s: float) -> None:
    def spent(seed: int, look_s: float) -> list[int]:
        clock = Clock()
        gateway = timed(clock, seed=seed, foreign_per_s=2.0)
        while clock.now < 2000.0:
            clock.now += look_s
            overage(gateway)
        return [movement.points for movement in gateway.books.movements]

    lumps, again = spent(5, look_s), spent(5, 1.0)

    assert lumps[:300] == again[:300] != spent(6, 1.0)[:300]
    assert 1500 < -sum(lumps) < 2500
    assert set(lumps) == set(range(-9, 0))


def test_others_cannot_overdraw_a_prepaid_account() -> None:
    clock = Clock()
    gateway = timed(clock, points=100, foreign_per_s=50.0)
    for _ in range(100):
        clock.now += 1.0
        assert overage(gateway) >= 0
    assert overage(gateway) < 9


def test_a_new_rate_of_others_holds_from_now_on() -> None:
    clock = Clock()
    gateway = timed(clock)
    clock.now += 1e6
    gateway.change(SimulatorSettings(foreign_per_s=1.0))
    assert overage(gateway) == 10_000_000
    clock.now += 1000.0
    after = overage(gateway)
    gateway.change(SimulatorSettings())
    clock.now += 1e6

    assert 9_998_500 < after < 9_999_500
    assert overage(gateway) == after


@pytest.mark.parametrize(
    "settings", [{"points": 30, "top_up_at_request": 3, "top_up_points": 500, "faults": {"drop_answer": 1.0}}],
    indirect=True,
)  # fmt: skip
async def test_somebody_pays_in_the_middle_of_a_doubt(sim: Simulator, client: Client) -> None:
    for start in range(0, 40, 10):
        with pytest.raises(aiohttp.ClientOSError):
            await client.send(NUMBERS[start : start + 10])
    sim.set_faults({})

    shown = await client.overage()
    assert (shown.value("overage"), shown.value("sendTotal")) == ("490", "530")
    truth = sim.truth()
    (paid,) = truth["movements"]
    assert (paid["kind"], paid["points"]) == ("top_up", 500)
    assert truth["sends"][1]["at"] <= paid["at"] <= truth["sends"][2]["taken_at"]
    assert adds_up(truth)


@pytest.mark.parametrize(
    "settings",
    [
        {
            "points": 3000, "refunds": True, "undelivered": 0.4, "foreign_per_s": 1e4, "top_up_at_request": 20,
            "remainpoint_lag_s": 0.01, "balance_lag_s": 0.01,
            "faults": {Fault.SHORT_AND_DROP: 0.2, Fault.SHORT_COUNT: 0.2, Fault.HTTP_403_TAKEN: 0.2},
        }
    ],
    indirect=True,
)  # fmt: skip
async def test_everything_at_once_adds_up(sim: Simulator, client: Client) -> None:
    for number in range(60):
        try:
            await client.send(NUMBERS[number : number + 20])
        except aiohttp.ClientOSError:
            await client.overage()

    truth = sim.truth()
    assert adds_up(truth)
    assert {movement["kind"] for movement in truth["movements"]} == set(Move)


async def test_nothing_moves_where_nothing_was_asked_for(sim: Simulator, client: Client) -> None:
    await client.send([mobile()])
    await client.overage()

    assert sim.truth()["movements"] == []
