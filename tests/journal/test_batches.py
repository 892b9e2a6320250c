"""What may happen to a batch: claim, release, intent, outcome, and what the next owner finds."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from engine.errors import ClaimLost, JournalError
from engine.journal.port import Tally
from engine.journal.store import SqlJournal
from engine.journal.writes import ENDED_BEFORE_ANSWER
from engine.model import BatchState, CampaignState, Claim, Message, Outcome, OutcomeKind, PauseReason
from tests.journal.stores import (
    ACCOUNT,
    DOUBT,
    LEASE_UNTIL_S,
    NOT_SENT,
    REFUSED,
    START,
    TEXT,
    THROTTLED,
    Place,
    accepted,
    batches,
    claimed,
    draft,
    ended,
    intended,
    outcomes,
    planned,
    states,
    taken,
    totals,
)
from tests.numbers import mobiles

# ── claim and release ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_batches_are_claimed_in_their_order_and_no_more_than_asked(journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 3, 1, 2, 5, 4)
    assert [claim.seq for claim in await claimed(journal, campaign_id, 2)] == [1, 2]
    assert [claim.seq for claim in await claimed(journal, campaign_id, 2)] == [3, 4]
    assert [claim.seq for claim in await claimed(journal, campaign_id, 2)] == [5]
    assert await claimed(journal, campaign_id, 2) == []


OTHER = Message(content="第二条", units=3, segments=1)


async def test_a_claim_carries_everything_a_worker_needs(journal: SqlJournal) -> None:
    campaign_id = await journal.begin_campaign(draft(messages=[TEXT, OTHER]))
    (batch,) = batches(3, message=2)
    await journal.add_plan(campaign_id, [batch], [])
    await journal.publish_campaign(campaign_id, totals(3))
    (claim,) = await claimed(journal, campaign_id)
    assert claim == Claim(
        batch_id=claim.batch_id,
        campaign_id=campaign_id,
        seq=1,
        message=OTHER,
        size=3,
        mobiles=",".join(mobiles(3)),
        attempts=0,
        owner=journal.owner,
        epoch=journal.epoch,
        lease_until_s=LEASE_UNTIL_S,
    )


async def test_only_the_released_part_of_a_campaign_is_claimed(journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 1, 1, 1, 1, sendable=2)
    assert [claim.seq for claim in await claimed(journal, campaign_id)] == [1, 2]
    assert await claimed(journal, campaign_id) == []
    await journal.set_sendable(campaign_id, 3)
    assert [claim.seq for claim in await claimed(journal, campaign_id)] == [3]
    await journal.set_sendable(campaign_id, None)
    assert [claim.seq for claim in await claimed(journal, campaign_id)] == [4]


async def test_nothing_is_claimed_from_a_cancelled_campaign(journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 1)
    await journal.set_campaign_state(campaign_id, CampaignState.CANCELLED)
    assert await claimed(journal, campaign_id) == []
    await journal.set_campaign_state(campaign_id, CampaignState.RUNNING)  # the run it belonged to ends, and says so
    assert await claimed(journal, campaign_id) == []


async def test_what_was_claimed_of_a_cancelled_campaign_when_its_owner_was_killed_is_cancelled(place: Place) -> None:
    async with place.open() as journal:
        campaign_id, other = await planned(journal, 1, 1, 1), await planned(journal, 1, name="other")
        first, second, _ = await claimed(journal, campaign_id)
        await claimed(journal, other)
        await intended(journal, first)
        await journal.cancel_campaign(campaign_id)
        await journal.release([second])  # and nobody cancelled what came back
    async with place.open() as journal:
        counts = await journal.counts(campaign_id)
        assert {state: tally.batches for state, tally in counts.states.items()} == {
            BatchState.IN_DOUBT: 1,
            BatchState.CANCELLED: 2,
        }
        assert len(await claimed(journal, other)) == 1


async def test_what_a_killed_owner_was_sending_is_not_running_for_the_next(place: Place) -> None:
    """That one may read reports for hours."""
    orders = {
        "spring": (CampaignState.RUNNING, ()),
        "summer": (CampaignState.PAUSED, (PauseReason.OPERATOR,)),
        "autumn": (CampaignState.PLANNED, ()),
        "winter": (CampaignState.CANCELLED, ()),
    }
    async with place.open() as journal:
        for name, (state, reasons) in orders.items():
            await journal.set_campaign_state(await planned(journal, 1, name=name), state, reasons)
    async with place.open() as journal:
        found = {record.name: (record.stored_state, record.reasons) for record in await journal.campaigns()}
    assert found == orders | {"spring": (CampaignState.PAUSED, (PauseReason.STOPPED,))}


async def test_a_campaign_is_claimed_without_its_neighbour(journal: SqlJournal) -> None:
    first, second = await planned(journal, 1, 1, name="first"), await planned(journal, 2, name="second")
    assert {claim.campaign_id for claim in await claimed(journal, second)} == {second}
    assert len(await claimed(journal, first)) == 2


async def test_claims_given_out_at_the_same_time_never_overlap(journal: SqlJournal) -> None:
    campaign_id = await planned(journal, *[1] * 40)
    given = await asyncio.gather(*(claimed(journal, campaign_id, 3) for _ in range(20)))
    seqs = [claim.seq for claims in given for claim in claims]
    assert sorted(seqs) == list(range(1, 41))


async def test_what_is_released_is_claimed_again_first(journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 1, 1, 1)
    first, _, _ = await claimed(journal, campaign_id)
    await journal.release([first])
    (again,) = await claimed(journal, campaign_id)
    assert again == first


async def test_a_lost_claim_is_released_by_nobody(place: Place) -> None:
    async with place.open() as journal:
        campaign_id = await planned(journal, 1)
        (old,) = await claimed(journal, campaign_id)
    async with place.open() as journal:
        (new,) = await claimed(journal, campaign_id)
        await journal.release([old, replace(new, owner="somebody"), replace(new, epoch=new.epoch + 1)])
        assert states(place) == {1: "claimed"}
        await journal.release([new])
        assert states(place) == {1: "planned"}


async def test_an_older_claim_ends_nothing_of_what_the_same_owner_claimed_after_an_attempt(
    place: Place, journal: SqlJournal
) -> None:
    """Two workers would hold the batch then: only one may send it, and the other one fails."""
    (old,) = await claimed(journal, await planned(journal, 1))
    await ended(journal, await intended(journal, old), NOT_SENT, BatchState.PLANNED)
    (new,) = await claimed(journal, old.campaign_id)
    await journal.release([old])
    with pytest.raises(ClaimLost):
        await journal.cancel_emptied(old)
    assert states(place) == {1: "claimed"}
    await journal.release([new])
    assert states(place) == {1: "planned"}


@pytest.mark.parametrize("stored", [False, True], ids=["before its intent", "with its intent"])
async def test_what_is_withdrawn_is_planned_again_and_its_attempt_was_not_sent(
    place: Place, journal: SqlJournal, stored: bool
) -> None:
    (claim,) = await claimed(journal, await planned(journal, 2))
    if stored:
        await intended(journal, claim, omit=[claim.mobiles.split(",")[0]])
    await journal.withdraw(claim, at=START, reason="stopped")
    assert states(place) == {1: "planned"}
    assert outcomes(place) == ([(1, 1, "not_sent")] if stored else [])
    (again,) = await claimed(journal, claim.campaign_id)
    assert again.attempts == int(stored)
    await accepted(journal, await intended(journal, again))
    assert states(place) == {1: "accepted"}


async def test_nothing_is_withdrawn_of_what_is_another_claim_s_or_came_to_an_outcome(place: Place) -> None:
    async with place.open() as journal:
        campaign_id = await planned(journal, 1, 1)
        old, doubtful = await claimed(journal, campaign_id)
        await ended(journal, await intended(journal, doubtful), DOUBT, BatchState.IN_DOUBT)
    async with place.open() as journal:
        (new,) = await claimed(journal, campaign_id)
        await intended(journal, new)
        mine = replace(new, epoch=new.epoch + 1), replace(new, owner="somebody"), replace(new, attempts=1)
        for claim in (old, doubtful, *mine):
            await journal.withdraw(claim, at=START, reason="stopped")
        assert states(place) == {1: "submitting", 2: "in_doubt"}
        assert outcomes(place) == [(1, 1, None), (2, 1, "in_doubt")]


async def test_releasing_does_not_touch_a_batch_that_went_on(place: Place, journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 1, 1)
    one, two = await claimed(journal, campaign_id)
    submitted = await intended(journal, one)
    await journal.release([one, two])
    assert states(place) == {1: "submitting", 2: "planned"}
    await accepted(journal, submitted)
    await journal.release([one])
    assert states(place) == {1: "accepted", 2: "planned"}


# ── intent ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_intent_is_on_the_disk_when_the_verb_returns(place: Place, journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 3)
    (claim,) = await claimed(journal, campaign_id)
    submitted = await intended(journal, claim)
    assert (submitted.number, submitted.size, submitted.mobiles) == (1, 3, claim.mobiles)
    assert (submitted.claim, submitted.started_at) == (claim, START)
    assert states(place) == {1: "submitting"}
    (row,) = place.rows("SELECT account, campaign_id, number, epoch, size, omitted, outcome, finished_at FROM attempt")
    assert row == {
        "account": ACCOUNT,
        "campaign_id": campaign_id,
        "number": 1,
        "epoch": journal.epoch,
        "size": 3,
        "omitted": "",
        "outcome": None,
        "finished_at": None,
    }


async def test_an_intent_stores_exactly_the_numbers_it_carries(place: Place, journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 4)
    (claim,) = await claimed(journal, campaign_id)
    numbers = claim.mobiles.split(",")
    submitted = await intended(journal, claim, omit=[numbers[2], numbers[0]])
    assert (submitted.mobiles, submitted.size) == (f"{numbers[1]},{numbers[3]}", 2)
    (row,) = place.rows("SELECT size, omitted FROM attempt")
    assert row == {"size": 2, "omitted": f"{numbers[2]},{numbers[0]}"}


async def test_an_intent_without_a_number_is_impossible(place: Place, journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 2)
    (claim,) = await claimed(journal, campaign_id)
    with pytest.raises(JournalError, match="impossible"):
        await intended(journal, claim, omit=claim.mobiles.split(","))
    assert states(place) == {1: "claimed"}


OTHERS = [
    pytest.param({"owner": "somebody else"}, id="owner"),
    pytest.param({"epoch": 7}, id="epoch"),
    pytest.param({"attempts": 1}, id="attempts"),
    pytest.param({"batch_id": 99}, id="batch"),
]


@pytest.mark.parametrize("change", OTHERS)
async def test_a_claim_that_is_not_the_batch_s_makes_no_intent(
    place: Place, journal: SqlJournal, change: dict[str, int | str]
) -> None:
    campaign_id = await planned(journal, 1)
    (claim,) = await claimed(journal, campaign_id)
    with pytest.raises(ClaimLost):
        await intended(journal, replace(claim, **change))
    assert states(place) == {1: "claimed"}
    assert outcomes(place) == []
    await intended(journal, claim)


async def test_no_batch_is_intended_unless_it_is_claimed(place: Place, journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 1, 1, 1, 1)
    released, sent, doubted, done = await claimed(journal, campaign_id)
    await journal.release([released])
    await intended(journal, sent)
    await ended(journal, await intended(journal, doubted), DOUBT, BatchState.IN_DOUBT)
    await accepted(journal, await intended(journal, done))
    before = states(place)
    for claim in (released, sent, doubted, done):
        for attempts in (0, 1):
            with pytest.raises(ClaimLost):
                await intended(journal, replace(claim, attempts=attempts))
    assert states(place) == before == {1: "planned", 2: "submitting", 3: "in_doubt", 4: "accepted"}
    assert len(outcomes(place)) == 3


async def test_a_claim_of_an_earlier_owner_makes_no_intent(place: Place) -> None:
    async with place.open() as journal:
        campaign_id = await planned(journal, 1)
        (old,) = await claimed(journal, campaign_id)
    async with place.open() as journal:
        with pytest.raises(ClaimLost):
            await intended(journal, old)
        (new,) = await claimed(journal, campaign_id)
        with pytest.raises(ClaimLost):
            await intended(journal, old)
        await intended(journal, new)
    assert outcomes(place) == [(1, 1, None)]


async def test_one_lost_claim_does_not_disturb_the_others_of_its_group(place: Place, journal: SqlJournal) -> None:
    campaign_id = await planned(journal, *[1] * 8)
    claims = await claimed(journal, campaign_id)
    claims[3] = replace(claims[3], epoch=99)
    results = await asyncio.gather(*(intended(journal, claim) for claim in claims), return_exceptions=True)
    assert [isinstance(result, ClaimLost) for result in results] == [seq == 4 for seq in range(1, 9)]
    assert states(place) == {seq: "claimed" if seq == 4 else "submitting" for seq in range(1, 9)}
    assert outcomes(place) == [(seq, 1, None) for seq in range(1, 9) if seq != 4]


async def test_one_claim_used_twice_at_once_is_intended_once(place: Place, journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 1)
    (claim,) = await claimed(journal, campaign_id)
    results = await asyncio.gather(*(intended(journal, claim) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(result, ClaimLost) for result in results) == 4
    assert outcomes(place) == [(1, 1, None)]


# ── outcome ──────────────────────────────────────────────────────────────────────────────────────────────────────────

ENDS = [
    pytest.param(taken(3), BatchState.ACCEPTED, None, id="accepted"),
    pytest.param(REFUSED, BatchState.REFUSED, REFUSED.reason, id="refused"),
    pytest.param(DOUBT, BatchState.IN_DOUBT, DOUBT.reason, id="in doubt"),
    pytest.param(NOT_SENT, BatchState.PLANNED, None, id="planned again"),
    pytest.param(THROTTLED, BatchState.CLAIMED, None, id="still claimed"),
]


@pytest.mark.parametrize(("outcome", "then", "reason"), ENDS)
async def test_an_outcome_moves_the_batch_and_ends_the_attempt(
    place: Place, journal: SqlJournal, outcome: Outcome, then: BatchState, reason: str | None
) -> None:
    campaign_id = await planned(journal, 3)
    (claim,) = await claimed(journal, campaign_id)
    charge = Decimal(3) if then is BatchState.ACCEPTED else None
    await ended(journal, await intended(journal, claim), outcome, then, charge=charge)
    held = then is BatchState.CLAIMED
    (batch,) = place.rows("SELECT state, attempts, reason, owner, epoch, lease_until_s FROM batch")
    assert batch == {
        "state": then.value,
        "attempts": 1,
        "reason": reason,
        "owner": claim.owner if held else None,
        "epoch": claim.epoch if held else None,
        "lease_until_s": LEASE_UNTIL_S if held else None,
    }
    (attempt,) = place.rows("SELECT * FROM attempt")
    assert attempt["outcome"] == outcome.kind.value
    assert attempt["finished_at"] > attempt["started_at"]
    assert (attempt["task_id"], attempt["success_counts"]) == (outcome.task_id, outcome.success_counts)
    assert attempt["refusal"] == (outcome.refusal and outcome.refusal.value)
    assert attempt["http_status"] == outcome.http_status
    assert len(place.rows("SELECT 1 FROM entry")) == (1 if charge else 0)


async def test_a_plain_acceptance_is_kept_without_its_text_and_everything_else_with_it(
    place: Place, journal: SqlJournal
) -> None:
    campaign_id = await planned(journal, 1, 1)
    one, two = await claimed(journal, campaign_id)
    await ended(journal, await intended(journal, one), taken(1), BatchState.ACCEPTED)
    await ended(journal, await intended(journal, two), REFUSED, BatchState.REFUSED)
    assert [row["raw"] for row in place.rows("SELECT raw FROM attempt ORDER BY batch_id")] == [None, REFUSED.raw]


async def test_attempts_of_one_batch_are_numbered_on(place: Place, journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 1)
    (claim,) = await claimed(journal, campaign_id)
    await ended(journal, await intended(journal, claim), NOT_SENT, BatchState.CLAIMED)
    await ended(journal, await intended(journal, replace(claim, attempts=1)), NOT_SENT, BatchState.PLANNED)
    (again,) = await claimed(journal, campaign_id)
    assert again.attempts == 2
    submitted = await intended(journal, again)
    assert submitted.number == 3
    await accepted(journal, submitted)
    assert outcomes(place) == [(1, 1, "not_sent"), (1, 2, "not_sent"), (1, 3, "accepted")]


async def test_a_charge_is_entered_exactly_once(place: Place, journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 3)
    (claim,) = await claimed(journal, campaign_id)
    submitted = await intended(journal, claim)
    tries = (ended(journal, submitted, taken(3), BatchState.ACCEPTED, charge=Decimal(3)) for _ in range(3))
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(result, ClaimLost) for result in results) == 2
    with pytest.raises(ClaimLost):
        await accepted(journal, submitted)
    assert (await journal.counts(campaign_id)).charged == Decimal(3)
    assert len(place.rows("SELECT 1 FROM entry")) == 1


async def test_the_database_itself_refuses_a_second_charge(place: Place, journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 3)
    (claim,) = await claimed(journal, campaign_id)
    await accepted(journal, await intended(journal, claim))
    columns = "account, at, kind, campaign_id, batch_id, attempt_number, points"
    with pytest.raises(Exception, match="UNIQUE"):
        place.alter(f"INSERT INTO entry ({columns}) SELECT {columns} FROM entry")


async def test_a_late_answer_ends_a_doubt(place: Place, journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 3)
    (claim,) = await claimed(journal, campaign_id)
    submitted = await intended(journal, claim)
    await ended(journal, submitted, DOUBT, BatchState.IN_DOUBT)
    await accepted(journal, submitted)
    counts = await journal.counts(campaign_id)
    assert counts.states == {BatchState.ACCEPTED: Tally(batches=1, recipients=3)}
    assert (counts.charged, counts.reasons) == (Decimal(3), {})
    assert outcomes(place) == [(1, 1, "accepted")]


@pytest.mark.parametrize("then", [BatchState.ACCEPTED, BatchState.REFUSED, BatchState.PLANNED, BatchState.CLAIMED])
async def test_an_outcome_is_final_unless_it_was_a_doubt(place: Place, journal: SqlJournal, then: BatchState) -> None:
    first = {BatchState.ACCEPTED: taken(1), BatchState.REFUSED: REFUSED}.get(then, NOT_SENT)
    campaign_id = await planned(journal, 1)
    (claim,) = await claimed(journal, campaign_id)
    submitted = await intended(journal, claim)
    await ended(journal, submitted, first, then)
    for outcome, end in ((taken(1), BatchState.ACCEPTED), (DOUBT, BatchState.IN_DOUBT)):
        with pytest.raises(ClaimLost):
            await ended(journal, submitted, outcome, end, charge=Decimal(1) if end is BatchState.ACCEPTED else None)
    assert states(place) == {1: then.value}
    assert outcomes(place) == [(1, 1, first.kind.value)]
    assert place.rows("SELECT 1 FROM entry") == []


async def test_the_outcome_of_an_earlier_attempt_does_not_move_the_batch(place: Place, journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 1)
    (claim,) = await claimed(journal, campaign_id)
    first = await intended(journal, claim)
    await ended(journal, first, NOT_SENT, BatchState.CLAIMED)
    await intended(journal, replace(claim, attempts=1))
    with pytest.raises(ClaimLost):
        await accepted(journal, first)
    assert states(place) == {1: "submitting"}
    assert outcomes(place) == [(1, 1, "not_sent"), (1, 2, None)]


async def test_an_answer_that_comes_after_the_batch_left_again_does_not_move_it(
    place: Place, journal: SqlJournal
) -> None:
    campaign_id = await planned(journal, 1)
    (claim,) = await claimed(journal, campaign_id)
    first = await intended(journal, claim)
    await ended(journal, first, DOUBT, BatchState.IN_DOUBT)
    place.alter("UPDATE batch SET state = 'planned'")  # somebody had evidence that it was not taken
    (again,) = await claimed(journal, campaign_id)
    await intended(journal, again)
    with pytest.raises(ClaimLost):
        await accepted(journal, first)
    assert states(place) == {1: "submitting"}
    assert outcomes(place) == [(1, 1, "in_doubt"), (1, 2, None)]


async def test_one_impossible_outcome_does_not_disturb_the_others_of_its_group(
    place: Place, journal: SqlJournal
) -> None:
    campaign_id = await planned(journal, *[1] * 6)
    submitted = [await intended(journal, claim) for claim in await claimed(journal, campaign_id)]
    nameless = Outcome(kind=OutcomeKind.ACCEPTED, success_counts=1)  # no task id: nobody could ever settle it
    given = [nameless if s.claim.seq == 2 else taken(1) for s in submitted]
    results = await asyncio.gather(
        *(ended(journal, s, o, BatchState.ACCEPTED, charge=Decimal(1)) for s, o in zip(submitted, given, strict=True)),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), JournalError, *[type(None)] * 4]
    assert states(place) == {seq: "submitting" if seq == 2 else "accepted" for seq in range(1, 7)}
    assert (await journal.counts(campaign_id)).charged == Decimal(5)


IMPOSSIBLE = [
    pytest.param({"success_counts": 2**63}, id="a count beyond 64 bits"),
    pytest.param({"remaining": Decimal("NaN")}, id="no number"),
    pytest.param({"remaining": Decimal(10) ** 30}, id="points beyond 64 bits"),
    pytest.param({"reason": "half a pair \ud83d"}, id="half a surrogate pair"),
]


@pytest.mark.parametrize("part", IMPOSSIBLE)
async def test_an_answer_the_database_cannot_hold_stops_neither_the_writer_nor_its_group(
    place: Place, journal: SqlJournal, part: dict[str, object]
) -> None:
    campaign_id = await planned(journal, 1, 1, 1)
    one, two, three = [await intended(journal, claim) for claim in await claimed(journal, campaign_id)]
    strange = replace(taken(1), **part)
    results = await asyncio.gather(
        ended(journal, one, strange, BatchState.ACCEPTED, charge=Decimal(1)),
        accepted(journal, two),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [JournalError, type(None)]
    await accepted(journal, three)
    assert states(place) == {1: "submitting", 2: "accepted", 3: "accepted"}


# ── the next owner ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_epoch_grows_with_every_owner(place: Place) -> None:
    epochs = []
    for _ in range(3):
        async with place.open() as journal:
            epochs.append(journal.epoch)
    assert epochs == [1, 2, 3]
    assert place.rows("SELECT count(*) AS n FROM owner") == [{"n": 1}]


async def test_the_next_owner_frees_claims_and_doubts_what_was_being_submitted(place: Place) -> None:
    async with place.open() as journal:
        campaign_id = await planned(journal, 1, 1, 1, 1, 1, 1)
        claims = await claimed(journal, campaign_id, 5)
        await accepted(journal, await intended(journal, claims[0]))
        await ended(journal, await intended(journal, claims[1]), REFUSED, BatchState.REFUSED)
        await ended(journal, await intended(journal, claims[2]), NOT_SENT, BatchState.CLAIMED)
        await intended(journal, claims[3])
    async with place.open() as journal:
        assert states(place) == {
            1: "accepted",
            2: "refused",
            3: "planned",
            4: "in_doubt",
            5: "planned",
            6: "planned",
        }
        assert outcomes(place) == [(1, 1, "accepted"), (2, 1, "refused"), (3, 1, "not_sent"), (4, 1, "in_doubt")]
        (doubt,) = place.rows("SELECT finished_at, reason FROM attempt WHERE outcome = 'in_doubt'")
        assert doubt["finished_at"] is not None
        assert doubt["reason"] == ENDED_BEFORE_ANSWER
        assert (await journal.counts(campaign_id)).reasons == {
            (BatchState.REFUSED, REFUSED.reason): 1,
            (BatchState.IN_DOUBT, ENDED_BEFORE_ANSWER): 1,
        }
        assert [claim.seq for claim in await claimed(journal, campaign_id)] == [3, 5, 6]


async def test_a_batch_in_doubt_is_never_claimed_again(place: Place) -> None:
    async with place.open() as journal:
        campaign_id = await planned(journal, 1, 1)
        one, two = await claimed(journal, campaign_id)
        await ended(journal, await intended(journal, one), DOUBT, BatchState.IN_DOUBT)
        await intended(journal, two)
    for _ in range(2):
        async with place.open() as journal:
            assert await claimed(journal, campaign_id) == []
            assert states(place) == {1: "in_doubt", 2: "in_doubt"}


# ── counting ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_counts_add_up_in_every_state(journal: SqlJournal) -> None:
    sizes = (1, 2, 4, 8, 16, 32, 64)
    campaign_id = await planned(journal, *sizes)
    ways = (
        (taken(1), BatchState.ACCEPTED),
        (taken(2, counts=1), BatchState.ACCEPTED),
        (REFUSED, BatchState.REFUSED),
        (DOUBT, BatchState.IN_DOUBT),
        (NOT_SENT, BatchState.PLANNED),
        (NOT_SENT, BatchState.CLAIMED),
    )
    for claim, (outcome, then) in zip(await claimed(journal, campaign_id, 6), ways, strict=True):
        charge = Decimal(outcome.success_counts or 0) if then is BatchState.ACCEPTED else None
        await ended(journal, await intended(journal, claim), outcome, then, charge=charge)
        counts = await journal.counts(campaign_id)
        assert sum(tally.recipients for tally in counts.states.values()) == sum(sizes)
        assert sum(tally.batches for tally in counts.states.values()) == len(sizes)
    assert counts.states == {
        BatchState.ACCEPTED: Tally(batches=2, recipients=3),
        BatchState.REFUSED: Tally(batches=1, recipients=4),
        BatchState.IN_DOUBT: Tally(batches=1, recipients=8),
        BatchState.PLANNED: Tally(batches=2, recipients=80),
        BatchState.CLAIMED: Tally(batches=1, recipients=32),
    }
    assert (counts.charged, counts.shortfall) == (Decimal(2), 1)
    assert counts.reasons == {(BatchState.REFUSED, REFUSED.reason): 4, (BatchState.IN_DOUBT, DOUBT.reason): 8}
    assert await journal.planned_sizes(campaign_id) == [(5, 16, 1), (7, 64, 1)]


async def test_a_count_above_the_batch_is_no_negative_shortfall(journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 2, 5)
    one, two = await claimed(journal, campaign_id)
    await ended(journal, await intended(journal, one), taken(2, counts=4), BatchState.ACCEPTED)
    await ended(journal, await intended(journal, two), taken(5, counts=3), BatchState.ACCEPTED)
    assert (await journal.counts(campaign_id)).shortfall == 2


async def test_the_shortfall_counts_against_the_numbers_really_carried(journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 4)
    (claim,) = await claimed(journal, campaign_id)
    submitted = await intended(journal, claim, omit=claim.mobiles.split(",")[:1])
    await ended(journal, submitted, taken(3), BatchState.ACCEPTED)
    assert (await journal.counts(campaign_id)).shortfall == 0


async def test_recent_starts_are_told_with_their_numbers(journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 1, 2, 3)
    for claim, seconds in zip(await claimed(journal, campaign_id), (20, 0, 10), strict=True):
        await intended(journal, claim, at=START + timedelta(seconds=seconds))
    assert await journal.starts_since(ACCOUNT, START) == [
        (START, 2),
        (START + timedelta(seconds=10), 3),
        (START + timedelta(seconds=20), 1),
    ]
    assert await journal.starts_since(ACCOUNT, START + timedelta(seconds=10, microseconds=1)) == [
        (START + timedelta(seconds=20), 1)
    ]
    assert await journal.starts_since("another", START) == []


async def test_a_request_that_ended_lately_counts_as_one_that_left_then(journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 1, 2)
    for claim, seconds in zip(await claimed(journal, campaign_id), (5, 0), strict=True):
        submitted = await intended(journal, claim, at=START - timedelta(seconds=60))
        await accepted(journal, submitted, at=START + timedelta(seconds=seconds))
    assert await journal.starts_since(ACCOUNT, START) == [(START, 2), (START + timedelta(seconds=5), 1)]
    assert await journal.starts_since(ACCOUNT, START + timedelta(seconds=1)) == [(START + timedelta(seconds=5), 1)]
