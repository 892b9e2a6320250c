"""Opens, runs, drains, closes. The only module that knows every adapter.

async with Engine.open(settings, account): known? -> plan -> publish -> run
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from typing import IO

from engine.clock import Clocks, SteadyClock
from engine.dispatch.finish import finish
from engine.dispatch.pool import Pool, PoolEnd
from engine.dispatch.schedule import date_words
from engine.dispatch.timetable import Timetable
from engine.dispatch.waiting import ended_unless
from engine.errors import (
    BalanceTooLow,
    GatewayError,
    JournalBusy,
    PlanError,
    Refused,
    SendRefused,
    SettingsError,
)
from engine.gate import Gate
from engine.journal.lock import OwnerLock, account_lock, is_held, journal_lock
from engine.journal.opening import open_journal
from engine.journal.places import refuse_folder
from engine.journal.port import (
    EVERY_ACCOUNT,
    CampaignRecord,
    OpenDoubt,
    PlanTotals,
)
from engine.journal.store import SqlJournal
from engine.language import _
from engine.ledger.collector import Collector
from engine.ledger.points import ZERO
from engine.ledger.summary import CampaignSummary
from engine.live import Live, Stop
from engine.model import CampaignState, PauseReason
from engine.notify import Outbox
from engine.orders.conduct import Wish, decided, hours_of, keep_points, refuse_closed
from engine.orders.pipeline import Pipeline
from engine.orders.plans import (
    Plan,
    Planner,
    SendOrder,
    addition,
    columns_of,
    key_of,
    refuse_name,
    refuse_unsigned,
    signed_off,
    wording_of,
)
from engine.orders.points import refuse_if_too_low
from engine.orders.radar import remember
from engine.orders.signing import differences, parts_of
from engine.planning.order import plan_hash
from engine.queues import Source
from engine.runs.beside import ASSUME, OPT_IN, OPT_OUT, assumed, carry_out
from engine.runs.campaign import CampaignRun, refuse_paused
from engine.runs.consuming import Consumed, ConsumeOrder, Counted
from engine.runs.control import Order, Word, listening
from engine.runs.outfit import NO_BALANCE, Outfit
from engine.runs.polling import Polling
from engine.runs.sending import RunTerms
from engine.runs.telling import Herald, channels_of
from engine.settings import Settings
from engine.tracking import Barred
from engine.tracking import Tally as TrackingTally


class Engine:
    """The journal and one account's gateway, both owned, ready to plan and to run."""

    def __init__(
        self,
        settings: Settings,
        gate: Gate,
        journal: SqlJournal,
        clock: SteadyClock,
        outbox: Outbox,
        clocks: Clocks,
    ) -> None:
        self.settings, self.gate, self.journal, self.clock = settings, gate, journal, clock
        self._wall = clocks.wall
        self.herald = Herald(
            outbox, account=gate.account.name, low_balance=settings.notify.low_balance_points, clock=clock
        )
        self.account_key = gate.account.account_key
        self._outfit = Outfit(settings, gate, journal, clock=clock, clocks=clocks, herald=self.herald)
        self._polling = Polling(settings, gate, journal, clock=clock, on_read=self.herald.note_read)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: Settings, account_name: str, *, clocks: Clocks | None = None, apart: bool = False
    ) -> AsyncIterator[Engine]:
        """Own the journal and the account. `apart`: see `open_journal`.

        Raises SettingsError, JournalBusy, SchemaMismatch, JournalError.
        """
        clocks = clocks or Clocks()
        async with AsyncExitStack() as stack:
            # The first in is the last out: people are told while nothing is held any more.
            outbox = await stack.enter_async_context(Outbox.open(channels_of(settings.notify)))
            gate = await stack.enter_async_context(Gate.open(settings, account_name))
            refuse_folder(settings.journal_path)
            stack.callback(_own_account(settings, gate.account.account_key).release)
            clock = clocks.steady()
            journal = await open_journal(settings.journal_path, clock=clock, apart=apart)
            stack.push_async_callback(journal.close)
            engine = cls(settings, gate, journal, clock, outbox, clocks)
            await stack.enter_async_context(listening(settings.journal_path, engine.order))
            yield engine

    async def known(self, order: SendOrder, reading: Pipeline, *, looks: bool = False) -> CampaignRecord | None:
        """The campaign this order already is, if any; that it adds to, where that has all of its lists.

        `looks`: nothing that the order says now is kept of it.

        Raises PlanError when its name belongs to another order, SendRefused when the plan is not the one signed off.
        """
        into = None if order.add_to is None else await addition(self.journal, order.add_to, self.gate)
        wording = wording_of(order, self.gate) if into is None else into.wording
        listing = await asyncio.to_thread(reading.listing)
        columns_of(wording, listing)  # a name that is no column is found before anything is asked of the gateway
        key = key_of(self.account_key, wording, listing, into=into)
        if into is not None and len(into.known_among(listing)) == len(listing.list_files):
            return into.record if looks else await self.decide(into.record, order.wish)
        signed = signed_off(self.gate, order, listing)
        parts = parts_of(self.account_key, wording, listing, signed)
        refuse_unsigned(
            order,
            plan_hash(key, signed),
            lambda hashed: differences(self.settings.journal_path, hashed, parts, listing),
        )
        known = await self._found(order, key, again=order.again or into is not None)
        return known if known is None or looks else await self.decide(known, order.wish)

    async def decide(self, record: CampaignRecord, wish: Wish) -> CampaignRecord:
        """The campaign under what the operator says of it now. Raises PlanError, SendRefused; then it is as it was."""
        if not wish.says_anything:
            return record
        conduct = decided(wish, self.settings, record.conduct)
        if not wish.says_only_a_pace and await self.journal.planned_kinds(record.campaign_id):
            refuse_closed(conduct, self._wall())
        elif conduct.scheduled_for != record.conduct.scheduled_for:
            await self._refuse_all_gone(record)
        await self.journal.set_conduct(record.campaign_id, conduct)
        again = await self.journal.find_campaign(name=record.name)
        assert again is not None
        return again

    async def _refuse_all_gone(self, record: CampaignRecord) -> None:
        """Raises SendRefused where nothing is left that could be sent at another time than the gateway was told."""
        if await self.journal.open_doubts(self.account_key, campaign_id=record.campaign_id):
            return
        at = record.conduct.scheduled_for
        told = _("to send it at once") if at is None else _("to send it at {moment}").format(moment=date_words(at))
        raise SendRefused(
            _(
                "--gateway-schedule: nothing of {name} is left to hand over; the gateway was told {told}, and that cannot be "
                "changed"
            ).format(name=record.name, told=told)
        )

    async def _found(self, order: SendOrder, key: str, *, again: bool) -> CampaignRecord | None:
        """The campaign of this name or key. Raises PlanError."""
        if order.campaign is not None:
            refuse_name(order.campaign)
            named = await self.journal.find_campaign(name=order.campaign)
            if named is not None and order.again:
                raise PlanError(
                    _(
                        "a campaign named {campaign!r} exists already; sent once more, it needs a name of its own: choose "
                        "another one with --campaign, or leave it away"
                    ).format(campaign=order.campaign)
                )
            if named is not None and named.order_key != key:
                raise PlanError(
                    _(
                        "a campaign named {campaign!r} exists already, with another list, text or account; choose another name "
                        "with --campaign"
                    ).format(campaign=order.campaign)
                )
            if named is not None:
                return named
        return None if again else await self.journal.find_campaign(account=self.account_key, order_key=key)

    async def plan(self, order: SendOrder, reading: Pipeline, live: Live) -> Plan:
        """Store a complete plan that nobody sees yet.

        Raises SendRefused (login, no answer), BalanceTooLow, IntakeError, PlanError; then nothing of it stays.
        """
        into = None if order.add_to is None else await self.journal.find_campaign(name=order.add_to)
        refuse_closed(decided(order.wish, self.settings, None if into is None else into.conduct), self._wall())
        try:
            balance = await self.gate.balance()
        except Refused as error:
            raise SendRefused(
                _("nothing was sent: {error}. Check account, userid and password").format(error=error)
            ) from error
        except GatewayError as error:
            raise SendRefused(_("nothing was sent: the balance cannot be read: {error}").format(error=error)) from error
        plan = await Planner(self.gate, order, reading, live).plan(self.journal, balance, "")
        try:
            refuse_if_too_low(plan, order)
        except BalanceTooLow:
            await self.discard(plan)
            raise
        return plan

    async def publish(self, plan: Plan) -> CampaignRecord:
        """Make the plan a campaign, in one commit."""
        assert plan.campaign_id is not None
        totals = PlanTotals(
            rows=plan.tally.rows, extra=plan.tally.extra, recipients=plan.tally.recipients, estimated=plan.tally.points
        )
        if plan.added_to is not None:
            decided_anew = None if plan.conduct == plan.added_to.conduct else plan.conduct
            await self.journal.merge_campaign(plan.campaign_id, plan.added_to.campaign_id, totals, decided_anew)
        else:
            await self.journal.publish_campaign(plan.campaign_id, totals)
        record = await self.journal.find_campaign(name=plan.name)
        assert record is not None
        self.herald.planned(plan, record.name)
        return record

    async def discard(self, plan: Plan) -> None:
        """Forget a plan that was not published."""
        if plan.campaign_id is not None:
            await finish(self.journal.discard_campaign(plan.campaign_id))

    async def run(
        self,
        record: CampaignRecord,
        *,
        live: Live,
        stop: Stop,
        allow_partial: bool = False,
        limit: int | None = None,
        reserved: Decimal = ZERO,
        mends: Collection[PauseReason] = (),
        whom: Callable[[], IO[bytes] | None] | None = None,
    ) -> CampaignSummary:
        """Send what is planned of a campaign, until nothing is left, a reason to pause, or a stop. Raises JournalError.

        Outside its hours it waits. `reserved`: points that are for other campaigns. `mends`: reasons to pause that the caller
        waits out, which is said to whoever is told. `whom`: as `remember` takes it.
        """
        refuse_paused(record)
        self._refuse_foreign(record)
        terms = RunTerms(allow_partial=allow_partial, limit=limit, reserved=reserved)
        end = await CampaignRun(self._outfit, self._polling, record, live=live, stop=stop).run(terms)
        if end is not None:
            state = CampaignState.RUNNING if end.reason is None else CampaignState.PAUSED
            reasons = () if end.reason is None else (end.reason,)
            await finish(self.journal.set_campaign_state(record.campaign_id, state, reasons, end.detail))
        summary = await self._outfit.summary(record.name)
        self.herald.over(summary, mends=mends)
        if summary.state is CampaignState.FINISHED:
            await finish(remember(self.journal, record.campaign_id, whom=whom))
        return summary

    async def settle(self, record: CampaignRecord, *, live: Live, stop: Stop) -> CampaignSummary:
        """Settle what is in doubt in a campaign and send nothing. Waits for patience and a quiet balance.

        Raises SendRefused where the balance cannot be read, JournalError.
        """
        self._refuse_foreign(record)
        if await self.journal.open_doubts(self.account_key, campaign_id=record.campaign_id):
            settler = self._outfit.settler(live)
            balance = await self._outfit.opening_reading(record.campaign_id, settler, stop)
            if isinstance(balance, PoolEnd) and balance.reason is not PauseReason.STOPPED:
                raise SendRefused(_("nothing was settled: {problem}").format(problem=balance.detail))
            async with self._polling.beside(Barred(), live, stop):
                await settler.until_settled(record.campaign_id, give_up=stop.gently)
        return await self._outfit.summary(record.name)

    def _refuse_foreign(self, record: CampaignRecord) -> None:
        if record.account != self.account_key:
            raise PlanError(
                _("campaign {name!r} belongs to another account; choose it with --account").format(name=record.name)
            )

    async def consume(self, source: Source, order: ConsumeOrder, *, live: Live, stop: Stop) -> Consumed:
        """Send what a queue brings, until a stop or a reason to pause; once: until it is empty.

        Raises QueueError when the broker cannot be reached at the beginning, JournalError.
        """
        barred = self._outfit.barred = Barred()  # from here on opt-outs reach it; those of before are read now
        barred.add((await self.journal.opted_out(self.account_key)).mobiles)

        def ended(doubt: OpenDoubt, taken: bool) -> None:
            bounds.end_doubt(doubt.batch_id, taken=taken)
            consumer.note_ended(doubt)

        settler = self._outfit.settler(live, also=ended)
        balance = await self._outfit.opening_reading(None, settler, stop)
        self.herald.consuming(order.name)
        if isinstance(balance, PoolEnd):
            self.herald.consumed(balance, live)
            return Consumed(end=balance, counted=Counted(), campaigns=[])
        timetable, keep = (
            Timetable(hours_of(order.conduct), self._wall),
            keep_points(order.conduct, self.settings),
        )
        if keep and balance.remaining is None:
            end = PoolEnd(reason=PauseReason.FLOOR, detail=NO_BALANCE)
            self.herald.consumed(end, live)
            return Consumed(end=end, counted=Counted(), campaigns=[])
        bounds = await self._outfit.queue_bounds(timetable, keep, balance)
        live.timetable, live.collector = timetable, Collector(opening=balance.remaining)
        consumer = self._outfit.consumer(source, order, barred, balance, live, timetable)

        async def make_pool() -> Pool:
            also = consumer.note_settled
            return await self._outfit.pool(0, False, live, barred, settler, supply=consumer, also=also, bounds=bounds)

        try:
            await source.open()
            with self._outfit.steering.consuming(consumer):
                async with self._polling.beside(barred, live, stop):
                    # All sizes are natural here, so none waits because it looks like a doubt: sizes=1.
                    async with self._outfit.settled_beside(settler, lambda: consumer.pool, None, sizes=1):
                        end = await consumer.run(make_pool, settler, stop)
                    await settler.look()
                    await self._outfit.closing_reading(None, live, settler, stop)
        finally:
            await finish(source.close())
        self.herald.consumed(end, live)
        names = sorted(consumer.campaigns.values())
        campaigns = [await self._outfit.summary(name) for name in names]
        return Consumed(end=end, counted=consumer.counted, campaigns=campaigns)

    async def order(self, order: Order) -> Word:
        """Carry out an order that came through the socket or from a program. Raises PlanError, JournalError."""
        if order.verb == ASSUME:
            told = self._outfit.note_ended if order.words[0] == self.account_key else lambda doubt, charge: None
            return await assumed(self.journal, order, at=self.clock(), on_ended=told)
        if order.verb not in (OPT_OUT, OPT_IN):
            return await self._outfit.steering.on_order(order)
        barred = self._outfit.barred if order.words[0] in (self.account_key, EVERY_ACCOUNT) else None
        return await carry_out(self.journal, order, Barred() if barred is None else barred, at=self.clock())

    @asynccontextmanager
    async def tracking_beside(self, live: Live, stop: Stop) -> AsyncIterator[None]:
        """Reports and replies are read beside the block, in which nothing is sent."""
        async with self._polling.beside(Barred(), live, stop):
            yield

    async def track(self, stop: Stop, *, once: bool = False, replay: bool = False) -> TrackingTally:
        """Poll until `stop`; `once`: until the queues are empty. `replay` reads kept answers again first, and alone nothing else.

        Raises SettingsError where another system reads this account's reports; JournalError.
        """
        asks = once or not replay
        if asks and not self.settings.tracking.enabled:
            raise SettingsError(
                _(
                    "tracking.enabled is false: another system reads the reports of this account, and they can be read only "
                    "once"
                )
            )
        tracker = self._polling.tracker(Barred(), once=once)
        if replay:
            await tracker.replay()
        if asks:
            running = asyncio.create_task(tracker.run(stop.gently, until_empty=once), name="tracking")
            await ended_unless(stop.now, running)
        if not stop.now.is_set():
            await self._outfit.settler(Live()).look()  # reports may name batches whose answer was lost
        return tracker.tally


def _own_account(settings: Settings, account_key: str) -> OwnerLock:
    """The account's lock. Raises JournalBusy, which names this journal where its owner is the one who has the account."""
    try:
        return account_lock(settings.state_dir, account_key)
    except JournalBusy:
        if is_held(settings.journal_path):
            journal_lock(settings.journal_path).release()  # raises the truer sentence
        raise
