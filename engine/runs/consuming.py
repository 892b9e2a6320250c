"""Sends what a queue brings, for as long as it is asked to: fetch, judge, gather, journal, acknowledge; beside it a pool sends.

    Source ─Delivery─► Judge ─Parcel─► Gathering ─Group─► journal (one commit) ─► acknowledged at the broker
                         └ bad: dead letter                  └─ planned batches ─► Pool ─► outcomes, told to who wants to know

A message is acknowledged when its batch is durable, and not before; a message id that the journal remembers is acknowledged and
not sent again. So whoever dies, and whenever: the broker hands it over once more, and the journal knows whether it was there.
While too many recipients wait, nothing is fetched, and the messages stay at the broker. What is planned in a campaign that somebody
paused waits in the journal and takes nothing of that room: it holds up nobody else. Outside its hours nothing is sent, and all else
goes on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Protocol

from engine.clock import boottime
from engine.dispatch.pool import Pool, PoolEnd, Settled
from engine.dispatch.timetable import Timetable
from engine.dispatch.waiting import first_of
from engine.errors import GatewayError, PlanError, QueueError
from engine.journal.arrivals import Arrival, Arrived, LeftOutRow, NoticeOutcome, QueueJournal
from engine.journal.port import CampaignRecord, Conduct, Journal, OpenDoubt, SettlingJournal
from engine.language import N_, _
from engine.ledger.summary import CampaignSummary
from engine.live import Live, Stop
from engine.model import CampaignState, Claim, PauseReason
from engine.queues import BadNotice, Delivery, Gathering, Group, Notice, Source, read_notice
from engine.queues.gathering import deliveries_of
from engine.runs.judging import KEPT_TEXTS, Judge, Recent
from engine.runs.settling import Settler
from engine.telemetry import logger, mask

FETCH_AT_ONCE = 500  # messages
LOOK_AGAIN_S = 1.0
"""How long something that nobody rang for may stay unseen: a batch given back, room in the backlog."""
TELL_AGAIN_S = 10.0
EMPTY_AFTER_S = 1.0  # a source that brings nothing for so long is empty
_TOLD_AT_ONCE = 500
_BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumeOrder:
    """How a queue is consumed.

    `name` is what campaigns of a queue and day begin with. `backlog`: recipients that may wait to be sent before fetching pauses.
    `conduct`: its hours, and the points that are to stay. `idle_s`: after so long without a sign the broker may give what we hold to somebody else.
    `outcomes`: the stream, queue or topic in which somebody wants to know; "" none. `once`: end when the queue is empty.
    """

    name: str
    linger_s: float
    backlog: int
    idle_s: float = 60.0
    outcomes: str = ""
    once: bool = False
    signature: str | None = None
    opt_out: str | None = None
    conduct: Conduct = field(default_factory=Conduct)


@dataclass(slots=True, kw_only=True)
class Counted:
    """What a consumer did: messages made durable, known already, buried; outcomes told."""

    taken: int = 0
    redelivered: int = 0
    dead: int = 0
    told: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumed:
    """How consuming ended, what was done, and the campaigns it was done for, in figures."""

    end: PoolEnd
    counted: Counted
    campaigns: list[CampaignSummary]


class Books(QueueJournal, SettlingJournal, Journal, Protocol):
    """The journal as a consumer needs it."""


class Consumer:
    """Takes in one queue and supplies a pool with it. Runs once."""

    def __init__(
        self,
        source: Source,
        journal: Books,
        judge: Judge,
        order: ConsumeOrder,
        live: Live,
        *,
        account: str,
        profile: str,
        price: Decimal,
        sizes: Iterator[int],
        clock: Callable[[], datetime],
        timetable: Timetable,
    ) -> None:
        """`sizes`: recipients in one request, for one after the other; `price` in points for a segment."""
        self._source, self._journal, self._judge, self._order, self._live = source, journal, judge, order, live
        self._account, self._profile, self._price, self._clock = account, profile, price, clock
        self._timetable = timetable
        self._passing = boottime
        self.counted = Counted()
        self.campaigns: dict[int, str] = {}  # that are sent now, and their names
        self.pool: Pool | None = None
        self._gathering = Gathering(sizes=sizes, linger_s=order.linger_s)
        self._seqs: Recent[tuple[str, str], int] = Recent(KEPT_TEXTS)
        self._settler: Settler | None = None
        self._news = asyncio.Event()  # something was planned
        self._room = asyncio.Event()  # something was sent
        self._ended: set[int] = set()  # batches that came to something
        self._tells = asyncio.Event()
        self._stopping = asyncio.Event()
        self._is_drained = False

    # -- for the engine ------------------------------------------------------------------------------------------------

    async def run(self, make_pool: Callable[[], Awaitable[Pool]], settler: Settler, stop: Stop) -> PoolEnd:
        """Consume until `stop`, a reason to pause, or, once, until the queue is empty. Raises JournalError.

        What was fetched and is not durable goes back. Requests in flight come to their end as in any run.
        """
        self._settler = settler
        mine = set(await self._journal.queue_campaigns(self._source.name, self._account))
        for record in await self._journal.campaigns():
            if record.campaign_id in mine:
                await self._take_up(record)
        watching = asyncio.create_task(self._watch(stop), name="stop")
        try:
            async with asyncio.TaskGroup() as group:
                taking = group.create_task(self._take_in(), name="intake")
                telling = group.create_task(self._tell_on(), name="outcomes")
                end = await self._send(make_pool, settler, stop)
                self._stopping.set()
                await taking
                telling.cancel()
            await self._tell_the_rest()
        except BaseExceptionGroup as failures:  # raised on: the first is the cause
            raise failures.exceptions[0] from failures
        finally:
            watching.cancel()
        await self._leave(end)
        return end

    async def steered(self, verb: str, campaign: str) -> None:
        """An order for a campaign was written into the journal: let the pool see it."""
        if campaign not in self.campaigns.values():
            return
        if verb in ("pause", "cancel") and self.pool is not None:
            self.pool.halt(PauseReason.OPERATOR, N_("the operator gave an order"))
        self._news.set()

    def note_settled(self, settled: Settled) -> None:
        """An attempt has ended."""
        self._room.set()
        self._tell_of(settled.submitted.claim.batch_id)

    def note_ended(self, doubt: OpenDoubt) -> None:
        """A doubt has ended; its batch may be planned again."""
        self._news.set()
        self._tell_of(doubt.batch_id)

    # -- the supply of a pool ------------------------------------------------------------------------------------------

    async def claim(self, *, limit: int, lease_until_s: float, avoiding: Sequence[int]) -> list[Claim]:
        """See `dispatch.pool.Supply`."""
        self._news.clear()
        return await self._journal.claim_queued(
            self.campaigns, limit=limit, lease_until_s=lease_until_s, avoiding=avoiding
        )

    async def more(self) -> bool:
        """See `dispatch.pool.Supply`."""
        if self._is_drained:
            return False
        await first_of(self._news, timeout=LOOK_AGAIN_S)
        return True

    # -- taking in -----------------------------------------------------------------------------------------------------

    async def _take_in(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                if failures:
                    await self._source.open()
                    self._live.notice(_("{name} is back").format(name=self._source.name))
                    failures = 0
                await self._round()
            except QueueError as error:
                # Nothing of it is durable, and the broker has all of it: it comes again.
                self._gathering.rest()
                if failures == 0:
                    logger.warning("the queue is lost; trying again", extra={"problem": str(error)})
                    self._live.notice(_("{problem}: trying again until it is back").format(problem=mask(str(error))))
                await first_of(self._stopping, timeout=_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])
                failures += 1
        if rest := list(deliveries_of(self._gathering.rest())):
            with suppress(QueueError):
                await self._source.nack(rest)

    async def _round(self) -> None:
        """Fetch once, and make durable what has waited long enough."""
        room = (
            self._order.backlog - len(self._gathering) - await self._journal.waiting(self._source.name, self._account)
        )
        due_s = self._gathering.next_due_s()
        wait_s = EMPTY_AFTER_S if due_s is None else min(EMPTY_AFTER_S, max(0.0, due_s - self._passing()))
        if room <= 0 and due_s is None:
            self._room.clear()
            await first_of(self._room, self._stopping, timeout=LOOK_AGAIN_S)
            return
        if room > 0:
            deliveries = await self._source.fetch(min(room, FETCH_AT_ONCE), wait_s)
            if not deliveries and due_s is None and self._order.once:
                self._is_drained = True
                self._stopping.set()
                self._news.set()
            await self._take(deliveries, self._passing())
        else:
            await first_of(self._stopping, timeout=wait_s)
        await self._make_durable(self._gathering.due(self._passing()))

    async def _take(self, deliveries: Sequence[Delivery], fetched_s: float) -> None:
        read = [(delivery, notice) for delivery in deliveries if (notice := await self._read(delivery)) is not None]
        known = await self._journal.known_numbers(self._source.name, {notice.notice_id for _, notice in read})
        complete: list[Group] = []
        seen = set(self._gathering.ids)  # not durable when the journal was asked
        redelivered: list[tuple[Delivery, str]] = []
        for delivery, notice in read:
            notice_id = notice.notice_id
            if notice_id in seen:  # first it must be certain what came before
                await self._make_durable([*complete, *self._gathering.rest()])
                complete = []
                known |= await self._journal.known_numbers(self._source.name, [notice_id])
            seen.add(notice_id)
            try:
                parcel = self._judge.parcel(delivery, notice, known.get(notice_id, set()))
            except BadNotice as reason:
                await self._bury(delivery, str(reason))
                continue
            if parcel is None:
                redelivered.append((delivery, notice_id))
            else:
                complete += self._gathering.add(parcel, now_s=fetched_s)
        await self._make_durable(complete)
        await self._acknowledge_again(redelivered)

    async def _read(self, delivery: Delivery) -> Notice | None:
        try:
            return read_notice(delivery.body)
        except BadNotice as reason:
            await self._bury(delivery, str(reason))
            return None

    async def _bury(self, delivery: Delivery, reason: str) -> None:
        await self._source.bury(delivery, mask(reason))
        self.counted.dead += 1

    async def _acknowledge_again(self, redelivered: Sequence[tuple[Delivery, str]]) -> None:
        """These are durable already; the acknowledgement got lost, or what was to be told."""
        if not redelivered:
            return
        if self._order.outcomes:
            left_out = await self._journal.left_out_of(self._source.name, {notice_id for _, notice_id in redelivered})
            await self._publish(left_out)
        await self._source.ack([delivery for delivery, _ in redelivered])
        self.counted.redelivered += len(redelivered)

    # -- making durable ------------------------------------------------------------------------------------------------

    async def _make_durable(self, groups: Sequence[Group]) -> None:
        """One commit for all of them; only then they are acknowledged."""
        if not groups:
            return
        if self._passing() - min(group.due_s for group in groups) > self._order.idle_s / 2:
            raise QueueError(
                _("{name}: messages were held too long (the machine slept?); they come again").format(
                    name=self._source.name
                )
            )
        try:
            arrived = await self._journal.add_arrivals([self._arrival(group) for group in groups])
        except PlanError as reason:
            await self._make_durable_alone(groups, reason)
            return
        for group, where in zip(groups, arrived, strict=True):
            self._note_arrived(group, where)
        if self._order.outcomes:
            await self._publish(_left_out(groups))
        await self._source.ack(list(deliveries_of(groups)))
        for group, where in zip(groups, arrived, strict=True):
            if where.campaign_id not in self.campaigns:
                await self._begin(where.campaign_id, group.campaign)
        self._news.set()

    async def _make_durable_alone(self, groups: Sequence[Group], reason: PlanError) -> None:
        """A campaign does not take what was meant for it. That is the fault of those messages and of no others."""
        if len(groups) > 1:
            for group in groups:
                await self._make_durable([group])
            return
        for delivery in deliveries_of(groups):
            await self._bury(delivery, str(reason))

    def _arrival(self, group: Group) -> Arrival:
        return Arrival(
            queue=self._source.name,
            account=self._account,
            profile=self._profile,
            campaign=group.campaign,
            message=group.message,
            message_seq=self._seqs.get((group.campaign, group.message.content)),
            batches=group.batches(),
            left_out=[
                LeftOutRow(parcel.notice_id, each.raw, each.reason, each.detail)
                for parcel in group.parcels
                for each in parcel.left_out
            ],
            wants_outcome=bool(self._order.outcomes),
            price=self._price,
            at=self._clock(),
        )

    def _note_arrived(self, group: Group, where: Arrived) -> None:
        if where.message_seq is not None:
            self._seqs.put((group.campaign, group.message.content), where.message_seq)
        self.counted.taken += len(group.parcels)
        self._live.rows += sum(len(parcel.mobiles) + len(parcel.left_out) for parcel in group.parcels)
        self._live.recipients += len(group.mobiles)

    # -- campaigns -----------------------------------------------------------------------------------------------------

    async def _take_up(self, record: CampaignRecord) -> None:
        """A campaign of an earlier run, as far as something of it is left."""
        if record.stored_state is CampaignState.CANCELLED:
            return
        is_left = await self._journal.planned_sizes(record.campaign_id) or await self._journal.open_doubts(
            self._account, campaign_id=record.campaign_id
        )
        if is_left or record.name == self._judge.campaign_of_today:
            await self._begin(record.campaign_id, record.name)

    async def _begin(self, campaign_id: int, name: str) -> None:
        """Send what is planned in it from now on. The balance is read first, so that its points add up."""
        assert self._settler is not None
        try:
            await self._settler.read(campaign_id)
        except GatewayError as error:
            logger.warning("the opening balance could not be read", extra={"problem": str(error)})
        if not await self._is_paused(name):
            await self._journal.set_campaign_state(campaign_id, CampaignState.RUNNING)
        if name == self._judge.campaign_of_today:  # what is left of yesterday's goes on; nothing new comes to it
            for other, other_name in list(self.campaigns.items()):
                is_older = other_name.startswith(self._order.name) and other_name != name
                if is_older and not await self._is_paused(other_name):
                    await self._journal.set_campaign_state(other, CampaignState.PLANNED)
        self.campaigns[campaign_id] = name

    async def _is_paused(self, name: str) -> bool:
        """Whether somebody paused it, and nobody has resumed it since."""
        record = await self._journal.find_campaign(name=name)
        return record is not None and PauseReason.OPERATOR in record.reasons

    async def _leave(self, end: PoolEnd) -> None:
        state = CampaignState.RUNNING if end.reason is None else CampaignState.PAUSED
        reasons = () if end.reason is None else (end.reason,)
        for record in await self._journal.campaigns():
            if record.campaign_id in self.campaigns and PauseReason.OPERATOR not in record.reasons:
                await self._journal.set_campaign_state(record.campaign_id, state, reasons, end.detail)

    # -- sending -------------------------------------------------------------------------------------------------------

    async def _send(self, make_pool: Callable[[], Awaitable[Pool]], settler: Settler, stop: Stop) -> PoolEnd:
        while True:
            await self._until_open(stop)
            self.pool = await make_pool()
            try:
                end = await self.pool.run(stop=stop.gently, stop_now=stop.now)
            finally:
                self.pool = None
            await self._end_cancelled()
            if end.reason in (PauseReason.OPERATOR, PauseReason.WINDOW):
                continue
            if end.reason is not None:
                return end
            for campaign_id in list(self.campaigns):
                await settler.until_settled(campaign_id, give_up=stop.gently, may_send=self._may_send)
            if stop.gently.is_set():
                return PoolEnd(reason=PauseReason.STOPPED)
            if not await self._may_send():
                return end

    async def _until_open(self, stop: Stop) -> None:
        """Wait for its hours, as long as something may have to be sent then. Messages are taken in meanwhile."""
        before, told = self._live.phase, ""
        while not self._timetable.is_open and not stop.gently.is_set():
            if self._is_drained and not await self._may_send():
                break
            if (words := self._timetable.words()) != told:
                self._live.notice(_("{name} {words}").format(name=self._source.name, words=words))
                self._live.phase = told = words
            await first_of(stop.gently, timeout=min(LOOK_AGAIN_S, self._timetable.waits_s))
        self._live.phase = before

    async def _may_send(self) -> bool:
        return await self._journal.waiting(self._source.name, self._account) > 0

    async def _end_cancelled(self) -> None:
        """What the pool gave back of a campaign that was cancelled meanwhile is cancelled too."""
        for record in await self._journal.campaigns():
            if record.campaign_id in self.campaigns and record.stored_state is CampaignState.CANCELLED:
                await self._journal.cancel_campaign(record.campaign_id)
                del self.campaigns[record.campaign_id]

    async def _watch(self, stop: Stop) -> None:
        await stop.gently.wait()
        self._stopping.set()
        self._news.set()

    # -- telling -------------------------------------------------------------------------------------------------------

    def _tell_of(self, batch_id: int) -> None:
        if self._order.outcomes:
            self._ended.add(batch_id)
            self._tells.set()

    async def _tell_on(self) -> None:
        """Tell what became of everybody, now and later. Whoever dies in between: it is told again, never forgotten."""
        if not self._order.outcomes:
            return
        self._ended.update(await self._journal.untold_batches(self._source.name))
        while True:
            try:
                await self.tell()
                await first_of(self._tells, timeout=TELL_AGAIN_S)
                if not self._tells.is_set():
                    self._ended.update(await self._journal.untold_batches(self._source.name))
            except QueueError as error:
                logger.debug("outcomes could not be told; trying again", extra={"problem": str(error)})
                await asyncio.sleep(LOOK_AGAIN_S)

    async def _tell_the_rest(self) -> None:
        """What cannot be told now is told by the next run."""
        if self._order.outcomes:
            self._ended.update(await self._journal.untold_batches(self._source.name))
            with suppress(QueueError):
                await self.tell()

    async def tell(self) -> None:
        """Tell of what has ended so far. Raises QueueError; then it is still to be told."""
        self._tells.clear()
        ids = sorted(self._ended)
        for begin in range(0, len(ids), _TOLD_AT_ONCE):
            some = ids[begin : begin + _TOLD_AT_ONCE]
            outcomes = await self._journal.notice_outcomes(some)
            await self._publish(outcomes)
            await self._journal.note_told(outcomes)
            self._ended.difference_update(some)

    async def _publish(self, outcomes: Sequence[NoticeOutcome]) -> None:
        payloads = list(_payloads(outcomes))
        for begin in range(0, len(payloads), _TOLD_AT_ONCE):
            await self._source.publish(self._order.outcomes, payloads[begin : begin + _TOLD_AT_ONCE])
        self.counted.told += len(payloads)


def _left_out(groups: Iterable[Group]) -> list[NoticeOutcome]:
    return [
        NoticeOutcome(0, group.campaign, 0, parcel.notice_id, each.raw, "excluded", None, each.words, None)
        for group in groups
        for parcel in group.parcels
        for each in parcel.left_out
    ]


def _payloads(outcomes: Iterable[NoticeOutcome]) -> Iterable[bytes]:
    """One message for everybody in a message who came to the same."""

    def came_to(each: NoticeOutcome) -> tuple[str, str, str, str, str]:
        return each.notice_id, each.campaign, each.state, each.task_id or "", each.reason

    for (notice_id, campaign, state, task_id, reason), same in groupby(sorted(outcomes, key=came_to), key=came_to):
        told = {
            "id": notice_id,
            "mobiles": [each.number for each in same],
            "campaign": campaign,
            "state": state,
            "task_id": task_id or None,
            "reason": reason,
        }
        yield json.dumps(told, ensure_ascii=False).encode("utf-8", "backslashreplace")
