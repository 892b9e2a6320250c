"""What the audit and `xinshi why` look at: a campaign whole, and one number in all of them. See port.py."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.gateway.polls import ReportState
from engine.journal.port import (
    EVERY_ACCOUNT,
    AttemptRow,
    AuditView,
    BatchRow,
    CampaignLists,
    OptOut,
    OptOutHistory,
    OptOutSource,
    OptOutSpan,
    SettledBy,
    Spending,
    StretchReading,
    TaskReports,
    ToldReport,
    Trace,
)
from engine.journal.schema import (
    attempt,
    batch,
    campaign,
    entry,
    exclusion,
    message,
    notice,
    opt_out,
    queue,
    report,
    source,
)
from engine.journal.settling import LONGEST_REQUEST, TAKEN, WAS_TAKEN
from engine.language import _
from engine.lines import unpack_lines, untagged
from engine.model import BatchState, Exclusion, Message, OutcomeKind, RefusalKind
from engine.terms import word_of

CLOCK_SKEW = timedelta(seconds=60)
"""How far the gateway's clock may be behind ours."""

_IN_ONE_QUERY = 500  # values in an IN (…)

_IN_DOUBT = attempt.c.outcome == OutcomeKind.IN_DOUBT.value
_CHARGED = (entry.c.batch_id == attempt.c.batch_id) & (entry.c.attempt_number == attempt.c.number)
_NAMELESS = attempt.c.task_id.is_(None) & or_(
    attempt.c.outcome.is_(None), _IN_DOUBT & (attempt.c.evidence.is_(None) | attempt.c.evidence.startswith(TAKEN))
)
"""An attempt that a report under an unknown task id may belong to."""


class AuditLooks(ABC):
    """What a look into the journal tells about one campaign or one number, all of it from one moment."""

    @abstractmethod
    def _look(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection that reads."""

    async def audit_view(self, campaign_id: int, *, with_others: bool = False) -> AuditView:
        """The whole campaign for the audit; `with_others`: also whom the account's other campaigns may have sent to."""
        async with self._look() as connection:
            mine = (await connection.execute(select(campaign).where(campaign.c.id == campaign_id))).one()
            of_campaign = attempt.c.campaign_id == campaign_id
            lines = await connection.execute(select(exclusion.c.line).where(exclusion.c.campaign_id == campaign_id))
            segments = select(func.max(message.c.segments)).where(message.c.campaign_id == campaign_id)
            batches = await connection.execute(
                select(batch).where(batch.c.campaign_id == campaign_id).order_by(batch.c.seq)
            )
            attempts = await _attempt_rows(connection, of_campaign)
            orphans = await _orphans(connection, mine.account, attempts)
            readings = await _readings(connection, mine.account, campaign_id)
            return AuditView(
                rows=mine.rows,
                extra=mine.extra,
                excluded_lines=list(lines.scalars()),
                batches=[_batch_row(row) for row in batches],
                attempts=attempts,
                segments=(await connection.execute(segments)).scalar() or 1,
                reports=await _reports(connection, of_campaign),
                orphans=orphans,
                nameless=await _nameless(connection, mine.account) if orphans else [],
                opt_outs=await _opt_outs(connection, mine.account),
                readings=readings,
                spendings=await _spendings(connection, mine.account, readings[0].asked_at if readings else None),
                account_charged=await _charged_in_all(connection, mine.account),
                elsewhere=await _elsewhere(connection, mine.account, campaign_id) if with_others else [],
                forgotten_at=mine.forgotten_at,
                notices=None if mine.queue_id is None else await _notices(connection, campaign_id),
            )

    async def traces(self, mobile: str, raws: Sequence[str]) -> list[Trace]:
        """Where one number stands in every campaign, in order of time. `raws`: how it may be written in an excluded cell."""
        async with self._look() as connection:
            held = await connection.execute(
                select(batch, campaign.c.name, campaign.c.account, campaign.c.created_at)
                .join(campaign, campaign.c.id == batch.c.campaign_id)
                .where(batch.c.mobiles.contains(mobile, autoescape=True), campaign.c.state != "planning")
                .order_by(campaign.c.id, batch.c.seq)
            )
            found = _joined([await _trace(connection, row, mobile) for row in held.all()]) if mobile else []
            left_out = await connection.execute(
                select(exclusion, campaign.c.name, campaign.c.created_at)
                .join(campaign, campaign.c.id == exclusion.c.campaign_id)
                .where(exclusion.c.raw.in_(raws), campaign.c.state != "planning")
                .order_by(campaign.c.id, exclusion.c.line)
            )
            for row in left_out.all():
                file, line, came_with = await _place(connection, row.campaign_id, row.line)
                why = f"{row.reason}: {_(row.detail)}"
                found.append(
                    Trace(
                        campaign=row.name,
                        at=row.created_at,
                        file=file,
                        line=line,
                        notice=came_with,
                        state="excluded",
                        exclusion=why,
                    )
                )
            return sorted(found, key=lambda trace: trace.at)

    async def opt_out_history(self, mobile: str) -> list[OptOutHistory]:
        """When this number opted out, from whichever account, in order of time."""
        query = select(opt_out).where(opt_out.c.mobile == mobile).order_by(opt_out.c.at, opt_out.c.seq)
        async with self._look() as connection:
            return [_history(row) for row in await connection.execute(query)]

    async def campaign_lists(self) -> list[CampaignLists]:
        """What every campaign was made from, oldest first."""
        query = (
            select(campaign.c.id, campaign.c.name, func.coalesce(queue.c.name, source.c.path).label("from_what"))
            .outerjoin(source, source.c.campaign_id == campaign.c.id)
            .outerjoin(queue, queue.c.id == campaign.c.queue_id)
            .where(campaign.c.state != "planning")
            .order_by(campaign.c.id, source.c.seq)
        )
        found: dict[str, list[str]] = {}
        async with self._look() as connection:
            for row in await connection.execute(query):
                found.setdefault(row.name, []).extend([row.from_what] if row.from_what else [])
        return [CampaignLists(campaign=name, lists=tuple(lists)) for name, lists in found.items()]


def _joined(traces: list[Trace]) -> list[Trace]:
    """A number that went from a batch into a part of it stands in the part, with the attempts of both."""
    parts, found = [trace for trace in traces if trace.state == BatchState.SPLIT.value], list[Trace]()
    for trace in traces:
        if trace in parts:
            continue
        place = (trace.campaign, trace.file, trace.line)
        earlier = [part for part in parts if (part.campaign, part.file, part.line) == place]
        attempts = [*(attempt for part in earlier for attempt in part.attempts), *trace.attempts]
        attempts.sort(key=lambda attempt: attempt.started_at)
        reports = [*(report for part in earlier for report in part.reports), *trace.reports]
        began = min([trace.at, *(part.at for part in earlier)])
        found.append(replace(trace, at=began, attempts=attempts, reports=reports))
    return found


# ── a campaign ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def _notices(connection: AsyncConnection, campaign_id: int) -> dict[int, str]:
    """The message that each line of a queue's campaign came with."""
    rows = await connection.execute(
        select(notice.c.line, notice.c.notice_id).where(notice.c.campaign_id == campaign_id)
    )
    return {row.line: row.notice_id for row in rows}


async def _place(connection: AsyncConnection, campaign_id: int, line: int) -> tuple[str, int, str | None]:
    """The list a tagged line belongs to, and its number there; or the queue, the row, and the message it came with."""
    grown = select(queue.c.name).join(campaign, campaign.c.queue_id == queue.c.id).where(campaign.c.id == campaign_id)
    if (name := (await connection.execute(grown)).scalar()) is not None:
        told = select(notice.c.notice_id).where(notice.c.campaign_id == campaign_id, notice.c.line == line)
        return name, line, (await connection.execute(told)).scalar() or ""
    source_at, number = untagged(line)
    paths = (
        select(source.c.path)
        .where(source.c.campaign_id == campaign_id)
        .order_by(source.c.seq)
        .offset(source_at)
        .limit(1)
    )
    return (await connection.execute(paths)).scalar() or "", number, None


def _batch_row(row: Row[Any]) -> BatchRow:
    return BatchRow(
        seq=row.seq,
        state=BatchState(row.state),
        size=row.size,
        attempts=row.attempts,
        mobiles=list(_split(row.mobiles)),
        lines=unpack_lines(row.lines),
        omitted=row.omitted,
    )


async def _attempt_rows(connection: AsyncConnection, where: ColumnElement[bool]) -> list[AttemptRow]:
    rows = await connection.execute(
        select(attempt, batch.c.seq, entry.c.points)
        .join(batch, batch.c.id == attempt.c.batch_id)
        .outerjoin(entry, _CHARGED)
        .where(where)
        .order_by(attempt.c.batch_id, attempt.c.number)
    )
    return [
        AttemptRow(
            seq=row.seq,
            number=row.number,
            size=row.size,
            started_at=row.started_at,
            finished_at=row.finished_at,
            outcome=None if row.outcome is None else OutcomeKind(row.outcome),
            refusal=None if row.refusal is None else RefusalKind(row.refusal),
            reason=row.reason or "",
            task_id=row.task_id,
            success_counts=row.success_counts,
            evidence=row.evidence or "",
            charge=row.points,
            omitted=_split(row.omitted),
            scheduled_for=row.scheduled_for,
            settled_by=None if row.settled_by is None else SettledBy(row.settled_by),
            settled_at=row.settled_at,
            waits_for=row.waits_for or "",
        )
        for row in rows
    ]


def _split(joined: str) -> tuple[str, ...]:
    return tuple(joined.split(",")) if joined else ()


async def _reports(connection: AsyncConnection, of_campaign: ColumnElement[bool]) -> list[TaskReports]:
    """The mobiles reported under each task id of the campaign."""
    under_it = (report.c.account == attempt.c.account) & (report.c.task_id == attempt.c.task_id)
    # A look for each attempt; a join would sort every report of the campaign first.
    told = select(func.aggregate_strings(report.c.mobile, ",")).where(under_it).scalar_subquery()
    rows = await connection.execute(
        select(attempt.c.task_id, attempt.c.number, batch.c.seq, told.label("mobiles"))
        .join(batch, batch.c.id == attempt.c.batch_id)
        .where(of_campaign, attempt.c.task_id.is_not(None))
        .order_by(attempt.c.batch_id, attempt.c.number)
    )
    return [
        TaskReports(task_id=row.task_id, mobiles=row.mobiles.split(","), attempt=(row.seq, row.number))
        for row in rows
        if row.mobiles
    ]


async def _orphans(connection: AsyncConnection, account: str, attempts: Sequence[AttemptRow]) -> list[TaskReports]:
    """What was reported since the campaign began under task ids that no attempt of the account has."""
    if not attempts:
        return []
    since = min(row.started_at for row in attempts) - CLOCK_SKEW
    mine = (report.c.account == account) & (report.c.task_id != "")
    known = select(attempt.c.task_id).where(attempt.c.account == account, attempt.c.task_id.is_not(None))
    told = set((await connection.execute(select(report.c.task_id).distinct().where(mine))).scalars())
    unknown = sorted(told.difference((await connection.execute(known)).scalars()))
    found = []
    for begin in range(0, len(unknown), _IN_ONE_QUERY):
        rows = await connection.execute(
            select(report.c.task_id, func.aggregate_strings(report.c.mobile, ",").label("mobiles"))
            .where(mine, report.c.task_id.in_(unknown[begin : begin + _IN_ONE_QUERY]), report.c.received_at >= since)
            .group_by(report.c.task_id)
            .order_by(report.c.task_id)
        )
        found += [TaskReports(task_id=row.task_id, mobiles=row.mobiles.split(",")) for row in rows]
    return found


async def _nameless(connection: AsyncConnection, account: str) -> list[list[str]]:
    rows = await connection.execute(
        select(batch.c.mobiles, attempt.c.omitted)
        .join(batch, batch.c.id == attempt.c.batch_id)
        .where(attempt.c.account == account, _NAMELESS)
    )
    return [_without(row.mobiles.split(","), _split(row.omitted)) for row in rows]


def _without(mobiles: list[str], omitted: tuple[str, ...]) -> list[str]:
    return [mobile for mobile in mobiles if mobile not in set(omitted)] if omitted else mobiles


async def _opt_outs(connection: AsyncConnection, account: str) -> list[OptOutSpan]:
    rows = await connection.execute(
        select(opt_out.c.mobile, opt_out.c.at, opt_out.c.removed_at).where(
            opt_out.c.account.in_((account, EVERY_ACCOUNT))
        )
    )
    return [OptOutSpan(mobile=row.mobile, at=row.at, removed_at=row.removed_at) for row in rows]


async def _readings(connection: AsyncConnection, account: str, campaign_id: int) -> list[StretchReading]:
    """The account's balance readings from the campaign's first one on."""
    mine = (entry.c.account == account) & (entry.c.kind == "reading")
    first = select(func.min(entry.c.at)).where(mine, entry.c.campaign_id == campaign_id).scalar_subquery()
    rows = await connection.execute(select(entry).where(mine, entry.c.at >= first).order_by(entry.c.at, entry.c.id))
    return [
        StretchReading(
            asked_at=row.asked_at or row.at, answered_at=row.at, remaining=row.remaining, send_total=row.send_total
        )
        for row in rows
    ]


async def _spendings(connection: AsyncConnection, account: str, since: datetime | None) -> list[Spending]:
    """What may have been charged to the account: open doubts, what is in flight, and charges entered since then."""
    is_unknown = or_(attempt.c.outcome.is_(None), _IN_DOUBT & attempt.c.evidence.is_(None))
    wanted = [is_unknown]
    if since is not None:
        reaches_in = or_(entry.c.at >= since, attempt.c.finished_at >= since - LONGEST_REQUEST)
        wanted.append(entry.c.points.is_not(None) & reaches_in)
    of_text = and_(message.c.campaign_id == batch.c.campaign_id, message.c.seq == batch.c.message_seq)
    rows = await connection.execute(
        select(attempt, batch.c.seq, campaign.c.name, message.c.segments, entry.c.points, entry.c.at)
        .join(batch, batch.c.id == attempt.c.batch_id)
        .join(campaign, campaign.c.id == attempt.c.campaign_id)
        .join(message, of_text)
        .outerjoin(entry, _CHARGED)
        .where(attempt.c.account == account, or_(*wanted))
    )
    return [
        Spending(
            campaign=row.name,
            seq=row.seq,
            number=row.number,
            size=row.size,
            segments=row.segments,
            started_at=row.started_at,
            finished_at=row.finished_at,
            in_doubt=row.outcome == OutcomeKind.IN_DOUBT.value,
            may_land_late=row.may_land_late,
            charge=row.points,
            at=row.at,
            settled_by=None if row.settled_by is None else SettledBy(row.settled_by),
        )
        for row in rows
    ]


async def _charged_in_all(connection: AsyncConnection, account: str) -> Decimal:
    total = select(func.coalesce(func.sum(entry.c.points), Decimal(0))).where(
        entry.c.account == account, entry.c.kind == "charge"
    )
    return Decimal((await connection.execute(total)).scalar_one())


async def _elsewhere(connection: AsyncConnection, account: str, campaign_id: int) -> list[str]:
    """The numbers that attempts of other campaigns carried which were taken, or may have been."""
    rows = await connection.execute(
        select(batch.c.mobiles)
        .join(attempt, attempt.c.batch_id == batch.c.id)
        .where(attempt.c.account == account, attempt.c.campaign_id != campaign_id, or_(WAS_TAKEN, _NAMELESS))
    )
    return list(rows.scalars())


# ── a number ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _trace(connection: AsyncConnection, row: Row[Any], mobile: str) -> Trace:
    """A number in the batch that holds it. Who opted out after planning counts as excluded, though the batch went."""
    attempts = await _attempt_rows(connection, attempt.c.batch_id == row.id)
    omitted = mobile in attempts[-1].omitted if attempts and row.state != BatchState.SPLIT.value else False
    left_out = omitted or (row.state == BatchState.CANCELLED.value and row.omitted == row.size)
    at = row.mobiles.split(",").index(mobile)
    file, line, came_with = await _place(connection, row.campaign_id, unpack_lines(row.lines)[at])
    return Trace(
        campaign=row.name,
        at=attempts[0].started_at if attempts else row.created_at,
        file=file,
        line=line,
        notice=came_with,
        state="excluded" if left_out else row.state,
        batch=row.seq,
        attempts=attempts,
        omitted_from=frozenset(each.number for each in attempts if mobile in each.omitted),
        reports=await _told(connection, row.account, mobile, [each.task_id for each in attempts if each.task_id]),
        exclusion=await _opted_out(connection, row.account, mobile) if left_out else None,
        message=await _message(connection, row.campaign_id, row.message_seq),
    )


async def _message(connection: AsyncConnection, campaign_id: int, seq: int) -> Message | None:
    wanted = select(message).where(message.c.campaign_id == campaign_id, message.c.seq == seq)
    row = (await connection.execute(wanted)).one_or_none()
    return None if row is None else Message(content=row.content, units=row.units, segments=row.segments)


def _history(row: Row[Any]) -> OptOutHistory:
    return OptOutHistory(
        opt_out=OptOut(
            mobile=row.mobile,
            at=row.at,
            reason=row.reason,
            source=OptOutSource(row.source),
            everywhere=row.account == EVERY_ACCOUNT,
        ),
        account=None if row.account == EVERY_ACCOUNT else row.account,
        removed_at=row.removed_at,
        removed_because=row.removed_because,
    )


async def _opted_out(connection: AsyncConnection, account: str, mobile: str) -> str:
    mine = opt_out.c.account.in_((account, EVERY_ACCOUNT)) & (opt_out.c.mobile == mobile)
    wish = select(opt_out).where(mine).order_by(opt_out.c.removed_at.is_not(None), opt_out.c.at).limit(1)
    found = (await connection.execute(wish)).one_or_none()
    begin = _("{reason}: after planning").format(reason=Exclusion.OPTED_OUT.value)
    if found is None:
        return begin
    return _("{begin}, at {at:%Y-%m-%d %H:%M:%S}Z ({source}: {reason})").format(
        begin=begin, at=found.at, source=word_of(found.source), reason=found.reason
    )


async def _told(connection: AsyncConnection, account: str, mobile: str, task_ids: Sequence[str]) -> list[ToldReport]:
    rows = await connection.execute(
        select(report).where(report.c.account == account, report.c.task_id.in_(task_ids), report.c.mobile == mobile)
    )
    return [
        ToldReport(
            task_id=row.task_id,
            state=ReportState(row.state),
            status=row.status,
            error_code=row.error_code,
            received_at=row.received_at,
        )
        for row in rows
    ]
