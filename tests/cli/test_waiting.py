"""--wait: what time mends is waited out, told, and goes on by itself; a signal or an order ends the wait."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tests.cli.desk import SOON_S, Desk, during, ended, until
from tests.cli.test_stopping import stderr_says

IMPATIENT = "[wait]\npoll_s = 0.1\npoll_max_s = 0.5\n"
POOR = pytest.mark.parametrize("settings", [{"points": 25}], indirect=True)
WORDS = ("--campaign", "spring", "--batch-size", "10", "--requests-per-second", "0", "--json")


@POOR
async def test_a_campaign_without_points_waits_for_a_top_up(desk: Desk) -> None:
    desk.configure(IMPATIENT)
    numbers = desk.list(40)
    process = await desk.start(*desk.order("--wait", *WORDS))
    await during(process, stderr_says(process, "spring is paused: the points do not reach"))
    shown = await desk.run("status", "spring", "--json")
    assert (shown.json["state"], shown.json["reasons"]) == ("paused", ["balance"])
    assert desk.truth["accepted_numbers"] == 0
    desk.sim.top_up(10)  # 35 of 40: it looks again, and waits on
    await during(process, stderr_says(process, "spring is paused: the points do not reach"))
    desk.sim.top_up(5)
    end = await ended(process)
    assert (end.code, end.json["state"]) == (0, "finished")
    desk.check_once(numbers)


@POOR
async def test_with_allow_partial_it_sends_what_the_points_reach_for_and_then_waits(desk: Desk) -> None:
    desk.configure(IMPATIENT)
    numbers = desk.list(40)
    process = await desk.start(*desk.order("--wait", "--allow-partial", *WORDS))
    await during(process, stderr_says(process, "spring is paused: the points do not reach"))
    assert desk.truth["accepted_numbers"] == 20
    desk.sim.top_up(100)
    end = await ended(process)
    assert (end.code, end.json["recipients"]["accepted"]) == (0, 40)
    desk.check_once(numbers)


@POOR
async def test_without_wait_nothing_of_an_order_beyond_the_points_stays(desk: Desk) -> None:
    desk.list(40)
    end = await desk.run(*desk.order(*WORDS))
    assert (end.code, desk.campaigns()) == (5, [])


@POOR
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_ends_the_wait(desk: Desk, number: signal.Signals, code: int) -> None:
    desk.configure("[wait]\npoll_s = 600\n")
    desk.list(40)
    process = await desk.start(*desk.order("--wait", *WORDS))
    await during(process, stderr_says(process, "the points do not reach"))
    process.send_signal(number)
    async with asyncio.timeout(SOON_S):
        end = await ended(process)
    assert (end.code, end.json["state"], end.json["reasons"]) == (code, "paused", ["balance"])


@POOR
async def test_orders_are_obeyed_during_the_wait(desk: Desk) -> None:
    desk.configure("[wait]\npoll_s = 0.1\npoll_max_s = 0.1\n")
    desk.list(40)
    process = await desk.start(*desk.order("--wait", *WORDS))
    await during(process, stderr_says(process, "the points do not reach"))
    assert (await desk.run("pause", "spring")).code == 0
    desk.sim.top_up(100)
    assert (await desk.run("status", "spring", "--json")).json["reasons"] == ["operator"]
    assert desk.truth["accepted_numbers"] == 0
    assert (await desk.run("cancel", "spring")).code == 0
    end = await ended(process)
    assert (end.json["state"], end.json["recipients"]["cancelled"]) == ("cancelled", 40)
    assert desk.truth["accepted_numbers"] == 0


async def test_resume_ends_a_pause_that_came_during_the_wait(desk: Desk) -> None:
    desk.configure(IMPATIENT)
    desk.sim.spend(4_990)
    numbers = desk.list(40)
    process = await desk.start(*desk.order("--wait", *WORDS))
    await during(process, stderr_says(process, "the points do not reach"))
    assert (await desk.run("pause", "spring")).code == 0
    desk.sim.top_up(100)
    assert (await desk.run("resume", "spring")).code == 0
    assert (await ended(process)).code == 0
    desk.check_once(numbers)


async def test_a_gateway_that_is_away_is_tried_again_before_planning_and_after_it(desk: Desk) -> None:
    desk.configure(IMPATIENT)
    numbers = desk.list(40)
    await desk.sim.stop()
    process = await desk.start(*desk.order("--wait", *WORDS))
    await during(process, stderr_says(process, "Waiting: the gateway cannot be reached"))
    await desk.sim.start()
    assert (await ended(process)).code == 0
    desk.check_once(numbers)


async def test_a_campaign_whose_gateway_went_away_goes_on_when_it_is_back(desk: Desk) -> None:
    desk.configure(IMPATIENT)
    numbers = desk.list(40)
    assert (await desk.run(*desk.order("--limit", "10", *WORDS))).json["recipients"]["accepted"] == 10
    await desk.sim.stop()
    process = await desk.start("run", "spring", "--wait", "--json")
    await during(process, stderr_says(process, "spring is paused: the gateway cannot be reached"))
    await desk.sim.start()
    end = await ended(process)
    assert (end.code, end.json["recipients"]["accepted"]) == (0, 40)
    desk.check_once(numbers)


@pytest.mark.parametrize("settings", [{"points": 15}], indirect=True)
async def test_a_limit_holds_over_all_waits(desk: Desk) -> None:
    desk.configure(IMPATIENT)
    desk.list(40)
    process = await desk.start(*desk.order("--wait", "--allow-partial", "--limit", "20", *WORDS))
    await during(process, stderr_says(process, "the points do not reach"))
    assert desk.truth["accepted_numbers"] == 10
    desk.sim.top_up(100)
    end = await ended(process)
    assert (end.code, end.json["reasons"], end.json["recipients"]["accepted"]) == (75, ["limit"], 20)


async def test_a_wrong_password_is_not_waited_for(desk: Desk) -> None:
    desk.configure(IMPATIENT)
    desk.list(4)
    end = await desk.run(*desk.order("--wait", *WORDS), environ={"XINSHI_ACCOUNT__PASSWORD": "wrong"})
    assert end.code == 5


@pytest.mark.parametrize("settings", [{"latency_s": 30.0}], indirect=True)
async def test_a_journal_in_use_is_waited_for(desk: Desk) -> None:
    desk.configure(IMPATIENT)
    numbers = desk.list(4)
    first = await desk.start(*desk.order("--campaign", "first", "--json"))
    await until(lambda: desk.journal.with_name("xinshi.db.lock").exists())
    await until(lambda: (Path(desk.journal.with_name("xinshi.db.lock"))).read_text())
    second = await desk.start(*desk.order(*WORDS, "--wait"))
    await during(second, stderr_says(second, f"Waiting: process {first.pid} is using"))
    desk.sim.change({"latency_s": 0.0})
    first.kill()
    await first.wait()
    end = await ended(second)
    assert end.code == 0
    desk.check_once(numbers)
