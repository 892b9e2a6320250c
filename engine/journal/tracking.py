"""Polls, reports, replies and opt-outs in the journal: the writes as plain functions, the verbs as two mixins.

Reports are not joined with attempts when they arrive but when somebody looks, so that neither the order of reports nor an
answer that is stored after its report makes a difference.
"""

from __future__ import annotations

import hashlib
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    case,
    exists,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.errors import JournalError
from engine.gateway.polls import ReportState
from engine.journal.bulk import Bulk
from engine.journal.commits import Commits
from engine.journal.port import (
    EVERY_ACCOUNT,
    Delivery,
    KeptPoll,
    OptedOut,
    OptOut,
    OptOutSource,
    Orphan,
    PollAnswer,
    PollKind,
    PollOutcome,
    PollRead,
    PollTally,
    ReplyLine,
    ReplyRecord,
    ReportLine,
    ShortBatch,
)
from engine.journal.schema import attempt, batch, campaign, microseconds, opt_out, poll, reply, report
from engine.journal.settling import WAS_TAKEN
from engine.language import N_, _
from engine.lines import unpack_lines
from engine.model import OutcomeKind

ENDED_DURING_POLL = N_("the process ended before the answer was kept")
_ROWS_AT_ONCE = 500
AT_ONCE = 1_000
"""Reports a commit: intents wait for the commit before theirs, so it must be short."""

_IN_ONE_QUERY = 500  # values in an IN (…)


# ── polls ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def begin_polls(connection: Connection, polls: Sequence[tuple[str, PollKind, datetime, int | None]]) -> list[int]:
    """Note polls that are about to be asked."""
    return [
        connection.execute(
            insert(poll).values(account=account, kind=kind.value, asked_at=asked_at, most=most).returning(poll.c.id)
        ).scalar_one()
        for account, kind, asked_at, most in polls
    ]


def keep_answers(connection: Connection, kept: Sequence[tuple[int, PollAnswer]]) -> list[None]:
    """Keep answers as they came."""
    for poll_id, answer in kept:
        _end(
            connection,
            poll_id,
            outcome=PollOutcome.ANSWERED.value,
            answered_at=answer.at,
            http_status=answer.http_status,
            charset=answer.charset,
            complete=answer.complete,
            body=zlib.compress(answer.body, 1),
        )
    return [None] * len(kept)


def end_polls(connection: Connection, ended: Sequence[tuple[int, PollOutcome, datetime, str]]) -> list[None]:
    """Note polls that brought no answer."""
    for poll_id, outcome, at, problem in ended:
        _end(connection, poll_id, outcome=outcome.value, answered_at=at, problem=problem)
    return [None] * len(ended)


def _end(connection: Connection, poll_id: int, **columns: Any) -> None:
    found = connection.execute(update(poll).where(poll.c.id == poll_id, poll.c.outcome.is_(None)).values(columns))
    if found.rowcount != 1:
        raise JournalError(_("poll {number} is not under way; its answer was not kept twice").format(number=poll_id))


def lose_open_polls(connection: Connection, *, now: datetime) -> None:
    """What an earlier process was asking when it ended: the gateway may have answered into the void."""
    connection.execute(
        update(poll)
        .where(poll.c.outcome.is_(None))
        .values(outcome=PollOutcome.LOST.value, answered_at=now, problem=ENDED_DURING_POLL)
    )


def note_unreadable(connection: Connection, noted: Sequence[tuple[int, str]]) -> list[None]:
    """Say of kept answers that they could not be read."""
    for poll_id, problem in noted:
        connection.execute(update(poll).where(poll.c.id == poll_id).values(problem=problem))
    return [None] * len(noted)


# ── reports ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _add_report() -> Bulk:
    """Of two reports with one key the better stays, by an order in which no two differ: any permutation ends alike.

    Delivered beats undelivered beats what is not final; then the earlier one; the rest of the order only must be fixed.
    """
    # Differs by necessity: "insert or update" is written in the words of each database's dialect.
    upsert = sqlite.insert(report)
    new, names = upsert.excluded, [column.name for column in report.columns]
    changed = {name: new[name] for name in names if name not in ("account", "task_id", "mobile")}
    better = tuple_(*_order(new)) < tuple_(*_order(report.c))
    on_conflict = upsert.on_conflict_do_update(
        index_elements=["account", "task_id", "mobile"], set_=changed, where=better
    )
    return Bulk(on_conflict, names)


def _order(columns: Any) -> list[Any]:
    states = (ReportState.DELIVERED, ReportState.UNDELIVERED, ReportState.INTERIM, ReportState.UNKNOWN)
    # As literals: a bound constant would have every row of a bulk write rebuilt.
    ranks: list[Any] = [
        (columns.state == literal_column(f"'{state}'"), literal_column(str(at))) for at, state in enumerate(states)
    ]
    never: Any = literal_column(str(2**62))
    return [
        case(*ranks),
        func.coalesce(columns.received_at, never),
        columns.status,
        columns.error_code,
        columns.poll_id,
    ]


_ADD_REPORT = _add_report()


def join_reports(connection: Connection, parts: Sequence[tuple[str, int, Sequence[ReportLine]]]) -> list[int]:
    """Add reports of polls. Returns how many rows each part changed."""
    return [_ADD_REPORT.execute(connection, _report_rows(*part)) if part[2] else 0 for part in parts]


def _report_rows(account: str, poll_id: int, lines: Sequence[ReportLine]) -> list[tuple[Any, ...]]:
    return [
        (account, task_id, mobile, state.value, None if at is None else microseconds(at), status, error_code, poll_id)
        for task_id, mobile, state, at, status, error_code in lines
    ]


# ── replies and opt-outs ─────────────────────────────────────────────────────────────────────────────────────────────


def apply_polls(connection: Connection, applied: Sequence[tuple[str, int, PollRead]]) -> list[int]:
    """Add what answers held, and say that they have been read. Returns how much of each was new."""
    return [_apply(connection, *each) for each in applied]


def _apply(connection: Connection, account: str, poll_id: int, read: PollRead) -> int:
    (fresh,) = join_reports(connection, [(account, poll_id, read.reports)])
    told = {_digest(line): line for line in read.replies}
    known = _known(connection, account, list(told))
    new = {digest: line for digest, line in told.items() if digest not in known}
    if new:
        connection.execute(insert(reply), [_reply_row(account, poll_id, *item) for item in new.items()])
    # A reply that is told again is no new wish: the operator may have removed the opt-out meanwhile.
    wishes = [
        OptOut(mobile=line.mobile, at=read.at, reason=line.content, source=OptOutSource.REPLY)
        for line in new.values()
        if line.opts_out
    ]
    add_opt_outs(connection, [(EVERY_ACCOUNT if read.opts_out_everywhere else account, wishes)])
    connection.execute(
        update(poll)
        .where(poll.c.id == poll_id)
        .values(applied_at=read.at, records=read.records, said=read.said, problem=read.problem)
    )
    return fresh + len(new)


def _digest(line: ReplyLine) -> str:
    parts = (line.mobile, line.content, line.task_id or "", line.at_text, line.extno)
    return hashlib.sha256("\x00".join(parts).encode("utf-8", "replace")).hexdigest()[:32]


def _known(connection: Connection, account: str, digests: list[str]) -> set[str]:
    known: set[str] = set()
    for begin in range(0, len(digests), _IN_ONE_QUERY):
        some = reply.c.digest.in_(digests[begin : begin + _IN_ONE_QUERY])
        known.update(connection.execute(select(reply.c.digest).where(reply.c.account == account, some)).scalars())
    return known


def _reply_row(account: str, poll_id: int, digest: str, line: ReplyLine) -> dict[str, Any]:
    return {
        "account": account,
        "digest": digest,
        "mobile": line.mobile,
        "content": line.content,
        "task_id": line.task_id,
        "received_at": line.received_at,
        "extno": line.extno,
        "opts_out": line.opts_out,
        "poll_id": poll_id,
    }


def _add_opt_out() -> Bulk:
    upsert = sqlite.insert(opt_out)
    names = ["account", "mobile", "seq", "at", "reason", "source"]
    changed: dict[str, Any] = {name: upsert.excluded[name] for name in ("seq", "at", "reason", "source")}
    changed |= {"removed_at": null(), "removed_because": literal_column("''")}
    # The first opt-out is the one that counts; only after a removal does a later one.
    return Bulk(
        upsert.on_conflict_do_update(
            index_elements=["account", "mobile"], set_=changed, where=opt_out.c.removed_at.is_not(None)
        ),
        names,
    )


_ADD_OPT_OUT = _add_opt_out()


def add_opt_outs(connection: Connection, added: Sequence[tuple[str, Sequence[OptOut]]]) -> list[int]:
    """Record opt-outs. Returns how many of each part were not recorded already."""
    return [_add_opt_outs(connection, account, opt_outs) if opt_outs else 0 for account, opt_outs in added]


def _add_opt_outs(connection: Connection, account: str, opt_outs: Sequence[OptOut]) -> int:
    last = connection.execute(select(func.max(opt_out.c.seq))).scalar() or 0
    rows = [
        (account, each.mobile, seq, microseconds(each.at), each.reason, each.source.value)
        for seq, each in enumerate(opt_outs, last + 1)
    ]
    return _ADD_OPT_OUT.execute(connection, rows)


def remove_opt_outs(connection: Connection, removed: Sequence[tuple[str, Sequence[str], datetime, str]]) -> list[int]:
    """Take opt-outs back. Returns how many of each part there were."""
    return [
        connection.execute(
            update(opt_out)
            .where(opt_out.c.account == account, opt_out.c.mobile.in_(mobiles), opt_out.c.removed_at.is_(None))
            .values(removed_at=at, removed_because=reason)
        ).rowcount
        for account, mobiles, at, reason in removed
    ]


# ── the verbs ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _orphan(row: Row[Any]) -> Orphan:
    return Orphan(
        task_id=row.task_id,
        mobile=row.mobile,
        state=ReportState(row.state),
        received_at=row.received_at,
        asked_at=row.asked_at,
    )


class TrackingLooks(ABC):
    """What a look into the journal tells about polls, reports, replies and opt-outs."""

    @abstractmethod
    def _look(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection that reads."""

    async def delivery(self, campaign_id: int, *, overdue_before: datetime | None = None) -> Delivery:
        """Recipients the gateway took by their final report. Without one they are overdue when sent before `overdue_before`.

        A report counts for a number that the attempt with its task id carried, and for no other.
        """
        told = (report.c.account == attempt.c.account) & (report.c.task_id == attempt.c.task_id)

        def reported(state: ReportState) -> ColumnElement[str | None]:
            # A look for each attempt; a join would sort every report of the campaign first.
            mobiles = select(func.aggregate_strings(report.c.mobile, ",")).where(told, report.c.state == state.value)
            return mobiles.scalar_subquery()

        carried = (
            select(
                batch.c.mobiles,
                attempt.c.omitted,
                attempt.c.size,
                attempt.c.finished_at,
                attempt.c.scheduled_for,
                reported(ReportState.DELIVERED).label("delivered"),
                reported(ReportState.UNDELIVERED).label("undelivered"),
            )
            .join(batch, batch.c.id == attempt.c.batch_id)
            .where(attempt.c.campaign_id == campaign_id, WAS_TAKEN, exists().where(told))
        )
        async with self._look() as connection:
            mine = campaign.c.id == campaign_id
            gone = campaign.c.forgotten_at.is_not(None)
            kept = select(campaign.c.delivered, campaign.c.undelivered).where(mine, gone)
            if (stays := (await connection.execute(kept)).one_or_none()) is not None:
                return Delivery(delivered=stays.delivered, undelivered=stays.undelivered)
            delivered = undelivered = 0
            overdue = 0 if overdue_before is None else await _in_silence(connection, campaign_id, told, overdue_before)
            # Many rows at a time: each by itself would be a step out of SQLAlchemy's greenlet and back.
            async for rows in (await connection.stream(carried)).partitions(_ROWS_AT_ONCE):
                for row in rows:
                    ours = set(row.mobiles.split(",")).difference(row.omitted.split(","))
                    final = [len(ours.intersection(names.split(","))) if names else 0 for names in row[-2:]]
                    delivered, undelivered = delivered + final[0], undelivered + final[1]
                    if overdue_before is not None and _sent_at(row) < overdue_before:
                        overdue += row.size - sum(final)
        return Delivery(delivered=delivered, undelivered=undelivered, overdue=overdue)

    async def shortfall(self, campaign_id: int, *, overdue_before: datetime | None = None) -> list[ShortBatch]:
        """The accepted batches of which the gateway counted fewer numbers than they carried, in order.

        Whom it left out, its reports tell in time: of a batch sent before `overdue_before`, those without any report.
        """
        told = (report.c.account == attempt.c.account) & (report.c.task_id == attempt.c.task_id)
        reported = select(func.aggregate_strings(report.c.mobile, ",")).where(told).scalar_subquery()
        query = (
            select(batch.c.seq, batch.c.mobiles, batch.c.lines, attempt, reported.label("reported"))
            .join(batch, batch.c.id == attempt.c.batch_id)
            .where(attempt.c.campaign_id == campaign_id, attempt.c.outcome == OutcomeKind.ACCEPTED.value)
            .where(attempt.c.success_counts < attempt.c.size)
            .order_by(batch.c.seq, attempt.c.number)
        )
        async with self._look() as connection:
            return [_short_batch(row, overdue_before) for row in await connection.execute(query)]

    async def orphans(self, account: str) -> list[Orphan]:
        """The reports whose task id no attempt of the account has."""
        # Two sets, and not one query with "not exists": that looked for every report on its own, and took minutes.
        known = select(attempt.c.task_id).where(attempt.c.account == account, attempt.c.task_id.is_not(None))
        told = select(report.c.task_id).distinct().where(report.c.account == account)
        found: list[Orphan] = []
        async with self._look() as connection:
            unknown = set((await connection.execute(told)).scalars()).difference(
                (await connection.execute(known)).scalars()
            )
            wanted = sorted(unknown)
            for begin in range(0, len(wanted), _IN_ONE_QUERY):
                query = (
                    select(report, poll.c.asked_at)
                    .join(poll, poll.c.id == report.c.poll_id)
                    .where(report.c.account == account, report.c.task_id.in_(wanted[begin : begin + _IN_ONE_QUERY]))
                    .order_by(report.c.task_id, report.c.mobile)
                )
                found += [_orphan(row) for row in await connection.execute(query)]
        return found

    async def emptied_at(self, account: str, kind: PollKind) -> datetime | None:
        """When the last poll was asked that found nothing: what was waiting before has been read. None: never."""
        query = select(func.max(poll.c.asked_at)).where(
            poll.c.account == account,
            poll.c.kind == kind.value,
            poll.c.records == 0,
            poll.c.said == "",
            poll.c.problem == "",
            poll.c.complete.is_(True),
        )
        async with self._look() as connection:
            found: datetime | None = (await connection.execute(query)).scalar()
            return found

    async def polls(self, account: str) -> PollTally:
        """The account's polls counted, with what lost answers may have cost."""
        cut = (poll.c.outcome == PollOutcome.LOST.value) | poll.c.complete.is_(False)
        missing = func.coalesce(poll.c.most, 0) - func.coalesce(poll.c.records, 0)
        query = select(
            func.count(),
            func.coalesce(func.sum(case((cut, 1), else_=0)), 0),
            func.coalesce(func.sum(case((cut & (missing > 0), missing), else_=0)), 0),
            func.coalesce(func.sum(case((_UNREAD, 1), else_=0)), 0),
        ).where(poll.c.account == account, poll.c.outcome.is_not(None))
        async with self._look() as connection:
            made, lost, cost, unread = (await connection.execute(query)).one()
        return PollTally(made=made, lost=lost, may_have_cost=cost, unread=unread)

    async def kept_polls(
        self, account: str, *, after: int = 0, limit: int = 10, untried: bool = False
    ) -> list[KeptPoll]:
        """Kept answers that were not read, or not wholly, in their order; from the one after the poll `after` on.

        `untried`: only those that nobody has tried to read.
        """
        query = (
            select(poll)
            .where(poll.c.account == account, poll.c.id > after, poll.c.body.is_not(None))
            .where(_UNREAD & (poll.c.problem == "") if untried else or_(_UNREAD, poll.c.problem != ""))
            .order_by(poll.c.id)
            .limit(limit)
        )
        async with self._look() as connection:
            return [
                KeptPoll(
                    poll_id=row.id,
                    kind=PollKind(row.kind),
                    most=row.most,
                    answer=PollAnswer(
                        at=row.answered_at,
                        http_status=row.http_status,
                        charset=row.charset,
                        complete=row.complete,
                        body=zlib.decompress(row.body),
                    ),
                )
                for row in await connection.execute(query)
            ]

    async def replies(self, account: str) -> list[ReplyRecord]:
        """All replies, in the order in which they came, each with its campaign where that can be told."""
        async with self._look() as connection:
            rows = (
                await connection.execute(select(reply).where(reply.c.account == account).order_by(reply.c.id))
            ).all()
            by_task = await _campaigns_of_tasks(connection, account, {row.task_id for row in rows if row.task_id})
            left = {row.mobile for row in rows if row.task_id not in by_task}
            by_mobile = await _newest_campaigns(connection, account, left)
        return [
            ReplyRecord(
                mobile=row.mobile,
                content=row.content,
                task_id=row.task_id,
                received_at=row.received_at,
                opts_out=row.opts_out,
                campaign=by_task.get(row.task_id) or by_mobile.get(row.mobile),
            )
            for row in rows
        ]

    async def unjoined(self, account: str) -> int:
        """How many reports belong to no message that this journal knows: sent from elsewhere, or of a batch in doubt."""
        ours = select(attempt.c.task_id).where(attempt.c.account == account, attempt.c.task_id.is_not(None))
        query = (
            select(func.count())
            .select_from(report)
            .where(  # a list made once; asked of each report, it took minutes
                report.c.account == account, report.c.task_id.not_in(ours)
            )
        )
        async with self._look() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def opted_out(self, account: str, *, since: int = 0) -> OptedOut:
        """The numbers that opted out after the opt-out with the seq `since`, and have not been removed."""
        mine = opt_out.c.account.in_((account, EVERY_ACCOUNT)) & (opt_out.c.seq > since)
        async with self._look() as connection:
            last = (await connection.execute(select(func.max(opt_out.c.seq)).where(mine))).scalar() or since
            mobiles = await connection.execute(select(opt_out.c.mobile).where(mine, opt_out.c.removed_at.is_(None)))
            return OptedOut(mobiles=list(mobiles.scalars()), seq=last)

    async def opted_out_among(self, mobiles: Sequence[str], account: str) -> set[str]:
        """Those of the numbers that are opted out from the account; for every account: from any."""
        found: set[str] = set()
        async with self._look() as connection:
            for begin in range(0, len(mobiles), _IN_ONE_QUERY):
                some = opt_out.c.mobile.in_(mobiles[begin : begin + _IN_ONE_QUERY]) & opt_out.c.removed_at.is_(None)
                if account != EVERY_ACCOUNT:
                    some &= opt_out.c.account.in_((account, EVERY_ACCOUNT))
                found.update((await connection.execute(select(opt_out.c.mobile).where(some))).scalars())
        return found

    async def opt_outs(self, account: str) -> list[OptOut]:
        """Everybody who has opted out, in the order in which they did."""
        mine = opt_out.c.account.in_((account, EVERY_ACCOUNT))
        query = select(opt_out).where(mine, opt_out.c.removed_at.is_(None))
        async with self._look() as connection:
            return [
                OptOut(
                    mobile=row.mobile,
                    at=row.at,
                    reason=row.reason,
                    source=OptOutSource(row.source),
                    everywhere=row.account == EVERY_ACCOUNT,
                )
                for row in await connection.execute(query.order_by(opt_out.c.seq))
            ]


class TrackingWrites:
    """The verbs of `TrackingJournal` in port.py, and the operator's opt-outs."""

    _commits: Commits

    async def begin_poll(self, account: str, kind: PollKind, *, asked_at: datetime, most: int | None) -> int:
        """Note that a poll is about to be asked, and return its id."""
        return await self._commits.do(begin_polls, (account, kind, asked_at, most))

    async def keep_answer(self, poll_id: int, answer: PollAnswer) -> None:
        """Keep an answer as it came, before anybody reads it."""
        await self._commits.do(keep_answers, (poll_id, answer))

    async def end_poll(self, poll_id: int, outcome: PollOutcome, *, at: datetime, problem: str) -> None:
        """Note that a poll brought no answer, and what that means."""
        await self._commits.do(end_polls, (poll_id, outcome, at, problem))

    async def apply_poll(self, account: str, poll_id: int, read: PollRead) -> int:
        """The answer has been read: add its reports, a stretch a commit, and with the last its replies and opt-outs.

        Returns how many reports changed something and how many replies were new.
        """
        *first, last = [read.reports[begin : begin + AT_ONCE] for begin in range(0, len(read.reports), AT_ONCE)] or [()]
        fresh = sum([await self._commits.do(join_reports, (account, poll_id, some)) for some in first])
        return fresh + await self._commits.do(apply_polls, (account, poll_id, replace(read, reports=last)))

    async def note_unreadable(self, poll_id: int, problem: str) -> None:
        """The answer could not be read. It stays as it is."""
        await self._commits.do(note_unreadable, (poll_id, problem))

    async def add_opt_outs(self, account: str, opt_outs: Sequence[OptOut]) -> int:
        """Record opt-outs. Returns how many were not recorded already."""
        return await self._commits.do(add_opt_outs, (account, opt_outs))

    async def remove_opt_outs(self, account: str, mobiles: Sequence[str], *, at: datetime, reason: str = "") -> int:
        """Take opt-outs back. Returns how many there were."""
        return await self._commits.do(remove_opt_outs, (account, mobiles, at, reason))


async def _in_silence(
    connection: AsyncConnection, campaign_id: int, told: ColumnElement[bool], before: datetime
) -> int:
    """Recipients of attempts that were sent `before`, and of which no report tells anything."""
    late = (attempt.c.finished_at < before) & (attempt.c.scheduled_for.is_(None) | (attempt.c.scheduled_for < before))
    query = select(func.coalesce(func.sum(attempt.c.size), 0)).where(
        attempt.c.campaign_id == campaign_id, WAS_TAKEN, late, ~exists().where(told)
    )
    return int((await connection.execute(query)).scalar_one())


def _sent_at(row: Row[Any]) -> datetime:
    """From when on reports of an attempt that was taken can be waited for."""
    at: datetime = row.finished_at if row.scheduled_for is None else max(row.finished_at, row.scheduled_for)
    return at


def _short_batch(row: Row[Any], overdue_before: datetime | None) -> ShortBatch:
    lacking = row.size - row.success_counts
    if overdue_before is None or _sent_at(row) >= overdue_before or not row.mobiles:  # forgotten
        return ShortBatch(seq=row.seq, lacking=lacking, unreported=None)
    told = {*(row.reported or "").split(","), *row.omitted.split(",")}
    places = zip(row.mobiles.split(","), unpack_lines(row.lines), strict=True)
    left = [(mobile, line) for mobile, line in places if mobile not in told]
    return ShortBatch(
        seq=row.seq,
        lacking=lacking,
        unreported=tuple(mobile for mobile, _ in left),
        lines=tuple(line for _, line in left),
    )


_UNREAD = (poll.c.outcome == PollOutcome.ANSWERED.value) & poll.c.applied_at.is_(None)


async def _campaigns_of_tasks(connection: AsyncConnection, account: str, task_ids: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    wanted = sorted(task_ids)
    for begin in range(0, len(wanted), _IN_ONE_QUERY):
        query = (
            select(attempt.c.task_id, campaign.c.name)
            .join(campaign, campaign.c.id == attempt.c.campaign_id)
            .where(attempt.c.account == account, attempt.c.task_id.in_(wanted[begin : begin + _IN_ONE_QUERY]))
        )
        found.update((row.task_id, row.name) for row in await connection.execute(query))
    return found


async def _newest_campaigns(connection: AsyncConnection, account: str, mobiles: set[str]) -> dict[str, str]:
    """The newest campaign that handed over each number. One walk over the batches, however many numbers there are."""
    found: dict[str, str] = {}
    if not mobiles:
        return found
    rows = await connection.stream(
        select(campaign.c.name, batch.c.mobiles)
        .join(campaign, campaign.c.id == batch.c.campaign_id)
        .where(campaign.c.account == account, batch.c.attempts > 0)
        .order_by(campaign.c.id.desc())
    )
    async for name, carried in rows:
        for mobile in mobiles.intersection(carried.split(",")) - found.keys():
            found[mobile] = name
        if len(found) == len(mobiles):
            break
    return found
