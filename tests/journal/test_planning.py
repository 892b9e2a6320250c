"""A campaign becomes visible in one commit, whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from engine.errors import JournalError, PlanError
from engine.journal.port import PlanTotals, SourceRecord, Tally
from engine.journal.store import SqlJournal
from engine.model import BatchState, CampaignState, Excluded, Exclusion, Message, PauseReason
from tests.journal.stores import ACCOUNT, START, TEXT, Place, batches, claimed, draft, planned, totals

EVERY_TABLE = ("campaign", "source", "message", "exclusion", "batch")


async def half_planned(journal: SqlJournal, name: str = "spring") -> int:
    campaign_id = await journal.begin_campaign(draft(name))
    row = Excluded(line=9, raw="x", reason=Exclusion.EMPTY, detail="")
    await journal.add_plan(campaign_id, batches(2, 3), [row])
    return campaign_id


def left_over(place: Place) -> dict[str, int]:
    return {table: place.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"] for table in EVERY_TABLE}


async def test_a_campaign_is_invisible_until_it_is_published(place: Place, journal: SqlJournal) -> None:
    campaign_id = await half_planned(journal)
    async with place.look() as beside:
        for reader in (journal, beside):
            assert await reader.campaigns() == []
            assert await reader.find_campaign(name="spring") is None
            assert await reader.find_campaign(account=ACCOUNT, order_key="order") is None
        await journal.publish_campaign(campaign_id, totals(2, 3, excluded=1))
        for reader in (journal, beside):
            assert [record.name for record in await reader.campaigns()] == ["spring"]


async def test_nothing_can_be_claimed_from_a_campaign_that_is_not_visible(journal: SqlJournal) -> None:
    campaign_id = await half_planned(journal)
    assert await claimed(journal, campaign_id) == []
    await journal.publish_campaign(campaign_id, totals(2, 3, excluded=1))
    assert [claim.seq for claim in await claimed(journal, campaign_id)] == [1, 2]


async def test_a_published_campaign_says_what_was_planned(journal: SqlJournal) -> None:
    campaign_id = await half_planned(journal)
    counted = PlanTotals(rows=6, extra=2, recipients=5, estimated=Decimal("7.5"))
    await journal.publish_campaign(campaign_id, counted)
    await journal.set_sendable(campaign_id, 1)
    record = await journal.find_campaign(name="spring")
    assert record is not None
    assert (record.campaign_id, record.account, record.profile) == (campaign_id, ACCOUNT, "standard")
    assert (record.order_key, record.plan_hash, record.created_at) == ("order", "plan", START)
    assert (record.rows, record.extra, record.recipients, record.estimated, record.sendable) == (
        6,
        2,
        5,
        Decimal("7.5"),
        1,
    )
    assert (record.stored_state, record.reasons, record.detail) == (CampaignState.PLANNED, (), "")


async def test_messages_and_sources_come_back_in_their_order(journal: SqlJournal) -> None:
    messages = [TEXT, Message(content="第二条", units=3, segments=1), Message(content="x" * 80, units=80, segments=2)]
    sources = [
        SourceRecord(path=f"/lists/{n}.csv", sha256=str(n), size=2**40, encoding="utf-8", number_column="mobile")
        for n in range(3)
    ]
    campaign_id = await journal.begin_campaign(replace(draft(messages=messages), sources=sources))
    assert await journal.messages(campaign_id) == messages
    assert await journal.sources(campaign_id) == sources


async def test_a_campaign_without_an_input_file_is_possible(journal: SqlJournal) -> None:
    campaign_id = await journal.begin_campaign(replace(draft(), sources=[]))
    assert await journal.sources(campaign_id) == []


async def test_a_taken_name_is_refused_and_the_first_campaign_stays(place: Place, journal: SqlJournal) -> None:
    await planned(journal, 2)
    before = left_over(place)
    with pytest.raises(PlanError, match="'spring' exists already"):
        await journal.begin_campaign(draft())
    assert left_over(place) == before


async def test_the_name_of_a_campaign_that_is_being_planned_is_taken_too(journal: SqlJournal) -> None:
    await half_planned(journal)
    with pytest.raises(PlanError, match="exists already"):
        await journal.begin_campaign(draft())


async def test_a_discarded_campaign_leaves_nothing_behind(place: Place, journal: SqlJournal) -> None:
    await planned(journal, 2, name="kept")
    before = left_over(place)
    campaign_id = await half_planned(journal)
    await journal.discard_campaign(campaign_id)
    assert left_over(place) == before
    await half_planned(journal)  # and its name is free again


async def test_a_visible_campaign_cannot_be_discarded(journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 2, 3)
    await journal.discard_campaign(campaign_id)
    assert (await journal.counts(campaign_id)).states == {BatchState.PLANNED: Tally(batches=2, recipients=5)}
    assert len(await journal.messages(campaign_id)) == 1


async def test_what_a_killed_planning_left_is_discarded_at_the_next_open(place: Place) -> None:
    async with place.open() as journal:
        kept = await planned(journal, 4, name="kept")
        before = left_over(place)
        await half_planned(journal)
    async with place.open() as journal:
        assert left_over(place) == before
        assert [record.campaign_id for record in await journal.campaigns()] == [kept]


async def test_a_campaign_cannot_grow_once_it_is_visible(journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 2)
    with pytest.raises(JournalError):
        await journal.add_plan(campaign_id, [batches(3)[0]._replace(seq=2)], [])
    assert (await journal.counts(campaign_id)).states == {BatchState.PLANNED: Tally(batches=1, recipients=2)}


async def test_a_discarded_campaign_cannot_be_published(journal: SqlJournal) -> None:
    campaign_id = await half_planned(journal)
    await journal.discard_campaign(campaign_id)
    with pytest.raises(JournalError):
        await journal.publish_campaign(campaign_id, totals(2, 3))


async def test_campaigns_come_oldest_first_and_the_newest_of_an_order_is_found(journal: SqlJournal) -> None:
    for name in ("first", "second", "third"):
        await planned(journal, 1, name=name)
    assert [record.name for record in await journal.campaigns()] == ["first", "second", "third"]
    newest = await journal.find_campaign(account=ACCOUNT, order_key="order")
    assert newest is not None
    assert newest.name == "third"
    assert await journal.find_campaign(account="another", order_key="order") is None
    assert await journal.find_campaign(account=ACCOUNT, order_key="another") is None
    assert await journal.find_campaign(name="fourth") is None


async def test_state_reasons_and_the_sentence_come_back(journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 1)
    reasons = (PauseReason.BALANCE, PauseReason.DOUBTS)
    await journal.set_campaign_state(campaign_id, CampaignState.PAUSED, reasons, "余额不足")
    record = await journal.find_campaign(name="spring")
    assert record is not None
    assert (record.stored_state, record.reasons, record.detail) == (CampaignState.PAUSED, reasons, "余额不足")
    await journal.set_campaign_state(campaign_id, CampaignState.RUNNING)
    record = await journal.find_campaign(name="spring")
    assert record is not None
    assert (record.stored_state, record.reasons, record.detail) == (CampaignState.RUNNING, (), "")


async def test_finished_is_never_stored(journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 1)
    with pytest.raises(JournalError, match="impossible"):
        await journal.set_campaign_state(campaign_id, CampaignState.FINISHED)


async def test_excluded_rows_are_counted_by_reason(journal: SqlJournal) -> None:
    campaign_id = await journal.begin_campaign(draft())
    rows = [Excluded(line=n, raw="", reason=reason, detail="") for reason in Exclusion for n in range(3)]
    await journal.add_plan(campaign_id, [], rows[:10])
    await journal.add_plan(campaign_id, batches(1), rows[10:])
    await journal.publish_campaign(campaign_id, totals(1, excluded=len(rows)))
    counts = await journal.counts(campaign_id)
    assert counts.excluded == dict.fromkeys(Exclusion, 3)
    assert counts.states == {BatchState.PLANNED: Tally(batches=1, recipients=1)}
