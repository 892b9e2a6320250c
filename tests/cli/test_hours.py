"""Hours on the command line: waiting, expiring, being stopped meanwhile; what is kept for a later run."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.desk import TEXT, Desk, during, ended, until

CHINA = timedelta(hours=8)
NEAR_S = 15.0  # on a loaded machine, from the check to the simulator; who does not stop goes on for a minute
MANY = 400  # at five requests a second, more than can go before a border that is near


def clock_at(hour: int, minute: int, second: int, *, day: int = 0) -> dict[str, str]:
    """The environment of a command for which it is that time of the day in China now."""
    now = datetime.now(UTC) + CHINA
    wanted = now.replace(hour=hour, minute=minute, second=second) + timedelta(days=day)
    return {"_XINSHI_CLOCK": f"{(wanted - now).total_seconds()}"}


async def shortly_before(desk: Desk, hour: int, minute: int) -> dict[str, str]:
    """A clock by which a command sends its first batch some seconds before that time, though the machine may soon be slower."""
    began = time.monotonic()
    assert (await desk.run(*desk.order()[:-1], "--dry-run")).code == 0
    head_s = 5 + 5 * (time.monotonic() - began)
    at = datetime(2000, 1, 1, hour, minute, tzinfo=UTC) - timedelta(seconds=head_s)
    return clock_at(at.hour, at.minute, at.second)


def arrivals(desk: Desk, environ: dict[str, str]) -> list[datetime]:
    """When requests reached the gateway, by the command's clock, in China."""
    off = timedelta(seconds=float(environ["_XINSHI_CLOCK"])) + CHINA
    return [datetime.fromtimestamp(send["at"], UTC) + off for send in desk.truth["sends"]]


def paused_for_hours(desk: Desk) -> bool:
    return desk.rows("SELECT reasons FROM campaign WHERE state = 'paused'") == [('["window"]',)]


async def _read_up_to(stream: asyncio.StreamReader, words: bytes) -> None:
    await stream.readuntil(words)


async def test_before_its_hours_a_send_waits_and_then_goes_on_by_itself(desk: Desk) -> None:
    numbers, clock = desk.list(30), await shortly_before(desk, 8, 30)
    end = await desk.run(*desk.order("--window", "08:30-20:00", "--json"), environ=clock)
    assert (end.code, end.json["state"]) == (0, "finished")
    assert "waits until 08:30" in end.errors
    desk.check_once(numbers)
    assert all(at.hour == 8 and at.minute == 30 for at in arrivals(desk, clock))


async def test_at_begins_then(desk: Desk) -> None:
    numbers, clock = desk.list(30), await shortly_before(desk, 8, 30)
    end = await desk.run(*desk.order("--at", "08:30", "--json"), environ=clock)
    assert (end.code, end.json["state"]) == (0, "finished")
    desk.check_once(numbers)
    assert min(arrivals(desk, clock)).minute == 30


async def test_what_is_left_when_its_time_is_over_expires(desk: Desk) -> None:
    desk.list(MANY)
    clock = await shortly_before(desk, 20, 0)
    words = ("--expire", "20:00", "--batch-size", "1", "--requests-per-second", "5", "--campaign", "spring", "--json")
    end = await desk.run(*desk.order(*words), environ=clock)
    taken = desk.truth["accepted_numbers"]
    recipients = end.json["recipients"]
    assert (end.code, end.json["state"], end.json["reasons"]) == (3, "finished", [])
    assert (recipients["accepted"], recipients["expired"], recipients["planned"]) == (taken, MANY - taken, 0)
    assert 0 < taken < MANY
    assert f"{MANY - taken} recipients expired" in end.errors
    border = max(arrivals(desk, clock)).replace(hour=20, minute=0, second=0, microsecond=0)
    assert max(arrivals(desk, clock)) <= border + timedelta(seconds=NEAR_S)
    again = await desk.run("run", "spring", "--json", environ=clock_at(9, 0, 0, day=1))
    assert (again.code, again.json["recipients"]) == (3, recipients)  # not sent the next morning
    audit = await desk.run("audit", "spring", "--json")
    assert audit.code == 0, audit.output


async def test_when_the_window_closes_nothing_leaves_any_more(desk: Desk) -> None:
    desk.list(MANY)
    clock = await shortly_before(desk, 20, 0)
    words = ("--window", "08:30-20:00", "--batch-size", "1", "--requests-per-second", "5", "--campaign", "spring")
    process = await desk.start(*desk.order(*words, "--json"), environ=clock)
    await during(process, until(lambda: paused_for_hours(desk)))
    taken = desk.truth["accepted_numbers"]
    process.send_signal(signal.SIGINT)
    end = await ended(process)
    assert (end.code, end.json["state"], end.json["reasons"]) == (130, "paused", ["window"])
    assert "waits until 08:30 tomorrow" in end.errors
    assert 0 < taken == desk.truth["accepted_numbers"] == end.json["recipients"]["accepted"] < MANY
    border = max(arrivals(desk, clock)).replace(hour=20, minute=0, second=0, microsecond=0)
    assert max(arrivals(desk, clock)) <= border + timedelta(seconds=NEAR_S)

    rest = await desk.run("run", "spring", "--requests-per-second", "0", "--json", environ=clock_at(9, 0, 0, day=1))
    assert (rest.code, rest.json["recipients"]["accepted"]) == (0, MANY)


async def test_a_later_run_keeps_the_hours_and_new_ones_replace_them(desk: Desk) -> None:
    numbers, night = desk.list(10), clock_at(3, 0, 0)
    words = desk.order("--window", "08:30-20:00", "--campaign", "spring", "--json")
    process = await desk.start(*words, environ=night)
    await during(process, until(lambda: paused_for_hours(desk)))
    process.send_signal(signal.SIGTERM)
    assert (await ended(process)).code == 143

    process = await desk.start("run", "spring", "--json", environ=night)
    assert process.stderr is not None
    await during(process, _read_up_to(process.stderr, b"waits until 08:30"))
    process.send_signal(signal.SIGTERM)
    stopped = await ended(process)
    assert (stopped.code, stopped.json["recipients"]["planned"], desk.truth["requests"]) == (143, 10, 0)
    seen = (await desk.run("status", "spring", "--json")).json
    assert (seen["state"], seen["reasons"]) == ("paused", ["window"])

    rest = await desk.run("run", "spring", "--window", "any", "--json", environ=night)
    assert (rest.code, rest.json["state"]) == (0, "finished")
    desk.check_once(numbers)


@pytest.mark.parametrize("order", ["pause", "cancel"])
async def test_orders_are_obeyed_while_it_waits(desk: Desk, order: str) -> None:
    numbers = desk.list(10)
    process = await desk.start(
        *desk.order("--window", "08:30-20:00", "--campaign", "spring", "--json"), environ=clock_at(3, 0, 0)
    )
    await during(process, until(lambda: paused_for_hours(desk)))
    seen = (await desk.run("status", "spring")).output
    assert "A process has it, waits, and goes on by itself." in seen, seen
    assert "xinshi run" not in seen  # it would be refused
    wrong = await desk.run(order, "sprung")
    assert (wrong.code, wrong.output) == (2, ""), wrong.errors
    assert "there is no campaign named 'sprung'" in wrong.errors
    assert (await desk.run(order, "spring")).code == 0
    if order == "pause":
        reasons = "SELECT reasons FROM campaign"
        await until(lambda: desk.rows(reasons) == [('["operator"]',)])
        seen = (await desk.run("status", "spring")).output
        assert "Go on with: xinshi resume spring" in seen, seen
        assert (await desk.run("resume", "spring")).code == 0
        await until(lambda: paused_for_hours(desk))
        assert (await desk.run("cancel", "spring")).code == 0
    end = await ended(process)
    assert (end.code, end.json["state"]) == (3, "cancelled")
    assert (end.json["recipients"]["cancelled"], desk.truth["requests"]) == (len(numbers), 0)


@pytest.mark.parametrize(
    "words",
    [
        ("--window", "08:30-20:00", "--expire", "08:00"),
        ("--at", "12:00", "--expire", "11:00"),
        ("--expire", "2020-01-01 10:00"),
    ],
)
async def test_what_can_never_begin_is_refused_and_leaves_nothing(desk: Desk, words: tuple[str, ...]) -> None:
    desk.list(10)
    end = await desk.run(*desk.order(*words), environ=clock_at(3, 0, 0))
    assert end.code == 5
    assert "nothing was sent" in end.errors
    assert (desk.campaigns(), desk.truth["requests"]) == ([], 0)
    seen = await desk.run("plan", "list.csv", "--text", TEXT, *words, environ=clock_at(3, 0, 0))
    assert "`send` would refuse this (5)" in seen.errors, seen.errors


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--window", "25:00-26:00"), "--window"),
        (("--window", "Mo 08:00-09:00"), "--window"),
        (("--at", "noon"), "--at"),
        (("--expire", "31.12."), "--expire"),
    ],
)
async def test_what_is_no_time_is_said_with_its_flag(desk: Desk, words: tuple[str, ...], told: str) -> None:
    desk.list(10)
    end = await desk.run(*desk.order(*words))
    assert (end.code, desk.campaigns()) == (2, [])
    assert told in end.errors
    assert "write" in end.errors


async def test_hours_of_the_settings_hold_where_the_order_says_nothing(desk: Desk) -> None:
    numbers = desk.list(10)
    desk.configure('[hours]\nwindow = ["08:30-20:00"]')
    clock = clock_at(8, 29, 57)
    end = await desk.run(*desk.order("--json"), environ=clock)
    assert end.code == 0
    assert min(arrivals(desk, clock)).minute == 30
    desk.check_once(numbers)
    desk.configure('[hours]\nwindow = ["from nine to five"]')
    wrong = await desk.run(*desk.order())
    assert wrong.code == 2
    assert "hours.window" in wrong.errors


async def test_the_sign_off_covers_the_hours(desk: Desk) -> None:
    desk.list(10)
    words = ("plan", "list.csv", "--text", TEXT, "--json")
    hashes = [
        (await desk.run(*words, *more)).json["plan_hash"]
        for more in ((), ("--window", "08:30-20:00"), ("--window", "08:30-20:30"), ("--expire", "2030-01-01 10:00"))
    ]
    assert len(set(hashes)) == 4
    spelled = (await desk.run(*words, "--window", "8:30–20:00")).json["plan_hash"]
    assert spelled == hashes[1]


async def test_the_preview_says_when_it_ends_or_what_will_not_have_gone(desk: Desk) -> None:
    desk.list(3_600)
    words = ("plan", "list.csv", "--text", TEXT, "--batch-size", "1", "--requests-per-second", "1")
    clock = clock_at(19, 30, 0)
    over_night = await desk.run(*words, "--window", "08:30-20:00", environ=clock)
    # The last of 3,600 leaves a second before the hour is full, and the clock runs on while the command starts.
    assert re.search(r"(08:59:5\d|09:0[0-2](:\d\d)?) tomorrow", over_night.output)
    expires = await desk.run(*words, "--window", "08:30-20:00", "--expire", "20:00", environ=clock)
    assert re.search("at this pace (50|4[6-9])% will have gone by 20:00", expires.output)
