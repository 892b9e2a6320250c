"""The event loop a command runs in."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from engine.interrupts import ENDING, end_by


def run_in_loop(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run an async command on uvloop, where there is one. Returns its exit code.

    Ctrl-C cancels it, and is raised when the loop is closed; the second ends the process where it stands. SIGTERM does the
    same where it was to be raised.
    """
    interruption = _Interruption()
    with interruption.taken():
        try:
            import uvloop
        except ImportError:  # not on this platform
            factory = None
        else:
            factory = uvloop.new_event_loop
        gc.freeze()  # the libraries stay; looking through them at every collection cost a campaign 8 % of its time
        gc.set_threshold(50_000, 20, 100)
        with asyncio.Runner(loop_factory=factory) as runner:
            code = runner.run(interruption.cancelling(main))
    if code is None:
        raise end_by(interruption.came[0])
    return code


class _Interruption:
    """Takes the signal in place of the interpreter, from before there is a loop until it is closed."""

    def __init__(self) -> None:
        self.came: list[int] = []  # the numbers of the signals
        self._loop: asyncio.AbstractEventLoop | None = None
        self._command: asyncio.Task[Any] | None = None

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Signals are left alone that nobody catches, and the handlers are as before after the block."""
        before = {number: signal.getsignal(number) for number in ENDING}
        for number, handler in before.items():
            if callable(handler):
                signal.signal(number, self._note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def cancelling(self, main: Callable[[], Coroutine[Any, Any, int]]) -> int | None:
        """The command's exit code; None when it was cancelled, or came too late to begin."""
        self._loop, self._command = asyncio.get_running_loop(), asyncio.current_task()
        try:
            if self.came:
                return None
            return await main()
        except asyncio.CancelledError:
            if not self.came:
                raise
            return None
        finally:
            self._command = None

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.came.append(number)
        signal.signal(number, signal.SIG_DFL)
        if self._loop is not None and self._command is not None:
            self._loop.call_soon_threadsafe(self._command.cancel)
