"""What a queue asks of the journal, in our words: what arrives, what is known of it, and what it came to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, Protocol

from engine.model import Claim, Exclusion, Message


class LeftOutRow(NamedTuple):
    """One number of a message that is not a recipient. `raw`: the mobile, or what was written where it is none."""

    notice_id: str
    raw: str
    reason: Exclusion
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What of a queue becomes part of a campaign, which is made where it is not there: all of it in one commit.

    `batches` hold (message id, mobile). `message_seq`: the campaign's message that says the same, None: none is known.
    `wants_outcome`: somebody is to be told what became of it. `price` in points for a segment.
    """

    queue: str
    account: str
    profile: str
    campaign: str
    message: Message = field(repr=False)
    message_seq: int | None
    batches: Sequence[Sequence[tuple[str, str]]] = field(repr=False)
    left_out: Sequence[LeftOutRow] = field(repr=False)
    wants_outcome: bool
    price: Decimal
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """Where it went. `message_seq` None: nobody in it is a recipient."""

    campaign_id: int
    message_seq: int | None


class NoticeOutcome(NamedTuple):
    """What became of one number of one message. `told`: the state somebody was told of last."""

    campaign_id: int
    campaign: str
    line: int
    notice_id: str
    number: str
    state: str  # of its batch, or "excluded"
    task_id: str | None
    reason: str
    told: str | None


class QueueJournal(Protocol):
    """What must survive of queues. Every write is durable when its verb returns."""

    async def known_numbers(self, queue: str, notice_ids: Collection[str]) -> dict[str, set[str]]:
        """The numbers that are remembered under message ids of a queue; ids without any are left away."""
        ...

    async def add_arrivals(self, arrivals: Sequence[Arrival]) -> list[Arrived]:
        """Make campaigns grow: messages, batches, ids and exclusions of all these, in one transaction.

        Raises PlanError where a campaign of that name is a list's, another queue's or account's, or is cancelled; JournalError
        where a message id is remembered already.
        """
        ...

    async def queue_campaigns(self, queue: str, account: str) -> list[int]:
        """The campaigns that grow from a queue, oldest first."""
        ...

    async def waiting(self, queue: str, account: str) -> int:
        """The account's recipients of a queue that are planned and not under way, but for those of campaigns that are paused."""
        ...

    async def claim_queued(
        self, campaign_ids: Collection[int], *, limit: int, lease_until_s: float, avoiding: Sequence[int] = ()
    ) -> list[Claim]:
        """Take the right to up to `limit` planned batches of these campaigns, in the order in which they were planned.

        None of a campaign that is paused or cancelled.
        """
        ...

    async def left_out_of(self, queue: str, notice_ids: Collection[str]) -> list[NoticeOutcome]:
        """Who of these messages is not a recipient, and why."""
        ...

    async def untold_batches(self, queue: str) -> list[int]:
        """The batches that came to something nobody was told of yet, as far as somebody wants to know."""
        ...

    async def notice_outcomes(self, batch_ids: Collection[int]) -> list[NoticeOutcome]:
        """What became of everybody in these batches, as far as it is something and somebody wants to know."""
        ...

    async def note_told(self, outcomes: Sequence[NoticeOutcome]) -> None:
        """Somebody was told of these states."""
        ...
