"""What the operator decided stays with the campaign; what expires ends; what others need is counted."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from engine.journal.port import Conduct
from engine.journal.store import SqlJournal
from tests.journal.stores import ACCOUNT, START, Place, accepted, claimed, draft, intended, planned, states

DECIDED = Conduct(
    not_before=START,
    windows=("Mon-Fri 08:30-12:00,13:30-20:00", "周六 10:00-16:00"),
    zone="Asia/Shanghai",
    expires_at=START + timedelta(days=2),
    keep_points=Decimal("12.5"),
    canary=200,
    canary_delivered=0.8,
    canary_wait_s=90.0,
)


async def test_what_was_decided_is_read_again_by_the_next_owner(place: Place) -> None:
    async with place.open() as journal:
        campaign_id = await planned(journal, 1)
        before = await journal.find_campaign(name="spring")
        assert before is not None
        assert before.conduct == Conduct()
        await journal.set_conduct(campaign_id, DECIDED)
        await journal.set_canary(campaign_id, 3, passed=True)
    async with place.open() as journal:
        record = await journal.find_campaign(name="spring")
        assert record is not None
        assert (record.conduct, record.canary_seq, record.canary_passed) == (DECIDED, 3, True)


async def test_only_what_is_planned_expires(place: Place, journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 3, 4, 5)
    first, _ = await claimed(journal, campaign_id, 2)
    await accepted(journal, await intended(journal, first))
    assert await journal.expire_campaign(campaign_id) == 5
    assert states(place) == {1: "accepted", 2: "claimed", 3: "expired"}
    assert await journal.expire_campaign(campaign_id) == 0


async def test_what_a_campaign_still_needs_is_what_is_planned_in_it(journal: SqlJournal) -> None:
    await planned(journal, 3, 4, name="spring")
    done = await planned(journal, 5, name="autumn")
    await journal.cancel_campaign(done)
    await journal.begin_campaign(draft("unseen"))
    assert [(each.name, each.segments) for each in await journal.unsent(ACCOUNT)] == [("spring", 7)]
    assert await journal.unsent("another account") == []
