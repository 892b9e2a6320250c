"""`xinshi consume` as somebody types it, with and without a broker."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from engine.simulator import Simulator, SimulatorSettings
from tests.cli.desk import during, until
from tests.cli.test_hours import clock_at
from tests.laws.house import ended
from tests.numbers import mobile, mobiles
from tests.ports import free_port
from tests.queues.brokers import Broker
from tests.queues.house import House


class Nowhere:
    """A broker that is not there."""

    name, dead = "redis", ":dead"

    def __init__(self) -> None:
        self.port = free_port()

    def url(self, queue: str) -> str:
        return f"redis://127.0.0.1:{self.port}/{queue}"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with Simulator(SimulatorSettings(seed=1)) as sim:
        yield House(tmp_path, Nowhere(), sim)  # type: ignore[arg-type]  # nobody gets as far as to the rest of it


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (["redis://user:secret@127.0.0.1/s"], 2, "a password does not belong in an address"),
        (["notice"], 2, "neither an address (scheme://host:port/queue) nor a [queues.notice] in"),
        (["notice"], 2, "did you mean notices?"),
        (["nats://127.0.0.1/s"], 2, "nats:// is no queue known here"),
        (["redis://127.0.0.1/s?grp=x"], 2, "unknown option grp"),
        (["notices", "--batch-size", "500"], 2, "batch.max_recipients is 500"),
        (["notices", "--numbers-per-second", "5"], 2, "--numbers-per-second = 5: a batch of batch.max_recipients"),
        (["notices"], 75, "Connection refused"),
        ([], 2, "SOURCE"),
    ],
)
async def test_what_is_wrong_is_said_in_a_sentence(house: House, words: list[str], code: int, problem: str) -> None:
    end = await ended(await house.start("consume", *words))
    assert (end.code, end.output) == (code, "")
    assert problem in end.errors
    assert "secret" not in end.errors
    assert "Traceback" not in end.errors


async def test_a_gateway_that_refuses_the_login_ends_it_before_a_message_is_taken(house: House) -> None:
    settings = house.folder / "xinshi.toml"
    settings.write_text(settings.read_text().replace("[account]\n", '[account]\naccount = "somebody"\n'))
    end = await ended(await house.consume("--once"))
    assert end.code == 75
    assert end.status["reason"] == "credentials"


async def test_a_queue_is_consumed_by_address_or_by_name_and_its_messages_are_known_under_both(
    tmp_path: Path, valkey: Broker, queue: str
) -> None:
    async with Simulator(SimulatorSettings(seed=1)) as sim:
        house = House(tmp_path, valkey, sim, queue=queue)
        message = {"id": "a", "mobile": (number := mobile()), "text": "您好"}
        await house.produce([message])
        first = await ended(await house.start("consume", f"{valkey.url(queue)}?group=one", "--once"))
        await house.produce_again([message])
        second = await ended(await house.consume("--once"))
        assert (first.code, second.code) == (0, 0), first.errors + second.errors
        assert [campaign["campaign"] for campaign in first.status["campaigns"]] == [
            house.campaign.replace("notices", queue)
        ]
        assert second.status["messages"] == {"taken": 0, "redelivered": 2, "dead": 0}  # another group begins anew
        assert house.told().twice == house.told().lost == 0
        assert number not in first.errors + second.errors
        trace = json.loads((await ended(await house.start("why", number))).output)[0]
        assert (trace["queue"], trace["message"]) == (valkey.url(queue), "a")
        assert "file" not in trace


async def test_what_a_consumer_left_planned_run_can_send(tmp_path: Path, valkey: Broker, queue: str) -> None:
    async with Simulator(SimulatorSettings(seed=1)) as sim:
        house = House(tmp_path, valkey, sim, queue=queue)
        await house.produce([{"id": f"n{at}", "mobile": each, "text": "您好"} for at, each in enumerate(mobiles(9))])
        died = await ended(await house.consume("--once", crash="kill:add_arrivals committed:1"))
        assert died.code == -9
        with closing(sqlite3.connect(tmp_path / "xinshi.db")) as journal:
            assert journal.execute("SELECT count(*) FROM batch").fetchall() != [(0,)]
        end = await ended(await house.start("run", house.campaign))
        assert end.code == 0, end.errors
        assert (await ended(await house.consume("--once"))).status["messages"]["taken"] == 0
        assert (house.told().twice, house.told().lost) == (0, 0)


async def test_the_hours_of_a_queue_hold_unless_the_command_says_otherwise(
    tmp_path: Path, valkey: Broker, queue: str
) -> None:
    night = clock_at(3, 0, 0)
    async with Simulator(SimulatorSettings(seed=1)) as sim:
        house = House(tmp_path, valkey, sim, queue=queue, more='window = ["08:30-20:00"]\n')
        await house.produce([{"id": f"n{at}", "mobile": each, "text": "您好"} for at, each in enumerate(mobiles(9))])
        waiting = await house.consume("--once", environ=night)
        await during(waiting, until(lambda: house.planned() == 9))
        waiting.terminate()
        stopped = await ended(waiting)
        assert (stopped.code, sim.truth(detail=False)["requests"]) == (143, 0), stopped
        assert "waits until 08:30" in stopped.errors
        assert await valkey.unacknowledged(queue) == 0  # they are in the journal
        end = await ended(await house.consume("--once", "--window", "any", environ=night))
        assert end.code == 0, end.errors
        assert (house.told().twice, house.told().lost) == (0, 0)


@pytest.mark.parametrize("words", [("--window", "8-20"), ("--at", "soon"), ("--keep-points", "-1")])
async def test_hours_and_points_that_are_none_are_refused(house: House, words: tuple[str, ...]) -> None:
    end = await ended(await house.consume(*words))
    assert (end.code, end.output) == (2, "")
    assert words[0] in end.errors


async def test_points_that_are_to_stay_end_it(tmp_path: Path, valkey: Broker, queue: str) -> None:
    async with Simulator(SimulatorSettings(seed=1, points=100)) as sim:
        house = House(tmp_path, valkey, sim, queue=queue)
        made = [{"id": f"n{at}", "mobile": each, "text": f"您好{at}"} for at, each in enumerate(mobiles(9))]
        await house.produce(made)
        end = await ended(await house.consume("--once", "--keep-points", "95"))
        assert (end.code, end.status["reason"], sim.truth(detail=False)["charges"]) == (75, "floor", 5)
        assert (await ended(await house.consume("--once"))).code == 0
        assert (house.told().twice, house.told().lost) == (0, 0)


async def test_a_paused_campaign_larger_than_the_backlog_holds_up_nobody_at_a_real_broker(
    tmp_path: Path, valkey: Broker, queue: str
) -> None:
    first, other, *many = mobiles(62)
    async with Simulator(SimulatorSettings(seed=1)) as sim:
        house = House(tmp_path, valkey, sim, queue=queue)
        await house.produce([{"id": "a", "mobile": first, "text": "您好", "campaign": "spring"}])
        consumer = await house.consume(environ={"XINSHI_CONSUME__BACKLOG": "10"})
        await during(consumer, sim.wait_for_accepted(1))
        paused = await ended(await house.start("pause", "spring"))
        assert paused.code == 0, paused.errors
        spring = [
            {"id": f"n{at}", "mobile": each, "text": "您好", "campaign": "spring"} for at, each in enumerate(many)
        ]
        await house.produce([*spring, {"id": "b", "mobile": other, "text": "您好"}])
        await during(consumer, sim.wait_for_accepted(2))
        assert (sim.told(other), sim.told(many[0])) == (["【测试】您好"], [])
        assert (await ended(await house.start("resume", "spring"))).code == 0
        await during(consumer, sim.wait_for_accepted(62))
        consumer.terminate()
        assert (await ended(consumer)).code == 143
        assert (house.told().twice, house.told().lost) == (0, 0)
        assert await valkey.unacknowledged(queue) == 0
