"""Who was reached when, by campaign and hour: kept packed for campaigns that are over, and made from the batches for the others.

What is in doubt counts as reached: it may have been. Whose report says "undelivered" was not; reports come long after the sets are
kept, so those numbers are asked for each time.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import IO, cast

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    delete,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
    type_coerce,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.journal.commits import Commits
from engine.journal.schema import attempt, batch, campaign, message, reached, report
from engine.model import BatchState, OutcomeKind, RefusalKind

HOUR_US = 3_600_000_000
_AT_ONCE = 1_000  # batches put together into one row: up to a million numbers, mostly a tenth
_NOBODY = 0  # the hour of the row that every campaign has whose sets are kept: it may have reached nobody
_WHOLE_BYTES = 4 << 20  # a set of a million and a half; what is larger is written piece by piece
_PIECE_BYTES = 1 << 20
_OPEN = [state.value for state in (BatchState.PLANNED, BatchState.CLAIMED, BatchState.SUBMITTING, BatchState.IN_DOUBT)]
_MAY_HAVE_REACHED = or_(
    attempt.c.outcome.is_(None),
    attempt.c.outcome == OutcomeKind.ACCEPTED.value,
    (attempt.c.outcome == OutcomeKind.IN_DOUBT.value)
    & or_(attempt.c.evidence.is_(None), attempt.c.evidence.like("taken:%")),
)
_REACHED_AT = func.coalesce(attempt.c.scheduled_for, attempt.c.started_at)
"""When the gateway sends what an attempt carried: at once, or at the time it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaching:
    """A campaign as far as it matters for who was reached. `is_over`: nothing of it will be sent, and no doubt is open.

    `is_kept`: its sets are in the journal, and hold everybody.
    """

    campaign_id: int
    name: str
    recipients: int
    is_over: bool
    is_kept: bool
    of_lists: bool  # not of a queue: it reaches nobody twice
    wording: str = ""  # how its rows are told, as the journal keeps it; "": all are told the same


class ReachedLooks(ABC):
    """What a look into the journal tells about who was reached."""

    @abstractmethod
    def _look(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection that reads."""

    async def reaching(self, *, since_us: int, campaign_id: int | None = None) -> list[Reaching]:
        """The campaigns of all accounts that may have reached somebody since then (microseconds since 1970), newest first."""
        open_ = exists().where(batch.c.campaign_id == campaign.c.id, batch.c.state.in_(_OPEN))
        mine = reached.c.campaign_id == campaign.c.id
        kept = exists().where(mine, reached.c.hour == _NOBODY, reached.c.recipients == campaign.c.recipients)
        lately = exists().where(mine, reached.c.hour >= since_us // HOUR_US)
        begun = exists().where(
            attempt.c.campaign_id == campaign.c.id, attempt.c.started_at >= literal_column(str(since_us))
        )
        due = type_coerce(campaign.c.scheduled_for, BigInteger) >= since_us
        query = (
            select(
                campaign.c.id,
                campaign.c.name,
                campaign.c.recipients,
                campaign.c.queue_id,
                campaign.c.wording,
                (~open_).label("over"),
                kept.label("kept"),
            )
            .where(campaign.c.state != "planning", campaign.c.forgotten_at.is_(None))
            .where(or_(kept & lately, ~kept & or_(begun, due)))
            .order_by(campaign.c.id.desc())
        )
        if campaign_id is not None:
            query = query.where(campaign.c.id == campaign_id)
        async with self._look() as connection:
            return [
                Reaching(
                    campaign_id=row.id,
                    name=row.name,
                    recipients=row.recipients,
                    is_over=bool(row.over),
                    is_kept=bool(row.over and row.kept),
                    of_lists=row.queue_id is None,
                    wording=row.wording,
                )
                for row in await connection.execute(query)
            ]

    async def reached_hours(self, campaign_id: int) -> list[tuple[int, bytes]]:
        """The kept sets of a campaign by their hour since 1970."""
        query = select(reached.c.hour, reached.c.numbers).where(
            reached.c.campaign_id == campaign_id, reached.c.hour != _NOBODY
        )
        async with self._look() as connection:
            return [(row.hour, row.numbers) for row in await connection.execute(query.order_by(reached.c.hour))]

    async def only_hour(self, campaign_id: int) -> int | None:
        """The hour within which attempts carried every recipient of a campaign, each once; None: not all, or not within one."""
        hour = (type_coerce(_REACHED_AT, BigInteger) // literal_column(str(HOUR_US))).label("hour")
        batches = func.count(attempt.c.batch_id.distinct()) == func.count()
        everybody = (
            func.sum(attempt.c.size)
            == select(campaign.c.recipients).where(campaign.c.id == campaign_id).scalar_subquery()
        )
        query = (
            select(hour)
            .where(attempt.c.campaign_id == campaign_id, _MAY_HAVE_REACHED)
            .group_by(hour)
            .having(batches & everybody)
        )
        async with self._look() as connection:
            found: int | None = (await connection.execute(query)).scalar()
            return found

    async def carried(self, campaign_id: int) -> AsyncIterator[tuple[int, str, str]]:
        """Whom the attempts of a campaign carried: the hour, comma-joined numbers, and those of them that were omitted.

        First all of whom somebody was omitted, then the others by their hour.
        """
        hour = (type_coerce(_REACHED_AT, BigInteger) // literal_column(str(HOUR_US))).label("hour")
        mine = (attempt.c.campaign_id == campaign_id) & _MAY_HAVE_REACHED
        whole = (
            select(hour, func.aggregate_strings(batch.c.mobiles, ",").label("mobiles"))
            .join(batch, batch.c.id == attempt.c.batch_id)
            .where(mine, attempt.c.omitted == "")
            .group_by(hour, batch.c.seq // _AT_ONCE)
            .order_by(hour)
        )
        parts = (
            select(hour, batch.c.mobiles, attempt.c.omitted)
            .join(batch, batch.c.id == attempt.c.batch_id)
            .where(mine, attempt.c.omitted != "")
        )
        async with self._look() as connection:
            async for row in await connection.stream(parts):
                yield row.hour, row.mobiles, row.omitted
            async for row in await connection.stream(whole.execution_options(yield_per=1)):
                yield row.hour, row.mobiles, ""

    async def undelivered(self, campaign_id: int) -> AsyncIterator[tuple[int, str]]:
        """Who was not reached after all, by the last report: the hour of the attempt, and comma-joined numbers."""
        hour = (type_coerce(_REACHED_AT, BigInteger) // literal_column(str(HOUR_US))).label("hour")
        query = (
            select(hour, func.aggregate_strings(report.c.mobile, ",").label("mobiles"))
            .join(report, (report.c.account == attempt.c.account) & (report.c.task_id == attempt.c.task_id))
            # In words, not as a parameter: only so the index of these reports is looked at.
            .where(attempt.c.campaign_id == campaign_id, text("report.state = 'undelivered'"))
            .group_by(hour)
        )
        async with self._look() as connection:
            async for row in await connection.stream(query):
                yield row.hour, row.mobiles

    async def first_texts(self, campaign_id: int, *, limit: int) -> list[str]:
        """What the first messages of a campaign say."""
        query = select(message.c.content).where(message.c.campaign_id == campaign_id).order_by(message.c.seq)
        async with self._look() as connection:
            return list((await connection.execute(query.limit(limit))).scalars())

    async def refused_texts(self, campaign_id: int, *, limit: int) -> list[str]:
        """The texts of a campaign that the gateway refused for their content, those of the most batches first."""
        query = (
            select(message.c.content)
            .join(batch, (batch.c.campaign_id == message.c.campaign_id) & (batch.c.message_seq == message.c.seq))
            .join(attempt, attempt.c.batch_id == batch.c.id)
            .where(
                message.c.campaign_id == campaign_id,
                attempt.c.outcome == OutcomeKind.REFUSED.value,
                attempt.c.refusal == RefusalKind.CONTENT.value,
            )
            .group_by(message.c.content)
            .order_by(func.count().desc(), message.c.content)
        )
        async with self._look() as connection:
            return list((await connection.execute(query.limit(limit))).scalars())


_Kept = tuple[int, int, Sequence[tuple[int, bytes]]]


def keep_reached(connection: Connection, kept: Sequence[_Kept]) -> list[None]:
    """Keep the sets of campaigns in the place of those there were."""
    for campaign_id, recipients, hours in kept:
        connection.execute(delete(reached).where(reached.c.campaign_id == campaign_id))
        rows = [
            {"campaign_id": campaign_id, "hour": hour, "recipients": recipients, "numbers": numbers}
            for hour, numbers in ((_NOBODY, b""), *hours)
        ]
        connection.execute(insert(reached), rows)
    return [None] * len(kept)


# Large sets come a piece at a time, each on the disk before the next one: whole, ten millions would be in the memory of two
# processes several times. Until the last piece is there, the row of nobody holds a mark in the place of the recipients, so that
# the sets do not count as kept, and pieces of another who writes them too do not come between.

_Room = tuple[int, int, int, Sequence[tuple[int, int]]]
_Piece = tuple[int, int, int, int, bytes]
_Whole = tuple[int, int, int]


def make_room(connection: Connection, rooms: Sequence[_Room]) -> list[None]:
    """Begin the sets of campaigns, each hour with its size, in the place of those there were."""
    for campaign_id, mark, recipients, hours in rooms:
        connection.execute(delete(reached).where(reached.c.campaign_id == campaign_id))
        for hour, size in ((_NOBODY, 0), *hours):
            row = {"campaign_id": campaign_id, "hour": hour, "recipients": mark if hour == _NOBODY else recipients}
            connection.execute(insert(reached).values(row | {"numbers": func.zeroblob(size)}))
    return [None] * len(rooms)


def fill_room(connection: Connection, pieces: Sequence[_Piece]) -> list[None]:
    """Put pieces of sets into their places. Nothing where the room is gone, or another's by now."""
    for campaign_id, mark, hour, at, piece in pieces:
        mine = (reached.c.campaign_id == campaign_id) & (reached.c.hour == hour)
        marked = exists().where(_of_nobody(_BESIDE, campaign_id, mark))
        place = connection.execute(select(_ROW).select_from(reached).where(mine, marked)).scalar()
        if place is not None:
            # Differs by necessity: SQL has no word for a part of a value.
            driver = cast("sqlite3.Connection", connection.connection.driver_connection)
            with driver.blobopen(reached.name, reached.c.numbers.name, place) as numbers:
                numbers.seek(at)
                numbers.write(piece)
    return [None] * len(pieces)


def close_room(connection: Connection, whole: Sequence[_Whole]) -> list[None]:
    """The sets of campaigns are whole."""
    for campaign_id, mark, recipients in whole:
        mine = _of_nobody(reached, campaign_id, mark)
        connection.execute(update(reached).where(mine).values(recipients=recipients))
    return [None] * len(whole)


_ROW: ColumnElement[int] = literal_column("reached.rowid")
_BESIDE = reached.alias()


def _of_nobody(rows: FromClause, campaign_id: int, mark: int) -> ColumnElement[bool]:
    return (rows.c.campaign_id == campaign_id) & (rows.c.hour == _NOBODY) & (rows.c.recipients == mark)


class ReachedWrites:
    """The verb that keeps sets."""

    _commits: Commits

    async def keep_reached(self, campaign_id: int, recipients: int, hours: Sequence[tuple[int, IO[bytes]]]) -> None:
        """Keep who was reached by a campaign that is over: packed sets by their hour, each read from its beginning to its end.

        `recipients`: how many it had; later ones make it stale.
        """
        sizes = [(hour, await asyncio.to_thread(numbers.seek, 0, os.SEEK_END)) for hour, numbers in hours]
        for _, numbers in hours:
            await asyncio.to_thread(numbers.seek, 0)
        if sum(size for _, size in sizes) <= _WHOLE_BYTES:
            whole = [(hour, await asyncio.to_thread(numbers.read)) for hour, numbers in hours]
            await self._commits.do(keep_reached, (campaign_id, recipients, whole))
            return
        mark = -1 - secrets.randbits(31)
        await self._commits.do(make_room, (campaign_id, mark, recipients, sizes))
        for hour, numbers in hours:
            at = 0
            while piece := await asyncio.to_thread(numbers.read, _PIECE_BYTES):
                await self._commits.do(fill_room, (campaign_id, mark, hour, at, piece))
                at += len(piece)
        await self._commits.do(close_room, (campaign_id, mark, recipients))
