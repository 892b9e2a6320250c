"""The stores the suite runs over, and what the tests say about journals: short words for long calls."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol, Self

import pytest
from sqlalchemy import Engine

from engine.journal.opening import open_journal, read_journal
from engine.journal.port import Draft, PlanTotals, SourceRecord, Submitted
from engine.journal.store import Reader, SqlJournal
from engine.journal.writer import ThreadedWriter
from engine.model import (
    Balance,
    BatchState,
    Claim,
    Excluded,
    Exclusion,
    Message,
    Outcome,
    OutcomeKind,
    PlannedBatch,
    RefusalKind,
)
from tests.numbers import mobiles

ACCOUNT = "account-key"
START = datetime(2026, 3, 1, 8, 0, 0, 123456, tzinfo=UTC)
LEASE_UNTIL_S = 1_000.0
TEXT = Message(content="【甲】春天来了，回T退订", units=12, segments=1)


class Place(Protocol):
    """Where a journal lies: it is opened there again and again, and looked into past the engine."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...

    def open(self) -> AbstractAsyncContextManager[SqlJournal]:
        """Own the journal as a new process would."""
        ...

    def look(self) -> AbstractAsyncContextManager[Reader]:
        """Look into it from beside."""
        ...

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What really is on the disk."""
        ...

    def alter(self, statement: str) -> None:
        """Change it past the engine, checks of the database included."""
        ...


class SqlitePlace:
    """A file in a temporary folder, written by a thread of this process."""

    apart = False

    def __init__(self, folder: Path) -> None:
        self.path = folder / "xinshi.db"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqlJournal]:
        journal = await open_journal(self.path, apart=self.apart)
        try:
            yield journal
        finally:
            await journal.close()

    @asynccontextmanager
    async def look(self) -> AsyncIterator[Reader]:
        reader = await read_journal(self.path)
        try:
            yield reader
        finally:
            await reader.close()

    def rows(self, query: str) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as raw:
            raw.row_factory = sqlite3.Row
            return [dict(row) for row in raw.execute(query)]

    def alter(self, statement: str) -> None:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as raw:
            raw.execute("PRAGMA foreign_keys = ON")
            raw.execute(statement)


class ApartPlace(SqlitePlace):
    """The same, written by a process of its own, as a command that sends does."""

    apart = True


in_this_process = pytest.mark.parametrize("place", [pytest.param(SqlitePlace, id="sqlite")], indirect=True)
"""For what can only be seen of a writer in a thread."""


def engine_of(journal: SqlJournal) -> Engine:
    """What writes, where that is in this process."""
    assert isinstance(journal._writer, ThreadedWriter)
    return journal._writer._engine


def draft(name: str = "spring", *, order_key: str = "order", messages: Sequence[Message] = (TEXT,)) -> Draft:
    """A campaign before its rows are read."""
    return Draft(
        name=name,
        account=ACCOUNT,
        profile="standard",
        order_key=order_key,
        plan_hash="plan",
        messages=messages,
        sources=[SourceRecord(path="/lists/a.csv", sha256="00", size=10, encoding="gb18030", number_column="手机")],
        created_at=START,
    )


def batches(*sizes: int, message: int = 1) -> list[PlannedBatch]:
    """Batches of these sizes with numbers of their own."""
    numbers, planned, begin = mobiles(sum(sizes)), [], 0
    for seq, size in enumerate(sizes, 1):
        mine = numbers[begin : begin + size]
        lines = f"{begin + 2}-{begin + 1 + size}"
        planned.append(PlannedBatch(seq=seq, size=size, mobiles=",".join(mine), lines=lines, message=message))
        begin += size
    return planned


def totals(*sizes: int, excluded: int = 0) -> PlanTotals:
    """The counts that fit such batches."""
    whole = sum(sizes)
    return PlanTotals(rows=whole + excluded, extra=0, recipients=whole, estimated=Decimal(whole))


async def planned(journal: SqlJournal, *sizes: int, name: str = "spring", sendable: int | None = None) -> int:
    """A visible campaign with batches of these sizes and one excluded row."""
    campaign_id = await journal.begin_campaign(draft(name))
    row = Excluded(line=99, raw="x", reason=Exclusion.INVALID, detail="too short")
    await journal.add_plan(campaign_id, batches(*sizes), [row])
    await journal.publish_campaign(campaign_id, totals(*sizes, excluded=1))
    await journal.set_sendable(campaign_id, sendable)
    return campaign_id


async def claimed(journal: SqlJournal, campaign_id: int, limit: int = 100) -> list[Claim]:
    return await journal.claim_batches(campaign_id, limit=limit, lease_until_s=LEASE_UNTIL_S)


async def intended(
    journal: SqlJournal,
    claim: Claim,
    *,
    at: datetime = START,
    omit: Sequence[str] = (),
    scheduled_for: datetime | None = None,
) -> Submitted:
    return await journal.record_intent(ACCOUNT, claim, started_at=at, omit=omit, scheduled_for=scheduled_for)


async def ended(
    journal: SqlJournal,
    submitted: Submitted,
    outcome: Outcome,
    then: BatchState,
    *,
    charge: Decimal | None = None,
    at: datetime = START + timedelta(seconds=1),
) -> None:
    await journal.record_outcome(ACCOUNT, submitted, outcome, finished_at=at, then=then, charge=charge)


async def accepted(
    journal: SqlJournal,
    submitted: Submitted,
    charge: Decimal | None = None,
    *,
    at: datetime = START + timedelta(seconds=1),
) -> None:
    points = Decimal(submitted.size) if charge is None else charge
    await ended(journal, submitted, taken(submitted.size), BatchState.ACCEPTED, charge=points, at=at)


def taken(size: int, task_id: str = "1911044500010583", counts: int | None = None) -> Outcome:
    """The gateway took it."""
    return Outcome(
        kind=OutcomeKind.ACCEPTED,
        task_id=task_id,
        success_counts=size if counts is None else counts,
        remaining=Decimal(5000),
        http_status=200,
        raw="<returnsms/>",
    )


DOUBT = Outcome(kind=OutcomeKind.IN_DOUBT, reason="no answer in 30 s")
NOT_SENT = Outcome(kind=OutcomeKind.NOT_SENT, reason="connection refused")
THROTTLED = Outcome(kind=OutcomeKind.NOT_TAKEN, reason="HTTP 429", http_status=429)
REFUSED = Outcome(
    kind=OutcomeKind.REFUSED,
    reason="包含非法字符：赌",
    refusal=RefusalKind.CONTENT,
    http_status=200,
    raw="<returnsms/>",
)


def reading(
    remaining: Decimal | None, *, at: datetime = START, send_total: Decimal | None = None, raw: str = "<returnsms/>"
) -> Balance:
    return Balance(at=at, payinfo="预付费", prepaid=True, remaining=remaining, send_total=send_total, raw=raw)


def states(place: Place) -> dict[int, str]:
    """Seq -> state, as on the disk."""
    return {row["seq"]: row["state"] for row in place.rows("SELECT seq, state FROM batch ORDER BY seq")}


def outcomes(place: Place) -> list[tuple[int, int, str | None]]:
    """(batch seq, attempt number, outcome), as on the disk."""
    query = (
        "SELECT b.seq, a.number, a.outcome FROM attempt a JOIN batch b ON b.id = a.batch_id ORDER BY b.seq, a.number"
    )
    return [(row["seq"], row["number"], row["outcome"]) for row in place.rows(query)]
