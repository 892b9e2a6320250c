"""The journal on SQLAlchemy Core: looks (`Reader`) and, for its one owner, writes (`SqlJournal`).

One code path for all databases. Where they must differ, the place says "Differs by necessity:".
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.journal import writes
from engine.journal.audits import AuditLooks
from engine.journal.commits import Commits
from engine.journal.conducting import ConductLooks, ConductWrites, conduct_of
from engine.journal.faults import journal_error
from engine.journal.forgetting import ForgettingLooks, ForgettingWrites
from engine.journal.lock import OwnerLock
from engine.journal.port import (
    CampaignCounts,
    CampaignRecord,
    Conduct,
    Draft,
    Kind,
    NumberedMessage,
    PlanTotals,
    Reading,
    SourceRecord,
    Submitted,
    Tally,
)
from engine.journal.queues import QueueLooks, QueueWrites
from engine.journal.reached import ReachedLooks, ReachedWrites
from engine.journal.schema import attempt, batch, campaign, entry, exclusion, message, source
from engine.journal.settling import LONGEST_REQUEST, SettlingLooks, SettlingWrites
from engine.journal.splitting import SplittingWrites
from engine.journal.tracking import TrackingLooks, TrackingWrites
from engine.journal.writer import Writer
from engine.model import (
    Balance,
    BatchState,
    CampaignState,
    Claim,
    Excluded,
    Exclusion,
    Message,
    Outcome,
    OutcomeKind,
    PauseReason,
    PlannedBatch,
)

_OF_TEXT = (message.c.campaign_id == batch.c.campaign_id) & (message.c.seq == batch.c.message_seq)
_MAY_COME_AGAIN = [
    state.value
    # Split: the numbers stand in the parts.
    for state in (BatchState.REFUSED, BatchState.CANCELLED, BatchState.EXPIRED, BatchState.SPLIT)
]


class Reader(TrackingLooks, SettlingLooks, AuditLooks, ForgettingLooks, QueueLooks, ConductLooks, ReachedLooks):
    """The looks into a journal, through connections that cannot write."""

    def __init__(self, reader: AsyncEngine) -> None:
        self._reader = reader

    async def close(self) -> None:
        """Let go of the connections."""
        await self._reader.dispose()

    async def find_campaign(
        self, *, name: str | None = None, account: str | None = None, order_key: str | None = None
    ) -> CampaignRecord | None:
        """The visible campaign with this name, or the newest of this account and order key."""
        query = select(campaign).where(campaign.c.state != "planning").order_by(campaign.c.id.desc()).limit(1)
        wanted = ((campaign.c.name, name), (campaign.c.account, account), (campaign.c.order_key, order_key))
        for column, value in wanted:
            if value is not None:
                query = query.where(column == value)
        rows = await self._all(query)
        return _campaign_record(rows[0]) if rows else None

    async def campaigns(self) -> list[CampaignRecord]:
        """All visible campaigns, oldest first."""
        rows = await self._all(select(campaign).where(campaign.c.state != "planning").order_by(campaign.c.id))
        return [_campaign_record(row) for row in rows]

    async def messages(self, campaign_id: int) -> list[Message]:
        """The campaign's messages; the first has seq 1. There may be as many as recipients."""
        rows = await self._all(select(message).where(message.c.campaign_id == campaign_id).order_by(message.c.seq))
        return [Message(content=row.content, units=row.units, segments=row.segments) for row in rows]

    async def message_count(self, campaign_id: int) -> int:
        """How many messages the campaign has."""
        (row,) = await self._all(select(func.count()).where(message.c.campaign_id == campaign_id))
        return int(row[0])

    async def held_numbers(self, campaign_id: int, *, after: int = 0, limit: int = 2_000) -> list[tuple[int, str]]:
        """Numbers that must not come into the campaign again, comma-joined by batch, with its seq: accepted, planned or in doubt.

        From the batch after the seq `after` on.
        """
        rows = await self._all(
            select(batch.c.seq, batch.c.mobiles)
            .where(batch.c.campaign_id == campaign_id, batch.c.seq > after, batch.c.state.not_in(_MAY_COME_AGAIN))
            .order_by(batch.c.seq)
            .limit(limit)
        )
        return [(row.seq, row.mobiles) for row in rows]

    async def sources(self, campaign_id: int) -> list[SourceRecord]:
        """The input files the campaign was planned from."""
        rows = await self._all(select(source).where(source.c.campaign_id == campaign_id).order_by(source.c.seq))
        return [
            SourceRecord(
                path=row.path,
                sha256=row.sha256,
                size=row.size,
                encoding=row.encoding,
                number_column=row.number_column,
                inside=row.inside,
                column=row.column_at,
                first_line=row.first_line,
            )
            for row in rows
        ]

    async def planned_sizes(self, campaign_id: int) -> list[tuple[int, int, int]]:
        """Seq, size and segments a recipient of every batch that is still planned, in order."""
        rows = await self._all(
            select(batch.c.seq, batch.c.size, message.c.segments)
            .join(message, _OF_TEXT)
            .where(batch.c.campaign_id == campaign_id, batch.c.state == BatchState.PLANNED.value)
            .order_by(batch.c.seq)
        )
        return [(row.seq, row.size, row.segments) for row in rows]

    async def last_seq(self, campaign_id: int) -> int:
        """The seq of the campaign's last batch, whatever became of it; 0 where it has none."""
        ((last,),) = await self._all(select(func.max(batch.c.seq)).where(batch.c.campaign_id == campaign_id))
        return last or 0

    async def planned_kinds(
        self, campaign_id: int, *, up_to: int | None = None, split_after: int | None = None
    ) -> list[Kind]:
        """The planned batches by size and segments; there may be as many as recipients.

        `up_to`, `split_after`: only those that `set_sendable` lets go.
        """
        mine = (batch.c.campaign_id == campaign_id) & (batch.c.state == BatchState.PLANNED.value)
        if up_to is not None:
            may_go = batch.c.seq <= up_to
            mine &= may_go if split_after is None else may_go | (batch.c.seq > split_after)
        texts = select(message.c.segments).where(message.c.campaign_id == campaign_id).limit(2)
        of_one_text = select(batch.c.size, func.count()).where(mine).group_by(batch.c.size)
        of_several = (
            select(batch.c.size, message.c.segments, func.count())
            .join(message, _OF_TEXT)
            .where(mine)
            .group_by(batch.c.size, message.c.segments)
        )
        async with self._look() as connection:
            told = (await connection.execute(texts)).scalars().all()
            if len(told) == 1:  # then an index tells it all, and no batch is read
                counted = await connection.execute(of_one_text)
                return [Kind(size=row[0], segments=told[0], batches=row[1]) for row in counted]
            return [Kind(*row) for row in await connection.execute(of_several)]

    async def counts(self, campaign_id: int) -> CampaignCounts:
        """The campaign counted, from one consistent look."""
        async with self._look() as connection:
            states = await connection.execute(
                select(batch.c.state, func.count(), func.sum(batch.c.size - batch.c.omitted), func.sum(batch.c.omitted))
                .where(batch.c.campaign_id == campaign_id)
                .group_by(batch.c.state)
            )
            found = states.all()
            tallies = {BatchState(state): Tally(batches=n, recipients=int(size)) for state, n, size, _ in found}
            excluded = await connection.execute(
                select(exclusion.c.reason, func.count())
                .where(exclusion.c.campaign_id == campaign_id)
                .group_by(exclusion.c.reason)
            )
            reasons = Counter({Exclusion(reason): n for reason, n in excluded})
            if omitted := sum(int(n) for *_, n in found):  # opted out after planning
                reasons[Exclusion.OPTED_OUT] += omitted
            short = await connection.execute(
                select(func.coalesce(func.sum(attempt.c.size - attempt.c.success_counts), 0)).where(
                    attempt.c.campaign_id == campaign_id,
                    attempt.c.outcome == OutcomeKind.ACCEPTED.value,
                    attempt.c.success_counts < attempt.c.size,
                )
            )
            why = await connection.execute(
                select(batch.c.state, batch.c.reason, func.sum(batch.c.size - batch.c.omitted))
                .where(batch.c.campaign_id == campaign_id, batch.c.reason.is_not(None))
                .group_by(batch.c.state, batch.c.reason)
            )
            return CampaignCounts(
                excluded=dict(reasons),
                states=tallies,
                charged=await _charged(connection, entry.c.campaign_id == campaign_id),
                shortfall=int(short.scalar_one()),
                reasons={(BatchState(state), reason): int(size) for state, reason, size in why},
            )

    async def readings(self, account: str, *, campaign_id: int | None = None) -> list[Reading]:
        """The account's balance readings in order, each with the charges since the one before.

        With a campaign: from the campaign's first reading on.
        """
        mine = (entry.c.account == account) & (entry.c.kind == "reading")
        async with self._look() as connection:
            first = 0
            if campaign_id is not None:
                opening = select(func.min(entry.c.id)).where(mine, entry.c.campaign_id == campaign_id)
                first = (await connection.execute(opening)).scalar() or 0
            rows = (await connection.execute(select(entry).where(mine, entry.c.id >= first).order_by(entry.c.at))).all()
            readings, since = [], rows[0].at if rows else None
            for row in rows:
                # By time, not by id: the charge of a doubt is entered when it is known, and belongs where it was made.
                between = (entry.c.account == account) & (entry.c.at > since) & (entry.c.at <= row.at)
                charged = await _charged(connection, between)
                readings.append(
                    Reading(at=row.at, remaining=row.remaining, send_total=row.send_total, charged_since_last=charged)
                )
                since = row.at
            return readings

    async def charged_since_reading(self, account: str) -> Decimal:
        """What accepted answers of the account were charged since its last balance reading."""
        last = select(func.max(entry.c.at)).where(entry.c.account == account, entry.c.kind == "reading")
        async with self._look() as connection:
            since = (await connection.execute(last)).scalar()
            mine = entry.c.account == account
            return await _charged(connection, mine if since is None else mine & (entry.c.at > since))

    async def starts_since(self, account: str, since: datetime) -> list[tuple[datetime, int]]:
        """When requests of the account left at the latest, as far as that was since then, with their numbers.

        An intent may have stood at the gate; its request left before its outcome was known.
        """
        left_at = func.coalesce(attempt.c.finished_at, attempt.c.started_at, type_=attempt.c.started_at.type)
        rows = await self._all(
            select(left_at, attempt.c.size)
            .where(attempt.c.account == account, attempt.c.started_at >= since - LONGEST_REQUEST, left_at >= since)
            .order_by(left_at, attempt.c.size)
        )
        return [(row[0], row.size) for row in rows]

    async def _all(self, query: Select[Any]) -> Sequence[Row[Any]]:
        async with self._look() as connection:
            rows: Sequence[Row[Any]] = (await connection.execute(query)).all()
            return rows

    @asynccontextmanager
    async def _look(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._reader.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise journal_error(error) from error


class SqlJournal(
    Reader,
    TrackingWrites,
    SettlingWrites,
    SplittingWrites,
    ForgettingWrites,
    QueueWrites,
    ConductWrites,
    ReachedWrites,
):
    """The journal of its one owner. Every write is durable when its verb returns. See `Journal` in port.py."""

    def __init__(
        self,
        writer: Writer,
        reader: AsyncEngine,
        *,
        owner: str,
        epoch: int,
        lock: OwnerLock,
    ) -> None:
        super().__init__(reader)
        self.owner, self.epoch = owner, epoch
        self._writer, self._lock = writer, lock
        self._commits = Commits(writer)
        self._split_after: dict[int, int | None] = {}  # by campaign, see `set_sendable`: no longer than its run

    async def close(self) -> None:
        """Write what was begun, let go of the connections, then of the lock."""
        # Whatever fails, the rest is let go of; an open reader would hang the exit.
        async with AsyncExitStack() as stack:
            stack.callback(self._lock.release)
            stack.push_async_callback(self._writer.close)
            stack.push_async_callback(super().close)
            await self._commits.close()

    def when_silent(self, act: Callable[[int], None]) -> None:
        """See `writer.Writer`: what a run that ends may wait for."""
        self._writer.when_silent(act)

    def hurry(self) -> None:
        """Wait for nobody who stands still any more. What cannot be written then is a JournalError, as after a kill."""
        self._writer.hurry()

    async def begin_campaign(self, draft: Draft) -> int:
        """Store a campaign nobody sees yet, and return its id. Raises PlanError when the name is taken."""
        return await self._commits.do(writes.begin_campaigns, draft)

    async def add_plan(
        self,
        campaign_id: int,
        batches: Sequence[PlannedBatch],
        excluded: Sequence[Excluded],
        messages: Sequence[NumberedMessage] = (),
    ) -> None:
        """Add messages, then batches and excluded rows, to a campaign that is not visible yet."""
        await self._commits.do(writes.add_plans, writes.plan_part(campaign_id, batches, excluded, messages))

    async def publish_campaign(self, campaign_id: int, totals: PlanTotals) -> None:
        """Make a completely planned campaign visible, in one commit."""
        await self._commits.do(writes.publish, (campaign_id, totals))

    async def merge_campaign(
        self, campaign_id: int, into: int, totals: PlanTotals, conduct: Conduct | None = None
    ) -> None:
        """Make what was planned a part of a visible campaign, in one commit. Nothing of its own stays of it."""
        await self._commits.do(writes.merge, (campaign_id, into, totals, conduct))

    async def discard_campaign(self, campaign_id: int) -> None:
        """Remove a campaign that never became visible."""
        await self._commits.do(writes.discard, campaign_id)

    async def set_campaign_state(
        self, campaign_id: int, state: CampaignState, reasons: Sequence[PauseReason] = (), detail: str = ""
    ) -> None:
        """Record what the campaign as a whole does now, and why."""
        await self._commits.do(writes.set_states, (campaign_id, state, reasons, detail))

    async def cancel_campaign(self, campaign_id: int) -> int:
        """Cancel what has not started, for good. Returns how many recipients that were."""
        return await self._commits.do(writes.cancel, campaign_id)

    async def set_sendable(self, campaign_id: int, sendable: int | None, *, split_after: int | None = None) -> None:
        """Set up to which batch the campaign may send; None: all of it."""
        await self._commits.do(writes.release_withheld, (campaign_id, sendable))
        self._split_after[campaign_id] = split_after

    async def claim_batches(
        self, campaign_id: int, *, limit: int, lease_until_s: float, avoiding: Sequence[int] = ()
    ) -> list[Claim]:
        """Take the right to up to `limit` planned batches, in their order; none of a size in `avoiding`."""
        split_after = self._split_after.get(campaign_id)
        order = (campaign_id, limit, self.owner, self.epoch, lease_until_s, tuple(avoiding), split_after)
        return writes.claims_of(order, await self._commits.do(writes.claim, order))

    async def release(self, claims: Sequence[Claim]) -> None:
        """Give claims back unsent: the batches are planned again. Claims lost meanwhile are left alone."""
        await self._commits.do(writes.release, claims)

    async def withdraw(self, claim: Claim, *, at: datetime, reason: str) -> None:
        """Give a claim back of which nothing has left, whether its intent is stored or not. A lost claim is left alone."""
        await self._commits.do(writes.withdraw, (claim, at, reason))

    async def record_intent(
        self,
        account: str,
        claim: Claim,
        *,
        started_at: datetime,
        omit: Sequence[str] = (),
        scheduled_for: datetime | None = None,
    ) -> Submitted:
        """Make durable what is about to leave, with the time at which the gateway is to send it.

        Raises ClaimLost when the batch is not this claim's any more.
        """
        intent = writes.submitted(claim, started_at, omit)
        await self._commits.do(writes.record_intents, writes.intent_row(account, intent, omit, scheduled_for))
        return intent

    async def cancel_emptied(self, claim: Claim) -> None:
        """End a batch of which every number has opted out. Raises ClaimLost when it is not this claim's any more."""
        await self._commits.do(writes.cancel_emptied, claim)

    async def record_outcome(
        self,
        account: str,
        submitted: Submitted,
        outcome: Outcome,
        *,
        finished_at: datetime,
        then: BatchState,
        charge: Decimal | None = None,
    ) -> None:
        """Store what the attempt came to, move the batch to `then`, and enter the charge, in one transaction."""
        try:
            row = writes.outcome_row(account, submitted, outcome, finished_at=finished_at, then=then, charge=charge)
        except (ValueError, ArithmeticError) as error:  # points that are no number
            raise journal_error(error) from error
        await self._commits.do(writes.record_outcomes, row)

    async def record_reading(
        self, account: str, balance: Balance, *, campaign_id: int | None, asked_at: datetime | None = None
    ) -> None:
        """Enter a balance reading of the account, asked for at `asked_at` and answered at `balance.at`."""
        await self._commits.do(writes.record_readings, (account, balance, campaign_id, asked_at))


async def _charged(connection: AsyncConnection, where: ColumnElement[bool]) -> Decimal:
    total = select(func.coalesce(func.sum(entry.c.points), Decimal(0))).where(where, entry.c.kind == "charge")
    return Decimal((await connection.execute(total)).scalar_one())


def _campaign_record(row: Row[Any]) -> CampaignRecord:
    return CampaignRecord(
        campaign_id=row.id,
        name=row.name,
        account=row.account,
        profile=row.profile,
        order_key=row.order_key,
        plan_hash=row.plan_hash,
        stored_state=CampaignState(row.state),
        reasons=tuple(PauseReason(reason) for reason in json.loads(row.reasons)),
        detail=row.detail,
        rows=row.rows,
        extra=row.extra,
        recipients=row.recipients,
        estimated=row.estimated,
        sendable=row.sendable,
        created_at=row.created_at,
        screened=row.screened,
        grows=row.queue_id is not None,
        forgotten_at=row.forgotten_at,
        wording=row.wording,
        conduct=conduct_of(row),
        canary_seq=row.canary_seq,
        canary_passed=row.canary_passed,
    )
