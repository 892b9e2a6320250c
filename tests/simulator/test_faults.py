from __future__ import annotations

import asyncio
import random
import re
import time

import aiohttp
import pytest

from engine.simulator import Fault, Simulator, SimulatorSettings
from engine.simulator.faults import BY_ORDINAL, Draws
from engine.simulator.replies import FAILURES
from tests.numbers import mobiles
from tests.simulator.client import Client

NUMBERS = mobiles(20)


def result(sim: Simulator) -> tuple[object, object, object]:
    """What the books say of the one request: the word, the numbers taken, the points charged."""
    (record,) = sim.truth()["sends"]
    return record["result"], record["taken"], record["charge"]


async def raw_answer(sim: Simulator, numbers: list[str]) -> bytes:
    """Send over a bare socket and read to the end: b"" is FIN without an answer, ConnectionResetError is RST."""
    body = f"action=send&userid=12&account=demo&password=demo&content=x&mobile={','.join(numbers)}".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
    try:
        writer.write(
            b"POST /sms.aspx HTTP/1.1\r\nHost: sim\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
        return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(("fault", "taken"), [(Fault.RESET_BEFORE, 0), (Fault.DROP_ANSWER, 20)])
async def test_a_lost_answer_is_a_real_reset(sim: Simulator, client: Client, fault: Fault, taken: int) -> None:
    sim.set_faults({fault: 1.0})

    with pytest.raises(aiohttp.ClientOSError) as caught:
        await client.send(NUMBERS)

    assert isinstance(caught.value, ConnectionResetError) or caught.value.errno == 104
    assert not isinstance(caught.value, aiohttp.ClientConnectorError)
    assert result(sim) == (fault.value, taken, taken)
    with pytest.raises(ConnectionResetError):
        await raw_answer(sim, NUMBERS)


async def test_a_connection_can_be_reset_before_a_byte_is_read(sim: Simulator, client: Client) -> None:
    sim.set_faults({Fault.RESET_CONNECT: 1.0})

    with pytest.raises(aiohttp.ClientError):
        await client.send(NUMBERS)

    assert sim.truth()["requests"] == 0
    reader, writer = await asyncio.open_connection("127.0.0.1", sim.port)
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


@pytest.mark.parametrize("settings", [{"refuse_s": 0.2, "faults": {"refuse": 1.0}}], indirect=True)
async def test_a_refusing_port_refuses_everybody_and_comes_back(sim: Simulator, client: Client) -> None:
    assert (await client.overage()).status == 200  # an open connection
    idle = await asyncio.open_connection("127.0.0.1", sim.port)
    url = sim.url

    got = await client.send(NUMBERS)

    assert (got.value("returnstatus"), got.headers["Connection"]) == ("Success", "close")
    assert result(sim) == ("refuse", 20, 20)
    assert await idle[0].read() == b""  # it was closed, though nobody used it
    idle[1].close()
    with pytest.raises(aiohttp.ClientConnectorError) as caught:
        await client.send(NUMBERS)
    assert isinstance(caught.value.os_error, ConnectionRefusedError)
    assert sim.truth()["requests"] == 1

    sim.set_faults({})
    async with asyncio.timeout(100):
        while True:
            try:
                assert (await client.send(NUMBERS)).value("returnstatus") == "Success"
                break
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.01)
    assert sim.url == url


@pytest.mark.parametrize("settings", [{"refuse_s": 60.0, "faults": {"refuse": 1.0}}], indirect=True)
async def test_a_refusing_simulator_stops_at_once(sim: Simulator, client: Client) -> None:
    await client.send(NUMBERS)

    async with asyncio.timeout(100):
        await sim.stop()


@pytest.mark.parametrize(("fault", "taken"), [(Fault.HANG_ACCEPT, 20), (Fault.HANG_LOST, 0)])
async def test_a_hanging_request_is_decided_before_it_hangs(
    sim: Simulator, client: Client, fault: Fault, taken: int
) -> None:
    sim.set_faults({fault: 1.0})
    asked = asyncio.create_task(client.send(NUMBERS))

    await sim.wait_for_requests(1)

    assert result(sim) == (fault.value, taken, taken)
    assert not asked.done()
    asked.cancel()
    await asyncio.wait([asked])


@pytest.mark.parametrize("settings", [{"hang_s": 0.05}], indirect=True)
async def test_a_hanging_request_ends_after_its_time(sim: Simulator, client: Client) -> None:
    sim.set_faults({Fault.HANG_ACCEPT: 1.0})
    before = time.monotonic()
    assert (await client.send(NUMBERS)).value("returnstatus") == "Success"
    assert time.monotonic() - before >= 0.045

    sim.set_faults({Fault.HANG_LOST: 1.0})
    with pytest.raises(aiohttp.ClientOSError):
        await client.send(NUMBERS)


@pytest.mark.parametrize("settings", [{"hang_s": 0.5, "hang_takes_late": True}], indirect=True)
async def test_a_late_request_is_taken_although_its_client_has_gone(sim: Simulator, client: Client) -> None:
    sim.set_faults({Fault.HANG_ACCEPT: 1.0})
    asked = asyncio.create_task(client.send(NUMBERS))
    await sim.wait_for_requests(1)
    assert result(sim) == ("open", 0, 0)
    asked.cancel()
    await asyncio.wait([asked])

    async with asyncio.timeout(100):
        await sim.wait_for_accepted(20)

    assert result(sim) == ("hang_accept", 20, 20)


@pytest.mark.parametrize("settings", [{"hang_s": 1.0, "points": 50}], indirect=True)
async def test_late_requests_can_be_mixed_with_others(sim: Simulator, client: Client) -> None:
    sim.set_faults({Fault.HANG_THEN_ACCEPT_LATE: 1.0})
    late = asyncio.create_task(client.send(NUMBERS))
    await sim.wait_for_requests(1)
    assert result(sim) == ("open", 0, 0)
    sim.set_faults({})
    assert (await client.send(mobiles(25)[20:])).value("remainpoint") == "45"
    late.cancel()  # the client has given up, and the gateway does not know
    await asyncio.wait([late])

    async with asyncio.timeout(100):
        await sim.wait_for_accepted(25)

    first, second = sim.truth()["sends"]
    assert (first["result"], first["taken"], first["ordinal"]) == ("hang_then_accept_late", 20, 1)
    assert first["at"] < second["at"] <= second["taken_at"] < first["taken_at"]
    assert (first["first"], second["first"]) == (NUMBERS[0], mobiles(25)[20])
    assert first["task_id"] == second["task_id"] + 1  # in the order of taking
    assert (await client.overage()).value("overage") == "25"


@pytest.mark.parametrize(
    "settings", [{"hang_s": 0.02, "points": 15, "faults": {"hang_then_accept_late": 1.0}}], indirect=True
)
async def test_a_late_request_answers_its_patient_client_and_may_be_refused(sim: Simulator, client: Client) -> None:
    assert (await client.send(NUMBERS[:10])).value("remainpoint") == "5"
    assert (await client.send(NUMBERS[10:])).value("returnstatus") == "Faild"
    assert [send["taken"] for send in sim.truth()["sends"]] == [10, 0]


@pytest.mark.parametrize("settings", [{"hang_s": 600.0, "faults": {"hang_accept": 1.0}}], indirect=True)
async def test_a_hanging_simulator_stops_at_once(sim: Simulator, client: Client) -> None:
    asked = asyncio.create_task(client.send(NUMBERS))
    await sim.wait_for_requests(1)

    async with asyncio.timeout(100):
        await sim.stop()
        await asyncio.wait([asked])
    assert asked.done()
    asked.exception()


@pytest.mark.parametrize(
    ("fault", "taken", "status", "words"),
    [
        (Fault.HTTP_500, 0, 500, "运行时错误"),
        (Fault.HTTP_500_TAKEN, 20, 500, "运行时错误"),
        (Fault.HTTP_403_TAKEN, 20, 403, "禁止访问"),
        (Fault.HTTP_503, 0, 503, "Service Unavailable"),
        (Fault.LOGIN_PAGE, 0, 200, "用户登录"),
        (Fault.REDIRECT, 0, 302, "Object moved"),
    ],
)
async def test_pages_for_people(
    sim: Simulator, client: Client, fault: Fault, taken: int, status: int, words: str
) -> None:
    sim.set_faults({fault: 1.0})

    got = await client.send(NUMBERS)

    assert (got.status, got.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert words in got.text
    assert "returnsms" not in got.text
    assert got.headers.get("Retry-After") == ("1" if status == 503 else None)
    assert got.headers.get("Location") == ("/login.aspx" if status == 302 else None)
    assert result(sim) == (fault.value, taken, taken)


async def test_half_an_answer_under_the_length_of_the_whole(sim: Simulator, client: Client) -> None:
    sim.set_faults({Fault.HALF_ANSWER: 1.0})

    with pytest.raises(aiohttp.ClientPayloadError):
        await client.send(NUMBERS)

    assert result(sim) == ("half_answer", 20, 20)
    head, _, body = (await raw_answer(sim, NUMBERS)).partition(b"\r\n\r\n")
    assert body.startswith(b"<?xml")
    assert b"</returnsms>" not in body
    assert int(head.partition(b"Content-Length: ")[2].split()[0]) // 2 == len(body)


async def test_half_an_answer_under_its_own_length(sim: Simulator, client: Client) -> None:
    sim.set_faults({Fault.HALF_ANSWER_SHORT: 1.0})

    got = await client.send(NUMBERS)

    assert got.status == 200
    assert "<returnstatus>Success</returnstatus>" in got.text
    assert "</returnsms>" not in got.text
    assert result(sim) == ("half_answer_short", 20, 20)


async def test_an_empty_answer(sim: Simulator, client: Client) -> None:
    sim.set_faults({Fault.EMPTY_ANSWER: 1.0})

    got = await client.send(NUMBERS)

    assert (got.status, got.body, result(sim)) == (200, b"", ("empty_answer", 20, 20))


async def test_success_without_a_task_id(sim: Simulator, client: Client) -> None:
    sim.set_faults({Fault.NO_TASK_ID: 1.0})

    got = await client.send(NUMBERS)

    assert (got.value("returnstatus"), got.value("taskID"), got.value("successCounts")) == ("Success", "", "20")
    assert result(sim) == ("no_task_id", 20, 20)


async def test_a_short_count_drops_one_to_five_and_charges_the_rest(sim: Simulator, client: Client) -> None:
    sim.set_faults({Fault.SHORT_COUNT: 1.0})
    lost = set()

    for start in range(0, 400, 10):
        numbers = mobiles(400)[start : start + 10]
        before = sim.truth()["charges"]
        got = await client.send(numbers)
        truth = sim.truth()
        taken = [number for number in numbers if number in truth["mobiles"]]
        assert got.value("successCounts") == str(len(taken)) == str(truth["charges"] - before)
        lost.add(10 - len(taken))

    assert lost == {1, 2, 3, 4, 5}


async def test_a_short_count_leaves_one_number(sim: Simulator, client: Client) -> None:
    sim.set_faults({Fault.SHORT_COUNT: 1.0})

    assert (await client.send(NUMBERS[:1])).value("successCounts") == "1"


async def test_a_short_count_may_be_told_to_nobody(sim: Simulator, client: Client) -> None:
    sim.set_faults({Fault.SHORT_AND_DROP: 1.0})
    lost = set()

    for start in range(0, 400, 10):
        with pytest.raises(aiohttp.ClientOSError):
            await client.send(mobiles(400)[start : start + 10])
    truth = sim.truth()
    for send in truth["sends"]:
        lost.add(10 - send["taken"])
        assert (send["result"], send["charge"]) == ("short_and_drop", send["taken"])

    assert lost == {1, 2, 3, 4, 5}
    assert truth["charges"] == truth["accepted_numbers"] == len(truth["mobiles"])


async def test_the_login_page_may_be_everywhere(sim: Simulator, client: Client) -> None:
    await client.send(NUMBERS)
    sim.plant_uplink(NUMBERS[0], "T")
    sim.set_faults({Fault.LOGIN_PAGE: 1.0})

    for ask in (client.overage, client.reports, client.uplinks, lambda: client.send(NUMBERS)):
        got = await ask()
        assert (got.status, got.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert "用户登录" in got.text

    sim.set_faults({})
    assert sim.truth()["accepted_numbers"] == 20
    assert len((await client.reports()).values("mobile")) == 20  # it did not touch the queues
    assert len((await client.uplinks()).values("mobile")) == 1


async def test_an_error_may_stand_beside_the_records(sim: Simulator, client: Client) -> None:
    sim.set_faults({Fault.ERROR_BESIDE: 1.0})
    await client.send(mobiles(40))

    seen = set()
    for _ in range(40):
        got = await client.reports(statusNum=1)
        first, second = re.findall("<(errorstatus|statusbox)>", got.text)
        assert {first, second} == {"errorstatus", "statusbox"}
        seen.add((first, got.value("error"), got.value("remark")))
    assert seen == {
        (first, number, remark)
        for first in ("errorstatus", "statusbox")
        for number, remark in (("5", "没有记录"), ("6", "其他错误"))
    }
    got = await client.reports()
    assert (got.values("statusbox"), len(got.values("error"))) == ([], 1)


@pytest.mark.parametrize("fault", list(FAILURES))
async def test_every_documented_refusal_can_be_had(sim: Simulator, client: Client, fault: Fault) -> None:
    sim.set_faults({fault: 1.0})

    got = await client.send(NUMBERS)

    assert (got.status, got.value("returnstatus"), got.value("message")) == (200, "Faild", FAILURES[fault])
    assert (got.value("taskID"), got.value("successCounts"), got.value("remainpoint")) == ("0", "0", "0")
    taken = 20 if fault is Fault.FAILD_OTHER_TAKEN else 0
    assert result(sim) == (fault.value, taken, taken)


async def test_a_lost_read_has_no_answer(sim: Simulator, client: Client) -> None:
    sim.set_faults({Fault.DROP_READ: 1.0})

    with pytest.raises(aiohttp.ClientOSError):
        await client.overage()

    assert (await client.send(NUMBERS)).value("returnstatus") == "Success"


def drawn(seed: int, lists: list[list[str]], faults: dict[str, float]) -> dict[str, Fault | None]:
    draws = Draws(seed, faults)
    return {numbers[0]: draws.send(numbers[0]).fault for numbers in lists}


BATCHES = [[number] for number in mobiles(2000)]
SOME = {Fault.DROP_ANSWER: 0.1, Fault.HTTP_500: 0.1, Fault.SHORT_COUNT: 0.2}


def test_the_same_seed_gives_the_same_faults_in_any_order() -> None:
    shuffled = random.Random(5).sample(BATCHES, len(BATCHES))

    assert drawn(7, BATCHES, SOME) == drawn(7, shuffled, SOME)
    assert drawn(7, BATCHES, SOME) != drawn(8, BATCHES, SOME)


def test_faults_come_as_often_as_asked_for() -> None:
    found = list(drawn(7, BATCHES, SOME).values())

    assert 150 < found.count(Fault.HTTP_500) < 250
    assert 130 < found.count(Fault.DROP_ANSWER) < 230  # a tenth of the nine tenths that HTTP_500, the earlier, leaves
    assert 260 < found.count(Fault.SHORT_COUNT) < 390


def test_one_fault_does_not_depend_on_the_others() -> None:
    alone = drawn(7, BATCHES, {Fault.HTTP_500: 0.1})
    among = drawn(7, BATCHES, SOME)

    assert [key for key, fault in alone.items() if fault] == [
        key for key, fault in among.items() if fault is Fault.HTTP_500
    ]


def test_a_repeated_attempt_is_drawn_anew() -> None:
    draws = Draws(7, {Fault.DROP_ANSWER: 0.5})

    found = [draws.send(NUMBERS[0]).fault for _ in range(64)]

    assert 16 < found.count(None) < 48


def test_what_is_drawn_by_ordinal_is_repeatable_too() -> None:
    faults = dict.fromkeys(BY_ORDINAL, 0.5)
    one, two = Draws(7, faults), Draws(7, faults)

    connections = [one.connection_is_reset() for _ in range(64)]

    assert connections == [two.connection_is_reset() for _ in range(64)]
    assert 16 < sum(connections) < 48
    assert one.send(NUMBERS[0]).fault is None  # these never strike a send


async def test_concurrent_runs_with_one_seed_lose_the_same_answers() -> None:
    settings = SimulatorSettings(seed=11, faults={"drop_answer": 0.3}, jitter_s=0.01)
    runs = []
    for order in (1, 2):
        async with Simulator(settings) as sim, aiohttp.ClientSession() as session:
            client = Client(session, sim)
            batches = random.Random(order).sample([NUMBERS[i : i + 2] for i in range(0, 20, 2)], 10)
            answers = await asyncio.gather(*(client.send(batch) for batch in batches), return_exceptions=True)
            runs.append({batch[0] for batch, got in zip(batches, answers, strict=True) if isinstance(got, OSError)})
    assert runs[0] == runs[1]
    assert 0 < len(runs[0]) < 10
