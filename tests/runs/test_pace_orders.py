"""The pace of a running campaign is told and changed through the process that sends it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.simulator import Simulator, SimulatorSettings
from tests.laws.house import Ended, House, ended

ROWS = 1_500
_SLOW = "[pace]\nrequests_per_second = 5\nin_flight = 4\n[batch]\nmax_recipients = 10\n"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with Simulator(SimulatorSettings(seed=1, latency_s=0.01)) as sim:
        house = House(folder=tmp_path, sim=sim)
        house.settle_in(ROWS, seed=11, settings=_SLOW)
        yield house


async def pace(house: House, *words: str) -> Ended:
    return await ended(await house.start("pace", "spring", *words))


def arrivals(house: House) -> list[float]:
    sends: list[dict[str, float]] = house.sim.truth()["sends"]  # type: ignore[assignment]
    return [send["at"] for send in sends]


async def test_a_higher_pace_ends_a_campaign_sooner_and_is_kept(house: House) -> None:
    process = await house.begin_sending()
    await house.sim.wait_for_requests(12)
    told = await pace(house)
    assert (told.code, "5 requests a second, 4 in flight" in told.output) == (0, True)
    assert "your pace" in told.output
    raised = await pace(house, "--requests-per-second", "60", "--in-flight", "16")
    assert (raised.code, "60 requests a second, 16 in flight" in raised.output) == (0, True)
    assert "set requests_per_second and in_flight under [pace] in the settings" in raised.output
    assert "xinshi run spring --requests-per-second 60 --in-flight 16" in raised.output
    assert "ends with the process" not in told.output + (await pace(house)).output  # nothing was changed there
    before = len(arrivals(house))
    end = await ended(process)
    assert (end.code, end.status["recipients"]["accepted"]) == (0, ROWS)
    times = arrivals(house)
    assert is_kept(5, times[: before + 1])
    assert is_kept(60, times[before:])
    assert times[-1] - times[before] < (ROWS / 10) / 5 / 2


async def test_a_lower_pace_holds_from_the_next_request_on(house: House) -> None:
    process = await house.begin_sending()
    await house.sim.wait_for_requests(12)
    assert (await pace(house, "--requests-per-second", "2")).code == 0
    lowered = len(arrivals(house))
    await house.sim.wait_for_requests(lowered + 7)
    times = arrivals(house)
    assert is_kept(2, times[lowered:])
    process.terminate()
    assert (await ended(process)).code == 143


async def test_a_numbers_limit_that_no_batch_fits_is_refused_with_the_one_that_would(house: House) -> None:
    process = await house.begin_sending()
    await house.sim.wait_for_requests(3)
    refused = await pace(house, "--numbers-per-second", "9")
    assert refused.code != 0
    assert "batches of 10 numbers are planned" in refused.output + refused.errors
    assert "the least that fits is 10" in refused.output + refused.errors
    assert (await pace(house, "--numbers-per-second", "10")).code == 0
    process.terminate()
    await ended(process)


async def test_without_a_process_it_says_where_the_pace_is_set(house: House) -> None:
    process = await house.begin_sending()
    await house.sim.wait_for_requests(3)
    process.kill()
    await ended(process)
    told = await pace(house)
    assert (told.code, "no process sends spring now" in told.output) == (0, True)
    assert (await pace(house, "--in-flight", "2")).code == 75
    unknown = await ended(await house.start("pace", "sprung"))
    assert unknown.code == 2


@pytest.mark.parametrize("words", [("--in-flight", "0"), ("--requests-per-second", "-1"), ("--in-flight", "2000")])
async def test_impossible_paces_are_refused(house: House, words: tuple[str, str]) -> None:
    assert (await pace(house, *words)).code == 2


def is_kept(per_second: int, times: list[float]) -> bool:
    """As seen from a gateway on a machine that is busy with other tests, where requests pile up and arrive together.

    What no second may hold is tested where time is not real, in tests/dispatch.
    """
    return times[-1] - times[0] > 0.6 * ((len(times) - 1) // per_second)
