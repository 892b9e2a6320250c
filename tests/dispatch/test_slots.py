"""So many at once and no more, also when the number changes."""

from __future__ import annotations

import asyncio

from engine.dispatch.slots import Slots
from tests.dispatch.house import turns


async def takers(slots: Slots, count: int, unless: asyncio.Event | None = None) -> list[asyncio.Task[bool]]:
    tasks = [asyncio.create_task(slots.take(unless)) for _ in range(count)]
    await turns()
    return tasks


def done(tasks: list[asyncio.Task[bool]]) -> list[int]:
    return [at for at, task in enumerate(tasks) if task.done()]


async def test_no_more_than_the_limit_and_in_their_order() -> None:
    slots = Slots(2)
    tasks = await takers(slots, 4)
    assert (done(tasks), slots.taken, slots.waiting) == ([0, 1], 2, 2)
    slots.give()
    await turns()
    assert (done(tasks), slots.taken) == ([0, 1, 2], 2)
    slots.give()
    await asyncio.gather(*tasks)


async def test_more_are_let_in_at_once_and_fewer_as_they_are_given_back() -> None:
    slots = Slots(1)
    tasks = await takers(slots, 6)
    slots.change(4)
    await turns()
    assert done(tasks) == [0, 1, 2, 3]
    slots.change(1)
    for _ in range(3):
        slots.give()
        await turns()
        assert done(tasks) == [0, 1, 2, 3]  # still too many
    slots.give()
    await turns()
    assert done(tasks) == [0, 1, 2, 3, 4]
    slots.give()
    await asyncio.gather(*tasks)


async def test_whose_campaign_stops_goes_home_and_the_others_stay() -> None:
    slots, stopped = Slots(1), asyncio.Event()
    assert await slots.take()
    mine, others = await takers(slots, 2, stopped), await takers(slots, 1)
    stopped.set()
    slots.let_go()
    assert [await task for task in mine] == [False, False]
    assert done(others) == []
    slots.give()
    assert await others[0]


async def test_whoever_is_cancelled_keeps_no_slot() -> None:
    slots = Slots(1)
    assert await slots.take()
    early, late, last = await takers(slots, 3)
    early.cancel()
    await turns()
    slots.give()
    late.cancel()  # in the moment in which the slot is its own
    await turns()
    assert await last
    assert (slots.taken, early.cancelled(), late.cancelled()) == (1, True, True)


async def test_who_loses_patience_goes_home_and_who_came_later_has_more() -> None:
    slots = Slots(1, patience_s=0.05)
    assert await slots.take()
    first = await takers(slots, 2)
    assert [await task for task in first] == [False, False]
    later = await takers(slots, 1)
    slots.give()
    assert await later[0]
    assert (slots.taken, slots.waiting) == (1, 0)
