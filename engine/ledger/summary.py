"""A campaign in figures: the contract of `xinshi status --json`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from engine.journal.port import CampaignCounts, CampaignRecord, Conduct, Delivery, ShortBatch, Tally
from engine.language import _
from engine.ledger.points import ZERO, Interval, Points
from engine.model import ALWAYS_SHOWN, BatchState, CampaignState, Exclusion, PauseReason

_NOTHING_REPORTED = Delivery()
_IN_FLIGHT = (BatchState.CLAIMED, BatchState.SUBMITTING)
_SHOWN = ("planned", "in_flight", "accepted", "refused", "in_doubt", "cancelled", "expired")


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignSummary:
    """A campaign counted. Sum of `excluded` + sum of `recipients` == rows + extra. Points are None where not known."""

    campaign: str
    state: CampaignState
    reasons: tuple[PauseReason, ...]
    detail: str
    rows: int
    extra: int
    excluded: dict[Exclusion, int]
    recipients: dict[str, int]
    batches: dict[str, int]
    delivery: Delivery
    shortfall: int
    left_out: tuple[int, ...] | None  # lines whom no report names, of short batches; None while reports may come
    words: dict[tuple[BatchState, str], int]  # refusals and doubts in words -> recipients
    opening: Decimal | None
    estimated: Decimal
    charged: Decimal
    remaining: Decimal | None
    unexplained: Decimal | None
    topped_up: Decimal
    intervals: tuple[Interval, ...]
    created_at: datetime
    forgotten_at: datetime | None = None
    account: str = ""  # the key of its login
    profile: str = ""
    scheduled_for: datetime | None = None  # when the gateway sends what it was handed; None: at once
    conduct: Conduct = field(default_factory=Conduct)
    balance_read_at: datetime | None = None  # the account's, last
    charged_since_read: Decimal = ZERO  # to the account
    # Points that answers show for one expected, where points are missing and the answers agree on something else than 1.
    price_ratio: Decimal | None = None

    @property
    def undercounted(self) -> Decimal | None:
        """What the campaign was charged beyond `charged`, if every segment cost what the last answers show; None: as expected."""
        return None if self.price_ratio is None else self.charged * (self.price_ratio - 1)

    @property
    def adds_up(self) -> bool:
        """The law of conservation, from the counts."""
        return sum(self.excluded.values()) + sum(self.recipients.values()) == self.rows + self.extra

    @property
    def unreported(self) -> int:
        """Accepted recipients without a final report, those included of whom none is expected any more."""
        return self.recipients["accepted"] - self.delivery.delivered - self.delivery.undelivered

    def as_json(self) -> dict[str, Any]:
        """The schema-1 object."""
        return {
            "schema": 1,
            "campaign": self.campaign,
            "state": self.state.value,
            "reasons": [reason.value for reason in self.reasons],
            "rows": self.rows,
            "extra": self.extra,
            "excluded": {reason.value: count for reason, count in self.excluded.items()},
            "recipients": self.recipients,
            "batches": self.batches,
            "delivery": {
                "delivered": self.delivery.delivered,
                "undelivered": self.delivery.undelivered,
                "unreported": self.unreported,
            },
            "points": {
                "opening": number(self.opening),
                "estimated": number(self.estimated),
                "charged": number(self.charged),
                "remaining": number(self.remaining),
                "unexplained": number(self.unexplained),
                **({"likely_price_ratio": number(self.price_ratio)} if self.price_ratio is not None else {}),
            },
            **({"scheduled_for": self.scheduled_for.isoformat()} if self.scheduled_for else {}),
            **({"forgotten": self.forgotten_at.isoformat()} if self.forgotten_at else {}),
        }


def number(points: Decimal | None) -> int | float | None:
    """Points as JSON has them: whole where they are whole."""
    if points is None:
        return None
    return int(points) if points == points.to_integral_value() else float(points)


def summarise(
    record: CampaignRecord,
    counts: CampaignCounts,
    points: Points,
    *,
    is_running: bool,
    delivery: Delivery = _NOTHING_REPORTED,
    short: Sequence[ShortBatch] = (),
    price_ratio: Decimal | None = None,
) -> CampaignSummary:
    """Put a campaign's figures together. `is_running`: a process owns the journal at this moment."""
    state, reasons = _state(record, counts, is_running)
    return CampaignSummary(
        campaign=record.name,
        state=state,
        reasons=reasons,
        detail=_(record.detail),
        rows=record.rows,
        extra=record.extra,
        excluded=_excluded(counts),
        recipients={word: sum(tally.recipients for tally in _tallies(counts, word, is_running)) for word in _SHOWN},
        batches={
            word: sum(tally.batches for tally in _tallies(counts, word, is_running)) for word in (*_SHOWN, "split")
        },
        delivery=delivery,
        shortfall=counts.shortfall,
        left_out=_left_out(short),
        words=counts.reasons,
        opening=points.opening,
        estimated=record.estimated,
        charged=counts.charged,
        remaining=points.remaining,
        unexplained=points.unexplained,
        topped_up=points.topped_up,
        intervals=points.intervals,
        created_at=record.created_at,
        forgotten_at=record.forgotten_at,
        account=record.account,
        profile=record.profile,
        scheduled_for=record.conduct.scheduled_for,
        conduct=record.conduct,
        balance_read_at=points.read_at,
        charged_since_read=points.charged_since,
        price_ratio=None if price_ratio == 1 else price_ratio,
    )


def _left_out(short: Sequence[ShortBatch]) -> tuple[int, ...] | None:
    """Whom the gateway did not count, as far as reports tell it by now."""
    told = [batch.lines for batch in short if batch.unreported is not None]
    return tuple(sorted(line for lines in told for line in lines)) if told else None


def _state(
    record: CampaignRecord, counts: CampaignCounts, is_running: bool
) -> tuple[CampaignState, tuple[PauseReason, ...]]:
    """`finished` is computed here and stored nowhere."""
    if record.stored_state is CampaignState.CANCELLED:
        return CampaignState.CANCELLED, ()
    if record.grows and is_running and record.stored_state is CampaignState.RUNNING:
        return CampaignState.RUNNING, ()  # whether it is finished, nobody knows
    left = {state for state, tally in counts.states.items() if tally.batches}
    if left.isdisjoint({BatchState.PLANNED, *_IN_FLIGHT}):
        if BatchState.IN_DOUBT in left:
            return CampaignState.PAUSED, (PauseReason.IN_DOUBT,)
        return CampaignState.FINISHED, ()
    if record.stored_state is CampaignState.RUNNING and not is_running:
        return CampaignState.PAUSED, (PauseReason.STOPPED,)  # its process was killed
    return record.stored_state, record.reasons


def _tallies(counts: CampaignCounts, word: str, is_running: bool) -> list[Tally]:
    """What a killed process had claimed is planned: none of it has left."""
    match word:
        case "in_flight":
            states = _IN_FLIGHT if is_running else (BatchState.SUBMITTING,)
        case "planned" if not is_running:
            states = (BatchState.PLANNED, BatchState.CLAIMED)
        case _:
            states = (BatchState(word),)
    return [counts.states[state] for state in states if state in counts.states]


def _excluded(counts: CampaignCounts) -> dict[Exclusion, int]:
    shown = [reason for reason in Exclusion if reason in ALWAYS_SHOWN or reason in counts.excluded]
    return {reason: counts.excluded.get(reason, 0) for reason in shown}
