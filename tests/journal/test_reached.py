"""The sets of those who were reached: whole or in pieces, and never a mixture of two or a half of one."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from random import Random

import pytest

from engine.journal.reached import close_room, fill_room, make_room
from engine.journal.store import SqlJournal
from tests.journal.stores import Place, accepted, claimed, intended, planned

MARK, ANOTHER = -7, -8
Hours = Sequence[tuple[int, bytes]]


def some_bytes(size: int, *, seed: int) -> bytes:
    return Random(seed).randbytes(size)


async def over(journal: SqlJournal) -> int:
    """A campaign of three recipients that has been sent."""
    campaign_id = await planned(journal, 3)
    (claim,) = await claimed(journal, campaign_id)
    await accepted(journal, await intended(journal, claim))
    return campaign_id


async def keep(journal: SqlJournal, campaign_id: int, hours: Hours) -> None:
    files = [(hour, BytesIO(numbers)) for hour, numbers in hours]
    for _, file in files:
        file.seek(3)  # wherever it stands, it is read from its beginning
    await journal.keep_reached(campaign_id, 3, files)


async def is_kept(journal: SqlJournal, campaign_id: int) -> bool:
    (each,) = await journal.reaching(since_us=0, campaign_id=campaign_id)
    return each.is_kept


SMALL = [(5, some_bytes(2_000, seed=1)), (6, b"")]
LARGE = [(5, some_bytes(5_300_000, seed=2)), (7, some_bytes(900, seed=3)), (9, some_bytes(2 << 20, seed=4))]


@pytest.mark.parametrize("hours", [[], SMALL, LARGE], ids=["nobody", "small", "large"])
async def test_sets_come_back_as_they_were_given_whatever_stood_there(journal: SqlJournal, hours: Hours) -> None:
    campaign_id = await over(journal)
    for before in (LARGE, SMALL):
        await keep(journal, campaign_id, before)
        await keep(journal, campaign_id, hours)
        assert await is_kept(journal, campaign_id)
        assert await journal.reached_hours(campaign_id) == list(hours)


async def test_sets_that_were_not_written_to_their_end_are_not_kept(journal: SqlJournal, place: Place) -> None:
    campaign_id = await over(journal)
    await keep(journal, campaign_id, SMALL)
    await journal._commits.do(make_room, (campaign_id, MARK, 3, [(5, 2_000)]))
    await journal._commits.do(fill_room, (campaign_id, MARK, 5, 0, b"1" * 1_000))
    assert not await is_kept(journal, campaign_id)
    await keep(journal, campaign_id, SMALL)
    assert await is_kept(journal, campaign_id)
    assert await journal.reached_hours(campaign_id) == SMALL
    assert len(place.rows("SELECT * FROM reached")) == 3


async def test_of_two_who_write_the_same_sets_the_later_has_them_alone(journal: SqlJournal) -> None:
    campaign_id = await over(journal)
    await journal._commits.do(make_room, (campaign_id, MARK, 3, [(5, 10)]))
    await journal._commits.do(make_room, (campaign_id, ANOTHER, 3, [(5, 4)]))
    await journal._commits.do(fill_room, (campaign_id, ANOTHER, 5, 0, b"2222"))
    await journal._commits.do(fill_room, (campaign_id, MARK, 5, 0, b"1111111111"))
    await journal._commits.do(close_room, (campaign_id, MARK, 3))
    assert not await is_kept(journal, campaign_id)
    await journal._commits.do(close_room, (campaign_id, ANOTHER, 3))
    assert await is_kept(journal, campaign_id)
    assert await journal.reached_hours(campaign_id) == [(5, b"2222")]


async def test_what_is_forgotten_while_its_sets_are_written_stays_forgotten(journal: SqlJournal, place: Place) -> None:
    campaign_id = await over(journal)
    await journal._commits.do(make_room, (campaign_id, MARK, 3, [(5, 4)]))
    place.alter("DELETE FROM reached")
    await journal._commits.do(fill_room, (campaign_id, MARK, 5, 0, b"1111"))
    await journal._commits.do(close_room, (campaign_id, MARK, 3))
    assert place.rows("SELECT * FROM reached") == []
