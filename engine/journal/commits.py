"""Many writes, one transaction: durability costs a commit for a group, not for each write.

While one group is on its way to the disk the next one gathers; nobody waits for a timer. A write that fails takes only
itself down: its group is rolled back and each member tried alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.errors import EngineError, JournalError
from engine.journal.faults import journal_error

Item = TypeVar("Item")
Result = TypeVar("Result")
Write = Callable[[AsyncConnection, Sequence[Item]], Awaitable[Sequence[Result]]]
"""Carries out all items of one kind inside the open transaction and returns a result for each."""

_Waiting = tuple[Any, "asyncio.Future[Any]"]
_Group = dict[Callable[..., Any], list[_Waiting]]


class Commits:
    """The one writer of a journal. `do` returns when the write is durable."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._gathering: _Group = {}
        self._something = asyncio.Event()
        self._closing = False
        self._writer = asyncio.create_task(self._run(), name="journal commits")

    async def do(self, write: Write[Item, Result], item: Item) -> Result:
        """Put `item` into the next group and wait until that is on the disk. Raises what the write raised."""
        if self._closing:
            raise JournalError("the journal is closed")
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._gathering.setdefault(write, []).append((item, done))
        self._something.set()
        return await done

    async def close(self) -> None:
        """Write what has gathered, then end. A later `do` is refused."""
        self._closing = True
        self._something.set()
        await self._writer

    async def _run(self) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            if group := self._gathering:
                self._gathering = {}
                await self._write_group(group)
            elif self._closing:
                return

    async def _write_group(self, group: _Group) -> None:
        try:
            await self._in_one_transaction(group)
        except (DBAPIError, EngineError) as error:
            await self._one_by_one(group, error)
        except BaseException as error:  # nobody may wait for ever for a writer that is gone
            for waiting in (w for all_waiting in group.values() for w in all_waiting):
                _fail(waiting, error)
            raise

    async def _one_by_one(self, group: _Group, error: Exception) -> None:
        members = [(write, waiting) for write, all_waiting in group.items() for waiting in all_waiting]
        if len(members) == 1:
            _fail(members[0][1], error)
            return
        for write, waiting in members:
            try:
                await self._in_one_transaction({write: [waiting]})
            except (DBAPIError, EngineError) as alone:
                _fail(waiting, alone)

    async def _in_one_transaction(self, group: _Group) -> None:
        finished: list[tuple[list[_Waiting], Sequence[Any]]] = []
        async with self._engine.begin() as connection:
            for write, waiting in group.items():
                finished.append((waiting, await write(connection, [item for item, _ in waiting])))
        for waiting, results in finished:
            for (_, done), result in zip(waiting, results, strict=True):
                if not done.done():  # the waiter may have been cancelled; what it asked for is done all the same
                    done.set_result(result)


def _fail(waiting: _Waiting, error: BaseException) -> None:
    done = waiting[1]
    if not done.done():
        done.set_exception(journal_error(error) if isinstance(error, DBAPIError) else error)
