"""A line in which everybody goes in turn, several in one sweep of one timer.

A lock would let one go in each turn of the event loop, and a sleep for each costs a timer: together they halved a pace of a
thousand a second.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from engine.dispatch.windows import NEVER

SHORTEST_TIMER_S = 0.001
"""uvloop's timers count milliseconds; asking for less would wake the line in vain."""


class Standing(Protocol):
    """Who stands in a line."""

    @property
    def goes_home(self) -> bool:
        """Whether this one waits no longer."""
        ...


Who = TypeVar("Who", bound=Standing)


class Line(Generic[Who]):
    """First come, first served. `free_at(now, who)` says when the first may go, `go(now, who)` counts it."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        free_at: Callable[[float, Who], float],
        go: Callable[[float, Who], None],
        undo: Callable[[Who], None] = lambda who: None,
        patience_s: float = NEVER,
    ) -> None:
        """`undo`: it went, and was cancelled before it knew. Who would wait longer than `patience_s` goes home at once."""
        self._clock, self._free_at, self._go, self._undo = clock, free_at, go, undo
        self._patience_s = patience_s
        self.waiting: deque[tuple[Who, asyncio.Future[float | None]]] = deque()  # in their order; some may be gone
        self._timer: asyncio.TimerHandle | None = None
        self.is_stuck = False  # the first one waits for somebody else, and no timer runs

    async def stand(self, who: Who) -> float | None:
        """Wait for one's turn. Returns when that was; None: one goes home without it."""
        if not self.waiting:
            now = self._clock()
            if not who.goes_home and self._free_at(now, who) <= now:
                self._go(now, who)
                return now
        turn: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()
        self.waiting.append((who, turn))
        if len(self.waiting) == 1:
            self.sweep()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result() is not None:
                self._undo(who)
            self.sweep()
            raise

    def sweep(self) -> None:
        """Let everybody go who may by now."""
        now = self._clock()
        while self.waiting:
            who, turn = self.waiting[0]
            if not turn.done():
                goes_home = who.goes_home
                at = now if goes_home else self._free_at(now, who)
                goes_home = goes_home or at - now > self._patience_s
                if at > now and not goes_home:
                    self._wake_after(at - now)
                    return
                if not goes_home:
                    self._go(now, who)
                turn.set_result(None if goes_home else now)
            self.waiting.popleft()
        self._wake_after(NEVER)
        self.is_stuck = False

    def let_go(self) -> None:
        """Send home everybody who may, wherever they stand."""
        for who, turn in self.waiting:
            if who.goes_home and not turn.done():
                turn.set_result(None)
        self.sweep()

    def _wake_after(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.is_stuck = seconds == NEVER
        if not self.is_stuck:
            delay_s = max(seconds, SHORTEST_TIMER_S)
            self._timer = asyncio.get_running_loop().call_later(delay_s, self.sweep)
