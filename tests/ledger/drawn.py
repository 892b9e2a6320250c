"""Chains drawn by hand: rows with seconds and whole points, and a prelude that tiles."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

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
from engine.ledger.settlement import Settlement, settle
from tests.ledger.histories import moment

Row = Answered | Doubt | InFlight | BalanceRead


def who(seq: int, size: int, sent: float) -> dict[str, Any]:
    return {
        "key": AttemptKey(batch_id=seq, number=1),
        "campaign": "spring",
        "seq": seq,
        "size": size,
        "sent_at": moment(sent),
        "full_charge": Decimal(size),
    }


def told(
    seq: int, size: int, sent: float, ended: float, remaining: float | None, charge: float | None = None
) -> Answered:
    """An accepted answer. `charge` is what its count says, all of it by default."""
    return Answered(
        **who(seq, size, sent),
        answered_at=moment(ended),
        remaining=None if remaining is None else Decimal(str(remaining)),
        charge=Decimal(str(size if charge is None else charge)),
    )


def lost(
    seq: int, size: int, sent: float, gave_up: float, *, late: bool = False, standing: Standing = Standing.OPEN
) -> Doubt:
    """A lost answer: a reset, or with `late` a timeout."""
    return Doubt(**who(seq, size, sent), gave_up_at=moment(gave_up), may_land_late=late, standing=standing)


def flying(seq: int, size: int, sent: float) -> InFlight:
    return InFlight(**who(seq, size, sent))


def read(at: float, remaining: float | None, bought: float | None = None) -> BalanceRead:
    return BalanceRead(
        asked_at=moment(at),
        answered_at=moment(at + 0.1),
        remaining=None if remaining is None else Decimal(str(remaining)),
        send_total=None if bought is None else Decimal(str(bought)),
    )


PRELUDE: tuple[Row, ...] = (
    read(0, 10_000),
    told(1, 100, 1, 1.5, 9_900),
    told(2, 99, 2, 2.5, 9_801),
    told(3, 98, 3, 3.5, 9_703),
)
"""Three neighbours that tile, one after the other. The balance stands at 9,703, the clock at 3.5."""


def quiet(remaining: float, *, at: float = 100, bought: float | None = None) -> tuple[BalanceRead, BalanceRead]:
    """Two equal readings, six seconds apart."""
    return read(at, remaining, bought), read(at + 6, remaining, bought)


def stretch(*rows: Row, now: float = 1_000, **policy: Any) -> Stretch:
    settings: dict[str, Any] = {"min_age_s": 10, "balance_settle_s": 5, "whole_answers_needed": 0, **policy}
    return Stretch(
        answered=[row for row in rows if isinstance(row, Answered)],
        doubts=[row for row in rows if isinstance(row, Doubt)],
        in_flight=[row for row in rows if isinstance(row, InFlight)],
        reads=[row for row in rows if isinstance(row, BalanceRead)],
        policy=Policy(**settings),
        now=moment(now),
    )


def settled(*rows: Row, now: float = 1_000, **policy: Any) -> Settlement:
    return settle(stretch(*rows, now=now, **policy))


def findings(settlement: Settlement) -> dict[int, Finding]:
    """Batch seq -> finding."""
    return {verdict.key.batch_id: verdict.finding for verdict in settlement.verdicts}
