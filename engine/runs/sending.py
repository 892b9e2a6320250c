"""Sends one campaign while its hours are open: reads the balance, lets the canary go first, settles what comes to doubt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from engine.dispatch.pool import Pool, PoolEnd, Settled
from engine.dispatch.schedule import Schedule
from engine.dispatch.timetable import Timetable
from engine.dispatch.waiting import either_set
from engine.journal.port import CampaignRecord, Kind, Tally
from engine.language import _
from engine.ledger.collector import Collector
from engine.ledger.floor import Floor
from engine.ledger.release import Release, Spending, release_of, telling_sizes, whole_release
from engine.live import Live, Stop
from engine.model import Balance, BatchState, PauseReason
from engine.orders.conduct import keep_points
from engine.orders.plans import price_ratio
from engine.runs.bounds import Bounds
from engine.runs.canary import Spikes, awaited, chosen
from engine.runs.outfit import NO_BALANCE, Outfit
from engine.runs.polling import Polling
from engine.tracking import Barred

FRUITLESS_MOST = 3  # rounds of sending again what was not taken, in which nothing was accepted


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTerms:
    """What one run is asked for. `limit`: recipients it may send to, None: all. `reserved`: points for other campaigns."""

    allow_partial: bool
    limit: int | None
    reserved: Decimal

    def after(self, before: Sequence[Kind], now: Sequence[Kind]) -> RunTerms:
        """For the rest of the run, when of what was planned before so much is left."""
        gone = sum(kind.size * kind.batches for kind in before) - sum(kind.size * kind.batches for kind in now)
        return self if self.limit is None else replace(self, limit=max(0, self.limit - gone))


class Sending:
    """One stretch of a campaign's run, in which it may send. Runs once."""

    def __init__(
        self,
        outfit: Outfit,
        polling: Polling,
        record: CampaignRecord,
        terms: RunTerms,
        timetable: Timetable,
        *,
        live: Live,
        stop: Stop,
    ) -> None:
        self._outfit, self._polling, self._record, self._terms = outfit, polling, record, terms
        self._timetable, self._live, self._stop = timetable, live, stop
        self._journal, self._steering = outfit.journal, outfit.steering
        self._settler = outfit.settler(live)
        self._floor: Floor | None = None
        self._split_after: int | None = None

    async def run(self, left: list[Kind]) -> PoolEnd | None:
        """Send what is `left`. Why it ended; None: the campaign is cancelled."""
        if not left and not await self._has_doubts():
            return PoolEnd()
        campaign_id = self._record.campaign_id
        balance = await self._outfit.opening_reading(campaign_id, self._settler, self._stop)
        if isinstance(balance, PoolEnd):
            return balance
        spending = await self._spending()
        release = await self._release(left, balance, spending)
        if isinstance(release, PoolEnd):
            return release
        canary = await self._canary(release)
        last_seq = release.last_seq if canary is None else min(canary, release.last_seq or canary)
        # What is split from here on stands behind the last batch: parts that come back are still of those that may go.
        self._split_after = await self._journal.last_seq(campaign_id)
        await self._journal.set_sendable(campaign_id, last_seq, split_after=self._split_after)
        self._show(release, balance, spending)
        barred = self._outfit.barred = Barred()  # from here on opt-outs reach it; those of before are read now
        barred.add((await self._journal.opted_out(self._outfit.account_key, since=self._record.screened)).mobiles)
        make_pool = await self._pools(barred, self._bounds(balance, spending))
        sizes = telling_sizes(left)
        async with self._polling.beside(barred, self._live, self._stop):
            end = await self._send_and_settle(make_pool, sizes=sizes, last_seq=last_seq)
            if canary is not None and canary == last_seq and end is not None and end.reason is None:
                end = await self._judge_canary(canary)
                if end is not None and end.reason is None:
                    await self._journal.set_sendable(campaign_id, release.last_seq, split_after=self._split_after)
                    end = await self._send_and_settle(make_pool, sizes=sizes, last_seq=release.last_seq)
            await self._outfit.closing_reading(campaign_id, self._live, self._settler, self._stop)
        if end is not None and end.reason is None and release.last_seq is not None:
            return PoolEnd(reason=release.reason, detail=release.detail)
        return end

    async def has_more(self, end: PoolEnd | None) -> bool:
        """Whether there are more points than the floor knew: it kept some for doubts, and they have ended.

        Not when nothing was accepted: what is lost again and again would go round for ever.
        """
        is_worth_it = self._is_kept_for_doubts(end) and self._live.collector.progress().accepted > 0
        return is_worth_it and not await self._has_doubts()

    def _is_kept_for_doubts(self, end: PoolEnd | None) -> bool:
        at_the_floor = end is not None and end.reason is PauseReason.FLOOR
        return at_the_floor and self._floor is not None and self._floor.keeps_for_doubts

    # -- before sending ------------------------------------------------------------------------------------------------

    async def _has_doubts(self) -> bool:
        return bool(await self._journal.open_doubts(self._outfit.account_key, campaign_id=self._record.campaign_id))

    async def _spending(self) -> Spending:
        """What of the points may go, and what they buy lately."""
        ratio = await price_ratio(self._journal, self._outfit.account_key)
        keep = keep_points(self._record.conduct, self._outfit.settings)
        return Spending(keep=keep, reserved=self._terms.reserved, ratio=Decimal(1) if ratio is None else ratio)

    async def _release(self, left: list[Kind], balance: Balance, spending: Spending) -> Release | PoolEnd:
        """How far it may go in this stretch, or why nothing may."""
        if too_large := self._outfit.too_large(left):
            return PoolEnd(reason=PauseReason.CONFIGURATION, detail=too_large)
        if spending.keep and balance.remaining is None:
            return PoolEnd(reason=PauseReason.FLOOR, detail=NO_BALANCE)
        profile, terms = self._outfit.gate.profile, self._terms
        release = whole_release(left, balance, profile, limit=terms.limit, spending=spending)
        if release is None:
            in_order = await self._journal.planned_sizes(self._record.campaign_id)
            release = release_of(
                in_order,
                balance,
                profile,
                allow_partial=terms.allow_partial,
                limit=terms.limit,
                spending=spending,
            )
        return PoolEnd(reason=release.reason, detail=release.detail) if release.nothing and left else release

    def _show(self, release: Release, balance: Balance, spending: Spending) -> None:
        """Let the display and who is told know what begins."""
        live = self._live
        live.timetable, live.known_ratio = self._timetable, spending.ratio
        live.collector = Collector(opening=balance.remaining)
        live.recipients, live.rest = release.recipients, release.detail
        self._outfit.herald.started(self._record.name, recipients=release.recipients, balance=balance.remaining)

    def _bounds(self, balance: Balance, spending: Spending) -> Bounds:
        if spending.keep and balance.remaining is not None:
            self._floor = Floor(spending.keep, balance=balance.remaining, ratio=spending.ratio)
        at, price = self._record.conduct.scheduled_for, self._outfit.gate.profile.price_per_segment
        schedule = None if at is None else Schedule(at, self._outfit.clocks.wall)
        return Bounds(self._timetable, self._floor, price=price, schedule=schedule)

    async def _pools(self, barred: Barred, bounds: Bounds) -> Callable[[], Awaitable[Pool]]:
        """What makes the pools of this stretch, one after the other. They share what the last reports say."""
        outfit, campaign_id = self._outfit, self._record.campaign_id
        single = await self._journal.message_count(campaign_id) == 1
        spikes = Spikes(outfit.settings.canary.undelivered_spike / 100, self._steering.halt)
        self._polling.spikes = spikes

        def told(settled: Settled) -> None:
            spikes.sent(settled.outcome.task_id)
            outfit.herald.note_settled(settled)

        async def make_pool() -> Pool:
            return await outfit.pool(
                campaign_id,
                single,
                self._live,
                barred,
                self._settler,
                also=told,
                bounds=bounds,
                scheduled_for=self._record.conduct.scheduled_for,
            )

        return make_pool

    # -- those who go first --------------------------------------------------------------------------------------------

    async def _canary(self, release: Release) -> int | None:
        """The last batch of those that go first; None: nobody goes first (any more)."""
        record = self._record
        if not record.conduct.canary or record.canary_passed or not release.recipients:
            return None
        if record.canary_seq is not None:
            return record.canary_seq
        seq = chosen(await self._journal.planned_sizes(record.campaign_id), record.conduct.canary).last_seq
        await self._journal.set_canary(record.campaign_id, seq, passed=False)
        return seq

    async def _judge_canary(self, last_seq: int) -> PoolEnd | None:
        """Wait for its reports. No reason: the rest may go; None: the campaign is cancelled."""
        steering, stop = self._steering, self._stop.gently
        while True:
            end = await awaited(
                self._journal,
                self._record,
                last_seq,
                clock=self._outfit.clock,
                news=self._polling.reported,
                give_up=lambda: stop.is_set() or steering.is_held,
                tell=self._live.show,
            )
            if end is not None:
                return end
            if stop.is_set():
                return PoolEnd(reason=PauseReason.STOPPED)
            if not await steering.while_held(self._record, stop=stop, tell=self._live.show):
                return None

    # -- sending -------------------------------------------------------------------------------------------------------

    async def _send_and_settle(
        self, make_pool: Callable[[], Awaitable[Pool]], *, sizes: int, last_seq: int | None
    ) -> PoolEnd | None:
        """Send what is planned, settle what came to doubt, and send again what was not taken, until nothing is left."""
        record, settler, steering, stop = self._record, self._settler, self._steering, self._stop
        fruitless, accepted = 0, -1

        async def may_send() -> bool:
            planned = await self._journal.planned_kinds(
                record.campaign_id, up_to=last_seq, split_after=self._split_after
            )
            avoided = settler.avoided_sizes
            return any(kind.size not in avoided for kind in planned)

        async with either_set(stop.gently, steering.cancelled) as give_up:
            while True:
                async with self._outfit.settled_beside(settler, lambda: steering.pool, record.campaign_id, sizes=sizes):
                    end = await steering.drive(
                        record, make_pool, stop=stop.gently, stop_now=stop.now, tell=settler.tell
                    )
                if self._is_kept_for_doubts(end):
                    await settler.until_settled(record.campaign_id, give_up=give_up)
                    return end
                if end is None or end.reason is not None:
                    await self._settle_in_passing(end)
                    return end
                await settler.until_settled(record.campaign_id, give_up=give_up, may_send=may_send)
                if steering.cancelled.is_set():
                    continue  # driven once more, it cancels
                if stop.gently.is_set():
                    return PoolEnd(reason=PauseReason.STOPPED)
                if not await may_send():
                    return end
                counted = await self._journal.counts(record.campaign_id)
                now_accepted = counted.states.get(BatchState.ACCEPTED, Tally()).recipients
                fruitless = fruitless + 1 if now_accepted == accepted else 0
                accepted = now_accepted
                if fruitless >= FRUITLESS_MOST:
                    return PoolEnd(
                        reason=PauseReason.DOUBTS, detail=_("answers keep getting lost, whatever is sent again")
                    )

    async def _settle_in_passing(self, end: PoolEnd | None) -> None:
        """The run ends for another reason: settle what can be settled at once."""
        if not await self._has_doubts():
            return
        if end is not None and end.reason in (PauseReason.BALANCE, PauseReason.DOUBTS, PauseReason.CONTENT):
            await self._settler.quiet(self._record.campaign_id)
        await self._settler.look()
