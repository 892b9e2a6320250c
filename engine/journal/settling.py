"""Doubts in the journal: the looks settlement needs, and how a doubt ends. See `SettlingJournal` in port.py."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, case, exists, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.journal.commits import Commits
from engine.journal.port import (
    AccountStretch,
    Nameless,
    OpenDoubt,
    PollKind,
    SettledBy,
    Settling,
    StretchAttempt,
    StretchReading,
)
from engine.journal.schema import attempt, batch, campaign, entry, message, poll
from engine.model import BatchState, CampaignState, OutcomeKind

SENT_WITHIN = timedelta(hours=2)
"""What is scheduled for a moment, the gateway has sent so much later at the latest, as far as the balance goes."""

LONGEST_REQUEST = timedelta(minutes=15)
"""No request is under way longer: the longest answer timeout, and some."""

TAKEN, NOT_TAKEN = "taken: ", "not taken: "
"""How the evidence of a doubt that ended begins."""

_IN_DOUBT = attempt.c.outcome == OutcomeKind.IN_DOUBT.value
_UNSETTLED = _IN_DOUBT & attempt.c.evidence.is_(None)
_TAKEN_BY_EVIDENCE = _IN_DOUBT & attempt.c.evidence.startswith(TAKEN)
WAS_TAKEN: ColumnElement[bool] = or_(attempt.c.outcome == OutcomeKind.ACCEPTED.value, _TAKEN_BY_EVIDENCE)
"""An attempt the gateway took: it said so, or the evidence does."""


class SettlingLooks(ABC):
    """What a look into the journal tells about doubts and about what moved the balance around them."""

    @abstractmethod
    def _look(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection that reads."""

    async def open_doubts(self, account: str, *, campaign_id: int | None = None) -> list[OpenDoubt]:
        """The doubts nothing has settled yet, oldest first."""
        query = (
            select(attempt, batch.c.seq, campaign.c.name)
            .join(batch, batch.c.id == attempt.c.batch_id)
            .join(campaign, campaign.c.id == attempt.c.campaign_id)
            .where(attempt.c.account == account, _UNSETTLED)
            .order_by(attempt.c.started_at, attempt.c.batch_id)
        )
        if campaign_id is not None:
            query = query.where(attempt.c.campaign_id == campaign_id)
        async with self._look() as connection:
            return [_open_doubt(row) for row in await connection.execute(query)]

    async def reading_times(self, account: str) -> list[datetime]:
        """When the account's balance readings were asked for, in order."""
        asked_at = func.coalesce(entry.c.asked_at, entry.c.at, type_=entry.c.at.type)
        query = select(asked_at).where(entry.c.account == account, entry.c.kind == "reading").order_by(entry.c.at)
        async with self._look() as connection:
            return list((await connection.execute(query)).scalars())

    async def account_stretch(self, account: str, *, since: datetime, patience: timedelta) -> AccountStretch:
        """Everything that may have changed the balance since then; doubts also from as long before as patience reaches."""
        charged = (entry.c.batch_id == attempt.c.batch_id) & (entry.c.attempt_number == attempt.c.number)
        # What the balance once showed to be charged before is not a candidate for what is missing afterwards.
        charged_before = (attempt.c.settled_by == SettledBy.BALANCE.value) & (entry.c.at < since)
        reaches_in = or_(
            attempt.c.outcome.is_(None),
            (attempt.c.outcome == OutcomeKind.ACCEPTED.value) & (attempt.c.finished_at >= since),
            _IN_DOUBT & (attempt.c.finished_at >= since - patience),
            _UNSETTLED & (attempt.c.started_at >= since),
        )
        rows_of_attempts = (
            select(attempt, batch.c.seq, campaign.c.name, message.c.segments, entry.c.points, entry.c.remaining)
            .join(batch, batch.c.id == attempt.c.batch_id)
            .join(campaign, campaign.c.id == attempt.c.campaign_id)
            .join(message, and_(message.c.campaign_id == batch.c.campaign_id, message.c.seq == batch.c.message_seq))
            .outerjoin(entry, charged)
            .where(attempt.c.account == account, attempt.c.started_at >= since - patience - LONGEST_REQUEST, reaches_in)
            .where(func.coalesce(~charged_before, True))
        )
        rows_of_readings = select(entry).where(
            entry.c.account == account, entry.c.kind == "reading", entry.c.at >= since
        )
        times_due = (
            select(attempt.c.scheduled_for)
            .distinct()
            .where(attempt.c.account == account, attempt.c.scheduled_for >= since - SENT_WITHIN)
            .where(or_(attempt.c.outcome.is_(None), WAS_TAKEN, _UNSETTLED))
        )
        async with self._look() as connection:
            # The readings first: whatever they may show has begun before the attempts are looked at, and is among them.
            readings = [
                StretchReading(
                    asked_at=row.asked_at or row.at,
                    answered_at=row.at,
                    remaining=row.remaining,
                    send_total=row.send_total,
                )
                for row in await connection.execute(rows_of_readings.order_by(entry.c.at))
            ]
            attempts = [_stretch_attempt(row) for row in await connection.execute(rows_of_attempts)]
            due = list((await connection.execute(times_due)).scalars())
        return AccountStretch(attempts=attempts, readings=readings, due=due)

    async def saw_short_count(self, account: str) -> bool:
        """Whether an answer of this account ever counted fewer numbers than the request held."""
        short = exists().where(attempt.c.account == account, attempt.c.success_counts < attempt.c.size)
        async with self._look() as connection:
            return bool((await connection.execute(select(short))).scalar())

    async def nameless(self, account: str) -> list[Nameless]:
        """The attempts without a task id that a report may belong to."""
        query = (
            select(attempt, batch.c.seq, batch.c.mobiles, campaign.c.name)
            .join(batch, batch.c.id == attempt.c.batch_id)
            .join(campaign, campaign.c.id == attempt.c.campaign_id)
            .where(attempt.c.account == account, attempt.c.task_id.is_(None))
            .where(or_(attempt.c.outcome.is_(None), _UNSETTLED, _TAKEN_BY_EVIDENCE))
        )
        async with self._look() as connection:
            return [_nameless(row) for row in await connection.execute(query)]

    async def segments_of(self, batch_id: int) -> int:
        """The segments of the text of a batch."""
        of_text = and_(message.c.campaign_id == batch.c.campaign_id, message.c.seq == batch.c.message_seq)
        query = select(message.c.segments).join(batch, of_text).where(batch.c.id == batch_id)
        async with self._look() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def first_emptied(self, account: str, *, since: datetime) -> datetime | None:
        """When the account's report queue was first found empty after that time."""
        query = select(func.min(poll.c.answered_at)).where(
            poll.c.account == account,
            poll.c.kind == PollKind.REPORT.value,
            poll.c.asked_at >= since,
            poll.c.records == 0,
            poll.c.said == "",
            poll.c.problem == "",
            poll.c.complete.is_(True),
        )
        async with self._look() as connection:
            found: datetime | None = (await connection.execute(query)).scalar()
            return found


def _open_doubt(row: Row[Any]) -> OpenDoubt:
    return OpenDoubt(
        batch_id=row.batch_id,
        number=row.number,
        campaign_id=row.campaign_id,
        campaign=row.name,
        seq=row.seq,
        size=row.size,
        started_at=row.started_at,
        gave_up_at=row.finished_at,
        may_land_late=row.may_land_late,
        reason=row.reason or "",
        waits_for=row.waits_for or "",
    )


def _stretch_attempt(row: Row[Any]) -> StretchAttempt:
    in_doubt = row.outcome == OutcomeKind.IN_DOUBT.value
    return StretchAttempt(
        batch_id=row.batch_id,
        number=row.number,
        campaign=row.name,
        seq=row.seq,
        size=row.size,
        segments=row.segments,
        started_at=row.started_at,
        finished_at=row.finished_at,
        outcome=None if row.outcome is None else OutcomeKind(row.outcome),
        may_land_late=row.may_land_late,
        taken=row.evidence.startswith(TAKEN) if in_doubt and row.evidence else None,
        settled_by=None if row.settled_by is None else SettledBy(row.settled_by),
        task_id=row.task_id,
        charge=row.points,
        remaining=row.remaining,
        scheduled=row.scheduled_for is not None,
    )


def _nameless(row: Row[Any]) -> Nameless:
    omitted = set(row.omitted.split(","))
    return Nameless(
        batch_id=row.batch_id,
        number=row.number,
        campaign=row.name,
        seq=row.seq,
        mobiles=tuple(mobile for mobile in row.mobiles.split(",") if mobile not in omitted),
        started_at=row.started_at,
        in_flight=row.outcome is None,
        taken=bool(row.evidence),
    )


def settle(connection: Connection, settlings: Sequence[tuple[str, Settling]]) -> list[bool]:
    """End doubts. False for each that was not in doubt any more."""
    return [_settle(connection, account, settling) for account, settling in settlings]


def _settle(connection: Connection, account: str, settling: Settling) -> bool:
    mine = (batch.c.id == settling.batch_id) & (batch.c.state == BatchState.IN_DOUBT.value)
    moved = connection.execute(
        update(batch)
        .where(mine, batch.c.attempts == settling.number)
        .values(state=BatchState.ACCEPTED.value if settling.taken else _again(), reason=None)
    ).rowcount
    if not moved:
        return False
    connection.execute(
        update(attempt)
        .where(_this(settling.batch_id, settling.number), _UNSETTLED)
        .values(
            evidence=(TAKEN if settling.taken else NOT_TAKEN) + settling.evidence,
            settled_by=settling.by.value,
            settled_at=settling.at,
            task_id=settling.task_id,
            waits_for=None,
        )
    )
    if settling.taken:
        _charge(connection, account, settling)
    return True


def _again() -> ColumnElement[str]:
    """Planned once more; but a cancelled campaign sends nothing, and what has no campaign to go back to is over."""
    cancelled = exists().where(campaign.c.id == batch.c.campaign_id, campaign.c.state == CampaignState.CANCELLED.value)
    return case((cancelled, BatchState.CANCELLED.value), else_=BatchState.PLANNED.value)


def _this(batch_id: int, number: int) -> ColumnElement[bool]:
    return and_(attempt.c.batch_id == batch_id, attempt.c.number == number)


def _charge(connection: Connection, account: str, settling: Settling) -> None:
    assert settling.charge is not None
    of_campaign = select(batch.c.campaign_id).where(batch.c.id == settling.batch_id)
    connection.execute(
        insert(entry).values(
            account=account,
            at=settling.charged_at or settling.at,
            kind="charge",
            campaign_id=of_campaign.scalar_subquery(),
            batch_id=settling.batch_id,
            attempt_number=settling.number,
            points=settling.charge,
        )
    )


def note_waiting(connection: Connection, notes: Sequence[Sequence[tuple[int, int, str]]]) -> list[None]:
    """Say of open doubts what they wait for."""
    for waiting in notes:
        for batch_id, number, words in waiting:
            connection.execute(update(attempt).where(_this(batch_id, number), _UNSETTLED).values(waits_for=words))
    return [None] * len(notes)


def name_tasks(connection: Connection, named: Sequence[tuple[int, int, str, str]]) -> list[bool]:
    """Give attempts that were taken by evidence the task id a report told. False where one has it already."""
    return [
        connection.execute(
            update(attempt)
            .where(_this(batch_id, number), _TAKEN_BY_EVIDENCE, attempt.c.task_id.is_(None))
            .values(task_id=task_id, evidence=attempt.c.evidence + "; " + evidence)
        ).rowcount
        == 1
        for batch_id, number, task_id, evidence in named
    ]


class SettlingWrites:
    """The verbs of `SettlingJournal` that change something."""

    _commits: Commits

    async def settle(self, account: str, settling: Settling) -> bool:
        """End a doubt: its batch is accepted and charged, or planned again. False: it was not in doubt any more."""
        return await self._commits.do(settle, (account, settling))

    async def note_waiting(self, waiting: Sequence[tuple[int, int, str]]) -> None:
        """Say of open doubts (batch, number) what they wait for."""
        await self._commits.do(note_waiting, waiting)

    async def name_task(self, batch_id: int, number: int, task_id: str, evidence: str) -> bool:
        """A report told the task id of an attempt that the balance, or somebody, had said to be taken."""
        return await self._commits.do(name_tasks, (batch_id, number, task_id, evidence))
