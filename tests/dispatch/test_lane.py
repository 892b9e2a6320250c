"""Two campaigns on one lane, a gateway that says "too often", and answers that get lost: what a pool does then."""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from engine.dispatch.lane import HeldBackBy, Lane, Limits, changed
from engine.dispatch.pool import PoolEnd
from engine.dispatch.retry import RetryPolicy
from engine.journal.store import SqlJournal
from engine.model import Outcome, OutcomeKind, PauseReason, PlannedBatch
from tests.dispatch import virtual
from tests.dispatch.house import DOUBT, THROTTLED, Call, Gateway, Run, accepted, at_once, crowded, now, turns, when_told
from tests.dispatch.virtual import run as in_virtual_time
from tests.journal.stores import SqlitePlace, draft, outcomes, planned, states, totals
from tests.numbers import mobiles

Result = TypeVar("Result")
DONE = PoolEnd()
RETRY = RetryPolicy(attempts=5, wait_s=0.5, wait_max_s=10)


def a_lane(*, requests: float = 0, numbers: float = 0, in_flight: int = 16, retry: RetryPolicy = RETRY) -> Lane:
    limits = Limits(requests_per_second=requests, numbers_per_second=numbers, in_flight=in_flight)
    return Lane(limits, window_s=1, clock=now, retry=retry)


def with_journal(folder: Path, main: Callable[[SqlitePlace, SqlJournal], Awaitable[Result]]) -> Result:
    """Run it over a journal, in virtual time."""

    async def inside() -> Result:
        place = SqlitePlace(folder)
        async with place.open() as journal:
            return await main(place, journal)

    return in_virtual_time(inside())


def most_in_a_window(times: list[float], window_s: float = 1.0) -> int:
    ordered = sorted(times)
    return max(bisect_left(ordered, at + window_s) - first for first, at in enumerate(ordered))


# ── shared ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("at_the_same_time", [True, False])
def test_two_campaigns_of_one_account_share_its_pace_and_its_slots(tmp_path: Path, at_the_same_time: bool) -> None:
    left, out, most = [], 0, 0

    async def answer(call: Call) -> Outcome:
        nonlocal out, most
        left.append(now())
        out += 1
        most = max(most, out)
        await asyncio.sleep(0.2)
        out -= 1
        return accepted(call.size)

    async def main(place: SqlitePlace, journal: SqlJournal) -> None:
        lane = a_lane(requests=20, in_flight=3)
        pools = []
        for name in ("spring", "summer"):
            campaign_id = await planned(journal, *[1] * 50, name=name)
            gateway = Anybody(answer)
            pools.append(Run(journal, gateway, campaign_id, lane=lane, lease_clock=now))
        if at_the_same_time:
            await asyncio.gather(*(run.to_its_end() for run in pools))
        else:
            for run in pools:
                await run.to_its_end()

    with_journal(tmp_path, main)
    assert len(left) == 100
    assert most_in_a_window(left) <= 20
    assert most <= 3


class Anybody(Gateway):
    """Answers without looking at the disk."""

    def __init__(self, answer: Callable[[Call], Outcome | Awaitable[Outcome]]) -> None:
        super().__init__(SqlitePlace(Path("nowhere")), answer)

    def _intended(self, mobiles: str, size: int) -> int:
        return 0


# ── in flight ────────────────────────────────────────────────────────────────────────────────────────────────────────


def slow_disk(journal: SqlJournal, seconds: float) -> object:
    class Slow:
        def __getattr__(self, name: str) -> object:
            return getattr(journal, name)

        async def record_intent(self, *args: object, **kwargs: object) -> object:
            await asyncio.sleep(seconds)
            return await journal.record_intent(*args, **kwargs)

    return Slow()


def test_every_slot_is_used_though_intents_take_their_time_and_no_more_are_under_way(tmp_path: Path) -> None:
    async def main(place: SqlitePlace, journal: SqlJournal) -> tuple[float, int]:
        gateway = Gateway(place)

        async def answer(call: Call) -> Outcome:
            await asyncio.sleep(0.02)
            return accepted(call.size)

        gateway.answer = answer
        campaign_id = await planned(journal, *[1] * 400)
        lane = a_lane(requests=1_000, in_flight=8)
        run = Run(slow_disk(journal, 0.005), gateway, campaign_id, lane=lane, lease_clock=now)
        assert await run.to_its_end() == DONE
        return virtual.now(), gateway.most_out

    took_s, most = with_journal(tmp_path, main)
    assert most == 8
    assert 400 / took_s >= 0.9 * 8 / 0.02


def test_when_the_gateway_stops_answering_few_intents_wait_and_none_becomes_a_doubt(tmp_path: Path) -> None:
    async def main(place: SqlitePlace, journal: SqlJournal) -> None:
        gateway = Gateway(place)

        async def answer(call: Call) -> Outcome:
            await asyncio.sleep(0.02 if call.number < 100 or call.number > 107 else 40)
            return accepted(call.size)

        gateway.answer = answer
        campaign_id = await planned(journal, *[1] * 200)
        lane = a_lane(requests=1_000, in_flight=8)
        run = Run(slow_disk(journal, 0.01), gateway, campaign_id, lane=lane, lease_clock=now)
        assert await run.to_its_end() == DONE
        kinds = Counter(outcome for _, _, outcome in outcomes(place))
        assert kinds["accepted"] == 200
        assert kinds["not_sent"] <= 8
        assert set(kinds) <= {"accepted", "not_sent"}

    with_journal(tmp_path, main)


def test_more_in_flight_takes_effect_in_a_run(tmp_path: Path) -> None:
    async def main(place: SqlitePlace, journal: SqlJournal) -> tuple[int, int]:
        gateway, lane = Gateway(place), a_lane(in_flight=2)
        seen = []

        async def answer(call: Call) -> Outcome:
            seen.append(gateway.out)
            if call.number == 50:
                lane.change(replace(lane.limits, in_flight=20))
            await asyncio.sleep(0.1)
            return accepted(call.size)

        gateway.answer = answer
        run = Run(journal, gateway, await planned(journal, *[1] * 300), lane=lane, lease_clock=now)
        assert await run.to_its_end() == DONE
        return max(seen[:50]), max(seen)

    assert with_journal(tmp_path, main) == (2, 20)


async def ready_ahead(
    place: SqlitePlace, journal: SqlJournal, batches: int
) -> tuple[Run, asyncio.Task[PoolEnd], list[Call]]:
    """Four requests under way, and four intents that wait for their slots."""
    run = Run(journal, Gateway(place, when_told), await planned(journal, *[1] * batches), lane=crowded(in_flight=4))
    task = run.start()
    for first in range(2):
        (await run.gateway.reached(first + 1))[first].accept()
    calls = (await run.gateway.reached(6))[2:]
    while sum(outcome is None for _, _, outcome in outcomes(place)) < 8:
        await asyncio.sleep(0.001)
    return run, task, calls


@pytest.mark.parametrize(
    ("answer_s", "commit_s", "ready"),
    [(0.05, 0.005, 16 + 3), (0.001, 0.02, 16 + 16), (10.0, 0.005, 16)],
    ids=["a tenth of the answer", "longer than the answer", "nothing beside it"],
)
def test_half_as_many_again_get_ready_as_come_free_during_a_commit(
    answer_s: float, commit_s: float, ready: int
) -> None:
    async def main() -> None:
        lane = a_lane(in_flight=16)
        for _ in range(500):
            lane.note_ready(commit_s)
            left_s = now()
            await asyncio.sleep(answer_s)
            lane.note(accepted(1), size=1, left_s=left_s)
        assert (lane.slots.limit, lane.ready.limit) == (16, ready)

    in_virtual_time(main())


async def test_in_a_silence_nobody_leaves_who_was_ready(place: SqlitePlace, journal: SqlJournal) -> None:
    run, task, calls = await ready_ahead(place, journal, 30)
    silence = asyncio.create_task(run.pool.silence())
    await turns()
    for call in calls:
        call.accept()
    await silence
    assert len(run.gateway.calls) == 6
    assert [seq for seq, _, outcome in outcomes(place) if outcome is None] == []
    run.gateway.answer = at_once
    run.pool.go_on()
    assert await task == DONE
    assert set(states(place).values()) == {"accepted"}
    assert Counter(run.gateway.seqs) == dict.fromkeys(range(1, 31), 1)


async def test_after_a_run_of_lost_answers_nobody_leaves_who_was_ready(place: SqlitePlace, journal: SqlJournal) -> None:
    run, task, calls = await ready_ahead(place, journal, 30)
    for call in calls[:3]:
        call.answer.set_result(DOUBT)
    await turns(200)
    new = run.gateway.calls[6:]
    assert len(new) <= 2  # the first two lost answers are no run yet
    run.gateway.answer = at_once
    for call in [calls[3], *new]:
        call.accept()  # the gateway lives
    assert await task == DONE
    assert Counter(states(place).values()) == {"accepted": 27, "in_doubt": 3}


# ── "too often" ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Counting:
    """A gateway that takes so many requests in any second and says "too often" to the others."""

    def __init__(self, allowed: int, retry_after_s: float | None = None) -> None:
        self.allowed, self.retry_after_s = allowed, retry_after_s
        self.taken: list[float] = []
        self.refused: list[float] = []

    async def __call__(self, call: Call) -> Outcome:
        at = now()
        fits = sum(other > at - 1 for other in self.taken[-self.allowed :]) < self.allowed
        (self.taken if fits else self.refused).append(at)
        await asyncio.sleep(0.05)
        return accepted(call.size) if fits else replace(THROTTLED, retry_after_s=self.retry_after_s)


@pytest.mark.parametrize(("pace", "in_flight"), [(100, 16), (0, 16), (0, 64)])
def test_a_gateway_that_allows_less_than_the_operator_does_not_pause_a_campaign(
    tmp_path: Path, pace: float, in_flight: int
) -> None:
    vendor = Counting(20)

    async def main(place: SqlitePlace, journal: SqlJournal) -> float:
        lane = a_lane(requests=pace, in_flight=in_flight)
        campaign_id = await planned(journal, *[1] * 800)
        run = Run(journal, Gateway(place, vendor), campaign_id, lane=lane, lease_clock=now)
        assert await run.to_its_end() == DONE
        assert set(states(place).values()) == {"accepted"}
        return virtual.now()

    took_s = with_journal(tmp_path, main)
    assert 800 / took_s >= 0.6 * vendor.allowed
    assert len(vendor.refused) <= 0.35 * 800


def test_a_gateway_that_says_it_for_ever_pauses_the_campaign_after_a_bounded_number_of_requests(tmp_path: Path) -> None:
    async def main(place: SqlitePlace, journal: SqlJournal) -> None:
        gateway, lane = Gateway(place), a_lane()
        gateway.answer = lambda call: accepted(1) if call.number <= 60 else THROTTLED
        run = Run(journal, gateway, await planned(journal, *[1] * 300), lane=lane, lease_clock=now)
        end = await run.to_its_end()
        assert end.reason is PauseReason.THROTTLED
        assert len(gateway.calls) <= 60 + 5 * 16
        assert set(states(place).values()) == {"accepted", "planned"}
        assert lane.throttle.in_flight < 16

    with_journal(tmp_path, main)


def test_retry_after_holds_the_whole_account(tmp_path: Path) -> None:
    async def main(place: SqlitePlace, journal: SqlJournal) -> None:
        gateway, lane = Gateway(place), a_lane(requests=50)
        left: list[float] = []

        async def answer(call: Call) -> Outcome:
            left.append(now())
            await asyncio.sleep(0.01)
            return replace(THROTTLED, retry_after_s=30) if call.number == 40 else accepted(call.size)

        gateway.answer = answer
        run = Run(journal, gateway, await planned(journal, *[1] * 200), lane=lane, lease_clock=now)
        asked = asyncio.create_task(run.to_its_end())
        await gateway.reached(40)
        await asyncio.sleep(5)
        assert lane.held_back_by is HeldBackBy.TOO_OFTEN
        assert "waiting" in lane.words()
        assert await asked == DONE
        told = left[39] + 0.01
        during = [at for at in left if told + 1e-3 < at < told + 30 - 1e-3]
        assert during == []
        assert any(at >= told + 30 - 1e-3 for at in left)

    with_journal(tmp_path, main)


def test_a_stop_does_not_wait_for_retry_after(tmp_path: Path) -> None:
    async def main(place: SqlitePlace, journal: SqlJournal) -> None:
        gateway = Gateway(place)
        gateway.answer = lambda call: replace(THROTTLED, retry_after_s=3_600) if call.number == 40 else accepted(1)
        run = Run(journal, gateway, await planned(journal, *[1] * 200), lane=a_lane(requests=50), lease_clock=now)
        task = run.start()
        await gateway.reached(40)
        await asyncio.sleep(10)
        run.stop.set()
        began = now()
        assert (await task).reason is PauseReason.STOPPED
        assert now() - began < 1
        assert set(states(place).values()) <= {"accepted", "planned"}

    with_journal(tmp_path, main)


def test_slow_answers_bring_the_crowd_down_and_it_is_said(tmp_path: Path) -> None:
    async def main(place: SqlitePlace, journal: SqlJournal) -> None:
        gateway, lane, at_work = Gateway(place), a_lane(in_flight=64), asyncio.Semaphore(4)
        seen: list[HeldBackBy] = []

        async def answer(call: Call) -> Outcome:
            seen.append(lane.held_back_by)
            async with at_work:  # it works at four at a time
                await asyncio.sleep(0.05)
            return accepted(call.size)

        gateway.answer = answer
        run = Run(journal, gateway, await planned(journal, *[1] * 3_000), lane=lane, lease_clock=now)
        assert await run.to_its_end() == DONE
        assert lane.throttle.in_flight < 32
        assert Counter(seen[500:]).most_common(1)[0][0] is HeldBackBy.SLOW_ANSWERS
        assert virtual.now() <= 3_000 / (4 / 0.05) * 1.1  # and nothing is lost by it

    with_journal(tmp_path, main)


# ── what holds back ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("limits", "by", "words"),
    [
        ({"requests": 20, "in_flight": 16}, HeldBackBy.REQUESTS, "your pace (20 requests a second)"),
        ({"numbers": 40, "in_flight": 16}, HeldBackBy.NUMBERS, "your pace (40 numbers a second)"),
        ({"requests": 500, "in_flight": 4}, HeldBackBy.IN_FLIGHT, "in_flight (4; 12"),
    ],
)  # fmt: skip
def test_what_holds_sending_back_is_named(tmp_path: Path, limits: dict[str, float], by: HeldBackBy, words: str) -> None:
    async def main(place: SqlitePlace, journal: SqlJournal) -> None:
        gateway, lane = Gateway(place), a_lane(**limits)
        seen: list[HeldBackBy] = []

        async def answer(call: Call) -> Outcome:
            await asyncio.sleep(0.2)
            if call.number == 100:
                seen.append(lane.held_back_by)
                assert lane.words().startswith(words)
            return accepted(call.size)

        gateway.answer = answer
        run = Run(journal, gateway, await planned(journal, *[2] * 200), lane=lane, lease_clock=now)
        assert await run.to_its_end() == DONE
        assert seen == [by]

    with_journal(tmp_path, main)


def test_answers_that_spread_widen_the_guard_and_what_that_costs_is_said(tmp_path: Path) -> None:
    chance = random.Random(1)

    async def main(place: SqlitePlace, journal: SqlJournal) -> None:
        gateway, lane = Gateway(place), a_lane(requests=40, in_flight=64)

        async def answer(call: Call) -> Outcome:
            await asyncio.sleep(0.3 + chance.uniform(-0.1, 0.1))
            return accepted(call.size)

        gateway.answer = answer
        run = Run(journal, gateway, await planned(journal, *[1] * 400), lane=lane, lease_clock=now)
        task = run.start()
        await gateway.reached(300)
        assert 0.19 <= lane.pace.guard_s <= 0.5
        assert "so the guard is" in lane.words()
        assert "costs" in lane.words()
        assert await task == DONE

    with_journal(tmp_path, main)


def test_limits_are_changed_by_name() -> None:
    limits = Limits(requests_per_second=10, numbers_per_second=0, in_flight=16)
    assert changed(limits, ["in_flight=32", "requests_per_second=2.5"]) == Limits(
        requests_per_second=2.5, numbers_per_second=0, in_flight=32
    )
    assert changed(limits, []) == limits


# ── lost answers ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_while_answers_get_lost_batches_go_in_parts_and_whole_again_when_they_come(
    place: SqlitePlace, journal: SqlJournal
) -> None:
    gateway = Gateway(place)
    gateway.answer = lambda call: DOUBT if 10 < call.number <= 50 and call.number % 3 == 0 else accepted(call.size)
    sizes = [100 - n % 16 for n in range(120)]
    run = Run(journal, gateway, await planned(journal, *sizes), lane=a_lane(in_flight=1))
    assert await run.to_its_end() == DONE
    sent = [call.size for call in gateway.calls]
    assert set(sent[:10]) <= set(sizes)
    assert max(sent[25:50]) <= 60
    assert set(sent[-20:]) <= set(sizes)
    assert len(set(sent[25:45])) >= 10  # they differ, so that the balance can tell them apart
    rows = place.rows("SELECT state, mobiles FROM batch WHERE state != 'split'")
    everybody = [mobile for row in rows for mobile in row["mobiles"].split(",")]
    assert len(everybody) == len(set(everybody)) == sum(sizes)
    assert {row["state"] for row in rows} == {"accepted", "in_doubt"}
    whole = sum(sizes) / len(sizes)
    doubtful = place.rows("SELECT avg(size) AS size FROM batch WHERE state = 'in_doubt' AND seq > 30")[0]["size"]
    assert doubtful < whole / 1.8


async def test_a_batch_that_was_taken_away_is_not_split(place: SqlitePlace, journal: SqlJournal) -> None:
    gateway = Gateway(place, when_told)
    lane = a_lane(in_flight=1)
    for _ in range(8):
        lane.losses.note(Outcome(kind=OutcomeKind.IN_DOUBT))
    campaign_id = await planned(journal, 100)

    class Taken:
        def __getattr__(self, name: str) -> object:
            return getattr(journal, name)

        async def split_batch(self, *args: object) -> object:
            place.alter("UPDATE batch SET owner = 'somebody', epoch = 99 WHERE seq = 1")
            return await journal.split_batch(*args)

    run = Run(Taken(), gateway, campaign_id, lane=lane)
    assert await run.to_its_end() == DONE
    assert gateway.calls == []
    assert states(place) == {1: "claimed"}


async def test_parts_of_a_batch_that_was_being_split_when_the_run_was_cut_are_given_back(
    place: SqlitePlace, journal: SqlJournal
) -> None:
    lane = a_lane(in_flight=1)
    for _ in range(8):
        lane.losses.note(Outcome(kind=OutcomeKind.IN_DOUBT))

    class Slow:
        def __init__(self) -> None:
            self.is_split = asyncio.Event()

        def __getattr__(self, name: str) -> object:
            return getattr(journal, name)

        async def split_batch(self, *args: object) -> object:
            parts = await journal.split_batch(*args)
            self.is_split.set()
            await turns(50)
            return parts

    slow = Slow()
    run = Run(slow, Gateway(place), await planned(journal, 100), lane=lane)
    task = run.start()
    await slow.is_split.wait()
    run.stop_now.set()
    assert (await task).reason is PauseReason.STOPPED
    assert run.gateway.calls == []
    left = states(place)
    assert (left.pop(1), set(left.values())) == ("split", {"planned"})


async def test_lost_answers_in_one_campaign_split_the_next_one_too(place: SqlitePlace, journal: SqlJournal) -> None:
    """It is the account's way to its gateway that loses them."""
    lane, gateway = a_lane(in_flight=1), Gateway(place)
    gateway.answer = lambda call: DOUBT if call.number % 2 == 0 else accepted(call.size)
    await Run(journal, gateway, await planned(journal, *[5] * 12), lane=lane).to_its_end()
    second = Gateway(place, at_once)
    await Run(journal, second, await planned_apart(journal, 100, 100), lane=lane).to_its_end()
    assert len(second.calls) > 2


async def planned_apart(journal: SqlJournal, *sizes: int) -> int:
    """A second campaign with numbers of its own."""
    numbers, begin, batches = mobiles(sum(sizes), seed=99), 0, []
    for seq, size in enumerate(sizes, 1):
        mine = numbers[begin : begin + size]
        lines = f"{begin + 2}-{begin + 1 + size}"
        batches.append(PlannedBatch(seq=seq, size=size, mobiles=",".join(mine), lines=lines))
        begin += size
    campaign_id = await journal.begin_campaign(draft("summer", order_key="other"))
    await journal.add_plan(campaign_id, batches, [])
    await journal.publish_campaign(campaign_id, totals(*sizes))
    return campaign_id
