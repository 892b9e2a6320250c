"""opening + top-ups − charges = remaining + unexplained, and what is unexplained has an interval."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.journal.port import Reading
from engine.ledger.points import Interval, Points, add_up

START = datetime(2026, 3, 1, tzinfo=UTC)


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


def read(minute: int, left: str | None, charged: str = "0", *, bought: str | None = None) -> Reading:
    """A balance reading; `charged` since the one before, `bought` in all."""
    return Reading(
        at=at(minute),
        remaining=None if left is None else Decimal(left),
        send_total=None if bought is None else Decimal(bought),
        charged_since_last=Decimal(charged),
    )


def interval(begin: int, end: int, unexplained: str) -> Interval:
    return Interval(begin=at(begin), end=at(end), unexplained=Decimal(unexplained))


CASES = [
    pytest.param([read(0, "5000"), read(1, "4014", "986")], "0", "5000", "0", "4014", [], id="everything is explained"),
    pytest.param([read(0, "5000")], "0", "5000", "0", "5000", [], id="one reading"),
    pytest.param(
        [read(0, "5000")], "986", "5000", "0", "4014", [], id="charges after the last reading are gone already"
    ),
    pytest.param(
        [read(0, "5000", bought="9000"), read(1, "5900", "100", bought="10000")],
        "0",
        "5000",
        "1000",
        "5900",
        [],
        id="a top-up",
    ),
    pytest.param(
        [read(0, "5000"), read(1, "5900", "100")],
        "0",
        "5000",
        "0",
        "5900",
        [interval(0, 1, "-1000")],
        id="a top-up nobody told",
    ),
    pytest.param(
        [read(0, "100"), read(1, "50", "40"), read(2, "50"), read(3, "30", "15")],
        "0",
        "100",
        "0",
        "30",
        [interval(0, 1, "10"), interval(2, 3, "5")],
        id="points are missing, and it is known when",
    ),
    pytest.param(
        [read(0, "100"), read(1, "95", "10"), read(2, "80", "10")],
        "0",
        "100",
        "0",
        "80",
        [interval(0, 1, "-5"), interval(1, 2, "5")],
        id="a balance that lags behind",
    ),
    pytest.param(
        [read(0, "100"), read(1, None, "10"), read(2, "70", "20")],
        "0",
        "100",
        "0",
        "70",
        [],
        id="a reading without a number splits the charges and nothing else",
    ),
    pytest.param(
        [read(0, "100"), read(1, None, "10"), read(2, None, "5")],
        "3",
        "100",
        "0",
        "82",
        [],
        id="charges before a last reading without a number are gone too",
    ),
    pytest.param(
        [read(0, None, "10"), read(1, "100", "20")],
        "0",
        "100",
        "0",
        "100",
        [],
        id="nothing is known before the first number",
    ),
    pytest.param(
        [read(0, "100", bought="500"), read(1, "90", "10", bought="400")],
        "0",
        "100",
        "0",
        "90",
        [],
        id="a total that shrinks is no top-up",
    ),
    pytest.param([read(0, "0.3"), read(1, "0.1", "0.2")], "0", "0.3", "0", "0.1", [], id="tenths of a point are exact"),
    pytest.param(
        [read(0, "10"), read(0, "10"), read(0, "7", "3")], "0", "10", "0", "7", [], id="readings that look alike"
    ),
    pytest.param(
        [read(0, "10"), read(0, "8", "1"), read(0, "8", "1"), read(0, "8", "1")],
        "0",
        "10",
        "0",
        "8",
        [interval(0, 0, "1"), interval(0, 0, "-1"), interval(0, 0, "-1")],
        id="equal readings keep their own charges",
    ),
]


@pytest.mark.parametrize(("readings", "since", "opening", "topped_up", "remaining", "intervals"), CASES)
def test_points_add_up(
    readings: list[Reading], since: str, opening: str, topped_up: str, remaining: str, intervals: list[Interval]
) -> None:
    assert add_up(readings, charged_since=Decimal(since)) == Points(
        opening=Decimal(opening),
        topped_up=Decimal(topped_up),
        remaining=Decimal(remaining),
        unexplained=sum((i.unexplained for i in intervals), Decimal(0)),
        intervals=tuple(intervals),
    )


@pytest.mark.parametrize("readings", [[], [read(0, None)], [read(0, None, "5"), read(1, None, "5")]])
def test_without_a_number_nothing_is_known_and_nothing_is_made_up(readings: list[Reading]) -> None:
    assert add_up(readings, charged_since=Decimal(7)) == Points(
        opening=None, topped_up=Decimal(0), remaining=None, unexplained=None, intervals=()
    )


AMOUNTS = st.integers(0, 10**9).map(lambda n: Decimal(n) / 100)
STEPS = st.tuples(AMOUNTS, AMOUNTS, AMOUNTS, st.booleans())  # charged, bought, taken by somebody, whether it tells


@settings(deadline=None)
@given(opening=AMOUNTS, steps=st.lists(STEPS, max_size=12), since=AMOUNTS)
def test_the_equation_holds_whatever_happened(
    opening: Decimal, steps: list[tuple[Decimal, Decimal, Decimal, bool]], since: Decimal
) -> None:
    left, bought_in_all = opening, Decimal(0)
    readings = [Reading(at=START, remaining=left, send_total=bought_in_all, charged_since_last=Decimal(0))]
    for minute, (charged, bought, taken, tells) in enumerate(steps, 1):
        left, bought_in_all = left - charged + bought - taken, bought_in_all + bought
        readings.append(
            Reading(
                at=at(minute),
                remaining=left if tells else None,
                send_total=bought_in_all if tells else None,
                charged_since_last=charged,
            )
        )
    points = add_up(readings, charged_since=since)
    assert points.remaining is not None
    assert points.unexplained is not None
    charged_in_all = sum((step[0] for step in steps), Decimal(0)) + since
    assert opening + points.topped_up - charged_in_all == points.remaining + points.unexplained
    assert points.unexplained == sum((i.unexplained for i in points.intervals), Decimal(0))
    told = max((n for n, step in enumerate(steps, 1) if step[3]), default=0)
    assert points.unexplained == sum((step[2] for step in steps[:told]), Decimal(0))
    assert points.topped_up == sum((step[1] for step in steps[:told]), Decimal(0))
    assert all(i.begin < i.end and i.unexplained for i in points.intervals)


def test_the_last_reading_that_tells_a_number_has_its_time_and_the_charges_since() -> None:
    begin = datetime(2026, 3, 1, tzinfo=UTC)
    told = Reading(at=begin, remaining=Decimal(10), send_total=None, charged_since_last=Decimal(0))
    silent = Reading(at=begin + timedelta(hours=1), remaining=None, send_total=None, charged_since_last=Decimal(2))
    found = add_up([told, silent], charged_since=Decimal(3))
    assert (found.read_at, found.charged_since, found.remaining) == (begin, Decimal(5), Decimal(5))
