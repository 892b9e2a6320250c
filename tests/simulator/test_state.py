"""The truth through a kill: what was answered is on disk, and a restarted simulator goes on from there."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from engine.simulator import Fault, Simulator, SimulatorSettings
from engine.simulator.calls import Gateway
from engine.simulator.state import Event, StateFile
from tests.numbers import mobile, mobiles
from tests.simulator.client import Client, Got
from tests.simulator.process import Mortal, listening
from tests.simulator.test_points import overage, send
from tests.simulator.test_rate import Clock

NUMBERS = mobiles(3000)
BATCHES = [NUMBERS[start : start + 20] for start in range(0, 3000, 20)]
LOST = (aiohttp.ClientError, ConnectionError)

QUIRKS = (
    "--interim", "0.2", "--reordered", "0.2", "--late", "0.3", "--late-s", "1.5", "--unreported", "0.1",
    "--report-delay-s", "0", "--undelivered", "0.2", "--refunds", "--seed", "5",
    "--fault", "drop_answer=0.1", "--fault", "short_and_drop=0.1", "--fault", "http_500=0.1",
    "--fault", "faild_other_taken=0.1", "--fault", "drop_read=0.2",
)  # fmt: skip


@asynccontextmanager
async def talking(mortal: Mortal) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield Client(session, mortal)


async def truth_of(client: Client) -> dict[str, object]:
    return json.loads((await client.get("/_simulator/truth")).body)


def records(got: Got) -> list[tuple[str, str, bool]]:
    """Mobile, task and whether it is an interim report."""
    interim = [code == "ACCEPTD" for code in got.values("errorcode")]
    return list(zip(got.values("mobile"), got.values("taskid"), interim, strict=True))


async def all_reports(client: Client) -> list[tuple[str, str, bool]]:
    """Poll until nothing is left that could ever come."""
    found = []
    while (await truth_of(client))["reports"]["unread"]:
        found += records(await client.reports())
    return found


async def test_a_killed_simulator_goes_on_with_the_whole_truth(tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "state"), *QUIRKS)
    async with listening(*state, "--port", "0") as first, talking(first) as client:
        plant = {"mobiles": NUMBERS[:3], "task_id": "1504080852350206"}
        assert (await client.post("/_simulator/reports", json.dumps(plant).encode())).status == 200
        await asyncio.gather(*(client.send(batch) for batch in BATCHES[:60]), return_exceptions=True)
        await asyncio.gather(*(client.overage() for _ in range(9)), return_exceptions=True)
        read = records(await client.reports(statusNum=250)) + records(await client.reports(statusNum=50))
        for content in ("T", "a & b\x0b", "", "\ud83d"):
            order = json.dumps({"mobile": NUMBERS[0], "content": content}).encode()
            assert (await client.post("/_simulator/uplink", order)).status == 200
            if content == "T":
                assert (await client.uplinks()).values("content") == ["T"]
        money = json.dumps({"top_up": 70, "spend": 7}).encode()
        assert (await client.post("/_simulator/settings", money)).status == 200
        before = await truth_of(client)
        await first.kill()

    async with listening(*state, "--port", first.port) as second, talking(second) as client:
        assert second.url == first.url
        assert await truth_of(client) == before
        assert (before["requests"], before["top_ups"], before["foreign"]) == (60, 70, 7)
        assert before["refunds"] > 0
        assert len({send["result"] for send in before["sends"]}) == 5

        read += await all_reports(client)
        accepted = {number for number, times in before["mobiles"].items() if times}
        finals = [(number, task) for number, task, interim in read if not interim]
        tasks = {str(send["task_id"]) for send in before["sends"]}
        after = (await truth_of(client))["reports"]
        assert len(finals) == len(set(finals)) == len(accepted) + 3 - after["unreported"]  # none twice, none lost
        assert {number for number, task in finals if task in tasks} <= accepted
        assert sorted(number for number, task in finals if task not in tasks) == sorted(NUMBERS[:3])
        assert len({(number, task) for number, task, interim in read if interim}) > 100
        assert len((await client.uplinks()).values("content")) == 3

        faultless = await client.post("/_simulator/settings", b'{"faults": {}}')
        got = await client.send(BATCHES[60])
        assert (faultless.status, got.value("taskID")) == (200, str(max(map(int, tasks - {"None"})) + 1))
        assert int(got.value("remainpoint")) == (await truth_of(client))["balance"]


@dataclass(slots=True, kw_only=True)
class Told:
    """What a client was told by a simulator that is killed meanwhile."""

    answered: dict[str, str] = field(default_factory=dict)  # first number of a batch -> task
    read: list[tuple[str, str, bool]] = field(default_factory=list)
    lost_polls: int = 0

    async def send_all(self, client: Client, batches: Iterator[list[str]]) -> None:
        for batch in batches:
            try:
                self.answered[batch[0]] = (await client.send(batch)).value("taskID")
            except LOST:
                return

    async def poll_on(self, client: Client) -> None:
        while True:
            try:
                self.read += records(await client.reports(statusNum=10))
            except LOST:
                self.lost_polls += 1
                return


async def test_kills_in_the_middle_lose_no_answer_that_was_given(tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "state"), "--report-delay-s", "0", "--port", "0")
    told, batches = Told(), iter(BATCHES)
    for kill in range(3):
        async with listening(*state) as mortal, talking(mortal) as client:
            busy = [asyncio.create_task(told.send_all(client, batches)) for _ in range(4)]
            busy.append(asyncio.create_task(told.poll_on(client)))
            while len(told.answered) < 25 * (kill + 1):
                await asyncio.sleep(0)
            await mortal.kill()
            await asyncio.gather(*busy)

    async with listening(*state) as mortal, talking(mortal) as client:
        truth = await truth_of(client)
        told.read += await all_reports(client)
        tasks = {send["first"]: str(send["task_id"]) for send in truth["sends"] if send["taken"]}
        assert told.answered.items() <= tasks.items()
        assert len(tasks) <= len(told.answered) + 3 * 4
        assert truth["balance"] == truth["opening"] - 20 * len(tasks)
        assert truth["twice"] == 0
        assert [record for record, times in Counter(told.read).items() if times > 1] == []
        missing = 20 * len(tasks) - len(told.read)
        assert 0 <= missing <= 10 * told.lost_polls == 30  # only in answers that the kill cut off


@pytest.fixture
def kept(tmp_path: Path) -> SimulatorSettings:
    return SimulatorSettings(report_delay_s=0.0, state=str(tmp_path / "state"), seed=3)


@asynccontextmanager
async def running(settings: SimulatorSettings) -> AsyncIterator[tuple[Simulator, Client]]:
    async with Simulator(settings) as sim, aiohttp.ClientSession() as session:
        yield sim, Client(session, sim)


async def test_a_request_that_hangs_is_kept_open_and_never_taken_after_a_kill(tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "state"), "--fault", "hang_then_accept_late=1", "--hang-s", "600")
    async with listening(*state) as first, talking(first) as client:
        asked = asyncio.create_task(client.send(BATCHES[0]))
        while not (before := await truth_of(client))["requests"]:
            pass
        await first.kill()
        await asyncio.wait([asked])
        assert isinstance(asked.exception(), LOST)

    async with listening(*state) as second, talking(second) as client:
        assert await truth_of(client) == before
        assert [(send["result"], send["taken"]) for send in before["sends"]] == [("open", 0)]


async def test_a_late_request_is_kept_once(kept: SimulatorSettings) -> None:
    async with running(kept) as (sim, client):
        sim.change({"faults": {"hang_then_accept_late": 1.0}, "hang_s": 0.05})
        late = asyncio.create_task(client.send(BATCHES[0]))
        await sim.wait_for_requests(1)
        sim.set_faults({})
        await client.send(BATCHES[1])
        await late
        truth = sim.truth()

    async with running(kept) as (sim, client):
        assert sim.truth() == truth
        assert [send["result"] for send in truth["sends"]] == ["hang_then_accept_late", "accepted"]
        assert len(records(await client.reports())) == 40


@pytest.mark.parametrize("torn", [b"{", b'{"e":"call","name":"overage"}', b'{"e":"send","record":{"ordinal":2'])
async def test_half_an_event_was_told_to_nobody(kept: SimulatorSettings, torn: bytes) -> None:
    async with running(kept) as (sim, client):
        await client.send(BATCHES[0])
        truth = sim.truth()
    with open(kept.state, "ab") as file:
        file.write(torn)

    for _ in range(2):
        async with running(kept) as (sim, client):
            assert sim.truth() == truth
            await client.send(BATCHES[1])
            truth = sim.truth()
            assert truth["requests"] == len(truth["sends"])


@pytest.mark.parametrize("line", [b"no json\n", b"[1]\n", b"{}\n", b"3\n"])
async def test_a_file_of_somebody_else_is_refused(kept: SimulatorSettings, line: bytes) -> None:
    Path(kept.state).write_bytes(line)

    with pytest.raises(ValueError, match="line 1 is no event"):
        await Simulator(kept).start()
    assert Path(kept.state).read_bytes() == line


async def test_the_state_of_another_account_is_refused(kept: SimulatorSettings) -> None:
    async with running(kept):
        pass

    with pytest.raises(ValueError, match="the state is that of"):
        await Simulator(SimulatorSettings(state=kept.state, seed=4)).start()


async def test_two_simulators_never_share_a_state(kept: SimulatorSettings) -> None:
    async with running(kept) as (sim, client):
        await client.send(BATCHES[0])
        with pytest.raises(OSError, match="another simulator"):
            await Simulator(kept).start()
        assert sim.truth()["requests"] == 1
    async with running(kept) as (sim, _):
        assert sim.truth()["requests"] == 1


async def test_a_stopped_simulator_that_keeps_its_state_takes_no_orders(kept: SimulatorSettings) -> None:
    sim = Simulator(kept)
    orders = (
        lambda: sim.top_up(1), lambda: sim.spend(1), lambda: sim.plant_uplink(mobile(), "T"),
        lambda: sim.plant_reports([mobile()]),
    )  # fmt: skip
    for order in orders:
        with pytest.raises(RuntimeError, match="only while it runs"):
            order()
    async with sim:
        for order in orders:
            order()
        truth = sim.truth()
    await sim.start()
    assert sim.truth() == truth
    await sim.stop()


MANY = {
    Fault.DROP_ANSWER: 0.2, Fault.SHORT_COUNT: 0.2, Fault.HTTP_500: 0.2, Fault.DROP_READ: 0.3, Fault.DROP_POLL: 0.3,
    Fault.LOGIN_PAGE: 0.1, Fault.ERROR_BESIDE: 0.3,
}  # fmt: skip


async def test_what_is_drawn_goes_on_where_it_was(tmp_path: Path) -> None:
    async def said(answer: asyncio.Future[Got]) -> object:
        try:
            got = await answer
        except LOST:
            return "lost"
        return got.status, "用户登录" in got.text, got.values("error"), got.values("mobile"), got.values("overage")

    found = []
    for name, lives in (("one", 1), ("three", 3)):
        settings = SimulatorSettings(state=str(tmp_path / name), seed=8, faults=MANY, report_delay_s=0.0)
        answers = []
        for _ in range(lives):
            async with running(settings) as (sim, client):
                for _ in range(18 // lives):
                    answers.append(await said(client.send(BATCHES[0])))
                    answers.append(await said(client.overage()))
                    answers.append(await said(client.reports(statusNum=15)))
        truth = sim.truth()
        for record in truth["sends"]:
            assert record.pop("at") <= (record.pop("taken_at") or 1e10)
            record.pop("mono")
        found.append((answers, truth))

    assert found[0] == found[1]
    assert found[0][0].count("lost") > 5


def test_points_and_clock_go_on_where_they_were() -> None:
    clock, events = Clock(), []
    settings = SimulatorSettings(
        clock_speed=60.0, refunds=True, undelivered=0.5, report_delay_s=600.0, foreign_per_s=1.0, points=50_000
    )

    def wake(settings: SimulatorSettings) -> Gateway:
        past: list[Event] = json.loads(json.dumps(events))
        return Gateway(settings, wall=clock, monotonic=clock, events=past, log=events.append)

    gateway = wake(settings)
    send(gateway, NUMBERS[:100])
    clock.now += 5.0
    gateway = wake(settings)
    send(gateway, NUMBERS[100:200])
    clock.now += 5.0
    first = gateway.books.truth()
    assert gateway.books.moved["refund"] == 0
    gateway = wake(settings)
    assert gateway.books.truth() == first
    overage(gateway)
    refunded = gateway.books.moved["refund"]
    assert 30 < refunded < 70  # of the first hundred: ten seconds are ten minutes

    clock.now += 2.0
    gateway = wake(SimulatorSettings(**{**_values(settings), "clock_speed": 1.0}))
    overage(gateway)
    assert gateway.books.moved["refund"] == refunded  # 420 of 600 seconds, and 2 of them slow ones more
    clock.now += 181.0
    overage(gateway)
    assert gateway.books.moved["refund"] > refunded
    assert gateway.books.moved["foreign"] > 0


def _values(settings: SimulatorSettings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in settings.__slots__}


async def test_an_answer_is_written_down_before_it_is_given(kept: SimulatorSettings) -> None:
    async with running(kept) as (_, client):
        for batch in BATCHES[:5]:
            got = await client.send(batch)
            last = json.loads(Path(kept.state).read_bytes().splitlines()[-1])
            assert (last["record"]["task_id"], last["mobiles"]) == (int(got.value("taskID")), batch)


def test_a_file_cannot_be_opened_where_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        StateFile(str(tmp_path / "nowhere" / "state"))
