"""What orders from outside do to a run: pause, resume and cancel, whether the campaign is being sent or not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from engine.control import Order, Word
from engine.dispatch.pool import Pool, PoolEnd
from engine.errors import PlanError
from engine.journal.port import CampaignRecord, Journal
from engine.model import CampaignState, PauseReason

PAUSED = "paused by the operator"


class Steering:
    """Holds the orders of one owner of a journal. `on_order` answers them; `drive` runs a campaign under them."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._campaign_id: int | None = None
        self.pool: Pool | None = None  # what is sending now
        self._paused = False
        self.cancelled = asyncio.Event()
        self._goes_on = asyncio.Event()

    @contextmanager
    def owning(self, record: CampaignRecord) -> Iterator[None]:
        """Orders for this campaign are meant for what happens in the block."""
        self._campaign_id, self._paused = record.campaign_id, False
        self.cancelled.clear()
        try:
            yield
        finally:
            self._campaign_id = None

    async def drive(
        self,
        record: CampaignRecord,
        make_pool: Callable[[], Awaitable[Pool]],
        *,
        stop: asyncio.Event,
        stop_now: asyncio.Event,
        tell: Callable[[str], None],
    ) -> PoolEnd | None:
        """Run pools until one ends for a reason of its own. A pause waits here for its end. None: it was cancelled."""
        try:
            while not self.cancelled.is_set():
                if self._paused:
                    await self._journal.set_campaign_state(
                        record.campaign_id, CampaignState.PAUSED, (PauseReason.OPERATOR,), PAUSED
                    )
                    tell(PAUSED)
                    await _either(self._goes_on, stop)
                    if stop.is_set():
                        return PoolEnd(reason=PauseReason.OPERATOR, detail=PAUSED)
                    continue
                await self._journal.set_campaign_state(record.campaign_id, CampaignState.RUNNING)
                tell("sending")
                self.pool = await make_pool()
                end = await self.pool.run(stop=stop, stop_now=stop_now)
                if end.reason is not PauseReason.OPERATOR and not self.cancelled.is_set():
                    return end
        finally:
            self.pool = None
        await self._journal.cancel_campaign(record.campaign_id)
        return None

    async def on_order(self, order: Order) -> Word:
        """Carry out an order, here and in the journal. Raises PlanError, JournalError."""
        record = await self._journal.find_campaign(name=order.campaign)
        if record is None:
            raise PlanError(f"there is no campaign named {order.campaign!r}; `xinshi status` lists them")
        if record.stored_state is CampaignState.CANCELLED:
            return Word(done=order.verb == "cancel", words=f"{record.name} is cancelled already")
        running = record.campaign_id == self._campaign_id
        match order.verb:
            case "pause":
                return await self._pause(record, running)
            case "resume":
                return await self._resume(record, running)
            case "cancel":
                return await self._cancel(record, running)
            case _:
                return Word(done=False, words=f"nobody here knows the order {order.verb!r}")

    async def _pause(self, record: CampaignRecord, running: bool) -> Word:
        if running:
            self._paused = True
            self._goes_on.clear()
            self._halt()
            return Word(done=True, words=f"{record.name} pauses; answers under way are awaited")
        await self._journal.set_campaign_state(
            record.campaign_id, CampaignState.PAUSED, (PauseReason.OPERATOR,), PAUSED
        )
        return Word(done=True, words=f"{record.name} is paused; go on with: xinshi resume {record.name}")

    async def _resume(self, record: CampaignRecord, running: bool) -> Word:
        if running:
            self._paused = False
            self._goes_on.set()
            return Word(done=True, words=f"{record.name} goes on")
        if PauseReason.OPERATOR in record.reasons:
            await self._journal.set_campaign_state(record.campaign_id, CampaignState.PLANNED)
        return Word(
            done=True, words=f"{record.name} may be sent again; no process sends it now: xinshi run {record.name}"
        )

    async def _cancel(self, record: CampaignRecord, running: bool) -> Word:
        if running:
            self.cancelled.set()
            self._goes_on.set()
            self._halt()
            return Word(done=True, words=f"{record.name} is being cancelled; answers under way are awaited")
        size = await self._journal.cancel_campaign(record.campaign_id)
        return Word(done=True, words=f"{record.name} is cancelled: {size:,} recipients will not be sent to")

    def _halt(self) -> None:
        if self.pool is not None:
            self.pool.halt(PauseReason.OPERATOR, PAUSED)


async def _either(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
