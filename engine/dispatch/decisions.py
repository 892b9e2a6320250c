"""What follows from an outcome. Pure: decided here, done by the pool."""

from __future__ import annotations

from decimal import Decimal
from typing import assert_never

from engine.dispatch.retry import may_be_sent_again
from engine.model import BatchState, Outcome, OutcomeKind, PauseReason, RefusalKind
from engine.records import record


@record
class Decision:
    """`then` is the batch's next state; `charge` what the ledger enters, in points; `pause` stops the campaign."""

    then: BatchState
    charge: Decimal | None = None
    pause: PauseReason | None = None


def decide(
    outcome: Outcome,
    *,
    size: int,
    segments: int,
    price: Decimal,
    single_text: bool,
    last_attempt: bool,
    throttled_for_good: bool = False,
) -> Decision:
    """The next state of a batch of `size` numbers of `segments` each. Source: the outcome table in gateway/protocol.md.

    `throttled_for_good`: the gateway has said "too often" to everybody for so long that sending had better pause.
    """
    match outcome.kind:
        case OutcomeKind.ACCEPTED:
            return Decision(then=BatchState.ACCEPTED, charge=charge_of(outcome, size, segments, price))
        case OutcomeKind.IN_DOUBT:
            return Decision(then=BatchState.IN_DOUBT)
        case OutcomeKind.REFUSED:
            return _refused(outcome, single_text)
        case OutcomeKind.NOT_TAKEN if outcome.pause is PauseReason.THROTTLED:
            return _throttled(last_attempt, throttled_for_good)
        case OutcomeKind.NOT_SENT | OutcomeKind.NOT_TAKEN:
            if may_be_sent_again(outcome) and not last_attempt:
                return Decision(then=BatchState.CLAIMED)  # the same worker tries again after a wait
            return Decision(then=BatchState.PLANNED, pause=outcome.pause or PauseReason.UNREACHABLE)
        case _:
            assert_never(outcome.kind)


def charge_of(outcome: Outcome, size: int, segments: int, price: Decimal) -> Decimal:
    """Points of an accepted batch: counted numbers × segments × price. A count above the batch can only be segments."""
    counts = size if outcome.success_counts is None else outcome.success_counts
    return Decimal(counts) * price if counts > size else Decimal(counts * segments) * price


def _throttled(last_attempt: bool, for_good: bool) -> Decision:
    """One batch that met "too often" each time is bad luck while others get through: it stands in line again."""
    if for_good:
        return Decision(then=BatchState.PLANNED, pause=PauseReason.THROTTLED)
    return Decision(then=BatchState.PLANNED if last_attempt else BatchState.CLAIMED)


def _refused(outcome: Outcome, single_text: bool) -> Decision:
    match outcome.refusal:
        case RefusalKind.ACCOUNT:
            return Decision(then=BatchState.PLANNED, pause=PauseReason.CREDENTIALS)
        case RefusalKind.BALANCE:
            return Decision(then=BatchState.PLANNED, pause=PauseReason.BALANCE)
        case RefusalKind.CONTENT:
            return Decision(then=BatchState.REFUSED, pause=PauseReason.CONTENT if single_text else None)
        case RefusalKind.REQUEST | RefusalKind.UNKNOWN | None:
            return Decision(then=BatchState.REFUSED)
        case _:
            assert_never(outcome.refusal)
