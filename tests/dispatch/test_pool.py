"""Every batch once: what a pool sends, when it stops, and what the journal holds afterwards."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest

from engine.dispatch.pacing import Pace, Turn
from engine.dispatch.pool import INTENT_GOOD_FOR_S, LEASE_S, PoolEnd
from engine.dispatch.retry import RetryPolicy
from engine.errors import ClaimLost, JournalError
from engine.journal.store import SqlJournal
from engine.model import Claim, Message, Outcome, PauseReason, RefusalKind
from tests.dispatch import virtual
from tests.dispatch.house import (
    DOUBT,
    NOT_SENT,
    THROTTLED,
    WRONG_PATH,
    Call,
    Faulty,
    Gateway,
    Run,
    accepted,
    at_once,
    refused,
    turns,
    when_told,
)
from tests.journal.stores import TEXT, SqlitePlace, batches, draft, outcomes, planned, states, totals

DONE = PoolEnd()


class Slow:
    """A journal whose disk takes some turns of the loop for an outcome."""

    def __init__(self, journal: SqlJournal, turns: int) -> None:
        self._journal, self._turns = journal, turns

    def __getattr__(self, name: str) -> object:
        return getattr(self._journal, name)

    async def record_outcome(self, *args: object, **kwargs: object) -> None:
        await turns(self._turns)
        await self._journal.record_outcome(*args, **kwargs)


def tally(place: SqlitePlace) -> dict[str, int]:
    return dict(Counter(states(place).values()))


# ── the way of a batch ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_every_batch_leaves_once_and_is_accepted(place: SqlitePlace, journal: SqlJournal) -> None:
    sizes = [1 + n % 7 for n in range(100)]
    run = Run(journal, Gateway(place), await planned(journal, *sizes))
    assert await run.to_its_end() == DONE
    assert sorted(run.gateway.seqs) == list(range(1, 101))
    assert tally(place) == {"accepted": 100}
    assert {settled.submitted.claim.seq for settled in run.settled} == set(range(1, 101))
    assert sum(settled.decision.charge or 0 for settled in run.settled) == sum(sizes)
    assert (await journal.counts(1)).charged == Decimal(sum(sizes))


async def test_an_empty_campaign_is_done_at_once(place: SqlitePlace, journal: SqlJournal) -> None:
    run = Run(journal, Gateway(place), await planned(journal, 1, sendable=0))
    assert await run.to_its_end() == DONE
    assert run.gateway.calls == []


async def test_each_batch_carries_its_own_text(place: SqlitePlace, journal: SqlJournal) -> None:
    texts = [TEXT, Message(content="second", units=6, segments=2)]
    campaign_id = await journal.begin_campaign(draft(messages=texts))
    one, two = batches(2, 3)
    await journal.add_plan(campaign_id, [one, two._replace(message=2)], [])
    await journal.publish_campaign(campaign_id, totals(2, 3))
    run = Run(journal, Gateway(place), campaign_id, messages=texts)
    await run.to_its_end()
    assert [(call.seq, call.message) for call in run.gateway.calls] == [(1, TEXT), (2, texts[1])]
    assert (await journal.counts(campaign_id)).charged == Decimal(2 + 3 * 2)


async def test_the_first_batch_goes_alone_until_it_is_answered(place: SqlitePlace, journal: SqlJournal) -> None:
    run = Run(journal, Gateway(place, when_told), await planned(journal, *[1] * 20))
    task = run.start()
    (first,) = await run.gateway.reached(1)
    await turns(100)
    assert run.gateway.seqs == [1]
    first.answer.set_result(NOT_SENT)  # that is no answer: the next attempt goes alone too
    (_, again) = await run.gateway.reached(2)
    await turns(100)
    assert run.gateway.seqs == [1, 1]
    run.gateway.answer = at_once
    again.accept()
    assert await task == DONE
    assert tally(place) == {"accepted": 20}


async def test_no_more_are_in_flight_than_allowed_and_all_of_them_are_used(
    place: SqlitePlace, journal: SqlJournal
) -> None:
    run = Run(journal, Gateway(place), await planned(journal, *[1] * 60), in_flight=5)

    async def slowly(call: Call) -> Outcome:
        await turns(10)
        return accepted(call.size)

    run.gateway.answer = slowly
    assert await run.to_its_end() == DONE
    assert run.gateway.most_out == 5


async def test_a_slow_disk_does_not_let_more_requests_out(place: SqlitePlace, journal: SqlJournal) -> None:
    run = Run(Slow(journal, 50), Gateway(place), await planned(journal, *[1] * 60), in_flight=5)
    assert await run.to_its_end() == DONE
    assert run.gateway.most_out <= 5
    assert tally(place) == {"accepted": 60}


async def test_what_is_planned_again_while_the_pool_runs_is_sent_by_the_same_run(
    place: SqlitePlace, journal: SqlJournal
) -> None:
    """A lease that ended in the queue is no reason to end a run early."""
    run = Run(journal, Gateway(place, when_told), await planned(journal, *[1] * 6), in_flight=1)
    task = run.start()
    (first,) = await run.gateway.reached(1)
    first.accept()
    (_, second) = await run.gateway.reached(2)
    second.accept()
    (*_, third) = await run.gateway.reached(3)
    run.gateway.answer = at_once
    run.clock.now_s += LEASE_S + 1
    third.accept()
    assert await task == DONE
    assert tally(place) == {"accepted": 6}
    assert sorted(run.gateway.seqs) == [1, 2, 3, 4, 5, 6]


# ── again, or never again ────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_was_not_sent_is_tried_again_with_a_number_of_its_own(
    place: SqlitePlace, journal: SqlJournal
) -> None:
    run = Run(journal, Gateway(place), await planned(journal, 1, 1, 1))
    run.gateway.answer = lambda call: NOT_SENT if call.seq == 2 and call.tries < 3 else accepted(call.size)
    assert await run.to_its_end() == DONE
    assert outcomes(place) == [
        (1, 1, "accepted"),
        (2, 1, "not_sent"),
        (2, 2, "not_sent"),
        (2, 3, "accepted"),
        (3, 1, "accepted"),
    ]


@pytest.mark.parametrize(
    ("outcome", "reason"), [(NOT_SENT, PauseReason.UNREACHABLE), (THROTTLED, PauseReason.THROTTLED)]
)
async def test_the_campaign_pauses_when_the_attempts_are_used_up(
    place: SqlitePlace, journal: SqlJournal, outcome: Outcome, reason: PauseReason
) -> None:
    run = Run(journal, Gateway(place), await planned(journal, *[1] * 10))
    run.gateway.answer = lambda call: outcome
    end = await run.to_its_end()
    assert end == PoolEnd(reason=reason, detail=outcome.reason)
    assert run.gateway.seqs == [1, 1, 1]
    assert tally(place) == {"planned": 10}
    assert [number for _, number, _ in outcomes(place)] == [1, 2, 3]


async def test_a_wrong_configuration_costs_one_request(place: SqlitePlace, journal: SqlJournal) -> None:
    run = Run(journal, Gateway(place), await planned(journal, *[1] * 10))
    run.gateway.answer = lambda call: WRONG_PATH
    assert (await run.to_its_end()).reason is PauseReason.CONFIGURATION
    assert run.gateway.seqs == [1]
    assert tally(place) == {"planned": 10}


async def test_a_retry_waits_as_long_as_the_gateway_asked_and_a_stop_ends_the_wait(
    place: SqlitePlace, journal: SqlJournal
) -> None:
    run = Run(journal, Gateway(place), await planned(journal, 1))
    run.gateway.answer = lambda call: replace(THROTTLED, retry_after_s=3600)
    task = run.start()
    await run.gateway.reached(1)
    while not run.settled:
        await asyncio.sleep(0)
    await turns(100)
    assert run.gateway.seqs == [1]
    assert states(place) == {1: "claimed"}
    run.stop.set()
    assert (await task).reason is PauseReason.STOPPED
    assert run.gateway.seqs == [1]
    assert states(place) == {1: "planned"}


async def test_a_batch_in_doubt_is_never_sent_again(place: SqlitePlace) -> None:
    async with place.open() as journal:
        run = Run(journal, Gateway(place), await planned(journal, *[1] * 12))
        run.gateway.answer = lambda call: DOUBT if call.seq % 3 == 2 else accepted(call.size)
        assert await run.to_its_end() == DONE
        assert Counter(run.gateway.seqs) == dict.fromkeys(range(1, 13), 1)
    for _ in range(2):
        async with place.open() as journal:
            again = Run(journal, Gateway(place), 1)
            assert await again.to_its_end() == DONE
            assert again.gateway.calls == []
    assert {seq for seq, state in states(place).items() if state == "in_doubt"} == {2, 5, 8, 11}


@pytest.mark.parametrize("attempts", [1, 3])
async def test_who_opts_out_at_the_last_moment_is_left_out_and_pauses_nothing(
    place: SqlitePlace, journal: SqlJournal, attempts: int
) -> None:
    """The intent of batch 2 carries a number that opts out before the request leaves."""
    policy = RetryPolicy(attempts=attempts, wait_s=0, wait_max_s=0)
    run = Run(journal, Gateway(place), await planned(journal, 3, 3, 3), retry=policy)
    asked: Counter[str] = Counter()

    def opted_out(numbers: str) -> list[str]:
        asked[numbers] += 1
        second = place.rows("SELECT mobiles FROM batch WHERE seq = 2")[0]["mobiles"]
        return [second.split(",")[0]] if numbers == second and asked[numbers] >= 2 else []

    run.pool._opted_out = opted_out
    assert await run.to_its_end() == DONE
    assert [(call.seq, call.size) for call in run.gateway.calls] == [(1, 3), (2, 2), (3, 3)]
    assert outcomes(place) == [(1, 1, "accepted"), (2, 1, "not_sent"), (2, 2, "accepted"), (3, 1, "accepted")]


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────────

WHOLE = [(RefusalKind.ACCOUNT, PauseReason.CREDENTIALS), (RefusalKind.BALANCE, PauseReason.BALANCE)]


@pytest.mark.parametrize(("kind", "reason"), WHOLE)
async def test_the_first_refusal_of_the_account_is_the_only_request(
    place: SqlitePlace, journal: SqlJournal, kind: RefusalKind, reason: PauseReason
) -> None:
    run = Run(journal, Gateway(place), await planned(journal, *[1] * 50), in_flight=16)
    run.gateway.answer = lambda call: refused(kind)
    assert await run.to_its_end() == PoolEnd(reason=reason, detail=refused(kind).reason)
    assert run.gateway.seqs == [1]
    assert tally(place) == {"planned": 50}


@pytest.mark.parametrize(("kind", "reason"), WHOLE)
async def test_a_refusal_in_the_middle_is_followed_by_no_new_request(
    place: SqlitePlace, journal: SqlJournal, kind: RefusalKind, reason: PauseReason
) -> None:
    run = Run(journal, Gateway(place, when_told), await planned(journal, *[1] * 100), in_flight=16)
    task = run.start()
    for first in range(2):
        (await run.gateway.reached(first + 1))[first].accept()
    calls = await run.gateway.reached(2 + 16)
    await turns(100)
    assert len(calls) == 18
    calls[5].answer.set_result(refused(kind))
    await turns(200)
    assert len(run.gateway.calls) == 18
    for call in calls:
        if not call.answer.done():
            call.accept()
    assert await task == PoolEnd(reason=reason, detail=refused(kind).reason)
    assert len(run.gateway.calls) == 18
    assert tally(place) == {"accepted": 17, "planned": 83}
    assert states(place)[calls[5].seq] == "planned"


@pytest.mark.parametrize("disk", [0, 50], ids=["fast disk", "slow disk"])
async def test_no_request_leaves_once_the_refusal_came_however_slow_the_disk_is(
    place: SqlitePlace, journal: SqlJournal, disk: int
) -> None:
    """Intents may wait for the disk, or share a commit with the refusal: whoever wakes first, none of them may leave."""
    run = Run(Slow(journal, disk), Gateway(place), await planned(journal, *[1] * 100), in_flight=8)
    refused_already, after = False, 0

    async def answer(call: Call) -> Outcome:
        nonlocal refused_already, after
        after += refused_already
        await turns(call.number % 5)
        if call.number == 40:
            refused_already = True
            return refused(RefusalKind.ACCOUNT)
        return accepted(call.size)

    run.gateway.answer = answer
    assert (await run.to_its_end()).reason is PauseReason.CREDENTIALS
    assert after == 0
    assert set(tally(place)) == {"accepted", "planned"}


async def test_a_refused_text_pauses_a_campaign_of_one_text(place: SqlitePlace, journal: SqlJournal) -> None:
    run = Run(journal, Gateway(place), await planned(journal, *[1] * 20))
    run.gateway.answer = lambda call: refused(RefusalKind.CONTENT)
    assert (await run.to_its_end()).reason is PauseReason.CONTENT
    assert run.gateway.seqs == [1]
    assert tally(place) == {"refused": 1, "planned": 19}
    assert place.rows("SELECT reason FROM batch WHERE seq = 1") == [{"reason": "no, because of the content"}]


async def test_a_campaign_of_several_texts_goes_on_without_the_refused_one(
    place: SqlitePlace, journal: SqlJournal
) -> None:
    texts = [Message(content=str(n), units=1, segments=1) for n in range(9)]
    campaign_id = await journal.begin_campaign(draft(messages=texts))
    await journal.add_plan(campaign_id, [b._replace(message=b.seq) for b in batches(*[1] * 9)], [])
    await journal.publish_campaign(campaign_id, totals(*[1] * 9))
    run = Run(journal, Gateway(place), campaign_id, messages=texts)
    run.gateway.answer = lambda call: accepted(1) if call.seq == 4 else refused(RefusalKind.CONTENT)
    assert await run.to_its_end() == DONE
    assert tally(place) == {"accepted": 1, "refused": 8}


async def test_a_run_of_unknown_refusals_pauses(place: SqlitePlace, journal: SqlJournal) -> None:
    run = Run(journal, Gateway(place), await planned(journal, *[1] * 20), in_flight=1)
    run.gateway.answer = lambda call: refused(RefusalKind.UNKNOWN)
    assert (await run.to_its_end()).reason is PauseReason.REFUSALS
    assert tally(place) == {"refused": 3, "planned": 17}


async def test_single_unknown_refusals_do_not_pause(place: SqlitePlace, journal: SqlJournal) -> None:
    run = Run(journal, Gateway(place), await planned(journal, *[1] * 9), in_flight=1)
    run.gateway.answer = lambda call: accepted(1) if call.number % 3 == 0 else refused(RefusalKind.UNKNOWN)
    assert await run.to_its_end() == DONE
    assert tally(place) == {"refused": 6, "accepted": 3}


# ── doubts ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def started(run: Run, in_flight: int) -> tuple[asyncio.Task[PoolEnd], list[Call]]:
    """Past the batches that go alone, with everything in flight that may be."""
    run.gateway.answer = when_told
    task = run.start()
    for first in range(2):
        (await run.gateway.reached(first + 1))[first].accept()
    calls = await run.gateway.reached(2 + in_flight)
    return task, calls[2:]


async def test_doubts_in_a_row_hold_new_requests_until_all_are_back(place: SqlitePlace, journal: SqlJournal) -> None:
    run = Run(journal, Gateway(place), await planned(journal, *[1] * 40), in_flight=8)
    task, calls = await started(run, 8)
    for call in calls[:3]:
        call.answer.set_result(DOUBT)
    await turns(200)
    new = run.gateway.calls[10:]
    assert len(new) <= 2  # the first two lost answers are no run yet
    for call in [*calls[3:7], *new]:
        call.answer.set_result(DOUBT)
    await turns(200)
    assert run.gateway.calls[10:] == new
    run.gateway.answer = at_once
    calls[7].accept()  # an answer among them: the gateway lives
    assert await task == DONE
    assert tally(place) == {"accepted": 40 - 7 - len(new), "in_doubt": 7 + len(new)}


async def test_when_none_of_them_is_answered_one_request_tries_and_then_the_campaign_pauses(
    place: SqlitePlace, journal: SqlJournal
) -> None:
    run = Run(journal, Gateway(place), await planned(journal, *[1] * 40), in_flight=8)
    task, _ = await started(run, 8)
    lost = 0
    while not task.done():
        for call in run.gateway.calls[2:]:
            if not call.answer.done():
                call.answer.set_result(DOUBT)
                lost += 1
        await asyncio.sleep(0)
    assert (await task).reason is PauseReason.DOUBTS
    assert lost <= 8 + 2 + 1  # what was out, what left before it was a run, and the one that tried
    assert tally(place) == {"accepted": 2, "in_doubt": lost, "planned": 38 - lost}


async def test_the_first_requests_of_a_run_are_doubted_one_by_one(place: SqlitePlace, journal: SqlJournal) -> None:
    run = Run(journal, Gateway(place), await planned(journal, *[1] * 40), in_flight=16)
    run.gateway.answer = lambda call: DOUBT
    assert await run.to_its_end() == PoolEnd(reason=PauseReason.DOUBTS, detail=DOUBT.reason)
    assert run.gateway.seqs == [1, 2, 3]
    assert run.gateway.most_out == 1
    assert tally(place) == {"in_doubt": 3, "planned": 37}


async def test_those_whom_the_pace_held_back_wait_too_when_doubts_come(place: SqlitePlace) -> None:
    """Most workers stand in the queue of the pace when the third answer is lost."""
    doubted_s, alone = [], []

    async def main() -> PoolEnd:
        async with place.open() as journal:
            pace = Pace(requests_per_second=10, numbers_per_second=0, window_s=1, clock=virtual.now)
            run = Run(journal, Gateway(place), await planned(journal, *[1] * 60), pace=pace, in_flight=16)

            async def answer(call: Call) -> Outcome:
                if len(doubted_s) >= 3 and virtual.now() > doubted_s[2] + 0.001:
                    alone.append(run.gateway.out == 1)
                await asyncio.sleep(0.5)
                if call.number <= 10:
                    return accepted(1)
                doubted_s.append(virtual.now())
                return DOUBT

            run.gateway.answer = answer
            return await run.to_its_end()

    end = await asyncio.to_thread(virtual.run, main())
    assert end.reason is PauseReason.DOUBTS
    assert alone == [True]  # the one that tried
    assert len(doubted_s) <= 3 + 16 + 1


# ── stopping ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_gentle_stop_lets_what_is_in_flight_finish_and_starts_nothing_new(
    place: SqlitePlace, journal: SqlJournal
) -> None:
    run = Run(journal, Gateway(place), await planned(journal, *[1] * 50), in_flight=8)
    task, calls = await started(run, 8)
    run.stop.set()
    await turns(100)
    assert not task.done()
    for call in calls:
        call.accept()
    assert (await task).reason is PauseReason.STOPPED
    assert len(run.gateway.calls) == 10
    assert run.gateway.cut == 0
    assert tally(place) == {"accepted": 10, "planned": 40}


async def test_when_the_grace_is_over_what_is_cut_is_in_doubt(place: SqlitePlace, journal: SqlJournal) -> None:
    run = Run(journal, Gateway(place), await planned(journal, *[1] * 50), in_flight=8, grace_s=0.05)
    task, calls = await started(run, 8)
    run.stop.set()
    calls[0].accept()
    assert (await task).reason is PauseReason.STOPPED
    assert run.gateway.cut == 7
    assert tally(place) == {"accepted": 3, "in_doubt": 7, "planned": 40}  # nothing stays claimed


async def test_stop_now_does_not_wait_for_the_grace(place: SqlitePlace, journal: SqlJournal) -> None:
    run = Run(journal, Gateway(place), await planned(journal, *[1] * 50), in_flight=8, grace_s=3600)
    task, _ = await started(run, 8)
    run.stop.set()
    await turns(100)
    run.stop_now.set()
    assert (await task).reason is PauseReason.STOPPED
    assert run.gateway.cut == 8
    assert tally(place)["in_doubt"] == 8


async def test_stop_now_without_a_gentle_stop_before(place: SqlitePlace, journal: SqlJournal) -> None:
    run = Run(journal, Gateway(place), await planned(journal, *[1] * 50), in_flight=8, grace_s=0)
    task, _ = await started(run, 8)
    run.stop_now.set()
    assert (await task).reason is PauseReason.STOPPED
    assert tally(place)["in_doubt"] == 8


async def test_a_stop_before_the_beginning_sends_nothing(place: SqlitePlace, journal: SqlJournal) -> None:
    run = Run(journal, Gateway(place), await planned(journal, *[1] * 5))
    run.stop.set()
    assert (await run.to_its_end()).reason is PauseReason.STOPPED
    assert run.gateway.calls == []
    assert tally(place) == {"planned": 5}


@pytest.mark.parametrize("per_second", [0.2, 1, 10])
async def test_a_gentle_stop_does_not_wait_for_the_pace(place: SqlitePlace, per_second: float) -> None:
    async def main() -> float:
        async with place.open() as journal:
            pace = Pace(requests_per_second=per_second, numbers_per_second=0, window_s=1, clock=virtual.now)
            run = Run(
                journal, Gateway(place), await planned(journal, *[1] * 200), pace=pace, in_flight=16, grace_s=3600
            )
            task = run.start()
            await run.gateway.reached(5)
            run.stop.set()
            stopped = virtual.now()
            assert (await task).reason is PauseReason.STOPPED
            return virtual.now() - stopped

    assert await asyncio.to_thread(virtual.run, main()) <= 1 / per_second + 0.05
    counted = tally(place)
    assert set(counted) == {"accepted", "planned"}


async def test_the_run_ends_when_it_is_cancelled_and_nothing_is_lost(place: SqlitePlace, journal: SqlJournal) -> None:
    run = Run(journal, Gateway(place), await planned(journal, *[1] * 50), in_flight=8)
    task, _ = await started(run, 8)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tally(place)["in_doubt"] == 8


# ── the lease ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_batch_whose_lease_ended_in_the_queue_is_claimed_again(place: SqlitePlace, journal: SqlJournal) -> None:
    run = Run(journal, Gateway(place, when_told), await planned(journal, 1))
    leases = []

    class Late:
        """The first claim takes longer than its lease."""

        def __getattr__(self, name: str) -> object:
            return getattr(journal, name)

        async def claim_batches(self, *args: object, **kwargs: object) -> object:
            claims = await journal.claim_batches(*args, **kwargs)
            leases.extend(claim.lease_until_s for claim in claims)
            if len(leases) == 1:
                run.clock.now_s += LEASE_S + 1
            return claims

    run.pool._journal = Late()
    run.gateway.answer = at_once
    assert await run.to_its_end() == DONE
    assert len(leases) == 2
    assert leases[1] > leases[0] + LEASE_S
    assert outcomes(place) == [(1, 1, "accepted")]


class Sleepy(Pace):
    """The machine sleeps while a request stands at the gate."""

    def __init__(self, sleep: object) -> None:
        super().__init__(requests_per_second=0, numbers_per_second=0, window_s=1, clock=lambda: 0.0)
        self._sleep = sleep

    async def gate(self, turn: Turn) -> float | None:
        self._sleep()
        return await super().gate(turn)


@pytest.mark.parametrize("slept_s", [INTENT_GOOD_FOR_S + 0.1, LEASE_S + 1, 8 * 3600])
async def test_a_machine_that_slept_after_the_intent_sends_nothing(
    place: SqlitePlace, journal: SqlJournal, slept_s: float
) -> None:
    def sleep() -> None:
        run.clock.now_s += slept_s

    run = Run(journal, Gateway(place), await planned(journal, 1), pace=Sleepy(sleep))
    assert await run.to_its_end() == DONE
    assert run.gateway.calls == []
    assert states(place) == {1: "in_doubt"}
    (row,) = place.rows("SELECT reason FROM batch")
    assert "slept" in row["reason"]


async def test_a_short_wait_after_the_intent_is_no_sleep(place: SqlitePlace, journal: SqlJournal) -> None:
    def sleep() -> None:
        run.clock.now_s += INTENT_GOOD_FOR_S - 0.1

    run = Run(journal, Gateway(place), await planned(journal, 1, 1), pace=Sleepy(sleep))
    assert await run.to_its_end() == DONE
    assert tally(place) == {"accepted": 2}


async def test_a_disk_that_stalled_for_seconds_leaves_no_doubt_behind(place: SqlitePlace) -> None:
    """What the pace makes an intent wait for is no sleep of the machine."""

    async def main() -> PoolEnd:
        async with place.open() as journal:
            stalled = 0

            class Stalling:
                def __getattr__(self, name: str) -> object:
                    return getattr(journal, name)

                async def record_intent(self, *args: object, **kwargs: object) -> object:
                    nonlocal stalled
                    stalled += 1
                    async with disk:
                        await asyncio.sleep(6 if stalled in (5, 6, 30) else 0.001)
                        return await journal.record_intent(*args, **kwargs)

            disk = asyncio.Lock()
            pace = Pace(requests_per_second=1, numbers_per_second=0, window_s=1, clock=virtual.now)
            run = Run(
                Stalling(),
                Gateway(place),
                await planned(journal, *[1] * 60),
                pace=pace,
                in_flight=16,
                lease_clock=virtual.now,
            )
            return await run.to_its_end()

    assert await asyncio.to_thread(virtual.run, main()) == DONE
    assert tally(place) == {"accepted": 60}


@pytest.mark.parametrize(("per_second", "in_flight"), [(0.2, 16), (1, 64), (0.05, 2)])
async def test_a_slow_pace_does_not_outlast_its_leases(place: SqlitePlace, per_second: float, in_flight: int) -> None:
    count = 400 if in_flight == 64 else 120

    async def main() -> tuple[PoolEnd, float]:
        async with place.open() as journal:
            pace = Pace(requests_per_second=per_second, numbers_per_second=0, window_s=1, clock=virtual.now)
            campaign_id = await planned(journal, *[1] * count)
            run = Run(journal, Gateway(place), campaign_id, pace=pace, in_flight=in_flight, lease_clock=virtual.now)
            async with asyncio.timeout(count / per_second * 1.1):
                end = await run.to_its_end()
            return end, virtual.now()

    end, took_s = await asyncio.to_thread(virtual.run, main())
    assert end == DONE
    assert (count - 1) / took_s >= 0.97 * per_second


# ── the journal fails ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("verb", ["claim_batches", "record_intent", "record_outcome"])
@pytest.mark.parametrize("at", [1, 2, 3, 8])
async def test_a_journal_that_fails_stops_the_run_and_nothing_more_is_sent(
    place: SqlitePlace, verb: str, at: int
) -> None:
    async with place.open() as journal:
        faulty = Faulty(journal, verb, at)
        run = Run(faulty, Gateway(place), await planned(journal, *[1] * 40), in_flight=4)
        after = []

        async def answer(call: Call) -> Outcome:
            if faulty.failed:
                after.append(call.seq)
            await asyncio.sleep(0)
            return accepted(call.size)

        run.gateway.answer = answer
        if verb == "claim_batches" and at == 8:
            run.stop.set()
            await run.to_its_end()
            return
        with pytest.raises(JournalError, match="no space"):
            await run.to_its_end()
        assert len(after) <= 3  # those whose intent was on the disk when it failed
        sent = set(run.gateway.seqs)
    async with place.open():
        held = states(place)
        assert all(held[seq] in ("accepted", "in_doubt") for seq in sent)
        assert Counter(run.gateway.seqs).most_common(1)[0][1] == 1 if sent else True


async def test_an_outcome_that_cannot_be_stored_is_not_passed_over_in_silence(
    place: SqlitePlace, journal: SqlJournal, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody else moved the batch while its request was out: that must not end as "it was not sent"."""
    run = Run(journal, Gateway(place), await planned(journal, 1, 1))

    def answer(call: Call) -> Outcome:
        place.alter(f"UPDATE batch SET state = 'planned', owner = NULL WHERE seq = {call.seq}")
        return accepted(call.size)

    run.gateway.answer = answer
    with caplog.at_level(logging.WARNING), pytest.raises(ClaimLost):
        await run.to_its_end()
    assert "was not sent" not in caplog.text
    assert run.gateway.seqs == [1]


async def test_a_claim_that_somebody_else_took_is_not_sent(
    place: SqlitePlace, journal: SqlJournal, caplog: pytest.LogCaptureFixture
) -> None:
    class Taken:
        def __getattr__(self, name: str) -> object:
            return getattr(journal, name)

        async def record_intent(self, account: str, claim: Claim, **kwargs: object) -> object:
            if claim.seq == 4:
                place.alter("UPDATE batch SET owner = 'somebody', epoch = 99 WHERE seq = 4")
            return await journal.record_intent(account, claim, **kwargs)

    run = Run(Taken(), Gateway(place), await planned(journal, *[1] * 6))
    with caplog.at_level(logging.WARNING):
        assert await run.to_its_end() == DONE
    assert sorted(run.gateway.seqs) == [1, 2, 3, 5, 6]
    assert states(place)[4] == "claimed"
    assert caplog.messages == ["a batch was no longer ours and was not sent"]


async def test_the_gateway_s_own_error_ends_the_run_and_leaves_a_doubt(place: SqlitePlace) -> None:
    async with place.open() as journal:
        run = Run(journal, Gateway(place), await planned(journal, *[1] * 10))

        def answer(call: Call) -> Outcome:
            if call.seq == 5:
                raise RuntimeError("a bug in the adapter")
            return accepted(call.size)

        run.gateway.answer = answer
        with pytest.raises(RuntimeError, match="a bug"):
            await run.to_its_end()
    async with place.open():
        assert states(place)[5] == "in_doubt"
        assert set(states(place).values()) <= {"accepted", "in_doubt", "planned"}
