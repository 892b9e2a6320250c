"""The audit over a real journal: settled doubts leave every law whole, and what is planted is found by name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from engine.gateway.polls import ReportState
from engine.journal.opening import open_journal
from engine.journal.port import (
    AuditView,
    OptOut,
    OptOutSource,
    PollAnswer,
    PollKind,
    PollRead,
    ReportLine,
    SettledBy,
    Settling,
    ShortBatch,
    Trace,
)
from engine.journal.store import SqlJournal
from engine.ledger.audit import Finding, Flag, Law, Truth, audit, flags, open_doubts
from engine.ledger.evidence import Policy
from engine.ledger.reckoning import reckon
from engine.model import BatchState
from engine.moments import CHINA
from tests.journal.stores import (
    ACCOUNT,
    DOUBT,
    NOT_SENT,
    START,
    SqlitePlace,
    accepted,
    claimed,
    ended,
    intended,
    planned,
    reading,
    taken,
)
from tests.numbers import mobiles

SIZE, BATCHES = 10, 12
NUMBERS = mobiles(SIZE * BATCHES)
PRICE = Decimal(1)
NOT_TAKEN, BY_BALANCE, BY_REPORT, STILL_OPEN = 3, 5, 7, 9  # batches whose answer was lost
LATER = START + timedelta(hours=1)


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def numbers(seq: int) -> list[str]:
    return NUMBERS[SIZE * (seq - 1) : SIZE * seq]


def masked(mobile: str) -> str:
    return f"{mobile[:3]}****{mobile[7:]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """A finished campaign of twelve batches, four of them with a lost answer, in a journal that is open."""

    journal: SqlJournal
    place: SqlitePlace
    campaign: int

    async def view(self, *, with_others: bool = False) -> AuditView:
        return await self.journal.audit_view(self.campaign, with_others=with_others)

    async def laws(self, *, truth: Truth | None = None, exclusive: bool = True) -> dict[Law, Finding]:
        """The audit, as the command makes it."""
        view = await self.view(with_others=truth is not None)
        reckoning = reckon(view.readings, view.spendings, price=PRICE, policy=Policy())
        return {finding.law: finding for finding in audit(view, reckoning, exclusive=exclusive, truth=truth)}

    async def broken(self, *, truth: Truth | None = None) -> dict[Law, str]:
        """What the audit says of the laws that do not hold."""
        return {law: found.detail for law, found in (await self.laws(truth=truth)).items() if not found.holds}

    async def flags(self) -> list[Flag]:
        return flags(await self.view())

    async def report(self, task_id: str, names: Sequence[str], *, received_at: datetime | None = LATER) -> None:
        """Delivery reports that a poll brought."""
        poll = await self.journal.begin_poll(ACCOUNT, PollKind.REPORT, asked_at=LATER, most=1000)
        answer = PollAnswer(at=LATER, http_status=200, charset=None, complete=True, body=b"<returnsms/>")
        await self.journal.keep_answer(poll, answer)
        lines = [ReportLine(task_id, name, ReportState.DELIVERED, received_at, "10", "DELIVRD") for name in names]
        await self.journal.apply_poll(ACCOUNT, poll, PollRead(at=LATER, records=len(lines), reports=lines))

    async def opt_out(self, mobile: str, when: datetime) -> None:
        wish = OptOut(mobile=mobile, at=when, reason="退订", source=OptOutSource.REPLY)
        await self.journal.add_opt_outs(ACCOUNT, [wish])

    async def trace(self, mobile: str) -> Trace:
        (found,) = await self.journal.traces(mobile, [])
        return found


def settling(batch_id: int, *, by: SettledBy, is_taken: bool, task_id: str | None = None, when: float) -> Settling:
    return Settling(
        batch_id=batch_id,
        number=1,
        taken=is_taken,
        by=by,
        evidence=f"as the {by.value} says",
        at=LATER,
        task_id=task_id,
        charge=Decimal(SIZE) if is_taken else None,
        charged_at=at(when) if is_taken else None,
    )


async def _campaign(journal: SqlJournal) -> int:
    """Batch n is sent at second n. After the last, one is sent again; then the balance is read."""
    campaign = await planned(journal, *[SIZE] * BATCHES)
    await journal.record_reading(ACCOUNT, reading(Decimal(5000), at=at(0)), campaign_id=campaign)
    lost = {}
    for claim in await claimed(journal, campaign):
        submitted = await intended(journal, claim, at=at(claim.seq))
        if claim.seq in (NOT_TAKEN, BY_BALANCE, BY_REPORT):
            lost[claim.seq] = claim.batch_id
            await ended(journal, submitted, DOUBT, BatchState.IN_DOUBT, at=at(claim.seq + 0.5))
        else:
            task = taken(SIZE, task_id=f"1000{claim.seq:02}")
            await ended(journal, submitted, task, BatchState.ACCEPTED, charge=Decimal(SIZE), at=at(claim.seq + 0.5))
    for seq, by, task_id in ((BY_BALANCE, SettledBy.BALANCE, None), (BY_REPORT, SettledBy.REPORT, "200007")):
        told = settling(lost[seq], by=by, is_taken=True, task_id=task_id, when=seq + 0.5)
        assert await journal.settle(ACCOUNT, told)
    assert await journal.settle(ACCOUNT, settling(lost[NOT_TAKEN], by=SettledBy.BALANCE, is_taken=False, when=0))
    (claim,) = await claimed(journal, campaign)
    again = taken(SIZE, task_id="300003")
    submitted = await intended(journal, claim, at=at(20))
    await ended(journal, submitted, again, BatchState.ACCEPTED, charge=Decimal(SIZE), at=at(20.5))
    await journal.record_reading(
        ACCOUNT, reading(Decimal(5000 - SIZE * BATCHES), at=at(30)), campaign_id=campaign, asked_at=at(29)
    )
    return campaign


@pytest.fixture
async def books(tmp_path: Path) -> AsyncIterator[Books]:
    place = SqlitePlace(tmp_path)
    journal = await open_journal(place.path)
    try:
        yield Books(journal=journal, place=place, campaign=await _campaign(journal))
    finally:
        await journal.close()


def as_sent() -> Truth:
    """What a gateway says that took all of it once."""
    return Truth(mobiles=dict.fromkeys(NUMBERS, 1), charges=Decimal(SIZE * BATCHES))


async def test_doubts_that_ended_by_evidence_leave_every_law_whole(books: Books) -> None:
    for seq in range(1, BATCHES + 1):
        task = {NOT_TAKEN: "300003", BY_REPORT: "200007"}.get(seq, f"1000{seq:02}")
        if seq != BY_BALANCE:
            await books.report(task, numbers(seq))
    laws = await books.laws(truth=as_sent())
    assert {law for law, finding in laws.items() if finding.holds} == set(Law), laws
    told = "3 doubts: 1 by reports, 2 by the balance, 0 by an operator, 0 open"
    assert laws[Law.EVIDENCE].detail == told
    assert laws[Law.COVERED].detail.startswith("12 batches accepted: 10 by a valid answer, 2 by evidence")
    assert laws[Law.POINTS].detail == "5,000 - 120 charged = 4,880 + unexplained 0"


async def test_an_open_doubt_breaks_nothing_and_says_what_it_waits_for(books: Books) -> None:
    books.place.alter(f"UPDATE batch SET state = 'in_doubt' WHERE seq = {STILL_OPEN}")
    books.place.alter(f"UPDATE attempt SET outcome = 'in_doubt', task_id = NULL WHERE batch_id = {STILL_OPEN}")
    books.place.alter(f"DELETE FROM entry WHERE batch_id = {STILL_OPEN}")
    await books.journal.note_waiting([(STILL_OPEN, 1, "a quiet reading")])
    laws = await books.laws()
    assert all(finding.holds for finding in laws.values()), laws
    assert laws[Law.EVIDENCE].detail.endswith("1 open")
    assert "1 batch in doubt or being sent may explain it" in laws[Law.POINTS].detail
    assert [(row.seq, row.waits_for) for row in open_doubts(await books.view())] == [(STILL_OPEN, "a quiet reading")]


# -- once ----------------------------------------------------------------------------------------------------------


async def test_a_person_reported_under_two_known_task_ids_is_a_double(books: Books) -> None:
    mobile = numbers(1)[4]
    await books.report("100001", numbers(1))
    await books.report("100002", [*numbers(2), mobile])
    assert await books.broken() == {
        Law.ONCE: f"{masked(mobile)} is reported under two task ids: 100001 (batch 1, attempt 1) and 100002 (batch 2, attempt 1)"
    }


async def test_a_stranger_under_two_of_our_task_ids_is_nobodys_double(books: Books) -> None:
    (stranger,) = mobiles(1, seed=99)
    await books.report("100001", [*numbers(1), stranger])
    await books.report("100002", [*numbers(2), stranger])
    assert await books.broken() == {}


async def test_a_batch_settled_as_not_taken_that_reports_name_was_taken_after_all(books: Books) -> None:
    await books.report("300003", numbers(NOT_TAKEN))
    await books.report("777777", numbers(NOT_TAKEN)[:2])
    broken = await books.broken()
    assert list(broken) == [Law.ONCE]
    shown = [masked(mobile) for mobile in sorted(numbers(NOT_TAKEN)[:2])]
    assert broken[Law.ONCE] == (
        f"{', '.join(shown)} of batch 3 are reported under task id 777777, which no answer told: attempt 1, settled by the"
        " balance as not taken, was taken after all, and the batch was taken again as attempt 2 (task id 300003)"
    )


@pytest.mark.parametrize("received_at", [None, at(1) - timedelta(seconds=61)])
async def test_an_unknown_task_id_that_may_be_of_an_older_message_proves_nothing(
    books: Books, received_at: datetime | None
) -> None:
    await books.report("777777", numbers(NOT_TAKEN), received_at=received_at)
    assert await books.broken() == {}


async def test_an_unknown_task_id_that_may_be_the_second_attempts_own_proves_nothing_but_two_do(books: Books) -> None:
    books.place.alter("UPDATE attempt SET outcome = 'in_doubt', task_id = NULL WHERE batch_id = 3 AND number = 2")
    books.place.alter("UPDATE batch SET state = 'in_doubt' WHERE seq = 3")
    books.place.alter("DELETE FROM entry WHERE batch_id = 3")
    await books.report("777777", numbers(NOT_TAKEN))
    assert await books.broken() == {}
    await books.report("888888", numbers(NOT_TAKEN)[:1])
    assert "is reported under task id 777777, which no answer told" in (await books.broken())[Law.ONCE]


async def test_an_answer_that_came_after_the_doubt_was_ended_as_not_taken_is_a_double(books: Books) -> None:
    books.place.alter("UPDATE attempt SET task_id = '555' WHERE batch_id = 3 AND number = 1")
    broken = await books.broken()
    assert broken[Law.ONCE] == (
        "attempt 1 of batch 3 was settled by the balance as not taken, and its answer came after all: task id 555"
    )


async def test_a_batch_sent_again_after_evidence_that_it_was_taken_is_found(books: Books) -> None:
    books.place.alter("UPDATE attempt SET evidence = 'taken: by mistake' WHERE batch_id = 3 AND number = 1")
    expected = "batch 3 was handed over again (attempt 2) after an attempt that was settled by the balance as taken"
    assert (await books.broken())[Law.ONCE] == expected


# -- evidence ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("evidence = 'taken: '", "the doubt about attempt 1 of batch 5 was ended as taken without any evidence"),
        ("evidence = 'probably'", "was ended with words that say neither taken nor not taken"),
        ("settled_by = NULL", "the doubt about attempt 1 of batch 5 was ended, and nobody is named who says so"),
        ("settled_at = NULL", "the doubt about attempt 1 of batch 5 was ended, and nothing says when"),
        ("evidence = NULL", "attempt 1 of batch 5 was in doubt, the batch is accepted now, and nothing says why"),
    ],
)
async def test_a_doubt_ended_without_evidence_is_found(books: Books, change: str, words: str) -> None:
    books.place.alter(f"UPDATE attempt SET {change} WHERE batch_id = {BY_BALANCE}")
    assert words in (await books.broken())[Law.EVIDENCE]


async def test_evidence_that_it_was_not_taken_is_no_ground_to_accept(books: Books) -> None:
    books.place.alter(f"UPDATE attempt SET evidence = 'not taken: gone' WHERE batch_id = {BY_BALANCE}")
    broken = await books.broken()
    assert broken[Law.COVERED] == "batch 5 is accepted without a valid answer or evidence"


# -- points --------------------------------------------------------------------------------------------------------


async def test_a_theft_of_one_point_is_found_with_its_interval(books: Books) -> None:
    stolen = Decimal(5000 - SIZE * BATCHES - 1)
    await books.journal.record_reading(ACCOUNT, reading(stolen, at=at(90)), campaign_id=None, asked_at=at(89))
    broken = await books.broken()
    assert list(broken) == [Law.POINTS]
    begin, end = (moment.astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S") for moment in (at(30), at(90)))
    expected = f"1 point is missing between {begin} and {end}, and nothing of ours explains it"
    assert broken[Law.POINTS] == expected


async def test_on_a_shared_account_what_is_missing_is_shown_and_breaks_nothing(books: Books) -> None:
    await books.journal.record_reading(ACCOUNT, reading(Decimal(4800), at=at(90)), campaign_id=None)
    found = (await books.laws(exclusive=False))[Law.POINTS]
    assert found.holds
    assert "unexplained 80" in found.detail
    assert "the account is shared" in found.detail


async def test_a_charge_for_what_was_not_taken_is_found(books: Books) -> None:
    books.place.alter(
        "INSERT INTO entry (account, at, kind, campaign_id, batch_id, attempt_number, points)"
        " SELECT account, at, kind, campaign_id, batch_id, 1, points FROM entry WHERE batch_id = 3"
    )
    words = (await books.broken())[Law.POINTS]
    assert "attempt 1 of batch 3 was in doubt, not taken, and 10 points are charged for it" in words


async def test_what_was_taken_and_is_not_charged_is_found(books: Books) -> None:
    books.place.alter(f"DELETE FROM entry WHERE batch_id = {BY_BALANCE}")
    words = (await books.broken())[Law.POINTS]
    assert "attempt 1 of batch 5 was taken, and nothing is charged for it" in words
    assert "10 points are missing" in words


# -- opt-outs ------------------------------------------------------------------------------------------------------


async def test_an_opt_out_that_was_not_respected_is_found(books: Books) -> None:
    mobile = numbers(NOT_TAKEN)[6]
    await books.opt_out(mobile, at(10))
    broken = await books.broken()
    assert list(broken) == [Law.OPT_OUTS]
    assert broken[Law.OPT_OUTS].startswith(f"{masked(mobile)} opted out at ")
    assert "is in attempt 2 of batch 3, begun at" in broken[Law.OPT_OUTS]


async def test_who_opts_out_later_or_took_it_back_before_was_sent_to_rightly(books: Books) -> None:
    back, late, again = numbers(NOT_TAKEN)[:3]
    await books.opt_out(back, at(10))
    await books.journal.remove_opt_outs(ACCOUNT, [back], at=at(15))
    await books.opt_out(late, at(20))
    assert await books.broken() == {}
    await books.opt_out(again, at(10))
    await books.journal.remove_opt_outs(ACCOUNT, [again], at=at(25))
    assert list(await books.broken()) == [Law.OPT_OUTS]


async def _sent_without(books: Books, mobile: str) -> None:
    """One more campaign, of one batch that leaves out who opted out after it was planned."""
    await books.opt_out(mobile, at(40))
    other = await planned(books.journal, SIZE, name="summer")
    (claim,) = await claimed(books.journal, other)
    await accepted(books.journal, await intended(books.journal, claim, at=at(50), omit=[mobile]), at=at(51))


async def test_who_was_left_out_is_no_violation_and_is_excluded_for_why(books: Books) -> None:
    mobile = numbers(1)[3]
    await _sent_without(books, mobile)
    summer = Books(journal=books.journal, place=books.place, campaign=2)
    truth = dict.fromkeys(numbers(1), 2) | {mobile: 1}
    everything = Truth(mobiles=dict.fromkeys(NUMBERS, 1) | truth, charges=Decimal(SIZE * BATCHES + SIZE - 1))
    assert await summer.broken(truth=everything) == {}
    nowhere = {name: times for name, times in everything.mobiles.items() if name != mobile}
    assert await summer.broken(truth=replace(everything, mobiles=nowhere)) == {}
    assert await books.broken(truth=everything) == {}
    spring, in_summer = await books.journal.traces(mobile, [])
    assert (spring.state, in_summer.state, in_summer.batch) == ("accepted", "excluded", 1)
    assert in_summer.exclusion is not None
    assert in_summer.exclusion.startswith("opted_out: after planning, at 2026-03-01 08:00:40Z (reply: 退订)")
    assert in_summer.omitted_from == {1}


async def test_a_left_out_person_whom_the_gateway_has_is_found(books: Books) -> None:
    mobile = numbers(1)[3]
    await _sent_without(books, mobile)
    truth = Truth(mobiles=dict.fromkeys(NUMBERS, 1) | dict.fromkeys(numbers(1), 2), charges=Decimal(130))
    broken = await Books(journal=books.journal, place=books.place, campaign=2).broken(truth=truth)
    assert (
        f"the gateway accepted {masked(mobile)} of batch 1, who had opted out and was left out here"
        in broken[Law.COVERED]
    )


async def test_who_was_in_a_batch_that_opted_out_whole_is_excluded_for_why(books: Books) -> None:
    other = await planned(books.journal, SIZE, name="summer")
    (claim,) = await claimed(books.journal, other)
    await books.journal.cancel_emptied(claim)
    (trace,) = [each for each in await books.journal.traces(numbers(1)[0], []) if each.campaign == "summer"]
    assert (trace.state, trace.exclusion, trace.attempts) == ("excluded", "opted_out: after planning", [])


# -- against the truth ---------------------------------------------------------------------------------------------


async def test_a_batch_settled_as_taken_that_the_gateway_never_had_is_found(books: Books) -> None:
    without = {name: 1 for name in NUMBERS if name not in numbers(BY_BALANCE)}
    broken = await books.broken(truth=Truth(mobiles=without, charges=Decimal(120)))
    assert broken[Law.COVERED] == (
        f"10 of the 10 numbers of batch 5 are accepted here and not at the gateway, {masked(numbers(5)[0])} the first;"
        " it was settled by the balance as taken"
    )


async def test_a_point_that_the_gateway_charged_and_nobody_entered_is_found(books: Books) -> None:
    broken = await books.broken(truth=Truth(mobiles=as_sent().mobiles, charges=Decimal(121)))
    assert broken == {Law.POINTS: "the gateway charged 121 points, 120 are entered here"}


async def test_a_number_missing_at_the_gateway_is_found_unless_its_count_was_short(books: Books) -> None:
    without = Truth(mobiles={name: 1 for name in NUMBERS if name != numbers(2)[0]}, charges=Decimal(120))
    assert "1 of the 10 numbers of batch 2 are accepted here" in (await books.broken(truth=without))[Law.COVERED]
    books.place.alter("UPDATE attempt SET success_counts = 9 WHERE batch_id = 2")
    assert await books.broken(truth=without) == {}


async def test_what_the_gateway_took_twice_is_found_with_its_batch(books: Books) -> None:
    twice = Truth(mobiles={**as_sent().mobiles, numbers(4)[0]: 2}, charges=Decimal(120))
    expected = f"the gateway accepted {masked(numbers(4)[0])} 2 times (batch 4)"
    assert (await books.broken(truth=twice))[Law.COVERED] == expected


async def test_a_batch_that_was_taken_and_is_planned_here_is_found_without_the_truth(books: Books) -> None:
    books.place.alter(f"UPDATE batch SET state = 'planned' WHERE seq = {BY_REPORT}")
    expected = "attempt 1 of batch 7 was taken (settled by a report), and the batch is planned here"
    assert (await books.broken())[Law.COVERED] == expected


# -- for a person --------------------------------------------------------------------------------------------------


async def test_a_batch_the_balance_settled_is_flagged_when_its_neighbours_have_reports_and_it_has_none(
    books: Books,
) -> None:
    for seq in (4, 6):
        await books.report(f"1000{seq:02}", numbers(seq)[: SIZE // 2])
    assert await books.flags() == []  # two neighbours are too few
    await books.report("100008", numbers(8)[: SIZE // 2])
    (flag,) = await books.flags()
    assert (flag.seq, flag.attempt, flag.settled_by) == (BY_BALANCE, 1, SettledBy.BALANCE)
    assert flag.words == (
        "batch 5 was settled by the balance as taken, and none of its 10 numbers has a report,"
        " while batches 4, 6, 8 have theirs"
    )
    assert await books.broken() == {}
    await books.report("777777", numbers(BY_BALANCE)[:1])  # some unknown task id names one of them
    assert await books.flags() == []


async def test_neighbours_with_few_reports_flag_nothing(books: Books) -> None:
    for seq in (4, 6, 8):
        await books.report(f"1000{seq:02}", numbers(seq)[: SIZE // 2 - 1])
    assert await books.flags() == []


# -- short counts, deliveries, one number ---------------------------------------------------------------------------


async def test_a_short_count_says_who_is_left_out_when_no_report_is_waited_for(books: Books) -> None:
    books.place.alter("UPDATE attempt SET success_counts = 8 WHERE batch_id = 2")
    await books.report("100002", numbers(2)[2:])
    shortfall = books.journal.shortfall
    assert await shortfall(books.campaign) == [ShortBatch(seq=2, lacking=2, unreported=None)]
    assert await shortfall(books.campaign, overdue_before=at(2)) == [ShortBatch(seq=2, lacking=2, unreported=None)]
    late = await shortfall(books.campaign, overdue_before=at(60))
    assert late == [ShortBatch(seq=2, lacking=2, unreported=tuple(numbers(2)[:2]), lines=(12, 13))]


async def test_what_evidence_says_was_taken_counts_as_delivered_and_as_overdue(books: Books) -> None:
    await books.report("200007", numbers(BY_REPORT)[:4])
    told = await books.journal.delivery(books.campaign, overdue_before=at(60))
    assert (told.delivered, told.overdue) == (4, SIZE * BATCHES - 4)


async def test_why_tells_attempts_evidence_and_the_report(books: Books) -> None:
    mobile = numbers(NOT_TAKEN)[0]
    await books.report("300003", [mobile])
    trace = await books.trace(mobile)
    first, second = trace.attempts
    assert (trace.state, trace.batch, trace.line) == ("accepted", NOT_TAKEN, 2 + 2 * SIZE)
    assert (first.evidence, first.settled_by, second.task_id) == (
        "not taken: as the balance says",
        SettledBy.BALANCE,
        "300003",
    )
    (report,) = trace.reports
    assert (report.task_id, report.state, report.status) == ("300003", ReportState.DELIVERED, "10")


async def test_a_look_for_the_audit_sees_one_moment(books: Books) -> None:
    async with books.journal._look() as connection:
        before = (await connection.exec_driver_sql("SELECT count(*) FROM attempt")).scalar_one()
        campaign = await planned(books.journal, SIZE, name="summer")
        (claim,) = await claimed(books.journal, campaign)
        await ended(books.journal, await intended(books.journal, claim), NOT_SENT, BatchState.PLANNED)
        assert (await connection.exec_driver_sql("SELECT count(*) FROM attempt")).scalar_one() == before
    assert books.place.rows("SELECT count(*) AS n FROM attempt")[0]["n"] == before + 1


async def test_when_numbers_were_forgotten_is_told_in_the_zone_of_the_page(books: Books) -> None:
    view = await books.journal.audit_view(books.campaign)
    late = replace(view, forgotten_at=datetime(2026, 3, 1, 20, tzinfo=UTC))  # in China it is the next day
    reckoning = reckon(view.readings, view.spendings, price=PRICE, policy=Policy())
    assert {"forgotten on 2026-03-02" in finding.detail for finding in audit(late, reckoning) if finding.holds} == {
        True
    }
