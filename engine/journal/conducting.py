"""What the operator decided of a campaign, and what it needs of the journal: hours that end, canaries, points kept for others."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, case, exists, func, null, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.gateway.polls import ReportState
from engine.journal.commits import Commits
from engine.journal.port import Conduct
from engine.journal.schema import attempt, batch, campaign, entry, message, report
from engine.journal.settling import WAS_TAKEN
from engine.model import BatchState, CampaignState

_TASKS_AT_ONCE = 500
_OF_ATTEMPT = (attempt.c.batch_id == entry.c.batch_id) & (attempt.c.number == entry.c.attempt_number)
_OF_TEXT = (message.c.campaign_id == batch.c.campaign_id) & (message.c.seq == batch.c.message_seq)


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryStand:
    """What became of a canary so far. `said`: the gateway's words for the undelivered, with how many they were said of.

    `sent_at`: when its last answer came; None: nothing of it was accepted.
    """

    accepted: int = 0
    delivered: int = 0
    undelivered: int = 0
    sent_at: datetime | None = None
    said: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsent:
    """A campaign with something planned: its billed segments, over all recipients that wait."""

    campaign_id: int
    name: str
    segments: int
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """An accepted answer on the account's line: the points we expected it to cost, and what was left after it."""

    charge: Decimal
    remaining: Decimal


def conduct_columns(conduct: Conduct) -> dict[str, Any]:
    """A campaign's columns."""
    return {
        "not_before": conduct.not_before,
        "expires_at": conduct.expires_at,
        "scheduled_for": conduct.scheduled_for,
        "windows": json.dumps(list(conduct.windows), ensure_ascii=False),
        "zone": conduct.zone,
        "keep_points": conduct.keep_points,
        "canary": conduct.canary,
        "canary_delivered": conduct.canary_delivered,
        "canary_wait_s": conduct.canary_wait_s,
        "requests_per_second": conduct.requests_per_second,
        "numbers_per_second": conduct.numbers_per_second,
        "in_flight": conduct.in_flight,
    }


def conduct_of(row: Row[Any]) -> Conduct:
    """What the columns say."""
    return Conduct(
        not_before=row.not_before,
        windows=tuple(json.loads(row.windows)),
        zone=row.zone,
        expires_at=row.expires_at,
        scheduled_for=row.scheduled_for,
        keep_points=row.keep_points,
        canary=row.canary,
        canary_delivered=row.canary_delivered,
        canary_wait_s=row.canary_wait_s,
        requests_per_second=row.requests_per_second,
        numbers_per_second=row.numbers_per_second,
        in_flight=row.in_flight,
    )


def set_conducts(connection: Connection, changes: Sequence[tuple[int, Conduct]]) -> list[None]:
    """Decide anew. Another number of those who go first is another canary: chosen later, and not come through."""
    for campaign_id, conduct in changes:
        is_same = campaign.c.canary == conduct.canary
        stand = {
            "canary_seq": case((is_same, campaign.c.canary_seq), else_=null()),
            "canary_passed": is_same & campaign.c.canary_passed,
        }
        connection.execute(
            update(campaign).where(campaign.c.id == campaign_id).values(conduct_columns(conduct) | stand)
        )
    return [None] * len(changes)


def set_canaries(connection: Connection, changes: Sequence[tuple[int, int | None, bool]]) -> list[None]:
    """Note which batches go first, and whether they came through."""
    for campaign_id, seq, passed in changes:
        connection.execute(
            update(campaign).where(campaign.c.id == campaign_id).values(canary_seq=seq, canary_passed=passed)
        )
    return [None] * len(changes)


def expire(connection: Connection, campaign_ids: Sequence[int]) -> list[int]:
    """End what is planned in campaigns whose time is over. Returns how many recipients that were, for each."""
    expired = []
    for campaign_id in campaign_ids:
        waiting = (batch.c.campaign_id == campaign_id) & (batch.c.state == BatchState.PLANNED.value)
        size = connection.execute(select(func.coalesce(func.sum(batch.c.size), 0)).where(waiting)).scalar_one()
        connection.execute(update(batch).where(waiting).values(state=BatchState.EXPIRED.value))
        expired.append(int(size))
    return expired


class ConductLooks(ABC):
    """What a look into the journal tells about canaries, prices and points kept for others."""

    @abstractmethod
    def _look(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection that reads."""

    async def canary_stand(self, campaign_id: int, *, recipients: int) -> CanaryStand:
        """What became of the campaign's last accepted batches, as many as hold so many recipients."""
        query = (
            select(batch.c.mobiles, attempt)
            .join(batch, batch.c.id == attempt.c.batch_id)
            .where(attempt.c.campaign_id == campaign_id, WAS_TAKEN)
            .order_by(attempt.c.finished_at.desc(), attempt.c.batch_id.desc())
        )
        accepted, sent_at, carried = 0, None, dict[str, set[str]]()
        async with self._look() as connection:
            async for row in await connection.stream(query):
                if accepted >= recipients:
                    break
                accepted, sent_at, account = accepted + row.size, sent_at or row.finished_at, row.account
                if row.task_id is not None:
                    carried[row.task_id] = set(row.mobiles.split(",")).difference(row.omitted.split(","))
            if not carried:
                return CanaryStand(accepted=accepted, sent_at=sent_at)
            delivered, said = await _told(connection, account, carried)
        return CanaryStand(
            accepted=accepted, delivered=delivered, undelivered=said.total(), sent_at=sent_at, said=dict(said)
        )

    async def unsent(self, account: str) -> list[Unsent]:
        """The account's campaigns that have something planned, oldest first."""
        query = (
            select(campaign.c.id, campaign.c.name, campaign.c.expires_at, func.sum(batch.c.size * message.c.segments))
            .join(batch, batch.c.campaign_id == campaign.c.id)
            .join(message, _OF_TEXT)
            .where(campaign.c.account == account, batch.c.state == BatchState.PLANNED.value)
            .where(campaign.c.state.not_in(("planning", CampaignState.CANCELLED.value)))
            .group_by(campaign.c.id)
            .order_by(campaign.c.id)
        )
        async with self._look() as connection:
            rows = (await connection.execute(query)).all()
        return [Unsent(campaign_id=row[0], name=row[1], expires_at=row[2], segments=int(row[3])) for row in rows]

    async def last_drops(self, account: str, *, limit: int, scheduled: bool = False) -> list[Drop]:
        """What the last accepted answers of the account said of its balance; `scheduled`: those to what is sent later."""
        later = (attempt.c.account == account) & attempt.c.scheduled_for.is_not(None)
        query = (
            select(entry.c.points, entry.c.remaining)
            .where(entry.c.account == account, entry.c.kind == "charge", entry.c.remaining.is_not(None))
            .order_by(entry.c.at.desc())
            .limit(limit)
        )
        if scheduled:
            query = query.join(attempt, _OF_ATTEMPT).where(later)
        async with self._look() as connection:
            if scheduled and not (await connection.execute(select(exists().where(later)))).scalar():
                return []  # by an index, and true of most accounts
            rows = (await connection.execute(query)).all()
        return [Drop(charge=points, remaining=remaining) for points, remaining in rows]


async def _told(connection: AsyncConnection, account: str, carried: dict[str, set[str]]) -> tuple[int, Counter[str]]:
    """How many were delivered, and what was said of the others; of numbers that the task carried."""
    delivered, said, tasks = 0, Counter[str](), list(carried)
    for begin in range(0, len(tasks), _TASKS_AT_ONCE):
        some = tasks[begin : begin + _TASKS_AT_ONCE]
        reports = select(report).where(report.c.account == account, report.c.task_id.in_(some))
        async for row in await connection.stream(reports):
            if row.mobile not in carried[row.task_id]:
                continue
            delivered += row.state == ReportState.DELIVERED.value
            if row.state == ReportState.UNDELIVERED.value:
                said[f"{row.status} {row.error_code}".strip()] += 1
    return delivered, said


class ConductWrites:
    """The verbs for what the operator decided."""

    _commits: Commits

    async def set_conduct(self, campaign_id: int, conduct: Conduct) -> None:
        """Decide anew when a campaign may send, how many points stay, and who goes first (with another number: from anew)."""
        await self._commits.do(set_conducts, (campaign_id, conduct))

    async def set_canary(self, campaign_id: int, seq: int | None, *, passed: bool) -> None:
        """Note which batch is the last of the canary (None: not chosen), and whether it came through."""
        await self._commits.do(set_canaries, (campaign_id, seq, passed))

    async def expire_campaign(self, campaign_id: int) -> int:
        """End what is planned, because the campaign's time is over. Returns how many recipients that were."""
        return await self._commits.do(expire, campaign_id)
