"""Many writes, one transaction: durability costs a commit for a group, not for each write.

While one group is on its way to the disk the next one gathers; nobody waits for a timer. A write that fails takes only
itself down: its group is rolled back and each member tried alone.

A whole group is one visit to the writer's thread. Statement by statement through an async driver it was four visits a
statement, and sending a million recipients took 2.4 times as long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from engine.crashing import passing
from engine.errors import EngineError, JournalError
from engine.journal.faults import journal_error
from engine.telemetry import logger

Item = TypeVar("Item")
Result = TypeVar("Result")
Write = Callable[[Connection, Sequence[Item]], Sequence[Result]]
"""Carries out all items of one kind inside the open transaction and returns a result for each."""

_Waiting = tuple[Any, "asyncio.Future[Any]"]
_Group = dict[Callable[..., Any], list[_Waiting]]


class Commits:
    """The one writer of a journal. `do` returns when the write is durable."""

    def __init__(self, engine: Engine, thread: ThreadPoolExecutor) -> None:
        self._engine, self._thread = engine, thread
        self._gathering: _Group = {}
        self._something = asyncio.Event()
        self._closing = False
        self._writer = asyncio.create_task(self._run(), name="journal commits")

    async def do(self, write: Write[Item, Result], item: Item) -> Result:
        """Put `item` into the next group and wait until that is on the disk. Raises what the write raised.

        A write once asked for ends: a cancellation is raised after it, so that the caller knows what the disk holds.
        """
        if self._closing:
            raise JournalError("the journal is closed")
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._gathering.setdefault(write, []).append((item, done))
        self._something.set()
        try:
            await _to_its_end(done)
        except asyncio.CancelledError:
            if (failure := done.exception()) is not None:
                logger.error("a write failed while its task was being cancelled", exc_info=failure)
            raise
        return done.result()

    async def close(self) -> None:
        """Write what has gathered, then end. A later `do` is refused."""
        self._closing = True
        self._something.set()
        await _to_its_end(self._writer)

    async def _run(self) -> None:
        group: _Group = {}
        try:
            while True:
                if not self._closing:  # close() rings once; what gathered before it may have taken that ring
                    await self._something.wait()
                self._something.clear()
                group, self._gathering = self._gathering, {}
                if group:
                    await self._write_group(group)
                elif self._closing:
                    return
        finally:  # nobody may wait for ever for a writer that is gone
            self._closing = True
            for waiting in (w for gathered in (group, self._gathering) for each in gathered.values() for w in each):
                _fail(waiting, JournalError("the journal was closed in the middle of a write"))

    async def _write_group(self, group: _Group) -> None:
        try:
            await self._in_one_transaction(group)
        except Exception as error:  # noqa: BLE001  whatever it is, it is told to whoever asked for the write
            await self._one_by_one(group, error)

    async def _one_by_one(self, group: _Group, error: Exception) -> None:
        members = [(write, waiting) for write, all_waiting in group.items() for waiting in all_waiting]
        if len(members) == 1:
            _fail(members[0][1], error)
            return
        for write, waiting in members:
            try:
                await self._in_one_transaction({write: [waiting]})
            except Exception as alone:  # noqa: BLE001  as above
                _fail(waiting, alone)

    async def _in_one_transaction(self, group: _Group) -> None:
        """Carry out a group and tell its waiters. Cancelling the waiters does not stop what the thread has begun."""
        loop = asyncio.get_running_loop()
        for waiting, results in await loop.run_in_executor(self._thread, self._carry_out, group):
            for (_, done), result in zip(waiting, results, strict=True):
                if not done.done():  # the waiter may have been cancelled; what it asked for is done all the same
                    done.set_result(result)

    def _carry_out(self, group: _Group) -> list[tuple[list[_Waiting], Sequence[Any]]]:
        names = [write.__name__ for write in group]
        _pass(names, "begun")
        with self._engine.begin() as connection:
            results = [(waiting, write(connection, [item for item, _ in waiting])) for write, waiting in group.items()]
            _pass(names, "written")
        _pass(names, "committed")
        return results


def _pass(names: list[str], step: str) -> None:
    for name in names:
        passing(f"{name} {step}")


async def _to_its_end(work: asyncio.Future[Any]) -> None:
    """Wait until `work` is done, however often this is cancelled; then raise the cancellation. Does not raise its failure."""
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait((work,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


def _fail(waiting: _Waiting, error: Exception) -> None:
    done = waiting[1]
    if not done.done():
        # A driver refuses what it cannot store (a number too large, half a surrogate pair) with errors of its own.
        done.set_exception(error if isinstance(error, EngineError) else journal_error(error))
