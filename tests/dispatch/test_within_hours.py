"""No request leaves outside the hours of its campaign, whatever the clock does. A pool over a real journal, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from engine.dispatch.hours import Hours, read_windows
from engine.dispatch.pacing import Pace
from engine.dispatch.pool import LEASE_S, LEAST_LEASE_S, Pool, PoolEnd
from engine.dispatch.timetable import Timetable
from engine.journal.store import SqlJournal
from engine.ledger.floor import Floor
from engine.model import Claim, Message, Outcome, PauseReason
from engine.moments import CHINA
from engine.runs.bounds import Bounds
from tests.dispatch import virtual
from tests.dispatch.house import Gateway, Run, accepted
from tests.journal.stores import SqlitePlace, planned, states

MONDAY = datetime(2026, 11, 23, tzinfo=CHINA).astimezone(UTC)
DAY = Hours(windows=read_windows(["08:30-12:00,13:30-20:00"]))
NIGHT = Hours(windows=read_windows(["22:15-02:45"]))
HOUR = 3600.0


class Wall:
    """A wall clock over virtual time that somebody sets now and then: at these virtual seconds by so many seconds."""

    def __init__(self, *, begin: datetime = MONDAY, sets: dict[float, float] | None = None) -> None:
        self._begin, self._sets = begin, sets or {}

    def __call__(self) -> datetime:
        now_s = virtual.now()
        moved_s = sum(by_s for at_s, by_s in self._sets.items() if at_s <= now_s)
        return self._begin + timedelta(seconds=now_s + moved_s)


def bounded(run: Run, bounds: object) -> Pool:
    run.pool._bounds = bounds  # type: ignore[assignment]
    return run.pool


async def sent_under(
    place: SqlitePlace, hours: Hours, wall: Wall, *, batches: int, seed: int, watch: Callable[[], None]
) -> list[datetime]:
    """When each request reached the gateway, on the wall clock, until all were sent."""
    chance, arrived = random.Random(seed), list[datetime]()

    async def answered(call: object) -> Outcome:
        arrived.append(wall())
        watch()
        await asyncio.sleep(chance.uniform(1, 600))
        return accepted(1)

    async with place.open() as journal:
        campaign_id = await planned(journal, *[1] * batches)
        timetable = Timetable(hours, wall)
        while True:
            run = Run(
                journal,
                Gateway(place, answered),  # type: ignore[arg-type]
                campaign_id,
                pace=Pace(requests_per_second=1 / 240, numbers_per_second=0, window_s=1, clock=virtual.now),
                lease_clock=virtual.now,
                grace_s=10 * HOUR,
            )
            end = await bounded(run, Bounds(timetable, None, price=Decimal(1))).run(
                stop=run.stop, stop_now=run.stop_now
            )
            if end.reason is not PauseReason.WINDOW:
                assert end == PoolEnd()
                return arrived
            while not timetable.is_open:
                await asyncio.sleep(30)


SETS = {
    "as it passes": {},
    "forward over the end of a window": {9 * HOUR: 4 * HOUR},
    "forward into the night": {19 * HOUR: 3 * HOUR},
    "back to before the window": {9 * HOUR: -2 * HOUR, 11 * HOUR: 1.5 * HOUR},
    "back over noon": {14 * HOUR: -1.5 * HOUR},
    "again and again": {float(n) * HOUR: (-1) ** n * 2.2 * HOUR for n in range(5, 40, 3)},
}


@pytest.mark.parametrize("sets", SETS.values(), ids=SETS)
@pytest.mark.parametrize("hours", [DAY, NIGHT], ids=["day", "over midnight"])
def test_no_request_arrives_outside_the_hours(tmp_path: Path, hours: Hours, sets: dict[float, float]) -> None:
    wall, outside = Wall(sets=sets), list[datetime]()

    def watch() -> None:
        if hours.opens_at(wall()) != wall():
            outside.append(wall())

    arrived = virtual.run(sent_under(SqlitePlace(tmp_path), hours, wall, batches=250, seed=1, watch=watch))
    assert outside == []
    assert len(arrived) == 250
    assert len({at.astimezone(CHINA).date() for at in arrived}) >= 2  # it waited over at least one night


class Closing:
    """Bounds that close between the intent and the request."""

    async def admit(self, claim: Claim) -> PoolEnd | None:
        return None

    def closed(self) -> PoolEnd | None:
        return PoolEnd(reason=PauseReason.WINDOW, detail="waits until tomorrow")

    def leave(self, claim: Claim, outcome: Outcome | None) -> None:
        pass


async def test_a_window_that_closes_after_the_intent_takes_the_request_back(
    journal: SqlJournal, place: SqlitePlace
) -> None:
    run = Run(journal, Gateway(place), await planned(journal, 1, 2))
    end = await bounded(run, Closing()).run(stop=run.stop, stop_now=run.stop_now)
    assert (end.reason, end.detail) == (PauseReason.WINDOW, "waits until tomorrow")
    assert run.gateway.calls == []
    assert set(states(place).values()) == {"planned"}
    assert place.rows("SELECT outcome FROM attempt") == [{"outcome": "not_sent"}]


class Waiting(Closing):
    """Bounds at which something happens while the first batch waits."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._then, self.admitted = then, 0

    async def admit(self, claim: Claim) -> PoolEnd | None:
        self.admitted += 1
        if self.admitted == 1:
            self._then()
        return None

    def closed(self) -> PoolEnd | None:
        return None

    def leave(self, claim: Claim, outcome: Outcome | None) -> None:
        self.admitted -= outcome is None


async def test_a_lease_that_ends_while_a_batch_waits_for_its_points_makes_no_doubt(
    journal: SqlJournal, place: SqlitePlace
) -> None:
    run = Run(journal, Gateway(place), await planned(journal, 1, 2))

    def wait() -> None:
        run.clock.now_s += LEASE_S
        bounds.admitted += 1  # only once

    bounds = Waiting(wait)
    assert await bounded(run, bounds).run(stop=run.stop, stop_now=run.stop_now) == PoolEnd()
    assert place.rows("SELECT outcome FROM attempt") == [{"outcome": "accepted"}] * 2


async def test_a_halt_while_a_batch_waits_for_its_points_leaves_no_intent(
    journal: SqlJournal, place: SqlitePlace
) -> None:
    run = Run(journal, Gateway(place), await planned(journal, 1, 2))
    bounds = Waiting(lambda: run.pool.halt(PauseReason.OPERATOR))
    end = await bounded(run, bounds).run(stop=run.stop, stop_now=run.stop_now)
    assert (end.reason, bounds.admitted) == (PauseReason.OPERATOR, 0)
    assert set(states(place).values()) == {"planned"}
    assert place.rows("SELECT outcome FROM attempt") == []


async def test_a_lease_that_ends_in_a_moment_is_not_begun_with(journal: SqlJournal, place: SqlitePlace) -> None:
    run = Run(journal, Gateway(place), await planned(journal, 1, 2))

    def wait() -> None:
        run.clock.now_s += LEASE_S - LEAST_LEASE_S
        bounds.admitted += 1

    bounds = Waiting(wait)
    assert await bounded(run, bounds).run(stop=run.stop, stop_now=run.stop_now) == PoolEnd()
    leases = [settled.submitted.claim.lease_until_s for settled in run.settled]
    assert leases == [run.clock.now_s + LEASE_S] * 2  # both were claimed anew, or for the first time


class Purse:
    """A gateway with a balance: it charges when a request comes, and tells what is left."""

    def __init__(self, points: int, price: int) -> None:
        self.points, self._price = points, price

    async def __call__(self, message: Message, mobiles: str, size: int, /) -> Outcome:
        self.points -= size * self._price
        told = accepted(size)
        left = Decimal(self.points)
        await asyncio.sleep(size % 7 / 1000)  # answers overtake each other
        return Outcome(kind=told.kind, task_id=told.task_id, success_counts=size, remaining=left)


@pytest.mark.parametrize("price", [1, 2, 5])
@pytest.mark.parametrize("keep", [0, 1, 250, 777])
async def test_the_balance_stays_above_the_floor_and_goes_down_to_it(
    journal: SqlJournal, place: SqlitePlace, price: int, keep: int
) -> None:
    """With everything in flight at once; and what still fits is sent."""
    purse = Purse(1_000, price)
    run = Run(journal, Gateway(place), await planned(journal, *range(20, 100)), in_flight=16)
    run.pool._send = purse
    timetable = Timetable(Hours(), lambda: MONDAY)
    bounds = Bounds(timetable, Floor(Decimal(keep), balance=Decimal(1_000)), price=Decimal(1))
    end = await bounded(run, bounds).run(stop=run.stop, stop_now=run.stop_now)
    assert end.reason is PauseReason.FLOOR
    assert purse.points >= keep
    assert purse.points - keep < 100 * price
