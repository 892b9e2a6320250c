"""What every run of one account is fitted with: its lane to the gateway, a pool, a settler, the readings at both ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal

from engine.clock import Clocks, SteadyClock
from engine.dispatch.lane import Lane, Limits
from engine.dispatch.pacing import GUARD_S, numbers_that_fit
from engine.dispatch.pool import Pool, PoolEnd, Settled, Supply, Terms
from engine.dispatch.timetable import Timetable
from engine.dispatch.waiting import beside_sending, unless_set
from engine.errors import GatewayError, Refused
from engine.gate import Gate
from engine.gateway.http import HttpGateway
from engine.gateway.wire import PreparedMessage
from engine.journal.port import Conduct, Kind, OpenDoubt
from engine.journal.store import SqlJournal
from engine.language import N_, _
from engine.ledger.evidence import Policy
from engine.ledger.floor import Floor
from engine.ledger.summary import CampaignSummary
from engine.live import Live, Stop
from engine.model import Balance, BatchState, Message, Outcome, PauseReason
from engine.orders.conduct import pace_of
from engine.orders.plans import batch_size, frame_of, price_ratio
from engine.planning.batching import batch_sizes, distinct_allowed
from engine.queues import Source
from engine.runs.bounds import Bounds
from engine.runs.consuming import ConsumeOrder, Consumer
from engine.runs.judging import Judge
from engine.runs.looking import overdue_before, summary_of
from engine.runs.settling import Settler
from engine.runs.steering import Steering
from engine.runs.telling import Herald
from engine.settings import PaceSettings, Settings
from engine.telemetry import logger
from engine.tracking import Barred

PREPARED_MOST = 256  # texts ready to be sent
NO_BALANCE = N_("the gateway does not tell the balance, so no points can be kept")


class Outfit:
    """Makes what a run needs, and keeps what all runs of one owner of the journal share."""

    def __init__(
        self,
        settings: Settings,
        gate: Gate,
        journal: SqlJournal,
        *,
        clock: SteadyClock,
        clocks: Clocks,
        herald: Herald,
    ) -> None:
        """`clock` gives the times that are written down."""
        self.settings, self.gate, self.journal = settings, gate, journal
        self.clock, self.clocks, self.herald = clock, clocks, herald
        self.account_key = gate.account.account_key
        self.steering = Steering(journal)
        self.barred: Barred | None = None  # of what is being sent
        self._lane: Lane | None = None  # made when the first campaign is sent, and shared by all
        self._pace = gate.account.pace  # of what is being sent
        self._settler: Settler | None = None  # of it

    async def summary(self, name: str) -> CampaignSummary:
        """A campaign in figures."""
        before = overdue_before(self.settings)
        return await summary_of(self.journal, name, is_running=False, overdue_before=before)

    # -- the balance ---------------------------------------------------------------------------------------------------

    async def opening_reading(self, campaign_id: int | None, settler: Settler, stop: Stop) -> Balance | PoolEnd:
        """The balance a run begins with, or why it cannot begin."""
        try:
            balance = await unless_set(stop.gently, settler.read(campaign_id))
        except GatewayError as error:
            return _not_readable(error)
        return PoolEnd(reason=PauseReason.STOPPED) if balance is None else balance

    async def closing_reading(self, campaign_id: int | None, live: Live, settler: Settler, stop: Stop) -> None:
        """Read the balance once more, so that the interval of this run is closed. Without it the run is valid all the same."""
        live.phase = N_("ending")
        try:
            async with asyncio.timeout(self.settings.timeouts.connect_s + self.settings.timeouts.answer_s):
                await unless_set(stop.now, settler.read(campaign_id))
        except (GatewayError, TimeoutError) as error:
            logger.warning("the closing balance could not be read", extra={"problem": str(error)})

    # -- settling ------------------------------------------------------------------------------------------------------

    def settler(self, live: Live, *, also: Callable[[OpenDoubt, bool], None] = lambda doubt, taken: None) -> Settler:
        """Settles the account's doubts, and shows and tells what it does.

        `also` is told of every doubt that ends, and whether it was taken.
        """
        account, profile, settings = self.gate.account, self.gate.profile, self.settings.settlement

        def note(doubt: OpenDoubt, charge: Decimal | None) -> None:
            live.collector.note_settled(doubt.size, taken=charge is not None, charge=charge)
            self.herald.note_ended_doubt(doubt, charge)
            also(doubt, charge is not None)

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

    def note_ended(self, doubt: OpenDoubt, charge: Decimal | None) -> None:
        """A person's word ended a doubt: to what is being sent that is as if evidence had."""
        if self._settler is not None:
            self._settler.on_ended(doubt, charge)

    @asynccontextmanager
    async def settled_beside(
        self, settler: Settler, pool_now: Callable[[], Pool | None], campaign_id: int | None, *, sizes: int
    ) -> AsyncIterator[None]:
        """Settle beside the block. Trouble with it never stops the block: what is in doubt stays so."""
        over = asyncio.Event()
        work = settler.beside(pool_now, campaign_id, sizes=sizes, over=over)
        running = asyncio.create_task(beside_sending(work, "doubts are not settled any more"), name="settling")
        try:
            yield
        finally:
            over.set()
            await asyncio.wait((running,))

    # -- sending -------------------------------------------------------------------------------------------------------

    def go_at(self, conduct: Conduct) -> None:
        """From here on the lane has this campaign's pace. Where it had that before, an order that changed it meanwhile stands."""
        pace = pace_of(conduct, self.gate.account.pace)
        if self._lane is not None and pace != self._pace:
            self._lane.change(_limits(pace))
        self._pace = pace

    async def pool(
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
        scheduled_for: datetime | None = None,
    ) -> Pool:
        """Sends one campaign, or what a supply brings, on the account's lane; `also` is told of every attempt that ends.

        `scheduled_for`: when the gateway is to send what it is handed; None: at once.
        """
        profile, settings = self.gate.profile, self.settings
        self._settler = settler
        lane = await self._open_lane()
        lane.begin()
        live.held_back_by, self.steering.standing = lane.words, live.standing

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
                scheduled_for=scheduled_for,
            ),
            journal=self.journal,
            send=_Sender(self.gate.http, scheduled_for),
            lane=lane,
            wall_clock=self.clock,
            lease_clock=self.clocks.passing,
            on_settled=note,
            opted_out=barred.among,
            avoided_sizes=lambda: settler.avoided_sizes,
            supply=supply,
            bounds=bounds,
        )

    async def _open_lane(self) -> Lane:
        """The account's lane to the gateway. What an earlier process sent a moment ago still counts."""
        if self._lane is None:
            pace, window_s, now = self._pace, self.gate.profile.window_s, self.clock()
            slowest = min((rate for rate in (pace.requests_per_second, pace.numbers_per_second) if rate), default=0.0)
            # Below one a window, the window grows.
            looked_back = timedelta(seconds=max(window_s, 1 / slowest if slowest else 0.0) + GUARD_S)
            recent = await self.journal.starts_since(self.account_key, now - looked_back)
            self._lane = Lane(
                _limits(pace),
                window_s=window_s,
                clock=self.clocks.monotonic,
                retry=self.gate.retry,
                earlier=[((now - at).total_seconds(), numbers) for at, numbers in recent],
            )
            self.steering.lane = self._lane
        return self._lane

    def too_large(self, left: Sequence[Kind]) -> str:
        """Why a batch that was planned under another pace can never leave under this one, or nothing."""
        numbers_per_second = (self._lane.limits if self._lane else self._pace).numbers_per_second
        fits = numbers_that_fit(numbers_per_second, self.gate.profile.window_s)
        largest = max((kind.size for kind in left), default=0)
        if fits is None or largest <= fits:
            return ""
        return _(
            "batches of {largest} numbers are planned, and the pace lets {fits} through at once; raise "
            "numbers_per_second"
        ).format(largest=largest, fits=fits)

    async def queue_bounds(self, timetable: Timetable, keep: Decimal, balance: Balance) -> Bounds:
        """What a queue must stay within at each submission."""
        floor = None
        if keep and balance.remaining is not None:
            ratio = await price_ratio(self.journal, self.account_key)
            floor = Floor(keep, balance=balance.remaining, ratio=ratio)
        return Bounds(timetable, floor, price=self.gate.profile.price_per_segment)

    def consumer(
        self,
        source: Source,
        order: ConsumeOrder,
        barred: Barred,
        balance: Balance,
        live: Live,
        timetable: Timetable,
    ) -> Consumer:
        """Takes in a queue, and supplies a pool with it."""
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


def _limits(pace: PaceSettings) -> Limits:
    return Limits(
        requests_per_second=pace.requests_per_second,
        numbers_per_second=pace.numbers_per_second,
        in_flight=pace.in_flight,
    )


class _Sender:
    """Binds the texts of one campaign to the gateway. A text is prepared once, as long as it is among the last ones."""

    def __init__(self, http: HttpGateway, scheduled_for: datetime | None) -> None:
        self._http, self._scheduled_for = http, scheduled_for
        self._prepared: dict[str, PreparedMessage] = {}

    def __call__(self, message: Message, mobiles: str, size: int, /) -> Awaitable[Outcome]:
        prepared = self._prepared.get(message.content)
        if prepared is None:
            if len(self._prepared) >= PREPARED_MOST:
                self._prepared.clear()
            prepared = self._prepared[message.content] = self._http.prepare(
                message.content, scheduled_for=self._scheduled_for
            )
        return self._http.send(prepared, mobiles, batch_size=size)


def _not_readable(error: GatewayError) -> PoolEnd:
    reason = PauseReason.CREDENTIALS if isinstance(error, Refused) else PauseReason.UNREACHABLE
    if error.http_status == 407:
        reason = PauseReason.CONFIGURATION  # the proxy's own word
    return PoolEnd(reason=reason, detail=_("the balance cannot be read: {error}").format(error=error))
