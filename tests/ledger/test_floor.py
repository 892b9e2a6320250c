"""Points that stay: whatever is under way and in whatever order answers come, the balance never falls below the floor."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.ledger.floor import Floor
from engine.ledger.price import SeenPrice
from engine.model import Outcome, OutcomeKind

DOUBT = Outcome(kind=OutcomeKind.IN_DOUBT)
NOT_SENT = Outcome(kind=OutcomeKind.NOT_SENT)


def accepted(remaining: int | None) -> Outcome:
    left = None if remaining is None else Decimal(remaining)
    return Outcome(kind=OutcomeKind.ACCEPTED, task_id="1", remaining=left)


@given(st.data())
def test_the_balance_never_falls_below_the_floor(data: st.DataObject) -> None:
    """The gateway charges when it likes, answers when it likes, loses answers, and tells the balance or does not."""
    balance, keep, price = data.draw(st.integers(0, 500)), data.draw(st.integers(0, 300)), data.draw(st.integers(1, 3))
    tells = data.draw(st.booleans())
    floor = Floor(Decimal(keep), balance=Decimal(balance), ratio=Decimal(price))
    begun: list[int] = []  # costs under way, not charged yet
    charged: list[tuple[int, int]] = []  # charged, not answered yet: cost, what was left
    lost: list[tuple[int, bool]] = []  # doubts: cost, whether it was charged
    opening = lowest = balance
    for _ in range(data.draw(st.integers(1, 60))):
        match data.draw(st.sampled_from(["send", "charge", "answer", "lose", "drop", "fail", "settle"])):
            case "send":
                cost = data.draw(st.integers(1, 40))
                if floor.admit(Decimal(cost)):
                    begun.append(cost)
            case "charge" if begun:
                cost = begun.pop(data.draw(st.integers(0, len(begun) - 1)))
                balance -= cost * price
                lowest = min(lowest, balance)
                charged.append((cost, balance))
            case "answer" if charged:
                cost, left = charged.pop(data.draw(st.integers(0, len(charged) - 1)))
                floor.leave(Decimal(cost), accepted(left if tells else None), Decimal(cost))
            case "lose" if charged:
                cost, _ = charged.pop()
                floor.leave(Decimal(cost), DOUBT, None)
                lost.append((cost, True))
            case "drop" if begun:
                cost = begun.pop()
                floor.leave(Decimal(cost), DOUBT, None)
                lost.append((cost, False))
            case "settle" if lost:
                cost, taken = lost.pop(data.draw(st.integers(0, len(lost) - 1)))
                floor.end_doubt(Decimal(cost), taken=taken)
            case "fail" if begun:
                floor.leave(Decimal(begun.pop()), NOT_SENT, None)
            case _:
                continue
        assert lowest == opening or lowest >= keep


@pytest.mark.parametrize("taken", [False, True])
def test_what_a_doubt_did_not_cost_may_be_spent_when_it_has_ended(taken: bool) -> None:
    floor = Floor(Decimal(100), balance=Decimal(400))
    for cost in (100, 100):
        assert floor.admit(Decimal(cost))
    floor.leave(Decimal(100), DOUBT, None)
    floor.end_doubt(Decimal(100), taken=taken)
    floor.leave(Decimal(100), accepted(200 if taken else 300), Decimal(100))  # what was taken is in that answer
    assert floor.left == (100 if taken else 200)


def test_everything_above_the_floor_may_be_spent() -> None:
    floor = Floor(Decimal(100), balance=Decimal(400))
    for left in (300, 200, 100):
        assert floor.admit(Decimal(100))
        floor.leave(Decimal(100), accepted(left), Decimal(100))
    assert not floor.admit(Decimal(1))


def test_a_first_answer_that_came_alone_tells_the_price() -> None:
    floor = Floor(Decimal(100), balance=Decimal(400))
    assert floor.admit(Decimal(100))
    floor.leave(Decimal(100), accepted(200), Decimal(100))
    assert floor.ratio == 2
    assert not floor.admit(Decimal(60))  # would cost 120
    assert floor.admit(Decimal(50))


def test_a_doubt_may_have_cost_what_it_would() -> None:
    floor = Floor(Decimal(0), balance=Decimal(100))
    assert floor.admit(Decimal(60))
    assert floor.may_tell_more
    floor.leave(Decimal(60), DOUBT, None)
    assert not floor.may_tell_more
    assert not floor.admit(Decimal(60))


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [3, 0, 4, 2, 1]])
def test_a_price_is_believed_when_neighbours_agree_in_any_order(order: list[int]) -> None:
    charges = [100, 97, 93, 100, 88]
    left = [1000 - 3 * sum(charges[: n + 1]) for n in range(5)]
    seen = SeenPrice()
    for n in order:
        seen.note(Decimal(charges[n]), Decimal(left[n]))
    assert seen.ratio == 3


def test_two_neighbours_or_foreign_spending_tell_no_price() -> None:
    seen = SeenPrice()
    for left in (900, 800, 700):
        seen.note(Decimal(100), Decimal(left))
    assert seen.ratio is None
    for left in (630, 490, 370, 210):  # others spend too
        seen.note(Decimal(100), Decimal(left))
    assert seen.ratio is None


def test_an_answer_that_was_overtaken_does_not_raise_what_is_left() -> None:
    floor = Floor(Decimal(0), balance=Decimal(100))
    assert floor.admit(Decimal(30))
    assert floor.admit(Decimal(50))
    floor.leave(Decimal(50), accepted(20), Decimal(50))  # charged last, answered first
    floor.leave(Decimal(30), accepted(70), Decimal(30))
    assert floor.left == 20
