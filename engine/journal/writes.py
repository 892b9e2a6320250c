"""The writes, each for a whole group of items inside one open transaction.

A state change names the state, owner and epoch it expects and looks at the row count. In a group the counts are summed:
a sum that does not fit raises, the group is rolled back, and each member tried alone, where the sum is its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import bindparam, delete, insert, or_, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.errors import ClaimLost, PlanError
from engine.journal.port import Draft, PlanTotals, Submitted
from engine.journal.schema import attempt, batch, campaign, entry, exclusion, message, owner, source
from engine.model import (
    Balance,
    BatchState,
    CampaignState,
    Claim,
    Excluded,
    Outcome,
    OutcomeKind,
    PauseReason,
    PlannedBatch,
)

ENDED_BEFORE_ANSWER = "the process ended before the answer was stored"

_HELD = (BatchState.CLAIMED, BatchState.SUBMITTING)


async def begin_campaigns(connection: AsyncConnection, drafts: Sequence[Draft]) -> list[int]:
    """Store campaigns nobody sees yet."""
    return [await _begin_campaign(connection, draft) for draft in drafts]


async def _begin_campaign(connection: AsyncConnection, draft: Draft) -> int:
    columns = {
        "name": draft.name,
        "account": draft.account,
        "profile": draft.profile,
        "order_key": draft.order_key,
        "plan_hash": draft.plan_hash,
        "state": "planning",
        "created_at": draft.created_at,
    }
    try:
        stored = await connection.execute(insert(campaign).values(columns).returning(campaign.c.id))
    except IntegrityError as error:
        raise PlanError(f"a campaign named {draft.name!r} exists already; choose another with --campaign") from error
    campaign_id: int = stored.scalar_one()
    await connection.execute(
        insert(message),
        [
            {"campaign_id": campaign_id, "seq": seq, "content": m.content, "units": m.units, "segments": m.segments}
            for seq, m in enumerate(draft.messages, 1)
        ],
    )
    if draft.sources:
        await connection.execute(
            insert(source),
            [
                {
                    "campaign_id": campaign_id,
                    "seq": seq,
                    "path": s.path,
                    "sha256": s.sha256,
                    "size": s.size,
                    "encoding": s.encoding,
                    "number_column": s.number_column,
                }
                for seq, s in enumerate(draft.sources, 1)
            ],
        )
    return campaign_id


PlanPart = tuple[int, Sequence[PlannedBatch], Sequence[Excluded]]


async def add_plans(connection: AsyncConnection, parts: Sequence[PlanPart]) -> list[None]:
    """Add batches and excluded rows to campaigns that are not visible yet."""
    batches = [
        {
            "campaign_id": campaign_id,
            "seq": b.seq,
            "message_seq": b.message,
            "size": b.size,
            "state": BatchState.PLANNED.value,
            "attempts": 0,
            "mobiles": b.mobiles,
            "lines": b.lines,
        }
        for campaign_id, planned, _ in parts
        for b in planned
    ]
    if batches:
        await connection.execute(insert(batch), batches)
    rows = [
        {"campaign_id": campaign_id, "line": e.line, "raw": e.raw, "reason": e.reason.value, "detail": e.detail}
        for campaign_id, _, excluded in parts
        for e in excluded
    ]
    if rows:
        await connection.execute(insert(exclusion), rows)
    return [None] * len(parts)


async def publish(connection: AsyncConnection, parts: Sequence[tuple[int, PlanTotals]]) -> list[None]:
    """Make completely planned campaigns visible."""
    for campaign_id, totals in parts:
        await connection.execute(
            update(campaign)
            .where(campaign.c.id == campaign_id, campaign.c.state == "planning")
            .values(
                state=CampaignState.PLANNED.value,
                rows=totals.rows,
                extra=totals.extra,
                recipients=totals.recipients,
                estimated=totals.estimated,
                sendable=totals.sendable,
            )
        )
    return [None] * len(parts)


async def discard(connection: AsyncConnection, campaign_ids: Sequence[int]) -> list[None]:
    """Remove campaigns that never became visible. A visible one is left alone."""
    unseen = select(campaign.c.id).where(campaign.c.id.in_(campaign_ids), campaign.c.state == "planning")
    for table in (batch, exclusion, source, message):
        await connection.execute(delete(table).where(table.c.campaign_id.in_(unseen)))
    await connection.execute(delete(campaign).where(campaign.c.id.in_(unseen)))
    return [None] * len(campaign_ids)


StateChange = tuple[int, CampaignState, Sequence[PauseReason], str]


async def set_states(connection: AsyncConnection, changes: Sequence[StateChange]) -> list[None]:
    """Record what campaigns do now."""
    for campaign_id, state, reasons, detail in changes:
        await connection.execute(
            update(campaign)
            .where(campaign.c.id == campaign_id)
            .values(state=state.value, reasons=json.dumps([reason.value for reason in reasons]), detail=detail)
        )
    return [None] * len(changes)


async def release_withheld(connection: AsyncConnection, changes: Sequence[tuple[int, int | None]]) -> list[None]:
    """Set up to which batch a campaign may send; None: all of it."""
    for campaign_id, sendable in changes:
        await connection.execute(update(campaign).where(campaign.c.id == campaign_id).values(sendable=sendable))
    return [None] * len(changes)


ClaimOrder = tuple[int, int, str, int, float]


async def claim(connection: AsyncConnection, orders: Sequence[ClaimOrder]) -> list[list[Claim]]:
    """Take the right to planned batches in their order."""
    return [await _claim(connection, order) for order in orders]


async def _claim(connection: AsyncConnection, order: ClaimOrder) -> list[Claim]:
    campaign_id, limit, name, epoch, lease_until_s = order
    last = select(campaign.c.sendable).where(campaign.c.id == campaign_id).scalar_subquery()
    free = (
        select(batch.c.id)
        .where(batch.c.campaign_id == campaign_id, batch.c.state == BatchState.PLANNED.value)
        .where(last.is_(None) | (batch.c.seq <= last))
        .order_by(batch.c.seq)
        .limit(limit)
        # Differs by necessity: PostgreSQL steps over rows another owner is claiming; SQLite has one writer and drops it.
        .with_for_update(skip_locked=True)
    )
    taken = await connection.execute(
        update(batch)
        .where(batch.c.id.in_(free.scalar_subquery()), batch.c.state == BatchState.PLANNED.value)
        .values(state=BatchState.CLAIMED.value, owner=name, epoch=epoch, lease_until_s=lease_until_s)
        .returning(batch.c.id, batch.c.seq, batch.c.message_seq, batch.c.size, batch.c.mobiles, batch.c.attempts)
    )
    claims = [
        Claim(
            batch_id=row.id,
            campaign_id=campaign_id,
            seq=row.seq,
            message_id=row.message_seq,
            size=row.size,
            mobiles=row.mobiles,
            attempts=row.attempts,
            owner=name,
            epoch=epoch,
            lease_until_s=lease_until_s,
        )
        for row in taken
    ]
    return sorted(claims, key=lambda c: c.seq)


_FREE = {"owner": None, "epoch": None, "lease_until_s": None}

_RELEASE = (
    update(batch)
    .where(
        batch.c.id == bindparam("b_id"),
        batch.c.state == BatchState.CLAIMED.value,
        batch.c.owner == bindparam("b_owner"),
        batch.c.epoch == bindparam("b_epoch"),
    )
    .values(state=BatchState.PLANNED.value, **_FREE)
)


async def release(connection: AsyncConnection, releases: Sequence[Sequence[Claim]]) -> list[None]:
    """Give claims back. Those lost meanwhile are left alone."""
    rows = [{"b_id": c.batch_id, "b_owner": c.owner, "b_epoch": c.epoch} for claims in releases for c in claims]
    if rows:
        await connection.execute(_RELEASE, rows)
    return [None] * len(releases)


Intent = tuple[str, Claim, datetime, tuple[str, ...]]

_SUBMITTING = (
    update(batch)
    .where(
        batch.c.id == bindparam("b_id"),
        batch.c.state == BatchState.CLAIMED.value,
        batch.c.owner == bindparam("b_owner"),
        batch.c.epoch == bindparam("b_epoch"),
        batch.c.attempts == bindparam("b_attempts"),
    )
    .values(state=BatchState.SUBMITTING.value, attempts=batch.c.attempts + 1)
)


async def record_intents(connection: AsyncConnection, intents: Sequence[Intent]) -> list[Submitted]:
    """Move batches to `submitting` and store the attempts. Raises ClaimLost when one is not its claim's any more."""
    moved = await connection.execute(
        _SUBMITTING,
        [
            {"b_id": c.batch_id, "b_owner": c.owner, "b_epoch": c.epoch, "b_attempts": c.attempts}
            for _, c, _, _ in intents
        ],
    )
    _expect(moved.rowcount, len(intents), intents[0][1].seq)
    submitted = [_submitted(intent) for intent in intents]
    await connection.execute(
        insert(attempt),
        [
            {
                "account": account,
                "campaign_id": s.claim.campaign_id,
                "batch_id": s.claim.batch_id,
                "number": s.number,
                "epoch": s.claim.epoch,
                "size": s.size,
                "omitted": ",".join(omitted),
                "started_at": s.started_at,
            }
            for s, (account, _, _, omitted) in zip(submitted, intents, strict=True)
        ],
    )
    return submitted


def _submitted(intent: Intent) -> Submitted:
    _, taken, started_at, omitted = intent
    mobiles, size = taken.mobiles, taken.size
    if omitted:
        kept = [mobile for mobile in mobiles.split(",") if mobile not in set(omitted)]
        mobiles, size = ",".join(kept), len(kept)
    return Submitted(
        number=taken.attempts + 1,
        claim=taken,
        mobiles=mobiles,
        size=size,
        started_at=started_at,
    )


Finished = tuple[str, Submitted, Outcome, datetime, BatchState, Decimal | None]

_FINISH_ATTEMPT = (
    update(attempt)
    .where(
        attempt.c.batch_id == bindparam("a_batch"),
        attempt.c.number == bindparam("a_number"),
        or_(attempt.c.outcome.is_(None), attempt.c.outcome == OutcomeKind.IN_DOUBT.value),
    )
    .values(
        finished_at=bindparam("finished_at"),
        outcome=bindparam("outcome"),
        reason=bindparam("reason"),
        refusal=bindparam("refusal"),
        task_id=bindparam("task_id"),
        success_counts=bindparam("success_counts"),
        http_status=bindparam("http_status"),
        raw=bindparam("raw"),
    )
)

_MOVE_BATCH = (
    update(batch)
    .where(
        batch.c.id == bindparam("b_id"),
        # An answer may come after somebody held the batch to be in doubt: it is the evidence that ends the doubt.
        or_(batch.c.state == BatchState.SUBMITTING.value, batch.c.state == BatchState.IN_DOUBT.value),
        batch.c.attempts == bindparam("b_attempts"),
    )
    .values(
        state=bindparam("b_state"),
        reason=bindparam("b_reason"),
        owner=bindparam("b_owner"),
        epoch=bindparam("b_epoch"),
        lease_until_s=bindparam("b_lease"),
    )
)


async def record_outcomes(connection: AsyncConnection, finished: Sequence[Finished]) -> list[None]:
    """Store what attempts came to, move their batches and enter the charges."""
    done = await connection.execute(_FINISH_ATTEMPT, [_attempt_row(f) for f in finished])
    _expect(done.rowcount, len(finished), finished[0][1].claim.seq)
    moved = await connection.execute(_MOVE_BATCH, [_batch_row(f) for f in finished])
    _expect(moved.rowcount, len(finished), finished[0][1].claim.seq)
    if charges := [_charge_row(f) for f in finished if f[5] is not None]:
        await connection.execute(insert(entry), charges)
    return [None] * len(finished)


def _attempt_row(finished: Finished) -> dict[str, Any]:
    _, submitted, outcome, at, _, _ = finished
    plain = outcome.kind is OutcomeKind.ACCEPTED
    return {
        "a_batch": submitted.claim.batch_id,
        "a_number": submitted.number,
        "finished_at": at,
        "outcome": outcome.kind.value,
        "reason": outcome.reason or None,
        "refusal": None if outcome.refusal is None else outcome.refusal.value,
        "task_id": outcome.task_id,
        "success_counts": outcome.success_counts,
        "http_status": outcome.http_status,
        "raw": None if plain else outcome.raw or None,
    }


def _batch_row(finished: Finished) -> dict[str, Any]:
    _, submitted, outcome, _, then, _ = finished
    taken = submitted.claim
    held = then in _HELD
    told = then in (BatchState.REFUSED, BatchState.IN_DOUBT)
    return {
        "b_id": taken.batch_id,
        "b_attempts": submitted.number,
        "b_state": then.value,
        "b_reason": outcome.reason if told else None,
        "b_owner": taken.owner if held else None,
        "b_epoch": taken.epoch if held else None,
        "b_lease": taken.lease_until_s if held else None,
    }


def _charge_row(finished: Finished) -> dict[str, Any]:
    account, submitted, outcome, at, _, points = finished
    return {
        "account": account,
        "at": at,
        "kind": "charge",
        "campaign_id": submitted.claim.campaign_id,
        "batch_id": submitted.claim.batch_id,
        "attempt_number": submitted.number,
        "points": points,
        "remaining": outcome.remaining,
    }


async def record_readings(
    connection: AsyncConnection, readings: Sequence[tuple[str, Balance, int | None]]
) -> list[None]:
    """Enter balance readings."""
    await connection.execute(
        insert(entry),
        [
            {
                "account": account,
                "at": balance.at,
                "kind": "reading",
                "campaign_id": campaign_id,
                "remaining": balance.remaining,
                "send_total": balance.send_total,
                "raw": balance.raw,
            }
            for account, balance, campaign_id in readings
        ],
    )
    return [None] * len(readings)


async def take_over(connection: AsyncConnection, *, name: str, now: datetime) -> int:
    """Become the owner: bump the epoch, discard half a planning, free the claims and doubt what was being submitted."""
    last = (await connection.execute(select(owner.c.epoch))).scalar() or 0
    row = {"id": 1, "name": name, "epoch": last + 1, "since": now}
    # PostgreSQL's form of "insert or update" compiles on both databases.
    upsert = postgresql.insert(owner).values(row)
    await connection.execute(upsert.on_conflict_do_update(index_elements=["id"], set_=row))
    unseen = (await connection.execute(select(campaign.c.id).where(campaign.c.state == "planning"))).scalars().all()
    if unseen:
        await discard(connection, unseen)
    await connection.execute(
        update(batch).where(batch.c.state == BatchState.CLAIMED.value).values(state=BatchState.PLANNED.value, **_FREE)
    )
    await connection.execute(
        update(attempt)
        .where(attempt.c.outcome.is_(None))
        .values(outcome=OutcomeKind.IN_DOUBT.value, finished_at=now, reason=ENDED_BEFORE_ANSWER)
    )
    await connection.execute(
        update(batch)
        .where(batch.c.state == BatchState.SUBMITTING.value)
        .values(state=BatchState.IN_DOUBT.value, reason=ENDED_BEFORE_ANSWER, **_FREE)
    )
    return last + 1


def _expect(found: int, wanted: int, seq: int) -> None:
    if found != wanted:
        raise ClaimLost(f"batch {seq} is not in the state this worker expects; it was not touched")
