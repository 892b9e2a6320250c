"""What settlement is told and what it says: rows of the journal in, verdicts out. No clock, no I/O.

All times are aware UTC of one clock that does not jump; whoever hands the rows in sees to that. Points are Decimals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from engine.language import _


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class AttemptKey:
    """One attempt to hand over one batch; `number` counts from 1 for each batch."""

    batch_id: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An accepted attempt. `remaining` is the balance after its own charge, None where the answer had none.

    `full_charge` is what all `size` numbers cost, `charge` what the numbers counted by the answer cost.
    """

    key: AttemptKey
    campaign: str
    seq: int
    size: int
    sent_at: datetime
    answered_at: datetime
    remaining: Decimal | None
    full_charge: Decimal
    charge: Decimal

    @property
    def lacking(self) -> int:
        """How many of its numbers the answer did not count."""
        short = self.full_charge - self.charge
        return 0 if short <= 0 else -int(-short * self.size // self.full_charge)


class Standing(StrEnum):
    """What is known of a doubt from elsewhere."""

    OPEN = "open"  # nothing, or only what the balance itself said before
    REPORTED = "reported"  # a delivery report proved that it was taken
    ASSUMED = "assumed"  # an operator decided; people err, so for its neighbours it may still be either


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """An attempt whose answer was lost. Stays in the rows after it was settled, for its neighbours' sake.

    `may_land_late`: the gateway may take it after `gave_up_at` (timeout, crash, a proxy's 502 or 504). False only where
    the gateway itself ended the conversation.
    """

    key: AttemptKey
    campaign: str
    seq: int
    size: int
    sent_at: datetime
    gave_up_at: datetime
    full_charge: Decimal
    may_land_late: bool = True
    standing: Standing = Standing.OPEN
    scheduled: bool = False  # the gateway was to send it at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """An attempt whose intent is durable and whose outcome is not."""

    key: AttemptKey
    campaign: str
    seq: int
    size: int
    sent_at: datetime
    full_charge: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceRead:
    """One `overage` answer. `send_total` are all points ever bought, where the vendor tells it."""

    asked_at: datetime
    answered_at: datetime
    remaining: Decimal | None
    send_total: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the settings and the profile say about the account.

    `balance_settle_s` is also the longest that an `overage` answer may lag behind. Short counts: `short_bound` numbers a
    batch may lack at most, as long as no larger shortfall was seen; they count as possible until `whole_answers_needed`
    answers were whole.
    """

    min_age_s: float = 180
    balance_settle_s: float = 5
    exclusive: bool = True
    prepaid: bool | None = True  # None: the gateway's words are not known; then the tiling itself must speak
    remainpoint_meaningful: bool = True
    refunds: bool = False  # the vendor gives points back for failed messages
    short_counts: bool = False  # the profile says so, or one was seen on this account earlier
    short_bound: int = 20
    whole_answers_needed: int = 20
    charges_when_taken: bool = False  # answers showed that what the gateway sends later is charged when it is taken

    @property
    def patience(self) -> timedelta:
        """How long a lost request may still take effect."""
        return timedelta(seconds=self.min_age_s)

    @property
    def lag(self) -> timedelta:
        """How far an `overage` answer may be behind."""
        return timedelta(seconds=self.balance_settle_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """An account's rows since some balance reading, in any order, from one consistent look, at the time `now`.

    Complete: every attempt that may have changed the balance in this time is in exactly one of the three lists, across
    campaigns; settled doubts too, and earlier doubts whose patience reaches into the stretch.
    """

    answered: Sequence[Answered]
    doubts: Sequence[Doubt]
    in_flight: Sequence[InFlight]
    reads: Sequence[BalanceRead]
    policy: Policy
    now: datetime
    fell_due: bool = False  # the gateway may have sent in this time what it took before it


class Finding(StrEnum):
    """What became of a doubt."""

    TAKEN = "taken"
    NOT_TAKEN = "not_taken"
    OPEN = "open"  # the evidence is not enough


class Source(StrEnum):
    """Who says so."""

    BALANCE = "balance"
    REPORT = "report"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a doubt ends, or why it waits, in words fit for the journal. `task_id` only where a report told it."""

    key: AttemptKey
    finding: Finding
    source: Source
    evidence: str
    task_id: str | None = None


def operator_word(key: AttemptKey, *, taken: bool, by: str, reason: str, at: datetime) -> Verdict:
    """A named person's decision about one doubt, as evidence."""
    finding = Finding.TAKEN if taken else Finding.NOT_TAKEN
    words = _("{by} assumed it {finding} at {at}: {reason}").format(
        by=by, finding=_("taken") if taken else _("not taken"), at=clock(at), reason=reason
    )
    return Verdict(key=key, finding=finding, source=Source.OPERATOR, evidence=words)


def clock(at: datetime) -> str:
    """A time as evidence shows it: UTC, to the hundredth of a second."""
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 10_000:02d}Z"


def amount(points: Decimal) -> str:
    """Points as evidence shows them: no exponent, no trailing zeros."""
    whole = points == points.to_integral_value()
    return f"{points:,.0f}" if whole else f"{points.normalize():,f}"
