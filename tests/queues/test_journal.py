"""What the journal keeps of queues: all of it or nothing, each message id once for each number, forever."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from engine.errors import JournalError, PlanError
from engine.journal.arrivals import Arrival, LeftOutRow
from engine.journal.store import SqlJournal
from engine.model import CampaignState, Exclusion, Message, PauseReason
from tests.journal.stores import ACCOUNT, START, SqlitePlace, planned
from tests.numbers import mobiles

QUEUE = "redis://127.0.0.1:6379/notices"
NUMBERS = mobiles(20)
TEXT = Message("您好", 2, 1)
LONG = Message("长" * 100, 100, 2)


@pytest.fixture
def place(tmp_path: Path) -> SqlitePlace:
    return SqlitePlace(tmp_path)


@pytest.fixture
async def journal(place: SqlitePlace) -> AsyncIterator[SqlJournal]:
    async with place.open() as journal:
        yield journal


def arrival(
    *rows: Sequence[tuple[str, str]],
    campaign: str = "c",
    message: Message = TEXT,
    seq: int | None = None,
    left_out: Sequence[LeftOutRow] = (),
    wants: bool = True,
) -> Arrival:
    return Arrival(
        queue=QUEUE,
        account=ACCOUNT,
        profile="standard",
        campaign=campaign,
        message=message,
        message_seq=seq,
        batches=rows,
        left_out=left_out,
        wants_outcome=wants,
        price=Decimal(1),
        at=START,
    )


def people(begin: int, end: int) -> list[tuple[str, str]]:
    return [(f"n{at}", NUMBERS[at]) for at in range(begin, end)]


async def claimed(journal: SqlJournal, *campaigns: int, limit: int = 10) -> list[tuple[int, int, str]]:
    claims = await journal.claim_queued(campaigns, limit=limit, lease_until_s=1e9)
    return [(claim.campaign_id, claim.seq, claim.message.content) for claim in claims]


async def test_a_campaign_is_made_and_grows(journal: SqlJournal, place: SqlitePlace) -> None:
    bad = LeftOutRow("n3", "123", Exclusion.INVALID, "too short")
    (first,) = await journal.add_arrivals([arrival(people(0, 2), people(2, 3), left_out=[bad])])
    (second,) = await journal.add_arrivals([arrival(people(4, 6), message=LONG)])
    assert first.campaign_id == second.campaign_id
    record = await journal.find_campaign(name="c")
    assert record is not None
    assert record.grows
    assert (record.rows, record.recipients, record.estimated) == (6, 5, Decimal(3 + 2 * 2))
    assert record.stored_state is CampaignState.RUNNING
    assert place.rows("SELECT seq, message_seq, lines FROM batch") == [
        {"seq": 1, "message_seq": 1, "lines": "1-2"},
        {"seq": 2, "message_seq": 1, "lines": "3"},
        {"seq": 3, "message_seq": 2, "lines": "5-6"},
    ]
    assert place.rows("SELECT line, raw FROM exclusion") == [{"line": 4, "raw": "123"}]
    assert await journal.queue_campaigns(QUEUE, ACCOUNT) == [first.campaign_id]


async def test_ids_are_remembered_with_their_numbers_across_openings(place: SqlitePlace) -> None:
    async with place.open() as journal:
        bad = LeftOutRow("n0", "123", Exclusion.INVALID, "too short")
        await journal.add_arrivals([arrival(people(0, 1), left_out=[bad])])
    async with place.open() as journal:
        assert await journal.known_numbers(QUEUE, ["n0", "n1"]) == {"n0": {NUMBERS[0], "123"}}
        assert await journal.known_numbers("kafka://other/notices", ["n0"]) == {}


async def test_an_id_for_the_same_number_is_refused_and_leaves_nothing(journal: SqlJournal, place: SqlitePlace) -> None:
    await journal.add_arrivals([arrival(people(0, 2))])
    with pytest.raises(JournalError, match="impossible change"):
        await journal.add_arrivals([arrival(people(5, 6), campaign="d"), arrival(people(1, 2), campaign="d")])
    assert place.rows("SELECT count(*) AS n FROM batch") == [{"n": 1}]
    assert await journal.find_campaign(name="d") is None
    await journal.add_arrivals([arrival([("n0", NUMBERS[9])])])  # another number under it is new


async def test_a_campaign_of_somebody_else_is_not_added_to(journal: SqlJournal) -> None:
    await planned(journal, 1)
    with pytest.raises(PlanError, match="'spring' is a list's"):
        await journal.add_arrivals([arrival(people(0, 1), campaign="spring")])
    await journal.add_arrivals([arrival(people(0, 1))])
    for other in (replace(arrival(people(1, 2)), queue="amqp://x/y"), replace(arrival(people(1, 2)), account="z")):
        with pytest.raises(PlanError, match="another queue or account"):
            await journal.add_arrivals([other])
    record = await journal.find_campaign(name="c")
    assert record is not None
    await journal.cancel_campaign(record.campaign_id)
    with pytest.raises(PlanError, match="cancelled"):
        await journal.add_arrivals([arrival(people(1, 2))])


async def test_batches_of_several_campaigns_are_claimed_in_the_order_they_came(journal: SqlJournal) -> None:
    (one,) = await journal.add_arrivals([arrival(people(0, 1))])
    (other,) = await journal.add_arrivals([arrival(people(1, 2), campaign="d", message=LONG)])
    await journal.add_arrivals([arrival(people(2, 3), seq=one.message_seq)])
    mine, others = one.campaign_id, other.campaign_id
    assert await claimed(journal, mine, others, limit=2) == [(mine, 1, "您好"), (others, 1, LONG.content)]
    assert await claimed(journal, others) == []
    assert await claimed(journal, mine, others) == [(mine, 2, "您好")]


async def test_what_is_paused_or_cancelled_is_not_claimed(journal: SqlJournal) -> None:
    (one,) = await journal.add_arrivals([arrival(people(0, 1))])
    await journal.set_campaign_state(one.campaign_id, CampaignState.PAUSED, (PauseReason.OPERATOR,))
    assert await claimed(journal, one.campaign_id) == []
    assert await journal.waiting(QUEUE, ACCOUNT) == 0
    await journal.set_campaign_state(one.campaign_id, CampaignState.RUNNING)
    assert len(await claimed(journal, one.campaign_id)) == 1
    assert await journal.waiting(QUEUE, ACCOUNT) == 1
    await journal.cancel_campaign(one.campaign_id)
    assert await journal.waiting(QUEUE, ACCOUNT) == 0


async def test_what_waits_for_another_account_does_not_wait_for_this_one(journal: SqlJournal) -> None:
    """Nobody here sends it: a consumer that waited for it would never end."""
    await journal.add_arrivals([replace(arrival(people(0, 1)), account="other")])
    assert await journal.waiting(QUEUE, ACCOUNT) == 0
    assert await journal.waiting(QUEUE, "other") == 1


async def test_a_list_is_never_claimed_as_a_queue(journal: SqlJournal) -> None:
    campaign = await planned(journal, 1)
    assert await claimed(journal, campaign) == []


async def test_what_came_to_nothing_yet_or_nobody_wants_to_know_is_not_told(journal: SqlJournal) -> None:
    (one,) = await journal.add_arrivals([arrival(people(0, 2))])
    await journal.add_arrivals([arrival(people(2, 3), wants=False)])
    assert await journal.untold_batches(QUEUE) == []
    await journal.cancel_campaign(one.campaign_id)
    (batch,) = await journal.untold_batches(QUEUE)
    outcomes = await journal.notice_outcomes([batch])
    assert [(each.notice_id, each.number, each.state, each.campaign) for each in outcomes] == [
        ("n0", NUMBERS[0], "cancelled", "c"),
        ("n1", NUMBERS[1], "cancelled", "c"),
    ]
    await journal.note_told(outcomes[:1])
    assert [each.notice_id for each in await journal.notice_outcomes([batch])] == ["n1"]
    await journal.note_told(outcomes)
    assert (await journal.untold_batches(QUEUE), await journal.notice_outcomes([batch])) == ([], [])


async def test_a_number_is_traced_to_its_queue_and_message(journal: SqlJournal) -> None:
    bad = LeftOutRow("n3", "123", Exclusion.INVALID, "too short")
    await journal.add_arrivals([arrival(people(0, 3), left_out=[bad])])
    (trace,) = await journal.traces(NUMBERS[1], [NUMBERS[1]])
    assert (trace.file, trace.notice, trace.batch, trace.state) == (QUEUE, "n1", 1, "planned")
    (trace,) = await journal.traces("", ["123"])
    assert (trace.file, trace.notice, trace.state) == (QUEUE, "n3", "excluded")
