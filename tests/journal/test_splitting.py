"""A batch that was not handed over becomes smaller ones: the same recipients, in one transaction, or nothing at all."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.errors import ClaimLost
from engine.journal.store import SqlJournal
from engine.ledger.audit import Law, audit
from engine.ledger.evidence import Policy
from engine.ledger.points import Points
from engine.ledger.reckoning import reckon
from engine.ledger.summary import summarise
from engine.lines import unpack_lines
from engine.model import BatchState
from tests.journal.stores import (
    NOT_SENT,
    Place,
    SqlitePlace,
    accepted,
    claimed,
    ended,
    intended,
    planned,
    states,
)


def members(place: Place, *, live: bool = True) -> list[tuple[str, int]]:
    """Every (mobile, line) of the batches, in the order of seq."""
    where = "state != 'split'" if live else "state = 'split'"
    rows = place.rows(f"SELECT mobiles, lines FROM batch WHERE {where} ORDER BY seq")
    return [pair for row in rows for pair in zip(row["mobiles"].split(","), unpack_lines(row["lines"]), strict=True)]


async def test_the_parts_hold_the_same_recipients_in_their_order_and_are_claimed_alike(
    place: Place, journal: SqlJournal
) -> None:
    campaign_id = await planned(journal, 10, 7)
    before = members(place)
    first, second = await claimed(journal, campaign_id)
    parts = await journal.split_batch(first, (4, 1, 5))
    assert [(part.seq, part.size, part.attempts) for part in parts] == [(3, 4, 0), (4, 1, 0), (5, 5, 0)]
    assert ",".join(part.mobiles for part in parts) == first.mobiles
    assert states(place) == {1: "split", 2: "claimed", 3: "claimed", 4: "claimed", 5: "claimed"}
    assert members(place) == before[10:] + before[:10]
    assert members(place, live=False) == before[:10]
    for part in [second, *parts]:
        await accepted(journal, await intended(journal, part))
    assert set(states(place).values()) == {"split", "accepted"}


async def test_each_part_may_be_given_back_and_claimed_again(place: Place, journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 10)
    (whole,) = await claimed(journal, campaign_id)
    parts = await journal.split_batch(whole, (6, 4))
    await journal.release(parts)
    again = await claimed(journal, campaign_id)
    assert [(claim.seq, claim.size) for claim in again] == [(2, 6), (3, 4)]


async def test_only_the_holder_of_a_claim_may_split_it_and_only_before_the_intent(
    place: Place, journal: SqlJournal
) -> None:
    campaign_id = await planned(journal, 10, 10, 10)
    one, two, three = await claimed(journal, campaign_id)
    await journal.release([one])
    await intended(journal, two)
    await journal.split_batch(three, (5, 5))
    for claim in (one, two, three):
        with pytest.raises(ClaimLost):
            await journal.split_batch(claim, (6, 4))
    assert states(place) == {1: "planned", 2: "submitting", 3: "split", 4: "claimed", 5: "claimed"}


async def test_after_a_restart_the_parts_are_planned_and_the_whole_is_not(place: SqlitePlace) -> None:
    async with place.open() as journal:
        (whole,) = await claimed(journal, await planned(journal, 10))
        await journal.split_batch(whole, (6, 4))
    async with place.open() as journal:
        assert states(place) == {1: "split", 2: "planned", 3: "planned"}
        assert await journal.planned_sizes(1) == [(2, 6, 1), (3, 4, 1)]


async def test_what_was_not_released_stays_behind(place: Place, journal: SqlJournal) -> None:
    """Parts stand behind the last batch; a limit that lets the whole go does not let others go in their place."""
    campaign_id = await planned(journal, 10, 10, sendable=1)
    (whole,) = await claimed(journal, campaign_id)
    parts = await journal.split_batch(whole, (6, 4))
    assert await claimed(journal, campaign_id) == []
    for part in parts:
        await accepted(journal, await intended(journal, part))
    await journal.set_sendable(campaign_id, None)
    assert [claim.seq for claim in await claimed(journal, campaign_id)] == [2]


async def test_parts_of_what_was_released_may_go_as_often_as_they_come_back(place: Place, journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 10, 10)
    before = await journal.last_seq(campaign_id)
    await journal.set_sendable(campaign_id, 1, split_after=before)
    (whole,) = await claimed(journal, campaign_id)
    await journal.release(await journal.split_batch(whole, (6, 4)))
    assert await journal.planned_kinds(campaign_id, up_to=1) == []
    kinds = await journal.planned_kinds(campaign_id, up_to=1, split_after=before)
    assert sorted(kind.size for kind in kinds) == [4, 6]
    again = await claimed(journal, campaign_id)
    assert [claim.seq for claim in again] == [3, 4]
    await journal.release(again)
    await journal.set_sendable(
        campaign_id, 2, split_after=await journal.last_seq(campaign_id)
    )  # the next run counts them last
    assert [claim.seq for claim in await claimed(journal, campaign_id)] == [2]


async def test_the_figures_and_the_laws_count_everybody_once(place: Place, journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 10, 7)
    one, two = await claimed(journal, campaign_id)
    left_out = one.mobiles.split(",")[0]
    submitted = await intended(journal, one, omit=[left_out])
    await ended(journal, submitted, NOT_SENT, BatchState.PLANNED)
    (again,) = await claimed(journal, campaign_id)
    parts = await journal.split_batch(again, (6, 4))
    await accepted(journal, await intended(journal, parts[0], omit=[left_out]))
    await accepted(journal, await intended(journal, parts[1]))
    await accepted(journal, await intended(journal, two))
    async with place.look() as reader:
        (record,) = await reader.campaigns()
        counts = await reader.counts(campaign_id)
        view = await reader.audit_view(campaign_id)
        traces = [await reader.traces(mobile, []) for mobile in (left_out, one.mobiles.split(",")[9])]
    nothing = Points(opening=None, remaining=None, unexplained=None, topped_up=Decimal(0), intervals=())
    summary = summarise(record, counts, nothing, is_running=False)
    assert summary.adds_up
    assert (summary.batches["split"], summary.batches["accepted"]) == (1, 3)
    assert summary.recipients["accepted"] == 16
    policy = Policy(min_age_s=1, balance_settle_s=1, exclusive=True)
    findings = audit(view, reckon(view.readings, view.spendings, price=Decimal(1), policy=policy))
    assert [finding.law for finding in findings if not finding.holds] == []
    once = next(finding for finding in findings if finding.law is Law.ONCE)
    assert once.detail.startswith("17 recipients")
    for found, part in zip(traces, (3, 4), strict=True):
        (trace,) = found
        assert (trace.batch, [attempt.seq for attempt in trace.attempts]) == (part, [1, part])
