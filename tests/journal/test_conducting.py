"""What the operator decided stays with the campaign; what expires ends; what others need is counted."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from engine.journal.port import Conduct
from engine.journal.store import SqlJournal
from engine.model import BatchState
from tests.journal.stores import (
    ACCOUNT,
    DOUBT,
    START,
    Place,
    accepted,
    claimed,
    draft,
    ended,
    intended,
    planned,
    states,
    taken,
)

DECIDED = Conduct(
    not_before=START,
    windows=("Mon-Fri 08:30-12:00,13:30-20:00", "周六 10:00-16:00"),
    zone="Asia/Shanghai",
    expires_at=START + timedelta(days=2),
    scheduled_for=START + timedelta(days=1),
    keep_points=Decimal("12.5"),
    canary=200,
    canary_delivered=0.8,
    canary_wait_s=90.0,
    requests_per_second=0.5,
    numbers_per_second=0.0,
    in_flight=3,
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


async def test_another_number_of_those_who_go_first_is_another_canary(journal: SqlJournal) -> None:
    """In one commit: whoever is killed after it must not send the rest without a canary."""
    campaign_id = await planned(journal, 1)
    await journal.set_conduct(campaign_id, DECIDED)
    await journal.set_canary(campaign_id, 3, passed=True)
    stands = []
    for conduct in (replace(DECIDED, keep_points=None), replace(DECIDED, canary=300)):
        await journal.set_conduct(campaign_id, conduct)
        record = await journal.find_campaign(name="spring")
        assert record is not None
        assert record.conduct == conduct
        stands.append((record.canary_seq, record.canary_passed))
    assert stands == [(3, True), (None, False)]


async def test_what_is_sent_later_is_waited_for_and_kept_from_its_time_on(journal: SqlJournal) -> None:
    at, day = START + timedelta(days=10), timedelta(days=1)
    campaign_id = await planned(journal, 3, 4)
    later, now = await claimed(journal, campaign_id)
    await ended(journal, await intended(journal, later, scheduled_for=at), taken(3, counts=2), BatchState.ACCEPTED)
    await ended(journal, await intended(journal, now), taken(4, "2", counts=3), BatchState.ACCEPTED)
    seen = []
    for before in (START, START + day, at + day):
        delivery = await journal.delivery(campaign_id, overdue_before=before)
        short = await journal.shortfall(campaign_id, overdue_before=before)
        seen.append((delivery.overdue, [each.unreported is not None for each in short]))
    assert seen == [(0, [False, False]), (4, [False, True]), (7, [True, True])]
    over, _ = await journal.campaigns_before(at - day)
    assert over == []  # nobody forgets whom the gateway is still to send to
    (gone,), _ = await journal.campaigns_before(at + day)
    assert (gone.name, gone.at) == ("spring", at)


async def test_settlement_is_told_what_carried_a_time_and_when_it_falls_due(journal: SqlJournal) -> None:
    at, hour = START + timedelta(hours=3), timedelta(hours=1)
    campaign_id = await planned(journal, 3, 4, 5)
    lost, later, now = await claimed(journal, campaign_id)
    await ended(journal, await intended(journal, lost, scheduled_for=at), DOUBT, BatchState.IN_DOUBT)
    await accepted(journal, await intended(journal, later, scheduled_for=at))
    await accepted(journal, await intended(journal, now))
    stretch = await journal.account_stretch(ACCOUNT, since=START, patience=hour)
    assert {row.seq: row.scheduled for row in stretch.attempts} == {1: True, 2: True, 3: False}
    assert stretch.due == [at]
    assert (await journal.account_stretch(ACCOUNT, since=at + hour, patience=hour)).due == [at]  # it takes its time
    assert (await journal.account_stretch(ACCOUNT, since=at + 3 * hour, patience=hour)).due == []
    assert [drop.charge for drop in await journal.last_drops(ACCOUNT, limit=9, scheduled=True)] == [4]
    assert {drop.charge for drop in await journal.last_drops(ACCOUNT, limit=9)} == {4, 5}
    assert await journal.last_drops("another account", limit=9, scheduled=True) == []


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
