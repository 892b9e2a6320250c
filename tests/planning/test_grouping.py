"""Rows with the same text share batches: one text a batch, nobody lost, nobody twice, and never more open than allowed."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.lines import unpack_lines
from engine.model import Chunk, Message, PlannedBatch
from engine.planning import Grouper
from tests.numbers import mobiles

NUMBERS = mobiles(600)
TEXTS = [Message(content=f"text {n}", units=6, segments=1) for n in range(600)]


def planned(
    texts: list[int],
    *,
    most: int = 10,
    distinct: bool = False,
    groups: int = 100,
    waiting: int = 1_000,
    chunk: int = 50,
) -> tuple[list[PlannedBatch], list[tuple[int, Message]]]:
    """The batches and messages of rows of which row i is told the text `texts[i]`."""
    grouper = Grouper(most, distinct=distinct, most_groups=groups, most_waiting=waiting)
    batches: list[PlannedBatch] = []
    messages: list[tuple[int, Message]] = []
    for begin in range(0, len(texts), chunk):
        mine = texts[begin : begin + chunk]
        rows = Chunk(
            rows=len(mine),
            mobiles=NUMBERS[begin : begin + len(mine)],
            lines=list(range(begin + 2, begin + 2 + len(mine))),
            texts=[TEXTS[text] for text in mine],
        )
        batches += grouper.add(rows)
        messages += grouper.new_messages()
        known = {number for number, _ in messages}
        assert {batch.message for batch in batches} <= known, "a batch came before its message"
    batches += grouper.finish()
    messages += grouper.new_messages()
    return batches, messages


def test_three_cities_cost_three_groups_and_not_a_request_a_row() -> None:
    batches, messages = planned([row % 3 for row in range(60)], most=10)
    assert [batch.size for batch in batches] == [10] * 6
    assert len(messages) == 3


def test_every_text_of_its_own_costs_a_batch() -> None:
    batches, messages = planned(list(range(300)), groups=40)
    assert [batch.size for batch in batches] == [1] * 300
    assert [text for _, text in messages] == TEXTS[:300]


def test_a_text_that_had_to_go_is_a_message_once_more() -> None:
    batches, messages = planned([0, *range(1, 200), 0], groups=40)
    assert sum(text == TEXTS[0] for _, text in messages) == 2
    assert sum(batch.size for batch in batches) == 201


def test_a_text_that_fills_batches_is_not_pushed_out_by_many_that_come_once() -> None:
    rows = [0 if row % 2 else 1 + row // 2 for row in range(400)]
    batches, messages = planned(rows, most=10, groups=60)
    assert sum(text == TEXTS[0] for _, text in messages) <= 2
    assert Counter(batch.size for batch in batches)[10] >= 18


def test_neighbouring_batches_differ_in_size_where_they_can() -> None:
    batches, _ = planned([row % 2 for row in range(600)], most=50, distinct=True)
    full = [batch.size for batch in batches[:8]]
    assert all(one != other for one, other in pairwise(full))


@pytest.mark.parametrize("most", [1, 2])
def test_requests_of_one_number_still_share_their_message(most: int) -> None:
    batches, messages = planned([0, 0, 1, 0, 1, 0], most=most)
    assert max(batch.size for batch in batches) <= most
    assert len(messages) == 2


@given(
    st.lists(st.integers(0, 30), max_size=300),
    st.integers(1, 12),
    st.booleans(),
    st.integers(1, 20),
    st.integers(1, 60),
    st.integers(1, 70),
)
def test_nobody_is_lost_or_doubled_and_every_batch_has_one_text(
    texts: list[int], most: int, distinct: bool, groups: int, waiting: int, chunk: int
) -> None:
    batches, messages = planned(texts, most=most, distinct=distinct, groups=groups, waiting=waiting, chunk=chunk)
    text_of = dict(messages)
    assert [batch.seq for batch in batches] == list(range(1, len(batches) + 1))
    assert sorted(text_of) == list(range(1, len(messages) + 1))
    told = []
    for batch in batches:
        numbers, lines = batch.mobiles.split(","), unpack_lines(batch.lines)
        assert batch.size == len(numbers) == len(lines) <= most
        told += [(number, line, text_of[batch.message]) for number, line in zip(numbers, lines, strict=True)]
    assert sorted(told) == sorted((NUMBERS[row], row + 2, TEXTS[text]) for row, text in enumerate(texts))
