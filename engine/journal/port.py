"""What a journal can do, in our words. Stages know this page and no database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from engine.model import (
    Balance,
    BatchState,
    CampaignState,
    Claim,
    Excluded,
    Exclusion,
    Message,
    Outcome,
    PauseReason,
    PlannedBatch,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRecord:
    """One input file of a campaign, as it was when it was planned. `sha256` in hex, `size` in bytes."""

    path: str
    sha256: str
    size: int
    encoding: str
    number_column: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What is known of a campaign before its rows are read."""

    name: str
    account: str
    profile: str
    order_key: str
    plan_hash: str
    messages: Sequence[Message]
    sources: Sequence[SourceRecord]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTotals:
    """The counts with which a campaign becomes visible. rows + extra == excluded + recipients."""

    rows: int
    extra: int
    recipients: int
    estimated: Decimal
    sendable: int | None = None  # batches beyond this seq wait for the balance; None: all may go


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignRecord:
    """A campaign as the journal holds it."""

    campaign_id: int
    name: str
    account: str
    profile: str
    order_key: str
    plan_hash: str
    stored_state: CampaignState
    reasons: tuple[PauseReason, ...]
    detail: str
    rows: int
    extra: int
    recipients: int
    estimated: Decimal
    sendable: int | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Batches and recipients in one state."""

    batches: int = 0
    recipients: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignCounts:
    """A campaign counted: excluded rows by reason, batches and recipients by state, points charged, shortfall.

    `shortfall` is the number of recipients the gateway's success counts leave out of accepted batches.
    """

    excluded: dict[Exclusion, int]
    states: dict[BatchState, Tally]
    charged: Decimal
    shortfall: int = 0
    reasons: dict[tuple[BatchState, str], int] = field(
        default_factory=dict
    )  # refusals and doubts in words -> recipients


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A durable intent: from now on bytes may leave. `mobiles` are the exact numbers this attempt carries."""

    number: int  # of the attempt, from 1
    claim: Claim
    mobiles: str
    size: int
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A balance reading of an account, and the charges and attempts that lie between it and the one before."""

    at: datetime
    remaining: Decimal | None
    send_total: Decimal | None
    charged_since_last: Decimal


class Journal(Protocol):
    """What must survive. Every verb is durable when it returns.

    Raises JournalError when the store fails (disk full, read-only), JournalBusy when another process has it.
    """

    owner: str
    epoch: int

    async def begin_campaign(self, draft: Draft) -> int:
        """Store a campaign nobody sees yet, and return its id. Raises PlanError when the name is taken."""
        ...

    async def add_plan(self, campaign_id: int, batches: Sequence[PlannedBatch], excluded: Sequence[Excluded]) -> None:
        """Add batches and excluded rows to a campaign that is not visible yet."""
        ...

    async def publish_campaign(self, campaign_id: int, totals: PlanTotals) -> None:
        """Make a completely planned campaign visible, in one commit."""
        ...

    async def discard_campaign(self, campaign_id: int) -> None:
        """Remove a campaign that never became visible."""
        ...

    async def find_campaign(
        self, *, name: str | None = None, account: str | None = None, order_key: str | None = None
    ) -> CampaignRecord | None:
        """The visible campaign with this name, or the newest of this account and order key."""
        ...

    async def campaigns(self) -> list[CampaignRecord]:
        """All visible campaigns, oldest first."""
        ...

    async def set_campaign_state(
        self, campaign_id: int, state: CampaignState, reasons: Sequence[PauseReason] = (), detail: str = ""
    ) -> None:
        """Record what the campaign as a whole does now, and why."""
        ...

    async def cancel_campaign(self, campaign_id: int) -> int:
        """Cancel what has not started, for good. Returns how many recipients that were."""
        ...

    async def set_sendable(self, campaign_id: int, sendable: int | None) -> None:
        """Set up to which batch the campaign may send; None: all of it."""
        ...

    async def messages(self, campaign_id: int) -> list[Message]:
        """The campaign's messages; the first has seq 1."""
        ...

    async def claim_batches(self, campaign_id: int, *, limit: int, lease_until_s: float) -> list[Claim]:
        """Take the right to up to `limit` planned batches, in their order."""
        ...

    async def release(self, claims: Sequence[Claim]) -> None:
        """Give claims back unsent: the batches are planned again. Claims lost meanwhile are left alone."""
        ...

    async def record_intent(
        self, account: str, claim: Claim, *, started_at: datetime, omit: Sequence[str] = ()
    ) -> Submitted:
        """Make durable what is about to leave. Raises ClaimLost when the batch is not this claim's any more."""
        ...

    async def record_outcome(
        self,
        account: str,
        submitted: Submitted,
        outcome: Outcome,
        *,
        finished_at: datetime,
        then: BatchState,
        charge: Decimal | None = None,
    ) -> None:
        """Store what the attempt came to, move the batch to `then`, and enter the charge, in one transaction.

        `then` is claimed (the same worker tries again), planned, accepted, refused or in_doubt.
        """
        ...

    async def record_reading(self, account: str, balance: Balance, *, campaign_id: int | None) -> None:
        """Enter a balance reading of the account."""
        ...

    async def counts(self, campaign_id: int) -> CampaignCounts:
        """The campaign counted, from one consistent look."""
        ...

    async def readings(self, account: str, *, campaign_id: int | None = None) -> list[Reading]:
        """The account's balance readings in order, from the campaign's first one on, each with the charges since the last."""
        ...

    async def charged_since_reading(self, account: str) -> Decimal:
        """What accepted answers of the account were charged since its last balance reading."""
        ...

    async def starts_since(self, account: str, since: datetime) -> list[tuple[datetime, int]]:
        """When attempts of the account started since then, with their numbers: what the pace must still count."""
        ...

    async def close(self) -> None:
        """Finish what was begun and let go of the journal."""
        ...
