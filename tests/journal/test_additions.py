"""Lists that are added to a campaign: unseen until one commit, then a part of it as if they had been there from the start."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from engine.errors import PlanError
from engine.journal.port import Conduct, PlanTotals, SourceRecord
from engine.journal.store import SqlJournal
from engine.lines import tagged
from engine.model import BatchState, CampaignState, Excluded, Exclusion, Message, PlannedBatch
from tests.journal.stores import (
    ACCOUNT,
    DOUBT,
    TEXT,
    Place,
    accepted,
    batches,
    claimed,
    draft,
    ended,
    intended,
    planned,
    totals,
)
from tests.numbers import mobiles

OTHER = Message(content="第二条", units=3, segments=2)
LIST = SourceRecord(path="/two.csv", sha256="b" * 64, size=9, encoding="utf-8", number_column="手机号", column=1)


def more(*, message: int = 1) -> list[PlannedBatch]:
    """Two batches of one, of numbers nobody else here has."""
    return [
        PlannedBatch(seq=seq, size=1, mobiles=number, lines=str(tagged(1, seq + 1)), message=message)
        for seq, number in enumerate(mobiles(2, seed=9), 1)
    ]


async def addition(journal: SqlJournal, *, messages: list[Message], message: int = 1) -> int:
    """A second list, completely planned and not seen."""
    written = replace(draft(messages=[]), name="spring\n+", sources=[LIST])
    unseen = await journal.begin_campaign(written)
    left_out = Excluded(line=tagged(1, 9), raw="x", reason=Exclusion.INVALID, detail="no number")
    await journal.add_plan(unseen, more(message=message), [left_out], list(enumerate(messages, 1)))
    return unseen


TOTALS = PlanTotals(rows=3, extra=0, recipients=2, estimated=Decimal(4))


async def test_what_is_decided_with_an_addition_is_in_its_commit(place: Place) -> None:
    until = Conduct(windows=("09:00-18:00",), zone="Asia/Shanghai")
    async with place.open() as journal:
        campaign_id = await planned(journal, 3)
        await journal.merge_campaign(await addition(journal, messages=[TEXT]), campaign_id, TOTALS)
        found = await journal.find_campaign(name="spring")
        assert found is not None
        assert found.conduct == Conduct()
        unseen = await addition(journal, messages=[TEXT])
        await journal.merge_campaign(unseen, campaign_id, TOTALS, until)
        found = await journal.find_campaign(name="spring")
        assert found is not None
        assert found.conduct == until


async def test_an_addition_is_a_part_of_the_campaign_from_one_commit_on(place: Place, journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 3, 4)
    before = await journal.counts(campaign_id)
    sources = await journal.sources(campaign_id)
    unseen = await addition(journal, messages=[OTHER, TEXT], message=2)
    assert await journal.counts(campaign_id) == before
    await journal.merge_campaign(unseen, campaign_id, TOTALS)

    record = await journal.find_campaign(name="spring")
    assert record is not None
    assert (record.rows, record.recipients, record.estimated) == (8 + 3, 7 + 2, Decimal(7) + 4)
    assert await journal.sources(campaign_id) == [*sources, LIST]
    assert await journal.messages(campaign_id) == [TEXT, OTHER, TEXT]
    assert place.rows("SELECT seq, message_seq AS text, size FROM batch ORDER BY seq") == [
        {"seq": 1, "text": 1, "size": 3}, {"seq": 2, "text": 1, "size": 4}, {"seq": 3, "text": 3, "size": 1}, {"seq": 4, "text": 3, "size": 1},
    ]  # fmt: skip
    assert place.rows("SELECT count(*) AS n FROM campaign") == [{"n": 1}]
    assert place.rows("PRAGMA foreign_key_check") == []
    claims = await claimed(journal, campaign_id)
    assert [(claim.seq, claim.message) for claim in claims] == [(1, TEXT), (2, TEXT), (3, TEXT), (4, TEXT)]
    assert (await journal.counts(campaign_id)).excluded == {Exclusion.INVALID: 2}


async def test_a_campaign_of_one_text_stays_one(journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 3)
    await journal.merge_campaign(await addition(journal, messages=[TEXT]), campaign_id, TOTALS)
    assert await journal.message_count(campaign_id) == 1
    assert {claim.message for claim in await claimed(journal, campaign_id)} == {TEXT}


async def test_an_addition_that_was_not_finished_is_gone_with_the_next_owner(place: Any) -> None:
    async with place.open() as journal:
        campaign_id = await planned(journal, 3)
        await addition(journal, messages=[OTHER])
        shape = place.rows("SELECT count(*) AS n FROM batch WHERE campaign_id = 1")
    async with place.open() as journal:
        assert place.rows("SELECT count(*) AS n FROM batch") == shape
        assert place.rows("SELECT count(*) AS n FROM campaign") == [{"n": 1}]
        assert await journal.messages(campaign_id) == [TEXT]


async def test_nothing_is_added_to_a_cancelled_campaign(place: Place, journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 3)
    unseen = await addition(journal, messages=[OTHER])
    await journal.cancel_campaign(campaign_id)
    with pytest.raises(PlanError, match="cancelled"):
        await journal.merge_campaign(unseen, campaign_id, TOTALS)
    assert await journal.message_count(campaign_id) == 1
    record = await journal.find_campaign(name="spring")
    assert record is not None
    assert (record.stored_state, record.recipients) == (CampaignState.CANCELLED, 3)


async def test_who_is_accepted_planned_or_in_doubt_must_not_come_again_and_the_others_may(
    place: Place, journal: SqlJournal
) -> None:
    campaign_id = await planned(journal, 1, 1, 1, 1, 1, 1, 1)
    one, two, three, four, *_ = await claimed(journal, campaign_id)
    await accepted(journal, await intended(journal, one))
    await ended(journal, await intended(journal, two), DOUBT, BatchState.IN_DOUBT)
    await journal.release([three])
    await intended(journal, four)
    for seq, state in ((5, BatchState.REFUSED), (6, BatchState.EXPIRED), (7, BatchState.CANCELLED)):
        place.alter(
            f"UPDATE batch SET state = '{state.value}', owner = NULL, epoch = NULL, lease_until_s = NULL WHERE seq = {seq}"
        )
    mine = place.rows("SELECT seq, mobiles FROM batch WHERE seq <= 4 ORDER BY seq")
    assert await journal.held_numbers(campaign_id) == [(row["seq"], row["mobiles"]) for row in mine]
    assert await journal.held_numbers(campaign_id, after=1, limit=2) == [
        (row["seq"], row["mobiles"]) for row in mine[1:3]
    ]


async def test_messages_come_as_the_plan_goes_on(journal: SqlJournal) -> None:
    campaign_id = await journal.begin_campaign(replace(draft(messages=[]), wording='{"names": ["姓名"]}'))
    one, two = batches(2, 3)
    await journal.add_plan(campaign_id, [one], [], [(1, TEXT)])
    await journal.add_plan(campaign_id, [two._replace(message=2)], [], [(2, OTHER)])
    await journal.publish_campaign(campaign_id, totals(2, 3))
    assert [claim.message for claim in await claimed(journal, campaign_id)] == [TEXT, OTHER]
    assert await journal.message_count(campaign_id) == 2
    record = await journal.find_campaign(account=ACCOUNT)
    assert record is not None
    assert record.wording == '{"names": ["姓名"]}'


async def test_what_is_planned_is_counted_by_size_and_segments(journal: SqlJournal) -> None:
    campaign_id = await journal.begin_campaign(draft(messages=[TEXT, OTHER]))
    await journal.add_plan(campaign_id, [each._replace(message=1 + each.seq % 2) for each in batches(2, 2, 2, 3)], [])
    await journal.publish_campaign(campaign_id, totals(2, 2, 2, 3))
    assert sorted(await journal.planned_kinds(campaign_id)) == [(2, 1, 1), (2, 2, 2), (3, 1, 1)]
    assert sorted(await journal.planned_kinds(campaign_id, up_to=1)) == [(2, 2, 1)]


async def test_what_is_planned_with_one_text_is_counted_by_its_segments(journal: SqlJournal) -> None:
    campaign_id = await journal.begin_campaign(draft(messages=[OTHER]))
    assert await journal.planned_kinds(campaign_id) == []
    await journal.add_plan(campaign_id, batches(2, 2, 3), [])
    await journal.publish_campaign(campaign_id, totals(2, 2, 3))
    assert sorted(await journal.planned_kinds(campaign_id)) == [(2, 2, 2), (3, 2, 1)]
    assert sorted(await journal.planned_kinds(campaign_id, up_to=2)) == [(2, 2, 2)]
    await claimed(journal, campaign_id, limit=1)
    assert sorted(await journal.planned_kinds(campaign_id)) == [(2, 2, 1), (3, 2, 1)]
