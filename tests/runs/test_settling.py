"""The driving of settlement: what a pass ends, when sending falls silent for it, and how long the end of a run waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.errors import NoAnswer, PlanError
from engine.gateway.polls import ReportState
from engine.journal.port import OpenDoubt, PollAnswer, PollKind, PollRead, ReportLine
from engine.journal.store import SqlJournal
from engine.ledger.evidence import Policy
from engine.ledger.points import add_up
from engine.model import Balance, BatchState, Outcome, OutcomeKind
from engine.runs.settling import FEWEST_TO_DRAIN, WITHOUT_SIZES, Settler, assume
from tests.dispatch import virtual
from tests.journal.stores import ACCOUNT, DOUBT, START, SqlitePlace, claimed, planned, reading, states

OPENING = 10_000
MIN_AGE_S, SETTLE_S = 180.0, 5.0
SIZES = (10, 11, 12, 13, 14, 15, 16, 17)
SOON_S = 60.0


class Timeless:
    """A journal in whose verbs no virtual time passes, though other threads carry them out."""

    def __init__(self, journal: SqlJournal) -> None:
        self._journal = journal

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._journal, name)

        async def at_once(*args: Any, **kwargs: Any) -> Any:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, virtual.VirtualLoop)
            loop._jump.at_work += 1
            try:
                return await verb(*args, **kwargs)
            finally:
                loop._jump.at_work -= 1

        return at_once


class House:
    """A journal, a gateway that keeps a balance, and a settler; time is the loop's, and passes when nobody works."""

    def __init__(self, place: SqlitePlace, journal: SqlJournal, **policy: Any) -> None:
        self.place, self.journal = place, journal
        self.points, self.prepaid, self.trouble, self.reads = OPENING, True, False, 0
        self.ended: list[tuple[int, Decimal | None]] = []
        self.settler = Settler(
            ACCOUNT,
            journal,
            read_balance=self.balance,
            clock=self.now,
            policy=Policy(**{"min_age_s": MIN_AGE_S, "balance_settle_s": SETTLE_S, **policy}),
            price=Decimal(1),
            on_ended=lambda doubt, charge: self.ended.append((doubt.seq, charge)),
        )

    def now(self) -> datetime:
        return START + timedelta(seconds=virtual.now())

    async def balance(self) -> Balance:
        self.reads += 1
        await asyncio.sleep(0.01)
        if self.trouble:
            raise NoAnswer("no answer")
        return replace(reading(Decimal(self.points), at=self.now()), prepaid=self.prepaid)

    async def sends(self, *sizes: int, lost: Mapping[int, bool], name: str = "spring", read_first: bool = True) -> int:
        """A campaign, one batch after the other. `lost`: whose answers are, and whether they were taken."""
        campaign_id = await planned(self.journal, *sizes, name=name)
        if read_first:
            await self.settler.read(campaign_id)
        for claim in await claimed(self.journal, campaign_id):
            submitted = await self.journal.record_intent(ACCOUNT, claim, started_at=self.now())
            await asyncio.sleep(0.1)
            self.points -= claim.size if lost.get(claim.seq, True) else 0
            answer = Outcome(
                kind=OutcomeKind.ACCEPTED,
                task_id=f"{campaign_id}{claim.seq:03}",
                success_counts=claim.size,
                remaining=Decimal(self.points),
            )
            is_lost = claim.seq in lost
            await asyncio.sleep(0.1)
            await self.journal.record_outcome(
                ACCOUNT,
                submitted,
                DOUBT if is_lost else answer,
                finished_at=self.now(),
                then=BatchState.IN_DOUBT if is_lost else BatchState.ACCEPTED,
                charge=None if is_lost else Decimal(claim.size),
            )
            await asyncio.sleep(0.1)
        return campaign_id

    async def polled(self, reports: list[ReportLine]) -> None:
        """A poll of reports."""
        poll_id = await self.journal.begin_poll(ACCOUNT, PollKind.REPORT, asked_at=self.now(), most=100)
        answer = PollAnswer(at=self.now(), http_status=200, charset=None, complete=True, body=b"<returnsms/>")
        await self.journal.keep_answer(poll_id, answer)
        read = PollRead(at=self.now(), records=len(reports), reports=reports)
        await self.journal.apply_poll(ACCOUNT, poll_id, read)

    async def reported(self, seq: int, task_id: str = "777") -> None:
        """The gateway reports a batch under a task id that nobody knows."""
        (row,) = self.place.rows(f"SELECT mobiles FROM batch WHERE seq = {seq}")
        await self.polled(
            [
                ReportLine(
                    task_id=task_id,
                    mobile=mobile,
                    state=ReportState.DELIVERED,
                    received_at=self.now(),
                    status="10",
                    error_code="",
                )
                for mobile in row["mobiles"].split(",")
            ]
        )

    async def doubts(self) -> dict[int, OpenDoubt]:
        return {doubt.seq: doubt for doubt in await self.journal.open_doubts(ACCOUNT)}

    @property
    def in_doubt(self) -> list[int]:
        return [seq for seq, state in states(self.place).items() if state == "in_doubt"]


Main = Callable[[House], Awaitable[None]]


@pytest.fixture
def housed(tmp_path: Path) -> Callable[..., None]:
    """Runs a test in virtual time."""

    def run(main: Main, **policy: Any) -> None:
        async def whole() -> None:
            place = SqlitePlace(tmp_path)
            async with place.open() as journal:
                await main(House(place, Timeless(journal), **policy))  # type: ignore[arg-type]

        virtual.run(whole())

    return run


# ── a pass ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_pass_ends_what_the_balance_tells_and_says_of_the_rest_what_it_waits_for(housed: Any) -> None:
    async def main(house: House) -> None:
        await house.sends(*SIZES, lost={4: True, 6: False})
        assert await house.settler.quiet(1)
        passed = await house.settler.look()
        assert (passed.taken, passed.not_taken, passed.off) == (1, 0, None)
        assert house.ended == [(4, Decimal(13))]
        assert {seq: state for seq, state in states(house.place).items() if state != "accepted"} == {6: "in_doubt"}
        (left,) = passed.open
        assert (left.seq, "it may still be taken until" in left.waits_for) == (6, True)
        assert (await house.doubts())[6].waits_for == left.waits_for
        await asyncio.sleep(MIN_AGE_S)
        assert await house.settler.quiet(1)
        passed = await house.settler.look()
        assert (passed.taken, passed.not_taken, passed.open) == (0, 1, ())
        assert house.ended == [(4, Decimal(13)), (6, None)]
        assert states(house.place)[6] == "planned"
        (row,) = house.place.rows(
            "SELECT evidence, settled_by FROM attempt JOIN batch b ON b.id = batch_id WHERE seq = 6"
        )
        assert row["evidence"].startswith("not taken: no charge is missing")
        assert row["settled_by"] == "balance"

    housed(main)


def test_the_points_add_up_between_any_two_readings_once_the_balance_has_settled_everything(housed: Any) -> None:
    async def main(house: House) -> None:
        await house.sends(*SIZES, lost={4: True, 8: True})
        await house.settler.quiet(1)
        assert (await house.settler.look()).taken == 2
        readings = await house.journal.readings(ACCOUNT)
        assert [reading.charged_since_last for reading in readings] == [0, sum(SIZES), 0]

    housed(main)


def test_the_points_add_up_once_a_report_has_settled_what_the_balance_could_not(housed: Any) -> None:
    async def main(house: House) -> None:
        await house.polled([])
        await house.sends(10, 11, 12, 13, 13, 16, lost={4: True, 5: False})
        await house.settler.quiet(1)
        await house.settler.look()
        assert house.in_doubt == [4, 5]
        await house.reported(4)
        await house.settler.look()
        assert house.in_doubt == [5]
        points = add_up(await house.journal.readings(ACCOUNT), charged_since=Decimal(0))
        assert points.unexplained == 0
        assert [interval.points for interval in points.intervals] == []

    housed(main)


def test_evidence_that_fits_two_batches_leaves_both_in_doubt_and_names_them(housed: Any) -> None:
    async def main(house: House) -> None:
        await house.sends(10, 11, 12, 13, 13, 14, 15, lost={4: True, 5: False})
        await asyncio.sleep(MIN_AGE_S)
        await house.settler.quiet(1)
        passed = await house.settler.look()
        assert (passed.taken, passed.not_taken, house.in_doubt) == (0, 0, [4, 5])
        for doubt in passed.open:
            assert "batch 4 of spring" in doubt.waits_for
            assert "batch 5 of spring" in doubt.waits_for

    housed(main)


def test_points_that_nobody_of_ours_spent_leave_everything_in_doubt_and_the_reason_is_told(housed: Any) -> None:
    async def main(house: House) -> None:
        await house.sends(*SIZES, lost={4: True})
        house.points -= 7
        await asyncio.sleep(MIN_AGE_S)
        await house.settler.quiet(1)
        passed = await house.settler.look()
        assert passed.off is not None
        assert house.in_doubt == [4]
        assert (await house.doubts())[4].waits_for.startswith("the balance cannot tell: ")

    housed(main)


def test_a_doubt_before_every_reading_waits_for_a_report_or_a_person(housed: Any) -> None:
    async def main(house: House) -> None:
        await house.sends(*SIZES, lost={4: True}, read_first=False)
        await asyncio.sleep(MIN_AGE_S)
        await house.settler.quiet(1)
        passed = await house.settler.look()
        assert [doubt.waits_for.startswith("no balance was read before") for doubt in passed.open] == [True]
        assert house.in_doubt == [4]

    housed(main)


FORBIDDEN: dict[str, dict[str, Any]] = {
    "shared": {"exclusive": False},
    "postpaid": {"prepaid": False},
    "meaningless": {"remainpoint_meaningful": False},
    "refunds": {"refunds": True},
}


@pytest.mark.parametrize("policy", FORBIDDEN.values(), ids=FORBIDDEN)
def test_where_the_balance_proves_nothing_it_settles_nothing(housed: Any, policy: dict[str, Any]) -> None:
    async def main(house: House) -> None:
        house.prepaid = policy.get("prepaid", True)
        await house.sends(*SIZES, lost={4: True, 6: False})
        await asyncio.sleep(MIN_AGE_S)
        await house.settler.quiet(1)
        passed = await house.settler.look()
        assert (house.settler.is_forbidden, passed.off is not None, house.in_doubt) == (True, True, [4, 6])

    housed(main, **policy)


def test_a_report_settles_a_doubt_with_its_task_id_and_without_the_balance(housed: Any) -> None:
    async def main(house: House) -> None:
        await house.polled([])  # the queue was empty before
        await house.sends(*SIZES, lost={4: True, 6: False})
        await house.reported(4)
        passed = await house.settler.look()
        assert (passed.taken, house.in_doubt) == (1, [6])
        (row,) = house.place.rows(
            "SELECT task_id, settled_by, points FROM attempt a JOIN batch b ON b.id = a.batch_id "
            "JOIN entry e ON e.batch_id = b.id WHERE b.seq = 4"
        )
        assert row == {"task_id": "777", "settled_by": "report", "points": 13 * 10_000}

    housed(main, exclusive=False)


def test_a_report_names_what_the_balance_had_settled(housed: Any) -> None:
    async def main(house: House) -> None:
        await house.polled([])
        await house.sends(*SIZES, lost={4: True})
        await house.settler.quiet(1)
        assert (await house.settler.look()).taken == 1
        await house.reported(4)
        assert (await house.settler.look()).taken == 0
        (row,) = house.place.rows("SELECT task_id, settled_by FROM attempt WHERE evidence IS NOT NULL")
        assert row == {"task_id": "777", "settled_by": "balance"}
        assert len(house.place.rows("SELECT * FROM entry WHERE kind = 'charge'")) == len(SIZES)

    housed(main)


# ── beside sending ───────────────────────────────────────────────────────────────────────────────────────────────────


class Pool:
    """A pool that is silent when it is told to, and counts it."""

    def __init__(self, house: House) -> None:
        self.house, self.silences, self.is_silent = house, 0, False

    async def silence(self) -> None:
        await asyncio.sleep(0.01)
        self.silences, self.is_silent = self.silences + 1, True

    def go_on(self) -> None:
        self.is_silent = False


async def beside(house: House, pool: Pool | None, sizes: int, during: Callable[[], Awaitable[None]]) -> None:
    """Settle beside something."""
    over = asyncio.Event()
    settling = asyncio.create_task(house.settler.beside(lambda: pool, 1, sizes=sizes, over=over))  # type: ignore[arg-type, return-value]
    await asyncio.sleep(1)
    await during()
    over.set()
    await settling


@pytest.mark.parametrize(
    ("sizes", "most"),
    [(1, WITHOUT_SIZES), (2, FEWEST_TO_DRAIN), (8, FEWEST_TO_DRAIN), (10, 5), (31, 15)],
)
def test_sending_falls_silent_when_doubts_get_too_many_to_be_told_apart_and_not_before(
    housed: Any, sizes: int, most: int
) -> None:
    async def main(house: House) -> None:
        await house.settler.read(await planned(house.journal, 1))
        pool = Pool(house)

        async def during() -> None:
            for _ in range(most - 1):
                house.settler.note_doubt(10, may_land_late=True)
                await asyncio.sleep(0.5)
            await asyncio.sleep(SOON_S)
            assert pool.silences == 0
            house.settler.note_doubt(10, may_land_late=True)
            await asyncio.sleep(SOON_S)
            assert (pool.silences, pool.is_silent) == (1, False)
            for _ in range(most - 1):  # counted anew
                house.settler.note_doubt(10, may_land_late=True)
            await asyncio.sleep(SOON_S)
            assert pool.silences == 1

        reads = house.reads
        await beside(house, pool, sizes, during)
        assert house.reads == reads + 2

    housed(main)


@pytest.mark.parametrize("policy", FORBIDDEN.values(), ids=FORBIDDEN)
def test_sending_never_falls_silent_where_the_balance_proves_nothing(housed: Any, policy: dict[str, Any]) -> None:
    async def main(house: House) -> None:
        house.prepaid = policy.get("prepaid", True)
        await house.sends(*SIZES, lost={4: True})
        await asyncio.sleep(MIN_AGE_S)
        pool = Pool(house)

        async def during() -> None:
            for _ in range(50):
                house.settler.note_doubt(10, may_land_late=True)
                await asyncio.sleep(1)

        reads = house.reads
        await beside(house, pool, 31, during)
        assert (pool.silences, house.reads) == (0, reads)

    housed(main, **policy)


def test_sending_falls_silent_seldom_for_doubts_whose_patience_is_over(housed: Any) -> None:
    async def main(house: House) -> None:
        await house.sends(*SIZES, lost={4: True, 6: False})
        pool = Pool(house)

        async def during() -> None:
            await asyncio.sleep(MIN_AGE_S / 2)
            assert pool.silences == 0
            await asyncio.sleep(MIN_AGE_S)
            assert pool.silences == 1  # one reading in silence settled both
            assert house.in_doubt == []

        await beside(house, pool, 31, during)

    housed(main)


def test_of_the_time_no_more_than_one_part_in_twenty_is_silence_for_what_cannot_be_settled(housed: Any) -> None:
    async def main(house: House) -> None:
        await house.sends(10, 11, 12, 13, 13, 14, 15, lost={4: True, 5: False})  # never to be told apart
        pool = Pool(house)

        async def during() -> None:
            await asyncio.sleep(MIN_AGE_S + 400)
            assert 3 <= pool.silences <= 400 / (20 * SETTLE_S) + 1
            assert house.in_doubt == [4, 5]

        await beside(house, pool, 31, during)

    housed(main)


def test_a_balance_that_cannot_be_read_ends_the_silence_and_leaves_everything_in_doubt(housed: Any) -> None:
    async def main(house: House) -> None:
        await house.sends(*SIZES, lost={4: True})
        house.trouble = True
        pool = Pool(house)

        async def during() -> None:
            for _ in range(20):
                house.settler.note_doubt(10, may_land_late=True)
            await asyncio.sleep(SOON_S)
            assert (pool.silences, pool.is_silent) == (1, False)

        await beside(house, pool, 31, during)

    housed(main)


def test_without_a_pool_nobody_falls_silent_and_doubts_are_looked_at_all_the_same(housed: Any) -> None:
    async def main(house: House) -> None:
        await house.sends(*SIZES, lost={8: False})

        async def during() -> None:
            for _ in range(20):
                house.settler.note_doubt(10, may_land_late=True)
            await asyncio.sleep(SOON_S)

        reads = house.reads
        await beside(house, None, 31, during)
        assert (house.reads, (await house.doubts())[8].waits_for == "") == (reads, False)

    housed(main)


def test_when_sending_is_over_a_reading_in_silence_is_not_waited_for(housed: Any) -> None:
    async def main(house: House) -> None:
        await house.settler.read(await planned(house.journal, 1))
        pool = Pool(house)
        over = asyncio.Event()
        settling = asyncio.create_task(house.settler.beside(lambda: pool, 1, sizes=31, over=over))  # type: ignore[arg-type, return-value]
        for _ in range(20):
            house.settler.note_doubt(10, may_land_late=True)
        await asyncio.sleep(1)
        assert pool.is_silent
        begun = virtual.now()
        over.set()
        await settling
        assert virtual.now() - begun < 0.1
        assert not pool.is_silent

    housed(main, balance_settle_s=60)


# ── at the end ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def took(work: Awaitable[None]) -> float:
    begun = virtual.now()
    await work
    return virtual.now() - begun


def test_the_end_waits_out_patience_and_plans_again_what_was_not_taken(housed: Any) -> None:
    async def main(house: House) -> None:
        campaign_id = await house.sends(*SIZES, lost={4: True, 6: False})
        waited = await took(house.settler.until_settled(campaign_id, give_up=asyncio.Event()))
        assert MIN_AGE_S - 5 < waited < MIN_AGE_S + 4 * SETTLE_S
        assert (house.in_doubt, states(house.place)[4], states(house.place)[6]) == ([], "accepted", "planned")

    housed(main)


def test_the_end_does_not_wait_when_everything_was_taken(housed: Any) -> None:
    async def main(house: House) -> None:
        campaign_id = await house.sends(*SIZES, lost={4: True, 6: True})
        assert await took(house.settler.until_settled(campaign_id, give_up=asyncio.Event())) < 2 * SETTLE_S
        assert house.in_doubt == []

    housed(main)


def test_without_doubts_the_end_reads_nothing(housed: Any) -> None:
    async def main(house: House) -> None:
        campaign_id = await house.sends(*SIZES, lost={})
        reads = house.reads
        assert await took(house.settler.until_settled(campaign_id, give_up=asyncio.Event())) == pytest.approx(
            0, abs=0.1
        )
        assert house.reads == reads

    housed(main)


@pytest.mark.parametrize("policy", FORBIDDEN.values(), ids=FORBIDDEN)
def test_where_the_balance_cannot_help_the_end_returns_at_once_and_reads_nothing(
    housed: Any, policy: dict[str, Any]
) -> None:
    async def main(house: House) -> None:
        house.prepaid = policy.get("prepaid", True)
        campaign_id = await house.sends(*SIZES, lost={4: True})
        reads = house.reads
        assert await took(house.settler.until_settled(campaign_id, give_up=asyncio.Event())) < 0.1
        assert (house.reads, house.in_doubt) == (reads, [4])

    housed(main, **policy)


def test_where_the_chain_is_off_the_end_does_not_wait_out_patience(housed: Any) -> None:
    async def main(house: House) -> None:
        campaign_id = await house.sends(*SIZES, lost={4: True})
        house.points -= 7
        assert await took(house.settler.until_settled(campaign_id, give_up=asyncio.Event())) < 4 * SETTLE_S
        assert house.in_doubt == [4]

    housed(main)


@pytest.mark.parametrize("after_s", [1.0, 50.0], ids=["while the balance is read", "while patience is waited out"])
def test_the_end_is_given_up_when_it_is_told_to(housed: Any, after_s: float) -> None:
    async def main(house: House) -> None:
        campaign_id = await house.sends(*SIZES, lost={6: False})
        give_up = asyncio.Event()
        asyncio.get_running_loop().call_later(after_s, give_up.set)
        waited = await took(house.settler.until_settled(campaign_id, give_up=give_up))
        assert after_s - 0.1 < waited < after_s + 0.5
        assert house.in_doubt == [6]

    housed(main)


def test_a_report_that_comes_while_patience_is_waited_out_ends_the_wait(housed: Any) -> None:
    async def main(house: House) -> None:
        await house.polled([])
        campaign_id = await house.sends(10, 11, 12, 13, 14, 16, lost={6: False})
        waiting = asyncio.create_task(took(house.settler.until_settled(campaign_id, give_up=asyncio.Event())))
        await asyncio.sleep(50)
        assert house.in_doubt == [6]
        house.points -= 16  # the gateway takes it only now
        await house.reported(6)
        assert await waiting < 60
        assert (house.in_doubt, states(house.place)[6]) == ([], "accepted")

    housed(main)


def test_a_balance_that_cannot_be_read_leaves_the_doubts_open_at_the_end(housed: Any) -> None:
    async def main(house: House) -> None:
        campaign_id = await house.sends(*SIZES, lost={6: False})
        house.trouble = True
        await house.settler.until_settled(campaign_id, give_up=asyncio.Event())
        assert house.in_doubt == [6]
        assert (await house.doubts())[6].waits_for != ""

    housed(main)


def test_a_balance_that_never_rests_is_not_waited_for_for_ever(housed: Any) -> None:
    async def main(house: House) -> None:
        campaign_id = await house.sends(*SIZES, lost={6: False})

        async def others() -> None:
            while True:
                house.points -= 1
                await asyncio.sleep(1)

        spending = asyncio.create_task(others())
        await house.settler.until_settled(campaign_id, give_up=asyncio.Event())
        spending.cancel()
        assert house.in_doubt == [6]

    housed(main)


def test_what_another_campaign_gets_back_does_not_end_the_wait_for_one_s_own(housed: Any) -> None:
    async def main(house: House) -> None:
        await house.sends(*SIZES, lost={3: False}, name="autumn")
        await asyncio.sleep(MIN_AGE_S)
        spring = await house.sends(20, 21, 22, 23, 24, 25, lost={4: False})
        await house.settler.until_settled(spring, give_up=asyncio.Event())
        assert await house.doubts() == {}

    housed(main)


# ── a person's word ──────────────────────────────────────────────────────────────────────────────────────────────────


async def said(house: House, *, taken: bool = True, **words: Any) -> int:
    word = {"account": ACCOUNT, "campaign": "spring", "seq": 4, "by": "wang", "reason": "the vendor said so", **words}
    return await assume(house.journal, taken=taken, price=Decimal("0.5"), at=house.now(), **word)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"campaign": "sprung"}, "batch 4 of sprung is not in doubt; in doubt are: none"),
        ({"seq": 99}, "batch 99 of spring is not in doubt; in doubt are: 4, 6"),
        ({"seq": 5}, "batch 5 of spring is not in doubt; in doubt are: 4, 6"),
        ({"account": "another account"}, "in doubt are: none"),
    ],
    ids=["campaign", "batch", "not in doubt", "account"],
)
@pytest.mark.parametrize("taken", [True, False])
def test_a_word_about_what_is_not_in_doubt_changes_nothing(
    housed: Any, wrong: dict[str, Any], words: str, taken: bool
) -> None:
    async def main(house: House) -> None:
        await house.sends(*SIZES, lost={4: True, 6: False})
        with pytest.raises(PlanError) as error:
            await said(house, taken=taken, **wrong)
        assert words in str(error.value)
        assert house.in_doubt == [4, 6]

    housed(main)


def test_a_person_s_word_is_kept_with_name_and_reason_and_charged_for_when_it_happened(housed: Any) -> None:
    async def main(house: House) -> None:
        await house.sends(*SIZES, lost={4: True, 6: False})
        gave_up_at = (await house.doubts())[4].gave_up_at
        await asyncio.sleep(1_000)
        assert await said(house) == 13
        assert await said(house, taken=False, seq=6) == 15
        assert (states(house.place)[4], states(house.place)[6]) == ("accepted", "planned")
        one, two = house.place.rows(
            "SELECT evidence, settled_by FROM attempt WHERE evidence IS NOT NULL ORDER BY batch_id"
        )
        assert one["evidence"].startswith("taken: wang assumed it taken at ")
        assert two["evidence"].startswith("not taken: wang assumed it not taken at ")
        assert one["evidence"].endswith(": the vendor said so")
        assert one["settled_by"] == two["settled_by"] == "operator"
        (entry,) = house.place.rows("SELECT points, at FROM entry e JOIN batch b ON b.id = e.batch_id WHERE b.seq = 4")
        assert entry["points"] == 13 * 5_000
        stored = (gave_up_at - START) / timedelta(microseconds=1)
        (first,) = house.place.rows("SELECT min(started_at) AS began FROM attempt")
        assert entry["at"] - first["began"] < stored < 10_000_000 + (entry["at"] - first["began"])

    housed(main)


def test_a_word_counts_once(housed: Any) -> None:
    async def main(house: House) -> None:
        await house.sends(*SIZES, lost={4: True})
        await said(house)
        with pytest.raises(PlanError, match="not in doubt"):
            await said(house, taken=False)
        assert states(house.place)[4] == "accepted"

    housed(main)


def test_of_two_words_at_the_same_time_the_second_is_told_that_it_is_too_late(housed: Any) -> None:
    async def main(house: House) -> None:
        await house.sends(*SIZES, lost={4: True})
        told = await asyncio.gather(said(house), said(house, taken=False), return_exceptions=True)
        assert [isinstance(word, PlanError) for word in told].count(True) == 1
        assert len(house.place.rows("SELECT * FROM attempt WHERE evidence IS NOT NULL")) == 1

    housed(main)
