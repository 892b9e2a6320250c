"""A send with a time: taken and charged now, sent and reported then, by the gateway's own clock."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from engine.simulator import Simulator, SimulatorSettings
from engine.simulator.calls import DOORS, Gateway
from engine.simulator.state import Event
from tests.numbers import mobiles
from tests.simulator.client import LOGIN, TEXT, Client

CHINA = timezone(timedelta(hours=8))
NUMBERS = mobiles(6)
FORM = "%Y-%m-%d %H:%M:%S"
HOUR_S = 3600


def written(after_s: float, form: str = FORM) -> str:
    return datetime.fromtimestamp(time.time() + after_s, CHINA).strftime(form)


async def test_it_is_taken_at_once_and_reported_after_its_time(sim: Simulator, client: Client) -> None:
    later = await client.send(NUMBERS[:4], sendTime=written(HOUR_S))
    now = await client.send(NUMBERS[4:])
    assert (later.value("returnstatus"), later.value("successCounts")) == ("Success", "4")
    assert int(now.value("remainpoint")) == sim.settings.points - 6
    assert (await client.reports()).values("mobile") == NUMBERS[4:]  # accepted later, sent earlier
    truth = sim.truth()
    assert (truth["accepted_numbers"], truth["charges"], truth["scheduled"]) == (6, 6, 4)
    asked_for, at_once = (send["send_at"] for send in truth["sends"])
    assert asked_for == pytest.approx(time.time() + HOUR_S, abs=60)
    assert at_once is None

    sim.change({"clock_speed": 1e6})
    while not (reports := await client.reports()).values("mobile"):
        pass  # its own clock needs four milliseconds for an hour
    assert reports.values("mobile") == NUMBERS[:4]
    assert sim.truth(detail=False)["scheduled"] == 0
    told = datetime.strptime(reports.values("receivetime")[0], FORM).replace(tzinfo=CHINA)
    assert told.timestamp() == int(asked_for)


async def test_a_time_that_is_over_is_at_once(sim: Simulator, client: Client) -> None:
    await client.send(NUMBERS, sendTime=written(-HOUR_S))
    assert (await client.reports()).values("mobile") == NUMBERS
    assert sim.truth()["scheduled"] == 0


@pytest.mark.parametrize(
    ("settings", "form", "is_taken"),
    [
        ({}, FORM, True),
        ({}, "%Y/%m/%d %H:%M:%S", False),
        ({}, "%Y-%m-%d", False),
        ({}, "tomorrow", False),
        ({"send_time_format": "%Y%m%d%H%M%S"}, "%Y%m%d%H%M%S", True),
        ({"send_time_format": "%Y%m%d%H%M%S"}, FORM, False),
    ],
    indirect=["settings"],
)
async def test_a_time_in_another_form_is_refused(sim: Simulator, client: Client, form: str, is_taken: bool) -> None:
    answer = await client.send(NUMBERS, sendTime=written(HOUR_S, form))
    assert (answer.value("returnstatus"), answer.value("message")) == (
        ("Success", "ok") if is_taken else ("Faild", "参数错误")
    )
    assert sim.truth()["accepted_numbers"] == (len(NUMBERS) if is_taken else 0)


async def test_a_time_without_its_zeros_is_refused(client: Client) -> None:
    assert (await client.send(NUMBERS, sendTime="2030-1-2 03:04:05")).value("returnstatus") == "Faild"


def test_what_is_read_before_its_time_comes_does_not_move_what_comes_later(tmp_path: Path) -> None:
    """Also through a kill: half a task is read when an earlier time is handed in."""
    now = [time.time()]
    events: list[Event] = []

    def wake() -> Gateway:
        past: list[Event] = json.loads(json.dumps(events))
        settings = SimulatorSettings(report_delay_s=0.0)
        return Gateway(settings, wall=lambda: now[0], monotonic=lambda: now[0], events=past, log=events.append)

    def hand_over(gateway: Gateway, numbers: list[str], after_s: float) -> None:
        at = datetime.fromtimestamp(now[0] + after_s, CHINA).strftime(FORM)
        form = {"action": "send", **LOGIN, "mobile": ",".join(numbers), "content": TEXT, "sendtime": at}
        gateway.decide(gateway.arrive(DOORS["/sms.aspx"], form))

    def read(gateway: Gateway, most: int) -> list[str]:
        reply = gateway.answer(DOORS["/statusapi.aspx"], {"action": "query", **LOGIN, "statusnum": str(most)})
        assert reply is not None
        return [part.partition("<")[0] for part in reply.body.decode().split("<mobile>")[1:]]

    gateway = wake()
    hand_over(gateway, NUMBERS[:2], 300)
    hand_over(gateway, NUMBERS[2:4], 200)
    now[0] += 250
    assert read(gateway, 1) == NUMBERS[2:3]
    gateway = wake()
    hand_over(gateway, NUMBERS[4:], 10)
    assert gateway.truth(detail=False)["scheduled"] == 4
    gateway = wake()
    now[0] += 20
    assert read(gateway, 9) == NUMBERS[3:4] + NUMBERS[4:]
    now[0] += 100
    gateway = wake()
    assert read(gateway, 9) == NUMBERS[:2]
    assert gateway.truth(detail=False)["reports"]["unread"] == 0  # type: ignore[index]
