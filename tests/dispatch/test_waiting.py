"""Waits that something else may end."""

from __future__ import annotations

import asyncio

import pytest

from engine.dispatch.waiting import beside_sending, either_set, ended_unless, first_of, unless_set
from engine.errors import EngineError


async def test_work_that_ends_first_gives_its_result() -> None:
    assert await unless_set(asyncio.Event(), asyncio.sleep(0, "done")) == "done"


async def test_an_event_that_comes_first_cancels_the_work_which_cleans_up_before_anything_goes_on() -> None:
    event, cleaned = asyncio.Event(), []

    async def work() -> str:
        try:
            event.set()
            await asyncio.Event().wait()
            return "done"
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    assert await unless_set(event, work()) is None
    assert cleaned == [True]


async def test_a_cancelled_wait_leaves_no_work_behind() -> None:
    begun, work = asyncio.Event(), asyncio.create_task(asyncio.Event().wait(), name="work")

    async def waits() -> None:
        begun.set()
        await ended_unless(asyncio.Event(), work)  # type: ignore[arg-type]  # what it returns is of no interest

    waiting = asyncio.create_task(waits())
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert work.cancelled()


async def test_what_a_task_raised_is_raised() -> None:
    async def fails() -> None:
        raise EngineError("no")

    with pytest.raises(EngineError, match="no"):
        await ended_unless(asyncio.Event(), asyncio.create_task(fails()))


@pytest.mark.parametrize("which", [0, 1])
async def test_one_of_several_events_is_enough(which: int) -> None:
    events = asyncio.Event(), asyncio.Event()
    async with either_set(*events) as either:
        assert not either.is_set()
        events[which].set()
        await either.wait()
    await first_of(*events)
    async with either_set(*events) as either:
        assert either.is_set()


async def test_a_wait_ends_with_its_time() -> None:
    await first_of(asyncio.Event(), timeout=0.001)


@pytest.mark.parametrize("error", [EngineError("no space is left"), ValueError("a mistake")])
async def test_trouble_beside_sending_is_told_and_goes_no_further(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails() -> None:
        raise error

    await beside_sending(fails(), "doubts are not settled any more")
    assert "doubts are not settled any more; sending goes on" in caplog.text
