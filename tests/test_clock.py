"""The clock of settlement: it never jumps, and the next owner of a journal goes on with it while doubts are open."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from engine.clock import SteadyClock, boottime
from engine.journal.opening import open_journal
from engine.journal.port import OpenDoubt, SettledBy, Settling
from engine.journal.store import SqlJournal
from engine.model import BatchState
from tests.journal.stores import ACCOUNT, DOUBT, REFUSED, SqlitePlace, claimed, ended, planned, reading

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
AWAY_S = 10.0
LONG_AWAY_S = 7_200.0
"""Seconds between two owners of a journal."""
PATIENCE = timedelta(seconds=180)


class Machine:
    """A machine whose seconds pass when the test says so; its wall clock shows whatever somebody set."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def clock(self, wall: datetime) -> SteadyClock:
        return SteadyClock(wall=wall, passing=lambda: self.seconds)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def place(tmp_path: Path) -> SqlitePlace:
    return SqlitePlace(tmp_path)


# ── by itself ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_clock_shows_the_seconds_that_passed_whatever_the_wall_clock_does(machine: Machine) -> None:
    clock = machine.clock(NOON)
    assert clock() == NOON
    machine.seconds += 7.5
    machine.clock(NOON + HOUR)  # somebody else looks at the wall clock, which was set
    assert clock() == NOON + timedelta(seconds=7.5)


def test_the_clock_begins_with_the_machine_s_and_never_goes_back() -> None:
    before = datetime.now(UTC)
    clock = SteadyClock()
    seen = [clock() for _ in range(1_000)]
    assert before - timedelta(milliseconds=1) <= seen[0] <= datetime.now(UTC) + timedelta(milliseconds=1)
    assert seen == sorted(seen)
    assert clock().tzinfo is UTC


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="this system has no clock that counts suspend")
def test_time_in_suspend_passes_too() -> None:
    assert abs(boottime() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 1


@pytest.mark.parametrize("off", [HOUR, -HOUR, timedelta(0)])
def test_a_clock_that_follows_shows_what_the_other_would(machine: Machine, off: timedelta) -> None:
    other = machine.clock(NOON)
    machine.seconds += AWAY_S
    clock = machine.clock(NOON + timedelta(seconds=AWAY_S) + off)
    assert clock.follow(other.booted_at) == -off
    assert clock() == other()
    assert clock.booted_at == other.booted_at
    machine.seconds += 5
    assert clock() == other()
    assert clock.follow(other.booted_at) == timedelta(0)


def test_a_clock_that_is_behind_goes_forward_and_one_that_is_not_stays(machine: Machine) -> None:
    clock = machine.clock(NOON)
    assert clock.not_before(NOON - HOUR) == timedelta(0)
    assert clock() == NOON
    assert clock.not_before(NOON + HOUR) == HOUR
    assert clock() == NOON + HOUR
    machine.seconds += 2
    assert clock() == NOON + HOUR + timedelta(seconds=2)
    assert clock.booted_at == NOON + HOUR - timedelta(seconds=1_000)


# ── from one owner of a journal to the next ──────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def owning(place: SqlitePlace, clock: SteadyClock) -> AsyncIterator[SqlJournal]:
    journal = await open_journal(place.path, clock=clock)
    try:
        yield journal
    finally:
        await journal.close()


async def begin(journal: SqlJournal, clock: SteadyClock) -> None:
    """One request leaves, and its outcome is not written any more."""
    (claim,) = await claimed(journal, await planned(journal, 3))
    await journal.record_intent(ACCOUNT, claim, started_at=clock())


async def the_doubt(journal: SqlJournal) -> OpenDoubt:
    (doubt,) = await journal.open_doubts(ACCOUNT)
    return doubt


@pytest.mark.parametrize("off", [HOUR, -HOUR], ids=["set forward", "set back"])
async def test_while_doubts_are_open_the_next_owner_goes_on_with_the_last_one_s_clock(
    place: SqlitePlace, machine: Machine, off: timedelta, caplog: pytest.LogCaptureFixture
) -> None:
    first = machine.clock(NOON)
    async with owning(place, first) as journal:
        await begin(journal, first)
    machine.seconds += AWAY_S
    second = machine.clock(NOON + timedelta(seconds=AWAY_S) + off)
    with caplog.at_level(logging.WARNING):
        async with owning(place, second) as journal:
            gave_up_at = (await the_doubt(journal)).gave_up_at
    assert second() == first() == gave_up_at == NOON + timedelta(seconds=AWAY_S)
    assert "clock was set" in caplog.text


@pytest.mark.parametrize("off", [HOUR, -HOUR], ids=["set forward", "set back"])
async def test_setting_the_clock_between_two_starts_does_not_shorten_patience(
    place: SqlitePlace, machine: Machine, off: timedelta
) -> None:
    first = machine.clock(NOON)
    async with owning(place, first) as journal:
        (claim,) = await claimed(journal, await planned(journal, 3))
        submitted = await journal.record_intent(ACCOUNT, claim, started_at=first())
        await ended(journal, submitted, DOUBT, BatchState.IN_DOUBT, at=first())
    gave_up_s, wall = machine.seconds, NOON
    for seconds in (30.0, 60.0, 80.0):  # three starts; the clock is set before each of them, forth and back
        machine.seconds += seconds
        wall += timedelta(seconds=seconds) + off
        off = -off
        clock = machine.clock(wall)
        async with owning(place, clock) as journal:
            doubt = await the_doubt(journal)
    left = doubt.gave_up_at + PATIENCE - clock()
    assert left == PATIENCE - timedelta(seconds=machine.seconds - gave_up_s)


@pytest.mark.parametrize("how", ["accepted", "refused", "settled"])
async def test_without_doubts_or_anything_that_the_pace_still_counts_the_wall_clock_counts(
    place: SqlitePlace, machine: Machine, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = machine.clock(NOON)
    async with owning(place, first) as journal:
        (claim,) = await claimed(journal, await planned(journal, 3))
        submitted = await journal.record_intent(ACCOUNT, claim, started_at=first())
        outcome, then = (REFUSED, BatchState.REFUSED) if how == "refused" else (DOUBT, BatchState.IN_DOUBT)
        await ended(journal, submitted, outcome, then, at=first())
        if how != "refused":
            word = Settling(
                batch_id=claim.batch_id,
                number=1,
                taken=how == "accepted",
                by=SettledBy.OPERATOR,
                evidence="said so",
                at=first(),
                charge=Decimal(3),
                charged_at=first(),
            )
            assert await journal.settle(ACCOUNT, word)
    machine.seconds += LONG_AWAY_S
    wall = NOON + HOUR + timedelta(seconds=LONG_AWAY_S)
    second = machine.clock(wall)
    with caplog.at_level(logging.WARNING):
        async with owning(place, second):
            pass
    assert second() == wall
    assert caplog.text == ""


async def test_the_first_owner_of_a_journal_has_the_wall_clock(place: SqlitePlace, machine: Machine) -> None:
    clock = machine.clock(NOON)
    async with owning(place, clock):
        pass
    assert clock() == NOON


async def _a_reading(journal: SqlJournal, clock: SteadyClock) -> None:
    await journal.record_reading(ACCOUNT, reading(Decimal(100), at=clock()), campaign_id=None)


async def _a_start(journal: SqlJournal, clock: SteadyClock) -> None:
    await begin(journal, clock)


async def _a_late_end(journal: SqlJournal, clock: SteadyClock) -> None:
    (claim,) = await claimed(journal, await planned(journal, 3))
    submitted = await journal.record_intent(ACCOUNT, claim, started_at=clock() - timedelta(seconds=30))
    await ended(journal, submitted, DOUBT, BatchState.IN_DOUBT, at=clock())


@pytest.mark.parametrize(
    "happens",
    [
        pytest.param(_a_reading, id="a reading"),
        pytest.param(_a_start, id="a start"),
        pytest.param(_a_late_end, id="a late end"),
    ],
)
async def test_after_another_boot_the_clock_is_never_before_the_latest_time_in_the_journal(
    place: SqlitePlace, machine: Machine, happens: Callable[[SqlJournal, SteadyClock], Awaitable[None]]
) -> None:
    first = machine.clock(NOON)
    async with owning(place, first) as journal:
        await happens(journal, first)
    place.alter("UPDATE owner SET boot_id = 'an earlier boot'")
    machine.seconds = 5.0
    second = machine.clock(NOON - HOUR)
    async with owning(place, second):
        pass
    assert second() == NOON


async def test_after_another_boot_the_wall_clock_counts_where_it_is_later(place: SqlitePlace, machine: Machine) -> None:
    """How long the machine was off nobody else knows."""
    first = machine.clock(NOON)
    async with owning(place, first) as journal:
        await begin(journal, first)
    place.alter("UPDATE owner SET boot_id = 'an earlier boot'")
    machine.seconds = 5.0
    second = machine.clock(NOON + HOUR)
    async with owning(place, second) as journal:
        assert (await the_doubt(journal)).gave_up_at == NOON + HOUR  # patience begins anew with the start
    assert second() == NOON + HOUR


async def test_a_journal_of_an_older_program_tells_no_clock_and_is_taken_over(
    place: SqlitePlace, machine: Machine
) -> None:
    first = machine.clock(NOON)
    async with owning(place, first) as journal:
        await begin(journal, first)
    place.alter("UPDATE owner SET booted_at = NULL")
    machine.seconds += AWAY_S
    second = machine.clock(NOON + HOUR)
    async with owning(place, second):
        pass
    assert second() == NOON + HOUR
