"""Orders that come at any moment of a run hold from that moment on."""

from __future__ import annotations

import asyncio
from pathlib import Path

from engine.dispatch.pool import Pool, PoolEnd
from engine.journal.port import CampaignRecord
from engine.journal.store import SqlJournal
from engine.model import CampaignState, PauseReason
from engine.runs.control import Order, Word
from engine.runs.steering import PAUSED, Steering
from tests.dispatch.house import Gateway, Run
from tests.journal.stores import SqlitePlace, planned, states

ENDED = "ended"


class Ready:
    """A run that gets an order while its first pool is being made."""

    def __init__(self, place: SqlitePlace, journal: SqlJournal, record: CampaignRecord, verb: str) -> None:
        self.steering, self.gateway = Steering(journal), Gateway(place)
        self.stop, self.told = asyncio.Event(), asyncio.Queue[str]()
        self._journal, self.record, self._verbs = journal, record, [verb]

    async def make_pool(self) -> Pool:
        while self._verbs:
            assert (await self.order(self._verbs.pop())).done
        return Run(self._journal, self.gateway, self.record.campaign_id).pool

    async def order(self, verb: str) -> Word:
        return await self.steering.on_order(Order(verb=verb, campaign=self.record.name))

    async def stored(self) -> tuple[CampaignState | None, tuple[PauseReason, ...]]:
        found = await self._journal.find_campaign(name=self.record.name)
        assert found is not None
        return found.stored_state, found.reasons

    async def drive(self) -> PoolEnd | None:
        with self.steering.owning(self.record):
            try:
                return await self.steering.drive(
                    self.record, self.make_pool, stop=self.stop, stop_now=asyncio.Event(), tell=self.told.put_nowait
                )
            finally:
                self.gateway.look_away()
                self.told.put_nowait(ENDED)


async def ready(place: SqlitePlace, journal: SqlJournal, verb: str) -> Ready:
    await planned(journal, 1, 2, 3)
    record = await journal.find_campaign(name="spring")
    assert record is not None
    return Ready(place, journal, record, verb)


async def test_a_pause_that_comes_while_a_run_gets_ready_holds(tmp_path: Path) -> None:
    place = SqlitePlace(tmp_path)
    async with place.open() as journal:
        run = await ready(place, journal, "pause")
        task = asyncio.create_task(run.drive())
        while (told := await run.told.get()) != PAUSED:
            assert told != ENDED, "it sent on"
        assert run.gateway.calls == []
        assert (await run.order("resume")).done
        assert await task == PoolEnd()
        assert states(place) == {1: "accepted", 2: "accepted", 3: "accepted"}


async def test_a_run_that_is_stopped_while_its_canary_is_paused_leaves_the_pause(tmp_path: Path) -> None:
    place = SqlitePlace(tmp_path)
    async with place.open() as journal:
        run = await ready(place, journal, "pause")
        with run.steering.owning(run.record):
            assert (await run.order("pause")).done
            held = asyncio.create_task(
                run.steering.while_held(run.record, stop=run.stop, tell=run.told.put_nowait), name="held"
            )
            assert await run.told.get() == PAUSED
            run.stop.set()
            assert await held
            assert await run.stored() == (CampaignState.PAUSED, (PauseReason.OPERATOR,))


async def test_a_cancel_that_comes_while_a_run_gets_ready_holds(tmp_path: Path) -> None:
    place = SqlitePlace(tmp_path)
    async with place.open() as journal:
        run = await ready(place, journal, "cancel")
        assert await run.drive() is None
        assert run.gateway.calls == []
        assert states(place) == {1: "cancelled", 2: "cancelled", 3: "cancelled"}


async def test_an_answered_order_is_on_the_disk_before_the_run_has_seen_it(tmp_path: Path) -> None:
    """Whoever is killed after the answer must not go on at its next start."""
    place = SqlitePlace(tmp_path)
    async with place.open() as journal:
        run = await ready(place, journal, "pause")
        with run.steering.owning(run.record):  # nothing drives it: as if it waited for answers under way
            assert (await run.order("pause")).done
            assert await run.stored() == (CampaignState.PAUSED, (PauseReason.OPERATOR,))
            assert (await run.order("resume")).done
            assert await run.stored() == (CampaignState.RUNNING, ())
            assert (await run.order("cancel")).done
            assert await run.stored() == (CampaignState.CANCELLED, ())
        assert states(place) == {1: "cancelled", 2: "cancelled", 3: "cancelled"}
