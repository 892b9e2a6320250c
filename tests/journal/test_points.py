"""Times and points come back as they went in, and readings carry the charges between them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, func, literal, select, union_all

from engine.journal.port import Reading
from engine.journal.schema import Points, Timestamp
from engine.journal.store import SqlJournal
from engine.model import BatchState
from tests.journal.stores import ACCOUNT, START, Place, accepted, claimed, ended, intended, planned, reading, taken

POINTS = st.integers(-(2**62), 2**62).map(lambda n: Decimal(n) / 10_000)
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(min_value=datetime(1970, 1, 3), max_value=datetime(9999, 12, 30), timezones=ZONES)  # noqa: DTZ001


@pytest.fixture(scope="module")
def database() -> Iterator[Connection]:
    engine = create_engine("sqlite+pysqlite://")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def through(database: Connection, value: object, kind: Any) -> Any:
    return database.execute(select(literal(value, kind))).scalar_one()


@given(points=POINTS)
def test_points_come_back_exactly(database: Connection, points: Decimal) -> None:
    back = through(database, points, Points())
    assert isinstance(back, Decimal)
    assert back == points
    assert "E" not in str(back) or abs(back) < Decimal("0.001")  # 5000 is shown as 5000, not as 5E+3


@given(parts=st.lists(st.integers(0, 2**40).map(lambda n: Decimal(n) / 10_000), min_size=2, max_size=20))
def test_the_database_adds_points_up_exactly(database: Connection, parts: list[Decimal]) -> None:
    rows = union_all(*(select(literal(part, Points()).label("points")) for part in parts)).subquery()
    assert database.execute(select(func.sum(rows.c.points))).scalar_one() == sum(parts)


@given(at=TIMES)
def test_a_time_comes_back_to_the_microsecond_in_utc(database: Connection, at: datetime) -> None:
    back = through(database, at, Timestamp())
    assert back == at
    assert back.utcoffset() == timedelta(0)


@given(one=TIMES, other=TIMES)
def test_times_sort_in_the_database_as_they_do_outside(database: Connection, one: datetime, other: datetime) -> None:
    earlier = literal(one, Timestamp()) < literal(other, Timestamp())
    assert bool(database.execute(select(earlier)).scalar_one()) is (one < other)


async def charge(journal: SqlJournal, campaign_id: int, points: str, *, at: datetime = START) -> None:
    (claim,) = await claimed(journal, campaign_id, 1)
    await accepted(journal, await intended(journal, claim), Decimal(points), at=at)


def after(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


async def test_each_reading_carries_the_charges_since_the_one_before(journal: SqlJournal) -> None:
    campaign_id = await planned(journal, *[1] * 6)
    await charge(journal, campaign_id, "1")  # before anything was read: nobody can say what it was taken from
    await journal.record_reading(ACCOUNT, reading(Decimal(100), at=after(1), send_total=Decimal(900)), campaign_id=None)
    await charge(journal, campaign_id, "0.1", at=after(1.2))
    await charge(journal, campaign_id, "0.2", at=after(2))
    await journal.record_reading(ACCOUNT, reading(None, at=after(2)), campaign_id=campaign_id)
    await charge(journal, campaign_id, "3", at=after(2.5))
    await journal.record_reading(ACCOUNT, reading(Decimal("96.7"), at=after(3)), campaign_id=campaign_id)
    await charge(journal, campaign_id, "0.5", at=after(4))
    second, third = (
        Reading(at=after(2), remaining=None, send_total=None, charged_since_last=Decimal("0.3")),
        Reading(at=after(3), remaining=Decimal("96.7"), send_total=None, charged_since_last=Decimal(3)),
    )
    assert (await journal.readings(ACCOUNT))[1:] == [second, third]
    assert (await journal.readings(ACCOUNT))[0].send_total == Decimal(900)
    assert [r.at for r in await journal.readings(ACCOUNT, campaign_id=campaign_id)] == [after(2), after(3)]
    assert (await journal.readings(ACCOUNT, campaign_id=campaign_id))[1] == third
    assert await journal.charged_since_reading(ACCOUNT) == Decimal("0.5")
    assert (await journal.counts(campaign_id)).charged == Decimal("4.8")


async def test_the_readings_of_another_account_are_not_mixed_in(journal: SqlJournal) -> None:
    await journal.record_reading("another", reading(Decimal(7)), campaign_id=None)
    assert await journal.readings(ACCOUNT) == []
    assert [r.remaining for r in await journal.readings("another")] == [Decimal(7)]
    assert await journal.charged_since_reading(ACCOUNT) == 0


async def test_without_a_reading_every_charge_counts(journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 1)
    await charge(journal, campaign_id, "2.5")
    assert await journal.charged_since_reading(ACCOUNT) == Decimal("2.5")
    assert await journal.readings(ACCOUNT, campaign_id=campaign_id) == []


async def test_a_charge_of_nothing_is_entered_too(place: Place, journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 2)
    (claim,) = await claimed(journal, campaign_id)
    none = taken(2, counts=0)
    await ended(journal, await intended(journal, claim), none, BatchState.ACCEPTED, charge=Decimal(0))
    assert [row["points"] for row in place.rows("SELECT points FROM entry")] == [0]
    assert (await journal.counts(campaign_id)).charged == 0


async def test_the_balance_an_answer_told_is_kept_with_its_charge(place: Place, journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 2)
    (claim,) = await claimed(journal, campaign_id)
    submitted = await intended(journal, claim)
    await ended(journal, submitted, taken(2), BatchState.ACCEPTED, charge=Decimal("1.2"), at=START)
    (entry,) = place.rows(
        "SELECT account, at, kind, campaign_id, batch_id, attempt_number, points, remaining FROM entry"
    )
    assert entry == {
        "account": ACCOUNT,
        "at": int((START - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1)),
        "kind": "charge",
        "campaign_id": campaign_id,
        "batch_id": claim.batch_id,
        "attempt_number": 1,
        "points": 12_000,
        "remaining": 50_000_000,
    }
