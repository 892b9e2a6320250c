"""Opens, runs, drains, closes. The only module that knows every adapter.

with Engine.open(settings): plan -> publish -> run          preview: plan without a journal
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar

from engine.beside import ASSUME, OPT_IN, OPT_OUT, assumed, carry_out, overdue_before, refuse_folder, summary_of
from engine.clock import SteadyClock, boottime
from engine.control import Order, Word, listening
from engine.dispatch.finish import finish
from engine.dispatch.pacing import GUARD_S, Pace, numbers_that_fit
from engine.dispatch.pool import Pool, PoolEnd, Settled, Terms
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
from engine.gateway.wire import PreparedMessage, read_replies, read_reports
from engine.journal.lock import account_lock
from engine.journal.opening import open_journal
from engine.journal.port import (
    CampaignRecord,
    OpenDoubt,
    PlanTotals,
    PollKind,
    Tally,
)
from engine.journal.store import SqlJournal
from engine.ledger.collector import Collector
from engine.ledger.evidence import Policy
from engine.ledger.release import release_of
from engine.ledger.summary import CampaignSummary
from engine.live import Live, Stop
from engine.model import Balance, BatchState, CampaignState, Message, Outcome, PauseReason
from engine.pipeline import Pipeline
from engine.planning.order import plan_hash
from engine.plans import Plan, Planner, SendOrder, key_of, message_of, refuse_name, refuse_unsigned, signed_off
from engine.settings import Settings
from engine.settling import Settler
from engine.steering import Steering
from engine.telemetry import logger
from engine.tracking import Barred, Poller, Seam, Tracker, Waits
from engine.tracking import Tally as TrackingTally

Result = TypeVar("Result")
FRUITLESS_MOST = 3  # rounds of sending again what was not taken, in which nothing was accepted
CATCH_UP_S = 1.0
SMALL_POLL = 200  # reports asked for at once while doubts are open
LONGEST_WAIT_S = 600.0  # between two polls that failed


class Engine:
    """The journal and one account's gateway, both owned, ready to plan and to run."""

    def __init__(self, settings: Settings, gate: Gate, journal: SqlJournal, clock: SteadyClock) -> None:
        self.settings, self.gate, self.journal, self.clock = settings, gate, journal, clock
        self.account_key = gate.account.account_key
        self._steering = Steering(journal)
        self._barred: Barred | None = None  # of the campaign that is being sent

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, account_name: str) -> AsyncIterator[Engine]:
        """Own the journal and the account. Raises SettingsError, JournalBusy, SchemaMismatch, JournalError."""
        async with AsyncExitStack() as stack:
            gate = await stack.enter_async_context(Gate.open(settings, account_name))
            refuse_folder(settings.journal_path)
            lock = account_lock(settings.state_dir, gate.account.account_key)
            stack.callback(lock.release)
            clock = SteadyClock()
            journal = await open_journal(settings.journal_path, clock=clock)
            stack.push_async_callback(journal.close)
            engine = cls(settings, gate, journal, clock)
            await stack.enter_async_context(listening(settings.journal_path, engine._on_order))
            yield engine

    async def known(self, order: SendOrder, reading: Pipeline) -> CampaignRecord | None:
        """The campaign this order already is, if any.

        Raises PlanError when its name belongs to another order, SendRefused when the plan is not the one signed off.
        """
        message = message_of(order, self.gate)
        listing = await asyncio.to_thread(reading.listing)
        key = key_of(self.account_key, message, listing)
        refuse_unsigned(order, plan_hash(key, signed_off(self.gate, order, listing)))
        if order.campaign is not None:
            refuse_name(order.campaign)
            named = await self.journal.find_campaign(name=order.campaign)
            if named is not None and order.again:
                raise PlanError(
                    f"a campaign named {order.campaign!r} exists already; sent once more, it needs a name of its own: "
                    "choose another one with --campaign, or leave it away"
                )
            if named is not None and named.order_key != key:
                raise PlanError(
                    f"a campaign named {order.campaign!r} exists already, with another list, text or account; "
                    "choose another name with --campaign"
                )
            if named is not None:
                return named
        if order.again:
            return None
        return await self.journal.find_campaign(account=self.account_key, order_key=key)

    async def plan(self, order: SendOrder, reading: Pipeline, live: Live) -> Plan:
        """Store a complete plan that nobody sees yet.

        Raises SendRefused (login, no answer), BalanceTooLow, IntakeError, PlanError; then nothing of it stays.
        """
        try:
            balance = await self.gate.balance()
        except Refused as error:
            raise SendRefused(f"nothing was sent: {error}. Check account, userid and password") from error
        except GatewayError as error:
            raise SendRefused(f"nothing was sent: the balance cannot be read: {error}") from error
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
        await self.journal.publish_campaign(plan.campaign_id, totals)
        record = await self.journal.find_campaign(name=plan.name)
        assert record is not None
        return record

    async def discard(self, plan: Plan) -> None:
        """Forget a plan that was not published."""
        if plan.campaign_id is not None:
            await finish(self.journal.discard_campaign(plan.campaign_id))

    async def run(
        self, record: CampaignRecord, *, live: Live, stop: Stop, allow_partial: bool = False, limit: int | None = None
    ) -> CampaignSummary:
        """Send what is planned of a campaign, until nothing is left, a reason to pause, or a stop. Raises JournalError."""
        _refuse_paused(record)
        end = await self._run(record, live, stop, allow_partial, limit)
        if end is None:
            return await self._summary(record)
        state = CampaignState.RUNNING if end.reason is None else CampaignState.PAUSED
        reasons = () if end.reason is None else (end.reason,)
        await finish(self.journal.set_campaign_state(record.campaign_id, state, reasons, end.detail))
        return await self._summary(record)

    async def _summary(self, record: CampaignRecord) -> CampaignSummary:
        before = overdue_before(self.settings)
        return await summary_of(self.journal, record.name, is_running=False, overdue_before=before)

    async def _run(
        self, record: CampaignRecord, live: Live, stop: Stop, allow_partial: bool, limit: int | None
    ) -> PoolEnd | None:
        """Why the run ended; None when the campaign is cancelled."""
        self._refuse_foreign(record)
        with self._steering.owning(record):  # from here on orders are for us
            end = await self._owned_run(record, live, stop, allow_partial, limit)
            if end is not None and self._steering.cancelled.is_set():  # the order came before anything could be driven
                await finish(self.journal.cancel_campaign(record.campaign_id))
                return None
            return end

    async def _owned_run(
        self, record: CampaignRecord, live: Live, stop: Stop, allow_partial: bool, limit: int | None
    ) -> PoolEnd | None:
        again = await self.journal.find_campaign(name=record.name)  # somebody may have paused it a moment ago
        assert again is not None
        _refuse_paused(again)
        if again.stored_state is CampaignState.CANCELLED:
            return None
        left = await self.journal.planned_sizes(record.campaign_id)
        if not left and not await self.journal.open_doubts(self.account_key, campaign_id=record.campaign_id):
            return PoolEnd()
        settler = self._settler(live)
        balance = await self._opening_reading(record, settler, stop)
        if isinstance(balance, PoolEnd):
            return balance
        messages = dict(enumerate(await self.journal.messages(record.campaign_id), 1))
        if too_large := self._too_large(left):
            return PoolEnd(reason=PauseReason.CONFIGURATION, detail=too_large)
        release = release_of(left, messages, balance, self.gate.profile, allow_partial=allow_partial, limit=limit)
        if release.nothing and left:
            return PoolEnd(reason=release.reason, detail=release.detail)
        await self.journal.set_sendable(record.campaign_id, release.last_seq)
        live.collector = Collector(opening=balance.remaining)
        live.recipients = release.recipients
        barred = self._barred = Barred((await self.journal.opted_out(self.account_key, since=record.screened)).mobiles)
        sizes = len({size for _, size, _ in left})

        async def make_pool() -> Pool:
            return await self._pool(record, messages, live, barred, settler)

        async with self._tracked(barred, live, stop):
            end = await self._send_and_settle(record, make_pool, settler, stop, sizes=sizes, last_seq=release.last_seq)
            await self._closing_reading(record, live, settler, stop)
        if end is not None and end.reason is None and release.last_seq is not None:
            return PoolEnd(reason=release.reason, detail=release.detail)
        return end

    async def _opening_reading(self, record: CampaignRecord, settler: Settler, stop: Stop) -> Balance | PoolEnd:
        """The balance a run begins with, or why it cannot begin."""
        try:
            balance = await unless_set(stop.gently, settler.read(record.campaign_id))
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
            planned = await self.journal.planned_sizes(record.campaign_id)
            avoided = settler.avoided_sizes
            return any(size not in avoided and (last_seq is None or seq <= last_seq) for seq, size, _ in planned)

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
                        reason=PauseReason.DOUBTS, detail="answers keep getting lost, whatever is sent again"
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
                raise SendRefused(f"nothing was settled: {balance.detail}")
            async with self._tracked(Barred(), live, stop):
                await settler.until_settled(record.campaign_id, give_up=stop.gently)
        return await self._summary(record)

    def _settler(self, live: Live) -> Settler:
        account, profile, settings = self.gate.account, self.gate.profile, self.settings.settlement

        def note(doubt: OpenDoubt, charge: Decimal | None) -> None:
            live.collector.note_settled(doubt.size, taken=charge is not None, charge=charge)

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
            tell=lambda phase: setattr(live, "phase", phase),
            announce=live.notice,
            on_ended=note,
        )

    def _refuse_foreign(self, record: CampaignRecord) -> None:
        if record.account != self.account_key:
            raise PlanError(f"campaign {record.name!r} belongs to another account; choose it with --account")

    async def _on_order(self, order: Order) -> Word:
        if order.verb == ASSUME:
            return await assumed(self.journal, order, at=self.clock())
        if order.verb not in (OPT_OUT, OPT_IN):
            return await self._steering.on_order(order)
        barred = self._barred if order.words[0] == self.account_key else None
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
            live.phase = "reading reports and replies"
            with suppress(TimeoutError):
                async with asyncio.timeout(CATCH_UP_S):
                    await unless_set(stop.gently, tracker.caught_up())
            yield
        finally:
            over.set()
            await ended_unless(stop.now, running)

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

        seam = Seam(
            account=self.account_key,
            ask=http.reports,
            read=lambda body, charset: read_reports(body, charset, profile),
            journal=journal,
            most=lambda: min(most, SMALL_POLL) if doubts_open() else most,
            clock=self.clock,
            on_opt_outs=on_opt_outs,
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
                "tracking.enabled is false: another system reads the reports of this account, and they can be read only once"
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
        self, record: CampaignRecord, messages: dict[int, Message], live: Live, barred: Barred, settler: Settler
    ) -> Pool:
        prepared = {seq: self.gate.http.prepare(message.content) for seq, message in messages.items()}
        pace, profile, settings = self.gate.account.pace, self.gate.profile, self.settings
        now = self.clock()
        slowest_s = (
            1 / pace.requests_per_second if pace.requests_per_second else 0.0
        )  # below one a window, the window grows
        looked_back = timedelta(seconds=max(profile.window_s, slowest_s) + GUARD_S)
        recent = await self.journal.starts_since(self.account_key, now - looked_back)

        def note(settled: Settled) -> None:
            outcome, decision = settled.outcome, settled.decision
            live.collector.note(outcome, size=settled.submitted.size, then=decision.then, charge=decision.charge)
            if decision.then is BatchState.IN_DOUBT:
                settler.note_doubt(settled.submitted.claim.size, may_land_late=outcome.may_land_late)
            if outcome.reason:
                live.recent = outcome.reason

        return Pool(
            Terms(
                campaign_id=record.campaign_id,
                account=self.account_key,
                messages=messages,
                in_flight=pace.in_flight,
                price=profile.price_per_segment,
                retry=self.gate.retry,
                doubts_in_a_row=settings.breaker.doubts,
                refusals_in_a_row=settings.breaker.refusals,
                grace_s=settings.timeouts.grace_s,
            ),
            journal=self.journal,
            send=_Sending(self.gate.http, prepared),
            pace=Pace(
                requests_per_second=pace.requests_per_second,
                numbers_per_second=pace.numbers_per_second,
                window_s=profile.window_s,
                clock=time.monotonic,
                earlier=[((now - at).total_seconds(), numbers) for at, numbers in recent],
            ),
            wall_clock=self.clock,
            lease_clock=boottime,
            on_settled=note,
            opted_out=barred.among,
            avoided_sizes=lambda: settler.avoided_sizes,
        )

    def _too_large(self, left: Sequence[tuple[int, int, int]]) -> str:
        """Why a batch that was planned under another pace can never leave under this one, or nothing."""
        fits = numbers_that_fit(self.gate.account.pace.numbers_per_second, self.gate.profile.window_s)
        largest = max((size for _, size, _ in left), default=0)
        if fits is None or largest <= fits:
            return ""
        return f"batches of {largest} numbers are planned, and the pace lets {fits} through at once; raise numbers_per_second"

    async def _closing_reading(self, record: CampaignRecord, live: Live, settler: Settler, stop: Stop) -> None:
        """Read the balance once more, so that the interval of this run is closed. Without it the run is valid all the same."""
        live.phase = "closing"
        try:
            async with asyncio.timeout(self.settings.timeouts.connect_s + self.settings.timeouts.answer_s):
                await unless_set(stop.now, settler.read(record.campaign_id))
        except (GatewayError, TimeoutError) as error:
            logger.warning("the closing balance could not be read", extra={"problem": str(error)})

    def _refuse_if_too_low(self, plan: Plan, order: SendOrder) -> None:
        balance = plan.balance
        if balance is None or balance.prepaid is False or balance.remaining is None or order.allow_partial:
            return
        needed = plan.tally.points
        if order.limit is not None and plan.tally.recipients:
            needed = needed * min(order.limit, plan.tally.recipients) / plan.tally.recipients
        if needed > balance.remaining:
            raise BalanceTooLow(
                f"nothing was sent: the campaign needs {needed:,f} points and {balance.remaining:,f} are left "
                f"({needed - balance.remaining:,f} too few); top up, or send what the balance reaches for with --allow-partial"
            )


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
    """Binds the prepared texts of one campaign to the gateway."""

    def __init__(self, http: HttpGateway, prepared: dict[int, PreparedMessage]) -> None:
        self._http, self._prepared = http, prepared

    async def __call__(self, message_seq: int, mobiles: str, size: int, /) -> Outcome:
        return await self._http.send(self._prepared[message_seq], mobiles, batch_size=size)


def _not_readable(error: GatewayError) -> PoolEnd:
    reason = PauseReason.CREDENTIALS if isinstance(error, Refused) else PauseReason.UNREACHABLE
    return PoolEnd(reason=reason, detail=f"the balance cannot be read: {error}")


def _refuse_paused(record: CampaignRecord) -> None:
    if record.stored_state is CampaignState.PAUSED and PauseReason.OPERATOR in record.reasons:
        raise JournalBusy(f"{record.name} is paused by the operator; go on with: xinshi resume {record.name}")


def run_in_loop(main: Coroutine[Any, Any, int]) -> int:
    """Run an async command on uvloop, where there is one. Returns its exit code."""
    try:
        import uvloop
    except ImportError:  # not on this platform
        factory = None
    else:
        factory = uvloop.new_event_loop
    gc.freeze()  # the libraries stay; looking through them at every collection cost a campaign 8 % of its time
    gc.set_threshold(50_000, 20, 100)
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)
