from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from engine.simulator import Fault, Simulator, SimulatorSettings
from engine.simulator.calls import DOORS, Gateway
from tests.numbers import mobile, mobiles
from tests.simulator.client import LOGIN, TEXT, Client, Got

EMPTY = '<?xml version="1.0" encoding="utf-8" ?><returnsms></returnsms>'


def records(got: Got) -> list[tuple[str, str]]:
    return list(zip(got.values("mobile"), got.values("taskid"), strict=True))


async def test_every_accepted_number_has_one_report_read_once(sim: Simulator, client: Client) -> None:
    sent = []
    for start in (0, 7):
        got = await client.send(mobiles(10)[start : start + 7])
        sent += [(number, got.value("taskID")) for number in mobiles(10)[start : start + 7]]

    got = await client.reports()

    assert records(got) == sent
    assert set(got.values("status")) <= {"10", "20"}
    assert (await client.reports()).text == EMPTY


@pytest.mark.parametrize("settings", [{"report_delay_s": 3600.0}], indirect=True)
async def test_a_report_takes_its_time(sim: Simulator, client: Client) -> None:
    await client.send(mobiles(1))
    assert (await client.reports()).text == EMPTY

    sim.change({"report_delay_s": 0})

    assert len(records(await client.reports())) == 1


async def test_status_num_bounds_a_poll_and_nothing_is_lost_between(client: Client) -> None:
    numbers = mobiles(10)
    await client.send(numbers[:4])
    await client.send(numbers[4:])

    polls = [[number for number, _ in records(await client.reports(statusNum=3))] for _ in range(5)]

    assert polls == [numbers[0:3], numbers[3:6], numbers[6:9], numbers[9:], []]


async def test_a_poll_brings_4000_at_most(client: Client) -> None:
    numbers = mobiles(4500)
    for start in range(0, 4500, 900):
        await client.send(numbers[start : start + 900])

    assert [len(records(await client.reports(statusNum=more))) for more in ("", 100000)] == [4000, 500]


async def test_some_are_undelivered_and_the_seed_says_who(sim: Simulator, client: Client) -> None:
    await client.send(mobiles(1000))
    first = dict(zip((got := await client.reports()).values("mobile"), got.values("status"), strict=True))
    assert 25 <= list(first.values()).count("20") <= 80
    assert len(got.values("errorcode")) == len(got.values("extno")) == 1000

    async with Simulator(SimulatorSettings(report_delay_s=0.0)) as again:
        client.sim = again
        await client.send(mobiles(1000)[::-1])
        second = dict(zip((got := await client.reports()).values("mobile"), got.values("status"), strict=True))
    assert first == second


@pytest.mark.parametrize("settings", [{"repeated": 0.5}], indirect=True)
async def test_reports_may_come_again_once(client: Client) -> None:
    await client.send(mobiles(100))

    first, second, third = [records(await client.reports()) for _ in range(3)]

    assert len(first) == 100
    assert 25 < len(second) < 75
    assert set(second) < set(first)
    assert third == []


@pytest.mark.parametrize(
    ("time_format", "written"),
    [("padded", "2016-01-06 03:02:08"), ("unpadded", "2016-1-6 03:02:08"), ("slashes", "2016/1/6 03:02:08")],
)
def test_times_are_chinas_and_in_three_forms(time_format: str, written: str) -> None:
    now = datetime(2016, 1, 5, 19, 2, 6, tzinfo=UTC).timestamp()
    settings = SimulatorSettings(time_format=time_format, report_delay_s=2.0)
    gateway = Gateway(settings, wall=lambda: now, monotonic=lambda: 0.0)
    gateway.decide(gateway.arrive(DOORS["/sms.aspx"], {"action": "send", **LOGIN, "mobile": mobile(), "content": TEXT}))
    now += 2.0

    answer = gateway.answer(DOORS["/statusapi.aspx"], {"action": "query", **LOGIN}).body.decode()

    assert re.findall("<receivetime>(.*?)</receivetime>", answer) == [written]


@pytest.mark.parametrize("path", ["/statusApi.aspx", "/callApi.aspx"])
@pytest.mark.parametrize(
    ("wrong", "error", "remark"),
    [
        ({"password": ""}, 1, "用户名或密码不能为空"),
        ({"password": "no"}, 2, "用户名或密码错误"),
        ({"action": "send"}, 4, "参数不正确"),
        ({"statusNum": "many"}, 4, "参数不正确"),
        ({"statusNum": "9" * 5000}, 4, "参数不正确"),
    ],
)
async def test_errors_of_a_poll(client: Client, path: str, wrong: dict[str, str], error: int, remark: str) -> None:
    await client.send(mobiles(1))

    got = await client.call(path, **{"action": "query", **LOGIN, **wrong})

    assert got.text == (
        '<?xml version="1.0" encoding="utf-8" ?><returnsms>\r\n '
        f"<errorstatus><error>{error}</error><remark>{remark}</remark></errorstatus></returnsms>"
    )
    assert len(records(await client.reports())) == 1


@pytest.mark.parametrize("settings", [{"reports_allowed": False}], indirect=True)
async def test_an_account_may_not_be_allowed_to_read(client: Client) -> None:
    for got in (await client.reports(), await client.uplinks()):
        assert (got.value("error"), got.value("remark")) == ("3", "该用户不允许查看状态报告")


async def test_an_uplink_is_read_once_at_its_own_url(client: Client) -> None:
    number, stranger = mobiles(2)
    first = (await client.send([number])).value("taskID")
    second = (await client.send([number])).value("taskID")
    for order in ({"mobile": number, "content": "T & <x>"}, {"mobile": stranger, "content": "你好"}):
        assert (await client.post("/_simulator/uplink", json.dumps(order).encode())).status == 200

    reports = await client.reports()
    got = await client.uplinks()

    assert reports.values("callbox") == []
    assert first != second
    assert records(got) == [(number, second), (stranger, "")]
    assert got.values("content") == ["T &amp; &lt;x&gt;", "你好"]
    received = datetime.fromisoformat(got.values("receivetime")[0] + "+08:00")
    assert abs(received - datetime.now(UTC)) < timedelta(minutes=1)
    assert (await client.uplinks()).text == EMPTY


@pytest.mark.parametrize("settings", [{"raw_uplinks": True}], indirect=True)
@pytest.mark.parametrize("content", ["T & D", "a<b", "<x>", "\x0b\x00T", "", "&amp;", "😀"])
async def test_an_uplink_may_stand_in_the_xml_as_it_was_written(sim: Simulator, client: Client, content: str) -> None:
    order = {"mobile": mobile(), "content": content}
    assert (await client.post("/_simulator/uplink", json.dumps(order).encode())).status == 200

    assert f"<content>{content}</content>" in (await client.uplinks()).text
    assert sim.truth()["uplinks"] == {"unread": 0, "read": 1, "lost": 0}


async def test_a_lost_poll_loses_its_uplinks_too(sim: Simulator, client: Client) -> None:
    sim.plant_uplink(mobile(), "T")
    sim.set_faults({Fault.DROP_POLL: 1.0})
    with pytest.raises(aiohttp.ClientOSError):
        await client.uplinks()

    sim.set_faults({})

    assert (await client.uplinks()).text == EMPTY
    assert sim.truth()["uplinks"] == {"unread": 0, "read": 1, "lost": 1}


async def test_an_uplink_order_without_a_mobile_is_refused(client: Client) -> None:
    assert (await client.post("/_simulator/uplink", b'{"content": "T"}')).status == 400


async def test_a_lost_poll_loses_its_records(sim: Simulator, client: Client) -> None:
    await client.send(mobiles(5))
    sim.set_faults({Fault.DROP_POLL: 1.0})
    with pytest.raises(aiohttp.ClientOSError):
        await client.reports()

    sim.set_faults({})

    assert (await client.reports()).text == EMPTY
    assert sim.truth()["reports"] == {"unread": 0, "read": 5, "lost": 5, "unreported": 0, "planted": 0}


async def test_what_was_taken_unseen_is_reported_too(sim: Simulator, client: Client) -> None:
    sim.set_faults({Fault.DROP_ANSWER: 1.0})
    with pytest.raises(aiohttp.ClientOSError):
        await client.send(mobiles(5))

    assert [number for number, _ in records(await client.reports())] == mobiles(5)
