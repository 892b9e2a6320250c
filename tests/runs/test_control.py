"""Pause, resume and cancel, while another process runs the campaign and when none does."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.runs.control import socket_path
from engine.simulator import Simulator, SimulatorSettings
from tests.laws.house import House, ended

ROWS = 600
_SLOW = "[pace]\nrequests_per_second = 20\nin_flight = 4\n[batch]\nmax_recipients = 10\n"
_LONGER_THAN_A_TEST = _SLOW.replace("= 20", "= 0.8")  # 75 s: no order comes too late, however slow the machine is


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with Simulator(SimulatorSettings(seed=1, latency_s=0.01)) as sim:
        house = House(folder=tmp_path, sim=sim)
        house.settle_in(ROWS, seed=11, settings=_SLOW)
        yield house


async def test_a_running_campaign_pauses_waits_and_goes_on_to_its_end(house: House) -> None:
    house.settle_in(ROWS, seed=11, settings=_LONGER_THAN_A_TEST)
    process = await house.begin_sending()
    await house.sim.wait_for_requests(2)
    assert stat.S_IMODE(socket_path(house.journal).stat().st_mode) == 0o600
    assert (await ended(await house.start("pause", "spring"))).code == 0
    status = (await ended(await house.start("status", "spring"))).status
    while status["recipients"]["in_flight"]:  # answers under way are awaited
        status = (await ended(await house.start("status", "spring"))).status
    sent = len(house.sim.truth()["sends"])  # type: ignore[arg-type]
    assert (status["state"], status["reasons"]) == ("paused", ["operator"])
    assert process.returncode is None
    refused = await ended(await house.start("run", "spring"))
    assert (refused.code, str(process.pid) in refused.errors) == (75, True)
    assert len(house.sim.truth()["sends"]) == sent  # type: ignore[arg-type]
    assert (await ended(await house.start("resume", "spring"))).code == 0
    assert (await ended(await house.start("pace", "spring", "--requests-per-second", "200"))).code == 0
    end = await ended(process)
    assert (end.code, end.status["recipients"]["accepted"]) == (0, ROWS)
    assert not socket_path(house.journal).exists()


async def test_a_resume_that_came_too_early_does_not_end_the_next_pause(house: House) -> None:
    house.settle_in(ROWS, seed=11, settings=_LONGER_THAN_A_TEST)
    process = await house.begin_sending()
    await house.sim.wait_for_requests(2)
    assert (await ended(await house.start("resume", "spring"))).code == 0
    assert (await ended(await house.start("pause", "spring"))).code == 0
    status = (await ended(await house.start("status", "spring"))).status
    while status["reasons"] != ["operator"]:
        status = (await ended(await house.start("status", "spring"))).status
    assert process.returncode is None
    assert status["recipients"]["planned"] > 0
    process.terminate()
    assert (await ended(process)).code == 143


async def test_cancel_stops_what_has_not_started_and_says_what_had(house: House) -> None:
    house.settle_in(ROWS, seed=11, settings=_LONGER_THAN_A_TEST)
    process = await house.begin_sending()
    await house.sim.wait_for_requests(2)
    assert (await ended(await house.start("cancel", "spring"))).code == 0
    end = await ended(process)
    recipients = end.status["recipients"]
    assert (end.code, end.status["state"]) == (3, "cancelled")
    assert recipients["cancelled"] > 0
    assert recipients["accepted"] == house.sim.truth()["accepted_numbers"]
    assert recipients["accepted"] + recipients["cancelled"] == ROWS
    again = await ended(await house.begin_sending())
    assert (again.code, again.status["recipients"]) == (3, recipients)


async def test_a_paused_campaign_can_be_cancelled_too(house: House) -> None:
    house.settle_in(ROWS, seed=11, settings=_LONGER_THAN_A_TEST)
    process = await house.begin_sending()
    await house.sim.wait_for_requests(2)
    await ended(await house.start("pause", "spring"))
    await ended(await house.start("cancel", "spring"))
    assert (await ended(process)).status["state"] == "cancelled"


async def test_without_a_running_process_a_pause_holds_until_it_is_ended(house: House) -> None:
    process = await house.begin_sending()
    await house.sim.wait_for_requests(5)
    process.kill()
    await ended(process)
    assert (await ended(await house.start("pause", "spring"))).code == 0
    sent = len(house.sim.truth()["sends"])  # type: ignore[arg-type]
    held = await ended(await house.begin_sending())
    assert (held.code, "xinshi resume spring" in held.errors) == (75, True)
    assert len(house.sim.truth()["sends"]) == sent  # type: ignore[arg-type]
    assert (await ended(await house.start("resume", "spring"))).code == 0
    end = await ended(await house.start("run", "spring"))
    assert end.code in (0, 4)
    assert end.status["recipients"]["planned"] == 0
    house.check_laws(at_rest=True)


async def test_an_unknown_campaign_is_named_and_nothing_changes(house: House) -> None:
    await ended(await house.begin_sending())
    end = await ended(await house.start("cancel", "sprung"))
    assert (end.code, "sprung" in end.errors) == (2, True)
