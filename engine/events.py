"""What happens to a campaign, as it happens: for logs, notifications and programs that follow it.

Planned → Started → (BatchAccepted | BatchRefused | BatchInDoubt | DoubtSettled | Reported | LowBalance | Doubtful)*
→ Paused (→ Resumed → Started …) or Ended. Counts and points only: no number, no text.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from engine.model import CampaignState, PauseReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something happened to a campaign. `at` in UTC."""

    campaign: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned(Event):
    """A plan was stored and became a campaign. rows + extra numbers in cells == left_out + recipients; `points` are estimated."""

    rows: int
    left_out: int
    recipients: int
    batches: int
    points: Decimal
    plan_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """Sending begins, or goes on. `recipients` are left for this run; `balance` in points, None where it is not told."""

    recipients: int
    balance: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchAccepted(Event):
    """The gateway took a batch; several, when they came faster than somebody followed. `points` were charged for them."""

    recipients: int
    points: Decimal
    batches: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRefused(Event):
    """The gateway said no to a batch, for good. `reason` has its own words."""

    recipients: int
    reason: str
    batches: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchInDoubt(Event):
    """The answer to a batch was lost: it may have been taken, and is not sent again without evidence."""

    recipients: int
    reason: str
    batches: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtSettled(Event):
    """Evidence ended a doubt. Not `taken`: its recipients will be sent to again."""

    recipients: int
    taken: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported(Event):
    """Delivery reports and replies came in, of this campaign or another of the account."""

    reports: int
    replies: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LowBalance(Event):
    """The points fell below what the settings call low. Told once a run."""

    balance: Decimal
    below: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubtful(Event):
    """Nothing can be sent at the moment, and answers were lost: settlement waits for evidence. Told once a wait."""

    recipients: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing(Event):
    """How the campaign stands now. `recipients` by state; points as the summary has them, None where not known."""

    state: CampaignState
    reasons: tuple[PauseReason, ...]
    recipients: dict[str, int]
    charged: Decimal
    remaining: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused(Standing):
    """Nothing more is sent for now. `waits`: the engine goes on by itself when the reason is gone."""

    waits: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(Event):
    """A wait is over, and the campaign goes on by itself. `reasons` are those that are gone."""

    reasons: tuple[PauseReason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(Standing):
    """Nothing is left to do: finished or cancelled."""
