"""Points add up, reading by reading, whatever was under way while the balance was read; one stolen point is found."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.journal.port import SettledBy, Spending, StretchReading
from engine.ledger.evidence import Policy
from engine.ledger.reckoning import Reckoning, Unexplained, reckon
from tests.ledger.histories import moment

OPENING = 10_000
POLICY = Policy(min_age_s=10, balance_settle_s=5)


def read(at: float, remaining: float | None, *, took: float = 0.1, bought: int | None = None) -> StretchReading:
    return StretchReading(
        asked_at=moment(at),
        answered_at=moment(at + took),
        remaining=None if remaining is None else Decimal(str(remaining)),
        send_total=None if bought is None else Decimal(bought),
    )


def spent(
    points: float | None,
    sent: float,
    ended: float | None,
    *,
    size: int = 100,
    entered: float | None = None,
    by: SettledBy | None = None,
    late: bool = False,
) -> Spending:
    """An accepted answer; with `points` None an open doubt, with `ended` None one in flight; with `by` a settled doubt."""
    at = None if points is None else moment(ended if entered is None and ended is not None else entered or 0)
    return Spending(
        campaign="spring",
        seq=1,
        number=1,
        size=size,
        segments=1,
        started_at=moment(sent),
        finished_at=None if ended is None else moment(ended),
        in_doubt=by is not None or (points is None and ended is not None),
        may_land_late=late,
        charge=None if points is None else Decimal(str(points)),
        at=at,
        settled_by=by,
    )


def reckoned(*rows: StretchReading | Spending, price: str = "1", **policy: float) -> Reckoning:
    readings = [row for row in rows if isinstance(row, StretchReading)]
    spendings = [row for row in rows if isinstance(row, Spending)]
    return reckon(readings, spendings, price=Decimal(price), policy=replace(POLICY, **policy))


def missing(begin: float, end: float, points: float) -> Unexplained:
    return Unexplained(begin=moment(begin + 0.1), end=moment(end + 0.1), points=Decimal(str(points)))


def test_charges_and_top_ups_lie_between_their_readings() -> None:
    found = reckoned(
        read(0, 1000, bought=5000), spent(100, 10, 11), spent(90, 12, 13), read(50, 1810, bought=6000),
        spent("0.5", 60, 61), read(100, 1809.5, bought=6000),
    )  # fmt: skip
    assert found.unexplained == ()
    assert [(step.charged, step.charges, step.topped_up, step.missing) for step in found.steps] == [
        (0, 0, 0, 0),
        (190, 2, 1000, 0),
        (Decimal("0.5"), 1, 0, 0),
    ]
    assert (found.charged, found.topped_up, found.missing) == (Decimal("190.5"), 1000, 0)


def test_a_reading_that_tells_nothing_splits_nothing() -> None:
    found = reckoned(read(0, 1000), spent(100, 10, 11), read(50, None), spent(90, 60, 61), read(100, 810))
    assert (len(found.steps), found.charged, found.unexplained) == (2, 190, ())
    assert reckoned(spent(100, 10, 11)).steps == ()


@pytest.mark.parametrize("stolen", [1, 7.5, 5000])
def test_what_is_stolen_is_found_once_and_with_its_interval(stolen: float) -> None:
    found = reckoned(
        read(0, 9000), spent(100, 10, 11), read(50, 8900), read(100, 8900 - stolen), spent(50, 110, 111),
        read(200, 8850 - stolen), read(300, 8850 - stolen),
    )  # fmt: skip
    assert found.unexplained == (missing(50, 100, stolen),)
    assert found.steps[2].because == "nothing of ours explains it"


def test_more_in_the_balance_than_the_charges_leave_is_found_too() -> None:
    assert reckoned(read(0, 1000), spent(100, 10, 11), read(50, 901)).unexplained == (missing(0, 50, -1),)


def test_a_request_under_way_may_be_on_either_side_of_a_reading() -> None:
    early = reckoned(read(0, 1000), read(50, 900), spent(100, 49, 60), read(100, 900))  # charged before, answered after
    late = reckoned(read(0, 1000), spent(100, 45, 50.05), read(50, 1000), read(100, 900))  # the other way round
    assert (early.unexplained, late.unexplained) == ((), ())
    assert early.steps[1].because == "requests were under way while the balance was read, or it lags behind"
    assert early.steps[2].because == "it makes up for what was open before"


def test_a_request_under_way_hides_no_stolen_point() -> None:
    found = reckoned(read(0, 1000), read(50, 899), spent(100, 49, 60), read(100, 899))
    assert found.unexplained == (missing(0, 50, 1),)


def test_the_last_reading_may_lag_by_whole_charges_and_by_nothing_else() -> None:
    rows = (read(0, 1000), spent(100, 1, 2), spent(90, 38, 39), spent(80, 40, 41))
    assert reckoned(*rows, read(42, 810)).unexplained == ()  # both are not in it yet
    assert reckoned(*rows, read(42, 820)).unexplained == ()
    assert reckoned(*rows, read(42, 811)).unexplained == (missing(0, 42, -1),)  # eighty, and one more than they
    assert reckoned(*rows, read(42, 1000)).unexplained == (missing(0, 42, -100),)  # the first is too old for that


def test_an_open_doubt_may_be_charged_and_explains_no_more_than_that() -> None:
    doubt = spent(None, 10, 40)
    assert reckoned(read(0, 1000), doubt, read(50, 900)).unexplained == ()
    assert reckoned(read(0, 1000), doubt, read(50, 1000)).unexplained == ()
    assert reckoned(read(0, 1000), doubt, read(50, 903)).unexplained == ()  # a short count
    assert reckoned(read(0, 1000), doubt, read(50, 899)).unexplained == (missing(0, 50, 1),)
    assert reckoned(read(0, 1000), doubt, read(5, 900), read(50, 900)).unexplained == (missing(0, 5, 100),)  # before it
    in_flight = reckoned(read(0, 1000), spent(None, 10, None), read(50, 900))
    assert (in_flight.unexplained, in_flight.doubtful) == ((), 100)
    assert in_flight.steps[1].because == "1 batch in doubt or being sent may explain it"


def test_a_settled_doubt_may_have_been_charged_late() -> None:
    entered_early = spent(100, 10, 40, entered=40, by=SettledBy.BALANCE, late=True)
    rows = (read(0, 1000), entered_early, read(48, 1000), read(60, 900))
    assert reckoned(*rows).unexplained == ()
    cut = replace(entered_early, may_land_late=False)
    assert reckoned(read(0, 1000), cut, read(48, 1000), read(60, 900)).unexplained == (
        missing(0, 48, -100),
        missing(48, 60, 100),
    )


def test_what_a_report_or_a_person_settled_was_charged_in_full_at_most() -> None:
    for by in (SettledBy.REPORT, SettledBy.OPERATOR):
        rows = (read(0, 1000), spent(100, 10, 11, by=by))
        assert reckoned(*rows, read(50, 903)).unexplained == ()
        assert reckoned(*rows, read(50, 921)).unexplained == (missing(0, 50, -1),)  # more than a count is ever short
        assert reckoned(*rows, read(50, 899)).unexplained == (missing(0, 50, 1),)
    exact = spent(100, 10, 11, by=SettledBy.BALANCE)
    assert reckoned(read(0, 1000), exact, read(50, 903)).unexplained == (missing(0, 50, -3),)


requests = st.lists(
    st.tuples(st.integers(1, 900), st.integers(1, 60), st.integers(0, 60), st.integers(1, 120), st.booleans()),
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(
    sends=requests,
    asked=st.lists(st.integers(1, 1100), min_size=1, max_size=6, unique=True),
    lags=st.lists(st.integers(0, 5), min_size=6, max_size=6),
    theft=st.none() | st.tuples(st.integers(0, 1000), st.integers(1, 400)),
)
def test_whatever_is_under_way_an_honest_history_adds_up_and_a_theft_never_seems_larger(
    sends: list[tuple[int, int, int, int, bool]],
    asked: list[int],
    lags: list[int],
    theft: tuple[int, int] | None,
) -> None:
    charges: list[tuple[datetime, int]] = []
    rows: list[Spending] = []
    for sent, until_taken, until_told, points, is_lost in sends:
        taken_at, ended = sent + until_taken, sent + until_taken + until_told
        charges.append((moment(taken_at), points))
        rows.append(spent(None if is_lost else points, sent, ended, size=points))
    if theft is not None:
        charges.append((moment(theft[0]), theft[1]))
    times = [(0, 0), *zip(sorted(asked), lags, strict=False), (1200, 0), (1300, 0)]
    readings = []
    for at, lag in times:
        gone = sum(points for when, points in charges if when <= moment(at - lag))
        readings.append(read(at, OPENING - gone))
    found = reckon(readings, rows, price=Decimal(1), policy=POLICY)
    stolen = sum(each.points for each in found.unexplained)
    if theft is None:
        assert found.unexplained == ()
    else:
        assert 0 <= stolen <= theft[1]
        if not any(is_lost for *_, is_lost in sends) and theft[0] > 0:
            assert stolen == theft[1]
    assert all(each.begin < each.end for each in found.unexplained)
    assert [each.at for each, _ in pairwise(found.steps)] == sorted(reading.answered_at for reading in readings)[:-1]
