"""The sums of a plan and how long it takes."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.model import Chunk, Excluded, Exclusion, Message
from engine.planning import Batcher, PlanTally, forecast_s
from tests.numbers import mobiles

MESSAGE = Message(content="x" * 80, units=80, segments=2)


def excluded(line: int, reason: Exclusion) -> Excluded:
    return Excluded(line=line, raw=f"cell {line}", reason=reason, detail="")


def test_the_tally_adds_up() -> None:
    tally = PlanTally(MESSAGE, price=Decimal("0.5"))
    batcher = Batcher(100, distinct=True)
    for begin in (0, 150):
        chunk = Chunk(
            rows=154,
            extra=1,
            mobiles=mobiles(300)[begin : begin + 150],
            lines=list(range(begin + 2, begin + 152)),
            excluded=[excluded(begin + at, Exclusion.INVALID) for at in range(4)] + [excluded(begin, Exclusion.EMPTY)],
        )
        tally.add_chunk(chunk)
        tally.add_batches(batcher.add(chunk))
    tally.add_batches(batcher.finish())
    assert (tally.rows, tally.extra, tally.recipients) == (308, 2, 300)
    assert tally.rows + tally.extra == tally.recipients + tally.excluded.total()
    assert tally.excluded == {Exclusion.INVALID: 8, Exclusion.EMPTY: 2}
    assert [row.line for row in tally.samples[Exclusion.INVALID]] == [0, 1, 2]
    assert len(tally.samples[Exclusion.EMPTY]) == 2
    assert (tally.batches, tally.smallest_batch, tally.largest_batch) == (4, 3, 100)
    assert (tally.segments, tally.points) == (600, Decimal(300))


def test_an_empty_plan_is_all_zero() -> None:
    tally = PlanTally(MESSAGE)
    assert (tally.batches, tally.smallest_batch, tally.largest_batch, tally.points) == (0, 0, 0, Decimal(0))


@pytest.mark.parametrize(
    ("batches", "recipients", "rate", "numbers", "window", "latency", "expected"),
    [
        (0, 0, 10, 0, 1, 1.0, 0),
        (1, 100, 10, 0, 1, None, 0),
        (10, 1000, 10, 0, 1, None, 0),  # one window's allowance
        (110, 11_000, 10, 0, 1, None, 10),
        (110, 11_000, 10, 0, 1, 0.5, 10.5),
        (110, 11_000, 0, 0, 1, None, 0),
        (110, 11_000, 10, 100, 1, None, 109),  # the numbers are the narrower way
        (3, 300, 0.1, 0, 1, None, 20),  # less than one a window
        (160, 16_000, 0, 0, 1, 2.0, 20),  # only what is in flight holds it back
        (160, 16_000, 10, 0, 1, 2.0, 20),
    ],
)
def test_the_slowest_limit_decides(
    batches: int, recipients: int, rate: float, numbers: float, window: float, latency: float | None, expected: float
) -> None:
    took = forecast_s(
        batches,
        recipients,
        requests_per_second=rate,
        numbers_per_second=numbers,
        window_s=window,
        in_flight=16,
        latency_s=latency,
    )
    assert took == pytest.approx(expected)
