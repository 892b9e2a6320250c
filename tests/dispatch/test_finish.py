"""A write once begun ends."""

from __future__ import annotations

import asyncio
import logging

import pytest

from engine.dispatch.finish import finish


class Write:
    """Begins, waits to be told to end, ends."""

    def __init__(self, *, failure: BaseException | None = None) -> None:
        self.begun, self.may_end, self.ended = asyncio.Event(), asyncio.Event(), False
        self._failure = failure

    async def __call__(self) -> str:
        self.begun.set()
        await self.may_end.wait()
        if self._failure is not None:
            raise self._failure
        self.ended = True
        return "written"


async def cancelled(task: asyncio.Task[str], times: int) -> None:
    for _ in range(times):
        task.cancel()
        for _ in range(3):  # so that each cancellation arrives by itself
            await asyncio.sleep(0)
        assert not task.done()


async def test_its_result_is_the_write_s() -> None:
    write = Write()
    write.may_end.set()
    assert await finish(write()) == "written"


async def test_its_failure_is_the_write_s(caplog: pytest.LogCaptureFixture) -> None:
    write = Write(failure=ValueError("no disk"))
    write.may_end.set()
    with pytest.raises(ValueError, match="no disk"):
        await finish(write())
    assert not caplog.records


@pytest.mark.parametrize("times", [1, 2, 5])
async def test_a_write_survives_every_cancellation_and_the_cancellation_is_told(times: int) -> None:
    write = Write()
    task = asyncio.create_task(finish(write()))
    await write.begun.wait()
    await cancelled(task, times)
    write.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert write.ended


async def test_a_failure_that_the_cancellation_would_hide_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    write = Write(failure=ValueError("no disk"))
    task = asyncio.create_task(finish(write()))
    await write.begun.wait()
    await cancelled(task, 2)
    write.may_end.set()
    with caplog.at_level(logging.ERROR), pytest.raises(asyncio.CancelledError):
        await task
    (record,) = caplog.records
    assert record.getMessage() == "a write failed while its task was being cancelled"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


async def test_a_write_that_ends_in_the_same_moment_as_the_cancellation_is_not_lost() -> None:
    write = Write()
    task = asyncio.create_task(finish(write()))
    await write.begun.wait()
    write.may_end.set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert write.ended
