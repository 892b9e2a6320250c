"""Opens, runs, drains, closes. The only module that knows every adapter.

with Engine.open(settings): plan -> publish -> run          preview: plan without a journal
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from engine.clock import SteadyClock, boottime, wall_time
from engine.dispatch.finish import finish
from engine.dispatch.lane import Lane, Limits
from engine.dispatch.pacing import GUARD_S, numbers_that_fit
from engine.dispatch.pool import Pool, PoolEnd, Settled, Supply, Terms
from engine.dispatch.timetable import Timetable
from engine.errors import (
    BalanceTooLow,
    EngineError,
    GatewayError,
    JournalBusy,
    PlanError,
    Refused,
    SendRefused,
    SettingsError,
)
from engine.gate import Gate
from engine.gateway.http import HttpGateway, RawReply
from engine.gateway.polls import Polled
from engine.gateway.wire import PreparedMessage, read_replies, read_reports
from engine.journal.lock import account_lock
from engine.journal.opening import open_journal
from engine.journal.port import (
    EVERY_ACCOUNT,
    CampaignRecord,
    Conduct,
    Kind,
    OpenDoubt,
    PlanTotals,
    PollKind,
    Tally,
)
from engine.journal.store import SqlJournal
from engine.language import N_, _
from engine.ledger.collector import Collector
from engine.ledger.evidence import Policy
from engine.ledger.floor import Floor
from engine.ledger.points import ZERO
from engine.ledger.release import Release, Spending, release_of, telling_sizes, whole_release
from engine.ledger.summary import CampaignSummary
from engine.live import Live, Stop
from engine.model import Balance, BatchState, CampaignState, Message, Outcome, PauseReason
from engine.notify import Outbox
from engine.orders.conduct import Wish, decided, hours_of, keep_points, refuse_closed
from engine.orders.pipeline import Pipeline
from engine.orders.plans import (
    Plan,
    Planner,
    SendOrder,
    addition,
    batch_size,
    columns_of,
    frame_of,
    key_of,
    price_ratio,
    refuse_name,
    refuse_unsigned,
    signed_off,
    wording_of,
)
from engine.orders.radar import remember
from engine.orders.signing import differences, parts_of
from engine.planning.batching import batch_sizes, distinct_allowed
from engine.planning.order import plan_hash
from engine.queues import Source
from engine.runs.beside import ASSUME, OPT_IN, OPT_OUT, assumed, carry_out
from engine.runs.bounds import Bounds
from engine.runs.canary import Spikes, awaited, chosen
from engine.runs.consuming import Consumed, ConsumeOrder, Consumer, Counted, Judge
from engine.runs.control import Order, Word, listening
from engine.runs.looking import overdue_before, refuse_folder, summary_of
from engine.runs.settling import Settler
from engine.runs.steering import Steering
from engine.runs.telling import Herald, channels_of
from engine.settings import Settings
from engine.telemetry import logger
from engine.tracking import Barred, Poller, Seam, Tracker, Waits
from engine.tracking import Tally as TrackingTally

Result = TypeVar("Result")
PREPARED_MOST = 256  # texts ready to be sent
_NO_BALANCE = N_("the gateway does not tell the balance, so no points can be kept")
FRUITLESS_MOST = 3  # rounds of sending again what was not taken, in which nothing was accepted
CATCH_UP_S = 1.0
SMALL_POLL = 200  # reports asked for at once while doubts are open
LONGEST_WAIT_S = 600.0  # between two polls that failed


class Engine:
    """The journal and one account's gateway, both owned, ready to plan and to run."""

    def __init__(
        self,
        settings: Settings,
        gate: Gate,
        journal: SqlJournal,
        clock: SteadyClock,
        outbox: Outbox,
        wall: Callable[[], datetime] = wall_time,
    ) -> None:
        self.settings, self.gate, self.journal, self.clock = settings, gate, journal, clock
        self._wall = wall  # by which people live: it may jump
        self.herald = Herald(
            outbox, account=gate.account.name, low_balance=settings.notify.low_balance_points, clock=clock
        )
        self.account_key = gate.account.account_key
        self._steering = Steering(journal)
        self._barred: Barred | None = None  # of the campaign that is being sent
        self._lane: Lane | None = None  # made when the first campaign is sent, and shared by all
        self._spikes: Spikes | None = None  # of the campaign that is being sent
        self._reported = asyncio.Event()  # reports came

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: Settings, account_name: str, *, wall: Callable[[], datetime] = wall_time
    ) -> AsyncIterator[Engine]:
        """Own the journal and the account. Raises SettingsError, JournalBusy, SchemaMismatch, JournalError."""
        async with AsyncExitStack() as stack:
            # The first in is the last out: people are told while nothing is held any more.
            outbox = await stack.enter_async_context(Outbox.open(channels_of(settings.notify)))
            gate = await stack.enter_async_context(Gate.open(settings, account_name))
            refuse_folder(settings.journal_path)
            lock = account_lock(settings.state_dir, gate.account.account_key)
            stack.callback(lock.release)
            clock = SteadyClock()
            journal = await open_journal(settings.journal_path, clock=clock)
            stack.push_async_callback(journal.close)
            engine = cls(settings, gate, journal, clock, outbox, wall)
            await stack.enter_async_context(listening(settings.journal_path, engine._on_order))
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
            return into.record
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
        if await self.journal.planned_kinds(record.campaign_id):
            refuse_closed(conduct, self._wall())
        await self.journal.set_conduct(record.campaign_id, conduct)
        if conduct.canary != record.conduct.canary:
            await self.journal.set_canary(record.campaign_id, None, passed=False)
        again = await self.journal.find_campaign(name=record.name)
        assert again is not None
        return again

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
            self._refuse_if_too_low(plan, order)
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
            await self.journal.merge_campaign(plan.campaign_id, plan.added_to.campaign_id, totals)
            if plan.conduct != plan.added_to.conduct:
                await self.journal.set_conduct(plan.added_to.campaign_id, plan.conduct)
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
    ) -> CampaignSummary:
        """Send what is planned of a campaign, until nothing is left, a reason to pause, or a stop. Raises JournalError.

        Outside its hours it waits. `reserved`: points that are for other campaigns. `mends`: reasons to pause that the caller
        waits out, which is said to whoever is told.
        """
        _refuse_paused(record)
        terms = _Terms(allow_partial=allow_partial, limit=limit, reserved=reserved)
        end = await self._run(record, live, stop, terms)
        if end is not None:
            state = CampaignState.RUNNING if end.reason is None else CampaignState.PAUSED
            reasons = () if end.reason is None else (end.reason,)
            await finish(self.journal.set_campaign_state(record.campaign_id, state, reasons, end.detail))
        summary = await self._summary(record)
        self.herald.over(summary, mends=mends)
        if summary.state is CampaignState.FINISHED:
            await finish(remember(self.journal, record.campaign_id))
        return summary

    async def _summary(self, record: CampaignRecord) -> CampaignSummary:
        before = overdue_before(self.settings)
        return await summary_of(self.journal, record.name, is_running=False, overdue_before=before)

    async def _run(self, record: CampaignRecord, live: Live, stop: Stop, terms: _Terms) -> PoolEnd | None:
        """Why the run ended; None when the campaign is cancelled."""
        self._refuse_foreign(record)
        with self._steering.owning(record):  # from here on orders are for us
            end = await self._owned_run(record, live, stop, terms)
            if end is not None and self._steering.cancelled.is_set():  # the order came before anything could be driven
                await finish(self.journal.cancel_campaign(record.campaign_id))
                return None
            return end

    async def _owned_run(self, record: CampaignRecord, live: Live, stop: Stop, terms: _Terms) -> PoolEnd | None:
        """Run while its hours are open, wait while they are not."""
        again = await self.journal.find_campaign(name=record.name)  # somebody may have paused it a moment ago
        assert again is not None
        _refuse_paused(again)
        await self._accept_canary(again)
        timetable = Timetable(hours_of(again.conduct), self._wall)
        while True:
            again = await self.journal.find_campaign(name=record.name)
            assert again is not None
            if again.stored_state is CampaignState.CANCELLED:
                return None
            left = await self._left_after_expiry(again, timetable, live)
            if left and not timetable.is_open:
                end = await self._until_open(again, timetable, live, stop)
                if self._steering.cancelled.is_set():
                    return PoolEnd()  # for who owns it to cancel
                if end is not None:
                    return end
                continue
            end = await self._run_while_open(again, left, timetable, live, stop, terms)
            if end is None or end.reason is not PauseReason.WINDOW:
                return end
            terms = terms.after(left, await self.journal.planned_kinds(record.campaign_id))
            if terms.limit == 0:
                return PoolEnd(reason=PauseReason.LIMIT)

    async def _left_after_expiry(self, record: CampaignRecord, timetable: Timetable, live: Live) -> list[Kind]:
        """What is planned. Nothing any more when the campaign's time is over."""
        left = await self.journal.planned_kinds(record.campaign_id)
        if not left or not timetable.has_expired:
            return left
        expired = await finish(self.journal.expire_campaign(record.campaign_id))
        live.notice(
            _("The time of {name} is over: {expired:,} recipients expired and will not be sent to.").format(
                name=record.name, expired=expired
            )
        )
        return []

    async def _until_open(self, record: CampaignRecord, timetable: Timetable, live: Live, stop: Stop) -> PoolEnd | None:
        """Wait for its hours, and track and settle meanwhile. Not None: the wait was stopped."""
        live.notice(
            _("{name} {words}. Ctrl-C ends the wait; `run` goes on later.").format(
                name=record.name, words=timetable.words()
            )
        )
        tell, told = (lambda words: setattr(live, "phase", words)), (PauseReason.WINDOW,)
        await self.journal.set_campaign_state(record.campaign_id, CampaignState.PAUSED, told, timetable.words())
        self.herald.over(await self._summary(record), mends=told)
        async with self._tracked(Barred(), live, stop), self._settled_beside(record, self._settler(live), sizes=0):
            end = await self._steering.until_open(record, timetable, stop=stop.gently, tell=tell)
        if end is None and not self._steering.cancelled.is_set():
            self.herald.resumed(record.name, told)
        return end

    async def _accept_canary(self, record: CampaignRecord) -> None:
        """Who runs a campaign whose canary did not come through has looked at it."""
        if PauseReason.CANARY in record.reasons and record.canary_seq is not None:
            await self.journal.set_canary(record.campaign_id, record.canary_seq, passed=True)

    async def _run_while_open(
        self,
        record: CampaignRecord,
        left: list[Kind],
        timetable: Timetable,
        live: Live,
        stop: Stop,
        terms: _Terms,
    ) -> PoolEnd | None:
        if not left and not await self.journal.open_doubts(self.account_key, campaign_id=record.campaign_id):
            return PoolEnd()
        settler = self._settler(live)
        balance = await self._opening_reading(record, settler, stop)
        if isinstance(balance, PoolEnd):
            return balance
        if too_large := self._too_large(left):
            return PoolEnd(reason=PauseReason.CONFIGURATION, detail=too_large)
        spending = await self._spending(record.conduct, terms)
        if spending.keep and balance.remaining is None:
            return PoolEnd(reason=PauseReason.FLOOR, detail=_NO_BALANCE)
        release = whole_release(left, balance, self.gate.profile, limit=terms.limit, spending=spending)
        if release is None:
            in_order = await self.journal.planned_sizes(record.campaign_id)
            release = release_of(
                in_order,
                balance,
                self.gate.profile,
                allow_partial=terms.allow_partial,
                limit=terms.limit,
                spending=spending,
            )
        if release.nothing and left:
            return PoolEnd(reason=release.reason, detail=release.detail)
        canary = await self._canary(record, release)
        last_seq = release.last_seq if canary is None else min(canary, release.last_seq or canary)
        await self.journal.set_sendable(record.campaign_id, last_seq)
        live.timetable, live.known_ratio = timetable, spending.ratio
        live.collector = Collector(opening=balance.remaining)
        live.recipients, live.rest = release.recipients, release.detail
        self.herald.started(record.name, recipients=release.recipients, balance=balance.remaining)
        barred = self._barred = Barred((await self.journal.opted_out(self.account_key, since=record.screened)).mobiles)
        sizes = telling_sizes(left)
        single = await self.journal.message_count(record.campaign_id) == 1

        floor = None
        if spending.keep and balance.remaining is not None:
            floor = Floor(spending.keep, balance=balance.remaining, ratio=spending.ratio)
        bounds = Bounds(timetable, floor, price=self.gate.profile.price_per_segment)
        self._spikes = spikes = Spikes(self.settings.canary.undelivered_spike / 100, self._steering.halt)

        async def make_pool() -> Pool:
            def told(settled: Settled) -> None:
                spikes.sent(settled.outcome.task_id)
                self.herald.note_settled(settled)

            return await self._pool(record.campaign_id, single, live, barred, settler, also=told, bounds=bounds)

        async with self._tracked(barred, live, stop):
            end = await self._send_and_settle(record, make_pool, settler, stop, sizes=sizes, last_seq=last_seq)
            if canary is not None and canary == last_seq and end is not None and end.reason is None:
                end = await self._judge_canary(record, canary, live, stop)
                if end is not None and end.reason is None:
                    await self.journal.set_sendable(record.campaign_id, release.last_seq)
                    end = await self._send_and_settle(
                        record, make_pool, settler, stop, sizes=sizes, last_seq=release.last_seq
                    )
            await self._closing_reading(record, live, settler, stop)
        if end is not None and end.reason is None and release.last_seq is not None:
            return PoolEnd(reason=release.reason, detail=release.detail)
        return end

    async def _canary(self, record: CampaignRecord, release: Release) -> int | None:
        """The last batch of those that go first; None: nobody goes first (any more)."""
        if not record.conduct.canary or record.canary_passed or not release.recipients:
            return None
        if record.canary_seq is not None:
            return record.canary_seq
        seq = chosen(await self.journal.planned_sizes(record.campaign_id), record.conduct.canary).last_seq
        await self.journal.set_canary(record.campaign_id, seq, passed=False)
        return seq

    async def _judge_canary(self, record: CampaignRecord, last_seq: int, live: Live, stop: Stop) -> PoolEnd | None:
        """Wait for its reports. No reason: the rest may go; None: the campaign is cancelled."""
        steering = self._steering
        while True:
            end = await awaited(
                self.journal,
                record,
                last_seq,
                clock=self.clock,
                news=self._reported,
                give_up=lambda: stop.gently.is_set() or steering.is_held,
                tell=lambda words: setattr(live, "phase", words),
            )
            if end is not None:
                return end
            if stop.gently.is_set():
                return PoolEnd(reason=PauseReason.STOPPED)
            if not await steering.while_held(
                record, stop=stop.gently, tell=lambda words: setattr(live, "phase", words)
            ):
                return None

    async def _spending(self, conduct: Conduct, terms: _Terms) -> Spending:
        """What of the points may go, and what they buy lately."""
        ratio = await price_ratio(self.journal, self.account_key)
        keep = keep_points(conduct, self.settings)
        return Spending(keep=keep, reserved=terms.reserved, ratio=Decimal(1) if ratio is None else ratio)

    async def _opening_reading(self, record: CampaignRecord | None, settler: Settler, stop: Stop) -> Balance | PoolEnd:
        """The balance a run begins with, or why it cannot begin."""
        try:
            balance = await unless_set(stop.gently, settler.read(None if record is None else record.campaign_id))
        except GatewayError as error:
            return _not_readable(error)
        return PoolEnd(reason=PauseReason.STOPPED) if balance is None else balance

    async def _send_and_settle(
        self,
        record: CampaignRecord,
        make_pool: Callable[[], Awaitable[Pool]],
        settler: Settler,
        stop: Stop,
        *,
        sizes: int,
        last_seq: int | None,
    ) -> PoolEnd | None:
        """Send what is planned, settle what came to doubt, and send again what was not taken, until nothing is left."""
        fruitless, accepted = 0, -1

        async def may_send() -> bool:
            planned = await self.journal.planned_kinds(record.campaign_id, up_to=last_seq)
            avoided = settler.avoided_sizes
            return any(kind.size not in avoided for kind in planned)

        async with _either_set(stop.gently, self._steering.cancelled) as give_up:
            while True:
                async with self._settled_beside(record, settler, sizes):
                    end = await self._steering.drive(
                        record, make_pool, stop=stop.gently, stop_now=stop.now, tell=settler.tell
                    )
                if end is None or end.reason is not None:
                    await self._settle_in_passing(record, settler, end)
                    return end
                await settler.until_settled(record.campaign_id, give_up=give_up, may_send=may_send)
                if self._steering.cancelled.is_set():
                    continue  # driven once more, it cancels
                if stop.gently.is_set():
                    return PoolEnd(reason=PauseReason.STOPPED)
                if not await may_send():
                    return end
                counted = await self.journal.counts(record.campaign_id)
                now_accepted = counted.states.get(BatchState.ACCEPTED, Tally()).recipients
                fruitless = fruitless + 1 if now_accepted == accepted else 0
                accepted = now_accepted
                if fruitless >= FRUITLESS_MOST:
                    return PoolEnd(
                        reason=PauseReason.DOUBTS, detail=_("answers keep getting lost, whatever is sent again")
                    )

    @asynccontextmanager
    async def _settled_beside(self, record: CampaignRecord, settler: Settler, sizes: int) -> AsyncIterator[None]:
        """Settle beside the block. Trouble with it never stops the block: what is in doubt stays so."""
        over = asyncio.Event()
        work = settler.beside(lambda: self._steering.pool, record.campaign_id, sizes=sizes, over=over)
        running = asyncio.create_task(_beside_sending(work, "doubts are not settled any more"), name="settling")
        try:
            yield
        finally:
            over.set()
            await asyncio.wait((running,))

    async def _settle_in_passing(self, record: CampaignRecord, settler: Settler, end: PoolEnd | None) -> None:
        """The run ends for another reason: settle what can be settled at once."""
        if not await self.journal.open_doubts(self.account_key, campaign_id=record.campaign_id):
            return
        if end is not None and end.reason in (PauseReason.BALANCE, PauseReason.DOUBTS, PauseReason.CONTENT):
            await settler.quiet(record.campaign_id)
        await settler.look()

    async def settle(self, record: CampaignRecord, *, live: Live, stop: Stop) -> CampaignSummary:
        """Settle what is in doubt in a campaign and send nothing. Waits for patience and a quiet balance. Raises JournalError."""
        self._refuse_foreign(record)
        if await self.journal.open_doubts(self.account_key, campaign_id=record.campaign_id):
            settler = self._settler(live)
            balance = await self._opening_reading(record, settler, stop)
            if isinstance(balance, PoolEnd) and balance.reason is not PauseReason.STOPPED:
                raise SendRefused(_("nothing was settled: {problem}").format(problem=balance.detail))
            async with self._tracked(Barred(), live, stop):
                await settler.until_settled(record.campaign_id, give_up=stop.gently)
        return await self._summary(record)

    def _settler(self, live: Live, *, also: Callable[[OpenDoubt], None] = lambda doubt: None) -> Settler:
        account, profile, settings = self.gate.account, self.gate.profile, self.settings.settlement

        def note(doubt: OpenDoubt, charge: Decimal | None) -> None:
            live.collector.note_settled(doubt.size, taken=charge is not None, charge=charge)
            self.herald.note_ended_doubt(doubt, charge)
            also(doubt)

        def tell(phase: str) -> None:
            live.phase = phase
            self.herald.note_phase(phase, live)

        def announce(words: str) -> None:
            live.notice(words)
            self.herald.doubtful(live.collector.progress().in_doubt)

        return Settler(
            self.account_key,
            self.journal,
            read_balance=self.gate.balance,
            clock=self.clock,
            policy=Policy(
                min_age_s=settings.min_age_s,
                balance_settle_s=settings.balance_settle_s,
                exclusive=account.exclusive,
                remainpoint_meaningful=profile.remainpoint_meaningful,
                short_counts=profile.short_counts,
            ),
            price=profile.price_per_segment,
            tell=tell,
            announce=announce,
            on_ended=note,
        )

    def _refuse_foreign(self, record: CampaignRecord) -> None:
        if record.account != self.account_key:
            raise PlanError(
                _("campaign {name!r} belongs to another account; choose it with --account").format(name=record.name)
            )

    async def consume(self, source: Source, order: ConsumeOrder, *, live: Live, stop: Stop) -> Consumed:
        """Send what a queue brings, until a stop or a reason to pause; once: until it is empty.

        Raises QueueError when the broker cannot be reached at the beginning, JournalError.
        """
        barred = self._barred = Barred()  # from here on opt-outs reach it; those of before are read now
        barred.add((await self.journal.opted_out(self.account_key)).mobiles)
        settler = self._settler(live, also=lambda doubt: consumer.note_ended(doubt))
        balance = await self._opening_reading(None, settler, stop)
        self.herald.consuming(order.name)
        if isinstance(balance, PoolEnd):
            self.herald.consumed(balance, live)
            return Consumed(end=balance, counted=Counted(), campaigns=[])
        timetable, keep = Timetable(hours_of(order.conduct), self._wall), keep_points(order.conduct, self.settings)
        if keep and balance.remaining is None:
            end = PoolEnd(reason=PauseReason.FLOOR, detail=_NO_BALANCE)
            self.herald.consumed(end, live)
            return Consumed(end=end, counted=Counted(), campaigns=[])
        bounds = await self._bounds(timetable, keep, balance)
        live.timetable, live.collector = timetable, Collector(opening=balance.remaining)
        consumer = self._consumer(source, order, barred, balance, live, timetable)

        async def make_pool() -> Pool:
            also = consumer.note_settled
            return await self._pool(0, False, live, barred, settler, supply=consumer, also=also, bounds=bounds)

        try:
            await source.open()
            with self._steering.consuming(consumer):
                async with self._tracked(barred, live, stop):
                    end = await self._consume(consumer, make_pool, settler, stop)
                    await self._closing_reading(None, live, settler, stop)
        finally:
            await finish(source.close())
        before = overdue_before(self.settings)
        names = sorted(consumer.campaigns.values())
        self.herald.consumed(end, live)
        return Consumed(
            end=end,
            counted=consumer.counted,
            campaigns=[await summary_of(self.journal, name, is_running=False, overdue_before=before) for name in names],
        )

    async def _bounds(self, timetable: Timetable, keep: Decimal, balance: Balance) -> Bounds:
        """What a queue must stay within at each submission."""
        floor = None
        if keep and balance.remaining is not None:
            ratio = await price_ratio(self.journal, self.account_key)
            floor = Floor(keep, balance=balance.remaining, ratio=ratio)
        return Bounds(timetable, floor, price=self.gate.profile.price_per_segment)

    def _consumer(
        self,
        source: Source,
        order: ConsumeOrder,
        barred: Barred,
        balance: Balance,
        live: Live,
        timetable: Timetable,
    ) -> Consumer:
        gate, most = self.gate, batch_size(self.gate)
        distinct = distinct_allowed(
            self.settings.batch.distinct_sizes,
            prepaid=balance.prepaid,
            exclusive=gate.account.exclusive,
            max_recipients=most,
        )
        frame = frame_of(gate, signature=order.signature, opt_out=order.opt_out)
        return Consumer(
            source,
            self.journal,
            Judge(frame, barred, name=order.name),
            order,
            live,
            account=self.account_key,
            profile=gate.profile.name,
            price=gate.profile.price_per_segment,
            sizes=batch_sizes(most, distinct=distinct),
            clock=self.clock,
            timetable=timetable,
        )

    async def _consume(
        self, consumer: Consumer, make_pool: Callable[[], Awaitable[Pool]], settler: Settler, stop: Stop
    ) -> PoolEnd:
        over = asyncio.Event()
        # All sizes are natural here, so none waits because it looks like a doubt: sizes=1.
        work = settler.beside(lambda: consumer.pool, None, sizes=1, over=over)
        running = asyncio.create_task(_beside_sending(work, "doubts are not settled any more"), name="settling")
        try:
            end = await consumer.run(make_pool, settler, stop)
        finally:
            over.set()
            await asyncio.wait((running,))
        await settler.look()
        return end

    async def order(self, order: Order) -> Word:
        """Carry out an order as if it came through the socket. Raises PlanError, JournalError."""
        return await self._on_order(order)

    async def _on_order(self, order: Order) -> Word:
        if order.verb == ASSUME:
            return await assumed(self.journal, order, at=self.clock())
        if order.verb not in (OPT_OUT, OPT_IN):
            return await self._steering.on_order(order)
        barred = self._barred if order.words[0] in (self.account_key, EVERY_ACCOUNT) else None
        return await carry_out(self.journal, order, Barred() if barred is None else barred, at=self.clock())

    @asynccontextmanager
    async def _tracked(self, barred: Barred, live: Live, stop: Stop) -> AsyncIterator[None]:
        """Poll beside the block. Trouble with it never stops the block.

        Before the block begins the queues are read to their end, as far as that goes in a moment: what waits there is of earlier
        sends, and who opted out meanwhile is not sent to. A long queue is read on beside sending.
        """
        if not self.settings.tracking.enabled:
            yield
            return
        over = asyncio.Event()
        tracker = self._tracker(barred.add, doubts_open=lambda: live.collector.progress().in_doubt > 0)
        running = asyncio.create_task(
            _beside_sending(tracker.run(over), "reports and replies are no longer read"), name="tracking"
        )
        try:
            live.phase = _("reading reports and replies")
            with suppress(TimeoutError):
                async with asyncio.timeout(CATCH_UP_S):
                    await unless_set(stop.gently, tracker.caught_up())
            yield
        finally:
            over.set()
            await ended_unless(stop.now, running)

    @asynccontextmanager
    async def tracking_beside(self, live: Live, stop: Stop) -> AsyncIterator[None]:
        """Reports and replies are read beside the block, in which nothing is sent."""
        async with self._tracked(Barred(), live, stop):
            yield

    def _tracker(
        self,
        on_opt_outs: Callable[[Iterable[str]], None],
        *,
        once: bool = False,
        doubts_open: Callable[[], bool] = lambda: False,
    ) -> Tracker:
        """The account's two pollers. While doubts are open a lost poll would cost evidence: then they ask for less."""
        http, profile, journal = self.gate.http, self.gate.profile, self.journal
        most = profile.status_num

        async def replies(_: int) -> RawReply:
            return await http.replies()

        loop = asyncio.get_running_loop()

        def read(body: bytes, charset: str | None) -> Polled:
            polled = read_reports(body, charset, profile)
            loop.call_soon_threadsafe(self._note_reports, polled)  # answers are read in a thread
            return polled

        seam = Seam(
            account=self.account_key,
            ask=http.reports,
            read=read,
            journal=journal,
            most=lambda: min(most, SMALL_POLL) if doubts_open() else most,
            clock=self.clock,
            on_opt_outs=on_opt_outs,
            opt_out_words=self.settings.tracking.opt_out_words,
            opts_out_everywhere=self.settings.tracking.opt_out_scope == "all",
            on_read=self.herald.note_read,
        )
        other = replace(
            seam, ask=replies, read=lambda body, charset: read_replies(body, charset, profile), most=lambda: None
        )
        waits = self.settings.tracking
        return Tracker(
            self.account_key,
            journal,
            [
                Poller(PollKind.REPORT, seam, self._waits(waits.report_interval_s, once=once)),
                Poller(PollKind.REPLY, other, self._waits(waits.reply_interval_s, once=once)),
            ],
        )

    def _note_reports(self, polled: Polled) -> None:
        if self._spikes is not None:
            self._spikes.reported(polled.reports)
        if polled.reports:
            self._reported.set()

    def _waits(self, interval_s: float, *, once: bool) -> Waits:
        retry = self.gate.retry
        return Waits(
            interval_s=interval_s,
            failure_s=retry.wait_s if once else interval_s,
            failure_max_s=retry.wait_max_s if once else max(interval_s, LONGEST_WAIT_S),
            failures_most=retry.attempts,
        )

    async def track(self, stop: Stop, *, once: bool = False, replay: bool = False) -> TrackingTally:
        """Poll until `stop`; `once`: until the queues are empty. `replay` reads kept answers again first, and alone nothing else.

        Raises SettingsError where another system reads this account's reports; JournalError.
        """
        if not self.settings.tracking.enabled:
            raise SettingsError(
                _(
                    "tracking.enabled is false: another system reads the reports of this account, and they can be read only "
                    "once"
                )
            )
        tracker = self._tracker(_nobody_is_sending, once=once)
        if replay:
            await tracker.replay()
        if once or not replay:
            running = asyncio.create_task(tracker.run(stop.gently, until_empty=once), name="tracking")
            await ended_unless(stop.now, running)
        if not stop.now.is_set():
            await self._settler(Live()).look()  # reports may name batches whose answer was lost
        return tracker.tally

    async def _pool(
        self,
        campaign_id: int,
        single_text: bool,
        live: Live,
        barred: Barred,
        settler: Settler,
        *,
        supply: Supply | None = None,
        also: Callable[[Settled], None] = lambda settled: None,
        bounds: Bounds | None = None,
    ) -> Pool:
        profile, settings = self.gate.profile, self.settings
        lane = await self._open_lane()
        lane.begin()
        live.held_back_by, self._steering.standing = lane.words, live.standing

        def note(settled: Settled) -> None:
            outcome, decision = settled.outcome, settled.decision
            live.collector.note(outcome, size=settled.submitted.size, then=decision.then, charge=decision.charge)
            if decision.then in (BatchState.ACCEPTED, BatchState.REFUSED, BatchState.IN_DOUBT):
                live.note_done(settled.submitted.size)
            if decision.then is BatchState.IN_DOUBT:
                settler.note_doubt(settled.submitted.claim.size, may_land_late=outcome.may_land_late)
            self.herald.note_balance(outcome.remaining)
            if outcome.reason:
                live.recent = outcome.reason
            live.note_price(profile.price_per_segment)
            also(settled)

        return Pool(
            Terms(
                campaign_id=campaign_id,
                account=self.account_key,
                single_text=single_text,
                price=profile.price_per_segment,
                retry=self.gate.retry,
                doubts_in_a_row=settings.breaker.doubts,
                refusals_in_a_row=settings.breaker.refusals,
                grace_s=settings.timeouts.grace_s,
            ),
            journal=self.journal,
            send=_Sending(self.gate.http),
            lane=lane,
            wall_clock=self.clock,
            lease_clock=boottime,
            on_settled=note,
            opted_out=barred.among,
            avoided_sizes=lambda: settler.avoided_sizes,
            supply=supply,
            bounds=bounds,
        )

    async def _open_lane(self) -> Lane:
        """The account's lane to the gateway. What an earlier process sent a moment ago still counts."""
        if self._lane is None:
            pace, window_s, now = self.gate.account.pace, self.gate.profile.window_s, self.clock()
            slowest = min((rate for rate in (pace.requests_per_second, pace.numbers_per_second) if rate), default=0.0)
            # Below one a window, the window grows.
            looked_back = timedelta(seconds=max(window_s, 1 / slowest if slowest else 0.0) + GUARD_S)
            recent = await self.journal.starts_since(self.account_key, now - looked_back)
            self._lane = Lane(
                Limits(
                    requests_per_second=pace.requests_per_second,
                    numbers_per_second=pace.numbers_per_second,
                    in_flight=pace.in_flight,
                ),
                window_s=window_s,
                clock=time.monotonic,
                retry=self.gate.retry,
                earlier=[((now - at).total_seconds(), numbers) for at, numbers in recent],
            )
            self._steering.lane = self._lane
        return self._lane

    def _too_large(self, left: Sequence[Kind]) -> str:
        """Why a batch that was planned under another pace can never leave under this one, or nothing."""
        numbers_per_second = (self._lane.limits if self._lane else self.gate.account.pace).numbers_per_second
        fits = numbers_that_fit(numbers_per_second, self.gate.profile.window_s)
        largest = max((kind.size for kind in left), default=0)
        if fits is None or largest <= fits:
            return ""
        return _(
            "batches of {largest} numbers are planned, and the pace lets {fits} through at once; raise "
            "numbers_per_second"
        ).format(largest=largest, fits=fits)

    async def _closing_reading(self, record: CampaignRecord | None, live: Live, settler: Settler, stop: Stop) -> None:
        """Read the balance once more, so that the interval of this run is closed. Without it the run is valid all the same."""
        live.phase = N_("closing")
        try:
            async with asyncio.timeout(self.settings.timeouts.connect_s + self.settings.timeouts.answer_s):
                await unless_set(stop.now, settler.read(None if record is None else record.campaign_id))
        except (GatewayError, TimeoutError) as error:
            logger.warning("the closing balance could not be read", extra={"problem": str(error)})

    def _refuse_if_too_low(self, plan: Plan, order: SendOrder) -> None:
        balance = plan.balance
        if balance is None or balance.prepaid is False or balance.remaining is None:
            return
        if order.allow_partial or order.waits:
            return
        needed = plan.points
        if order.limit is not None and plan.tally.recipients:
            needed = needed * min(order.limit, plan.tally.recipients) / plan.tally.recipients
        reserved = ZERO if order.ignore_reserve else plan.reserved_points
        spending = Spending(keep=plan.keep_points, reserved=reserved)
        too_few = needed - (balance.remaining - spending.keep - spending.reserved)
        if too_few > 0:
            names = (
                _(" ({names}; --ignore-reserve spends them)").format(
                    names=", ".join((name for name, __ in plan.reserved))
                )
                if reserved
                else ""
            )
            raise BalanceTooLow(
                _(
                    "nothing was sent: the campaign needs {needed:,f} points and {remaining:,f} are left{stays}{names} "
                    "({too_few:,f} too few); top up, or send what the balance reaches for with --allow-partial"
                ).format(needed=needed, remaining=balance.remaining, stays=spending.stays, names=names, too_few=too_few)
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terms:
    """What one run is asked for. `limit`: recipients it may send to, None: all."""

    allow_partial: bool
    limit: int | None
    reserved: Decimal

    def after(self, before: Sequence[Kind], now: Sequence[Kind]) -> _Terms:
        """For the rest of the run, when of what was planned before so much is left."""
        gone = sum(kind.size * kind.batches for kind in before) - sum(kind.size * kind.batches for kind in now)
        return self if self.limit is None else replace(self, limit=max(0, self.limit - gone))


async def unless_set(event: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result | None:
    """What `work` returns; None when the event came first: then it was cancelled, and has cleaned up behind itself."""
    doing, waiting = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((doing, waiting), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        if not doing.done():
            doing.cancel()
            await asyncio.wait((doing,))
    return None if doing.cancelled() else doing.result()


async def ended_unless(event: asyncio.Event, running: asyncio.Task[None]) -> None:
    """Wait for a task; cancel it when the event comes first, or when this is cancelled. Raises what the task raised."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        if not running.done():
            running.cancel()
            await asyncio.wait((running,))
    if not running.cancelled():
        running.result()


async def _beside_sending(work: Coroutine[Any, Any, None], without: str) -> None:
    try:
        await work
    except EngineError as error:
        logger.warning("%s; sending goes on", without, extra={"problem": str(error)})
    except Exception as error:  # noqa: BLE001  a mistake there must not end a campaign; it is told, and nothing is lost
        logger.error("%s; sending goes on", without, exc_info=error)


@asynccontextmanager
async def _either_set(*events: asyncio.Event) -> AsyncIterator[asyncio.Event]:
    """An event that is set as soon as one of these is."""
    either = asyncio.Event()

    async def watch(event: asyncio.Event) -> None:
        await event.wait()
        either.set()

    watching = [asyncio.ensure_future(watch(event)) for event in events]
    if any(event.is_set() for event in events):
        either.set()
    try:
        yield either
    finally:
        for each in watching:
            each.cancel()


def _nobody_is_sending(_: Iterable[str]) -> None:
    pass


class _Sending:
    """Binds the texts of one campaign to the gateway. A text is prepared once, as long as it is among the last ones."""

    def __init__(self, http: HttpGateway) -> None:
        self._http = http
        self._prepared: dict[str, PreparedMessage] = {}

    async def __call__(self, message: Message, mobiles: str, size: int, /) -> Outcome:
        prepared = self._prepared.get(message.content)
        if prepared is None:
            if len(self._prepared) >= PREPARED_MOST:
                self._prepared.clear()
            prepared = self._prepared[message.content] = self._http.prepare(message.content)
        return await self._http.send(prepared, mobiles, batch_size=size)


def _not_readable(error: GatewayError) -> PoolEnd:
    reason = PauseReason.CREDENTIALS if isinstance(error, Refused) else PauseReason.UNREACHABLE
    if error.http_status == 407:
        reason = PauseReason.CONFIGURATION  # the proxy's own word
    return PoolEnd(reason=reason, detail=_("the balance cannot be read: {error}").format(error=error))


def _refuse_paused(record: CampaignRecord) -> None:
    if record.stored_state is CampaignState.PAUSED and PauseReason.OPERATOR in record.reasons:
        raise JournalBusy(
            _("{name} is paused by the operator; go on with: xinshi resume {name}").format(name=record.name)
        )
