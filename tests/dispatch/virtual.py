"""An event loop whose clock jumps to the next timer: hours pass in milliseconds, and every run is the same.

Threads, looks into a journal, and bytes on their way between two sockets of the loop take as long as they take: time
stands still for them. So a request arrives at the very moment at which it left.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

_STEP_S = 1e-8  # a turn of the loop takes time too: who sleeps for less than the clock can tell must get on
_LOST_S = 5.0  # real ones


class _Jump(selectors.DefaultSelector):
    """Does not wait for time to pass: it moves the clock. It does wait for what is at work, and for bytes on their way."""

    now = 0.0
    at_work = 0
    on_the_way = 0  # bytes

    def select(self, timeout: float | None = None) -> Any:
        self.now += _STEP_S
        if timeout != 0 and self.on_the_way:
            if arrived := super().select(_LOST_S):
                return arrived
            self.on_the_way = 0  # somebody closed without reading them
        if self.at_work or timeout is None:
            return super().select(timeout if timeout == 0 else None)
        ready = super().select(0)
        if not ready and timeout > 0:
            self.now += timeout
        return ready


class _Counted(socket.socket):
    """A socket whose bytes are known to be on their way."""

    def __init__(self, plain: socket.socket, jump: _Jump) -> None:
        super().__init__(plain.family, plain.type, plain.proto, fileno=plain.detach())
        self.setblocking(False)
        self._jump = jump

    def send(self, data: Any, flags: int = 0, /) -> int:
        sent = super().send(data, flags)
        self._jump.on_the_way += sent
        return sent

    def recv(self, most: int, flags: int = 0, /) -> bytes:
        data = super().recv(most, flags)
        self._jump.on_the_way -= len(data)
        return data


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time stands still while a thread works, so a write to the disk costs none."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._jump.now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        self._jump.at_work += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._done)
        return future

    def _done(self, _: object) -> None:
        self._jump.at_work -= 1

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        self._jump.at_work += 1
        try:
            await super().sock_connect(sock, address)
        finally:
            self._jump.at_work -= 1

    def _make_socket_transport(self, sock: socket.socket, *args: Any, **how: Any) -> Any:
        return super()._make_socket_transport(_Counted(sock, self._jump), *args, **how)  # type: ignore[misc]

    def create_future(self) -> asyncio.Future[Any]:
        """aiosqlite has threads of its own, and waits for each call of theirs with a future."""
        future = super().create_future()
        if sys._getframe(1).f_globals["__name__"] == "aiosqlite.core":
            self._jump.at_work += 1
            future.add_done_callback(self._done)
        return future


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def now() -> float:
    """Virtual seconds since the run began."""
    return asyncio.get_running_loop().time()
