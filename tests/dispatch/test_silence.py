"""Silence: while somebody reads the balance nothing leaves, and everything that had left is on the disk."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.dispatch.pacing import Pace
from engine.dispatch.pool import PoolEnd
from engine.journal.store import SqlJournal
from engine.model import Claim, Outcome, OutcomeKind, PauseReason
from tests.dispatch.house import DOUBT, Call, Gateway, Run, at_once, crowded, turns, when_told
from tests.dispatch.test_interruptions import SteppedLoop, Vendor, copy, finished, left_behind, template
from tests.dispatch.virtual import now
from tests.dispatch.virtual import run as in_virtual_time
from tests.journal.stores import SqlitePlace, outcomes, planned, states

__all__ = ["template"]  # a fixture

DONE = PoolEnd()
ALONE, IN_FLIGHT = 2, 4
"""The first requests of a run go one by one, then so many at once."""
SENT = ALONE + IN_FLIGHT


class LateReleases:
    """A journal that gives claims back some time after it was asked to."""

    def __init__(self, journal: SqlJournal) -> None:
        self._journal = journal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    async def release(self, claims: Sequence[Claim]) -> None:
        await turns(100)
        await self._journal.release(claims)


class Held:
    """A journal whose outcomes get to the disk when the test says so."""

    def __init__(self, journal: SqlJournal) -> None:
        self._journal, self.let_through, self.reached = journal, asyncio.Event(), asyncio.Event()
        self.let_through.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    async def record_outcome(self, *args: Any, **kwargs: Any) -> None:
        self.reached.set()
        await self.let_through.wait()
        await self._journal.record_outcome(*args, **kwargs)


def open_attempts(place: SqlitePlace) -> list[int]:
    """The batches of which an intent is on the disk and no outcome."""
    return [seq for seq, _, outcome in outcomes(place) if outcome is None]


async def in_the_middle(run: Run) -> list[Call]:
    """Answer those that go alone, and return what is in flight when that is as much as may be."""
    for number in range(ALONE):
        (await run.gateway.reached(number + 1))[number].accept()
    return (await run.gateway.reached(ALONE + IN_FLIGHT))[ALONE:]


async def test_a_silence_begins_when_every_answer_is_on_the_disk_and_nothing_leaves_until_it_ends(
    place: SqlitePlace, journal: SqlJournal
) -> None:
    run = Run(journal, Gateway(place, when_told), await planned(journal, *[1] * 30))
    task = run.start()
    in_flight = await in_the_middle(run)
    silence = asyncio.create_task(run.pool.silence())
    for call in in_flight:
        await turns(50)
        assert not silence.done()
        call.accept()
    await silence
    assert open_attempts(place) == []
    assert len(run.gateway.calls) == len(outcomes(place)) == SENT
    await turns(200)
    assert len(run.gateway.calls) == len(outcomes(place)) == SENT
    run.gateway.answer = at_once
    run.pool.go_on()
    assert await task == DONE
    assert Counter(run.gateway.seqs) == dict.fromkeys(range(1, 31), 1)


async def test_a_silence_waits_for_the_disk_too(place: SqlitePlace, journal: SqlJournal) -> None:
    held = Held(journal)
    run = Run(held, Gateway(place, when_told), await planned(journal, *[1] * 30))
    task = run.start()
    in_flight = await in_the_middle(run)
    held.let_through.clear()
    silence = asyncio.create_task(run.pool.silence())
    for call in in_flight:
        call.accept()
    await held.reached.wait()
    await turns(100)
    assert not silence.done()
    assert len(open_attempts(place)) == IN_FLIGHT
    held.let_through.set()
    await silence
    assert open_attempts(place) == []
    run.gateway.answer = at_once
    run.pool.go_on()
    assert await task == DONE


async def test_a_silence_between_two_answers_is_there_at_once(place: SqlitePlace, journal: SqlJournal) -> None:
    run = Run(journal, Gateway(place), await planned(journal, 1, 1))
    await run.pool.silence()  # before it has begun
    task = run.start()
    await turns(200)
    assert run.gateway.calls == []
    run.pool.go_on()
    assert await task == DONE
    await run.pool.silence()  # after it has ended
    assert states(place) == {1: "accepted", 2: "accepted"}


async def test_one_silence_after_the_other(place: SqlitePlace, journal: SqlJournal) -> None:
    run = Run(journal, Gateway(place, when_told), await planned(journal, *[1] * 30))
    task = run.start()
    for calls in await in_the_middle(run), None:
        for call in calls or (await run.gateway.reached(SENT + IN_FLIGHT))[SENT:]:
            call.accept()
        await run.pool.silence()
        sent = len(run.gateway.calls)
        for call in run.gateway.calls:
            assert call.answer.done()
        assert open_attempts(place) == []
        await turns(100)
        assert len(run.gateway.calls) == sent
        run.pool.go_on()
        if calls is None:
            run.gateway.answer = at_once
    assert await task == DONE
    assert Counter(run.gateway.seqs) == dict.fromkeys(range(1, 31), 1)


async def test_what_a_silence_turned_back_is_in_one_hand_at_a_time(
    place: SqlitePlace, journal: SqlJournal, caplog: pytest.LogCaptureFixture
) -> None:
    """It is planned again with its outcome: whoever had it must not give it back, somebody else may have it by then."""
    run = Run(LateReleases(journal), Gateway(place), await planned(journal, *[1] * 200), lane=crowded(in_flight=4))
    task = run.start()
    while not task.done():
        await turns(40)
        await run.pool.silence()
        run.pool.go_on()
    with caplog.at_level(logging.WARNING):
        assert await task == DONE
    turned_back = sum(settled.outcome.kind is OutcomeKind.NOT_SENT for settled in run.settled)
    assert turned_back > 10
    assert caplog.messages == []
    assert Counter(run.gateway.seqs) == dict.fromkeys(range(1, 201), 1)


async def test_two_who_want_silence_at_the_same_time_both_have_it(place: SqlitePlace, journal: SqlJournal) -> None:
    run = Run(journal, Gateway(place, when_told), await planned(journal, *[1] * 10))
    task = run.start()
    in_flight = await in_the_middle(run)
    both = asyncio.gather(run.pool.silence(), run.pool.silence())
    await turns(50)
    assert not both.done()
    for call in in_flight:
        call.accept()
    await both
    assert open_attempts(place) == []
    run.gateway.answer = at_once
    run.pool.go_on()
    assert await task == DONE


async def test_whoever_stops_waiting_for_silence_leaves_the_pool_as_it_was(
    place: SqlitePlace, journal: SqlJournal
) -> None:
    run = Run(journal, Gateway(place, when_told), await planned(journal, *[1] * 10))
    task = run.start()
    in_flight = await in_the_middle(run)
    silence = asyncio.create_task(run.pool.silence())
    await turns(5)
    silence.cancel()
    await asyncio.wait([silence])
    run.gateway.answer = at_once
    run.pool.go_on()
    for call in in_flight:
        call.accept()
    assert await task == DONE


# ── it ends during a silence ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("when", ["before it is silent", "when it is silent"])
async def test_a_halt_during_a_silence_ends_the_pool_and_nothing_more_leaves(
    place: SqlitePlace, journal: SqlJournal, when: str
) -> None:
    run = Run(journal, Gateway(place, when_told), await planned(journal, *[1] * 30))
    task = run.start()
    in_flight = await in_the_middle(run)
    silence = asyncio.create_task(run.pool.silence())
    await turns(5)
    if when == "before it is silent":
        run.pool.halt(PauseReason.OPERATOR, "paused")
    for call in in_flight:
        call.accept()
    await silence
    run.pool.halt(PauseReason.OPERATOR, "paused")
    assert await task == PoolEnd(reason=PauseReason.OPERATOR, detail="paused")  # nobody says go_on
    assert len(run.gateway.calls) == SENT
    assert Counter(states(place).values()) == {"accepted": SENT, "planned": 30 - SENT}


@pytest.mark.parametrize("which", ["stop", "stop_now"])
async def test_a_stop_during_a_silence_ends_the_pool(place: SqlitePlace, journal: SqlJournal, which: str) -> None:
    run = Run(journal, Gateway(place, when_told), await planned(journal, *[1] * 30))
    task = run.start()
    in_flight = await in_the_middle(run)
    silence = asyncio.create_task(run.pool.silence())
    await turns(5)
    getattr(run, which).set()
    await turns(5)
    if which == "stop":
        for call in in_flight:
            call.accept()
    assert (await task).reason is PauseReason.STOPPED
    await silence
    assert len(run.gateway.calls) == SENT
    left = "accepted" if which == "stop" else "in_doubt"
    assert Counter(states(place).values()) == Counter({"planned": 30 - SENT, "accepted": ALONE}) + Counter(
        {left: IN_FLIGHT}
    )


async def test_a_refusal_during_a_silence_ends_the_pool_at_once(place: SqlitePlace, journal: SqlJournal) -> None:
    run = Run(journal, Gateway(place, when_told), await planned(journal, *[1] * 30), doubts_in_a_row=4)
    task = run.start()
    in_flight = await in_the_middle(run)
    silence = asyncio.create_task(run.pool.silence())
    await turns(5)
    run.pool.halt(PauseReason.CREDENTIALS, "no")
    for call in in_flight:
        call.accept()
    assert (await task).reason is PauseReason.CREDENTIALS
    await silence


def test_a_silence_that_is_asked_for_after_a_halt_does_not_keep_the_pool_from_ending(tmp_path: Path) -> None:
    async def main() -> None:
        place = SqlitePlace(tmp_path)
        async with place.open() as journal:
            pace = Pace(requests_per_second=0.1, numbers_per_second=0, window_s=1, clock=now)
            run = Run(journal, Gateway(place), await planned(journal, *[1] * 8), pace=pace, lease_clock=now)
            task = run.start()
            await run.gateway.reached(3)
            await asyncio.sleep(1)
            run.pool.halt(PauseReason.OPERATOR, "paused")
            await run.pool.silence()
            await asyncio.wait([task], timeout=60)
            ended_by_itself = task.done()
            run.pool.go_on()
            assert (await task).reason is PauseReason.OPERATOR
            assert ended_by_itself

    in_virtual_time(main())


# ── together with the breaker and the pace ───────────────────────────────────────────────────────────────────────────


async def test_a_silence_comes_while_the_breaker_lets_nobody_through(place: SqlitePlace, journal: SqlJournal) -> None:
    run = Run(journal, Gateway(place, when_told), await planned(journal, *[1] * 30), doubts_in_a_row=2)
    task = run.start()
    one, two, three, four = await in_the_middle(run)
    for call in (one, two):
        call.answer.set_result(DOUBT)
    await turns(100)  # the breaker has tripped; the next two stand before it
    silence = asyncio.create_task(run.pool.silence())
    run.gateway.answer = at_once
    three.accept()
    four.accept()
    await silence
    assert open_attempts(place) == []
    sent = len(run.gateway.calls)
    await turns(100)
    assert len(run.gateway.calls) == sent
    run.pool.go_on()
    assert await task == DONE
    assert Counter(run.gateway.seqs) == dict.fromkeys(range(1, 31), 1)


def test_a_silence_comes_at_once_while_everybody_waits_for_the_pace(tmp_path: Path) -> None:
    async def main() -> None:
        place = SqlitePlace(tmp_path)
        async with place.open() as journal:
            pace = Pace(requests_per_second=0.1, numbers_per_second=0, window_s=1, clock=now)
            run = Run(journal, Gateway(place), await planned(journal, *[1] * 5), pace=pace, lease_clock=now)
            task = run.start()
            await run.gateway.reached(1)
            await asyncio.sleep(1)
            began = now()
            await run.pool.silence()
            assert now() - began < 0.001
            await asyncio.sleep(100)  # their turns come, and go by
            assert len(run.gateway.calls) == len(outcomes(place)) == 1
            run.pool.go_on()
            went_on = now()
            assert await task == DONE
            assert len(run.gateway.calls) == 5
            assert now() - went_on >= 3 * 10  # the pace holds after the silence, too

    in_virtual_time(main())


def test_a_silence_longer_than_the_leases_sends_what_it_held_up_afterwards(tmp_path: Path) -> None:
    async def main() -> None:
        place = SqlitePlace(tmp_path)
        async with place.open() as journal:
            run = Run(journal, Gateway(place, when_told), await planned(journal, *[1] * 12), lease_clock=now)
            task = run.start()
            for call in await in_the_middle(run):
                call.accept()
            await run.pool.silence()
            await asyncio.sleep(1_000)
            run.gateway.answer = at_once
            run.pool.go_on()
            assert await task == DONE
            assert Counter(run.gateway.seqs) == dict.fromkeys(range(1, 13), 1)

    in_virtual_time(main())


# ── interrupted at every step ────────────────────────────────────────────────────────────────────────────────────────


Interrupt = Callable[[Run, "asyncio.Task[PoolEnd]", "asyncio.Task[None]"], None]


def cancel(run: Run, task: asyncio.Task[PoolEnd], settling: asyncio.Task[None]) -> None:
    task.cancel()
    settling.cancel()


def halt(run: Run, task: asyncio.Task[PoolEnd], settling: asyncio.Task[None]) -> None:
    run.pool.halt(PauseReason.OPERATOR)


class Witness(Vendor):
    """A vendor to whom something happens with its second request."""

    def __init__(self) -> None:
        super().__init__()
        self.second = asyncio.Event()

    async def __call__(self, call: Call) -> Outcome:
        if call.number == 2:
            self.second.set()
        return await super().__call__(call)


async def silent_for_a_while(run: Run, vendor: Witness, place: SqlitePlace) -> None:
    """Silence from the second request on, some turns long."""
    await vendor.second.wait()
    try:
        await run.pool.silence()
        sent = len(run.gateway.calls)
        assert open_attempts(place) == []
        await turns(5)
        assert len(run.gateway.calls) == sent or run.pool._halted.is_set()
        assert open_attempts(place) == []
    finally:
        run.pool.go_on()


async def interrupted(place: SqlitePlace, vendor: Witness, interrupt: Interrupt, step: int) -> bool:
    """Run a pool with a silence in it and interrupt it at this step. Returns whether there was such a step."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SteppedLoop)
    async with place.open() as journal:
        run = Run(journal, Gateway(place, vendor), 1, in_flight=2, grace_s=1)
        task = run.start()
        settling = asyncio.create_task(silent_for_a_while(run, vendor, place))
        loop.at, loop.then = loop.turn + step, lambda: interrupt(run, task, settling)
        await asyncio.wait([task])
        was = loop.turn >= loop.at
        loop.at = 0
        settling.cancel()
        (ended,) = await asyncio.gather(settling, return_exceptions=True)
        assert ended is None or isinstance(ended, asyncio.CancelledError), ended
    return was


@pytest.mark.parametrize("interrupt", [cancel, halt], ids=lambda i: i.__name__)
def test_a_run_interrupted_at_any_step_of_a_silence_loses_and_doubles_nothing(
    tmp_path: Path, template: Path, interrupt: Interrupt
) -> None:
    with asyncio.Runner(loop_factory=SteppedLoop) as runner:
        step, was = 0, True
        seen: set[tuple[str, ...]] = set()  # as for the steps of a run without a silence
        while was:
            step += 1
            vendor = Witness()
            place = copy(template, tmp_path / str(step))
            was = runner.run(interrupted(place, vendor, interrupt, step))
            left = left_behind(place, vendor)
            if was and left in seen:
                continue
            seen.add(left)
            runner.run(finished(place, vendor))
    assert step > 50
