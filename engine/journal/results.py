"""What became of every row of a campaign, in the order of its list, in bounded memory. All of it from one moment.

A batch is a row of the database, so an export reads batches a few at a time, each with its attempts, reports and replies, and
never a row per recipient.
"""

from __future__ import annotations

from array import array
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from sqlalchemy import (
    URL,
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    Row,
    Text,
    cast,
    create_engine,
    func,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.exc import SQLAlchemyError

from engine.errors import PlanError
from engine.gateway.polls import ReportState
from engine.journal.audits import CLOCK_SKEW
from engine.journal.faults import journal_error
from engine.journal.migrate import refuse_other_version
from engine.journal.places import refuse_no_journal
from engine.journal.port import SourceRecord
from engine.journal.schema import (
    attempt,
    batch,
    campaign,
    exclusion,
    message,
    notice,
    poll,
    queue,
    reply,
    report,
    source,
)
from engine.journal.settling import TAKEN
from engine.language import _
from engine.lines import unpack_lines
from engine.model import BatchState, OutcomeKind

_AT_ONCE = 4_000  # recipients whose batches are read together
_IN_ONE_QUERY = 500  # values in an IN (…)
_BUSY_S = 2.0
_SECOND_US = 1_000_000


class Told(NamedTuple):
    """What the gateway reported alike of several numbers of a task. `at_s[i]`: when of `mobiles[i]`, as the digits of seconds
    since 1970 UTC; "" where it named no time."""

    state: ReportState
    status: str
    error_code: str
    mobiles: list[str]
    at_s: list[str]


class Wrote(NamedTuple):
    """What a person wrote. `at_us` in microseconds since 1970 UTC, None where it is not known."""

    task_id: str | None
    at_us: int | None
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """A batch and what became of it. `lines` is empty where its recipients come from a queue.

    `task_id` and the times are of the attempt that counts: the one that was taken, else the last. Of those in `omitted`, who had
    opted out, nothing was sent.
    """

    seq: int
    state: BatchState
    reason: str
    mobiles: list[str]
    lines: list[int]
    omitted: frozenset[str] = frozenset()
    task_id: str = ""
    started_us: int | None = None
    finished_us: int | None = None
    scheduled_us: int | None = None  # when the gateway was to send it; None: at once
    reports: Sequence[Told] = ()
    replies: dict[str, list[Wrote]] = field(default_factory=dict)


class LeftOut(NamedTuple):
    """A row, or one number of it, that is no recipient."""

    line: int
    raw: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the journal says of the campaign as a whole. `forgotten_at`: its numbers and texts are gone since then."""

    campaign_id: int
    name: str
    account: str
    profile: str
    rows: int
    extra: int
    recipients: int
    created_at: datetime
    forgotten_at: datetime | None
    plan_hash: str
    queue: str  # the queue it grows from; "": it was planned from lists
    sources: list[SourceRecord]
    texts: list[str]


@contextmanager
def looking(path: Path, name: str) -> Iterator[ResultsLook]:
    """Look at one campaign for as long as the block lasts; what is written meanwhile is not seen.

    Raises JournalError where there is no journal, SchemaMismatch, PlanError where there is no such campaign.
    """
    refuse_no_journal(path)
    # Quoted, because SQLite reads a file: address as a URI and a folder may be called 100%#1?
    url = URL.create("sqlite+pysqlite", database=f"file:{quote(str(path))}", query={"mode": "ro", "uri": "true"})
    engine = create_engine(url, connect_args={"isolation_level": None, "timeout": _BUSY_S})
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            refuse_other_version(connection, path)
            yield ResultsLook(connection, name)
    except SQLAlchemyError as error:
        raise journal_error(error) from error
    finally:
        engine.dispose()


class ResultsLook:
    """One campaign, at one moment."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self.known = self._known(name)
        self._account = self.known.account
        self._of_campaign = batch.c.campaign_id == self.known.campaign_id
        self._repliers: set[str] | None = None

    def _known(self, name: str) -> Known:
        found = self._connection.execute(
            select(*_KNOWN).where(campaign.c.name == name, campaign.c.state != "planning")
        ).one_or_none()
        if found is None:
            names = self._connection.execute(select(campaign.c.name).where(campaign.c.state != "planning"))
            there = ", ".join(names.scalars()) or _("none yet")
            raise PlanError(
                _("there is no campaign named {name!r} in this journal; there are: {names}").format(
                    name=name, names=there
                )
            )
        sources = self._connection.execute(
            select(source).where(source.c.campaign_id == found.id).order_by(source.c.seq)
        )
        return Known(
            campaign_id=found.id,
            name=found.name,
            account=found.account,
            profile=found.profile,
            rows=found.rows,
            extra=found.extra,
            recipients=found.recipients,
            created_at=found.created_at,
            forgotten_at=found.forgotten_at,
            plan_hash=found.plan_hash,
            queue=found.queue or "",
            sources=[source_record(row) for row in sources],
            texts=self._texts(found.id),
        )

    def _texts(self, campaign_id: int) -> list[str]:
        query = select(message.c.content).where(message.c.campaign_id == campaign_id).order_by(message.c.seq).limit(2)
        return list(self._connection.execute(query).scalars())

    # ── batches ──────────────────────────────────────────────────────────────────────────────────────────────────

    def batches(self) -> BatchStream:
        """The batches by the line their first recipient stands on; those that were split are not among them."""
        first = cast(batch.c.lines, Integer)  # "2-101,103" begins with it
        query = (
            select(batch.c.id, first, batch.c.size)
            .where(self._of_campaign, batch.c.state != BatchState.SPLIT.value)
            .order_by(first, batch.c.seq)
            .execution_options(yield_per=10_000)
        )
        ids, lines, sizes = array("q"), array("q"), array("l")
        for batch_id, line, size in self._connection.execute(query):
            ids.append(batch_id)
            lines.append(line or 0)
            sizes.append(size)
        return BatchStream(self, ids, lines, sizes)

    def results(self, ids: Sequence[int]) -> list[BatchResult]:
        """These batches, in this order, with what became of them."""
        found = self._connection.execute(select(batch).where(batch.c.id.in_(ids)))
        rows = {row.id: row for row in found}
        tried = self._attempts(ids)
        task_ids = [row.task_id for attempts in tried.values() for row in attempts if row.task_id]
        told = self._reports(task_ids)
        replies = self._replies_of([row.mobiles for row in rows.values()])
        return [_batch_result(rows[each], tried.get(each, []), told, replies) for each in ids]

    def _attempts(self, ids: Sequence[int]) -> dict[int, list[Row[Any]]]:
        query = (
            select(
                attempt.c.batch_id,
                attempt.c.outcome,
                attempt.c.evidence,
                attempt.c.task_id,
                attempt.c.omitted,
                attempt.c.waits_for,
                type_coerce(attempt.c.started_at, BigInteger).label("started_us"),
                type_coerce(attempt.c.finished_at, BigInteger).label("finished_us"),
                type_coerce(attempt.c.scheduled_for, BigInteger).label("scheduled_us"),
            )
            .where(attempt.c.batch_id.in_(ids))
            .order_by(attempt.c.batch_id, attempt.c.number)
        )
        tried: dict[int, list[Row[Any]]] = defaultdict(list)
        for row in self._connection.execute(query):
            tried[row.batch_id].append(row)
        return tried

    def _reports(self, task_ids: Sequence[str]) -> dict[str, list[Told]]:
        """By task id. The database joins what is alike: a row for each report would take longer than all else."""
        told: dict[str, list[Told]] = defaultdict(list)
        alike = (report.c.task_id, report.c.state, report.c.status, report.c.error_code)
        at_us = type_coerce(report.c.received_at, BigInteger)
        at_s = func.coalesce(cast(at_us // _SECOND_US, Text), "")
        joined = (func.aggregate_strings(report.c.mobile, ","), func.aggregate_strings(at_s, ","))
        for begin in range(0, len(task_ids), _IN_ONE_QUERY):
            under_them = report.c.task_id.in_(task_ids[begin : begin + _IN_ONE_QUERY])
            query = select(*alike, *joined).where(report.c.account == self._account, under_them).group_by(*alike)
            for task_id, state, status, error_code, mobiles, times in self._connection.execute(query):
                told[task_id].append(Told(_STATES[state], status, error_code, mobiles.split(","), times.split(",")))
        return told

    # ── replies ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _replies_of(self, carried: Sequence[str]) -> dict[str, list[Wrote]]:
        """What the people of these batches wrote since the campaign was made."""
        if self._repliers is None:
            self._repliers = set(self._connection.execute(self._replies(reply.c.mobile).distinct()).scalars())
        wanted: list[str] = []
        if self._repliers:
            wanted = sorted(self._repliers.intersection(",".join(carried).split(",")))
        wrote: dict[str, list[Wrote]] = defaultdict(list)
        for begin in range(0, len(wanted), _IN_ONE_QUERY):
            query = self._replies(reply.c.mobile, reply.c.task_id, _WRITTEN_US, reply.c.content)
            some = query.where(reply.c.mobile.in_(wanted[begin : begin + _IN_ONE_QUERY])).order_by(reply.c.id)
            for mobile, task_id, at_us, content in self._connection.execute(some):
                wrote[mobile].append(Wrote(task_id, at_us, content))
        return wrote

    def _replies(self, *columns: Any) -> Any:
        since = or_(reply.c.received_at.is_(None), reply.c.received_at >= self.known.created_at - CLOCK_SKEW)
        return (
            select(*columns)
            .join(poll, poll.c.id == reply.c.poll_id)
            .where(reply.c.account == self._account, since, poll.c.asked_at >= self.known.created_at)
        )

    def is_of_another(self, task_ids: Sequence[str]) -> set[str]:
        """Those of the task ids that an attempt of another campaign has."""
        query = select(attempt.c.task_id).where(
            attempt.c.account == self._account,
            attempt.c.campaign_id != self.known.campaign_id,
            attempt.c.task_id.in_(task_ids),
        )
        return set(self._connection.execute(query).scalars())

    # ── who was left out ─────────────────────────────────────────────────────────────────────────────────────────

    def left_out(self) -> Iterator[LeftOut]:
        """The rows that are no recipients, by line."""
        query = (
            select(exclusion.c.line, exclusion.c.raw, exclusion.c.reason, exclusion.c.detail)
            .where(exclusion.c.campaign_id == self.known.campaign_id)
            .order_by(exclusion.c.line, exclusion.c.id)
            .execution_options(yield_per=2_000)
        )
        for row in self._connection.execute(query):
            yield LeftOut(*row)

    def messages_of(self, lines: Sequence[int]) -> dict[int, str]:
        """The ids of the messages of the queue that these lines came in; nothing for a campaign that grows from none."""
        found: dict[int, str] = {}
        for begin in range(0, len(lines) if self.known.queue else 0, _IN_ONE_QUERY):
            query = select(notice.c.line, notice.c.notice_id).where(
                notice.c.campaign_id == self.known.campaign_id,
                notice.c.line.in_(lines[begin : begin + _IN_ONE_QUERY]),
            )
            found.update((row[0], row[1]) for row in self._connection.execute(query))
        return found

    # ── dead numbers ─────────────────────────────────────────────────────────────────────────────────────────────

    def codes(self) -> dict[str, int]:
        """How often each error code was reported with a final failure in this campaign."""
        under_it = (report.c.account == attempt.c.account) & (report.c.task_id == attempt.c.task_id)
        query = (
            select(report.c.error_code, func.count())
            .join(attempt, under_it)
            .where(attempt.c.campaign_id == self.known.campaign_id, report.c.state == ReportState.UNDELIVERED.value)
            .group_by(report.c.error_code)
        )
        return {row[0]: row[1] for row in self._connection.execute(query)}

    def delivered_since(self, at_us: int) -> set[str]:
        """The numbers of the account that a message reached after that time, in whatever campaign."""
        query = select(report.c.mobile).where(
            report.c.account == self._account,
            report.c.state == ReportState.DELIVERED.value,
            type_coerce(report.c.received_at, BigInteger) >= at_us,
        )
        return set(self._connection.execute(query.execution_options(yield_per=10_000)).scalars())


class BatchStream:
    """Batches by the line their first recipient stands on, one at a time. They are read some ahead."""

    def __init__(self, look: ResultsLook, ids: array[int], lines: array[int], sizes: array[int]) -> None:
        self._look, self._ids, self._lines, self._sizes = look, ids, lines, sizes
        self._at = 0
        self._ahead: deque[BatchResult] = deque()

    @property
    def next_line(self) -> int | None:
        """Where the next batch begins; None when there is none."""
        return self._lines[self._at] if self._at < len(self._ids) else None

    def take(self) -> BatchResult:
        """The next batch."""
        if not self._ahead:
            end, recipients = self._at, 0
            while end < min(len(self._ids), self._at + _IN_ONE_QUERY) and recipients < _AT_ONCE:
                recipients += self._sizes[end]
                end += 1
            self._ahead.extend(self._look.results(self._ids[self._at : end].tolist()))
        self._at += 1
        return self._ahead.popleft()


_KNOWN: list[ColumnElement[Any]] = [
    campaign.c[name] for name in ("id", "name", "account", "profile", "rows", "extra", "recipients")
]
_KNOWN += [campaign.c.created_at, campaign.c.forgotten_at, campaign.c.plan_hash]
_KNOWN += [select(queue.c.name).where(queue.c.id == campaign.c.queue_id).scalar_subquery().label("queue")]
_STATES = {state.value: state for state in ReportState}
_WRITTEN_US = type_coerce(func.coalesce(reply.c.received_at, poll.c.asked_at), BigInteger)


def source_record(row: Row[Any]) -> SourceRecord:
    """A list of a campaign as the journal holds it."""
    return SourceRecord(
        path=row.path,
        sha256=row.sha256,
        size=row.size,
        encoding=row.encoding,
        number_column=row.number_column,
        inside=row.inside,
        column=row.column_at,
        first_line=row.first_line,
    )


def _batch_result(
    row: Row[Any], tried: Sequence[Row[Any]], told: dict[str, list[Told]], replies: dict[str, list[Wrote]]
) -> BatchResult:
    counts = next((each for each in reversed(tried) if _was_taken(each)), tried[-1] if tried else None)
    mobiles = row.mobiles.split(",") if row.mobiles else []
    omitted: frozenset[str] = frozenset()
    if row.omitted and row.omitted == row.size and row.state == BatchState.CANCELLED.value:
        omitted = frozenset(mobiles)
    elif row.omitted and tried and tried[-1].omitted:
        omitted = frozenset(tried[-1].omitted.split(","))
    waits_for = tried[-1].waits_for if tried else None
    return BatchResult(
        seq=row.seq,
        state=BatchState(row.state),
        reason="; ".join(
            filter(None, (_(row.reason or ""), waits_for if row.state == BatchState.IN_DOUBT.value else None))
        ),
        mobiles=mobiles,
        lines=unpack_lines(row.lines),
        omitted=omitted,
        task_id=(counts.task_id or "") if counts is not None else "",
        started_us=None if counts is None else counts.started_us,
        finished_us=None if counts is None else counts.finished_us,
        scheduled_us=None if counts is None else counts.scheduled_us,
        reports=told.get(counts.task_id, ()) if counts is not None and counts.task_id and _was_taken(counts) else (),
        replies=replies,
    )


def _was_taken(row: Row[Any]) -> bool:
    return bool(row.outcome == OutcomeKind.ACCEPTED.value or (row.evidence or "").startswith(TAKEN))
