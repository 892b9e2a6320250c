"""What follows from an outcome: a row of the table each, and nothing outside the table."""

from __future__ import annotations

from decimal import Decimal
from itertools import product

import pytest

from engine.dispatch.decisions import Decision, charge_of, decide
from engine.model import BatchState, Outcome, OutcomeKind, PauseReason, RefusalKind

S, P, K, R = BatchState, PauseReason, OutcomeKind, RefusalKind

SIZE, SEGMENTS, PRICE = 100, 2, Decimal("0.5")
CHARGE = Decimal(100)  # 100 numbers, 2 segments, half a point each

# refusal -> (next state, why a campaign of one text pauses, why one of several texts does)
REFUSALS = {
    R.ACCOUNT: (S.PLANNED, P.CREDENTIALS, P.CREDENTIALS),
    R.BALANCE: (S.PLANNED, P.BALANCE, P.BALANCE),
    R.CONTENT: (S.REFUSED, P.CONTENT, None),
    R.REQUEST: (S.REFUSED, None, None),
    R.UNKNOWN: (S.REFUSED, None, None),
    None: (S.REFUSED, None, None),
}


def expected(outcome: Outcome, *, single_text: bool, last: bool, for_good: bool) -> Decision:
    match outcome.kind:
        case K.NOT_TAKEN if outcome.pause is P.THROTTLED:  # the account's patience counts, not that of one batch
            then = S.PLANNED if last or for_good else S.CLAIMED
            return Decision(then=then, pause=P.THROTTLED if for_good else None)
        case K.ACCEPTED:
            return Decision(then=S.ACCEPTED, charge=CHARGE)
        case K.IN_DOUBT:
            return Decision(then=S.IN_DOUBT)
        case K.REFUSED:
            then, alone, among = REFUSALS[outcome.refusal]
            return Decision(then=then, pause=alone if single_text else among)
        case K.NOT_SENT | K.NOT_TAKEN:
            if last or outcome.pause is P.CONFIGURATION:
                return Decision(then=S.PLANNED, pause=outcome.pause or P.UNREACHABLE)
            return Decision(then=S.CLAIMED)


EVERY = [
    Outcome(kind=kind, refusal=refusal, pause=pause, task_id="1", success_counts=SIZE)
    for kind, refusal, pause in product(K, [None, *R], [None, P.CONFIGURATION, P.THROTTLED])
]


@pytest.mark.parametrize("for_good", [False, True])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("single_text", [False, True])
@pytest.mark.parametrize("outcome", EVERY, ids=lambda o: f"{o.kind}-{o.refusal}-{o.pause}")
def test_every_outcome_has_one_decision(outcome: Outcome, single_text: bool, last: bool, for_good: bool) -> None:
    decision = decide(
        outcome,
        size=SIZE,
        segments=SEGMENTS,
        price=PRICE,
        single_text=single_text,
        last_attempt=last,
        throttled_for_good=for_good,
    )
    assert decision == expected(outcome, single_text=single_text, last=last, for_good=for_good)


@pytest.mark.parametrize("outcome", EVERY, ids=lambda o: f"{o.kind}-{o.refusal}-{o.pause}")
def test_only_what_surely_was_not_taken_may_leave_again(outcome: Outcome) -> None:
    for single_text, last in product([False, True], repeat=2):
        decision = decide(
            outcome, size=SIZE, segments=SEGMENTS, price=PRICE, single_text=single_text, last_attempt=last
        )
        may_leave_again = decision.then in (S.PLANNED, S.CLAIMED)
        said_no = outcome.kind is K.REFUSED and outcome.refusal in (R.ACCOUNT, R.BALANCE)
        assert may_leave_again is (outcome.surely_not_taken or said_no)
        assert (decision.charge is not None) is (decision.then is S.ACCEPTED)


def test_a_doubt_is_neither_repeated_nor_charged() -> None:
    doubt = Outcome(kind=K.IN_DOUBT, pause=P.CONFIGURATION, success_counts=SIZE, task_id="1")
    for last in (False, True):
        decision = decide(doubt, size=SIZE, segments=1, price=PRICE, single_text=True, last_attempt=last)
        assert decision == Decision(then=S.IN_DOUBT)


CHARGES = [
    pytest.param(100, 1, "1", 100, "100", id="all counted"),
    pytest.param(97, 1, "1", 100, "97", id="a short count costs what was counted"),
    pytest.param(100, 3, "1", 100, "300", id="segments are billed"),
    pytest.param(97, 3, "0.1", 100, "29.1", id="counted, segments and price"),
    pytest.param(None, 2, "1", 100, "200", id="no count: the whole batch"),
    pytest.param(0, 2, "1", 100, "0", id="counted nobody"),
    pytest.param(200, 2, "1", 100, "200", id="above the batch: segments were counted already"),
    pytest.param(300, 2, "0.5", 100, "150", id="above the batch, and not what we think a segment is"),
]


@pytest.mark.parametrize(("counts", "segments", "price", "size", "points"), CHARGES)
def test_the_charge_of_an_accepted_batch(counts: int | None, segments: int, price: str, size: int, points: str) -> None:
    outcome = Outcome(kind=K.ACCEPTED, task_id="1", success_counts=counts)
    assert charge_of(outcome, size, segments, Decimal(price)) == Decimal(points)
