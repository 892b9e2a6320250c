"""Campaigns that grow from a queue: what arrives becomes batches and remembered message ids, in one transaction.

A row of such a campaign is one number of one message; the lines in its batches count these rows, and `notice` says of each which
message it came with. The unit of once is queue, message id and number: it is the key of that table.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, Table, and_, bindparam, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.errors import PlanError
from engine.journal.arrivals import Arrival, Arrived, NoticeOutcome
from engine.journal.bulk import Bulk
from engine.journal.commits import Commits
from engine.journal.schema import attempt, batch, campaign, exclusion, message, notice, queue
from engine.language import _
from engine.lines import pack_lines, unpack_lines
from engine.model import BatchState, CampaignState, Claim, Exclusion, Message

NOT_WANTED = "-"
"""In `notice.told`: nobody asked what became of it."""

_IN_ONE_QUERY = 500  # values in an IN (…)
_CAME_TO_SOMETHING = [
    state.value
    for state in (
        BatchState.ACCEPTED,
        BatchState.REFUSED,
        BatchState.IN_DOUBT,
        BatchState.CANCELLED,
        BatchState.EXPIRED,
    )
]
_WAITS = (BatchState.PLANNED.value, BatchState.CLAIMED.value)
_UNTOLD = or_(notice.c.told.is_(None), notice.c.told == BatchState.IN_DOUBT.value)

_ADD_MESSAGE = Bulk(insert(message), ("campaign_id", "seq", "content", "units", "segments"))
_ADD_BATCH = Bulk(insert(batch), ("campaign_id", "seq", "message_seq", "size", "state", "attempts", "mobiles", "lines"))
_ADD_EXCLUSION = Bulk(insert(exclusion), ("campaign_id", "line", "raw", "reason", "detail"))
_ADD_NOTICE = Bulk(insert(notice), ("queue_id", "notice_id", "number", "campaign_id", "line", "told"))
_TELL = Bulk(
    update(notice)
    .where(notice.c.campaign_id == bindparam("n_campaign"), notice.c.line == bindparam("n_line"))
    .values(told=bindparam("n_told")),
    ("n_campaign", "n_line", "n_told"),
)


# ── what arrives ─────────────────────────────────────────────────────────────────────────────────────────────────────


def add_arrivals(connection: Connection, groups: Sequence[Sequence[Arrival]]) -> list[list[Arrived]]:
    """Make campaigns grow."""
    growing: dict[tuple[str, str], _Growth] = {}
    arrived = []
    for group in groups:
        arrived.append([_growth(connection, growing, arrival).take(arrival) for arrival in group])
    for growth in growing.values():
        growth.write(connection)
    return arrived


class _Growth:
    """What comes to one campaign in one transaction: gathered, then written in a few statements however much it is."""

    def __init__(self, campaign_id: int, queue_id: int, *, rows: int, messages: int, batches: int) -> None:
        """`rows`, `messages`, `batches`: how many the campaign has."""
        self._campaign_id, self._queue_id = campaign_id, queue_id
        self._line, self._message_seq, self._seq = rows, messages, batches
        self._recipients, self._new_rows, self._estimated = 0, 0, Decimal(0)
        self._messages: list[tuple[Any, ...]] = []
        self._batches: list[tuple[Any, ...]] = []
        self._excluded: list[tuple[Any, ...]] = []
        self._notices: list[tuple[Any, ...]] = []

    def take(self, arrival: Arrival) -> Arrived:
        """Take one arrival in. `message_seq` is that of its text, None where nobody gets it."""
        told = None if arrival.wants_outcome else NOT_WANTED
        seq = self._say(arrival) if arrival.batches else None
        known: set[tuple[str, str]] = set()
        for members in arrival.batches:
            self._add_batch(seq, members, told)
            known.update(members)
        for each in arrival.left_out:
            line = self._next_line()
            self._excluded.append((self._campaign_id, line, each.raw, each.reason.value, each.detail))
            if (each.notice_id, each.raw) not in known:  # twice in one message, it is remembered once
                known.add((each.notice_id, each.raw))
                self._notices.append((self._queue_id, each.notice_id, each.raw, self._campaign_id, line, told))
        recipients = sum(map(len, arrival.batches))
        self._recipients += recipients
        self._estimated += recipients * arrival.message.segments * arrival.price
        return Arrived(campaign_id=self._campaign_id, message_seq=seq)

    def _say(self, arrival: Arrival) -> int:
        if arrival.message_seq is not None:
            return arrival.message_seq
        self._message_seq += 1
        self._messages.append((self._campaign_id, self._message_seq, *arrival.message))
        return self._message_seq

    def _add_batch(self, message_seq: int | None, members: Sequence[tuple[str, str]], told: str | None) -> None:
        self._seq += 1
        lines = [self._next_line() for _ in members]
        mobiles = ",".join(mobile for _, mobile in members)
        planned = BatchState.PLANNED.value
        self._batches.append(
            (self._campaign_id, self._seq, message_seq, len(members), planned, 0, mobiles, pack_lines(lines))
        )
        self._notices += [
            (self._queue_id, notice_id, mobile, self._campaign_id, line, told)
            for (notice_id, mobile), line in zip(members, lines, strict=True)
        ]

    def _next_line(self) -> int:
        self._line += 1
        self._new_rows += 1
        return self._line

    def write(self, connection: Connection) -> None:
        """Write all of it. Raises IntegrityError where a message id is remembered already."""
        written = (
            (_ADD_MESSAGE, self._messages),
            (_ADD_BATCH, self._batches),
            (_ADD_EXCLUSION, self._excluded),
            (_ADD_NOTICE, self._notices),
        )
        for statement, rows in written:
            if rows:
                statement.execute(connection, rows)
        connection.execute(
            update(campaign)
            .where(campaign.c.id == self._campaign_id)
            .values(
                rows=campaign.c.rows + self._new_rows,
                recipients=campaign.c.recipients + self._recipients,
                estimated=campaign.c.estimated + self._estimated,
            )
        )


def _growth(connection: Connection, growing: dict[tuple[str, str], _Growth], arrival: Arrival) -> _Growth:
    """What comes to the campaign of an arrival; the campaign is made where it is not there. Raises PlanError."""
    key = (arrival.queue, arrival.campaign)
    if key not in growing:
        queue_id = _queue_id(connection, arrival.queue)
        found = connection.execute(select(campaign).where(campaign.c.name == arrival.campaign)).one_or_none()
        if found is not None:
            _refuse_other(found, arrival, queue_id)
            growing[key] = _Growth(
                found.id,
                queue_id,
                rows=found.rows,
                messages=_last(connection, message, found.id),
                batches=_last(connection, batch, found.id),
            )
        else:
            growing[key] = _Growth(_begin(connection, arrival, queue_id), queue_id, rows=0, messages=0, batches=0)
    return growing[key]


def _queue_id(connection: Connection, name: str) -> int:
    found = connection.execute(select(queue.c.id).where(queue.c.name == name)).scalar()
    if found is None:
        found = connection.execute(insert(queue).values(name=name).returning(queue.c.id)).scalar_one()
    return int(found)


def _last(connection: Connection, table: Table, campaign_id: int) -> int:
    return connection.execute(select(func.max(table.c.seq)).where(table.c.campaign_id == campaign_id)).scalar() or 0


def _begin(connection: Connection, arrival: Arrival, queue_id: int) -> int:
    named = "\n".join(("queue/1", arrival.account, arrival.queue, arrival.campaign))
    key = hashlib.sha256(named.encode()).hexdigest()
    row = {
        "name": arrival.campaign,
        "account": arrival.account,
        "profile": arrival.profile,
        "order_key": key,
        "plan_hash": key[:12],
        "state": CampaignState.RUNNING.value,
        "created_at": arrival.at,
        "queue_id": queue_id,
    }
    return int(connection.execute(insert(campaign).values(row).returning(campaign.c.id)).scalar_one())


def _refuse_other(found: Row[Any], arrival: Arrival, queue_id: int) -> None:
    if found.queue_id is None:
        raise PlanError(_("the campaign {name!r} is a list's; a queue cannot add to it").format(name=found.name))
    if found.queue_id != queue_id or found.account != arrival.account:
        raise PlanError(_("the campaign {name!r} belongs to another queue or account").format(name=found.name))
    if found.state == CampaignState.CANCELLED.value:
        raise PlanError(_("the campaign {name!r} is cancelled").format(name=found.name))


# ── what is sent ─────────────────────────────────────────────────────────────────────────────────────────────────────

QueuedOrder = tuple[tuple[int, ...], int, str, int, float, tuple[int, ...]]


def claim_queued(connection: Connection, orders: Sequence[QueuedOrder]) -> list[list[Claim]]:
    """Take the right to planned batches of several campaigns, in the order in which they were planned."""
    return [_claim(connection, order) for order in orders]


def _claim(connection: Connection, order: QueuedOrder) -> list[Claim]:
    campaign_ids, limit, name, epoch, lease_until_s, avoiding = order
    may_send = (CampaignState.PLANNED.value, CampaignState.RUNNING.value)
    free = (
        select(batch.c.id)
        .join(campaign, campaign.c.id == batch.c.campaign_id)
        .where(batch.c.campaign_id.in_(campaign_ids), batch.c.state == BatchState.PLANNED.value)
        .where(campaign.c.state.in_(may_send), campaign.c.queue_id.is_not(None))
        .order_by(batch.c.id)
        .limit(limit)
        # Differs by necessity: as in writes.py.
        .with_for_update(of=batch, skip_locked=True)
    )
    if avoiding:
        free = free.where(batch.c.size.not_in(avoiding))
    taken = connection.execute(
        update(batch)
        .where(batch.c.id.in_(free.scalar_subquery()), batch.c.state == BatchState.PLANNED.value)
        .values(state=BatchState.CLAIMED.value, owner=name, epoch=epoch, lease_until_s=lease_until_s)
        .returning(batch.c.id)
    )
    said = and_(message.c.campaign_id == batch.c.campaign_id, message.c.seq == batch.c.message_seq)
    rows = connection.execute(
        select(batch, message.c.content, message.c.units, message.c.segments)
        .join(message, said)
        .where(batch.c.id.in_(taken.scalars().all()))
        .order_by(batch.c.id)
    )
    return [
        Claim(
            batch_id=row.id,
            campaign_id=row.campaign_id,
            seq=row.seq,
            message=Message(row.content, row.units, row.segments),
            size=row.size,
            mobiles=row.mobiles,
            attempts=row.attempts,
            owner=name,
            epoch=epoch,
            lease_until_s=lease_until_s,
        )
        for row in rows
    ]


def note_told(connection: Connection, groups: Sequence[Sequence[NoticeOutcome]]) -> list[None]:
    """Somebody was told of these states."""
    rows = [(each.campaign_id, each.line, each.state) for group in groups for each in group]
    if rows:
        _TELL.execute(connection, rows)
    return [None] * len(groups)


class QueueWrites:
    """The verbs that write. See `QueueJournal` in arrivals.py."""

    owner: str
    epoch: int
    _commits: Commits

    async def add_arrivals(self, arrivals: Sequence[Arrival]) -> list[Arrived]:
        """Make campaigns grow: messages, batches, ids and exclusions of all these, in one transaction."""
        return await self._commits.do(add_arrivals, arrivals)

    async def claim_queued(
        self, campaign_ids: Collection[int], *, limit: int, lease_until_s: float, avoiding: Sequence[int] = ()
    ) -> list[Claim]:
        """Take the right to planned batches of these campaigns, in the order in which they were planned."""
        order = (tuple(campaign_ids), limit, self.owner, self.epoch, lease_until_s, tuple(avoiding))
        return await self._commits.do(claim_queued, order)

    async def note_told(self, outcomes: Sequence[NoticeOutcome]) -> None:
        """Somebody was told of these states."""
        await self._commits.do(note_told, outcomes)


# ── looks ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class QueueLooks(ABC):
    """What a look into the journal tells about queues. See `QueueJournal` in arrivals.py."""

    @abstractmethod
    def _look(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection that reads."""

    async def known_numbers(self, queue_name: str, notice_ids: Collection[str]) -> dict[str, set[str]]:
        """The numbers that are remembered under message ids of a queue."""
        known: dict[str, set[str]] = {}
        async with self._look() as connection:
            for ids in _parted(sorted(notice_ids)):
                rows = await connection.execute(
                    select(notice.c.notice_id, notice.c.number)
                    .join(queue, queue.c.id == notice.c.queue_id)
                    .where(queue.c.name == queue_name, notice.c.notice_id.in_(ids))
                )
                for notice_id, number in rows:
                    known.setdefault(notice_id, set()).add(number)
        return known

    async def queue_campaigns(self, queue_name: str, account: str) -> list[int]:
        """The campaigns that grow from a queue, oldest first."""
        async with self._look() as connection:
            ids = (
                select(campaign.c.id)
                .join(queue, campaign.c.queue_id == queue.c.id)
                .where(queue.c.name == queue_name, campaign.c.account == account)
                .order_by(campaign.c.id)
            )
            return list((await connection.execute(ids)).scalars())

    async def waiting(self, queue_name: str, account: str) -> int:
        """The account's recipients of a queue that are planned and not under way, but for those of campaigns that are paused."""
        not_sent = [CampaignState.CANCELLED.value, CampaignState.PAUSED.value]
        async with self._look() as connection:
            size = (
                select(func.coalesce(func.sum(batch.c.size), 0))
                .join(campaign, campaign.c.id == batch.c.campaign_id)
                .join(queue, campaign.c.queue_id == queue.c.id)
                .where(queue.c.name == queue_name, campaign.c.account == account, batch.c.state.in_(_WAITS))
                .where(campaign.c.state.not_in(not_sent))
            )
            return int((await connection.execute(size)).scalar_one())

    async def left_out_of(self, queue_name: str, notice_ids: Collection[str]) -> list[NoticeOutcome]:
        """Who of these messages is not a recipient, and why."""
        found: list[NoticeOutcome] = []
        at_line = and_(exclusion.c.campaign_id == notice.c.campaign_id, exclusion.c.line == notice.c.line)
        async with self._look() as connection:
            for ids in _parted(sorted(notice_ids)):
                rows = await connection.execute(
                    select(notice, campaign.c.name, exclusion.c.reason, exclusion.c.detail)
                    .join(queue, queue.c.id == notice.c.queue_id)
                    .join(campaign, campaign.c.id == notice.c.campaign_id)
                    .join(exclusion, at_line)
                    .where(queue.c.name == queue_name, notice.c.notice_id.in_(ids))
                    .order_by(notice.c.campaign_id, notice.c.line)
                )
                found += [_outcome(row, row.name, "excluded", None, f"{row.reason}: {row.detail}") for row in rows]
        return found

    async def untold_batches(self, queue_name: str) -> list[int]:
        """The batches that came to something nobody was told of yet."""
        async with self._look() as connection:
            untold: dict[int, set[int]] = {}
            rows = await connection.execute(
                select(notice.c.campaign_id, notice.c.line)
                .join(queue, queue.c.id == notice.c.queue_id)
                .where(queue.c.name == queue_name, _UNTOLD)
            )
            for campaign_id, line in rows:
                untold.setdefault(campaign_id, set()).add(line)
            ended = await connection.execute(
                select(batch.c.id, batch.c.campaign_id, batch.c.lines).where(
                    batch.c.campaign_id.in_(untold), batch.c.state.in_(_CAME_TO_SOMETHING)
                )
            )
            return [row.id for row in ended if not untold[row.campaign_id].isdisjoint(unpack_lines(row.lines))]

    async def notice_outcomes(self, batch_ids: Collection[int]) -> list[NoticeOutcome]:
        """What became of everybody in these batches, as far as it is something and somebody wants to know."""
        found: list[NoticeOutcome] = []
        async with self._look() as connection:
            for ids in _parted(sorted(batch_ids)):
                last = and_(attempt.c.batch_id == batch.c.id, attempt.c.number == batch.c.attempts)
                ended = await connection.execute(
                    select(batch, campaign.c.name, attempt.c.task_id, attempt.c.omitted.label("left_out"))
                    .join(campaign, campaign.c.id == batch.c.campaign_id)
                    .outerjoin(attempt, last)
                    .where(batch.c.id.in_(ids), batch.c.state.in_(_CAME_TO_SOMETHING))
                )
                for row in ended.all():
                    found += await _of_batch(connection, row)
        return found


async def _of_batch(connection: AsyncConnection, row: Row[Any]) -> list[NoticeOutcome]:
    found = []
    for lines in _parted(unpack_lines(row.lines)):
        rows = await connection.execute(
            select(notice).where(notice.c.campaign_id == row.campaign_id, notice.c.line.in_(lines), _UNTOLD)
        )
        omitted = set((row.left_out or "").split(",")) - {""}
        is_emptied = row.state == BatchState.CANCELLED.value and row.omitted == row.size
        for each in rows:
            if is_emptied or each.number in omitted:
                words = f"{Exclusion.OPTED_OUT.value}: {_('the person asked for no more messages')}"
                found.append(_outcome(each, row.name, "excluded", None, words))
            else:
                found.append(_outcome(each, row.name, row.state, row.task_id, row.reason or ""))
    return [each for each in found if each.state != each.told]


def _outcome(row: Row[Any], name: str, state: str, task_id: str | None, reason: str) -> NoticeOutcome:
    return NoticeOutcome(
        campaign_id=row.campaign_id,
        campaign=name,
        line=row.line,
        notice_id=row.notice_id,
        number=row.number,
        state=state,
        task_id=task_id,
        reason=reason,
        told=row.told,
    )


def _parted(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (values[begin : begin + _IN_ONE_QUERY] for begin in range(0, len(values), _IN_ONE_QUERY))
