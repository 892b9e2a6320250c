"""Planning loses and doubles nobody and keeps the limits."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import PlanError
from engine.model import Chunk
from engine.planning import Batcher, batch_sizes, distinct_allowed, pack_lines, unpack_lines
from tests.numbers import mobiles

NUMBERS = mobiles(1200)


@given(st.lists(st.integers(0, 300), max_size=6), st.integers(1, 200), st.booleans())
def test_every_recipient_is_in_one_batch_in_order_and_within_the_limit(
    sizes: list[int], limit: int, distinct: bool
) -> None:
    numbers = NUMBERS[: sum(sizes[:4])]
    lines = [2 + at // 2 * 3 for at in range(len(numbers))]
    batcher = Batcher(limit, distinct=distinct)
    batches = []
    begin = 0
    for size in sizes[:4]:
        batches += batcher.add(
            Chunk(rows=size, mobiles=numbers[begin : begin + size], lines=lines[begin : begin + size])
        )
        begin += size
    full = len(batches)
    batches += batcher.finish()
    assert [number for batch in batches for number in batch.mobiles.split(",")] == numbers
    assert [line for batch in batches for line in unpack_lines(batch.lines)] == lines
    assert all(batch.size == len(batch.mobiles.split(",")) == len(unpack_lines(batch.lines)) for batch in batches)
    assert all(batch.lines == pack_lines(unpack_lines(batch.lines)) for batch in batches), (
        "a run ends where a chunk does"
    )
    assert all(1 <= batch.size <= limit for batch in batches)
    assert [batch.seq for batch in batches] == list(range(1, len(batches) + 1))
    assert [batch.size for batch in batches[:full]] == list(islice(batch_sizes(limit, distinct=distinct), full))
    assert len(batches) - full <= 1
    assert batcher.finish() == []


def test_a_chunk_is_not_changed_by_batching() -> None:
    chunk = Chunk(rows=5, mobiles=NUMBERS[:5], lines=[1, 2, 3, 4, 5])
    Batcher(2, distinct=False).add(chunk)
    assert (chunk.mobiles, chunk.lines) == (NUMBERS[:5], [1, 2, 3, 4, 5])


def test_a_batch_carries_the_message_it_was_planned_for() -> None:
    batcher = Batcher(2, distinct=False, message=7, first_seq=40)
    chunk = Chunk(rows=3, mobiles=NUMBERS[:3], lines=[1, 2, 3])
    assert [(batch.seq, batch.message) for batch in [*batcher.add(chunk), *batcher.finish()]] == [(40, 7), (41, 7)]


@pytest.mark.parametrize(
    ("limit", "smallest", "count"), [(100, 85, 16), (500, 437, 64), (1000, 937, 64), (50, 43, 8), (6, 6, 1), (1, 1, 1)]
)
def test_neighbouring_batches_differ_in_size(limit: int, smallest: int, count: int) -> None:
    cycle = list(islice(batch_sizes(limit, distinct=True), count))
    assert cycle == list(range(limit, smallest - 1, -1))
    assert next(islice(batch_sizes(limit, distinct=True), count, None)) == limit


@given(st.integers(1, 5000), st.integers(1, 3_000_000))
def test_different_sizes_cost_at_most_nine_percent_more_requests(limit: int, recipients: int) -> None:
    cycle = list(islice(batch_sizes(limit, distinct=True), min(64, max(1, limit * 16 // 100))))
    rounds, rest = divmod(recipients, sum(cycle))
    requests = rounds * len(cycle)
    for size in cycle:
        if rest <= 0:
            break
        rest -= size
        requests += 1
    assert requests <= -(-recipients // limit) * 1.09 + 1


def test_equal_sizes_where_they_need_not_differ() -> None:
    assert list(islice(batch_sizes(100, distinct=False), 3)) == [100, 100, 100]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_batch_of_nobody_is_refused(limit: int) -> None:
    with pytest.raises(PlanError, match="at least 1"):
        Batcher(limit, distinct=False)


@pytest.mark.parametrize(
    ("setting", "prepaid", "exclusive", "limit", "allowed"),
    [
        ("auto", True, True, 100, True),
        ("auto", None, True, 50, True),
        ("auto", False, True, 100, False),
        ("auto", True, False, 100, False),
        ("auto", True, True, 49, False),
        (True, False, False, 1, True),
        (False, True, True, 100, False),
    ],
)
def test_when_sizes_may_differ(
    setting: object, prepaid: bool | None, exclusive: bool, limit: int, allowed: bool
) -> None:
    assert distinct_allowed(setting, prepaid=prepaid, exclusive=exclusive, max_recipients=limit) is allowed  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lines", "packed"),
    [
        ([], ""),
        ([7], "7"),
        ([7, 8], "7-8"),
        ([2, 3, 4, 5, 47, 48, 102], "2-5,47-48,102"),
        ([5, 5], "5,5"),
        ([4, 5, 5, 6, 6, 6, 7], "4-5,5-6,6,6-7"),
        ([3, 2, 1], "3,2,1"),
    ],
)
def test_lines_are_written_as_runs(lines: list[int], packed: str) -> None:
    assert pack_lines(lines) == packed
    assert unpack_lines(packed) == lines


@given(st.lists(st.integers(1, 40)))
def test_packed_lines_come_back_as_they_were(lines: list[int]) -> None:
    assert unpack_lines(pack_lines(lines)) == lines


@given(st.lists(st.integers(1, 10**7)).map(sorted))
def test_ascending_lines_come_back_too(lines: list[int]) -> None:
    assert unpack_lines(pack_lines(lines)) == lines


@pytest.mark.parametrize("packed", ["x", "1-x", "-3"])
def test_another_text_is_refused(packed: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        unpack_lines(packed)
