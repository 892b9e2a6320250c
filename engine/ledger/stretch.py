"""Rows of the journal -> what settlement is told. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from engine.journal.port import AccountStretch, Nameless, OpenDoubt, Orphan, SettledBy, StretchAttempt
from engine.ledger.binding import Holder, OrphanReport
from engine.ledger.evidence import (
    Answered,
    AttemptKey,
    BalanceRead,
    Doubt,
    Finding,
    InFlight,
    Policy,
    Standing,
    Stretch,
)
from engine.model import OutcomeKind

_STANDING = {
    SettledBy.BALANCE: Standing.OPEN,  # the balance may say it again, and better
    SettledBy.REPORT: Standing.REPORTED,
    SettledBy.OPERATOR: Standing.ASSUMED,
}


def stretch_of(rows: AccountStretch, *, price: Decimal, policy: Policy, now: datetime) -> Stretch:
    """`price` is points for a segment. Every row is in one list: answered, in doubt (settled or not), or in flight."""
    return Stretch(
        answered=[_answered(row, price) for row in rows.attempts if row.outcome is OutcomeKind.ACCEPTED],
        doubts=[_doubt(row, price) for row in rows.attempts if row.outcome is OutcomeKind.IN_DOUBT],
        in_flight=[_in_flight(row, price) for row in rows.attempts if row.outcome is None],
        reads=[
            BalanceRead(
                asked_at=reading.asked_at,
                answered_at=reading.answered_at,
                remaining=reading.remaining,
                send_total=reading.send_total,
            )
            for reading in rows.readings
        ],
        policy=policy,
        now=now,
        fell_due=any(at <= now for at in rows.due),
    )


def _key(row: StretchAttempt | Nameless) -> AttemptKey:
    return AttemptKey(batch_id=row.batch_id, number=row.number)


def _full_charge(row: StretchAttempt, price: Decimal) -> Decimal:
    return row.size * row.segments * price


def _answered(row: StretchAttempt, price: Decimal) -> Answered:
    assert row.finished_at is not None
    assert row.charge is not None
    return Answered(
        key=_key(row),
        campaign=row.campaign,
        seq=row.seq,
        size=row.size,
        sent_at=row.started_at,
        answered_at=row.finished_at,
        remaining=row.remaining,
        full_charge=_full_charge(row, price),
        charge=row.charge,
    )


def _doubt(row: StretchAttempt, price: Decimal) -> Doubt:
    assert row.finished_at is not None
    return Doubt(
        key=_key(row),
        campaign=row.campaign,
        seq=row.seq,
        size=row.size,
        sent_at=row.started_at,
        gave_up_at=row.finished_at,
        full_charge=_full_charge(row, price),
        may_land_late=row.may_land_late,
        standing=Standing.OPEN if row.settled_by is None else _STANDING[row.settled_by],
        scheduled=row.scheduled,
    )


def _in_flight(row: StretchAttempt, price: Decimal) -> InFlight:
    return InFlight(
        key=_key(row),
        campaign=row.campaign,
        seq=row.seq,
        size=row.size,
        sent_at=row.started_at,
        full_charge=_full_charge(row, price),
    )


def beginnings(
    doubts: Iterable[OpenDoubt], asked: Sequence[datetime], *, lag: timedelta, back: int = 0
) -> list[datetime]:
    """Where the stretches must begin that can settle these doubts: `back` readings before the last one asked for before each.

    Earlier by `lag`, because a reading may be behind: what was charged just before must be in the stretch too. A doubt
    before every reading has no stretch.
    """
    found = set()
    for doubt in doubts:
        before = bisect_left(asked, doubt.started_at)
        if before:
            found.add(asked[max(0, before - 1 - back)] - lag)
    return sorted(found)


def orphan_reports(orphans: Iterable[Orphan]) -> list[OrphanReport]:
    """Reports under task ids nobody knows. One without any task id belongs to nothing."""
    return [
        OrphanReport(task_id=orphan.task_id, mobile=orphan.mobile, received_at=orphan.received_at)
        for orphan in orphans
        if orphan.task_id
    ]


def holders(nameless: Iterable[Nameless], said: dict[AttemptKey, Finding]) -> list[Holder]:
    """The attempts an unknown task id may belong to, with what the balance says of each."""
    found = []
    for row in nameless:
        key = _key(row)
        found.append(
            Holder(
                key=key,
                campaign=row.campaign,
                seq=row.seq,
                mobiles=row.mobiles,
                sent_at=row.started_at,
                may_be_bound=not row.in_flight,
                chain_finding=Finding.TAKEN if row.taken else said.get(key),
            )
        )
    return found
