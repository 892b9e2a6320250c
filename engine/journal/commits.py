"""Many writes, one transaction: durability costs a commit for a group, not for each write.

While one group is on its way to the disk the next one gathers; nobody waits for a timer. A write that fails takes only
itself down: its group is rolled back and each member tried alone.

A whole group is one visit to the writer. Statement by statement through an async driver it was four visits a statement,
and sending a million recipients took 2.4 times as long.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine

from engine.crashing import passing
from engine.errors import JournalError
from engine.journal.faults import told
from engine.journal.writer import Writer
from engine.language import _
from engine.telemetry import logger

Item = TypeVar("Item")
Result = TypeVar("Result")
Write = Callable[[Connection, Sequence[Item]], Sequence[Result]]
"""Carries out all items of one kind inside the open transaction and returns a result for each."""


TOLD_AT_ONCE = 8
"""So many go on at once when their group is on the disk. A hundred would keep the loop from the gateway's answers for 10 ms."""


class _Asked:
    """One write that somebody waits for. `ended`: `result` or `failure` is there."""

    __slots__ = ("ended", "failure", "item", "result", "waiter")

    def __init__(self, item: Any, waiter: asyncio.Future[None]) -> None:
        self.item, self.waiter = item, waiter
        self.ended = False
        self.result: Any = None
        self.failure: Exception | None = None

    async def to_its_end(self) -> None:
        """Wait for the end, however often this is cancelled. Raises neither a cancellation nor the failure."""
        while not self.ended:
            self.waiter = self.waiter.get_loop().create_future()  # a cancellation takes this future, not the write
            with suppress(asyncio.CancelledError):
                await self.waiter

    def end(self, *, result: Any = None, failure: Exception | None = None) -> None:
        """Say what came of it; the first word counts."""
        if self.ended:
            return
        self.ended, self.result, self.failure = True, result, failure
        if not self.waiter.done():
            self.waiter.set_result(None)


_Group = dict[Callable[..., Any], list[_Asked]]


class Commits:
    """The one writer of a journal. `do` returns when the write is durable."""

    def __init__(self, writer: Writer) -> None:
        self._writer, self._loop = writer, asyncio.get_running_loop()
        self._gathering: _Group = {}
        self._to_tell: deque[tuple[_Asked, Any]] = deque()  # whose write is durable
        self._something = asyncio.Event()
        self._closing = False
        self._logged: set[str] = set()
        self._writing = asyncio.create_task(self._run(), name="journal commits")

    async def do(self, write: Write[Item, Result], item: Item) -> Result:
        """Put `item` into the next group and wait until that is on the disk. Raises what the write raised.

        A write once asked for ends: a cancellation is raised after it, so that the caller knows what the disk holds.
        """
        if self._closing:
            raise JournalError(_("the journal is closed"))
        asked = _Asked(item, self._loop.create_future())
        self._gathering.setdefault(write, []).append(asked)
        self._something.set()
        try:
            await asked.waiter
        except asyncio.CancelledError:
            await asked.to_its_end()
            if asked.failure is not None:
                self._log(str(asked.failure))
            raise
        if asked.failure is not None:
            raise asked.failure
        result: Result = asked.result
        return result

    def _log(self, problem: str) -> None:
        """Once: where the writer is gone, everything under way fails with the same words."""
        if problem not in self._logged:
            self._logged.add(problem)
            logger.error("a write failed while its task was being cancelled", extra={"problem": problem})

    async def close(self) -> None:
        """Write what has gathered, then end. A later `do` is refused."""
        self._closing = True
        self._something.set()
        await _to_its_end(self._writing)

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
            while self._to_tell:
                self._tell_some()
            for asked in (a for gathered in (group, self._gathering) for each in gathered.values() for a in each):
                asked.end(failure=JournalError(_("the journal was closed in the middle of a write")))

    async def _write_group(self, group: _Group) -> None:
        try:
            await self._in_one_transaction(group)
        except Exception as error:  # noqa: BLE001  whatever it is, it is told to whoever asked for the write
            await self._one_by_one(group, error)

    async def _one_by_one(self, group: _Group, error: Exception) -> None:
        members = [(write, asked) for write, each in group.items() for asked in each]
        if len(members) == 1:
            members[0][1].end(failure=told(error))
            return
        for write, asked in members:
            try:
                await self._in_one_transaction({write: [asked]})
            except Exception as alone:  # noqa: BLE001  as above
                asked.end(failure=told(alone))

    async def _in_one_transaction(self, group: _Group) -> None:
        """Carry out a group and tell its waiters. Cancelling the waiters does not stop what the writer has begun."""
        parts = [(write, [asked.item for asked in each]) for write, each in group.items()]
        done = await self._writer.call(carry_out, parts)
        is_telling = bool(self._to_tell)
        for each, results in zip(group.values(), done, strict=True):
            self._to_tell.extend(zip(each, results, strict=True))
        if not is_telling:
            self._tell_some()

    def _tell_some(self) -> None:
        """Tell a few that their write is durable, and the others when the loop has looked for answers."""
        for _one in range(min(TOLD_AT_ONCE, len(self._to_tell))):
            asked, result = self._to_tell.popleft()
            asked.end(result=result)
        if self._to_tell:
            self._loop.call_soon(self._tell_some)


def carry_out(engine: Engine, parts: Sequence[tuple[Write[Any, Any], Sequence[Any]]]) -> list[Sequence[Any]]:
    """Carry out all writes in one transaction and return the results of each."""
    names = [write.__name__ for write, _ in parts]
    _pass(names, "begun")
    with engine.begin() as connection:
        results = [write(connection, items) for write, items in parts]
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
