from __future__ import annotations

import asyncio
import json
import random
import socket
import time

import pytest

from engine.simulator import Fault, Simulator
from tests.numbers import mobile, mobiles
from tests.simulator.client import Client

MANY_FAULTS = {
    "drop_answer": 0.1, "short_count": 0.1, "http_500": 0.1, "http_500_taken": 0.1, "reset_before": 0.1,
    "empty_answer": 0.1, "half_answer": 0.1, "faild_other_taken": 0.1, "faild_content": 0.1,
}  # fmt: skip


@pytest.mark.parametrize("settings", [{"seed": 3, "faults": MANY_FAULTS, "points": 900}], indirect=True)
async def test_points_and_numbers_add_up_whatever_the_answers_said(sim: Simulator, client: Client) -> None:
    dice = random.Random(4)
    pool = mobiles(200)
    batches = [dice.choices(pool, k=dice.randint(1, 20)) for _ in range(150)]

    await asyncio.gather(*(client.send(batch) for batch in batches), return_exceptions=True)
    sim.top_up(50)
    sim.spend(20)

    truth = sim.truth()
    counts = truth["mobiles"].values()
    sends = truth["sends"]
    assert truth["opening"] + truth["top_ups"] - truth["charges"] - truth["foreign"] == truth["balance"]
    assert truth["charges"] == sum(send["charge"] for send in sends) == truth["accepted_numbers"]
    assert truth["accepted_numbers"] == sum(send["taken"] for send in sends) == sum(counts)
    assert truth["twice"] == sum(count > 1 for count in counts)
    assert truth["distinct_mobiles"] == len(counts)
    assert truth["requests"] == len(sends) == 150
    task_ids = [send["task_id"] for send in sends if send["taken"]]
    assert len(task_ids) == len(set(task_ids))
    assert {"accepted", *MANY_FAULTS, "faild_balance"} >= {send["result"] for send in sends}
    assert len({send["result"] for send in sends}) >= 6


async def test_a_number_accepted_in_two_requests_is_a_double(sim: Simulator, client: Client) -> None:
    one, two, three = mobiles(3)
    await client.send([one, two])
    assert sim.truth()["twice"] == 0

    await client.send([two, three])
    await client.send([two])

    truth = sim.truth()
    assert (truth["twice"], truth["distinct_mobiles"], truth["accepted_numbers"]) == (1, 3, 5)
    assert truth["mobiles"] == {one: 1, two: 3, three: 1}


async def test_the_truth_page_is_the_truth(sim: Simulator, client: Client) -> None:
    before = time.time()
    await client.send(mobiles(3))
    got = json.loads((await client.get("/_simulator/truth")).body)

    assert got == sim.truth()
    (send,) = got["sends"]
    assert before <= send["at"] <= time.time()
    assert send["mono"] <= time.monotonic()
    assert {key: send[key] for key in ("numbers", "result", "taken", "charge", "task_id")} == {
        "numbers": 3, "result": "accepted", "taken": 3, "charge": 3, "task_id": 93390617,
    }  # fmt: skip
    assert list(got["texts"]) == [send["content"]]
    assert got["schema"] == 1


async def test_the_summary_leaves_the_long_lists_out(sim: Simulator, client: Client) -> None:
    await client.send(mobiles(3))

    got = json.loads((await client.get("/_simulator/truth?detail=summary")).body)

    whole = sim.truth()
    assert set(whole) - set(got) == {"sends", "movements", "mobiles", "texts"}
    assert got == {key: whole[key] for key in got} == sim.truth(detail=False)


async def test_calls_are_counted(sim: Simulator, client: Client) -> None:
    await client.overage()
    await client.overage()
    await client.reports()
    await client.uplinks()

    assert sim.truth()["calls"] == {"overage": 2, "reports": 1, "uplinks": 1}


async def test_the_books_and_the_port_survive_a_restart(sim: Simulator, client: Client) -> None:
    await client.send(mobiles(3))
    url, truth = sim.url, sim.truth()

    await sim.stop()
    await sim.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", sim.port)
    await sim.start()

    assert (sim.url, sim.truth()) == (url, truth)
    assert (await client.send(mobiles(1))).value("returnstatus") == "Success"


@pytest.mark.parametrize("settings", [{"latency_s": 30.0}], indirect=True)
async def test_a_slow_send_is_in_the_books_when_it_arrives(sim: Simulator, client: Client) -> None:
    asked = asyncio.create_task(client.send(mobiles(3)))

    await sim.wait_for_accepted(3)

    assert not asked.done()
    asked.cancel()
    await asyncio.wait([asked])


async def test_a_sender_killed_after_its_last_byte_has_sent(sim: Simulator) -> None:
    body = f"action=send&userid=12&account=demo&password=demo&content=x&mobile={mobile()}".encode()
    head = b"POST /sms.aspx HTTP/1.1\r\nHost: sim\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    with socket.create_connection(("127.0.0.1", sim.port)) as killed:
        killed.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    async with asyncio.timeout(100):
        await sim.wait_for_accepted(1)

    assert sim.truth()["mobiles"] == {mobile(): 1}


async def test_a_sender_killed_before_its_last_byte_has_not(sim: Simulator, client: Client) -> None:
    head = b"POST /sms.aspx HTTP/1.1\r\nHost: sim\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    with socket.create_connection(("127.0.0.1", sim.port)) as killed:
        killed.sendall(head + b"Content-Length: 1000\r\n\r\naction=send&userid=12")
    await client.send(mobiles(2))

    assert sim.truth()["requests"] == 1


async def test_latency_is_waited(sim: Simulator, client: Client) -> None:
    sim.change({"latency_s": 0.05})
    before = time.monotonic()

    await client.overage()

    assert time.monotonic() - before >= 0.045


async def test_settings_change_over_http(sim: Simulator, client: Client) -> None:
    order = {
        "faults": {"http_500": 1},
        "latency_s": 0,
        "forbidden": ["发票"],
        "top_up": 5,
        "spend": 2,
        "prepaid": False,
    }

    assert (await client.post("/_simulator/settings", json.dumps(order).encode())).status == 200

    assert (sim.settings.faults, sim.settings.forbidden, sim.settings.prepaid) == ({"http_500": 1.0}, ("发票",), False)
    assert (sim.truth()["balance"], sim.truth()["top_ups"], sim.truth()["foreign"]) == (10_000_003, 5, 2)
    assert (await client.send(mobiles(1))).status == 500
    sim.set_faults({Fault.HTTP_503: 1.0})
    assert (await client.send(mobiles(1))).status == 503


@pytest.mark.parametrize(
    "order",
    [
        "no json", "[3]", '"faults"', "3",
        '{"faults": {"no_such_fault": 1}}', '{"faults": {"http_500": 2}}', '{"faults": ["http_500"]}',
        '{"latency_s": "1"}', '{"rate_limit": true}', '{"rate_limit": -1}', '{"prepaid": 1}', '{"layout": "pretty"}',
        '{"forbidden": "x"}', '{"password": "x"}', '{"host": "127.0.0.2"}', '{"nothing": 1}', '{"top_up": 1.5}',
        '{"latency_s": 1, "undelivered": 7}',
    ],
)  # fmt: skip
async def test_an_impossible_change_is_refused_and_nothing_changes(sim: Simulator, client: Client, order: str) -> None:
    before, truth = sim.settings, sim.truth()

    got = await client.post("/_simulator/settings", order.encode())

    assert got.status == 400
    assert json.loads(got.body)["error"]
    assert (sim.settings, sim.truth()) == (before, truth)


async def test_a_number_can_be_asked_what_it_was_told(sim: Simulator, client: Client) -> None:
    one, two, three = mobiles(3)
    await client.send([one, two], content="【甲】第一条")
    await client.send([two], content="【甲】第二条")
    asked = await client.get(f"/_simulator/told?mobile={two}")
    assert json.loads(asked.body) == sim.told(two) == ["【甲】第一条", "【甲】第二条"]
    assert (sim.told(one), sim.told(three)) == (["【甲】第一条"], [])
