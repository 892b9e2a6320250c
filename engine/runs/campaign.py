"""One run of one campaign: it sends while its hours are open, and waits while they are not."""

from __future__ import annotations

from engine.dispatch.finish import finish
from engine.dispatch.pool import PoolEnd
from engine.dispatch.timetable import Timetable
from engine.errors import JournalBusy
from engine.journal.port import CampaignRecord, Kind
from engine.language import _, _n
from engine.live import Live, Stop
from engine.model import CampaignState, PauseReason
from engine.orders.conduct import hours_of
from engine.runs.outfit import Outfit
from engine.runs.polling import Polling
from engine.runs.sending import RunTerms, Sending
from engine.runs.steering import PAUSED
from engine.tracking import Barred


class CampaignRun:
    """Owns one campaign for as long as it runs. Runs once."""

    def __init__(self, outfit: Outfit, polling: Polling, record: CampaignRecord, *, live: Live, stop: Stop) -> None:
        self._outfit, self._polling, self._owned, self._live, self._stop = outfit, polling, record, live, stop
        self._journal, self._steering = outfit.journal, outfit.steering

    async def run(self, terms: RunTerms) -> PoolEnd | None:
        """Why the run ended; None when the campaign is cancelled. Raises JournalBusy where the operator paused it."""
        with self._steering.owning(self._owned):  # from here on orders are for us
            end = await self._through_its_hours(terms)
            if end is not None and self._steering.cancelled.is_set():  # the order came before anything could be driven
                await finish(self._journal.cancel_campaign(self._owned.campaign_id))
                return None
            if end is not None and end.reason is not None and self._steering.is_paused:
                return PoolEnd(reason=PauseReason.OPERATOR, detail=PAUSED)  # whatever else ended it meanwhile
            return end

    async def _through_its_hours(self, terms: RunTerms) -> PoolEnd | None:
        record = await self._record()  # somebody may have paused it a moment ago
        refuse_paused(record)
        self._outfit.go_at(record.conduct)
        await self._accept_canary(record)
        timetable = Timetable(hours_of(record.conduct), self._outfit.clocks.wall)
        while True:
            record = await self._record()
            if record.stored_state is CampaignState.CANCELLED:
                return None
            left = await self._left_after_expiry(record, timetable)
            if left and not timetable.is_open:
                end = await self._until_open(record, timetable)
                if self._steering.cancelled.is_set():
                    return PoolEnd()  # for who owns it to cancel
                if end is not None:
                    return end
                continue
            sending = Sending(self._outfit, self._polling, record, terms, timetable, live=self._live, stop=self._stop)
            end = await sending.run(left)
            if end is None or not (end.reason is PauseReason.WINDOW or await sending.has_more(end)):
                return end
            terms = terms.after(left, await self._journal.planned_kinds(record.campaign_id))
            if terms.limit == 0:
                return PoolEnd(reason=PauseReason.LIMIT)

    async def _record(self) -> CampaignRecord:
        """The campaign as the journal has it now."""
        record = await self._journal.find_campaign(name=self._owned.name)
        assert record is not None
        return record

    async def _accept_canary(self, record: CampaignRecord) -> None:
        """Who runs a campaign whose canary did not come through has looked at it."""
        if PauseReason.CANARY in record.reasons and record.canary_seq is not None:
            await self._journal.set_canary(record.campaign_id, record.canary_seq, passed=True)

    async def _left_after_expiry(self, record: CampaignRecord, timetable: Timetable) -> list[Kind]:
        """What is planned. Nothing any more when the campaign's time is over."""
        left = await self._journal.planned_kinds(record.campaign_id)
        if not left or not timetable.has_expired:
            return left
        expired = await finish(self._journal.expire_campaign(record.campaign_id))
        self._live.notice(
            _n(
                "The time of {name} is over: {expired:,} recipient expired and will not be sent to.",
                "The time of {name} is over: {expired:,} recipients expired and will not be sent to.",
                expired,
            ).format(name=record.name, expired=expired)
        )
        return []

    async def _until_open(self, record: CampaignRecord, timetable: Timetable) -> PoolEnd | None:
        """Wait for its hours, and track and settle meanwhile. Not None: the wait was stopped."""
        live, stop, steering, told = self._live, self._stop, self._steering, (PauseReason.WINDOW,)
        live.notice(
            _("{name} {words}. Ctrl-C ends the wait; `run` goes on later.").format(
                name=record.name, words=timetable.words()
            )
        )
        await self._journal.set_campaign_state(record.campaign_id, CampaignState.PAUSED, told, timetable.words())
        self._outfit.herald.over(await self._outfit.summary(record.name), mends=told)
        settled = self._outfit.settled_beside(
            self._outfit.settler(live), lambda: steering.pool, record.campaign_id, sizes=0
        )
        async with self._polling.beside(Barred(), live, stop), settled:
            end = await steering.until_open(record, timetable, stop=stop.gently, tell=live.show)
        if end is None and not steering.cancelled.is_set():
            self._outfit.herald.resumed(record.name, told)
        return end


def refuse_paused(record: CampaignRecord) -> None:
    """Raises JournalBusy where only an operator's word lets it go on."""
    if record.stored_state is CampaignState.PAUSED and PauseReason.OPERATOR in record.reasons:
        raise JournalBusy(
            _("{name} is paused by the operator; go on with: xinshi resume {name}").format(name=record.name)
        )
