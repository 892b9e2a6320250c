"""The writes, each for a whole group of items inside one open transaction.

A state change names the state, owner and epoch it expects and looks at the row count. In a group the counts are summed:
a sum that does not fit raises, the group is rolled back, and each member tried alone, where the sum is its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import chain
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, bindparam, case, delete, exists, func, insert, literal, or_, select, update
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import IntegrityError

from engine.clock import SteadyClock
from engine.errors import ClaimLost, JournalError, PlanError
from engine.journal.bulk import Bulk, Fetch, Row, Rows
from engine.journal.conducting import conduct_columns, set_conducts
from engine.journal.port import Conduct, Draft, NumberedMessage, PlanTotals, Submitted
from engine.journal.schema import (
    attempt,
    batch,
    campaign,
    entry,
    exclusion,
    message,
    microseconds,
    owner,
    source,
    ten_thousandths,
)
from engine.journal.tracking import lose_open_polls
from engine.language import N_, _
from engine.model import (
    Balance,
    BatchState,
    CampaignState,
    Claim,
    Excluded,
    Message,
    Outcome,
    OutcomeKind,
    PauseReason,
    PlannedBatch,
)
from engine.telemetry import logger

_NOTABLE = timedelta(seconds=2)
_STILL_COUNTED = timedelta(hours=1)
ENDED_BEFORE_ANSWER = N_("the process ended before the answer was stored")

_HELD = (BatchState.CLAIMED, BatchState.SUBMITTING)


def begin_campaigns(connection: Connection, drafts: Sequence[Draft]) -> list[int]:
    """Store campaigns nobody sees yet."""
    return [_begin_campaign(connection, draft) for draft in drafts]


def _begin_campaign(connection: Connection, draft: Draft) -> int:
    columns = {
        "name": draft.name,
        "account": draft.account,
        "profile": draft.profile,
        "order_key": draft.order_key,
        "plan_hash": draft.plan_hash,
        "state": "planning",
        "created_at": draft.created_at,
        "screened": draft.screened,
        "wording": draft.wording,
        **conduct_columns(draft.conduct),
    }
    try:
        stored = connection.execute(insert(campaign).values(columns).returning(campaign.c.id))
    except IntegrityError as error:
        raise PlanError(
            _("a campaign named {name!r} exists already; choose another with --campaign").format(name=draft.name)
        ) from error
    campaign_id: int = stored.scalar_one()
    if draft.messages:
        _ADD_MESSAGE.execute(connection, [(campaign_id, seq, *text) for seq, text in enumerate(draft.messages, 1)])
    if draft.sources:
        connection.execute(
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
                    "inside": s.inside,
                    "column_at": s.column,
                    "first_line": s.first_line,
                }
                for seq, s in enumerate(draft.sources, 1)
            ],
        )
    return campaign_id


_ADD_MESSAGE = Bulk(insert(message), ("campaign_id", "seq", "content", "units", "segments"))
_ADD_BATCH = Bulk(insert(batch), ("campaign_id", "seq", "message_seq", "size", "state", "attempts", "mobiles", "lines"))
_ADD_EXCLUSION = Bulk(insert(exclusion), ("campaign_id", "line", "raw", "reason", "detail"))

PlanPart = tuple[int, list[Row], list[Row], list[Row]]
"""Rows of messages, batches and what is left out, of one campaign."""


def plan_part(
    campaign_id: int,
    batches: Sequence[PlannedBatch],
    excluded: Sequence[Excluded],
    messages: Sequence[NumberedMessage],
) -> PlanPart:
    """All that the statements of a plan take, in plain tuples: they travel in a quarter of the time of named ones."""
    planned = BatchState.PLANNED.value
    return (
        campaign_id,
        [(campaign_id, seq, content, units, segments) for seq, (content, units, segments) in messages],
        [
            (campaign_id, seq, message, size, planned, 0, mobiles, lines)
            for seq, size, mobiles, lines, message in batches
        ],
        [(campaign_id, line, raw, reason.value, detail) for line, raw, reason, detail in excluded],
    )


def add_plans(connection: Connection, parts: Sequence[PlanPart]) -> list[None]:
    """Add messages, batches and excluded rows to campaigns that are not visible yet, of `plan_part`s."""
    _expect_planning(connection, {campaign_id for campaign_id, *_ in parts})
    _, messages, batches, excluded = zip(*parts, strict=True)
    for statement, lists in ((_ADD_MESSAGE, messages), (_ADD_BATCH, batches), (_ADD_EXCLUSION, excluded)):
        if rows := list(chain.from_iterable(lists)):
            statement.execute(connection, rows)
    return [None] * len(parts)


def publish(connection: Connection, parts: Sequence[tuple[int, PlanTotals]]) -> list[None]:
    """Make completely planned campaigns visible."""
    _expect_planning(connection, {campaign_id for campaign_id, _ in parts})
    for campaign_id, totals in parts:
        connection.execute(
            update(campaign)
            .where(campaign.c.id == campaign_id, campaign.c.state == "planning")
            .values(
                state=CampaignState.PLANNED.value,
                rows=totals.rows,
                extra=totals.extra,
                recipients=totals.recipients,
                estimated=totals.estimated,
            )
        )
    return [None] * len(parts)


def merge(connection: Connection, parts: Sequence[tuple[int, int, PlanTotals, Conduct | None]]) -> list[None]:
    """Make completely planned campaigns parts of visible ones, which are sent under what was decided with them."""
    _expect_planning(connection, {campaign_id for campaign_id, *_ in parts})
    for campaign_id, into, totals, conduct in parts:
        _merge(connection, campaign_id, into, totals)
        if conduct is not None:
            set_conducts(connection, [(into, conduct)])
    return [None] * len(parts)


def _merge(connection: Connection, campaign_id: int, into: int, totals: PlanTotals) -> None:
    moved = connection.execute(
        update(campaign)
        .where(campaign.c.id == into, campaign.c.state.not_in(_NOT_SENDING))
        .values(
            rows=campaign.c.rows + totals.rows,
            extra=campaign.c.extra + totals.extra,
            recipients=campaign.c.recipients + totals.recipients,
            estimated=campaign.c.estimated + totals.estimated,
        )
    ).rowcount
    if not moved:
        raise PlanError(
            _("the campaign was cancelled, so nothing was added to it; send the list as a campaign of its own")
        )
    first = select(message.c.content).where(message.c.campaign_id == into, message.c.seq == 1).scalar_subquery()
    own = connection.execute(
        select(func.count(), func.sum(case((message.c.content == first, 1), else_=0))).where(
            message.c.campaign_id == campaign_id
        )
    ).one()
    says_the_same = tuple(own) == (1, 1)  # then its one message stays the only one
    last = {
        table: connection.execute(
            select(func.coalesce(func.max(table.c.seq), 0)).where(table.c.campaign_id == into)
        ).scalar_one()
        for table in (message, source, batch)
    }
    # A batch names its message by campaign and seq: first the messages are in both places, and in the end only there.
    for table in (source,) if says_the_same else (message, source):
        mine = select(table).where(table.c.campaign_id == campaign_id).subquery()
        columns = {
            column.name: literal(into) if column.name == "campaign_id" else mine.c[column.name] for column in table.c
        } | {"seq": mine.c.seq + last[table]}
        connection.execute(insert(table).from_select(list(columns), select(*columns.values())))
    connection.execute(
        update(batch)
        .where(batch.c.campaign_id == campaign_id)
        .values(
            campaign_id=into,
            seq=batch.c.seq + last[batch],
            message_seq=1 if says_the_same else batch.c.message_seq + last[message],
        )
    )
    connection.execute(update(exclusion).where(exclusion.c.campaign_id == campaign_id).values(campaign_id=into))
    discard(connection, [campaign_id])


def _expect_planning(connection: Connection, campaign_ids: set[int]) -> None:
    unseen = select(campaign.c.id).where(campaign.c.id.in_(campaign_ids), campaign.c.state == "planning")
    if other := campaign_ids - set(connection.execute(unseen).scalars()):
        raise JournalError(
            _("campaign {number} is not being planned any more; nothing was added to it").format(number=min(other))
        )


def discard(connection: Connection, campaign_ids: Sequence[int]) -> list[None]:
    """Remove campaigns that never became visible. A visible one is left alone."""
    unseen = select(campaign.c.id).where(campaign.c.id.in_(campaign_ids), campaign.c.state == "planning")
    for table in (batch, exclusion, source, message):
        connection.execute(delete(table).where(table.c.campaign_id.in_(unseen)))
    connection.execute(delete(campaign).where(campaign.c.id.in_(unseen)))
    return [None] * len(campaign_ids)


StateChange = tuple[int, CampaignState, Sequence[PauseReason], str]


def set_states(connection: Connection, changes: Sequence[StateChange]) -> list[None]:
    """Record what campaigns do now."""
    for campaign_id, state, reasons, detail in changes:
        connection.execute(
            update(campaign)
            .where(campaign.c.id == campaign_id, campaign.c.state.not_in(_NOT_SENDING))  # cancelled is for good
            .values(state=state.value, reasons=json.dumps([reason.value for reason in reasons]), detail=detail)
        )
    return [None] * len(changes)


def cancel(connection: Connection, campaign_ids: Sequence[int]) -> list[int]:
    """Cancel what has not started of campaigns. Returns how many recipients that were, for each."""
    cancelled = []
    for campaign_id in campaign_ids:
        waiting = (batch.c.campaign_id == campaign_id) & (batch.c.state == BatchState.PLANNED.value)
        size = connection.execute(select(func.coalesce(func.sum(batch.c.size), 0)).where(waiting)).scalar_one()
        connection.execute(update(batch).where(waiting).values(state=BatchState.CANCELLED.value))
        connection.execute(
            update(campaign)
            .where(campaign.c.id == campaign_id)
            .values(state=CampaignState.CANCELLED.value, reasons="[]", detail="")
        )
        cancelled.append(int(size))
    return cancelled


def release_withheld(connection: Connection, changes: Sequence[tuple[int, int | None]]) -> list[None]:
    """Set up to which batch a campaign may send; None: all of it."""
    for campaign_id, sendable in changes:
        connection.execute(update(campaign).where(campaign.c.id == campaign_id).values(sendable=sendable))
    return [None] * len(changes)


ClaimOrder = tuple[int, int, str, int, float, tuple[int, ...], int | None]

_NOT_SENDING = ("planning", CampaignState.CANCELLED.value)


Found = tuple[list[tuple[Any, ...]], dict[int, tuple[str, int, int]]]
"""Rows of batches, and what they say by the numbers of their messages."""


def claim(connection: Connection, orders: Sequence[ClaimOrder]) -> list[Found]:
    """Take the right to planned batches in their order. See `claims_of`."""
    return [_claim(connection, order) for order in orders]


def claims_of(order: ClaimOrder, found: Found) -> list[Claim]:
    """What was taken, in order. A claim brings its text along: nobody holds a million of them."""
    campaign_id, _, name, epoch, lease_until_s, _, _ = order
    rows, said = found
    texts = {seq: Message(*text) for seq, text in said.items()}
    return [
        Claim(
            batch_id=batch_id,
            campaign_id=campaign_id,
            seq=seq,
            message=texts[message_seq],
            size=size,
            mobiles=mobiles,
            attempts=attempts,
            owner=name,
            epoch=epoch,
            lease_until_s=lease_until_s,
        )
        for batch_id, seq, message_seq, size, mobiles, attempts in sorted(rows, key=itemgetter(1))
    ]


_NO_BATCH = 2**31 - 1  # stands behind this one

_PLANNED = Fetch(
    select(batch.c.id, batch.c.seq, batch.c.message_seq, batch.c.size, batch.c.mobiles, batch.c.attempts)
    .join(campaign, campaign.c.id == batch.c.campaign_id)
    .where(batch.c.campaign_id == bindparam("campaign"), batch.c.state == BatchState.PLANNED.value)
    .where(campaign.c.state.not_in(_NOT_SENDING))
    .where(campaign.c.sendable.is_(None) | (batch.c.seq <= campaign.c.sendable) | (batch.c.seq > bindparam("behind")))
    .where(batch.c.size.not_in(bindparam("avoiding", expanding=True)))
    .order_by(batch.c.seq)
    .limit(bindparam("most"))
    # Differs by necessity: PostgreSQL steps over rows another owner is claiming; SQLite has one writer and drops it.
    .with_for_update(of=batch, skip_locked=True)
)
_CLAIM = Bulk(
    update(batch)
    .where(batch.c.id == bindparam("b_id"), batch.c.state == BatchState.PLANNED.value)
    .values(
        state=BatchState.CLAIMED.value,
        owner=bindparam("b_owner"),
        epoch=bindparam("b_epoch"),
        lease_until_s=bindparam("b_lease"),
    ),
    ("b_id", "b_owner", "b_epoch", "b_lease"),
    hot=True,
)


def _claim(connection: Connection, order: ClaimOrder) -> Found:
    campaign_id, limit, name, epoch, lease_until_s, avoiding, split_after = order
    behind = _NO_BATCH if split_after is None else split_after
    wanted = {"campaign": campaign_id, "most": limit, "avoiding": list(avoiding), "behind": behind}
    rows = _PLANNED.rows(connection, wanted)
    if not rows:
        return [], {}
    _expect(_CLAIM.execute(connection, [(row[0], name, epoch, lease_until_s) for row in rows]), len(rows), rows[0][1])
    seqs = {message_seq for _, _, message_seq, *_ in rows}
    texts = _SAID.rows(connection, {"campaign": campaign_id, "seqs": sorted(seqs)})
    return rows, {seq: (content, units, segments) for seq, content, units, segments in texts}


_SAID = Fetch(
    select(message.c.seq, message.c.content, message.c.units, message.c.segments).where(
        message.c.campaign_id == bindparam("campaign"), message.c.seq.in_(bindparam("seqs", expanding=True))
    )
)


_FREE = {"owner": None, "epoch": None, "lease_until_s": None}

_RELEASE = (
    update(batch)
    .where(
        batch.c.id == bindparam("b_id"),
        batch.c.state == BatchState.CLAIMED.value,
        batch.c.owner == bindparam("b_owner"),
        batch.c.epoch == bindparam("b_epoch"),
        batch.c.attempts == bindparam("b_attempts"),
    )
    .values(state=BatchState.PLANNED.value, **_FREE)
)


def release(connection: Connection, releases: Sequence[Sequence[Claim]]) -> list[None]:
    """Give claims back. Those lost meanwhile are left alone."""
    rows = [_named(each) for claims in releases for each in claims]
    if rows:
        connection.execute(_RELEASE, rows)
    return [None] * len(releases)


_WITHDRAWN = (batch.c.state == BatchState.SUBMITTING.value) & (batch.c.attempts == bindparam("b_number"))
_MINE = (
    (batch.c.id == bindparam("b_id"))
    & (batch.c.owner == bindparam("b_owner"))
    & (batch.c.epoch == bindparam("b_epoch"))
)
_WITHDRAW_ATTEMPT = (
    update(attempt)
    .where(
        attempt.c.batch_id == bindparam("b_id"),
        attempt.c.number == bindparam("b_number"),
        attempt.c.outcome.is_(None),
        exists().where(_MINE, _WITHDRAWN),
    )
    .values(finished_at=bindparam("at"), outcome=OutcomeKind.NOT_SENT.value, reason=bindparam("why"))
)
_WITHDRAW = update(batch).where(_MINE, _WITHDRAWN).values(state=BatchState.PLANNED.value, **_FREE)


def withdraw(connection: Connection, withdrawals: Sequence[tuple[Claim, datetime, str]]) -> list[None]:
    """Give claims back of which nothing has left, whether their intents are stored or not."""
    for taken, at, why in withdrawals:
        named = _named(taken)
        row = {name: value for name, value in named.items() if name != "b_attempts"} | {"b_number": taken.attempts + 1}
        connection.execute(_WITHDRAW_ATTEMPT, row | {"at": at, "why": why})
        connection.execute(_WITHDRAW, row)
        connection.execute(_RELEASE, named)
    return [None] * len(withdrawals)


def _named(claim: Claim) -> dict[str, object]:
    """What makes it this claim and no other: after an attempt the same owner may have claimed the batch again."""
    return {"b_id": claim.batch_id, "b_owner": claim.owner, "b_epoch": claim.epoch, "b_attempts": claim.attempts}


def submitted(claim: Claim, started_at: datetime, omit: Sequence[str]) -> Submitted:
    """What a claim is once its intent is durable."""
    mobiles, size = claim.mobiles, claim.size
    if omit:
        kept = [mobile for mobile in mobiles.split(",") if mobile not in set(omit)]
        mobiles, size = ",".join(kept), len(kept)
    return Submitted(number=claim.attempts + 1, claim=claim, mobiles=mobiles, size=size, started_at=started_at)


def intent_row(account: str, intent: Submitted, omit: Sequence[str], scheduled_for: datetime | None) -> Row:
    """All that the statements of an intent take, in the places they name."""
    taken = intent.claim
    return (
        taken.batch_id,
        taken.owner,
        taken.epoch,
        taken.attempts,
        taken.size - intent.size,
        intent.number,
        account,
        taken.campaign_id,
        intent.size,
        ",".join(omit),
        microseconds(intent.started_at),
        None if scheduled_for is None else microseconds(scheduled_for),
        taken.seq,
    )


_SUBMITTING = Bulk(
    update(batch)
    .where(
        batch.c.id == bindparam("b_id"),
        batch.c.state == BatchState.CLAIMED.value,
        batch.c.owner == bindparam("b_owner"),
        batch.c.epoch == bindparam("b_epoch"),
        batch.c.attempts == bindparam("b_attempts"),
    )
    .values(state=BatchState.SUBMITTING.value, attempts=batch.c.attempts + 1, omitted=bindparam("b_omitted")),
    {"b_id": 0, "b_owner": 1, "b_epoch": 2, "b_attempts": 3, "b_omitted": 4},
    hot=True,
)
_ADD_ATTEMPT = Bulk(
    insert(attempt),
    {
        "batch_id": 0,
        "epoch": 2,
        "number": 5,
        "account": 6,
        "campaign_id": 7,
        "size": 8,
        "omitted": 9,
        "started_at": 10,
        "scheduled_for": 11,
    },
    hot=True,
)


def record_intents(connection: Connection, intents: Sequence[Row]) -> list[None]:
    """Move batches to `submitting` and store the attempts, of `intent_row`s.

    Raises ClaimLost when one is not its claim's any more.
    """
    rows = Rows(intents)
    _expect(_SUBMITTING.execute(connection, rows), len(rows), rows[0][-1])
    _ADD_ATTEMPT.execute(connection, rows)
    return [None] * len(rows)


_EMPTIED = (
    update(batch)
    .where(
        batch.c.id == bindparam("b_id"),
        batch.c.state == BatchState.CLAIMED.value,
        batch.c.owner == bindparam("b_owner"),
        batch.c.epoch == bindparam("b_epoch"),
        batch.c.attempts == bindparam("b_attempts"),
    )
    .values(state=BatchState.CANCELLED.value, omitted=batch.c.size, **_FREE)
)


def cancel_emptied(connection: Connection, claims: Sequence[Claim]) -> list[None]:
    """End batches of which every number has opted out. Raises ClaimLost when one is not its claim's any more."""
    for each in claims:
        _expect(connection.execute(_EMPTIED, _named(each)).rowcount, 1, each.seq)
    return [None] * len(claims)


def outcome_row(
    account: str,
    intent: Submitted,
    outcome: Outcome,
    *,
    finished_at: datetime,
    then: BatchState,
    charge: Decimal | None,
) -> Row:
    """All that the statements of an outcome take, in the places they name."""
    taken = intent.claim
    plain = outcome.kind is OutcomeKind.ACCEPTED
    held = then in _HELD
    told = then in (BatchState.REFUSED, BatchState.IN_DOUBT)
    return (
        taken.batch_id,
        intent.number,
        microseconds(finished_at),
        outcome.kind.value,
        outcome.reason or None,
        None if outcome.refusal is None else outcome.refusal.value,
        outcome.task_id,
        outcome.success_counts,
        outcome.http_status,
        None if plain else outcome.raw or None,
        int(outcome.may_land_late),
        then.value,
        outcome.reason if told else None,
        taken.owner if held else None,
        taken.epoch if held else None,
        taken.lease_until_s if held else None,
        account,
        "charge",
        taken.campaign_id,
        None if charge is None else ten_thousandths(charge),
        None if outcome.remaining is None else ten_thousandths(outcome.remaining),
        taken.seq,
    )


_FINISH_ATTEMPT = Bulk(
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
        may_land_late=bindparam("may_land_late"),
    ),
    {
        "a_batch": 0,
        "a_number": 1,
        "finished_at": 2,
        "outcome": 3,
        "reason": 4,
        "refusal": 5,
        "task_id": 6,
        "success_counts": 7,
        "http_status": 8,
        "raw": 9,
        "may_land_late": 10,
    },
    hot=True,
)

_MOVE_BATCH = Bulk(
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
    ),
    {"b_id": 0, "b_attempts": 1, "b_state": 11, "b_reason": 12, "b_owner": 13, "b_epoch": 14, "b_lease": 15},
    hot=True,
)
_POINTS = 19
_ADD_CHARGE = Bulk(
    insert(entry),
    {
        "batch_id": 0,
        "attempt_number": 1,
        "at": 2,
        "account": 16,
        "kind": 17,
        "campaign_id": 18,
        "points": _POINTS,
        "remaining": 20,
    },
    hot=True,
)


def record_outcomes(connection: Connection, finished: Sequence[Row]) -> list[None]:
    """Store what attempts came to, move their batches and enter the charges, of `outcome_row`s."""
    rows = Rows(finished)
    _expect(_FINISH_ATTEMPT.execute(connection, rows), len(rows), rows[0][-1])
    _expect(_MOVE_BATCH.execute(connection, rows), len(rows), rows[0][-1])
    charged = [row for row in rows if row[_POINTS] is not None]
    if charged:
        _ADD_CHARGE.execute(connection, rows if len(charged) == len(rows) else charged)
    return [None] * len(rows)


def record_readings(
    connection: Connection, readings: Sequence[tuple[str, Balance, int | None, datetime | None]]
) -> list[None]:
    """Enter balance readings."""
    connection.execute(
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
                "asked_at": asked_at or balance.at,
            }
            for account, balance, campaign_id, asked_at in readings
        ],
    )
    return [None] * len(readings)


def take_over(connection: Connection, *, name: str, clock: SteadyClock, boot_id: str) -> int:
    """Become the owner: bump the epoch, discard half a planning, free the claims and doubt what was being submitted.

    What was running is stopped, and nothing of a cancelled campaign stays planned.

    `clock` is set to go on where the last owner's was.
    """
    last = (connection.execute(select(owner.c.epoch))).scalar() or 0
    _go_on_with(connection, clock, boot_id)
    now = clock()
    row = {
        "id": 1,
        "name": name,
        "epoch": last + 1,
        "since": now,
        "boot_id": boot_id,
        "booted_at": clock.booted_at,
    }
    # Differs by necessity: "insert or update" is written in the words of each database's dialect.
    upsert = sqlite.insert(owner).values(row)
    connection.execute(upsert.on_conflict_do_update(index_elements=["id"], set_=row))
    unseen = (connection.execute(select(campaign.c.id).where(campaign.c.state == "planning"))).scalars().all()
    if unseen:
        discard(connection, unseen)
    connection.execute(
        update(batch).where(batch.c.state == BatchState.CLAIMED.value).values(state=BatchState.PLANNED.value, **_FREE)
    )
    connection.execute(  # whoever sent it is gone; this owner may have come for something else
        update(campaign)
        .where(campaign.c.state == CampaignState.RUNNING.value)
        .values(state=CampaignState.PAUSED.value, reasons=json.dumps([PauseReason.STOPPED.value]), detail="")
    )
    over = select(campaign.c.id).where(campaign.c.state == CampaignState.CANCELLED.value)
    connection.execute(  # given back when nobody was there any more to cancel it
        update(batch)
        .where(batch.c.campaign_id.in_(over), batch.c.state == BatchState.PLANNED.value)
        .values(state=BatchState.CANCELLED.value)
    )
    connection.execute(
        update(attempt)
        .where(attempt.c.outcome.is_(None))
        .values(outcome=OutcomeKind.IN_DOUBT.value, finished_at=now, reason=ENDED_BEFORE_ANSWER)
    )
    connection.execute(
        update(batch)
        .where(batch.c.state == BatchState.SUBMITTING.value)
        .values(state=BatchState.IN_DOUBT.value, reason=ENDED_BEFORE_ANSWER, **_FREE)
    )
    lose_open_polls(connection, now=now)
    return last + 1


def _go_on_with(connection: Connection, clock: SteadyClock, boot_id: str) -> None:
    """Patience is counted across restarts: while doubts are open, somebody who sets the machine's clock must not shorten it.

    In the same boot the seconds that passed are known. After another boot there is only the wall clock, which at least never
    goes back behind what is written here.
    """
    doubtful = or_(
        attempt.c.outcome.is_(None), (attempt.c.outcome == OutcomeKind.IN_DOUBT.value) & attempt.c.evidence.is_(None)
    )
    waits = connection.execute(select(attempt.c.batch_id).where(doubtful).limit(1)).first() is not None
    before = connection.execute(select(owner.c.boot_id, owner.c.booted_at)).first()
    moved = timedelta(0)
    lasts = (select(func.max(column)) for column in (entry.c.at, attempt.c.started_at, attempt.c.finished_at))
    latest = max((at for last in lasts if (at := connection.execute(last).scalar()) is not None), default=None)
    if boot_id and before is not None and before.boot_id == boot_id and before.booted_at is not None:
        gone_on = clock() + (before.booted_at - clock.booted_at)
        if waits or (latest is not None and gone_on - latest < _STILL_COUNTED):  # the pace looks back too
            moved = clock.follow(before.booted_at)
    if latest is not None:
        moved += clock.not_before(latest)
    if abs(moved) > _NOTABLE:
        logger.warning(
            "the machine's clock was set; times go on from the journal's",
            extra={"seconds": round(moved.total_seconds())},
        )


def _expect(found: int, wanted: int, seq: int) -> None:
    if found != wanted:
        raise ClaimLost(_("batch {seq} is not in the state this worker expects; it was not touched").format(seq=seq))
