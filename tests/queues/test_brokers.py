"""The whole way with real brokers, real processes and SIGKILL: nobody twice, nobody lost at the gateway."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.simulator import Simulator, SimulatorSettings
from tests.laws.house import ended
from tests.numbers import mobiles
from tests.queues.brokers import Broker
from tests.queues.house import House, notices
from tests.queues.kill_table import run_case


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(SimulatorSettings(seed=1, report_delay_s=0.05, latency_s=0.005)) as sim:
        yield sim


async def test_a_queue_is_consumed_and_everybody_s_outcome_told(
    tmp_path: Path, broker: Broker, sim: Simulator, queue: str
) -> None:
    house = House(tmp_path, broker, sim, queue=queue)
    await house.produce(made := notices(60, seed=7))
    await house.produce_again(made[:5])
    await broker.produce(queue, [b"{", json.dumps({"id": "bad", "mobile": "123", "text": "x"}).encode()])
    end = await ended(await house.consume("--once", "--outcomes", f"{queue}told"))
    assert end.code == 0, end.errors
    assert end.status["messages"] == {"taken": 61, "redelivered": 5, "dead": 1}
    assert house.told().twice == house.told().lost == 0
    assert await broker.held(queue + broker.dead) == [(b"{", "not JSON (line 1, column 2)")]
    told = [json.loads(body) for body, _ in await broker.held(f"{queue}told")]
    accepted = {(each["id"], mobile) for each in told if each["state"] == "accepted" for mobile in each["mobiles"]}
    assert len(accepted) == house.wanted.total()
    assert [each["mobiles"] for each in told if each["state"] == "excluded"] == [["123"]]
    assert await broker.unacknowledged(queue) == 0
    audit = await ended(await house.start("audit", house.campaign, "--truth", sim.url))
    assert (audit.code, audit.status["laws"]) == (0, [each | {"holds": True} for each in audit.status["laws"]])


@pytest.mark.parametrize("seed", [random.randrange(10**6)])  # another one every time; the failing test's name tells it
async def test_consumer_killed_and_broker_restarted_nobody_is_lost_or_twice(
    tmp_path: Path, broker: Broker, seed: int
) -> None:
    ran = await run_case(broker, "both", seed, tmp_path, messages=120, blows=2)
    assert ran.is_clean, ran


@pytest.mark.parametrize(
    "place", ["add_arrivals begun", "add_arrivals written", "add_arrivals committed", "record_intents committed"]
)
async def test_killed_at_this_very_step_nobody_is_lost_or_twice(
    tmp_path: Path, valkey: Broker, sim: Simulator, queue: str, place: str
) -> None:
    house = House(tmp_path, valkey, sim, queue=queue)
    await house.produce(notices(40, seed=3))
    died = await ended(await house.consume("--once", crash=f"kill:{place}:2"))
    assert died.code == -9
    end = await house.drain()
    assert end.code == 0, end.errors
    assert (house.told().twice, house.told().lost) == (0, 0)
    assert await valkey.unacknowledged(queue) == 0


async def test_a_stop_lets_requests_end_and_gives_the_rest_back(
    tmp_path: Path, broker: Broker, sim: Simulator, queue: str
) -> None:
    house = House(tmp_path, broker, sim, queue=queue, more="[consume]\nbacklog = 5\n")
    settings = tmp_path / "xinshi.toml"
    text = settings.read_text().replace("requests_per_second = 0", "requests_per_second = 10")
    settings.write_text(
        text.replace("[consume]\nlinger_ms = 20\nidle_s = 1\n", "").replace(
            "backlog = 5", "backlog = 5\nlinger_ms = 5\nidle_s = 1"
        )
    )
    people = mobiles(60, seed=9)
    await house.produce([{"id": f"n{at}", "mobile": each, "text": f"您好{at}"} for at, each in enumerate(people)])
    consumer = await house.consume()
    await sim.wait_for_requests(8)
    consumer.terminate()
    end = await ended(consumer)
    assert end.code == 143
    assert end.status["reason"] == "stopped"
    assert end.status["campaigns"][0]["recipients"]["in_doubt"] == 0
    left = await broker.unacknowledged(queue) if broker.name != "rabbitmq" else 60 - end.status["messages"]["taken"]
    assert left >= 60 - 8 - 5 - 10  # the pace was the limit, so the broker kept most
    settings.write_text(settings.read_text().replace("requests_per_second = 10", "requests_per_second = 0"))
    assert (await house.drain()).code == 0
    assert (house.told().twice, house.told().lost) == (0, 0)


async def test_a_pause_and_a_resume_reach_a_consumer(
    tmp_path: Path, valkey: Broker, sim: Simulator, queue: str
) -> None:
    house = House(tmp_path, valkey, sim, queue=queue)
    first, second, third = mobiles(3, seed=11)
    consumer = await house.consume()
    await house.produce([{"id": "a", "mobile": first, "text": "x", "campaign": "spring"}])
    await sim.wait_for_accepted(1)
    assert (await ended(await house.start("pause", "spring"))).code == 0
    await house.produce([{"id": "b", "mobile": second, "text": "x", "campaign": "spring"}])
    await house.produce([{"id": "c", "mobile": third, "text": "x"}])
    await sim.wait_for_accepted(2)
    assert sim.told(second) == []
    assert (await ended(await house.start("resume", "spring"))).code == 0
    await asyncio.wait_for(sim.wait_for_accepted(3), 100)
    consumer.terminate()
    assert (await ended(consumer)).code == 143
    assert (house.told().twice, house.told().lost) == (0, 0)
