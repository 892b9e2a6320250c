"""In every window requests and numbers stay within their limits, and the limit is used."""

from __future__ import annotations

import asyncio
import random
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.dispatch.pacing import GUARD_S, Pace, Turn, numbers_that_fit
from engine.dispatch.windows import WindowLog
from tests.dispatch import virtual

Left = list[tuple[float, int]]  # when, how many numbers


def most_in_a_window(left: Left, window_s: float, weight: Callable[[int], int] = lambda _: 1) -> int:
    """The fullest half-open window of this length, wherever it begins."""
    times, until = [at for at, _ in left], [0, *accumulate(weight(n) for _, n in left)]
    return max(until[bisect_left(times, at + window_s)] - until[first] for first, at in enumerate(times))


# ── the window log ───────────────────────────────────────────────────────────────────────────────────────────────────


@st.composite
def crowds(draw: st.DrawFn) -> tuple[int, int, list[tuple[int, int]]]:
    """A limit, a window, and who comes: (seconds after the one before, amount)."""
    limit = draw(st.integers(1, 30))
    comers = st.tuples(st.integers(0, 12), st.integers(1, limit))
    return limit, draw(st.integers(1, 20)), draw(st.lists(comers, min_size=1, max_size=60))


def greedy(limit: int, window_s: int, comers: Iterable[tuple[int, int]]) -> list[tuple[int, Left]]:
    """Admit everybody as early as the log allows, in their order."""
    log, now, left, came = WindowLog(limit, window_s), 0.0, Left(), []
    for gap, amount in comers:
        now += gap
        arrived = now
        now = log.free_at(now, amount)
        log.add(now, amount)
        left.append((now, amount))
        came.append((int(arrived), list(left)))
    return came


@settings(deadline=None)
@given(crowds())
def test_no_window_ever_holds_more_than_the_limit(crowd: tuple[int, int, list[tuple[int, int]]]) -> None:
    limit, window_s, comers = crowd
    (_, left) = greedy(limit, window_s, comers)[-1]
    assert most_in_a_window(left, window_s, lambda amount: amount) <= limit


@settings(deadline=None)
@given(crowds())
def test_nobody_is_held_longer_than_the_limit_demands(crowd: tuple[int, int, list[tuple[int, int]]]) -> None:
    limit, window_s, comers = crowd
    for arrived, left in greedy(limit, window_s, comers):
        at, amount = left[-1]
        if at > arrived:  # one second earlier it would not have fitted
            earlier = [*left[:-1], (at - 1, amount)]
            assert most_in_a_window(earlier, window_s, lambda amount: amount) > limit


@settings(deadline=None)
@given(limit=st.integers(1, 200), window_s=st.integers(1, 20), windows=st.integers(2, 5))
def test_a_crowd_uses_the_whole_limit(limit: int, window_s: int, windows: int) -> None:
    (_, left) = greedy(limit, window_s, [(0, 1)] * (limit * windows))[-1]
    assert len([at for at, _ in left if at < (windows - 1) * window_s]) == limit * (windows - 1)


@settings(deadline=None)
@given(crowds())
def test_unequal_amounts_waste_less_than_the_largest_of_them(crowd: tuple[int, int, list[tuple[int, int]]]) -> None:
    limit, window_s, comers = crowd
    amounts = [amount for _, amount in comers]
    (_, left) = greedy(limit, window_s, [(0, amount) for amount in amounts])[-1]
    for at, _ in left:
        if at + window_s <= left[-1][0]:
            used = sum(amount for when, amount in left if at <= when < at + window_s)
            assert used > limit - max(amounts)


def test_what_is_older_than_the_window_is_forgotten() -> None:
    log = WindowLog(2, 10.0)
    for at in (0.0, 1.0):
        log.add(at, 1)
    assert log.free_at(1.0, 1) == 10.0
    assert log.free_at(10.0, 1) == 10.0
    assert log.free_at(10.0, 2) == 11.0


# ── the pace, in virtual time ────────────────────────────────────────────────────────────────────────────────────────


def paced(
    *,
    requests: float = 0,
    numbers: float = 0,
    window_s: float = 1,
    earlier: Sequence[tuple[float, int]] = (),
    clock: Callable[[], float] = virtual.now,
) -> Pace:
    return Pace(
        requests_per_second=requests, numbers_per_second=numbers, window_s=window_s, clock=clock, earlier=earlier
    )


async def admitted(pace: Pace, numbers: int) -> Turn:
    turn = await pace.admit(numbers)
    assert turn is not None
    return turn


async def send(
    pace: Pace,
    sizes: Iterable[int],
    *,
    workers: int = 16,
    intent_s: Callable[[int], float] = lambda _: 0.002,
    answer_s: float = 0.05,
    clock: Callable[[], float] = virtual.now,
) -> Left:
    """What a pool does with a pace: admit, write the intent, gate, leave, wait for the answer."""
    left, batches = Left(), iter(enumerate(sizes))

    async def work() -> None:
        for number, size in batches:
            turn = await admitted(pace, size)
            await asyncio.sleep(intent_s(number))
            await turn.gate(size)
            turn.close()
            left.append((clock(), size))
            await asyncio.sleep(answer_s)

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work())
    return left


def use(left: Left, per_second: float, weight: Callable[[int], int] = lambda _: 1) -> float:
    """The share of the limit that was used from the first to the last."""
    return sum(weight(n) for _, n in left[:-1]) / (left[-1][0] - left[0][0]) / per_second


RATES = [(1, 1), (3, 1), (10, 1), (50, 1), (200, 1), (1000, 1), (10, 5), (2.5, 2), (0.2, 1)]


@pytest.mark.parametrize(("per_second", "window_s"), RATES)
@pytest.mark.parametrize("seed", [1, 2])
def test_every_window_keeps_the_limit_and_the_limit_is_used(per_second: float, window_s: float, seed: int) -> None:
    chance = random.Random(seed)
    count = max(30, int(per_second * window_s * 6))
    workers = 64 if per_second > 200 else 16

    async def main() -> Left:
        jitter = [chance.expovariate(1 / 0.002) for _ in range(count)]
        pace = paced(requests=per_second, window_s=window_s)
        return await send(pace, [1] * count, workers=workers, intent_s=jitter.__getitem__, answer_s=0.01)

    left = virtual.run(main())
    assert len(left) == count
    limit = int(per_second * window_s)
    if limit:
        assert most_in_a_window(left, window_s + GUARD_S - 1e-9) <= limit
    else:
        assert most_in_a_window(left, 1 / per_second + GUARD_S - 1e-9) == 1
    assert use(left, per_second) >= 0.97


def test_numbers_are_limited_by_their_weight() -> None:
    chance = random.Random(1)
    sizes = [chance.randint(1, 100) for _ in range(300)]
    left = virtual.run(_main(lambda: paced(numbers=2_000), sizes))
    assert most_in_a_window(left, 1 + GUARD_S - 1e-9, lambda size: size) <= 2_000
    assert use(left, 2_000, lambda size: size) >= 0.95  # what the next batch does not fit into stays unused


def test_both_limits_hold_at_once() -> None:
    chance = random.Random(2)
    sizes = [chance.choice([1, 100]) for _ in range(200)]
    left = virtual.run(_main(lambda: paced(requests=20, numbers=1_000), sizes))
    assert most_in_a_window(left, 1 + GUARD_S - 1e-9, lambda size: size) <= 1_000
    assert most_in_a_window(left, 1 + GUARD_S - 1e-9) <= 20


async def _main(pace: Callable[[], Pace], sizes: Sequence[int]) -> Left:
    return await send(pace(), sizes)


def test_without_limits_nobody_waits() -> None:
    left = virtual.run(_main(paced, [100] * 200))
    assert left[-1][0] < 200 / 16 * 0.06
    assert left[0][0] < 0.01


def test_requests_of_an_earlier_process_count() -> None:
    async def main() -> Left:
        earlier = [(0.5, 1), (0.4, 1), (0.3, 1)]
        return [(-age, n) for age, n in earlier] + await send(paced(requests=5, earlier=earlier), [1] * 20)

    left = virtual.run(main())
    assert most_in_a_window(left, 1 + GUARD_S - 1e-9) <= 5
    assert left[3][0] < 0.1  # two were free at once
    assert left[5][0] >= 0.5


def test_numbers_of_an_earlier_process_count() -> None:
    async def main() -> Left:
        return await send(paced(numbers=100, earlier=[(0.5, 60)]), [60])

    assert virtual.run(main())[0][0] >= 0.5


def test_a_wall_clock_that_was_set_back_does_not_stop_the_pace() -> None:
    async def main() -> Left:
        return await send(paced(requests=2, earlier=[(-3600, 1)] * 10), [1] * 4)

    assert virtual.run(main())[0][0] < 2


def test_first_come_first_served_whatever_the_size() -> None:
    async def main() -> list[int]:
        pace, order = paced(numbers=100), []

        async def one(name: int, size: int) -> None:
            turn = await admitted(pace, size)
            order.append(name)
            await turn.gate(size)
            turn.close()

        async with asyncio.TaskGroup() as group:
            for name, size in enumerate([90, 100, 1, 50, 1, 100, 1]):
                group.create_task(one(name, size))
        return order

    assert virtual.run(main()) == list(range(7))


def test_the_first_requests_do_not_leave_as_one_burst() -> None:
    left = virtual.run(_main(lambda: paced(requests=100), [1] * 100))
    assert most_in_a_window(left, 0.1) <= 20


STALL_S = 6.0


def pending(per_second: float, stalls: Sequence[int], count: int = 60) -> tuple[Left, list[float], list[int]]:
    """Send while the disk stalls at some requests: when they left, how long each stood at the gate, how many stood there."""

    async def main() -> tuple[Left, list[float], list[int]]:
        pace, left, stood, crowd = paced(requests=per_second), Left(), [0.0] * count, []
        batches, disk, between = iter(range(count)), asyncio.Lock(), 0

        async def work() -> None:
            nonlocal between
            for number in batches:
                turn = await admitted(pace, 1)
                between += 1
                async with disk:  # one writer
                    await asyncio.sleep(STALL_S if number in stalls else 0.002)
                durable_s = virtual.now()
                crowd.append(between)
                await turn.gate(1)
                turn.close()
                left.append((virtual.now(), 1))
                stood[number] = left[-1][0] - durable_s
                between -= 1
                await asyncio.sleep(0.1)

        async with asyncio.TaskGroup() as group:
            for _ in range(16):
                group.create_task(work())
        return left, stood, crowd

    return virtual.run(main())


def test_after_a_stalled_disk_the_intents_do_not_stay_ahead_of_the_pace() -> None:
    left, stood, crowd = pending(1, stalls=[5, 20])
    assert most_in_a_window(left, 1 + GUARD_S - 1e-9) == 1
    assert max(stood[40:]) < 1.1  # at most one stands at the gate long after the disk recovered
    assert max(crowd[45:]) <= 2


# ── at the gateway's clock ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("guard_s", [GUARD_S, 0.1, 0.5])
@pytest.mark.parametrize("per_second", [1, 7, 100, 2_000])
def test_jitter_of_the_network_up_to_the_guard_exceeds_no_window(per_second: int, guard_s: float) -> None:
    """Each request arrives up to half a guard sooner or later than the latency says; early ones overtake late ones."""
    chance = random.Random(per_second)
    count = max(12, int(per_second * 3))

    async def main() -> Left:
        pace = Pace(
            requests_per_second=per_second, numbers_per_second=0, window_s=1, clock=virtual.now, guard_s=guard_s
        )
        return await send(pace, [1] * count, workers=64, answer_s=0.01)

    left = virtual.run(main())
    arrived = sorted((at + 0.05 + chance.choice([-1, 1]) * (guard_s / 2 - 1e-9), n) for at, n in left)
    assert most_in_a_window(arrived, 1 - 1e-9) <= per_second
    assert use(left, per_second) >= 0.98 / (1 + guard_s)


@pytest.mark.parametrize("per_second", [300, 1_000, 5_000])
def test_a_high_limit_is_used_and_kept(per_second: int) -> None:
    chance = random.Random(per_second)
    count = per_second * 4

    async def main() -> Left:
        jitter = [chance.expovariate(1 / 0.002) for _ in range(count)]
        workers = int(per_second * 0.012 * 1.5)
        return await send(
            paced(requests=per_second), [1] * count, workers=workers, intent_s=jitter.__getitem__, answer_s=0.01
        )

    left = virtual.run(main())
    assert most_in_a_window(left, 1 + GUARD_S - 1e-9) <= per_second
    assert use(left, per_second) >= 0.97
    assert most_in_a_window(left, 0.1) <= 0.2 * per_second  # spread, from the first moment on


# ── changed while it is used ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_wider_guard_holds_from_the_next_request_on() -> None:
    async def main() -> Left:
        pace = paced(requests=50)
        asyncio.get_running_loop().call_later(2.0, pace.widen, 0.3)
        return await send(pace, [1] * 300)

    left = virtual.run(main())
    late = [(at, n) for at, n in left if at >= 2.0]
    assert most_in_a_window(left, 1 + GUARD_S - 1e-9) <= 50
    assert most_in_a_window(late, 1.3 - 1e-9) <= 50
    assert use(late, 50) == pytest.approx(1 / 1.3, rel=0.03)


@pytest.mark.parametrize(("before", "after"), [(50, 10), (10, 50), (500, 20), (20, 500), (1, 0.5), (0.5, 5), (0, 20)])
def test_another_limit_holds_from_the_next_request_on_and_across_the_change_the_lower_one(
    before: float, after: float
) -> None:
    async def main() -> Left:
        pace = paced(requests=before)
        change = {"requests_per_second": after, "numbers_per_second": 0}
        asyncio.get_running_loop().call_later(3.0, lambda: pace.change(**change))
        return await send(pace, [1] * int(4 * (before or 1_400) + 6 * after + 10), answer_s=0.01)

    left = virtual.run(main())
    times = [at for at, _ in left]
    for at in times:
        begin = at - 1
        inside = sum(begin < other <= at for other in times)
        limits = [limit for limit, touched in ((before, begin < 3.0), (after, at > 3.0)) if touched and limit]
        assert inside <= max(1, min(limits, default=10_000))
    late = [(at, 1) for at in times if at >= 4.5]
    assert use(late, after) >= 0.9


def test_numbers_that_were_lowered_hold_too() -> None:
    async def main() -> Left:
        pace = paced(numbers=1_000)
        change = {"requests_per_second": 0, "numbers_per_second": 200}
        asyncio.get_running_loop().call_later(2.0, lambda: pace.change(**change))
        return await send(pace, [50] * 80)

    left = virtual.run(main())
    assert most_in_a_window([(at, n) for at, n in left if at > 2.0], 1 + GUARD_S - 1e-9, lambda size: size) <= 200
    assert max(sum(n for at, n in left if end - 1 < at <= end) for end, _ in left if end > 2.0) <= 200


def test_whoever_stands_at_the_gate_when_the_pace_is_lowered_goes_back() -> None:
    async def main() -> None:
        pace = paced(requests=100)
        turns = [await admitted(pace, 1) for _ in range(4)]
        pace.change(requests_per_second=0.1, numbers_per_second=0)
        assert [await turn.gate(1) for turn in turns] == [0.0, None, None, None]
        for turn in turns:
            turn.close()
        began = virtual.now()
        await (await admitted(pace, 1)).gate(1)
        assert virtual.now() - began >= 9.9

    virtual.run(main())


def test_who_did_not_leave_gives_its_place_back() -> None:
    async def main() -> None:
        pace = paced(requests=1)
        for _ in range(5):
            (await admitted(pace, 1)).close()
        assert await (await admitted(pace, 1)).gate(1) == 0.0
        assert virtual.now() < 0.1

    virtual.run(main())


def test_whoever_is_cancelled_while_waiting_keeps_no_place() -> None:
    async def main() -> Left:
        pace = paced(requests=10)
        tasks = [asyncio.create_task(pace.admit(1)) for _ in range(30)]
        await asyncio.sleep(0.5)
        for task in tasks:
            if task.done():
                turn = task.result()
                assert turn is not None
                turn.close()
            task.cancel()
        await asyncio.wait(tasks)
        await asyncio.sleep(2)
        return await send(pace, [1] * 30)

    left = virtual.run(main())
    assert len(left) == 30
    assert use(left, 10) >= 0.95


def test_nobody_leaves_before_the_gateway_said_and_who_stops_meanwhile_goes_home() -> None:
    async def main() -> None:
        pace, stopped = paced(requests=100), asyncio.Event()
        pace.wait_until(60.0)
        mine = asyncio.create_task(pace.admit(1, unless=stopped))
        other = asyncio.create_task(pace.admit(1))
        await asyncio.sleep(5)
        stopped.set()
        pace.let_go()
        assert await mine is None
        assert await other is not None
        assert virtual.now() == pytest.approx(60.0, abs=0.01)

    virtual.run(main())


def test_a_slower_pace_is_kept_within_the_limits() -> None:
    async def main() -> Left:
        pace = paced(requests=100)
        pace.slow_to(7.5)
        return await send(pace, [1] * 60)

    left = virtual.run(main())
    assert use(left, 7.5) == pytest.approx(1, rel=0.05)


# ── in real time ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_pace_holds_with_real_timers() -> None:
    seen = [time.monotonic()]  # by the pace: behind it, a busy machine may take the core away for a while

    def clock() -> float:
        seen.append(time.monotonic())
        return seen[-1]

    before = [(seen[0] - 0.3, 1)] * 5
    pace = paced(requests=50, earlier=[(0.3, 1)] * 5, clock=clock)
    left = await send(pace, [1] * 76, clock=lambda: seen[-1])
    assert most_in_a_window(before + left, 1) <= 50
    assert use(left, 50) >= 0.3  # what of it is used is told where time is not real


def test_the_largest_batch_that_fits_a_window() -> None:
    assert numbers_that_fit(0, 1) is None
    assert numbers_that_fit(100, 1) == 100
    assert numbers_that_fit(99.9, 2) == 199
    assert numbers_that_fit(0.1, 1) == 1
