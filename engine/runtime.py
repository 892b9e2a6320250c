"""Opens, runs, drains, closes. The only module that knows every adapter.

with Engine.open(settings): plan -> publish -> run          preview: plan without a journal
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from engine.control import Order, Word, asked, listening
from engine.dispatch.finish import finish
from engine.dispatch.pacing import GUARD_S, Pace, numbers_that_fit
from engine.dispatch.pool import Pool, PoolEnd, Settled, Terms
from engine.dispatch.retry import RetryPolicy, until_read
from engine.errors import (
    BadAnswer,
    BalanceTooLow,
    EngineError,
    GatewayError,
    JournalBusy,
    JournalError,
    NoAnswer,
    NotSent,
    PlanError,
    Refused,
    SchemaMismatch,
    SendRefused,
    SettingsError,
)
from engine.gateway.http import HttpGateway, RawReply, Timeouts
from engine.gateway.profile import Profile, load_profile
from engine.gateway.wire import Credentials, KeywordAnswer, PreparedMessage, read_replies, read_reports
from engine.intake.files import ListFile
from engine.intake.numbers import normalise
from engine.intake.screening import packed
from engine.journal.lock import account_lock, is_held
from engine.journal.opening import open_journal, read_journal
from engine.journal.port import (
    CampaignRecord,
    Draft,
    OptedOut,
    OptOut,
    OptOutSource,
    PlanTotals,
    PollKind,
    SourceRecord,
    Trace,
)
from engine.journal.store import Reader, SqlJournal
from engine.ledger.audit import Finding, audit, chain_lines
from engine.ledger.collector import Collector
from engine.ledger.points import add_up
from engine.ledger.summary import CampaignSummary, summarise
from engine.model import Balance, CampaignState, Message, Outcome, PauseReason
from engine.pipeline import Cut, Pipeline
from engine.planning.batching import distinct_allowed
from engine.planning.order import order_key, plan_hash
from engine.planning.preview import PlanTally, forecast_s
from engine.planning.text import compose
from engine.settings import AccountSettings, Settings
from engine.steering import Steering
from engine.telemetry import hide, logger
from engine.tracking import Barred, Poller, Seam, Tracker, Waits
from engine.tracking import Tally as TrackingTally

Result = TypeVar("Result")
_LONGEST_NAME = 200  # bytes of a campaign's name; the rejects are a file of that name
_LONGEST_STEM = 40
SMALL_POLL = 200  # reports asked for at once while doubts are open
_OPT_OUT, _OPT_IN = "opt_out", "opt_in"  # orders: account, source, reason, numbers…; account, numbers…
_IN_ONE_ORDER = 1_000  # numbers
LONGEST_WAIT_S = 600.0  # between two polls that failed


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOrder:
    """What the operator asks for: this text, these people. `limit`: recipients released now, the rest stays planned."""

    file: Path
    text: str
    column: str | None = None
    encoding: str | None = None
    campaign: str | None = None
    signature: str | None = None
    opt_out: str | None = None
    allow_partial: bool = False
    again: bool = False
    limit: int | None = None
    signed_off: str | None = None  # the plan hash somebody agreed to; another one is refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A complete plan, for the preview and the sign-off. `campaign_id` is None where nothing was stored."""

    campaign_id: int | None
    name: str
    order_key: str
    plan_hash: str
    message: Message
    source: ListFile
    tally: PlanTally
    distinct: bool
    balance: Balance | None
    balance_problem: str
    forecast_s: float
    profile: Profile
    account: AccountSettings
    rejects: Path | None


class Live:
    """What the display shows while a run goes on. Written by the engine, read at the display's own pace."""

    def __init__(self) -> None:
        self.phase = "starting"
        self.rows = 0
        self.recipients = 0  # to send in this run
        self.collector = Collector(opening=None)
        self.recent = ""  # the last thing that went wrong, in words


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """How a run is asked to end: gently, then at once."""

    gently: asyncio.Event
    now: asyncio.Event


class Gate:
    """One account's gateway with its settings: what can be asked without a journal."""

    def __init__(self, settings: Settings, account: AccountSettings) -> None:
        self.settings, self.account = settings, account
        self.profile = load_profile(account.profile)
        password = account.reveal_password()
        hide(password)
        self.http = HttpGateway(
            profile=self.profile,
            url=account.url,
            credentials=Credentials(userid=account.userid, account=account.account, password=password),
            timeouts=Timeouts(
                connect_s=settings.timeouts.connect_s,
                answer_s=settings.timeouts.answer_s,
                keepalive_s=settings.timeouts.keepalive_s,
            ),
            in_flight=account.pace.in_flight,
            clock=_now,
        )
        self.retry = RetryPolicy(
            attempts=settings.retry.attempts, wait_s=settings.retry.wait_s, wait_max_s=settings.retry.wait_max_s
        )

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, account_name: str) -> AsyncIterator[Gate]:
        """Connectable, nothing asked yet. Raises SettingsError."""
        gate = cls(settings, settings.for_account(account_name))
        async with gate.http:
            yield gate

    async def balance(self) -> Balance:
        """The points left. Raises GatewayError when the repeated reads were all in vain."""
        return await self._read(self.http.balance)

    async def check_keywords(self, text: str) -> KeywordAnswer:
        """Whether the gateway finds forbidden words. Sends nothing. Raises GatewayError."""

        async def ask() -> KeywordAnswer:  # tenacity awaits only what is a coroutine function; a lambda is none
            return await self.http.check_keywords(text)

        return await self._read(ask)

    async def _read(self, read: Callable[[], Awaitable[Result]]) -> Result:
        try:
            return await until_read(read, self.retry, asyncio.sleep)
        except NotSent as error:  # "not sent" is said of messages; nobody asked for one here
            problem = error.problem.removeprefix("not sent: ")
            raise NotSent(f"the gateway cannot be reached: {problem}; check account.url") from error
        except (NoAnswer, BadAnswer) as error:
            problem = f"no usable answer from the gateway: {error.problem}; check account.url and profile"
            raise type(error)(problem, raw=error.raw, http_status=error.http_status) from error


async def preview(settings: Settings, account_name: str, order: SendOrder, reading: Pipeline, live: Live) -> Plan:
    """Plan without storing or sending anything. A balance that cannot be read is said, not raised."""
    async with Gate.open(settings, account_name) as gate:
        balance, problem = None, ""
        try:
            balance = await gate.balance()
        except GatewayError as error:
            problem = str(error)
        return await _Planner(gate, order, reading, live).plan(None, balance, problem)


class Engine:
    """The journal and one account's gateway, both owned, ready to plan and to run."""

    def __init__(self, settings: Settings, gate: Gate, journal: SqlJournal) -> None:
        self.settings, self.gate, self.journal = settings, gate, journal
        self.account_key = gate.account.account_key
        self._steering = Steering(journal)
        self._barred: Barred | None = None  # of the campaign that is being sent

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, account_name: str) -> AsyncIterator[Engine]:
        """Own the journal and the account. Raises SettingsError, JournalBusy, SchemaMismatch, JournalError."""
        async with AsyncExitStack() as stack:
            gate = await stack.enter_async_context(Gate.open(settings, account_name))
            _refuse_folder(settings.journal_path)
            lock = account_lock(settings.state_dir, gate.account.account_key)
            stack.callback(lock.release)
            journal = await open_journal(settings.journal_path)
            stack.push_async_callback(journal.close)
            engine = cls(settings, gate, journal)
            await stack.enter_async_context(listening(settings.journal_path, engine._on_order))
            yield engine

    async def known(self, order: SendOrder, reading: Pipeline) -> CampaignRecord | None:
        """The campaign this order already is, if any.

        Raises PlanError when its name belongs to another order, SendRefused when the plan is not the one signed off.
        """
        message = message_of(order, self.gate)
        source = await asyncio.to_thread(reading.inspected)
        key = order_key(self.account_key, message.content, [source.sha256])
        _refuse_unsigned(order, plan_hash(key, _signed_off(self.gate, order)))
        if order.campaign is not None:
            _refuse_name(order.campaign)
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
        plan = await _Planner(self.gate, order, reading, live).plan(self.journal, balance, "")
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
        overdue_before = _overdue_before(self.settings)
        return await summary_of(self.journal, record.name, is_running=False, overdue_before=overdue_before)

    async def _run(
        self, record: CampaignRecord, live: Live, stop: Stop, allow_partial: bool, limit: int | None
    ) -> PoolEnd | None:
        """Why the run ended; None when the campaign is cancelled."""
        if record.account != self.account_key:
            raise PlanError(f"campaign {record.name!r} belongs to another account; choose it with --account")
        if record.stored_state is CampaignState.CANCELLED:
            return None
        left = await self.journal.planned_sizes(record.campaign_id)
        if not left:
            return PoolEnd()
        messages = dict(enumerate(await self.journal.messages(record.campaign_id), 1))
        try:
            balance = await unless_set(stop.gently, self.gate.balance())
        except GatewayError as error:
            return _not_readable(error)
        if balance is None:
            return PoolEnd(reason=PauseReason.STOPPED)
        await self.journal.record_reading(self.account_key, balance, campaign_id=record.campaign_id)
        if too_large := self._too_large(left):
            return PoolEnd(reason=PauseReason.CONFIGURATION, detail=too_large)
        release = _release(left, messages, balance, self.gate.profile, allow_partial=allow_partial, limit=limit)
        if release.nothing:
            return PoolEnd(reason=release.reason, detail=release.detail)
        await self.journal.set_sendable(record.campaign_id, release.last_seq)
        await self.journal.set_campaign_state(record.campaign_id, CampaignState.RUNNING)
        live.collector = Collector(opening=balance.remaining)
        live.recipients = release.recipients
        barred = self._barred = Barred((await self.journal.opted_out(self.account_key, since=record.screened)).mobiles)
        async with self._tracked(barred, live, stop):
            live.phase = "sending"
            end = await self._steering.drive(
                record,
                lambda: self._pool(record, messages, live, barred),
                stop=stop.gently,
                stop_now=stop.now,
                tell=lambda phase: setattr(live, "phase", phase),
            )
            await self._closing_reading(record, live, stop)
        if end is not None and end.reason is None and release.last_seq is not None:
            return PoolEnd(reason=release.reason, detail=release.detail)
        return end

    async def _on_order(self, order: Order) -> Word:
        if order.verb not in (_OPT_OUT, _OPT_IN):
            return await self._steering.on_order(order)
        barred = self._barred if order.words[0] == self.account_key else None
        return await _carry_out(self.journal, order, Barred() if barred is None else barred)

    @asynccontextmanager
    async def _tracked(self, barred: Barred, live: Live, stop: Stop) -> AsyncIterator[None]:
        """Poll beside the block. Trouble with it never stops the block.

        Before the block begins the queues are read to their end, as far as that goes in the time of an answer: what waits there
        is of earlier sends, and who opted out meanwhile is not sent to.
        """
        if not self.settings.tracking.enabled:
            yield
            return
        over = asyncio.Event()
        tracker = self._tracker(barred.add, doubts_open=lambda: live.collector.progress().in_doubt > 0)
        running = asyncio.create_task(_beside_sending(tracker.run(over)), name="tracking")
        try:
            live.phase = "reading reports and replies"
            with suppress(TimeoutError):
                async with asyncio.timeout(self.settings.timeouts.answer_s):
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
            clock=_now,
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
        return tracker.tally

    async def _pool(self, record: CampaignRecord, messages: dict[int, Message], live: Live, barred: Barred) -> Pool:
        prepared = {seq: self.gate.http.prepare(message.content) for seq, message in messages.items()}
        pace, profile, settings = self.gate.account.pace, self.gate.profile, self.settings
        now = _now()
        slowest_s = (
            1 / pace.requests_per_second if pace.requests_per_second else 0.0
        )  # below one a window, the window grows
        looked_back = timedelta(seconds=max(profile.window_s, slowest_s) + GUARD_S)
        recent = await self.journal.starts_since(self.account_key, now - looked_back)

        def note(settled: Settled) -> None:
            outcome, decision = settled.outcome, settled.decision
            live.collector.note(outcome, size=settled.submitted.size, then=decision.then, charge=decision.charge)
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
            wall_clock=_now,
            lease_clock=_boottime,
            on_settled=note,
            opted_out=barred.among,
        )

    def _too_large(self, left: Sequence[tuple[int, int, int]]) -> str:
        """Why a batch that was planned under another pace can never leave under this one, or nothing."""
        fits = numbers_that_fit(self.gate.account.pace.numbers_per_second, self.gate.profile.window_s)
        largest = max(size for _, size, _ in left)
        if fits is None or largest <= fits:
            return ""
        return f"batches of {largest} numbers are planned, and the pace lets {fits} through at once; raise numbers_per_second"

    async def _closing_reading(self, record: CampaignRecord, live: Live, stop: Stop) -> None:
        """Read the balance once more, so that the interval of this run is closed. Without it the run is valid all the same."""
        live.phase = "closing"
        try:
            async with asyncio.timeout(self.settings.timeouts.connect_s + self.settings.timeouts.answer_s):
                balance = await unless_set(stop.now, self.gate.http.balance())
        except (GatewayError, TimeoutError) as error:
            logger.warning("the closing balance could not be read", extra={"problem": str(error)})
            return
        if balance is None:
            return
        await finish(self.journal.record_reading(self.account_key, balance, campaign_id=record.campaign_id))

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


async def _beside_sending(tracking: Coroutine[Any, Any, None]) -> None:
    try:
        await tracking
    except EngineError as error:
        logger.warning("reports and replies are no longer read; sending goes on", extra={"problem": str(error)})
    except Exception as error:  # noqa: BLE001  a mistake there must not end a campaign; it is told, and nothing is lost
        logger.error("reports and replies are no longer read; sending goes on", exc_info=error)


def _nobody_is_sending(_: Iterable[str]) -> None:
    pass


class _Sending:
    """Binds the prepared texts of one campaign to the gateway."""

    def __init__(self, http: HttpGateway, prepared: dict[int, PreparedMessage]) -> None:
        self._http, self._prepared = http, prepared

    async def __call__(self, message_seq: int, mobiles: str, size: int, /) -> Outcome:
        return await self._http.send(self._prepared[message_seq], mobiles, batch_size=size)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Release:
    """How far a run may go: up to `last_seq` (None: to the end), and why not further."""

    last_seq: int | None
    recipients: int
    reason: PauseReason | None = None
    detail: str = ""

    @property
    def nothing(self) -> bool:
        return self.recipients == 0


def _release(
    left: Sequence[tuple[int, int, int]],
    messages: dict[int, Message],
    balance: Balance,
    profile: Profile,
    *,
    allow_partial: bool,
    limit: int | None,
) -> _Release:
    """Whole batches, in order, as far as the balance of a prepaid account and the limit reach.

    `left` are (seq, size, message seq) of the planned batches.
    """
    points = balance.remaining if balance.prepaid is not False else None
    whole = sum(size for _, size, _ in left)
    cost = sum((Decimal(size * messages[m].segments) * profile.price_per_segment for _, size, m in left), Decimal(0))
    reach, last, reason, spent = 0, 0, None, Decimal(0)
    for seq, size, message in left:
        price = Decimal(size * messages[message].segments) * profile.price_per_segment
        if limit is not None and reach + size > limit:
            reason = PauseReason.LIMIT
        elif points is not None and spent + price > points:
            reason = PauseReason.BALANCE
        if reason is not None:
            break
        reach, last, spent = reach + size, seq, spent + price
    if reason is None:
        return _Release(last_seq=None, recipients=whole)
    if reason is PauseReason.LIMIT:
        detail = f"{whole - reach:,} recipients wait"
        if not reach:
            detail = f"the next batch has {left[0][1]} recipients, more than the {limit} released; batches go whole"
        return _Release(last_seq=last, recipients=reach, reason=reason, detail=detail)
    detail = f"{cost:,f} points were needed and {points:,f} were there; {whole - reach:,} recipients wait for a top-up"
    if not allow_partial:
        return _Release(last_seq=0, recipients=0, reason=reason, detail=detail)
    return _Release(last_seq=last, recipients=reach, reason=reason, detail=detail)


class _Planner:
    """Row -> Recipient -> Batch: the pipeline's process reads ahead while the part before is being stored."""

    def __init__(self, gate: Gate, order: SendOrder, reading: Pipeline, live: Live) -> None:
        self._gate, self._order, self._reading, self._live = gate, order, reading, live

    async def plan(self, journal: SqlJournal | None, balance: Balance | None, problem: str) -> Plan:
        order, gate = self._order, self._gate
        self._live.phase = "reading"
        message = message_of(order, gate)
        gate.http.prepare(message.content)  # an unencodable character is found now, not at the first batch
        source = await asyncio.to_thread(self._reading.inspected)
        key = order_key(gate.account.account_key, message.content, [source.sha256])
        name = order.campaign or await _free_name(journal, f"{_name_from(order.file)}-{key[:6]}")
        _refuse_name(name)
        opted_out = await self._opted_out(journal)
        cut = self._cut(message, balance, name, opted_out)
        draft = Draft(
            name=name,
            account=gate.account.account_key,
            profile=gate.profile.name,
            order_key=key,
            plan_hash=plan_hash(key, _signed_off(gate, order)),
            messages=[message],
            sources=[_source_record(source)],
            created_at=_now(),
            screened=opted_out.seq,
        )
        campaign_id = None if journal is None else await journal.begin_campaign(draft)
        try:
            await self._stream(cut, journal, campaign_id)
            tally = self._reading.tally
            _refuse_nobody(order, tally)
        except BaseException:  # the half plan is discarded, then it is raised on
            if journal is not None and campaign_id is not None:
                with suppress(JournalError):
                    await journal.discard_campaign(campaign_id)
            raise
        return Plan(
            campaign_id=campaign_id,
            name=name,
            order_key=key,
            plan_hash=draft.plan_hash,
            message=message,
            source=source,
            tally=tally,
            distinct=cut.distinct,
            balance=balance,
            balance_problem=problem,
            forecast_s=self._forecast_s(tally),
            profile=gate.profile,
            account=gate.account,
            rejects=cut.rejects if tally.excluded else None,
        )

    async def _opted_out(self, journal: SqlJournal | None) -> OptedOut:
        """Who is not to be sent to. A preview looks into the journal from beside; there may be none yet, or an older one."""
        account, path = self._gate.account.account_key, self._gate.settings.journal_path
        if journal is not None:
            return await journal.opted_out(account)
        if not path.is_file():
            return OptedOut(mobiles=[], seq=0)
        try:
            beside = await read_journal(path)
        except SchemaMismatch:
            return OptedOut(mobiles=[], seq=0)
        try:
            return await beside.opted_out(account)
        finally:
            await beside.close()

    def _cut(self, message: Message, balance: Balance | None, name: str, opted_out: OptedOut) -> Cut:
        gate = self._gate
        folder = gate.settings.journal_path.parent
        _make_folder(folder)
        return Cut(
            max_recipients=_batch_size(gate),
            distinct=distinct_allowed(
                gate.settings.batch.distinct_sizes,
                prepaid=None if balance is None else balance.prepaid,
                exclusive=gate.account.exclusive,
                max_recipients=_batch_size(gate),
            ),
            message=message,
            price=gate.profile.price_per_segment,
            rejects=folder / f"{name}_xinshi_rejects.csv",
            opted_out=packed(opted_out.mobiles),
        )

    async def _stream(self, cut: Cut, journal: SqlJournal | None, campaign_id: int | None) -> None:
        parts = self._reading.parts(cut)
        while (part := await asyncio.to_thread(next, parts, None)) is not None:
            self._live.rows = part.rows
            if journal is not None and campaign_id is not None:
                await journal.add_plan(campaign_id, part.batches, part.excluded)

    def _forecast_s(self, tally: PlanTally) -> float:
        pace = self._gate.account.pace
        return forecast_s(
            tally.batches,
            tally.recipients,
            requests_per_second=pace.requests_per_second,
            numbers_per_second=pace.numbers_per_second,
            window_s=self._gate.profile.window_s,
            in_flight=pace.in_flight,
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise JournalError(f"cannot create the folder {folder} ({error.strerror})") from error


def _refuse_nobody(order: SendOrder, tally: PlanTally) -> None:
    if not tally.recipients:
        raise PlanError(f"{order.file}: none of its {tally.rows:,} rows holds a number that can be sent to")


def _refuse_folder(journal: Path) -> None:
    if journal.is_dir():
        raise SettingsError(f"the journal {journal} is a folder; name a file in it: {journal / 'xinshi.db'}")


def _refuse_unsigned(order: SendOrder, hashed: str) -> None:
    if order.signed_off is not None and order.signed_off != hashed:
        raise SendRefused(
            f"nothing was sent: the plan is {hashed}, not {order.signed_off}; list, text, account, pace, batch size or limit "
            "differ from what was signed off. See `xinshi plan`"
        )


def _refuse_name(name: str) -> None:
    if not name or "/" in name or not name.isprintable() or name[0] in ".-" or len(name.encode()) > _LONGEST_NAME:
        raise PlanError(
            f"{name!r} cannot name a campaign, because its rejects become a file of that name: no slash or control character, "
            f"no dot or dash at the beginning, at most {_LONGEST_NAME} letters or {_LONGEST_NAME // 3} Chinese characters"
        )


def _name_from(file: Path) -> str:
    """The list's own name, as far as it can name a campaign."""
    return "".join(filter(str.isprintable, file.stem)).lstrip(".-")[:_LONGEST_STEM] or "list"


def message_of(order: SendOrder, gate: Gate) -> Message:
    """The final text of an order. Raises PlanError."""
    profile, account = gate.profile, gate.account
    return compose(
        order.text,
        signature=order.signature or account.signature or None,
        signature_position=profile.signature_position.value,
        signature_required=profile.signature_required,
        opt_out=None if profile.opt_out_by_channel else order.opt_out or account.opt_out or None,
        max_units=profile.max_content_units,
        extra_units=profile.extra_units,
        charset=profile.request_charset.value,
    )


async def _free_name(journal: Reader | None, wanted: str) -> str:
    """The name for a campaign that was given none: `wanted`, or with a number behind it when the same order comes again."""
    name, again = wanted, 1
    while journal is not None and await journal.find_campaign(name=name) is not None:
        again += 1
        name = f"{wanted}-{again}"
    return name


def _batch_size(gate: Gate) -> int:
    """Recipients a batch. Raises PlanError where gateway or pace cannot take so many."""
    wanted, most = gate.settings.batch.max_recipients, gate.profile.max_recipients
    if wanted > most:
        raise PlanError(
            f"batch.max_recipients is {wanted}, and the profile {gate.profile.name!r} takes at most {most} numbers a request; "
            "with your vendor's word, raise max_recipients in a profile of your own"
        )
    fits = numbers_that_fit(gate.account.pace.numbers_per_second, gate.profile.window_s)
    if fits is not None and wanted > fits:
        raise PlanError(
            f"a batch of {wanted} never fits the pace of {gate.account.pace.numbers_per_second:g} numbers a second; "
            f"set batch.max_recipients to {fits} at most"
        )
    return wanted


def _signed_off(gate: Gate, order: SendOrder) -> dict[str, str | int | float | None]:
    """What the plan hash covers beside the order key."""
    pace = gate.account.pace
    return {
        "profile": gate.profile.name,
        "requests_per_second": pace.requests_per_second,
        "numbers_per_second": pace.numbers_per_second,
        "in_flight": pace.in_flight,
        "max_recipients": gate.settings.batch.max_recipients,
        "limit": order.limit,
        "screening": 1,
    }


def _source_record(source: ListFile) -> SourceRecord:
    return SourceRecord(
        path=str(source.path.resolve()),
        sha256=source.sha256,
        size=source.size,
        encoding=source.encoding,
        number_column=source.column_label,
    )


def _not_readable(error: GatewayError) -> PoolEnd:
    reason = PauseReason.CREDENTIALS if isinstance(error, Refused) else PauseReason.UNREACHABLE
    return PoolEnd(reason=reason, detail=f"the balance cannot be read: {error}")


def _overdue_before(settings: Settings) -> datetime:
    return _now() - timedelta(hours=settings.tracking.report_horizon_h)


async def summary_of(
    journal: Reader, name: str, *, is_running: bool, overdue_before: datetime | None = None
) -> CampaignSummary:
    """A campaign in figures. A report is no longer waited for when its message was accepted before `overdue_before`.

    Raises PlanError when there is none of that name.
    """
    record = await journal.find_campaign(name=name)
    if record is None:
        names = ", ".join(known.name for known in await journal.campaigns()) or "none yet"
        raise PlanError(f"there is no campaign named {name!r} in this journal; there are: {names}")
    readings = await journal.readings(record.account, campaign_id=record.campaign_id)
    points = add_up(readings, charged_since=await journal.charged_since_reading(record.account))
    counts = await journal.counts(record.campaign_id)
    delivery = await journal.delivery(record.campaign_id, overdue_before=overdue_before)
    return summarise(record, counts, points, is_running=is_running, delivery=delivery)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """What an audit came to: the campaign in figures, a finding for each law, and the balance drawn as lines of text."""

    summary: CampaignSummary
    findings: list[Finding]
    chain: list[str]

    @property
    def all_hold(self) -> bool:
        """Whether every law holds."""
        return all(finding.holds for finding in self.findings)


async def audit_campaign(
    settings: Settings,
    account_name: str,
    name: str,
    *,
    truth: Mapping[str, int] | None = None,
    truth_charges: Decimal | None = None,
) -> Audited:
    """Prove the laws for a campaign from the journal alone, or also against a simulator's truth.

    Raises JournalError, PlanError, SettingsError.
    """
    price = load_profile(settings.for_account(account_name).profile).price_per_segment
    journal = await read_journal(settings.journal_path)
    try:
        summary = await summary_of(journal, name, is_running=is_held(settings.journal_path))
        record = await journal.find_campaign(name=name)
        assert record is not None  # summary_of has found it
        readings = await journal.readings(record.account, campaign_id=record.campaign_id)
        view = await journal.audit_view(record.campaign_id)
        findings = await asyncio.to_thread(
            audit, view, add_up(readings), price=price, truth=truth, truth_charges=truth_charges
        )
        return Audited(summary=summary, findings=findings, chain=chain_lines(readings))
    finally:
        await journal.close()


async def why(settings: Settings, number: str) -> list[Trace]:
    """What the journal knows of one number, campaign by campaign. Raises BadRecipient, JournalError."""
    mobile = normalise(number)
    journal = await read_journal(settings.journal_path)
    try:
        return await journal.traces(mobile, _spellings(number, mobile))
    finally:
        await journal.close()


def _spellings(number: str, mobile: str) -> list[str]:
    """How the number may stand in a cell that was left out."""
    parts = (mobile[:3], mobile[3:7], mobile[7:])
    plain = [mobile, " ".join(parts), "-".join(parts)]
    return [number, *plain, *(f"+86{way}" for way in plain), *(f"+86 {way}" for way in plain), f"86{mobile}"]


async def order_owner(settings: Settings, verb: str, campaign: str) -> Word:
    """Have an order carried out: by the process that owns the journal, or here when nobody does.

    Raises JournalBusy, JournalError, PlanError.
    """
    order = Order(verb=verb, campaign=campaign)
    if (word := await asked(settings.journal_path, order)) is not None:
        return word
    _refuse_no_journal(settings.journal_path)
    journal = await open_journal(settings.journal_path)
    try:
        return await Steering(journal).on_order(order)
    finally:
        await journal.close()


async def opt_out(
    settings: Settings, account_name: str, mobiles: Sequence[str], *, reason: str, source: OptOutSource
) -> int:
    """Record opt-outs, also while a campaign is being sent: no submission that starts later holds them.

    Returns how many were not recorded already. Raises JournalBusy, JournalError, SettingsError.
    """
    account = settings.for_account(account_name).account_key
    return await _ordered(settings, _OPT_OUT, [account, source.value, reason], mobiles)


async def opt_in(settings: Settings, account_name: str, mobiles: Sequence[str]) -> int:
    """Take opt-outs back. Returns how many there were. Raises JournalBusy, JournalError, SettingsError."""
    return await _ordered(settings, _OPT_IN, [settings.for_account(account_name).account_key], mobiles)


async def opted_out(settings: Settings, account_name: str) -> list[OptOut]:
    """Everybody who has opted out. Raises JournalError, SettingsError."""
    _refuse_folder(settings.journal_path)
    if not settings.journal_path.is_file():
        return []
    journal = await read_journal(settings.journal_path)
    try:
        return await journal.opt_outs(settings.for_account(account_name).account_key)
    finally:
        await journal.close()


async def _ordered(settings: Settings, verb: str, words: list[str], mobiles: Sequence[str]) -> int:
    """Have the owner of the journal do it, a few numbers at a time; or do it here when nobody owns it."""
    path, count = settings.journal_path, 0
    _refuse_folder(path)
    stretches = [mobiles[begin : begin + _IN_ONE_ORDER] for begin in range(0, len(mobiles), _IN_ONE_ORDER)]
    async with AsyncExitStack() as stack:
        mine: SqlJournal | None = None
        for stretch in stretches:
            order = Order(verb=verb, campaign="", words=(*words, *stretch))
            word = None if mine is not None else await asked(path, order)
            if word is None:
                if mine is None:
                    mine = await open_journal(path)
                    stack.push_async_callback(mine.close)
                word = await _carry_out(mine, order, Barred())
            if not word.done:
                raise JournalError(word.words)
            count += int(word.words)
    return count


async def _carry_out(journal: SqlJournal, order: Order, barred: Barred) -> Word:
    if order.verb == _OPT_IN:
        account, *mobiles = order.words
        return Word(done=True, words=str(await journal.remove_opt_outs(account, mobiles, at=_now())))
    account, source, reason, *mobiles = order.words
    barred.add(mobiles)
    new = [OptOut(mobile=mobile, at=_now(), reason=reason, source=OptOutSource(source)) for mobile in mobiles]
    return Word(done=True, words=str(await journal.add_opt_outs(account, new)))


def _refuse_no_journal(path: Path) -> None:
    if not path.is_file():
        raise JournalError(f"there is no journal at {path}; nothing was sent with it yet (see --journal)")


def _refuse_paused(record: CampaignRecord) -> None:
    if record.stored_state is CampaignState.PAUSED and PauseReason.OPERATOR in record.reasons:
        raise JournalBusy(f"{record.name} is paused by the operator; go on with: xinshi resume {record.name}")


async def status(settings: Settings, name: str | None) -> list[CampaignSummary]:
    """One campaign, or all of them, looked at from beside. Raises JournalError, PlanError, SettingsError."""
    _refuse_folder(settings.journal_path)
    if not settings.journal_path.exists():
        if name is None:
            return []
        raise PlanError(
            f"there is no campaign named {name!r}: no journal at {settings.journal_path} yet (see --journal)"
        )
    journal = await read_journal(settings.journal_path)
    try:
        running = is_held(settings.journal_path)
        names = [name] if name is not None else [record.name for record in await journal.campaigns()]
        return [
            await summary_of(journal, each, is_running=running, overdue_before=_overdue_before(settings))
            for each in names
        ]
    finally:
        await journal.close()


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


def _now() -> datetime:
    return datetime.now(UTC)


def _boottime() -> float:
    """Seconds on a clock that goes on while the machine is suspended, so that a lease ends in a closed laptop too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
