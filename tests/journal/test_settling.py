"""How doubts end in the journal, and what it tells of them: every verb of `SettlingJournal`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from engine.journal.port import PollAnswer, PollKind, PollRead, SettledBy, Settling, Submitted
from engine.journal.settling import LONGEST_REQUEST
from engine.journal.store import Reader, SqlJournal
from engine.model import BatchState, CampaignState, Message, Outcome, OutcomeKind
from tests.journal.stores import (
    ACCOUNT,
    DOUBT,
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
    planned,
    reading,
    states,
    taken,
    totals,
)

OTHER = "another account"
LATER = START + timedelta(minutes=5)


def s(seconds: float) -> datetime:
    """A moment, in seconds from the start."""
    return START + timedelta(seconds=seconds)


async def doubted(
    journal: SqlJournal, submitted: Submitted, *, gave_up: datetime = START + timedelta(seconds=1)
) -> Submitted:
    """Its answer is lost."""
    await ended(journal, submitted, DOUBT, BatchState.IN_DOUBT, at=gave_up)
    return submitted


async def one_doubt(journal: SqlJournal, *, size: int = 3, name: str = "spring") -> Submitted:
    """A campaign of one batch, and that is in doubt."""
    (claim,) = await claimed(journal, await planned(journal, size, name=name))
    return await doubted(journal, await intended(journal, claim))


def word(submitted: Submitted, *, taken: bool, **more: Any) -> Settling:
    """How its doubt ends."""
    settling = Settling(
        batch_id=submitted.claim.batch_id,
        number=submitted.number,
        taken=taken,
        by=SettledBy.BALANCE,
        evidence="the balance lacks 3 points" if taken else "no charge is missing",
        at=LATER,
        charge=Decimal(submitted.size) if taken else None,
        charged_at=s(0.5) if taken else None,
    )
    return replace(settling, **more)


def everything(place: Place) -> list[list[dict[str, Any]]]:
    """What settling may change, as on the disk."""
    return [place.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in ("batch", "attempt", "entry", "campaign")]


# ── settle ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_doubt_settled_as_taken_is_accepted_with_its_evidence_and_charged_when_it_happened(
    place: Place, journal: SqlJournal
) -> None:
    submitted = await one_doubt(journal)
    await journal.note_waiting([(submitted.claim.batch_id, 1, "waits for a report")])
    verdict = word(submitted, taken=True, by=SettledBy.REPORT, task_id="77", evidence="reports name all 3")
    assert await journal.settle(ACCOUNT, verdict)
    assert states(place) == {1: "accepted"}
    (attempt,) = place.rows(
        "SELECT evidence, settled_by, settled_at, task_id, waits_for, outcome, reason, finished_at FROM attempt"
    )
    assert attempt == {
        "evidence": "taken: reports name all 3",
        "settled_by": "report",
        "settled_at": _stored(LATER),
        "task_id": "77",
        "waits_for": None,
        "outcome": "in_doubt",  # what happened stays written
        "reason": DOUBT.reason,
        "finished_at": _stored(s(1)),
    }
    (entry,) = place.rows("SELECT account, at, kind, campaign_id, batch_id, attempt_number, points FROM entry")
    assert entry == {
        "account": ACCOUNT,
        "at": _stored(s(0.5)),
        "kind": "charge",
        "campaign_id": submitted.claim.campaign_id,
        "batch_id": submitted.claim.batch_id,
        "attempt_number": 1,
        "points": 3 * 10_000,
    }
    assert place.rows("SELECT reason FROM batch") == [{"reason": None}]
    assert await journal.open_doubts(ACCOUNT) == []
    assert (await journal.counts(submitted.claim.campaign_id)).charged == Decimal(3)


async def test_a_charge_of_unknown_time_is_entered_for_the_time_of_its_settlement(
    place: Place, journal: SqlJournal
) -> None:
    submitted = await one_doubt(journal)
    await journal.settle(ACCOUNT, word(submitted, taken=True, charged_at=None))
    assert place.rows("SELECT at FROM entry") == [{"at": _stored(LATER)}]


async def test_a_doubt_settled_as_not_taken_is_sent_again_under_the_next_number(
    place: Place, journal: SqlJournal
) -> None:
    submitted = await one_doubt(journal)
    assert await journal.settle(ACCOUNT, word(submitted, taken=False))
    assert states(place) == {1: "planned"}
    assert place.rows("SELECT reason, owner FROM batch") == [{"reason": None, "owner": None}]
    (attempt,) = place.rows("SELECT evidence, settled_by, settled_at, task_id, outcome FROM attempt")
    assert attempt == {
        "evidence": "not taken: no charge is missing",
        "settled_by": "balance",
        "settled_at": _stored(LATER),
        "task_id": None,
        "outcome": "in_doubt",
    }
    assert place.rows("SELECT * FROM entry") == []
    (claim,) = await claimed(journal, submitted.claim.campaign_id)
    assert (claim.attempts, claim.mobiles) == (1, submitted.claim.mobiles)
    again = await intended(journal, claim, at=LATER)
    assert again.number == 2
    await accepted(journal, again, at=LATER)
    assert states(place) == {1: "accepted"}
    assert place.rows("SELECT evidence FROM attempt WHERE number = 2") == [{"evidence": None}]


async def test_a_cancelled_campaign_sends_nothing_again_of_what_was_not_taken(
    place: Place, journal: SqlJournal
) -> None:
    submitted = await one_doubt(journal)
    await journal.cancel_campaign(submitted.claim.campaign_id)
    assert await journal.settle(ACCOUNT, word(submitted, taken=False))
    assert states(place) == {1: "cancelled"}
    assert await claimed(journal, submitted.claim.campaign_id) == []


async def test_what_a_cancelled_campaign_had_handed_over_is_accepted_all_the_same(
    place: Place, journal: SqlJournal
) -> None:
    submitted = await one_doubt(journal)
    await journal.cancel_campaign(submitted.claim.campaign_id)
    assert await journal.settle(ACCOUNT, word(submitted, taken=True))
    assert states(place) == {1: "accepted"}


async def test_a_campaign_that_pauses_gets_back_what_was_not_taken(place: Place, journal: SqlJournal) -> None:
    submitted = await one_doubt(journal)
    await journal.set_campaign_state(submitted.claim.campaign_id, CampaignState.PAUSED)
    await journal.settle(ACCOUNT, word(submitted, taken=False))
    assert states(place) == {1: "planned"}


Move = Callable[[SqlJournal, Submitted], Awaitable[None]]


async def _is_planned(journal: SqlJournal, submitted: Submitted) -> None:
    await ended(journal, submitted, NOT_SENT, BatchState.PLANNED)


async def _is_claimed(journal: SqlJournal, submitted: Submitted) -> None:
    await ended(journal, submitted, NOT_SENT, BatchState.CLAIMED)


async def _is_in_flight(journal: SqlJournal, submitted: Submitted) -> None:
    pass


async def _is_accepted(journal: SqlJournal, submitted: Submitted) -> None:
    await accepted(journal, submitted)


async def _is_refused(journal: SqlJournal, submitted: Submitted) -> None:
    await ended(journal, submitted, REFUSED, BatchState.REFUSED)


async def _is_cancelled(journal: SqlJournal, submitted: Submitted) -> None:
    await ended(journal, submitted, NOT_SENT, BatchState.PLANNED)
    await journal.cancel_campaign(submitted.claim.campaign_id)


async def _was_answered_late(journal: SqlJournal, submitted: Submitted) -> None:
    await doubted(journal, submitted)
    await accepted(journal, submitted)


async def _was_settled_as_taken(journal: SqlJournal, submitted: Submitted) -> None:
    await journal.settle(ACCOUNT, word(await doubted(journal, submitted), taken=True, evidence="the first word"))


async def _was_settled_as_not_taken(journal: SqlJournal, submitted: Submitted) -> None:
    await journal.settle(ACCOUNT, word(await doubted(journal, submitted), taken=False, evidence="the first word"))


async def _is_in_doubt_with_a_later_attempt(journal: SqlJournal, submitted: Submitted) -> None:
    await _was_settled_as_not_taken(journal, submitted)
    (claim,) = await claimed(journal, submitted.claim.campaign_id)
    await doubted(journal, await intended(journal, claim, at=LATER), gave_up=LATER)


MOVES = (
    _is_planned,
    _is_claimed,
    _is_in_flight,
    _is_accepted,
    _is_refused,
    _is_cancelled,
    _was_answered_late,
    _was_settled_as_taken,
    _was_settled_as_not_taken,
    _is_in_doubt_with_a_later_attempt,
)


@pytest.mark.parametrize("is_taken", [True, False])
@pytest.mark.parametrize("move", MOVES, ids=lambda move: move.__name__.removeprefix("_"))
async def test_what_is_not_in_doubt_any_more_is_not_settled_and_nothing_changes(
    place: Place, journal: SqlJournal, move: Move, is_taken: bool
) -> None:
    (claim,) = await claimed(journal, await planned(journal, 3))
    submitted = await intended(journal, claim)
    await move(journal, submitted)
    before = everything(place)
    assert not await journal.settle(ACCOUNT, word(submitted, taken=is_taken, evidence="another word"))
    assert everything(place) == before


async def test_of_two_words_about_one_doubt_one_counts_and_it_is_charged_once(
    place: Place, journal: SqlJournal
) -> None:
    submitted = await one_doubt(journal)
    told = await asyncio.gather(
        *(journal.settle(ACCOUNT, word(submitted, taken=is_taken)) for is_taken in (True, False, True))
    )
    assert told == [True, False, False]
    assert states(place) == {1: "accepted"}
    assert len(place.rows("SELECT * FROM entry")) == 1


async def test_many_doubts_settled_at_once_end_each_its_own_way(place: Place, journal: SqlJournal) -> None:
    claims = await claimed(journal, await planned(journal, *[2] * 20))
    doubts = [await doubted(journal, await intended(journal, claim)) for claim in claims]
    await asyncio.gather(*(journal.settle(ACCOUNT, word(d, taken=d.claim.seq % 2 == 0)) for d in doubts))
    assert states(place) == {seq: "accepted" if seq % 2 == 0 else "planned" for seq in range(1, 21)}
    assert len(place.rows("SELECT * FROM entry")) == 10


async def test_a_doubt_an_earlier_owner_left_is_settled_by_the_next(place: Place) -> None:
    async with place.open() as journal:
        (claim,) = await claimed(journal, await planned(journal, 3))
        submitted = await intended(journal, claim)
    async with place.open() as journal:
        (doubt,) = await journal.open_doubts(ACCOUNT)
        assert (doubt.batch_id, doubt.number, doubt.may_land_late) == (claim.batch_id, 1, True)
        assert await journal.settle(ACCOUNT, word(submitted, taken=False))
    assert states(place) == {1: "planned"}


# ── open doubts ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_open_doubts_come_oldest_first_with_all_that_is_known_of_them(journal: SqlJournal) -> None:
    campaign_id = await planned(journal, 1, 2, 3)
    one, two, three = await claimed(journal, campaign_id)
    late = await intended(journal, one, at=s(9))
    early = await intended(journal, three, at=s(2), omit=three.mobiles.split(",")[:1])
    await doubted(journal, late, gave_up=s(10))
    await doubted(journal, early, gave_up=s(30))
    await accepted(journal, await intended(journal, two, at=s(1)))
    await journal.note_waiting([(three.batch_id, 1, "waits for the balance")])
    first, second = await journal.open_doubts(ACCOUNT)
    assert (first.seq, first.size, first.campaign, first.campaign_id) == (3, 2, "spring", campaign_id)
    assert (first.started_at, first.gave_up_at) == (s(2), s(30))
    assert (first.reason, first.waits_for, first.may_land_late) == (DOUBT.reason, "waits for the balance", True)
    assert (second.seq, second.size, second.waits_for) == (1, 1, "")


async def test_open_doubts_are_of_one_account_and_where_asked_of_one_campaign(journal: SqlJournal) -> None:
    spring = (await one_doubt(journal, name="spring")).claim.campaign_id
    autumn = (await one_doubt(journal, name="autumn")).claim.campaign_id
    (claim,) = await claimed(journal, await planned(journal, 1, name="theirs"))
    theirs = await journal.record_intent(OTHER, claim, started_at=START)
    await journal.record_outcome(OTHER, theirs, DOUBT, finished_at=s(1), then=BatchState.IN_DOUBT)
    assert [doubt.campaign for doubt in await journal.open_doubts(ACCOUNT)] == ["spring", "autumn"]
    assert [doubt.campaign for doubt in await journal.open_doubts(ACCOUNT, campaign_id=autumn)] == ["autumn"]
    assert await journal.open_doubts(OTHER, campaign_id=spring) == []
    assert [doubt.campaign for doubt in await journal.open_doubts(OTHER)] == ["theirs"]


@pytest.mark.parametrize("is_taken", [True, False])
async def test_what_was_settled_is_no_open_doubt(journal: SqlJournal, is_taken: bool) -> None:
    await journal.settle(ACCOUNT, word(await one_doubt(journal), taken=is_taken))
    assert await journal.open_doubts(ACCOUNT) == []


async def test_a_doubt_that_the_gateway_ended_itself_cannot_land_late(journal: SqlJournal) -> None:
    (claim,) = await claimed(journal, await planned(journal, 1))
    told = replace(DOUBT, may_land_late=False)
    await ended(journal, await intended(journal, claim), told, BatchState.IN_DOUBT)
    (doubt,) = await journal.open_doubts(ACCOUNT)
    assert not doubt.may_land_late


# ── the stretch ──────────────────────────────────────────────────────────────────────────────────────────────────────

SINCE, PATIENCE = s(1_000), timedelta(seconds=180)


class Attempt:
    """One attempt with its times in seconds from SINCE, and what came of it."""

    def __init__(
        self,
        started: float,
        finished: float | None,
        outcome: Outcome | None = None,
        *,
        account: str = ACCOUNT,
        settled: dict[str, Any] | None = None,
    ) -> None:
        self.started = SINCE + timedelta(seconds=started)
        self.finished = None if finished is None else SINCE + timedelta(seconds=finished)
        self.outcome, self.account, self.settled = outcome or taken(1), account, settled

    async def happen(self, journal: SqlJournal) -> None:
        (claim,) = await claimed(journal, await planned(journal, 1))
        submitted = await journal.record_intent(self.account, claim, started_at=self.started)
        if self.finished is None:
            return
        was_taken = self.outcome.kind is OutcomeKind.ACCEPTED
        states = {OutcomeKind.ACCEPTED: BatchState.ACCEPTED, OutcomeKind.IN_DOUBT: BatchState.IN_DOUBT}
        await journal.record_outcome(
            self.account,
            submitted,
            self.outcome,
            finished_at=self.finished,
            then=states.get(self.outcome.kind, BatchState.PLANNED),
            charge=Decimal(1) if was_taken else None,
        )
        if self.settled is not None:
            assert await journal.settle(self.account, word(submitted, **self.settled))


def at(seconds: float) -> datetime:
    return SINCE + timedelta(seconds=seconds)


_LONG = LONGEST_REQUEST.total_seconds()

IN_IT = {
    "answered at its beginning": Attempt(-1, 0),
    "sent before and answered after": Attempt(-20, 5),
    "answered after": Attempt(3, 4),
    "in flight": Attempt(-1, None),
    "in flight since long before": Attempt(-_LONG, None),
    "in doubt after": Attempt(3, 4, DOUBT),
    "given up before, and patience reaches in": Attempt(-200, -180, DOUBT),
    "sent long before, given up within patience": Attempt(-_LONG, -1, DOUBT),
    "settled by a report": Attempt(
        -5, -1, DOUBT, settled={"taken": True, "by": SettledBy.REPORT, "charged_at": at(-1)}
    ),
    "settled by a person": Attempt(
        -5, -1, DOUBT, settled={"taken": True, "by": SettledBy.OPERATOR, "charged_at": at(-1)}
    ),
    "charged after, as the balance showed": Attempt(-5, -1, DOUBT, settled={"taken": True, "charged_at": at(0)}),
    "not taken before, as the balance showed": Attempt(-5, -1, DOUBT, settled={"taken": False}),
}
NOT_IN_IT = {
    "answered before": Attempt(-3, -0.001),
    "given up so long before that patience does not reach in": Attempt(-200, -180.001, DOUBT),
    "charged before, as the balance showed": Attempt(-5, -1, DOUBT, settled={"taken": True, "charged_at": at(-0.001)}),
    "refused": Attempt(3, 4, REFUSED),
    "not sent": Attempt(3, 4, NOT_SENT),
    "surely not taken": Attempt(3, 4, THROTTLED),
    "of another account, answered": Attempt(3, 4, account=OTHER),
    "of another account, in flight": Attempt(3, None, account=OTHER),
    "of another account, in doubt": Attempt(3, 4, DOUBT, account=OTHER),
}


@pytest.mark.parametrize(
    ("attempt", "is_in"),
    [
        *(pytest.param(attempt, True, id=name) for name, attempt in IN_IT.items()),
        *(pytest.param(attempt, False, id=name) for name, attempt in NOT_IN_IT.items()),
    ],
)
async def test_a_stretch_holds_what_may_have_moved_the_balance_since_and_nothing_else(
    journal: SqlJournal, attempt: Attempt, is_in: bool
) -> None:
    await attempt.happen(journal)
    stretch = await journal.account_stretch(ACCOUNT, since=SINCE, patience=PATIENCE)
    assert len(stretch.attempts) == int(is_in)


async def test_a_stretch_tells_of_each_attempt_what_settlement_needs(journal: SqlJournal) -> None:
    texts = [TEXT, Message(content="long", units=100, segments=2)]
    campaign_id = await journal.begin_campaign(draft(messages=texts))
    plans = [plan._replace(message=1 + plan.seq % 2) for plan in batches(2, 3, 4, 5)]
    await journal.add_plan(campaign_id, plans, [])
    await journal.publish_campaign(campaign_id, totals(2, 3, 4, 5))
    one, two, three, four = await claimed(journal, campaign_id)
    await accepted(journal, await intended(journal, one), Decimal(4))
    settled = await doubted(journal, await intended(journal, two))
    await journal.settle(ACCOUNT, word(settled, taken=True, by=SettledBy.REPORT, task_id="77", charge=Decimal(3)))
    await doubted(journal, await intended(journal, three, omit=three.mobiles.split(",")[:1]))
    await intended(journal, four, at=s(7))
    found = {row.seq: row for row in (await journal.account_stretch(ACCOUNT, since=START, patience=PATIENCE)).attempts}
    assert [(row.size, row.segments, row.campaign) for _, row in sorted(found.items())] == [
        (2, 2, "spring"),
        (3, 1, "spring"),
        (3, 2, "spring"),
        (5, 1, "spring"),
    ]
    answered, known, doubt, flight = (found[seq] for seq in (1, 2, 3, 4))
    assert (answered.outcome, answered.charge, answered.remaining) == (OutcomeKind.ACCEPTED, Decimal(4), Decimal(5000))
    assert (known.taken, known.settled_by, known.task_id, known.charge) == (True, SettledBy.REPORT, "77", Decimal(3))
    assert (doubt.taken, doubt.settled_by, doubt.charge, doubt.finished_at) == (None, None, None, s(1))
    assert (flight.outcome, flight.finished_at, flight.started_at) == (None, None, s(7))


async def test_a_batch_sent_again_is_in_the_stretch_with_each_of_its_attempts(journal: SqlJournal) -> None:
    first = await one_doubt(journal)
    await journal.settle(ACCOUNT, word(first, taken=False))
    (claim,) = await claimed(journal, first.claim.campaign_id)
    await accepted(journal, await intended(journal, claim, at=s(2)), at=s(3))
    rows = (await journal.account_stretch(ACCOUNT, since=START, patience=PATIENCE)).attempts
    assert sorted((row.number, row.taken, row.charge) for row in rows) == [(1, False, None), (2, None, Decimal(3))]


async def test_a_stretch_holds_the_readings_answered_since_in_order(journal: SqlJournal) -> None:
    for asked, answered, points in ((990, 999.9, 9), (1_003, 1_004, 5), (998, 1_000, 7)):
        balance = reading(Decimal(points), at=s(answered), send_total=Decimal(10 * points))
        await journal.record_reading(ACCOUNT, balance, campaign_id=None, asked_at=s(asked))
    await journal.record_reading(OTHER, reading(Decimal(1), at=s(1_002)), campaign_id=None)
    found = (await journal.account_stretch(ACCOUNT, since=SINCE, patience=PATIENCE)).readings
    assert [(r.asked_at, r.answered_at, r.remaining, r.send_total) for r in found] == [
        (s(998), s(1_000), Decimal(7), Decimal(70)),
        (s(1_003), s(1_004), Decimal(5), Decimal(50)),
    ]


class Between(Reader):
    """A look during which something is written: after the first of its queries."""

    def __init__(self, journal: SqlJournal, write: Callable[[], Awaitable[None]]) -> None:
        super().__init__(journal._reader)
        self._write = write

    @asynccontextmanager
    async def _look(self) -> AsyncIterator[Any]:
        async with super()._look() as connection:
            self._connection = connection
            yield self

    async def execute(self, query: Any) -> Any:
        """Stands for the connection."""
        rows = await self._connection.execute(query)
        write, self._write = self._write, _nothing
        await write()
        return rows


async def _nothing() -> None:
    pass


async def test_no_reading_is_in_a_stretch_without_the_attempts_it_may_show(journal: SqlJournal) -> None:
    """Else the charge of an attempt that nobody shows to settlement would be taken for the charge of a doubt."""
    (claim,) = await claimed(journal, await planned(journal, 3))

    async def meanwhile() -> None:
        await accepted(journal, await intended(journal, claim, at=s(1)), at=s(2))
        await journal.record_reading(ACCOUNT, reading(Decimal(97), at=s(3)), campaign_id=None)

    stretch = await Between(journal, meanwhile).account_stretch(ACCOUNT, since=START, patience=PATIENCE)
    assert len(stretch.attempts) >= len(stretch.readings)


async def test_reading_times_are_those_at_which_this_account_asked_in_order(journal: SqlJournal) -> None:
    await journal.record_reading(ACCOUNT, reading(Decimal(5), at=s(30)), campaign_id=None, asked_at=s(20))
    await journal.record_reading(ACCOUNT, reading(Decimal(5), at=s(10)), campaign_id=None)
    await journal.record_reading(ACCOUNT, reading(None, at=s(40)), campaign_id=None, asked_at=s(35))
    await journal.record_reading(OTHER, reading(Decimal(5), at=s(15)), campaign_id=None)
    submitted = await one_doubt(journal)
    await journal.settle(ACCOUNT, word(submitted, taken=True, charged_at=s(12)))
    assert await journal.reading_times(ACCOUNT) == [s(10), s(20), s(35)]


# ── short counts, segments ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("counts", "saw"), [(3, False), (2, True), (0, True)])
async def test_a_short_count_is_remembered_for_its_account(journal: SqlJournal, counts: int, saw: bool) -> None:
    (claim,) = await claimed(journal, await planned(journal, 3))
    outcome = taken(3, counts=counts)
    await ended(journal, await intended(journal, claim), outcome, BatchState.ACCEPTED, charge=Decimal(counts))
    assert await journal.saw_short_count(ACCOUNT) is saw
    assert not await journal.saw_short_count(OTHER)


async def test_numbers_left_out_and_doubts_are_no_short_count(journal: SqlJournal) -> None:
    one, two = await claimed(journal, await planned(journal, 3, 3))
    submitted = await intended(journal, one, omit=one.mobiles.split(",")[:1])
    await accepted(journal, submitted)
    doubt = await doubted(journal, await intended(journal, two))
    await journal.settle(ACCOUNT, word(doubt, taken=True, charge=Decimal(1)))
    assert not await journal.saw_short_count(ACCOUNT)


async def test_the_segments_of_a_batch_are_those_of_its_text(journal: SqlJournal) -> None:
    texts = [TEXT, Message(content="long", units=100, segments=2)]
    campaign_id = await journal.begin_campaign(draft(messages=texts))
    await journal.add_plan(campaign_id, [plan._replace(message=plan.seq) for plan in batches(1, 1)], [])
    await journal.publish_campaign(campaign_id, totals(1, 1))
    assert [await journal.segments_of(claim.batch_id) for claim in await claimed(journal, campaign_id)] == [1, 2]


# ── nameless, and the names reports give ─────────────────────────────────────────────────────────────────────────────


async def test_nameless_are_doubts_what_is_in_flight_and_what_evidence_says_was_taken(journal: SqlJournal) -> None:
    claims = await claimed(journal, await planned(journal, *[1] * 8))
    sent = [await intended(journal, claim, at=s(claim.seq)) for claim in claims]
    answered, refused, not_sent, open_, balance, report, not_taken, flight = sent
    await accepted(journal, answered)
    await ended(journal, refused, REFUSED, BatchState.REFUSED)
    await ended(journal, not_sent, NOT_SENT, BatchState.PLANNED)
    for doubt in (open_, balance, report, not_taken):
        await doubted(journal, doubt)
    await journal.settle(ACCOUNT, word(balance, taken=True))
    await journal.settle(ACCOUNT, word(report, taken=True, by=SettledBy.REPORT, task_id="77"))
    await journal.settle(ACCOUNT, word(not_taken, taken=False))
    found = {row.batch_id: row for row in await journal.nameless(ACCOUNT)}
    assert {(found[x.claim.batch_id].in_flight, found[x.claim.batch_id].taken) for x in (open_,)} == {(False, False)}
    assert (found[balance.claim.batch_id].in_flight, found[balance.claim.batch_id].taken) == (False, True)
    assert (found[flight.claim.batch_id].in_flight, found[flight.claim.batch_id].taken) == (True, False)
    assert found.keys() == {x.claim.batch_id for x in (open_, balance, flight)}
    assert found[flight.claim.batch_id].started_at == s(8)
    assert await journal.nameless(OTHER) == []


async def test_a_nameless_attempt_names_the_numbers_it_carried_and_no_others(journal: SqlJournal) -> None:
    (claim,) = await claimed(journal, await planned(journal, 4))
    numbers = claim.mobiles.split(",")
    await doubted(journal, await intended(journal, claim, omit=[numbers[2], numbers[0]]))
    (row,) = await journal.nameless(ACCOUNT)
    assert row.mobiles == (numbers[1], numbers[3])


async def test_a_report_names_what_evidence_had_said_to_be_taken_and_only_once(
    place: Place, journal: SqlJournal
) -> None:
    submitted = await one_doubt(journal)
    await journal.settle(ACCOUNT, word(submitted, taken=True))
    batch_id = submitted.claim.batch_id
    assert await journal.name_task(batch_id, 1, "77", "reports name it")
    assert not await journal.name_task(batch_id, 1, "78", "others too")
    (row,) = place.rows("SELECT task_id, evidence, settled_by FROM attempt")
    assert row == {
        "task_id": "77",
        "evidence": "taken: the balance lacks 3 points; reports name it",
        "settled_by": "balance",
    }
    assert await journal.nameless(ACCOUNT) == []


@pytest.mark.parametrize(
    "move",
    [_is_in_flight, _is_accepted, _is_refused, doubted, _was_settled_as_not_taken],
    ids=lambda move: move.__name__.removeprefix("_"),
)
async def test_nothing_else_gets_a_task_id_from_a_report(place: Place, journal: SqlJournal, move: Move) -> None:
    (claim,) = await claimed(journal, await planned(journal, 3))
    await move(journal, await intended(journal, claim))
    before = everything(place)
    assert not await journal.name_task(claim.batch_id, 1, "77", "reports name it")
    assert everything(place) == before


# ── what a doubt waits for ───────────────────────────────────────────────────────────────────────────────────────────


async def test_what_doubts_wait_for_is_kept_and_the_newest_words_count(journal: SqlJournal) -> None:
    claims = await claimed(journal, await planned(journal, 1, 1, 1))
    doubts = [await doubted(journal, await intended(journal, claim)) for claim in claims]
    one, two, _ = (doubt.claim.batch_id for doubt in doubts)
    await journal.note_waiting([(one, 1, "waits"), (two, 1, "waits too")])
    await journal.note_waiting([(one, 1, "waits still")])
    assert [doubt.waits_for for doubt in await journal.open_doubts(ACCOUNT)] == ["waits still", "waits too", ""]


@pytest.mark.parametrize(
    "move",
    [_is_in_flight, _is_accepted, _was_answered_late, _was_settled_as_taken, _was_settled_as_not_taken],
    ids=lambda move: move.__name__.removeprefix("_"),
)
async def test_what_is_settled_waits_for_nothing(place: Place, journal: SqlJournal, move: Move) -> None:
    (claim,) = await claimed(journal, await planned(journal, 3))
    await move(journal, await intended(journal, claim))
    before = everything(place)
    await journal.note_waiting([(claim.batch_id, 1, "waits")])
    assert everything(place) == before


# ── the empty queue ──────────────────────────────────────────────────────────────────────────────────────────────────


async def polled(
    journal: SqlJournal,
    asked: float,
    *,
    account: str = ACCOUNT,
    kind: PollKind = PollKind.REPORT,
    complete: bool = True,
    is_read: bool = True,
    **read: Any,
) -> None:
    """A poll that was answered a second after it was asked; empty, where nothing else is said."""
    poll_id = await journal.begin_poll(account, kind, asked_at=s(asked), most=100)
    answer = PollAnswer(at=s(asked + 1), http_status=200, charset=None, complete=complete, body=b"<returnsms/>")
    await journal.keep_answer(poll_id, answer)
    if is_read:
        await journal.apply_poll(account, poll_id, PollRead(**{"at": s(asked + 1), "records": 0, **read}))


NOT_EMPTY: dict[str, dict[str, Any]] = {
    "records": {"records": 3},
    "an error": {"said": "5 busy"},
    "something unreadable": {"problem": "a record without a mobile"},
    "cut off": {"complete": False},
    "not read yet": {"is_read": False},
    "of replies": {"kind": PollKind.REPLY},
    "of another account": {"account": OTHER},
}


@pytest.mark.parametrize("what", NOT_EMPTY.values(), ids=NOT_EMPTY)
async def test_a_queue_counts_as_empty_only_when_a_whole_answer_said_so(
    journal: SqlJournal, what: dict[str, Any]
) -> None:
    await polled(journal, 0, **what)
    assert await journal.first_emptied(ACCOUNT, since=s(-100)) is None


async def test_the_first_time_the_queue_was_empty_since_then_is_told(journal: SqlJournal) -> None:
    for asked in (30, -1, 10, 20):
        await polled(journal, asked)
    await polled(journal, 5, records=2)
    assert await journal.first_emptied(ACCOUNT, since=START) == s(11)
    assert await journal.first_emptied(ACCOUNT, since=s(20)) == s(21)
    assert await journal.first_emptied(ACCOUNT, since=s(31)) is None


# ── points ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_charge_entered_late_counts_between_the_readings_where_it_was_made(journal: SqlJournal) -> None:
    one, two = await claimed(journal, await planned(journal, 3, 4))
    await journal.record_reading(ACCOUNT, reading(Decimal(100), at=s(0)), campaign_id=1)
    lost = await doubted(journal, await intended(journal, one, at=s(1)), gave_up=s(2))
    await journal.record_reading(ACCOUNT, reading(Decimal(97), at=s(10)), campaign_id=1)
    await accepted(journal, await intended(journal, two, at=s(11)), at=s(12))
    await journal.record_reading(ACCOUNT, reading(Decimal(93), at=s(20)), campaign_id=1)
    assert [r.charged_since_last for r in await journal.readings(ACCOUNT)] == [0, 0, 4]
    await journal.settle(ACCOUNT, word(lost, taken=True, charged_at=s(2)))
    assert [r.charged_since_last for r in await journal.readings(ACCOUNT)] == [0, 3, 4]
    assert await journal.charged_since_reading(ACCOUNT) == 0


def _stored(moment: datetime) -> int:
    return round((moment - START).total_seconds() * 1e6) + int(START.timestamp()) * 1_000_000 + START.microsecond
