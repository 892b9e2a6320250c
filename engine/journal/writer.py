"""Where a journal's one writing connection lives: in a thread of this process, or in a process of its own.

The interpreter runs one thread at a time, so a busy sender and a writing thread hold each other up: together they took
as long as both one after the other. A sender forks its writer in place of that; two cores then do the work of two.

On the socket between them go pairs of work and item one way, and what came of each the other. None says that nothing
follows, and the writer closes the journal. A socket that ends without it says that the sender is gone: the writer ends where
it stands, as if it had been killed too. It holds the owner's lock until then.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, Protocol, TypeVar, cast

from sqlalchemy import Engine

from engine import crashing, frames
from engine.errors import JournalError
from engine.journal.faults import told
from engine.language import _

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Engine, Item], Result]
"""Something to be done with the engine that writes. A function of a module: it may have to be named to another process."""

SILENT_S = 5.0
"""A commit takes milliseconds, on a slow disk a second; who owes an answer for so long stands still."""

_LOOK_S = 0.25

_OF_THE_GROUP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # they come to every process of it; the sender decides


class Writer(Protocol):
    """Does one piece of work after the other, each on the disk when its call returns."""

    async def call(self, work: Work[Item, Result], item: Item) -> Result:
        """Do it and return what came of it, or raise that. A cancellation does not stop what has begun."""
        ...

    async def close(self) -> None:
        """Let go of the connection. A later call is refused."""
        ...

    def when_silent(self, act: Callable[[int], None]) -> None:
        """Call `act`, once, with the id of its process, as soon as that owes an answer for `SILENT_S`. Where there is none: never."""
        ...

    def hurry(self) -> None:
        """From now on a process that is silent is killed; its calls end as after any other kill."""
        ...


class ThreadedWriter:
    """In a thread of this process."""

    def __init__(self, connect: Callable[[], Engine]) -> None:
        self._engine = connect()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")

    async def call(self, work: Work[Item, Result], item: Item) -> Result:
        """See `Writer`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._engine, item)

    async def close(self) -> None:
        """See `Writer`."""
        self._thread.shutdown()
        self._engine.dispose()

    def when_silent(self, act: Callable[[int], None]) -> None:
        """See `Writer`."""

    def hurry(self) -> None:
        """See `Writer`. A thread cannot be killed."""


class ForkedWriter:
    """In a process of its own, which also ends when this one does."""

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pid = pid
        self._waited = False
        self._reader, self._writer = reader, writer
        self._one = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._asked_s = 0.0  # when it was given what it is at
        self._ended = False

    @classmethod
    async def fork(cls, connect: Callable[[], Engine], *, keeping: int) -> ForkedWriter:
        """Begin one, where `may_fork`. `keeping`: the descriptor of the owner's lock, which the other process holds too.

        Raises OSError where the system gives no process.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                with _no_signals():  # one that came to the child too early would be told to our event loop
                    pid = os.fork()
                    if pid == 0:
                        _serve(theirs, connect, keeping)
            except OSError:
                ours.close()
                raise
        return cls(pid, *await asyncio.open_unix_connection(sock=ours))

    async def call(self, work: Work[Item, Result], item: Item) -> Result:
        """See `Writer`. Raises JournalError when the other process is gone; whether that was written nobody knows."""
        said = frames.packed((work, item), checked=False)
        async with self._one:
            if self._ended:
                raise _gone()
            self._ended = True  # until the answer is here: after a cancellation nobody reads it
            self._asked_s = self._loop.time()
            try:
                self._writer.writelines(said)
                await self._writer.drain()
                done, result = await frames.receive(self._reader)
            except (EOFError, OSError, frames.Garbled):
                raise _gone() from None
            self._ended = False
        if not done:
            raise result
        return cast("Result", result)

    async def close(self) -> None:
        """See `Writer`. Returns when the other process has ended."""
        async with self._one:
            self._asked_s = self._loop.time()
            with suppress(OSError):
                if not self._ended:
                    self._writer.writelines(frames.packed(None, checked=False))
                    await self._writer.drain()
                    await self._reader.read()  # to its end, which is the process's
            self._ended = True
            self._writer.close()
            if not self._waited:
                self._waited = True
                await self._loop.run_in_executor(None, os.waitpid, self.pid, 0)

    def when_silent(self, act: Callable[[int], None]) -> None:
        """See `Writer`."""
        if self._waited:  # the number may be another's by now
            return
        if self._one.locked() and self._loop.time() - self._asked_s >= SILENT_S:
            act(self.pid)
        else:
            self._loop.call_later(_LOOK_S, self.when_silent, act)

    def hurry(self) -> None:
        """See `Writer`. What it was given last is on the disk or not, as its journal says after the next start."""
        self.when_silent(lambda pid: os.kill(pid, signal.SIGKILL))


def may_fork() -> bool:
    """Whether this process may be forked here. Other threads are the caller's business: a lock one holds then is never let go of."""
    return sys.platform == "linux" and threading.main_thread() is threading.current_thread()


def _gone() -> JournalError:
    return JournalError(
        _("the process that writes the journal has ended; what it was given last is in doubt, so run the command again")
    )


# -- the other process -------------------------------------------------------------------------------------------------


def _serve(talk: socket.socket, connect: Callable[[], Engine], keeping: int) -> NoReturn:
    """Be the writer, to the end of this process. Nothing of the sender's runs here any more, its clean-up included."""
    try:
        gc.freeze()  # what was loaded is no rubbish, and looking at it would copy it
        signal.set_wakeup_fd(-1)
        for number in _OF_THE_GROUP:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _let_go_of_all_but({keeping, talk.fileno()})
        crashing.together_with(os.getppid())
        engine = connect()
        while (asked := frames.read(talk)) is not None:
            frames.write(talk, _done(engine, *asked), checked=False)
        engine.dispose()
    finally:  # whatever happened: the sender sees that this end is gone, or is gone itself
        os._exit(0)


def _done(engine: Engine, work: Work[Any, Any], item: object) -> tuple[bool, Any]:
    try:
        return True, work(engine, item)
    except Exception as error:  # noqa: BLE001  whatever it is, it is told to whoever asked for the work
        return False, told(error)


def _let_go_of_all_but(kept: set[int]) -> None:
    """A connection or a pipe that this process held too would not end where the sender ends it.

    The numbers stay taken: objects of the sender still have them, and what its log writes must not land in the journal.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in {0, 1, 2, *map(int, os.listdir("/proc/self/fd"))} - kept:
        os.dup2(nothing, number)


@contextmanager
def _no_signals() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
