"""The laws under SIGKILL at random moments, with a gateway that also loses answers."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from engine.simulator import Fault, Simulator, SimulatorSettings
from tests.laws.house import House, ended

MIXED = {
    Fault.DROP_ANSWER: 0.02,
    Fault.REFUSE: 0.02,
    Fault.HTTP_500: 0.005,
    Fault.HTTP_500_TAKEN: 0.005,
    Fault.HANG_ACCEPT: 0.01,
}
_QUICK = "[pace]\nrequests_per_second = 0\n[timeouts]\nanswer_s = 0.4\n[retry]\nattempts = 10\nwait_s = 0.1\n"
ROWS, KILLS = 30_000, 10


@pytest.mark.parametrize("seed", [random.randrange(10**6)])  # another one every time; the failing test's name tells it
async def test_ten_kills_reach_nobody_twice_and_lose_nobody(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    settings = SimulatorSettings(seed=seed, faults=MIXED, hang_s=0.8, refuse_s=0.05, latency_s=0.01, jitter_s=0.01)
    async with Simulator(settings) as sim:
        house = House(folder=tmp_path, sim=sim)
        house.settle_in(ROWS, seed=seed % 1000, settings=_QUICK)
        kills = 0
        for _ in range(3 * KILLS):  # on a busy machine a gateway can look dead: the run pauses by itself, and goes on
            if kills == KILLS:
                break
            process = await house.begin_sending()
            requests = asyncio.ensure_future(sim.wait_for_requests(_sent(sim) + chance.randrange(1, 25)))
            over = asyncio.ensure_future(process.wait())
            await asyncio.wait([requests, over], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(chance.uniform(0, 0.01))  # not only at the moment a request arrives
            requests.cancel()
            if process.returncode is None:
                process.kill()
                kills += 1
            await ended(process)
            await over
            house.check_laws(at_rest=False)
        end = await ended(await house.begin_sending())
        while end.code == 75:  # a kill can look like a dead gateway; the next run goes on
            end = await ended(await house.begin_sending())
        assert kills == KILLS
        assert end.code in (0, 4), end.errors
        assert end.status["recipients"]["planned"] == end.status["recipients"]["in_flight"] == 0
        assert end.status["state"] == ("finished" if end.code == 0 else "paused")
        house.check_laws(at_rest=True)


async def test_the_same_order_given_again_with_another_pace_sends_nothing_again(tmp_path: Path) -> None:
    async with Simulator(SimulatorSettings(seed=1)) as sim:
        house = House(folder=tmp_path, sim=sim)
        numbers = house.settle_in(2_000, seed=5, settings="[pace]\nrequests_per_second = 0\n")
        first = await ended(await house.begin_sending())
        sent = _sent(sim)
        house.settle_in(2_000, seed=5, settings="[pace]\nrequests_per_second = 50\nin_flight = 3\n")
        second = await ended(await house.begin_sending())
        assert (first.code, second.code) == (0, 0)
        assert first.status["recipients"] == second.status["recipients"]
        assert second.status["recipients"]["accepted"] == len(numbers)
        assert _sent(sim) == sent


def _sent(sim: Simulator) -> int:
    return len(sim.truth()["sends"])  # type: ignore[arg-type]
