"""Forgetting: numbers and texts of campaigns that are over go, their counts stay. Really: also from the free pages of the file.

What stays of a campaign is what the figures are made of: rows, batches with size and state, attempts with outcome, points and
times, exclusions by reason, and how many were delivered. Opt-outs stay whole: they are what people asked for.
"""

from __future__ import annotations

import re
import sqlite3
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, delete, exists, func, null, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.errors import JournalError
from engine.journal.commits import Commits
from engine.journal.faults import journal_error
from engine.journal.port import Delivery, PollKind, PollOutcome
from engine.journal.schema import (
    attempt,
    batch,
    campaign,
    exclusion,
    message,
    notice,
    poll,
    reached,
    reply,
    report,
    source,
)
from engine.journal.writer import Writer
from engine.language import N_, _
from engine.model import BatchState, Exclusion, OutcomeKind
from engine.telemetry import mask

_OPEN = (BatchState.PLANNED, BatchState.CLAIMED, BatchState.SUBMITTING, BatchState.IN_DOUBT)
_NOTHING = zlib.compress(b"")
_FORGOTTEN_UNREAD = N_("forgotten before it could be read")
_MAY_BE_NUMBER = re.compile(r"[0-9]{11}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A campaign that is over: nothing planned, in flight or in doubt. `at`: when its last attempt ended."""

    campaign_id: int
    name: str
    account: str
    recipients: int
    at: datetime
    forgotten_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A campaign as old, of which nothing is forgotten: so many batches are planned, in flight or in doubt."""

    name: str
    batches: int


def campaigns_before(connection: Connection, before: datetime) -> tuple[list[Ended], list[Waiting]]:
    """The campaigns whose last attempt ended, or was to be sent, before that time, oldest first; and those as old that are not over."""
    # What the gateway sends later is not over before.
    sent = func.coalesce(attempt.c.scheduled_for, attempt.c.finished_at)
    last = func.coalesce(func.max(sent, type_=attempt.c.finished_at.type), campaign.c.created_at)
    query = (
        select(
            campaign.c.id,
            campaign.c.name,
            campaign.c.account,
            campaign.c.recipients,
            campaign.c.forgotten_at,
            campaign.c.created_at,
            func.max(sent, type_=attempt.c.finished_at.type).label("last"),
            select(func.count())
            .where(batch.c.campaign_id == campaign.c.id, batch.c.state.in_([state.value for state in _OPEN]))
            .scalar_subquery()
            .label("open"),
        )
        .outerjoin(attempt, attempt.c.campaign_id == campaign.c.id)
        .where(campaign.c.state != "planning")
        .group_by(campaign.c.id)
        .having(last < before)
        .order_by(campaign.c.id)
    )
    rows = connection.execute(query).all()
    ended = [
        Ended(
            campaign_id=row.id,
            name=row.name,
            account=row.account,
            recipients=row.recipients,
            at=row.last or row.created_at,
            forgotten_at=row.forgotten_at,
        )
        for row in rows
        if not row.open
    ]
    return ended, [Waiting(name=row.name, batches=row.open) for row in rows if row.open]


def lists_in_use(connection: Connection) -> set[str]:
    """The hashes of the lists of all campaigns that are not forgotten."""
    named = select(source.c.sha256).join(campaign, campaign.c.id == source.c.campaign_id)
    return set(connection.execute(named.where(campaign.c.forgotten_at.is_(None))).scalars())


class ForgettingLooks(ABC):
    """What can be forgotten, and what must stay."""

    @abstractmethod
    def _look(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection that reads."""

    async def campaigns_before(self, before: datetime) -> tuple[list[Ended], list[Waiting]]:
        """The campaigns whose last attempt ended, or was to be sent, before that time, oldest first; and those as old that are not over."""
        async with self._look() as connection:
            return await connection.run_sync(campaigns_before, before)

    async def lists_in_use(self) -> set[str]:
        """The hashes of the lists of all campaigns that are not forgotten."""
        async with self._look() as connection:
            return await connection.run_sync(lists_in_use)


# ── the writes ───────────────────────────────────────────────────────────────────────────────────────────────────────

_Order = tuple[int, Delivery, datetime]


def forget_campaigns(connection: Connection, orders: Sequence[_Order]) -> list[None]:
    """Remove the numbers and texts of campaigns, and keep what their reports came to. Raises JournalError for one not over."""
    for campaign_id, told, at in orders:
        _refuse_open(connection, campaign_id)
        under_it = exists().where(
            attempt.c.campaign_id == campaign_id,
            attempt.c.account == report.c.account,
            attempt.c.task_id == report.c.task_id,
        )
        connection.execute(delete(report).where(under_it))
        connection.execute(update(batch).where(batch.c.campaign_id == campaign_id).values(mobiles="", lines=""))
        connection.execute(update(attempt).where(attempt.c.campaign_id == campaign_id).values(omitted="", raw=null()))
        connection.execute(update(exclusion).where(exclusion.c.campaign_id == campaign_id).values(raw=""))
        connection.execute(update(message).where(message.c.campaign_id == campaign_id).values(content=""))
        connection.execute(
            update(source).where(source.c.campaign_id == campaign_id).values(path="forgotten", inside="")
        )
        connection.execute(delete(notice).where(notice.c.campaign_id == campaign_id))
        connection.execute(delete(reached).where(reached.c.campaign_id == campaign_id))
        values = (exclusion.c.campaign_id == campaign_id) & (exclusion.c.reason == Exclusion.FORBIDDEN_VALUE.value)
        connection.execute(update(exclusion).where(values).values(detail="forgotten"))
        for table, columns in _SAID:
            _mask_said(connection, table, columns, campaign_id)
        connection.execute(
            update(campaign)
            .where(campaign.c.id == campaign_id, campaign.c.forgotten_at.is_(None))
            .values(forgotten_at=at, wording="", delivered=told.delivered, undelivered=told.undelivered)
        )
    return [None] * len(orders)


_SAID: Sequence[tuple[Table, Sequence[str]]] = (
    (batch, ("reason",)),
    (attempt, ("reason", "evidence", "waits_for")),
    (exclusion, ("detail",)),
)
"""Sentences that others wrote; a number may be in them."""


def _mask_said(connection: Connection, table: Table, columns: Sequence[str], campaign_id: int) -> None:
    mine = table.c.campaign_id == campaign_id
    for name in columns:
        column = table.c[name]
        said = connection.execute(select(column).where(mine, column.is_not(None)).distinct()).scalars().all()
        for words in said:
            if _MAY_BE_NUMBER.search(words) and (masked := mask(words)) != words:
                connection.execute(update(table).where(mine, column == words).values({name: masked}))


def _refuse_open(connection: Connection, campaign_id: int) -> None:
    still = select(func.count()).where(
        batch.c.campaign_id == campaign_id, batch.c.state.in_([state.value for state in _OPEN])
    )
    if connection.execute(still).scalar():
        raise JournalError(_("campaign {number} is not over; nothing of it was forgotten").format(number=campaign_id))


def forget_told(connection: Connection, orders: Sequence[tuple[str, datetime]]) -> list[int]:
    """Remove what was told before a time to an account: replies, bodies of polls, and reports under task ids nobody has.

    While a doubt of before that time is open, such reports may be its evidence, and stay. Returns how many answers and replies went.
    """
    return [_forget_told(connection, account, before) for account, before in orders]


def _forget_told(connection: Connection, account: str, before: datetime) -> int:
    old = (poll.c.account == account) & (poll.c.asked_at < before)
    polls = select(poll.c.id).where(old)
    gone = connection.execute(delete(reply).where(reply.c.account == account, reply.c.poll_id.in_(polls))).rowcount
    doubtful = select(attempt.c.batch_id).where(
        attempt.c.account == account,
        attempt.c.started_at < before,
        or_(
            attempt.c.outcome.is_(None),
            (attempt.c.outcome == OutcomeKind.IN_DOUBT.value) & attempt.c.evidence.is_(None),
        ),
    )
    if connection.execute(doubtful.limit(1)).first() is not None:
        return gone
    known = exists().where(attempt.c.account == report.c.account, attempt.c.task_id == report.c.task_id)
    connection.execute(delete(report).where(report.c.account == account, report.c.poll_id.in_(polls), ~known))
    # Replies that nobody has tried to read yet, because whoever asked for them was killed, may hold an opt-out: the next start reads them.
    untried = (poll.c.kind == PollKind.REPLY.value) & poll.c.applied_at.is_(None) & (poll.c.problem == "")
    answered = old & (poll.c.outcome == PollOutcome.ANSWERED.value) & ~untried
    unread = answered & poll.c.applied_at.is_(None)
    connection.execute(
        update(poll).where(unread).values(applied_at=poll.c.answered_at, records=0, problem=_FORGOTTEN_UNREAD)
    )
    return (
        gone + connection.execute(update(poll).where(answered, poll.c.body != _NOTHING).values(body=_NOTHING)).rowcount
    )


# ── the verbs ────────────────────────────────────────────────────────────────────────────────────────────────────────


class ForgettingWrites:
    """What the one owner of a journal can forget."""

    _commits: Commits
    _writer: Writer

    async def forget_campaign(self, campaign_id: int, told: Delivery, *, at: datetime) -> None:
        """Remove the numbers and texts of a campaign that is over; `told` is what its reports came to."""
        await self._commits.do(forget_campaigns, (campaign_id, told, at))

    async def forget_told(self, account: str, *, before: datetime) -> int:
        """Remove what the gateway told an account before that time. Returns how many answers and replies that were."""
        return await self._commits.do(forget_told, (account, before))

    async def overwrite_as_deleted(self) -> None:
        """From now on overwrite what is deleted with zeros."""
        await self._writer.call(_execute, ("PRAGMA secure_delete = ON",))

    async def rewrite(self) -> None:
        """Write the file anew, so that nothing deleted is left in it or in its log. Needs its size once more on the disk."""
        await self._writer.call(_execute, ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"))


def _execute(engine: Engine, statements: Sequence[str]) -> None:
    """Outside a transaction, on the connection that writes."""
    connection: Any = engine.raw_connection()
    try:
        with closing(connection.cursor()) as cursor:
            for statement in statements:
                cursor.execute(statement).fetchall()
    except sqlite3.Error as error:
        raise journal_error(error) from error
    finally:
        connection.close()  # back to the pool: it stays the one that writes


def copies_beside(journal: Path) -> list[Path]:
    """The copies of the journal that migrations left beside it: they hold what was there then."""
    return sorted(journal.parent.glob(f"{journal.name}.before-*"))
