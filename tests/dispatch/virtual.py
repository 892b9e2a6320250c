"""An event loop whose clock jumps to the next timer: hours pass in milliseconds, and every run is the same."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

_STEP_S = 1e-8  # a turn of the loop takes time too: who sleeps for less than the clock can tell must get on


class _Jump(selectors.DefaultSelector):
    """Does not wait for time to pass: it moves the clock. It does wait for threads that are at work."""

    now = 0.0
    at_work = 0

    def select(self, timeout: float | None = None) -> Any:
        self.now += _STEP_S
        if self.at_work or timeout is None:
            return super().select(timeout if timeout == 0 else None)
        ready = super().select(0)
        if not ready and timeout > 0:
            self.now += timeout
        return ready


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


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def now() -> float:
    """Virtual seconds since the run began."""
    return asyncio.get_running_loop().time()
