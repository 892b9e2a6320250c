"""The price that the fall of the balance tells, also where answers are lost and others spend."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from engine.ledger.price import ratio_of

PRICES = st.sampled_from([Decimal(1), Decimal("1.5"), Decimal(2), Decimal(3)])


def answers(costs: list[int], lost: set[int], price: Decimal) -> list[tuple[Decimal, Decimal]]:
    """What the answers that arrived were expected to cost, and what each left."""
    left, arrived = Decimal(10_000), []
    for at, cost in enumerate(costs):
        left -= cost * price
        if at not in lost:
            arrived.append((Decimal(cost), left))
    return arrived


@given(price=PRICES, costs=st.lists(st.integers(1, 50), min_size=4, max_size=60), data=st.data())
def test_lost_answers_never_make_it_dearer_once_one_neighbour_is_whole(
    price: Decimal, costs: list[int], data: st.DataObject
) -> None:
    lost = data.draw(st.sets(st.integers(2, len(costs) - 1)))  # the first two arrived
    order = data.draw(st.permutations(answers(costs, lost, price)))
    assert ratio_of(order) in (None, price)


def test_every_second_answer_lost_tells_nothing_after_one_whole_pair() -> None:
    assert ratio_of(answers([1] * 12, {2, 4, 6, 8, 10}, Decimal(1))) is None


def test_most_neighbours_must_agree() -> None:
    assert ratio_of(answers([5] * 10, {6}, Decimal(2))) == 2
    assert ratio_of(answers([5] * 3, set(), Decimal(2))) is None
