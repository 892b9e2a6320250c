"""The laws under SIGKILL at every step of the journal and of a request, one run for each place.

The places are found by a first run that logs them, so a new write is covered the day it is written.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from engine.simulator import Simulator, SimulatorSettings
from tests.laws.house import House, ended

ROWS, MOST = 90, 45
_SMALL = "[pace]\nrequests_per_second = 0\nin_flight = 3\n[batch]\nmax_recipients = 10\n"


@asynccontextmanager
async def a_house(folder: Path) -> AsyncIterator[House]:
    folder.mkdir()
    async with Simulator(SimulatorSettings(seed=8)) as sim:
        house = House(folder=folder, sim=sim)
        house.settle_in(ROWS, seed=31, settings=_SMALL)
        yield house


def chosen(passed: Counter[str]) -> list[tuple[str, int]]:
    """First, middle and last pass of every place, the first ones first, up to the number there is time for."""
    firsts = [(place, 1) for place in passed]
    others = [(place, time) for place, times in passed.items() for time in {times // 2, times} - {0, 1}]
    return (firsts + sorted(others))[:MOST]


async def test_a_crash_at_any_step_reaches_nobody_twice_and_loses_nobody(tmp_path: Path) -> None:
    log = tmp_path / "places"
    async with a_house(tmp_path / "first") as house:
        assert (await ended(await house.begin_sending(crash=f"log:{log}"))).code == 0
    places = chosen(Counter(log.read_text().splitlines()))
    assert len(places) >= 30
    at_once = asyncio.Semaphore(3)

    async def one(number: int, place: str, time: int) -> bool:
        async with at_once, a_house(tmp_path / str(number)) as house:
            return await _crash_and_go_on(house, place, time)

    killed = sum(await asyncio.gather(*(one(number, *place) for number, place in enumerate(places))))
    print(f"killed at {killed} of {len(places)} places")
    assert killed >= len(places) * 0.9  # how the last passes fall into groups differs from run to run


async def _crash_and_go_on(house: House, place: str, time: int) -> bool:
    first = await ended(await house.begin_sending(crash=f"kill:{place}:{time}"))
    house.check_laws(at_rest=False)
    last = await ended(await house.begin_sending())
    recipients = last.status["recipients"]
    assert last.code == (4 if recipients["in_doubt"] else 0), (place, time, last.errors)
    assert sum(recipients.values()) == ROWS, (place, time)
    assert recipients["planned"] == recipients["in_flight"] == 0, (place, time)
    assert recipients["in_doubt"] <= 60, (place, time)  # at most what was under way: two sets of in_flight
    house.check_laws(at_rest=True)
    return first.code == -9
